-- Machines that run tasks. `user_id` is the owner of a worker that came with a personal access token; such a
-- row's id begins with the owner's, so that nobody can take the name of another's worker or of the cloud's.
create table public.workers (
  id text primary key check (length(id) between 1 and 240),
  user_id uuid references public.users (id) on delete cascade,
  instance_type text not null default 'external',
  status text not null default 'active'
    check (status in ('inactive', 'spawning', 'active', 'error', 'crashed', 'terminating', 'terminated')),
  current_model text check (length(current_model) <= 200),
  last_heartbeat timestamptz,
  -- Has shown that it heartbeats, so its silence means something: it gets short leases.
  heartbeats boolean not null default false,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint owned_ids_name_their_owner check (user_id is null or starts_with(id, user_id || ':'))
);
create index workers_by_user on public.workers (user_id) where user_id is not null;
