-- Counts one request of a key; refuses it with 429 when the window is full.
-- Guarantees: never more than `max_requests` in any window, wherever it begins, for the slice that the
-- window only touches is counted whole. Racers queue on the key's row.
create or replace function public.take_rate_limit(
  limit_key text, max_requests integer, window_seconds integer,
  out remaining integer, out reset_at bigint
)
language plpgsql set search_path = '' as $$
declare
  slice_seconds constant numeric := window_seconds / 12.0;
  now_seconds constant numeric := extract(epoch from clock_timestamp());
  slice constant bigint := floor(now_seconds / slice_seconds);
  kept integer[];
  passed bigint;
  used integer;
begin
  select newest_slice, counts into passed, kept
    from public.rate_limits where key = limit_key for no key update;
  if not found then
    insert into public.rate_limits (key, newest_slice, counts)
    values (limit_key, slice, array_fill(0, array[13])) on conflict (key) do nothing;
    select newest_slice, counts into passed, kept
      from public.rate_limits where key = limit_key for no key update;
  end if;

  passed := greatest(slice - passed, 0);
  if passed > 0 then
    kept := (array_fill(0, array[least(passed, 13)::integer]) || kept)[1:13];
  end if;
  select sum(count) into used from unnest(kept) as count;

  reset_at := ceil((slice + 13) * slice_seconds);
  if used >= max_requests then
    -- The oldest slice that still counts says when the next request can pass.
    select ceil((slice - position + 14) * slice_seconds) into reset_at
      from unnest(kept) with ordinality as slices (count, position)
     where count > 0 order by position desc limit 1;
    perform public.refuse('rate_limited', 429, jsonb_build_object(
      'retry_after', greatest(1, ceil(reset_at - now_seconds)), 'limit', max_requests));
  end if;
  kept[1] := kept[1] + 1;
  update public.rate_limits
     set newest_slice = greatest(newest_slice, slice), counts = kept, updated_at = now()
   where key = limit_key;
  remaining := max_requests - used - 1;
end
$$;
revoke all on function public.take_rate_limit from public, anon, authenticated;
