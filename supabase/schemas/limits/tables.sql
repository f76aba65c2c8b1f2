-- Requests of each key in twelve slices of its window; `newest_slice` numbers the slice of `counts[1]`.
-- Unlogged: after a crash everybody starts with an empty window, which costs nobody anything.
create unlogged table public.rate_limits (
  key text primary key,
  newest_slice bigint not null,
  counts integer[] not null,
  updated_at timestamptz not null default now()
) with (fillfactor = 50);
