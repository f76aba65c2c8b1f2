-- Machines that run tasks. `user_id` is the owner of a worker that came with a personal access token; such a
-- row's id begins with the owner's, so that nobody can take the name of another's worker or of the cloud's.
create table public.workers (
  id text primary key check (length(id) between 1 and 240),
  user_id uuid references public.users (id) on delete cascade,
  instance_type text not null default 'external',
  status text not null default 'active'
    check (status in ('inactive', 'spawning', 'active', 'error', 'crashed', 'terminating', 'terminated')),
  -- What it last said of itself. Where that is not its status, the status is an operator's word.
  own_status text,
  current_model text check (length(current_model) <= 200),
  -- Whole seconds, here and below: autoscalers read them by parsers that take 0, 3 or 6 digits of a fraction, and
  -- JSON drops zeros at its end.
  last_heartbeat timestamptz(0),
  -- Has shown that it heartbeats, so its silence means something: it gets short leases.
  heartbeats boolean not null default false,
  -- What runs its tasks, where that is not the machine itself. Null: an own worker.
  provider text check (provider in ('fal', 'sandbox')),
  -- What it last claimed for, and when; renewed every ten seconds at most.
  last_claim_at timestamptz(0),
  claimed_run_type public.run_type,
  claimed_task_types text[],
  metadata jsonb not null default '{}',
  created_at timestamptz(0) not null default now(),
  constraint owned_ids_name_their_owner check (user_id is null or starts_with(id, user_id || ':'))
);
create index workers_by_user on public.workers (user_id) where user_id is not null;
-- Who may fall silent. On none of what a heartbeat changes, so that a heartbeat touches no index.
-- The operator's own that may be active. Likewise untouched by heartbeats and claims.
create index own_workers on public.workers (id) where user_id is null and provider is null and status = 'active';
create index live_workers on public.workers (id) where status in ('active', 'spawning');

-- What workers and autoscalers log, kept for `queue_settings.log_retention`. Written a hundred lines at a time, so
-- it has the indexes it needs and no more; nothing points at it and it points at no task, which it may outlive.
create table public.system_logs (
  id bigint generated always as identity primary key,
  timestamp timestamptz not null default now(),
  received_at timestamptz not null default now(),
  source_type text not null default 'unknown' check (length(source_type) between 1 and 50),
  source_id text check (length(source_id) <= 240),
  log_level text not null default 'INFO' check (log_level in ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')),
  message text not null check (length(message) <= 4000),
  task_id uuid,
  -- As in `workers.id`.
  worker_id text check (length(worker_id) <= 240),
  -- The owner of a worker that came with a personal access token.
  user_id uuid references public.users (id) on delete cascade,
  cycle_number integer,
  metadata jsonb not null default '{}' check (octet_length(metadata::text) <= 8192)
);
create index system_logs_by_worker on public.system_logs (worker_id) where worker_id is not null;
create index system_logs_by_user on public.system_logs (user_id, received_at) where user_id is not null;

-- What is known of the function that runs tasks of a provider on Supabase, where no worker process does: the types that it runs
-- (none: it has no key, or was never called), how many calls may run at once, and when pg_cron may call it again.
create table public.provider_runners (
  provider text primary key check (length(provider) between 1 and 50),
  task_types text[] not null default '{}',
  most_runners integer not null default 1 check (most_runners between 1 and 100),
  next_call_at timestamptz not null default now()
);
insert into public.provider_runners (provider) values ('fal');
