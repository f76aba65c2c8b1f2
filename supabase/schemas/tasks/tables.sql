-- What kinds of work there are; `seed.sql` lists them.
create table public.task_types (
  name text primary key check (length(name) between 1 and 100),
  run_type text not null default 'gpu' check (run_type in ('gpu', 'api')),
  category text not null check (category in ('generation', 'processing', 'orchestration', 'upscale', 'utility')),
  tool_type text,
  content_type text check (content_type in ('image', 'video')),
  variant_type text,
  display_name text not null,
  description text,
  -- The name under which another spelling is meant; such a row is never stored on a task.
  alias_of text references public.task_types (name),
  -- The longest run that is waited for, and paid.
  max_runtime_seconds integer not null default 1200 check (max_runtime_seconds between 1 and 86400),
  is_active boolean not null default true,
  is_visible boolean not null default false,
  supports_progress boolean not null default false
);
alter table public.task_type_prices
  add constraint task_type_prices_task_type_fkey foreign key (task_type) references public.task_types (name);

-- A user's place in the queue. Its row is the lock under which lanes open and close.
create table public.task_tenants (
  user_id uuid primary key references public.users (id) on delete cascade,
  allows_cloud boolean not null default true
) with (fillfactor = 50);

-- The cap on running tasks, as things that can be taken: a running task occupies one, so more cannot run,
-- and two claims take two of them without waiting for each other. Orchestrators need none.
create table public.task_slots (
  user_id uuid not null references public.task_tenants (user_id) on delete cascade,
  slot smallint not null,
  task_id uuid,
  primary key (user_id, slot)
) with (fillfactor = 50);

-- One queue a user, task type, model and payer. A claim looks at open lanes only, the least recently served
-- first; `turn` numbers when that was. A lane is ready while a task of it may run, and open while the cloud
-- may take one. Both err towards true: a claim that finds nothing closes the lane.
create table public.task_lanes (
  id bigint generated always as identity primary key,
  user_id uuid not null references public.task_tenants (user_id) on delete cascade,
  task_type text not null references public.task_types (name),
  model text not null,
  run_type text not null check (run_type in ('gpu', 'api')),
  in_cloud boolean not null,
  is_orchestrator boolean not null,
  is_ready boolean not null default false,
  is_open boolean not null default false,
  turn bigint not null,
  oldest_ready_at timestamptz not null default now(),
  unique (user_id, task_type, model, in_cloud),
  constraint open_lanes_are_ready check (is_ready or not is_open),
  constraint open_lanes_are_paid check (in_cloud or not is_open)
) with (fillfactor = 50);
create index open_lanes_by_turn on public.task_lanes (task_type, turn) where is_open;
create index open_lanes_by_model on public.task_lanes (task_type, model, turn) where is_open;
create index open_lanes_by_age on public.task_lanes (task_type, model, oldest_ready_at) where is_open;
create index ready_lanes_by_user on public.task_lanes (user_id, turn) where is_ready;
create sequence public.task_turns;

-- Which models each type was ever asked for: what a claim walks to find the oldest waiting task of another model.
create table public.task_models (
  task_type text not null references public.task_types (name),
  model text not null,
  primary key (task_type, model)
);

create table public.tasks (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  user_id uuid not null,
  task_type text not null references public.task_types (name),
  params jsonb not null check (jsonb_typeof(params) = 'object'),
  status public.task_status not null default 'Queued',

  -- The queue: filled at creation, never dug out of params later.
  lane_id bigint not null references public.task_lanes (id),
  run_type text not null check (run_type in ('gpu', 'api')),
  model text,
  is_orchestrator boolean not null default false,
  orchestrator_task_id uuid references public.tasks (id) on delete set null,
  dependant_on uuid[],
  unmet_dependencies integer not null default 0 check (unmet_dependencies >= 0),
  priority smallint not null default 0 check (priority between -100 and 100),
  -- Not before this time. `is_scheduled` until the queue has let the task go; a flag, so that it can be indexed.
  run_after timestamptz,
  is_scheduled boolean not null default false,
  request_hash bytea not null,

  -- The run. `attempt` counts claims and fences late calls; `attempts` counts runs that failed.
  attempt integer not null default 0 check (attempt >= 0),
  attempts integer not null default 0 check (attempts >= 0),
  max_attempts integer not null default 3 check (max_attempts between 1 and 20),
  worker_id text,
  claimed_by_owner boolean,
  slot smallint,
  lease_expires_at timestamptz,
  progress real check (progress between 0 and 1),
  progress_message text,
  progress_shown_at timestamptz,
  generation_started_at timestamptz,
  generation_processed_at timestamptz,

  -- The outcome.
  output_location text,
  thumbnail_url text,
  error_message text,
  generation_created boolean not null default false,
  result_data jsonb not null default '{}',

  -- Money: the price it was quoted, what it may cost, what it did cost.
  in_cloud boolean not null,
  price_id bigint not null references public.task_type_prices (id),
  upper_bound_microusd bigint not null check (upper_bound_microusd >= 0),
  -- Of an orchestrator: the upper bounds of its children so far, which its hold covers.
  children_bound_microusd bigint not null default 0 check (children_bound_microusd >= 0),
  cost_microusd bigint check (cost_microusd >= 0),

  copied_from_share text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),

  foreign key (user_id, slot) references public.task_slots (user_id, slot),
  constraint running_means_leased check (
    (status = 'In Progress') = (lease_expires_at is not null)
    and (status = 'In Progress' or slot is null)
    and (status <> 'In Progress' or is_orchestrator = (slot is null))),
  constraint scheduled_tasks_wait check (not is_scheduled or (status = 'Queued' and run_after is not null)),
  constraint complete_tasks_have_an_end check (status <> 'Complete' or generation_processed_at is not null)
);
create unique index one_running_task_per_slot on public.tasks (user_id, slot) where slot is not null;
create index ready_tasks_by_lane on public.tasks (lane_id, priority desc, created_at, id)
  where status = 'Queued' and unmet_dependencies = 0 and not is_scheduled;
create index scheduled_tasks on public.tasks (run_after) where is_scheduled;
create index running_tasks_by_lease on public.tasks (lease_expires_at) where status = 'In Progress';
create index running_tasks_by_worker on public.tasks (worker_id) where status = 'In Progress';
-- The status comes last: a list of one status is read in order, and rows of the others cost an index entry.
create index tasks_by_project on public.tasks (project_id, created_at desc, id desc, status);
create index tasks_by_orchestrator on public.tasks (orchestrator_task_id, created_at, id)
  where orchestrator_task_id is not null;
create index complete_segments_by_run on public.tasks ((params ->> 'orchestrator_run_id'))
  where task_type = 'travel_segment' and status = 'Complete';
-- What may leave for the archive; a child leaves with its orchestrator.
create index finished_tasks_by_age on public.tasks (updated_at, id)
  where status in ('Complete', 'Failed', 'Cancelled') and orchestrator_task_id is null;

-- Who waits for whom; `dependant_on` in rows, for the way back.
create table public.task_dependencies (
  dependency_id uuid not null references public.tasks (id) on delete cascade,
  task_id uuid not null references public.tasks (id) on delete cascade,
  primary key (dependency_id, task_id),
  check (dependency_id <> task_id)
);
create index task_dependencies_by_task on public.task_dependencies (task_id);

-- Requests that named an idempotency key, and their first answers; kept for 30 days.
create table public.task_requests (
  user_id uuid not null references public.users (id) on delete cascade,
  idempotency_key text not null check (length(idempotency_key) between 1 and 200),
  request_hash bytea not null,
  answer jsonb,
  created_at timestamptz not null default now(),
  primary key (user_id, idempotency_key)
);
create index task_requests_by_age on public.task_requests (created_at);

-- Settings of the queue that operators may change; one row.
create table public.queue_settings (
  only_row boolean primary key default true check (only_row),
  -- How long a task of another model may wait for a warm worker to leave its own.
  affinity_max_wait interval not null default '5 minutes',
  -- The lease of a worker that has shown that it heartbeats.
  heartbeat_lease interval not null default '60 seconds',
  -- How long a finished task stays in `tasks`; null: for ever. Longer than any statement runs, so that a
  -- task cannot be created, ended and archived while another request is about to use its id.
  keep_finished interval default '30 days' check (keep_finished >= '1 hour')
);
insert into public.queue_settings default values;

-- Finished tasks that have left `tasks`: the same columns but for those of the queue, so that history costs a
-- claim nothing. A task is in one of the two tables. Filled by archive_finished_tasks(), changed by nobody.
create table public.archived_tasks (
  id uuid primary key,
  project_id uuid not null references public.projects (id) on delete cascade,
  user_id uuid not null,
  task_type text not null references public.task_types (name),
  params jsonb not null,
  status public.task_status not null check (status in ('Complete', 'Failed', 'Cancelled')),
  run_type text not null,
  model text,
  is_orchestrator boolean not null,
  -- No foreign keys: relatives are archived in an order of their own.
  orchestrator_task_id uuid,
  dependant_on uuid[],
  unmet_dependencies integer not null,
  priority smallint not null,
  run_after timestamptz,
  request_hash bytea not null,
  attempt integer not null,
  attempts integer not null,
  max_attempts integer not null,
  worker_id text,
  claimed_by_owner boolean,
  progress real,
  progress_message text,
  generation_started_at timestamptz,
  generation_processed_at timestamptz,
  output_location text,
  thumbnail_url text,
  error_message text,
  generation_created boolean not null,
  result_data jsonb not null,
  in_cloud boolean not null,
  price_id bigint not null references public.task_type_prices (id),
  upper_bound_microusd bigint not null,
  children_bound_microusd bigint not null,
  cost_microusd bigint,
  copied_from_share text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  archived_at timestamptz not null default now()
);
create index archived_tasks_by_project on public.archived_tasks (project_id, created_at desc, id desc);
create index archived_tasks_by_status on public.archived_tasks (project_id, status, created_at desc, id desc);
create index archived_tasks_by_orchestrator on public.archived_tasks (orchestrator_task_id, created_at, id)
  where orchestrator_task_id is not null;
create index archived_segments_by_run on public.archived_tasks ((params ->> 'orchestrator_run_id'))
  where task_type = 'travel_segment' and status = 'Complete';

-- Both, for those who read. The archive comes second: who asks for one row by `limit 1` and finds it in
-- `tasks` never looks there. Without what only the queue needs: lane, slot, request hash and the like.
create view public.all_tasks with (security_invoker = true) as
  select id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator,
         orchestrator_task_id, dependant_on, unmet_dependencies, priority, run_after,
         attempt, attempts, max_attempts, worker_id, claimed_by_owner, lease_expires_at, progress, progress_message,
         generation_started_at, generation_processed_at, output_location, thumbnail_url, error_message,
         generation_created, result_data, in_cloud, price_id, upper_bound_microusd, children_bound_microusd,
         cost_microusd, copied_from_share, created_at, updated_at
    from public.tasks
  union all
  select id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator,
         orchestrator_task_id, dependant_on, unmet_dependencies, priority, run_after,
         attempt, attempts, max_attempts, worker_id, claimed_by_owner, null, progress, progress_message,
         generation_started_at, generation_processed_at, output_location, thumbnail_url, error_message,
         generation_created, result_data, in_cloud, price_id, upper_bound_microusd, children_bound_microusd,
         cost_microusd, copied_from_share, created_at, updated_at
    from public.archived_tasks;
