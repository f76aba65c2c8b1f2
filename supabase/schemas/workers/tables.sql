-- Machines that run tasks. `user_id` is the owner of a worker that came with a personal access token.
create table public.workers (
  id text primary key check (length(id) between 1 and 200),
  user_id uuid references public.users (id) on delete cascade,
  instance_type text not null default 'external',
  status text not null default 'active'
    check (status in ('inactive', 'spawning', 'active', 'error', 'crashed', 'terminating', 'terminated')),
  current_model text check (length(current_model) <= 200),
  last_heartbeat timestamptz,
  -- Has shown that it heartbeats, so its silence means something: it gets short leases.
  heartbeats boolean not null default false,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now()
);
