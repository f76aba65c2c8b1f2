-- Made from supabase/schemas by `npm run generate`; change those files, not this one.
-- Functions name each other, so their bodies are checked when they are called.
set check_function_bodies = off;

-- supabase/schemas/credits/types.sql
create type public.ledger_entry_type as enum ('stripe', 'manual', 'spend', 'refund', 'auto_topup');
create type public.billing_type as enum ('per_unit', 'per_second');
create type public.hold_state as enum ('held', 'settled', 'released');

-- supabase/schemas/tasks/types.sql
create type public.task_status as enum ('Queued', 'In Progress', 'Complete', 'Failed', 'Cancelled');

-- supabase/schemas/accounts/tables.sql
-- People and their projects. `credits` (US cents) is kept by the credits room for clients that read it here.
create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  name text check (length(name) <= 200),
  email text,
  username text unique check (length(username) between 1 and 60),
  avatar_url text check (length(avatar_url) <= 2000),
  credits numeric(16, 4) not null default 0,
  given_credits boolean not null default false,
  settings jsonb not null default '{"ui": {"paneLocks": {"gens": false, "shots": false, "tasks": true}}, "user-preferences": {}}'
    check (pg_column_size(settings) <= 262144),
  onboarding jsonb not null default '{}' check (pg_column_size(onboarding) <= 65536),
  created_at timestamptz not null default now()
);

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid() references public.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 200),
  aspect_ratio text check (aspect_ratio ~ '^\d{1,2}:\d{1,2}$|^Square$'),
  settings jsonb not null default '{}' check (pg_column_size(settings) <= 262144),
  created_at timestamptz not null default now()
);
create index projects_by_user on public.projects (user_id, created_at);

-- supabase/schemas/limits/tables.sql
-- Requests of each key in twelve slices of its window; `newest_slice` numbers the slice of `counts[1]`.
-- Unlogged: after a crash everybody starts with an empty window, which costs nobody anything.
create unlogged table public.rate_limits (
  key text primary key,
  newest_slice bigint not null,
  counts integer[] not null,
  updated_at timestamptz not null default now()
) with (fillfactor = 50);

-- supabase/schemas/tokens/tables.sql
-- Personal access tokens of workers. The token's text is nowhere; its SHA-256 is enough to know it again,
-- for it carries 178 random bits.
create table public.personal_access_tokens (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  token_hash bytea not null unique check (length(token_hash) = 32),
  last_four text not null check (length(last_four) = 4),
  label text not null check (length(label) between 1 and 100),
  scopes text[] not null check (scopes <@ array['tasks:read', 'tasks:write', 'tasks:run'] and cardinality(scopes) > 0),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index personal_access_tokens_by_user on public.personal_access_tokens (user_id, created_at desc);

-- supabase/schemas/credits/tables.sql
-- Money is integer micro-dollars. Accounts, entries and holds name no other table by foreign key:
-- they outlive the person and the task they speak of.
create table public.credit_accounts (
  user_id uuid primary key,
  balance_microusd bigint not null default 0,
  held_microusd bigint not null default 0,
  created_at timestamptz not null default now(),
  constraint held_is_covered check (held_microusd >= 0 and balance_microusd >= held_microusd)
) with (fillfactor = 50);

-- Append-only. `amount` is the same in US cents, for clients that read it.
create table public.credits_ledger (
  id uuid primary key default gen_random_uuid(),
  sequence bigint generated always as identity unique,
  user_id uuid not null references public.credit_accounts (user_id),
  task_id uuid,
  type public.ledger_entry_type not null,
  amount_microusd bigint not null check (amount_microusd <> 0),
  amount numeric(20, 4) generated always as (amount_microusd / 10000.0) stored,
  balance_after_microusd bigint not null check (balance_after_microusd >= 0),
  idempotency_key text unique check (length(idempotency_key) <= 300),
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint spend_takes check ((type = 'spend') = (amount_microusd < 0 and task_id is not null))
);
create unique index one_spend_per_task on public.credits_ledger (task_id) where type = 'spend';
create unique index one_welcome_bonus_per_user on public.credits_ledger (user_id)
  where metadata ->> 'is_welcome_bonus' = 'true';
create index credits_ledger_by_user on public.credits_ledger (user_id, sequence desc);

-- What a task has reserved, and what became of it.
create table public.credit_holds (
  task_id uuid primary key,
  user_id uuid not null references public.credit_accounts (user_id),
  amount_microusd bigint not null check (amount_microusd >= 0),
  state public.hold_state not null default 'held',
  charged_microusd bigint not null default 0 check (charged_microusd between 0 and amount_microusd),
  -- Cost beyond what was held: our loss, never the customer's.
  written_off_microusd bigint not null default 0 check (written_off_microusd >= 0),
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  constraint open_holds_charge_nothing check (state = 'settled' or charged_microusd = 0),
  constraint closed_when_not_held check ((state = 'held') = (closed_at is null))
);
create index open_holds_by_user on public.credit_holds (user_id) where state = 'held';

-- Prices by version; a task keeps the row it was quoted.
create table public.task_type_prices (
  id bigint generated always as identity primary key,
  task_type text not null,
  version integer not null check (version > 0),
  billing_type public.billing_type not null,
  -- Of one output, or of one second of work.
  price_microusd bigint not null check (price_microusd between 0 and 1000000000),
  -- Multipliers: {"resolution": {"2x": 1, …}, "model_type": {…}}; a value that is not listed counts once.
  cost_factors jsonb not null default '{}' check (jsonb_typeof(cost_factors) = 'object'),
  valid_from timestamptz not null default now(),
  unique (task_type, version)
);

-- supabase/schemas/tasks/tables.sql
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

-- supabase/schemas/workers/tables.sql
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

-- supabase/schemas/generations/tables.sql
-- What finished tasks made. A generation shows its primary variant's file.
create table public.generations (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  -- Ids of the tasks that made it, as clients read them; `source_task_id` is the same, unique. It names no
  -- table by foreign key: the task may be in the archive.
  tasks jsonb not null default '[]',
  source_task_id uuid unique,
  type text,
  name text check (length(name) <= 300),
  location text,
  thumbnail_url text,
  params jsonb not null default '{}',
  based_on uuid references public.generations (id) on delete set null,
  parent_generation_id uuid references public.generations (id) on delete cascade,
  is_child boolean not null default false,
  child_order integer,
  primary_variant_id uuid,
  shot_data jsonb not null default '{}',
  starred boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index generations_by_project on public.generations (project_id, created_at desc);
create index generations_by_based_on on public.generations (based_on) where based_on is not null;
create index generations_by_parent on public.generations (parent_generation_id) where parent_generation_id is not null;

create table public.generation_variants (
  id uuid primary key default gen_random_uuid(),
  generation_id uuid not null references public.generations (id) on delete cascade,
  project_id uuid not null references public.projects (id) on delete cascade,
  source_task_id uuid,
  location text not null,
  thumbnail_url text,
  params jsonb not null default '{}',
  is_primary boolean not null default false,
  variant_type text not null,
  name text check (length(name) <= 300),
  viewed_at timestamptz,
  created_at timestamptz not null default now(),
  -- A task adds to a generation once, however often its completion is repeated.
  unique (generation_id, source_task_id)
);
create unique index one_primary_variant on public.generation_variants (generation_id) where is_primary;
create index generation_variants_by_project on public.generation_variants (project_id, created_at desc);

alter table public.generations
  add constraint generations_primary_variant_id_fkey
  foreign key (primary_variant_id) references public.generation_variants (id) on delete set null;

-- supabase/schemas/media/tables.sql
-- The buckets. They are data, but the code names them and their policies and the limits below are part of
-- the schema's promises: so they travel by migration, to every installation alike, and can be applied again.
-- The server decides types from the bytes; the list keeps Supabase, which believes the sender's word, from
-- serving pages and scriptable pictures from a public bucket. What nobody can name is octet-stream.
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values
  ('image_uploads', 'image_uploads', true, 209715200, array[
    'image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp', 'image/tiff',
    'video/*', 'audio/*', 'application/json', 'application/zip', 'application/octet-stream', 'text/plain'
  ]),
  ('training-data', 'training-data', false, 2147483648, null),
  ('lora_files', 'lora_files', true, 2147483648, array[
    'application/octet-stream', 'application/zip', 'application/json', 'text/plain',
    'image/png', 'image/jpeg', 'image/webp', 'video/mp4'
  ])
on conflict (id) do update
   set public = excluded.public,
       file_size_limit = excluded.file_size_limit,
       allowed_mime_types = excluded.allowed_mime_types;

-- supabase/schemas/realtime/tables.sql
-- Numbers task updates, so that a client can tell an older one from a newer.
create sequence public.task_update_sequence;

-- What `postgres_changes` may show; row policies decide to whom.
alter publication supabase_realtime add table public.tasks, public.generations, public.generation_variants;

-- supabase/schemas/errors/functions/refuse.sql
-- Ends the transaction with one of our refusals: SQLSTATE `TQ` + HTTP status, the code as message,
-- the details as JSON. `_shared/database` turns it into the answer.
create or replace function public.refuse(code text, status integer, details jsonb default '{}')
returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'TQ' || status, message = code, detail = details::text;
end
$$;
revoke all on function public.refuse from public, anon, authenticated;

-- supabase/schemas/accounts/functions/create_user_record.sql
-- Makes everything a new person needs, once: the user row, an account, a place in the queue and the
-- welcome bonus (not for anonymous visitors). Repeating it changes nothing.
create or replace function public.create_user_record(
  for_user uuid, user_email text, user_metadata jsonb, is_anonymous boolean
) returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.users (id, email, name)
  values (
    for_user, user_email,
    left(coalesce(user_metadata ->> 'full_name', user_metadata ->> 'name', user_email, 'User'), 200)
  )
  on conflict (id) do nothing;
  perform public.open_credit_account(for_user);
  perform public.register_tenant(for_user);
  if not is_anonymous then
    perform public.grant_welcome_bonus(for_user);
  end if;
end
$$;
revoke all on function public.create_user_record from public, anon, authenticated;

-- supabase/schemas/accounts/functions/create_user_record_if_not_exists.sql
-- Called by browsers after sign-in, for accounts older than the trigger on sign-up.
create or replace function public.create_user_record_if_not_exists()
returns void
language plpgsql security definer set search_path = '' as $$
declare
  person auth.users;
begin
  select * into person from auth.users where id = auth.uid();
  if found then
    perform public.create_user_record(
      person.id, person.email, person.raw_user_meta_data, coalesce(person.is_anonymous, false));
  end if;
end
$$;
revoke all on function public.create_user_record_if_not_exists from public, anon, authenticated;
grant execute on function public.create_user_record_if_not_exists to authenticated;

-- supabase/schemas/accounts/functions/welcome_new_user.sql
create or replace function public.welcome_new_user()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.create_user_record(
    new.id, new.email, new.raw_user_meta_data, coalesce(new.is_anonymous, false));
  return null;
end
$$;
revoke all on function public.welcome_new_user from public, anon, authenticated;

-- supabase/schemas/limits/functions/admit.sql
-- Lets a caller in, in the statement that serves it: a token is looked up, held against its scope and
-- noted as used; the request is counted, unless it has no limit. Refusals: 401 unauthenticated, 403 insufficient_scope, 429.
create or replace function public.admit(
  for_user uuid, for_token_hash bytea, for_scope text,
  limit_key text, limit_requests integer, limit_window_seconds integer,
  out user_id uuid, out remaining integer, out reset_at bigint
)
language plpgsql security definer set search_path = '' as $$
declare
  token public.personal_access_tokens;
begin
  if for_token_hash is null then
    user_id := for_user;
  else
    select * into token from public.personal_access_tokens as known
     where known.token_hash = for_token_hash
       and known.revoked_at is null
       and (known.expires_at is null or known.expires_at > now());
    if not found then
      perform public.refuse('unauthenticated', 401);
    end if;
    if for_scope <> '' and not for_scope = any (token.scopes) then
      perform public.refuse('insufficient_scope', 403, jsonb_build_object('scope', for_scope));
    end if;
    user_id := token.user_id;
    if token.last_used_at is null or token.last_used_at < now() - interval '1 minute' then
      -- Whoever finds the row locked leaves the note to the one who holds it.
      update public.personal_access_tokens as used set last_used_at = now()
       where used.id = (select id from public.personal_access_tokens
                         where id = token.id for no key update skip locked);
    end if;
  end if;
  if limit_requests is not null then
    select taken.remaining, taken.reset_at into remaining, reset_at
      from public.take_rate_limit(limit_key || ':' || user_id, limit_requests, limit_window_seconds) as taken;
  end if;
end
$$;
revoke all on function public.admit from public, anon, authenticated;
grant execute on function public.admit to service_role;

-- supabase/schemas/limits/functions/take_rate_limit.sql
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

-- supabase/schemas/tokens/functions/generate_pat.sql
-- Stores a new token's hash. An account holds at most 50 live tokens.
create or replace function public.generate_pat(
  for_user uuid, token_hash bytea, last_four text, label text, scopes text[], lifetime_days integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  stored public.personal_access_tokens;
begin
  -- The person's row is locked so that two racers cannot both be the fiftieth.
  perform from public.users where id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  if (select count(*) from public.personal_access_tokens as token
       where token.user_id = for_user and token.revoked_at is null
         and (token.expires_at is null or token.expires_at > now())) >= 50 then
    perform public.refuse('token_limit_reached', 422, '{"limit": 50}');
  end if;
  insert into public.personal_access_tokens (user_id, token_hash, last_four, label, scopes, expires_at)
  values (for_user, generate_pat.token_hash, generate_pat.last_four, generate_pat.label, generate_pat.scopes,
          now() + make_interval(days => lifetime_days))
  returning * into stored;
  return public.token_summary(stored);
end
$$;
revoke all on function public.generate_pat from public, anon, authenticated;
grant execute on function public.generate_pat to service_role;

-- supabase/schemas/tokens/functions/list_pats.sql
-- A user's tokens, newest first, live and ended; never more than the newest 200.
create or replace function public.list_pats(for_user uuid)
returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('tokens', coalesce(jsonb_agg(public.token_summary(token) order by token.created_at desc), '[]'))
    from (select * from public.personal_access_tokens as newest
           where newest.user_id = for_user order by newest.created_at desc limit 200) as token
$$;
revoke all on function public.list_pats from public, anon, authenticated;
grant execute on function public.list_pats to service_role;

-- supabase/schemas/tokens/functions/revoke_pat.sql
-- Ends a token of this user at once; ending it again is the same success. Foreign and unknown: 404.
create or replace function public.revoke_pat(for_user uuid, token_id uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  revoked public.personal_access_tokens;
begin
  update public.personal_access_tokens as token
     set revoked_at = coalesce(token.revoked_at, now())
   where token.id = token_id and token.user_id = for_user
  returning * into revoked;
  if not found then
    perform public.refuse('token_not_found', 404);
  end if;
  return jsonb_build_object('success', true, 'revoked_at', revoked.revoked_at);
end
$$;
revoke all on function public.revoke_pat from public, anon, authenticated;
grant execute on function public.revoke_pat to service_role;

-- supabase/schemas/tokens/functions/token_summary.sql
-- What people see of a token.
create or replace function public.token_summary(token public.personal_access_tokens)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', token.id, 'label', token.label, 'last_four', token.last_four, 'scopes', to_jsonb(token.scopes),
    'created_at', token.created_at, 'expires_at', token.expires_at, 'last_used_at', token.last_used_at,
    'revoked_at', token.revoked_at)
$$;
revoke all on function public.token_summary from public, anon, authenticated;

-- supabase/schemas/credits/functions/calculate_cost_of_task.sql
-- The quote of a task that waits or runs, the final charge of one that ended. Settles nothing.
create or replace function public.calculate_cost_of_task(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
  price public.task_type_prices;
  hold public.credit_holds;
  is_final boolean;
  final_microusd bigint;
begin
  select * into price from public.task_type_prices where id = task.price_id;
  select * into hold from public.credit_holds where task_id = task.id;
  is_final := task.status in ('Complete', 'Failed', 'Cancelled');
  -- A child is not charged by itself: its cost is part of its orchestrator's.
  final_microusd := case
    when is_final and task.orchestrator_task_id is not null then coalesce(task.cost_microusd, 0)
    when is_final then coalesce(hold.charged_microusd, 0)
    else task.upper_bound_microusd end;
  return jsonb_build_object(
    'success', true, 'task_id', task.id, 'task_type', task.task_type, 'status', task.status,
    'final', is_final, 'exact', is_final or (price.billing_type = 'per_unit' and not task.is_orchestrator),
    'cost', final_microusd / 10000.0, 'cost_microusd', final_microusd,
    'upper_bound', task.upper_bound_microusd / 10000.0, 'upper_bound_microusd', task.upper_bound_microusd,
    'held_microusd', case when hold.state = 'held' then hold.amount_microusd else 0 end,
    'billing_type', price.billing_type, 'price_version', price.version,
    'charged_with', task.orchestrator_task_id,
    'breakdown', jsonb_build_array(jsonb_build_object(
      'item', task.task_type, 'each_microusd', price.price_microusd,
      'unit', case price.billing_type when 'per_unit' then 'output' else 'second' end,
      'multiplier', public.price_multiplier(price, task.params), 'total_microusd', final_microusd)));
end
$$;
revoke all on function public.calculate_cost_of_task from public, anon, authenticated;
grant execute on function public.calculate_cost_of_task to service_role;

-- supabase/schemas/credits/functions/calculate_task_cost.sql
-- A quote for a task that does not exist yet.
create or replace function public.calculate_task_cost(for_task_type text, params jsonb)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  type_name constant text := public.canonical_task_type(for_task_type);
  quote record;
begin
  select * into quote from public.quote_task(type_name, calculate_task_cost.params);
  return jsonb_build_object(
    'success', true, 'task_type', type_name,
    'cost', quote.upper_bound_microusd / 10000.0, 'cost_microusd', quote.upper_bound_microusd,
    'upper_bound', quote.upper_bound_microusd / 10000.0, 'upper_bound_microusd', quote.upper_bound_microusd,
    'exact', quote.exact, 'billing_type', (quote.price).billing_type,
    'price_version', (quote.price).version, 'breakdown', quote.breakdown);
end
$$;
revoke all on function public.calculate_task_cost from public, anon, authenticated;
grant execute on function public.calculate_task_cost to service_role;

-- supabase/schemas/credits/functions/close_hold.sql
-- Ends a task's hold, once: charges the cost, never above the hold, and gives back the rest.
-- A cost of nothing releases all. Without an open hold nothing happens. Answers what was charged.
create or replace function public.close_hold(for_task uuid, cost_microusd bigint, metadata jsonb default '{}')
returns bigint
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
  charge bigint;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if not found then
    return 0;
  end if;
  charge := least(greatest(cost_microusd, 0), hold.amount_microusd);
  update public.credit_holds
     set state = case when charge > 0 then 'settled' else 'released' end::public.hold_state,
         charged_microusd = charge, written_off_microusd = greatest(cost_microusd - charge, 0),
         closed_at = now()
   where task_id = for_task;
  if charge > 0 then
    perform public.record_credit(
      hold.user_id, 'spend', -charge, for_task, null, close_hold.metadata, hold.amount_microusd);
  else
    update public.credit_accounts set held_microusd = held_microusd - hold.amount_microusd
     where user_id = hold.user_id;
  end if;
  return charge;
end
$$;
revoke all on function public.close_hold from public, anon, authenticated;

-- supabase/schemas/credits/functions/current_price.sql
-- The price row in force; null for a type without one.
create or replace function public.current_price(for_task_type text)
returns public.task_type_prices
language sql stable set search_path = '' as $$
  select price.* from public.task_type_prices as price
   where price.task_type = for_task_type and price.valid_from <= now()
   order by price.version desc limit 1
$$;
revoke all on function public.current_price from public, anon, authenticated;

-- supabase/schemas/credits/functions/extend_hold.sql
-- Raises an open hold to an amount that covers more work; 402 when the account cannot.
create or replace function public.extend_hold(for_task uuid, new_amount_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if found and hold.amount_microusd < new_amount_microusd then
    perform public.reserve_credit(hold.user_id, new_amount_microusd - hold.amount_microusd);
    update public.credit_holds set amount_microusd = new_amount_microusd where task_id = for_task;
  end if;
end
$$;
revoke all on function public.extend_hold from public, anon, authenticated;

-- supabase/schemas/credits/functions/grant_credits.sql
-- An operator's grant. The same key again answers the first entry; with another amount, user or reason: 422.
create or replace function public.grant_credits(
  for_user uuid, amount_cents integer, reason text, actor text, idempotency_key text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  key constant text := 'grant:' || grant_credits.idempotency_key;
  entry public.credits_ledger;
  repeated boolean;
begin
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  select * into entry from public.credits_ledger as known where known.idempotency_key = key;
  repeated := found;
  if repeated then
    if entry.user_id <> for_user or entry.amount_microusd <> amount_cents * 10000::bigint
       or entry.metadata ->> 'description' is distinct from reason then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
  else
    entry := public.record_credit(for_user, 'manual', amount_cents * 10000::bigint, null, key,
      jsonb_build_object('description', reason, 'actor', actor));
  end if;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry),
    'deduplicated', repeated, 'message', format('Granted %s credits', amount_cents));
exception
  -- The same key for another user, committed between our look and our insert.
  when unique_violation then
    perform public.refuse('idempotency_key_reused', 422);
end
$$;
revoke all on function public.grant_credits from public, anon, authenticated;
grant execute on function public.grant_credits to service_role;

-- supabase/schemas/credits/functions/grant_welcome_bonus.sql
-- The fixed welcome of five dollars, once per user: the ledger's unique index decides between racers.
-- Answers the entry, new or old.
create or replace function public.grant_welcome_bonus(for_user uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  entry public.credits_ledger;
begin
  -- Locked first, so that a racer waits here and then finds the entry.
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  select * into entry from public.credits_ledger
   where user_id = for_user and metadata ->> 'is_welcome_bonus' = 'true';
  if found then
    return jsonb_build_object(
      'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
      'deduplicated', true, 'message', 'The welcome bonus was granted before');
  end if;
  entry := public.record_credit(for_user, 'manual', 5000000, metadata => jsonb_build_object(
    'is_welcome_bonus', true, 'description', 'Welcome bonus', 'actor', 'system'));
  update public.users set given_credits = true where id = for_user;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
    'deduplicated', false, 'message', 'Granted the welcome bonus of $5.00');
end
$$;
revoke all on function public.grant_welcome_bonus from public, anon, authenticated;
grant execute on function public.grant_welcome_bonus to service_role;

-- supabase/schemas/credits/functions/ledger_entry_summary.sql
-- A ledger row as APIs show it: cents for people, micro-dollars for arithmetic.
create or replace function public.ledger_entry_summary(entry public.credits_ledger)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', entry.id, 'user_id', entry.user_id, 'task_id', entry.task_id, 'type', entry.type,
    'amount', entry.amount, 'amount_microusd', entry.amount_microusd,
    'balance_after_microusd', entry.balance_after_microusd,
    'metadata', entry.metadata, 'created_at', entry.created_at)
$$;
revoke all on function public.ledger_entry_summary from public, anon, authenticated;

-- supabase/schemas/credits/functions/open_credit_account.sql
create or replace function public.open_credit_account(for_user uuid)
returns void
language sql set search_path = '' as $$
  insert into public.credit_accounts (user_id) values (for_user) on conflict (user_id) do nothing
$$;
revoke all on function public.open_credit_account from public, anon, authenticated;

-- supabase/schemas/credits/functions/open_hold.sql
-- Reserves a task's upper bound, or refuses with 402. The condition is part of the update, so any number
-- of racers share one balance correctly.
create or replace function public.open_hold(for_user uuid, for_task uuid, hold_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.reserve_credit(for_user, hold_microusd);
  insert into public.credit_holds (task_id, user_id, amount_microusd) values (for_task, for_user, hold_microusd)
  on conflict (task_id) do update
    set amount_microusd = excluded.amount_microusd, state = 'held', created_at = now(), closed_at = null
    where credit_holds.state = 'released';
  if not found then
    raise exception 'task % is held or settled already', for_task;
  end if;
end
$$;
revoke all on function public.open_hold from public, anon, authenticated;

-- supabase/schemas/credits/functions/planned_children.sql
-- How many children of which type an orchestrator's details ask for; at most 500 of a type.
create or replace function public.planned_children(for_task_type text, params jsonb)
returns table (child_type text, child_count integer)
language sql immutable set search_path = '' as $$
  with plan as (
    select coalesce(params -> 'orchestrator_details', params) as details
  ), sizes as (
    select least(greatest(case when details ->> 'num_new_segments_to_generate' ~ '^\d{1,4}$'
                               then (details ->> 'num_new_segments_to_generate')::integer else 1 end, 1), 500) as segments,
           least(greatest(
             case when jsonb_typeof(details -> 'clip_list') = 'array' then jsonb_array_length(details -> 'clip_list') else 0 end,
             case when jsonb_typeof(details -> 'segment_task_ids') = 'array' then jsonb_array_length(details -> 'segment_task_ids') else 0 end,
             2), 500) as clips,
           least(greatest(
             case when jsonb_typeof(details -> 'portions_to_regenerate') = 'array' then jsonb_array_length(details -> 'portions_to_regenerate') else 0 end,
             1), 500) as portions,
           jsonb_typeof(details -> 'stitch_config') = 'object' as stitches
      from plan
  )
  select planned.child_type, planned.child_count
    from sizes, lateral (values
      ('travel_orchestrator', 'travel_segment', segments),
      ('travel_orchestrator', 'travel_stitch', 1),
      ('travel_orchestrator', 'join_clips_segment', case when stitches then segments else 0 end),
      ('travel_orchestrator', 'join_final_stitch', case when stitches then 1 else 0 end),
      ('join_clips_orchestrator', 'join_clips_segment', clips),
      ('join_clips_orchestrator', 'join_final_stitch', 1),
      ('edit_video_orchestrator', 'join_clips_segment', portions),
      ('edit_video_orchestrator', 'join_final_stitch', 1)
    ) as planned (orchestrator_type, child_type, child_count)
   where planned.orchestrator_type = for_task_type and planned.child_count > 0
$$;
revoke all on function public.planned_children from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_multiplier.sql
-- The product of the price's factors that these params name.
create or replace function public.price_multiplier(price public.task_type_prices, params jsonb)
returns numeric
language sql stable set search_path = '' as $$
  select coalesce((price.cost_factors -> 'resolution' ->> (params ->> 'resolution'))::numeric, 1)
       * coalesce((price.cost_factors -> 'model_type' ->> (params ->> 'model_type'))::numeric, 1)
$$;
revoke all on function public.price_multiplier from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_of_work.sql
-- What a finished piece of work costs: one unit, or its begun seconds (at least one, at most the type's
-- longest run), times the factors. Rounded half up to a whole micro-dollar, once, at the end.
create or replace function public.price_of_work(
  price public.task_type_prices, params jsonb, work_seconds numeric, max_runtime_seconds integer
) returns bigint
language sql stable set search_path = '' as $$
  select round(price.price_microusd * public.price_multiplier(price, params)
    * case price.billing_type
        when 'per_unit' then 1
        else least(greatest(ceil(work_seconds), 1), max_runtime_seconds)
      end)::bigint
$$;
revoke all on function public.price_of_work from public, anon, authenticated;

-- supabase/schemas/credits/functions/quote_task.sql
-- The price of a task before it runs. Per unit it is exact; per second the upper bound is the type's
-- longest run; an orchestrator's is the sum of the children its plan speaks of.
create or replace function public.quote_task(
  for_task_type text, params jsonb,
  out price public.task_type_prices, out upper_bound_microusd bigint, out exact boolean, out breakdown jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  task_type public.task_types;
  part record;
begin
  select * into task_type from public.task_types where name = for_task_type;
  price := public.current_price(for_task_type);
  if task_type.category = 'orchestration' then
    exact := false;
    upper_bound_microusd := 0;
    breakdown := '[]';
    for part in
      select planned.child_type, planned.child_count, child.max_runtime_seconds,
             public.price_of_work(public.current_price(planned.child_type), quote_task.params,
                                  child.max_runtime_seconds, child.max_runtime_seconds) as each_microusd
        from public.planned_children(for_task_type, quote_task.params) as planned
        join public.task_types as child on child.name = planned.child_type
    loop
      upper_bound_microusd := upper_bound_microusd + part.child_count * part.each_microusd;
      breakdown := breakdown || jsonb_build_object(
        'item', part.child_type, 'count', part.child_count, 'each_microusd', part.each_microusd,
        'total_microusd', part.child_count * part.each_microusd);
    end loop;
  else
    exact := price.billing_type = 'per_unit';
    upper_bound_microusd := public.price_of_work(
      price, quote_task.params, task_type.max_runtime_seconds, task_type.max_runtime_seconds);
    breakdown := jsonb_build_array(jsonb_build_object(
      'item', for_task_type,
      'count', case when exact then 1 else task_type.max_runtime_seconds end,
      'unit', case when exact then 'output' else 'second' end,
      'each_microusd', price.price_microusd,
      'multiplier', public.price_multiplier(price, quote_task.params),
      'total_microusd', upper_bound_microusd));
  end if;
end
$$;
revoke all on function public.quote_task from public, anon, authenticated;

-- supabase/schemas/credits/functions/record_credit.sql
-- The only writer of the ledger: moves the account, gives back what was held for this, and appends the entry
-- that says so.
-- Guarantees: entries and balance agree at every commit, for the account's row is locked by its own update.
create or replace function public.record_credit(
  for_user uuid, entry_type public.ledger_entry_type, amount_microusd bigint,
  for_task uuid default null, idempotency_key text default null, metadata jsonb default '{}',
  released_microusd bigint default 0
) returns public.credits_ledger
language plpgsql set search_path = '' as $$
declare
  balance bigint;
  entry public.credits_ledger;
begin
  update public.credit_accounts as account
     set balance_microusd = account.balance_microusd + record_credit.amount_microusd,
         held_microusd = account.held_microusd - released_microusd
   where account.user_id = for_user
  returning account.balance_microusd into balance;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  insert into public.credits_ledger
    (user_id, task_id, type, amount_microusd, balance_after_microusd, idempotency_key, metadata)
  values (for_user, for_task, entry_type, record_credit.amount_microusd, balance,
          record_credit.idempotency_key, record_credit.metadata)
  returning * into entry;
  return entry;
end
$$;
revoke all on function public.record_credit from public, anon, authenticated;

-- supabase/schemas/credits/functions/refuse_ledger_change.sql
create or replace function public.refuse_ledger_change()
returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'credits_ledger is append-only' using errcode = 'restrict_violation';
end
$$;
revoke all on function public.refuse_ledger_change from public, anon, authenticated;

-- supabase/schemas/credits/functions/reserve_credit.sql
create or replace function public.reserve_credit(for_user uuid, required_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  available bigint;
begin
  update public.credit_accounts as account
     set held_microusd = account.held_microusd + required_microusd
   where account.user_id = for_user
     and account.balance_microusd - account.held_microusd >= required_microusd;
  if not found then
    select account.balance_microusd - account.held_microusd into available
      from public.credit_accounts as account where account.user_id = for_user;
    perform public.refuse('insufficient_credits', 402, jsonb_build_object(
      'required_credits', required_microusd / 10000.0, 'available_credits', coalesce(available, 0) / 10000.0,
      'required_microusd', required_microusd, 'available_microusd', coalesce(available, 0)));
  end if;
end
$$;
revoke all on function public.reserve_credit from public, anon, authenticated;

-- supabase/schemas/credits/functions/show_balance.sql
-- Keeps `users.credits` (cents), which clients read, equal to the account.
create or replace function public.show_balance()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.users set credits = new.balance_microusd / 10000.0 where id = new.user_id;
  return null;
end
$$;
revoke all on function public.show_balance from public, anon, authenticated;

-- supabase/schemas/tasks/functions/allows_cloud.sql
-- A user's tasks go to the cloud unless they chose otherwise.
create or replace function public.allows_cloud(settings jsonb)
returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(settings -> 'ui' -> 'generationMethods' -> 'inCloud' <> 'false', true)
$$;
revoke all on function public.allows_cloud from public, anon, authenticated;

-- supabase/schemas/tasks/functions/archive_finished_tasks.sql
-- Moves finished tasks older than `queue_settings.keep_finished` to the archive; at most so many, but a family
-- (an orchestrator with all its children) always at once. Answers how many.
-- What stays: see family_may_leave().
-- Safe to run anywhere at once: one runs, the others go away; and it waits for nobody, for what somebody has
-- locked is skipped. No answer of a read changes.
create or replace function public.archive_finished_tasks(at_most integer default 1000)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  finished_before constant timestamptz := (select now() - keep_finished from public.queue_settings);
  root uuid;
  family uuid[];
  roots uuid[] := '{}';
  members uuid[] := '{}';
  locked uuid[];
  project_ids uuid[];
  leaving uuid[];
begin
  -- Two would wait for each other where tasks of one depend on tasks of the other.
  if not pg_try_advisory_xact_lock(hashtextextended('archive_finished_tasks', 0)) then
    return 0;
  end if;
  -- Whoever adds a child locks the orchestrator first, so from here on a family does not grow. Those that may not
  -- leave are passed over here, lest many of them fill every batch.
  for root in
    select id from public.tasks
     where status in ('Complete', 'Failed', 'Cancelled') and orchestrator_task_id is null
       and updated_at < finished_before and public.family_may_leave(id, finished_before)
     order by updated_at, id limit at_most for update skip locked
  loop
    family := array(select public.family_of_task(root));
    exit when roots <> '{}' and cardinality(members) + cardinality(family) > at_most;
    roots := roots || root;
    members := members || family;
  end loop;
  if roots = '{}' then
    return 0;
  end if;
  select array_agg(id), array_agg(distinct project_id) into locked, project_ids
    from (select id, project_id from public.tasks where id = any (members) order by id
             for update skip locked) as task;
  -- A project that is being deleted takes its tasks with it.
  select array_agg(id) into project_ids
    from (select id from public.projects where id = any (project_ids) for key share skip locked) as project;

  -- Looked at again under the locks: nobody can retry them, or begin to depend on them, before this commits.
  with ready as materialized (
    select id from public.tasks
     where id = any (roots) and project_id = any (project_ids) and public.family_may_leave(id, finished_before)
  ), whole as (
    select array_agg(member) as tasks
      from ready
     cross join public.family_of_task(ready.id) as member
      left join unnest(locked) as ours on ours = member
     group by ready.id
    having bool_and(ours is not null)
  )
  select array_agg(member) into leaving from whole, unnest(whole.tasks) as member;
  if leaving is null then
    return 0;
  end if;

  insert into public.archived_tasks (
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, in_cloud, price_id, upper_bound_microusd,
    children_bound_microusd, cost_microusd, copied_from_share, created_at, updated_at)
  select
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, in_cloud, price_id, upper_bound_microusd,
    children_bound_microusd, cost_microusd, copied_from_share, created_at, updated_at
    from public.tasks where id = any (leaving);
  delete from public.tasks where id = any (leaving);
  return cardinality(leaving);
end
$$;
revoke all on function public.archive_finished_tasks from public, anon, authenticated;
grant execute on function public.archive_finished_tasks to service_role;

-- supabase/schemas/tasks/functions/archived_task.sql
-- An archived task in the shape that it had in the queue, for the answers to repeated calls; else no row.
create or replace function public.archived_task(for_task uuid)
returns setof public.tasks
language sql stable set search_path = '' as $$
  select (jsonb_populate_record(null::public.tasks, to_jsonb(archived))).*
    from public.archived_tasks as archived where archived.id = for_task
$$;
revoke all on function public.archived_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/canonical_task_type.sql
-- The name under which a type is stored; 422 for a type that there is none of.
create or replace function public.canonical_task_type(given_name text)
returns text
language plpgsql stable set search_path = '' as $$
declare
  type_name text;
begin
  select coalesce(alias_of, name) into type_name from public.task_types where name = given_name and is_active;
  if not found then
    perform public.refuse('unknown_task_type', 422, jsonb_build_object('task_type', given_name));
  end if;
  return type_name;
end
$$;
revoke all on function public.canonical_task_type from public, anon, authenticated;

-- supabase/schemas/tasks/functions/charge_metadata.sql
-- What a receipt needs to be recomputed.
create or replace function public.charge_metadata(task public.tasks)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'task_type', task.task_type, 'price_id', task.price_id, 'price_version', price.version,
    'billing_type', price.billing_type, 'price_microusd', price.price_microusd,
    'multiplier', public.price_multiplier(price, task.params),
    'duration_seconds', round(extract(epoch from task.generation_processed_at - task.generation_started_at), 3))
    from public.task_type_prices as price where price.id = task.price_id
$$;
revoke all on function public.charge_metadata from public, anon, authenticated;

-- supabase/schemas/tasks/functions/check_output_path.sql
-- A task's files lie in its own folder. A foreign path is refused like a missing one would be, without a
-- look into storage.
create or replace function public.check_output_path(task public.tasks, path text)
returns void
language plpgsql stable set search_path = '' as $$
begin
  if not starts_with(path, format('%s/tasks/%s/', task.user_id, task.id)) then
    perform public.refuse('forbidden', 403, jsonb_build_object('path', path));
  end if;
  if not exists (select from storage.objects where bucket_id = 'image_uploads' and name = path) then
    perform public.refuse('output_not_found', 404, jsonb_build_object('path', path));
  end if;
end
$$;
revoke all on function public.check_output_path from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_from_lane.sql
-- Takes a free slot of the lane's user and the lane's first task, skipping what others have locked.
-- Null when there is no such pair; then the lane is closed if nothing is left in it.
create or replace function public.claim_from_lane(
  for_lane bigint, for_worker text, by_owner boolean, worker_heartbeats boolean
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  free_slot smallint;
  task public.tasks;
begin
  select * into lane from public.task_lanes where id = for_lane;
  if not lane.is_orchestrator then
    select slot into free_slot from public.task_slots
     where user_id = lane.user_id and task_id is null
     order by slot limit 1 for update skip locked;
    if not found then
      perform public.close_lane_if_idle(for_lane);
      return null;
    end if;
  end if;

  select * into task from public.tasks
   where lane_id = for_lane and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
   order by priority desc, created_at, id limit 1 for update skip locked;
  if not found then
    perform public.close_lane_if_idle(for_lane);
    return null;
  end if;

  update public.tasks
     set status = 'In Progress', attempt = attempt + 1, worker_id = coalesce(for_worker, 'edge_' || gen_random_uuid()), claimed_by_owner = by_owner,
         slot = free_slot, generation_started_at = now(), updated_at = now(),
         progress = null, progress_message = null, error_message = null,
         lease_expires_at = now() + public.lease_duration(task_type, worker_heartbeats)
   where id = task.id
  returning * into task;
  if free_slot is not null then
    update public.task_slots set task_id = task.id where user_id = lane.user_id and slot = free_slot;
  end if;
  perform public.pass_turn(lane.user_id, for_lane);

  return jsonb_build_object(
    'task_id', task.id, 'params', task.params, 'task_type', task.task_type, 'project_id', task.project_id,
    'attempt', task.attempt, 'attempts', task.attempts, 'lease_expires_at', task.lease_expires_at);
end
$$;
revoke all on function public.claim_from_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_next_task.sql
-- Moves one task to a worker and answers it; null when there is none.
-- Guarantees: a task goes to one worker and no user has more running tasks than slots, for task and slot are
-- locked as they are chosen; whatever another claim has locked is skipped, so no claim waits for another.
-- Order: the worker's loaded model first, until a task of another has waited `affinity_max_wait`; then the
-- user served longest ago; within a user by priority, then age.
-- `for_user` limits it to that owner's tasks (a token), which then need no cover.
create or replace function public.claim_next_task(
  for_user uuid default null, for_worker text default null, for_run_type text default null,
  only_task_types text[] default null, only_models text[] default null, same_model_only boolean default false,
  debug boolean default false
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker constant public.workers := public.register_worker(for_worker, for_user);
  warm_model constant text := case when worker.status in ('active', 'inactive') then worker.current_model end;
  types text[];
  lane record;
  tried bigint[] := '{}';
  claimed jsonb;
begin
  select array_agg(name) into types from public.task_types
   where alias_of is null and (for_run_type is null or run_type = for_run_type)
     and (only_task_types is null or name = any (only_task_types)
          or exists (select from public.task_types as alias
                      where alias.alias_of = task_types.name and alias.name = any (only_task_types)));

  for page in 1 .. 8 loop
    for lane in
      select * from public.lanes_to_try(
        for_user, types, only_models, warm_model, same_model_only, tried, 16)
    loop
      claimed := public.claim_from_lane(lane.lane_id, for_worker, for_user is not null,
                                        coalesce(worker.heartbeats, false));
      if claimed is not null then
        return claimed;
      end if;
      tried := tried || lane.lane_id;
    end loop;
    exit when not found;
  end loop;

  if exists (select from public.tasks where status = 'In Progress' and lease_expires_at < now())
     and public.sweep_expired_leases(16) > 0 then
    return public.claim_next_task(for_user, for_worker, for_run_type, only_task_types, only_models,
                                  same_model_only, debug);
  end if;
  if debug then
    return jsonb_build_object('debug', public.explain_empty_claim(for_user, types));
  end if;
  return null;
end
$$;
revoke all on function public.claim_next_task from public, anon, authenticated;
grant execute on function public.claim_next_task to service_role;

-- supabase/schemas/tasks/functions/close_lane_if_idle.sql
-- A claim found nothing here: closes the lane if that is true for good, and waits for nobody to find out.
-- Whoever is adding work or freeing a slot holds the tenant's lock; then the lane is left as it is.
create or replace function public.close_lane_if_idle(for_lane bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  has_task boolean;
  has_slot boolean;
begin
  select * into lane from public.task_lanes where id = for_lane;
  perform from public.task_tenants where user_id = lane.user_id for no key update skip locked;
  if not found then
    return;
  end if;
  perform from public.task_lanes where id = for_lane for no key update skip locked;
  if not found then
    return;
  end if;
  -- A new statement, so a new snapshot: it sees what was committed before the locks were free.
  has_task := exists (select from public.tasks
                       where lane_id = for_lane and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled);
  has_slot := lane.is_orchestrator
    or exists (select from public.task_slots where user_id = lane.user_id and task_id is null);
  update public.task_lanes set is_ready = has_task, is_open = is_open and has_task and has_slot
   where id = for_lane and (is_ready <> has_task or is_open <> (is_open and has_task and has_slot));
end
$$;
revoke all on function public.close_lane_if_idle from public, anon, authenticated;

-- supabase/schemas/tasks/functions/complete_task.sql
-- Ends a run with its output, in one transaction: the row, the generation or variant, the charge, the
-- dependants. Guarantees: one output and one charge, for the status is checked under the row's lock;
-- the same worker and attempt get the first answer again; everybody else 409, and nothing changes.
-- `output_path` and `thumbnail_path` name files in storage, which must be there and be this task's.
create or replace function public.complete_task(
  for_user uuid, for_task uuid, output_path text, output_location text,
  thumbnail_path text default null, thumbnail_location text default null,
  for_worker text default null, for_attempt integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
  made record;
begin
  if task.status = 'Complete' then
    return public.stored_completion(task);
  end if;
  perform public.check_output_path(task, output_path);
  if thumbnail_path is not null then
    perform public.check_output_path(task, thumbnail_path);
  end if;

  select * into made from public.create_output(task, complete_task.output_location, complete_task.thumbnail_location);
  task := public.finish_task(task, complete_task.output_location, complete_task.thumbnail_location,
                             made.generation_id, made.variant_id);
  return public.stored_completion(task, made.warnings);
end
$$;
revoke all on function public.complete_task from public, anon, authenticated;
grant execute on function public.complete_task to service_role;

-- supabase/schemas/tasks/functions/cost_of_run.sql
-- What a finished run costs: nothing on the owner's own machine or without an output; an orchestrator what
-- its finished children cost; else the price it was quoted, by the database's clock.
create or replace function public.cost_of_run(task public.tasks, has_output boolean)
returns bigint
language sql stable set search_path = '' as $$
  select case
    when task.is_orchestrator then
      (select coalesce(sum(child.cost_microusd), 0)::bigint from public.tasks as child
        where child.orchestrator_task_id = task.id and child.status = 'Complete')
    when task.claimed_by_owner or not task.in_cloud or not has_output then 0
    else public.price_of_work(
      price, task.params, extract(epoch from clock_timestamp() - task.generation_started_at),
      (select max_runtime_seconds from public.task_types where name = task.task_type))
    end
    from public.task_type_prices as price where price.id = task.price_id
$$;
revoke all on function public.cost_of_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cover_child.sql
-- A child is paid from the hold of its (outermost) orchestrator; when the children outgrow what was
-- reserved, the hold is raised (402 when the account cannot). Without this, an orchestrator would be a way
-- to free work.
create or replace function public.cover_child(orchestrator_id uuid, child_bound_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  excess bigint;
begin
  update public.tasks set children_bound_microusd = children_bound_microusd + child_bound_microusd
   where id = orchestrator_id
  returning * into orchestrator;
  if orchestrator.orchestrator_task_id is null then
    perform public.extend_hold(orchestrator_id, orchestrator.children_bound_microusd);
  else
    excess := orchestrator.children_bound_microusd - orchestrator.upper_bound_microusd;
    if excess > 0 then
      perform public.cover_child(orchestrator.orchestrator_task_id, least(excess, child_bound_microusd));
    end if;
  end if;
end
$$;
revoke all on function public.cover_child from public, anon, authenticated;

-- supabase/schemas/tasks/functions/create_one_task.sql
-- One task of a create: see create_task. Locks, in this order: orchestrator, dependencies, tenant, account.
create or replace function public.create_one_task(for_user uuid, request jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  hash constant bytea := sha256(convert_to((request - array['priority', 'max_attempts'])::text, 'UTF8'));
  project constant public.projects := public.project_of_request(for_user, request);
  new_params constant jsonb := request -> 'params';
  named_orchestrator constant uuid := public.orchestrator_of_params(new_params);
  new_id constant uuid := coalesce((request ->> 'task_id')::uuid, gen_random_uuid());
  type_row public.task_types;
  orchestrator public.tasks;
  dependencies uuid[];
  present integer;
  failed integer;
  unmet integer := 0;
  quote record;
  goes_to_cloud boolean;
  known public.tasks;
  lane bigint;
begin
  select * into type_row from public.task_types
   where name = public.canonical_task_type(request ->> 'task_type');

  if request ? 'task_id' then
    select * into known from public.tasks where id = new_id;
    if found then
      return public.repeated_task(known, project.user_id, hash);
    end if;
    select * into known from public.archived_task(new_id);
    if found then
      return public.repeated_task(known, project.user_id, hash);
    end if;
  end if;

  -- Locked so that neither the orchestrator nor a dependency ends between our look and our commit.
  select * into orchestrator from public.tasks
   where id = named_orchestrator and id <> new_id and project_id = project.id
   for no key update;
  if orchestrator.id is null and named_orchestrator is not null then
    -- An archived one is not locked: it does not change any more.
    select * into orchestrator from public.archived_task(named_orchestrator)
     where id <> new_id and project_id = project.id;
  end if;
  if orchestrator.status in ('Complete', 'Failed', 'Cancelled') then
    perform public.refuse('orchestrator_finished', 409, jsonb_build_object(
      'orchestrator_task_id', orchestrator.id, 'orchestrator_status', orchestrator.status));
  end if;

  -- In the client's order: get-predecessor-output gives out the first.
  select array_agg(id order by position) into dependencies
    from (select value::uuid as id, min(ordinality) as position
            from jsonb_array_elements_text(coalesce(request -> 'dependant_on', '[]')) with ordinality
           group by 1) as given;
  if dependencies is not null then
    select count(*), count(*) filter (where status in ('Failed', 'Cancelled')),
           count(*) filter (where status <> 'Complete')
      into present, failed, unmet
      from (select status from public.tasks
             where id = any (dependencies) and project_id = project.id order by id for share) as dependency;
    if present <> cardinality(dependencies) then
      select present + count(*), failed + count(*) filter (where status <> 'Complete') into present, failed
        from public.archived_tasks where id = any (dependencies) and project_id = project.id;
    end if;
    if present <> cardinality(dependencies) or failed > 0 then
      perform public.refuse('invalid_dependency', 422);
    end if;
  end if;

  perform public.lock_tenant(project.user_id);
  select * into quote from public.quote_task(type_row.name, new_params);
  goes_to_cloud := case when orchestrator.id is not null then orchestrator.in_cloud
    else (select allows_cloud from public.task_tenants where user_id = project.user_id) end;
  lane := public.find_lane(project.user_id, type_row.name, coalesce(public.model_of_params(new_params), ''),
                           goes_to_cloud, type_row.category = 'orchestration');

  insert into public.tasks (
    id, project_id, user_id, task_type, params, lane_id, run_type, model, is_orchestrator,
    orchestrator_task_id, dependant_on, unmet_dependencies, priority, max_attempts, request_hash,
    in_cloud, price_id, upper_bound_microusd)
  values (
    new_id, project.id, project.user_id, type_row.name, new_params, lane, type_row.run_type,
    public.model_of_params(new_params), type_row.category = 'orchestration',
    orchestrator.id, dependencies, unmet,
    coalesce((request ->> 'priority')::smallint, 0), coalesce((request ->> 'max_attempts')::integer, 3), hash,
    goes_to_cloud, (quote.price).id, quote.upper_bound_microusd)
  on conflict (id) do nothing;
  if not found then
    -- The same id, committed by another request since our look.
    select * into known from public.tasks where id = new_id;
    return public.repeated_task(known, project.user_id, hash);
  end if;

  insert into public.task_dependencies (dependency_id, task_id)
  select id, new_id from public.tasks where id = any (dependencies);

  if goes_to_cloud then
    if orchestrator.id is null then
      perform public.open_hold(project.user_id, new_id, quote.upper_bound_microusd);
    else
      perform public.cover_child(orchestrator.id, quote.upper_bound_microusd);
    end if;
  end if;
  if unmet = 0 then
    perform public.ready_lane(lane, now());
  end if;

  return jsonb_build_object(
    'task_id', new_id, 'status', 'Task queued', 'task_type', type_row.name, 'project_id', project.id,
    'cost', quote.upper_bound_microusd / 10000.0, 'upper_bound_microusd', quote.upper_bound_microusd,
    'exact', quote.exact, 'price_version', (quote.price).version,
    'held_microusd', case when goes_to_cloud and orchestrator.id is null then quote.upper_bound_microusd else 0 end,
    'deduplicated', false);
end
$$;
revoke all on function public.create_one_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/create_task.sql
-- Creates one task or up to a hundred, all or none: priced, covered by a hold, queued.
-- `requests` is an array of {task_id?, task_type, params, project_id?, dependant_on, priority?, max_attempts?}.
-- Guarantees: no task without cover; the same key, or the same task id, and the same request give the first
-- answer again.
create or replace function public.create_task(
  for_user uuid, requests jsonb, is_batch boolean, idempotency_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  hash constant bytea := sha256(convert_to(requests::text, 'UTF8'));
  project public.projects;
  known public.task_requests;
  created jsonb := '[]';
  first_answer jsonb;
  request jsonb;
begin
  if create_task.idempotency_key is not null then
    -- The key is the payer's: the owner of the first project, whoever sends the request for them.
    project := public.project_of_request(for_user, requests -> 0);
    insert into public.task_requests (user_id, idempotency_key, request_hash)
    values (project.user_id, create_task.idempotency_key, hash) on conflict do nothing;
    if not found then
      select * into known from public.task_requests as request_row
       where request_row.user_id = project.user_id
         and request_row.idempotency_key = create_task.idempotency_key;
      if known.request_hash <> hash then
        perform public.refuse('idempotency_key_reused', 422);
      end if;
      return known.answer || '{"deduplicated": true}';
    end if;
  end if;

  for request in select value from jsonb_array_elements(requests) loop
    created := created || public.create_one_task(for_user, request);
  end loop;

  first_answer := case
    when is_batch then jsonb_build_object(
      'status', 'Task queued', 'tasks', created,
      'task_ids', (select jsonb_agg(task -> 'task_id') from jsonb_array_elements(created) as task),
      'deduplicated', not exists (select from jsonb_array_elements(created) as task
                                   where not (task -> 'deduplicated')::boolean))
    else created -> 0 end;
  if create_task.idempotency_key is not null then
    update public.task_requests as request_row set answer = first_answer
     where request_row.user_id = project.user_id
       and request_row.idempotency_key = create_task.idempotency_key;
  end if;
  return first_answer;
end
$$;
revoke all on function public.create_task from public, anon, authenticated;
grant execute on function public.create_task to service_role;

-- supabase/schemas/tasks/functions/end_project_tasks.sql
-- A project that is deleted ends its tasks first: what is finished is paid while its rows are still there.
create or replace function public.end_project_tasks()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  open_task uuid;
begin
  for open_task in
    select id from public.tasks where project_id = old.id and status in ('Queued', 'In Progress')
     order by is_orchestrator desc, id
  loop
    perform public.end_task(open_task, 'Cancelled', 'project_deleted');
  end loop;
  return old;
end
$$;
revoke all on function public.end_project_tasks from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_task.sql
-- Fails or cancels a task, and with it whoever cannot go on: its orchestrator, the orchestrator's other
-- children, and all who depend on any of them. Rows that have ended stay as they are.
-- Charges nothing but an orchestrator's finished children; every other hold is released.
create or replace function public.end_task(for_task uuid, new_status public.task_status, error text)
returns void
language plpgsql set search_path = '' as $$
declare
  relatives uuid[] := array[for_task];
  dependants uuid[] := '{}';
  ended uuid[];
  orchestrators uuid[] := '{}';
  task public.tasks;
begin
  loop
    ended := '{}';
    for task in
      select * from public.tasks
       where id = any (relatives || dependants) and status in ('Queued', 'In Progress')
       order by id for no key update
    loop
      update public.tasks
         set status = case when task.id = any (relatives) then new_status else 'Failed' end,
             error_message = case
               when task.id = for_task then error
               when task.id = any (relatives)
               then format('Cascaded %s from related task %s', lower(new_status::text), for_task)
               else 'dependency_failed' end,
             slot = null, lease_expires_at = null, updated_at = now()
       where id = task.id;
      if task.slot is not null then
        perform public.free_slot(task.user_id, task.slot);
      end if;
      if task.is_orchestrator then
        orchestrators := orchestrators || task.id;
      elsif task.orchestrator_task_id is null then
        perform public.close_hold(task.id, 0);
      end if;
      ended := ended || task.id;
    end loop;
    exit when cardinality(ended) = 0;
    select coalesce(array_agg(related.id), '{}') into relatives
      from (select id from public.tasks where orchestrator_task_id = any (ended)
            union
            select orchestrator_task_id from public.tasks where id = any (ended)) as related;
    select coalesce(array_agg(distinct waiting.task_id), '{}') into dependants
      from public.task_dependencies as waiting where waiting.dependency_id = any (ended);
  end loop;

  -- Last, when no child can finish any more.
  for task in select * from public.tasks where id = any (orchestrators) loop
    perform public.settle_ended_orchestrator(task);
  end loop;
end
$$;
revoke all on function public.end_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/explain_empty_claim.sql
-- Why a claim got nothing, in numbers of queued tasks. Reads the queue: for people who debug, not for polling.
create or replace function public.explain_empty_claim(for_user uuid, types text[])
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'queued', count(*),
    'other_task_type', count(*) filter (where not matches),
    'blocked_by_dependency', count(*) filter (where matches and blocked),
    'not_in_cloud', count(*) filter (where matches and not blocked and not cloud),
    'at_capacity', count(*) filter (where matches and not blocked and cloud and full_up),
    'claimable', count(*) filter (where matches and not blocked and cloud and not full_up))
    from (
      select coalesce(task.task_type = any (types), false) as matches,
             task.unmet_dependencies > 0 as blocked,
             for_user is not null or (task.in_cloud and tenant.allows_cloud) as cloud,
             not task.is_orchestrator and not exists (
               select from public.task_slots as slot
                where slot.user_id = task.user_id and slot.task_id is null) as full_up
        from public.tasks as task
        join public.task_tenants as tenant on tenant.user_id = task.user_id
       where task.status = 'Queued' and (for_user is null or task.user_id = for_user)
       limit 10000
    ) as queued
$$;
revoke all on function public.explain_empty_claim from public, anon, authenticated;

-- supabase/schemas/tasks/functions/extend_lease.sql
-- A call about a running task by its worker keeps the task with it.
create or replace function public.extend_lease(task public.tasks)
returns void
language sql set search_path = '' as $$
  update public.tasks
     set lease_expires_at = now() + public.lease_duration(task.task_type, coalesce(
           (select heartbeats from public.workers where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)), false))
   where id = task.id and status = 'In Progress'
$$;
revoke all on function public.extend_lease from public, anon, authenticated;

-- supabase/schemas/tasks/functions/fail_orphaned_dependant.sql
-- A task that waited for one that was deleted can never run. What was complete when it was deleted is not
-- waited for: then the counter and the dependencies that are left agree.
create or replace function public.fail_orphaned_dependant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.end_task(task.id, 'Failed', 'dependency_failed')
     from public.tasks as task
    where task.id = old.task_id and task.status = 'Queued'
      and task.unmet_dependencies > (
        select count(*) from public.task_dependencies as needed
          join public.tasks as dependency on dependency.id = needed.dependency_id
         where needed.task_id = task.id and dependency.status <> 'Complete');
  return null;
end
$$;
revoke all on function public.fail_orphaned_dependant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/family_may_leave.sql
-- Whether a task and all its children can go to the archive: ended and left alone since then, with no credits
-- held, and no open task depends on one of them. Its cost keeps the planner from asking it of more rows than the
-- batch has.
create or replace function public.family_may_leave(root uuid, finished_before timestamptz)
returns boolean
language plpgsql stable set search_path = '' cost 10000 as $$
begin
  return (
    select bool_and(
      task.status in ('Complete', 'Failed', 'Cancelled') and task.updated_at < finished_before
      and not exists (select from public.credit_holds as hold
                       where hold.task_id = task.id and hold.state = 'held')
      and not exists (select from public.task_dependencies as needed
                        join public.tasks as dependant on dependant.id = needed.task_id
                       where needed.dependency_id = task.id and dependant.status in ('Queued', 'In Progress')))
      from public.family_of_task(root) as member
      join public.tasks as task on task.id = member);
end
$$;
revoke all on function public.family_may_leave from public, anon, authenticated;

-- supabase/schemas/tasks/functions/family_of_task.sql
-- A task with its children, and theirs. In PL/pgSQL, as is family_may_leave(): called for every row of a
-- batch, they would be planned anew each time as SQL functions.
create or replace function public.family_of_task(root uuid)
returns setof uuid
language plpgsql stable set search_path = '' rows 1 as $$
begin
  return query
    with recursive family (id) as (
      select root
      union
      select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
    )
    select id from family;
end
$$;
revoke all on function public.family_of_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_lane.sql
-- The lane for such tasks of a user, made when it is the first of its kind. Names of models come from clients:
-- beyond a user's first 300 lanes, tasks share the lane of no model, so nobody fills the queue with lanes.
create or replace function public.find_lane(
  for_user uuid, for_task_type text, for_model text, lane_in_cloud boolean, lane_is_orchestrator boolean
) returns bigint
language plpgsql set search_path = '' as $$
declare
  lane_id bigint;
begin
  select id into lane_id from public.task_lanes
   where user_id = for_user and task_type = for_task_type and model = for_model and in_cloud = lane_in_cloud;
  if not found and for_model <> ''
     and (select count(*) from public.task_lanes where user_id = for_user) >= 300 then
    return public.find_lane(for_user, for_task_type, '', lane_in_cloud, lane_is_orchestrator);
  end if;
  if lane_id is null then
    insert into public.task_models (task_type, model) values (for_task_type, for_model) on conflict do nothing;
    insert into public.task_lanes (user_id, task_type, model, run_type, in_cloud, is_orchestrator, turn)
    select for_user, for_task_type, for_model, run_type, lane_in_cloud, lane_is_orchestrator,
           nextval('public.task_turns')
      from public.task_types where name = for_task_type
    on conflict (user_id, task_type, model, in_cloud) do update set turn = task_lanes.turn
    returning id into lane_id;
  end if;
  return lane_id;
end
$$;
revoke all on function public.find_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_project.sql
-- Refuses a project that is not this caller's like one that does not exist.
create or replace function public.find_project(for_user uuid, for_project uuid)
returns public.projects
language plpgsql stable set search_path = '' as $$
declare
  project public.projects;
begin
  select * into project from public.projects
   where id = for_project and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  return project;
end
$$;
revoke all on function public.find_project from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_task.sql
-- The task, running or archived, if this caller may see it; else 404, the same for foreign and unknown.
-- The archive is looked into only for what is not in `tasks`.
create or replace function public.find_task(for_user uuid, for_task uuid)
returns public.all_tasks
language plpgsql stable set search_path = '' as $$
declare
  task public.all_tasks;
begin
  select * into task from public.all_tasks
   where id = for_task and (for_user is null or user_id = for_user) limit 1;
  if not found then
    perform public.refuse('task_not_found', 404);
  end if;
  return task;
end
$$;
revoke all on function public.find_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/finish_task.sql
-- Complete: the row, the slot, the charge, the dependants. The caller holds the running task's lock.
create or replace function public.finish_task(
  task public.tasks, new_output text, new_thumbnail text, new_generation uuid, new_variant uuid
) returns public.tasks
language plpgsql set search_path = '' as $$
declare
  finished public.tasks;
begin
  update public.tasks
     set status = 'Complete', output_location = new_output, thumbnail_url = new_thumbnail,
         generation_processed_at = clock_timestamp(), updated_at = now(),
         progress = 1, progress_message = null, slot = null, lease_expires_at = null,
         generation_created = new_generation is not null,
         cost_microusd = public.cost_of_run(task, new_output is not null),
         result_data = jsonb_strip_nulls(jsonb_build_object('generation_id', new_generation, 'variant_id', new_variant))
   where id = task.id
  returning * into finished;
  if task.is_orchestrator then
    -- What it leaves behind would run without cover, for its hold ends here.
    perform public.end_task(child.id, 'Cancelled', 'orchestrator_finished')
       from public.tasks as child
      where child.orchestrator_task_id = task.id and child.status in ('Queued', 'In Progress');
    -- Counted again: a child may have finished while we waited for it.
    update public.tasks set cost_microusd = public.cost_of_run(task, true) where id = task.id
    returning * into finished;
  end if;
  if task.slot is not null then
    perform public.free_slot(task.user_id, task.slot);
  end if;
  if task.orchestrator_task_id is null then
    perform public.close_hold(task.id, finished.cost_microusd, public.charge_metadata(finished));
  end if;
  perform public.release_dependants(task.id);
  return finished;
end
$$;
revoke all on function public.finish_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/follow_cloud_choice.sql
-- Opens or closes a user's lanes for the cloud when they change their mind.
create or replace function public.follow_cloud_choice()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.task_tenants set allows_cloud = public.allows_cloud(new.settings)
   where user_id = new.id and allows_cloud <> public.allows_cloud(new.settings);
  if found then
    perform public.open_lanes(new.id);
  end if;
  return null;
end
$$;
revoke all on function public.follow_cloud_choice from public, anon, authenticated;

-- supabase/schemas/tasks/functions/forget_old_requests.sql
-- Forgets idempotency keys after 30 days and rate limits that nobody has touched for a day.
create or replace function public.forget_old_requests()
returns void
language sql security definer set search_path = '' as $$
  delete from public.task_requests where created_at < now() - interval '30 days';
  delete from public.rate_limits where updated_at < now() - interval '1 day';
$$;
revoke all on function public.forget_old_requests from public, anon, authenticated;
grant execute on function public.forget_old_requests to service_role;

-- supabase/schemas/tasks/functions/forget_output.sql
-- What a deleted task made no longer names it: its id may be used again. An archived task is not deleted.
create or replace function public.forget_output()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from public.archived_tasks where id = old.id) then
    update public.generations set source_task_id = null where source_task_id = old.id;
    update public.generation_variants set source_task_id = null
     where id = (old.result_data ->> 'variant_id')::uuid and source_task_id = old.id;
  end if;
  return null;
end
$$;
revoke all on function public.forget_output from public, anon, authenticated;

-- supabase/schemas/tasks/functions/free_slot.sql
-- Gives a running task's slot back and opens what waited for it. The caller has ended the task's run.
create or replace function public.free_slot(for_user uuid, for_slot smallint)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.lock_tenant(for_user);
  update public.task_slots set task_id = null where user_id = for_user and slot = for_slot;
  perform public.open_lanes(for_user);
end
$$;
revoke all on function public.free_slot from public, anon, authenticated;

-- supabase/schemas/tasks/functions/get_completed_segments.sql
-- The outputs of a run's finished segments, by their index: of the project that is named, else of all that
-- are the caller's. Run ids are chosen by clients, so two projects may have the same.
create or replace function public.get_completed_segments(for_user uuid, for_run text, for_project uuid default null)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if for_project is not null then
    perform public.find_project(for_user, for_project);
  end if;
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
             'segment_index', segment_index, 'output_location', output_location)
             order by segment_index, created_at, id), '[]')
      from (
        select (task.params ->> 'segment_index')::integer as segment_index, task.output_location,
               task.created_at, task.id
          from public.all_tasks as task
         where task.task_type = 'travel_segment' and task.status = 'Complete'
           and task.params ->> 'orchestrator_run_id' = for_run
           and (for_project is null or task.project_id = for_project)
           and (for_user is null or task.user_id = for_user)
           and task.params ->> 'segment_index' ~ '^\d{1,9}$'
           and task.output_location <> ''
         order by 1 limit 10000) as segment);
end
$$;
revoke all on function public.get_completed_segments from public, anon, authenticated;
grant execute on function public.get_completed_segments to service_role;

-- supabase/schemas/tasks/functions/get_orchestrator_children.sql
-- A page of an orchestrator's children, oldest first, after the `next_cursor` of the page before. It ends
-- early where its params pass 64 MB.
create or replace function public.get_orchestrator_children(
  for_user uuid, for_orchestrator uuid, page_limit integer default 1000, after_cursor text default null
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  orchestrator constant public.all_tasks := public.find_task(for_user, for_orchestrator);
  after_time constant timestamptz := coalesce(public.time_of_cursor(after_cursor), '-infinity');
  after_id constant uuid := coalesce(split_part(after_cursor, '.', 2), '00000000-0000-0000-0000-000000000000');
begin
  return (
    with child as (
      select task.* from public.all_tasks as task
       where task.orchestrator_task_id = orchestrator.id and (task.created_at, task.id) > (after_time, after_id)
       order by task.created_at, task.id limit page_limit + 1
    ), measured as (
      select child.*, row_number() over by_age as place, lead(child.id) over by_age is not null as has_next,
             sum(octet_length(child.params::text)) over by_age as bytes
        from child window by_age as (order by child.created_at, child.id)
    ), shown as (
      select * from measured where place <= page_limit and (bytes <= 67108864 or place = 1)
    )
    select jsonb_build_object(
             'tasks', coalesce(jsonb_agg(jsonb_build_object(
                'id', id, 'task_type', task_type, 'status', status, 'params', params,
                'output_location', output_location, 'dependant_on', dependant_on, 'error_message', error_message,
                'created_at', created_at) order by place), '[]'),
             'limit', page_limit,
             'next_cursor', (select case when has_next then public.task_cursor(created_at, id) end
                               from shown order by place desc limit 1))
      from shown);
end
$$;
revoke all on function public.get_orchestrator_children from public, anon, authenticated;
grant execute on function public.get_orchestrator_children to service_role;

-- supabase/schemas/tasks/functions/get_predecessor_output.sql
-- What a task depends on, in the order in which its client named them, with outputs of those that are complete.
-- The first one's output is also given by itself, once all are complete; until then `status` is that of the
-- first which is not.
create or replace function public.get_predecessor_output(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
  predecessors jsonb;
  open_status text;
begin
  select jsonb_agg(jsonb_build_object(
           'predecessor_id', named.id, 'status', coalesce(dependency.status::text, 'not_found'),
           'output_location', case when dependency.status = 'Complete' then dependency.output_location end)
           order by named.position),
         (array_agg(coalesce(dependency.status::text, 'not_found') order by named.position)
           filter (where dependency.status is distinct from 'Complete'))[1]
    into predecessors, open_status
    from unnest(task.dependant_on) with ordinality as named (id, position)
    left join lateral (
      select status, output_location from public.all_tasks
       where id = named.id and project_id = task.project_id limit 1) as dependency on true;
  return jsonb_build_object(
    'predecessor_id', predecessors -> 0 -> 'predecessor_id',
    'output_location', case when open_status is null then predecessors -> 0 -> 'output_location' end,
    'status', coalesce(open_status, case when predecessors is not null then 'Complete' end),
    'all_complete', open_status is null,
    'predecessors', coalesce(predecessors, '[]'));
end
$$;
revoke all on function public.get_predecessor_output from public, anon, authenticated;
grant execute on function public.get_predecessor_output to service_role;

-- supabase/schemas/tasks/functions/get_task_output.sql
create or replace function public.get_task_output(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
begin
  return jsonb_build_object(
    'task_id', task.id, 'status', task.status, 'output_location', task.output_location,
    'params', task.params, 'dependant_on', task.dependant_on);
end
$$;
revoke all on function public.get_task_output from public, anon, authenticated;
grant execute on function public.get_task_output to service_role;

-- supabase/schemas/tasks/functions/get_task_status.sql
create or replace function public.get_task_status(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
begin
  return jsonb_build_object(
    'task_id', task.id, 'status', task.status, 'task_type', task.task_type, 'project_id', task.project_id,
    'progress', task.progress, 'progress_message', task.progress_message,
    'attempt', task.attempt, 'attempts', task.attempts, 'worker_id', task.worker_id,
    'output_location', task.output_location, 'thumbnail_url', task.thumbnail_url,
    'error_message', task.error_message, 'lease_expires_at', task.lease_expires_at,
    'generation_id', task.result_data -> 'generation_id',
    'created_at', task.created_at, 'generation_started_at', task.generation_started_at,
    'generation_processed_at', task.generation_processed_at);
end
$$;
revoke all on function public.get_task_status from public, anon, authenticated;
grant execute on function public.get_task_status to service_role;

-- supabase/schemas/tasks/functions/lanes_to_try.sql
-- The next lanes for a claim, best first, without those tried. Per task type and model one index probe,
-- however many lanes and tasks there are.
create or replace function public.lanes_to_try(
  for_user uuid, types text[], only_models text[], warm_model text, same_model_only boolean,
  tried bigint[], page_size integer
) returns table (lane_id bigint)
language plpgsql set search_path = '' as $$
begin
  if for_user is not null then
    -- An owner's worker: that user's ready lanes, a handful.
    return query
      select lane.id from public.task_lanes as lane
       where lane.user_id = for_user and lane.is_ready and lane.task_type = any (types)
         and (only_models is null or lane.model = any (only_models))
         and (not same_model_only or warm_model is null or lane.model = warm_model)
         and lane.id <> all (tried)
       order by (lane.model = warm_model) desc nulls last, lane.turn limit page_size;
    return;
  end if;

  if warm_model is not null and not same_model_only then
    return query
      select oldest.id
        from public.task_models as other,
             lateral (select lane.id, lane.oldest_ready_at from public.task_lanes as lane
                       where lane.is_open and lane.task_type = other.task_type and lane.model = other.model
                         and lane.id <> all (tried)
                       order by lane.oldest_ready_at limit 2) as oldest
       where other.task_type = any (types) and other.model <> warm_model
         and (only_models is null or other.model = any (only_models))
         and oldest.oldest_ready_at < now() - (select affinity_max_wait from public.queue_settings)
       order by oldest.oldest_ready_at limit page_size;
  end if;
  if warm_model is not null and (only_models is null or warm_model = any (only_models)) then
    return query
      select next_lane.id
        from unnest(types) as task_type,
             lateral (select lane.id, lane.turn from public.task_lanes as lane
                       where lane.is_open and lane.task_type = task_type.task_type and lane.model = warm_model
                         and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  end if;
  if warm_model is not null and same_model_only then
    return;
  end if;
  if only_models is null then
    return query
      select next_lane.id
        from unnest(types) as task_type,
             lateral (select lane.id, lane.turn from public.task_lanes as lane
                       where lane.is_open and lane.task_type = task_type.task_type and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  else
    return query
      select next_lane.id
        from unnest(types) as task_type, unnest(only_models) as wanted,
             lateral (select lane.id, lane.turn from public.task_lanes as lane
                       where lane.is_open and lane.task_type = task_type.task_type and lane.model = wanted.wanted
                         and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  end if;
end
$$;
revoke all on function public.lanes_to_try from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lease_duration.sql
-- Short for a worker whose silence means something; else as long as such a task may run.
create or replace function public.lease_duration(for_task_type text, worker_heartbeats boolean)
returns interval
language sql stable set search_path = '' as $$
  select case when worker_heartbeats
    then (select heartbeat_lease from public.queue_settings)
    else make_interval(secs => (select max_runtime_seconds from public.task_types where name = for_task_type))
  end
$$;
revoke all on function public.lease_duration from public, anon, authenticated;

-- supabase/schemas/tasks/functions/leave_queue.sql
-- A deleted task gives back its slot and its hold; an orchestrator pays its finished children first.
-- An archived task has none, and is not deleted.
create or replace function public.leave_queue()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.archived_tasks where id = old.id) then
    return old;
  end if;
  if old.slot is not null then
    perform public.lock_tenant(old.user_id);
    update public.task_slots set task_id = null where user_id = old.user_id and slot = old.slot;
    perform public.open_lanes(old.user_id);
  end if;
  perform public.close_hold(old.id, case when old.is_orchestrator then public.cost_of_run(old, false) else 0 end,
                            public.charge_metadata(old));
  return old;
end
$$;
revoke all on function public.leave_queue from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lock_tenant.sql
-- Every change that can make a lane ready or free a slot happens under this lock, so that no claim can close
-- a lane on what it no longer knows.
create or replace function public.lock_tenant(for_user uuid)
returns void
language sql set search_path = '' as $$
  select from public.task_tenants where user_id = for_user for no key update
$$;
revoke all on function public.lock_tenant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/model_of_params.sql
-- The model that a worker needs for these params: what decides which warm worker it suits.
create or replace function public.model_of_params(params jsonb)
returns text
language sql immutable set search_path = '' as $$
  select left(nullif(trim(coalesce(
    case when jsonb_typeof(params -> 'model_name') = 'string' then params ->> 'model_name' end,
    case when jsonb_typeof(params -> 'orchestrator_details' -> 'model_name') = 'string'
         then params -> 'orchestrator_details' ->> 'model_name' end,
    case when jsonb_typeof(params -> 'model') = 'string' then params ->> 'model' end)), ''), 200)
$$;
revoke all on function public.model_of_params from public, anon, authenticated;

-- supabase/schemas/tasks/functions/open_lanes.sql
-- Brings `is_open` of a user's ready lanes in line with the user's choice and free slots.
-- The caller holds the tenant's lock.
create or replace function public.open_lanes(for_user uuid)
returns void
language sql set search_path = '' as $$
  with wanted as (
    select lane.id,
           lane.in_cloud and tenant.allows_cloud
           and (lane.is_orchestrator
                or exists (select from public.task_slots where user_id = for_user and task_id is null)) as open
      from public.task_lanes as lane
      join public.task_tenants as tenant on tenant.user_id = lane.user_id
     where lane.user_id = for_user and lane.is_ready
  )
  update public.task_lanes as lane set is_open = wanted.open
    from wanted where lane.id = wanted.id and lane.is_open <> wanted.open
$$;
revoke all on function public.open_lanes from public, anon, authenticated;

-- supabase/schemas/tasks/functions/orchestrator_of_params.sql
-- The task, running or archived, that these params name as their orchestrator: the first of the known places
-- that holds a row's uuid. Readable ids, which browsers put there, are not one.
create or replace function public.orchestrator_of_params(params jsonb)
returns uuid
language sql stable set search_path = '' as $$
  select task.id
    from unnest(array[
           params ->> 'orchestrator_task_id_ref',
           params -> 'orchestrator_details' ->> 'orchestrator_task_id_ref',
           params -> 'orchestrator_details' ->> 'orchestrator_task_id',
           params -> 'originalParams' -> 'orchestrator_details' ->> 'orchestrator_task_id',
           params ->> 'orchestrator_task_id',
           params -> 'full_orchestrator_payload' ->> 'orchestrator_task_id',
           params -> 'orchestration_contract' ->> 'orchestrator_task_id'
         ]) with ordinality as place (reference, position)
    cross join lateral (
      select id, is_orchestrator from public.all_tasks
       where id = case when place.reference ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
                       then place.reference::uuid end
       limit 1
    ) as task
   where task.is_orchestrator
   order by place.position limit 1
$$;
revoke all on function public.orchestrator_of_params from public, anon, authenticated;

-- supabase/schemas/tasks/functions/pass_turn.sql
-- Puts a user who was served behind all others, in every open lane, and notes how long the served lane's next
-- task has waited. A lane that another claim is updating is left to that claim.
create or replace function public.pass_turn(for_user uuid, served_lane bigint)
returns void
language sql set search_path = '' as $$
  with turn as (select nextval('public.task_turns') as number),
  lanes as (
    select id from public.task_lanes
     where user_id = for_user and is_ready order by id for no key update skip locked
  ),
  next_task as (
    select created_at from public.tasks
     where lane_id = served_lane and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
     order by priority desc, created_at, id limit 1
  )
  update public.task_lanes as lane
     set turn = turn.number,
         oldest_ready_at = case when lane.id = served_lane
           then coalesce((select created_at from next_task), lane.oldest_ready_at) else lane.oldest_ready_at end
    from turn, lanes where lane.id = lanes.id
$$;
revoke all on function public.pass_turn from public, anon, authenticated;

-- supabase/schemas/tasks/functions/prepare_output.sql
-- Where the output of a running task goes: a folder of its owner and of it alone. The attempt is part of
-- each name, so a late worker's file never replaces the file of the one after it.
-- For a task that this caller has completed already: the stored answer, so a repeat uploads nothing.
create or replace function public.prepare_output(
  for_user uuid, for_task uuid, for_worker text default null, for_attempt integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  task constant public.tasks := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
begin
  if task.status = 'Complete' then
    return jsonb_build_object('completed', public.stored_completion(task));
  end if;
  perform public.extend_lease(task);
  return jsonb_build_object(
    'folder', format('%s/tasks/%s', task.user_id, task.id), 'name_prefix', task.attempt || '-');
end
$$;
revoke all on function public.prepare_output from public, anon, authenticated;
grant execute on function public.prepare_output to service_role;

-- supabase/schemas/tasks/functions/project_of_request.sql
-- The project a new task belongs to: the named one, or, where a worker knows none, its orchestrator's.
-- Foreign and unknown are the same 404.
create or replace function public.project_of_request(for_user uuid, request jsonb)
returns public.projects
language plpgsql stable set search_path = '' as $$
declare
  project public.projects;
begin
  if coalesce(request ->> 'project_id', 'default_project_id') = 'default_project_id' then
    select owner_project.* into project
      from public.all_tasks as orchestrator
      join public.projects as owner_project on owner_project.id = orchestrator.project_id
     where orchestrator.id = public.orchestrator_of_params(request -> 'params');
  else
    select * into project from public.projects where id = (request ->> 'project_id')::uuid;
  end if;
  if project.id is null or (for_user is not null and project.user_id <> for_user) then
    perform public.refuse('project_not_found', 404);
  end if;
  return project;
end
$$;
revoke all on function public.project_of_request from public, anon, authenticated;

-- supabase/schemas/tasks/functions/ready_lane.sql
-- Says that a lane has a task that may run. The caller holds the tenant's lock.
create or replace function public.ready_lane(for_lane bigint, waiting_since timestamptz)
returns void
language sql set search_path = '' as $$
  update public.task_lanes as lane
     set is_ready = true,
         oldest_ready_at = case when lane.is_ready then least(lane.oldest_ready_at, waiting_since) else waiting_since end,
         is_open = lane.in_cloud and tenant.allows_cloud
           and (lane.is_orchestrator
                or exists (select from public.task_slots where user_id = lane.user_id and task_id is null))
    from public.task_tenants as tenant
   where lane.id = for_lane and tenant.user_id = lane.user_id
     and (not lane.is_ready or not lane.is_open or waiting_since < lane.oldest_ready_at)
$$;
revoke all on function public.ready_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/refuse_archived_change.sql
-- The refusal of a change to a task that is not in `tasks`: 404, or why what is archived stays as it is.
create or replace function public.refuse_archived_change(
  for_user uuid, caller_kind text, for_task uuid, new_status public.task_status,
  for_worker text, for_attempt integer
) returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  details jsonb;
begin
  select * into task from public.archived_task(for_task) where for_user is null or user_id = for_user;
  if not found then
    perform public.refuse('task_not_found', 404);
  end if;
  details := public.status_details(task)
    || jsonb_build_object('requested_status', new_status, 'allowed_transitions', '[]'::jsonb);
  if (for_attempt is not null and for_attempt <> task.attempt)
     or (for_worker is not null and for_worker is distinct from task.worker_id) then
    perform public.refuse('stale_attempt', 409, details);
  end if;
  if caller_kind = 'user' and new_status not in ('Cancelled', 'Queued') then
    perform public.refuse('forbidden', 403, jsonb_build_object('allowed', array['Cancelled', 'Queued']));
  end if;
  if task.status = 'Cancelled' and caller_kind <> 'user' then
    perform public.refuse('task_cancelled', 409, details);
  end if;
  perform public.refuse('invalid_transition', 409, details);
end
$$;
revoke all on function public.refuse_archived_change from public, anon, authenticated;

-- supabase/schemas/tasks/functions/register_tenant.sql
-- Gives a user a place in the queue, with five slots.
create or replace function public.register_tenant(for_user uuid)
returns void
language sql set search_path = '' as $$
  insert into public.task_tenants (user_id, allows_cloud)
  select id, public.allows_cloud(settings) from public.users where id = for_user
  on conflict (user_id) do nothing;
  insert into public.task_slots (user_id, slot)
  select for_user, slot from generate_series(1, 5) as slot
  on conflict (user_id, slot) do nothing
$$;
revoke all on function public.register_tenant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_dependants.sql
-- One dependency fewer for everyone who waited for this task; whoever waits for nothing more is queued.
create or replace function public.release_dependants(finished_task uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  dependant public.tasks;
begin
  for dependant in
    select task.* from public.tasks as task
     where task.id in (select task_id from public.task_dependencies where dependency_id = finished_task)
       and task.status = 'Queued'
     order by task.id for no key update
  loop
    update public.tasks set unmet_dependencies = unmet_dependencies - 1 where id = dependant.id;
    if dependant.unmet_dependencies = 1 then
      perform public.lock_tenant(dependant.user_id);
      perform public.ready_lane(dependant.lane_id, now());
    end if;
  end loop;
end
$$;
revoke all on function public.release_dependants from public, anon, authenticated;

-- supabase/schemas/tasks/functions/repeated_task.sql
-- The answer to a create whose task id exists: the first answer for the same request, else 409.
create or replace function public.repeated_task(known public.tasks, for_owner uuid, request_hash bytea)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if known.user_id is distinct from for_owner or known.request_hash <> repeated_task.request_hash then
    perform public.refuse('task_id_conflict', 409);
  end if;
  return jsonb_build_object(
    'task_id', known.id, 'status', 'Task queued', 'task_type', known.task_type, 'project_id', known.project_id,
    'cost', known.upper_bound_microusd / 10000.0, 'upper_bound_microusd', known.upper_bound_microusd,
    'exact', (select billing_type = 'per_unit' from public.task_type_prices where id = known.price_id)
             and not known.is_orchestrator,
    'price_version', (select version from public.task_type_prices where id = known.price_id),
    'held_microusd', coalesce((select amount_microusd from public.credit_holds
                                where task_id = known.id and state = 'held'), 0),
    'deduplicated', true);
end
$$;
revoke all on function public.repeated_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/report_progress.sql
-- Notes a running task's progress and keeps it with its worker. Shown live at most twice a second a task.
-- A worker that names its attempt has shown that it heartbeats.
create or replace function public.report_progress(task public.tasks, names_attempt boolean, changes jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  if names_attempt then
    update public.workers set heartbeats = true, last_heartbeat = now()
     where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end) and (not heartbeats or last_heartbeat is null or last_heartbeat < now() - interval '10 seconds');
  end if;
  update public.tasks
     set progress = coalesce((changes ->> 'progress')::real, task.progress),
         progress_message = coalesce(changes ->> 'progress_message', task.progress_message),
         output_location = coalesce(changes ->> 'output_location', task.output_location),
         generation_started_at = case when (changes ->> 'reset_generation_started_at')::boolean
           then now() else task.generation_started_at end,
         progress_shown_at = case
           when changes ?| array['progress', 'progress_message', 'output_location']
            and (task.progress_shown_at is null or task.progress_shown_at <= clock_timestamp() - interval '500 milliseconds')
           then clock_timestamp() else task.progress_shown_at end,
         lease_expires_at = now() + public.lease_duration(task.task_type, names_attempt or coalesce(
           (select heartbeats from public.workers where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)), false)),
         updated_at = now()
   where id = task.id;
end
$$;
revoke all on function public.report_progress from public, anon, authenticated;

-- supabase/schemas/tasks/functions/requeue_task.sql
-- Puts a running task back into the queue after a failed run; fails it when that was its last.
-- The hold stays: the task is still to be run and paid. Answers the new status.
create or replace function public.requeue_task(task public.tasks, error text)
returns public.task_status
language plpgsql set search_path = '' as $$
begin
  update public.tasks set attempts = attempts + 1 where id = task.id;
  if task.attempts + 1 >= task.max_attempts then
    perform public.end_task(task.id, 'Failed', coalesce(error, 'max_attempts_reached'));
    return 'Failed';
  end if;
  update public.tasks
     set status = 'Queued', worker_id = null, claimed_by_owner = null, slot = null, lease_expires_at = null,
         generation_started_at = null, progress = null, progress_message = null,
         error_message = error, updated_at = now()
   where id = task.id;
  perform public.lock_tenant(task.user_id);
  if task.slot is not null then
    update public.task_slots set task_id = null where user_id = task.user_id and slot = task.slot;
  end if;
  perform public.ready_lane(task.lane_id, task.created_at);
  perform public.open_lanes(task.user_id);
  return 'Queued';
end
$$;
revoke all on function public.requeue_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/retry_task.sql
-- Queues a failed task again, with a new hold and all its attempts. Refused when the orchestration it
-- belongs to is over, or when it was charged: a task is charged once.
create or replace function public.retry_task(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  unmet integer;
begin
  if exists (select from public.credits_ledger where task_id = task.id and type = 'spend')
     or exists (select from public.tasks where id = task.orchestrator_task_id
                 and status in ('Complete', 'Failed', 'Cancelled')) then
    perform public.refuse('invalid_transition', 409, public.status_details(task));
  end if;
  perform from public.tasks
    where id in (select dependency_id from public.task_dependencies where task_id = task.id) order by id for share;
  if exists (select from public.task_dependencies as needed
               join public.tasks as dependency on dependency.id = needed.dependency_id
              where needed.task_id = task.id and dependency.status in ('Failed', 'Cancelled'))
     or exists (select from public.archived_tasks
                 where id = any (task.dependant_on) and status in ('Failed', 'Cancelled')) then
    perform public.refuse('invalid_dependency', 422);
  end if;
  select count(*) into unmet
    from public.task_dependencies as needed
    join public.tasks as dependency on dependency.id = needed.dependency_id
   where needed.task_id = task.id and dependency.status <> 'Complete';
  update public.tasks
     set status = 'Queued', attempts = 0, worker_id = null, claimed_by_owner = null, generation_started_at = null,
         generation_processed_at = null, progress = null, progress_message = null, error_message = null,
         output_location = null, cost_microusd = null, unmet_dependencies = unmet, updated_at = now()
   where id = task.id;
  perform public.lock_tenant(task.user_id);
  if task.in_cloud and task.orchestrator_task_id is null then
    perform public.open_hold(task.user_id, task.id, task.upper_bound_microusd);
  end if;
  if unmet = 0 then
    perform public.ready_lane(task.lane_id, now());
  end if;
end
$$;
revoke all on function public.retry_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/settle_ended_orchestrator.sql
-- A failed or cancelled orchestration costs what its finished children cost.
create or replace function public.settle_ended_orchestrator(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  cost constant bigint := public.cost_of_run(task, false);
begin
  update public.tasks set cost_microusd = cost where id = task.id;
  if task.orchestrator_task_id is null then
    perform public.close_hold(task.id, cost, public.charge_metadata(task));
  end if;
end
$$;
revoke all on function public.settle_ended_orchestrator from public, anon, authenticated;

-- supabase/schemas/tasks/functions/status_details.sql
-- What a 409 about a task tells.
create or replace function public.status_details(task public.tasks)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'task_id', task.id, 'current_status', task.status, 'attempt', task.attempt,
    'allowed_transitions', to_jsonb(case task.status
      when 'Queued' then array['Failed', 'Cancelled']
      when 'In Progress' then array['In Progress', 'Queued', 'Complete', 'Failed', 'Cancelled']
      when 'Failed' then array['Queued']
      else array[]::text[] end))
$$;
revoke all on function public.status_details from public, anon, authenticated;

-- supabase/schemas/tasks/functions/stored_completion.sql
-- What completing a task answers, the first time and every time after.
create or replace function public.stored_completion(task public.tasks, warnings jsonb default '[]')
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'success', true, 'task_id', task.id, 'public_url', task.output_location, 'thumbnail_url', task.thumbnail_url,
    'message', 'Task completed and file uploaded successfully', 'attempt', task.attempt,
    'generation_id', task.result_data -> 'generation_id', 'variant_id', task.result_data -> 'variant_id',
    'cost_microusd', coalesce(task.cost_microusd, 0), 'warnings', stored_completion.warnings)
$$;
revoke all on function public.stored_completion from public, anon, authenticated;

-- supabase/schemas/tasks/functions/sweep_expired_leases.sql
-- Rescues tasks whose worker fell silent: back to the queue, or failed after the last attempt.
-- Safe to run anywhere at once: a task that another sweep has locked is skipped. Answers how many.
create or replace function public.sweep_expired_leases(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
  rescued integer := 0;
begin
  for task in
    select * from public.tasks
     where status = 'In Progress' and lease_expires_at < now()
     order by lease_expires_at limit at_most for no key update skip locked
  loop
    -- An earlier rescue of this loop may have ended it with its orchestration.
    continue when not exists (select from public.tasks where id = task.id and status = 'In Progress');
    perform public.requeue_task(task, 'lease_expired');
    rescued := rescued + 1;
  end loop;
  return rescued;
end
$$;
revoke all on function public.sweep_expired_leases from public, anon, authenticated;
grant execute on function public.sweep_expired_leases to service_role;

-- supabase/schemas/tasks/functions/task_cursor.sql
-- A task's place in lists by age: microseconds since 1970 and the id, which tells tasks of one moment apart.
create or replace function public.task_cursor(created_at timestamptz, id uuid)
returns text
language sql immutable set search_path = '' as $$
  select (extract(epoch from created_at) * 1000000)::bigint || '.' || id
$$;
revoke all on function public.task_cursor from public, anon, authenticated;

-- supabase/schemas/tasks/functions/task_of_worker.sql
-- The task, locked (or archived, and then it is over), if this caller may report on its run; else the refusal that says why not.
-- A null user is the service. Old workers name neither attempt nor worker: status and the kind of caller
-- that claimed are their fence. `Complete` passes for whoever completed it, so that a repeat is a success.
create or replace function public.task_of_worker(
  for_task uuid, for_user uuid, for_worker text, for_attempt integer
) returns public.tasks
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  -- What differs from status_details() when the task is archived.
  changed_details jsonb := '{}';
begin
  select * into task from public.tasks
   where id = for_task and (for_user is null or user_id = for_user) for no key update;
  if not found then
    select * into task from public.archived_task(for_task) where for_user is null or user_id = for_user;
    if not found then
      perform public.refuse('task_not_found', 404);
    end if;
    changed_details := '{"allowed_transitions": []}';
  end if;
  if (for_attempt is not null and for_attempt <> task.attempt)
     or (for_worker is not null and for_worker is distinct from task.worker_id)
     or (task.status in ('In Progress', 'Complete') and task.claimed_by_owner is distinct from (for_user is not null)) then
    perform public.refuse('stale_attempt', 409, public.status_details(task) || changed_details);
  end if;
  if task.status = 'Cancelled' then
    perform public.refuse('task_cancelled', 409, public.status_details(task) || changed_details);
  end if;
  if task.status not in ('In Progress', 'Complete') then
    perform public.refuse('task_not_running', 409, public.status_details(task) || changed_details);
  end if;
  return task;
end
$$;
revoke all on function public.task_of_worker from public, anon, authenticated;

-- supabase/schemas/tasks/functions/tasks_list.sql
-- A page of a project's tasks as whole rows, newest first, after the `next_cursor` of the page before. It ends
-- early where its params pass 16 MB. A null filter lets everything pass.
-- Each arm reads an index in order and stops: those of the archive serve only who asks for what has ended.
create or replace function public.tasks_list(
  for_user uuid, for_project uuid, statuses public.task_status[] default null, types text[] default null,
  for_orchestrator uuid default null, page_limit integer default 1000, after_cursor text default null
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  project constant public.projects := public.find_project(for_user, for_project);
  before_time constant timestamptz := coalesce(public.time_of_cursor(after_cursor), 'infinity');
  before_id constant uuid := coalesce(split_part(after_cursor, '.', 2), 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  found_ids uuid[];
begin
  if for_orchestrator is not null then
    select array_agg(id) into found_ids from (
      select id from public.all_tasks
       where orchestrator_task_id = for_orchestrator and project_id = project.id
         and (statuses is null or status = any (statuses)) and (types is null or task_type = any (types))
         and (created_at, id) < (before_time, before_id)
       order by created_at desc, id desc limit page_limit + 1) as task;
  elsif statuses is null then
    select array_agg(id) into found_ids from (
      select id from public.all_tasks
       where project_id = project.id and (types is null or task_type = any (types))
         and (created_at, id) < (before_time, before_id)
       order by created_at desc, id desc limit page_limit + 1) as task;
  else
    select array_agg(id) into found_ids from (
      select task.id, task.created_at
        from (select distinct unnest(statuses) as status) as wanted
        cross join lateral (
          select id, created_at from public.tasks
           where project_id = project.id and status = wanted.status
             and (types is null or task_type = any (types)) and (created_at, id) < (before_time, before_id)
           order by created_at desc, id desc limit page_limit + 1) as task
      union all
      select task.id, task.created_at
        from (select distinct unnest(statuses) as status) as wanted
        cross join lateral (
          select id, created_at from public.archived_tasks
           where project_id = project.id and status = wanted.status
             and (types is null or task_type = any (types)) and (created_at, id) < (before_time, before_id)
           order by created_at desc, id desc limit page_limit + 1) as task
      order by created_at desc, id desc limit page_limit + 1) as task;
  end if;

  return (
    with task as (
      select * from public.all_tasks where id = any (found_ids)
    ), measured as (
      select to_jsonb(task) as task_row, task.created_at, task.id, row_number() over by_age as place,
             lead(task.id) over by_age is not null as has_next,
             sum(octet_length(task.params::text)) over by_age as bytes
        from task window by_age as (order by task.created_at desc, task.id desc)
    ), shown as (
      select * from measured where place <= page_limit and (bytes <= 16777216 or place = 1)
    )
    select jsonb_build_object(
             'tasks', coalesce(jsonb_agg(task_row order by place), '[]'),
             'limit', page_limit,
             'next_cursor', (select case when has_next then public.task_cursor(created_at, id) end
                               from shown order by place desc limit 1))
      from shown);
end
$$;
revoke all on function public.tasks_list from public, anon, authenticated;
grant execute on function public.tasks_list to service_role;

-- supabase/schemas/tasks/functions/time_of_cursor.sql
-- The time in a task_cursor(); null of null.
create or replace function public.time_of_cursor(task_cursor text)
returns timestamptz
language sql immutable set search_path = '' as $$
  select timestamptz 'epoch' + split_part(time_of_cursor.task_cursor, '.', 1)::bigint * interval '1 microsecond'
$$;
revoke all on function public.time_of_cursor from public, anon, authenticated;

-- supabase/schemas/tasks/functions/update_task_status.sql
-- Moves a task by the transition table: progress and completion by its worker, failing, requeueing,
-- cancelling, retrying. `caller_kind`: service, personal-access-token or user; a user (a browser) may only
-- cancel and retry. `changes` holds the optional fields of the request as they came.
create or replace function public.update_task_status(
  for_user uuid, caller_kind text, for_task uuid, new_status public.task_status,
  for_worker text default null, for_attempt integer default null, changes jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
begin
  select * into task from public.tasks
   where id = for_task and (for_user is null or user_id = for_user) for no key update;
  if not found then
    perform public.refuse_archived_change(for_user, caller_kind, for_task, new_status, for_worker, for_attempt);
  end if;

  -- A worker's word counts only for the run it has.
  if (for_attempt is not null and for_attempt <> task.attempt)
     or (for_worker is not null and for_worker is distinct from task.worker_id) then
    perform public.refuse('stale_attempt', 409, public.status_details(task));
  end if;

  if caller_kind = 'user' and not (new_status = 'Cancelled' or (task.status = 'Failed' and new_status = 'Queued')) then
    perform public.refuse('forbidden', 403, jsonb_build_object('allowed', array['Cancelled', 'Queued']));
  end if;
  -- The run of a cloud worker is not its owner's to report on, nor the other way round; to end it is.
  if caller_kind <> 'user' and task.status in ('In Progress', 'Complete') and new_status <> 'Cancelled'
     and task.claimed_by_owner is distinct from (caller_kind = 'personal-access-token') then
    perform public.refuse('stale_attempt', 409, public.status_details(task));
  end if;

  if task.status = 'Complete' and new_status = 'Complete' and changes ? 'output_location' then
    update public.tasks set output_location = changes ->> 'output_location', updated_at = now() where id = task.id;
  elsif task.status = 'In Progress' and new_status = 'In Progress' then
    perform public.report_progress(task, for_attempt is not null, changes);
  elsif task.status = 'In Progress' and new_status = 'Complete' then
    -- What an earlier report of progress wrote there is no output, and no reason for a charge.
    perform public.finish_task(task, nullif(changes ->> 'output_location', ''), task.thumbnail_url, null, null);
  elsif task.status = 'In Progress' and new_status = 'Queued' then
    perform public.requeue_task(task, changes ->> 'error_details');
  elsif task.status = 'Failed' and new_status = 'Queued' then
    perform public.retry_task(task);
  elsif task.status in ('Queued', 'In Progress') and new_status in ('Failed', 'Cancelled') then
    if changes ? 'output_location' then
      update public.tasks set output_location = changes ->> 'output_location' where id = task.id;
    end if;
    perform public.end_task(task.id, new_status, coalesce(changes ->> 'error_details', changes ->> 'output_location'));
  elsif task.status = 'Cancelled' and caller_kind <> 'user' then
    perform public.refuse('task_cancelled', 409,
      public.status_details(task) || jsonb_build_object('requested_status', new_status));
  else
    perform public.refuse('invalid_transition', 409,
      public.status_details(task) || jsonb_build_object('requested_status', new_status));
  end if;
  return (select jsonb_build_object(
            'success', true, 'task_id', changed.id, 'status', changed.status,
            'previous_status', task.status, 'attempt', changed.attempt, 'attempts', changed.attempts,
            'lease_expires_at', changed.lease_expires_at,
            'message', format('Task status updated to ''%s''', changed.status))
            from public.tasks as changed where changed.id = task.id);
end
$$;
revoke all on function public.update_task_status from public, anon, authenticated;
grant execute on function public.update_task_status to service_role;

-- supabase/schemas/workers/functions/register_worker.sql
-- The worker with this name, made when it is new. Nothing for a claim without a name, and for the names
-- beyond an owner's first 200: such a worker works all the same, but its model is not remembered.
create or replace function public.register_worker(for_worker text, for_owner uuid)
returns public.workers
language plpgsql set search_path = '' as $$
declare
  row_id constant text := public.worker_row_id(for_worker, for_owner);
  worker public.workers;
begin
  select * into worker from public.workers where id = row_id;
  if not found and row_id is not null
     and (for_owner is null or (select count(*) from public.workers where user_id = for_owner) < 200) then
    insert into public.workers (id, user_id) values (row_id, for_owner) on conflict (id) do nothing;
    select * into worker from public.workers where id = row_id;
  end if;
  return worker;
end
$$;
revoke all on function public.register_worker from public, anon, authenticated;

-- supabase/schemas/workers/functions/update_worker_model.sql
-- Notes the model that a cloud worker has loaded; claims prefer tasks for it. Null forgets it.
create or replace function public.update_worker_model(
  for_worker text, loaded_model text, new_instance_type text default 'external'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker public.workers;
  existed boolean;
begin
  existed := exists (select from public.workers where id = for_worker);
  insert into public.workers as known (id, instance_type, current_model, last_heartbeat)
  values (for_worker, new_instance_type, loaded_model, now())
  on conflict (id) do update
    set current_model = excluded.current_model, last_heartbeat = now(),
        -- A worker that was shut down on purpose is not brought back by its last message.
        status = case when known.status in ('terminating', 'terminated') then known.status else 'active' end
  returning * into worker;
  return jsonb_build_object(
    'success', true, 'worker_id', worker.id, 'current_model', worker.current_model,
    'last_heartbeat', worker.last_heartbeat, 'action', case when existed then 'updated' else 'inserted' end,
    'message', coalesce(format('Worker model updated to ''%s''', worker.current_model), 'Worker model cleared'));
end
$$;
revoke all on function public.update_worker_model from public, anon, authenticated;
grant execute on function public.update_worker_model to service_role;

-- supabase/schemas/workers/functions/worker_row_id.sql
-- The id of a worker's row: as it calls itself in the cloud, behind its owner's id elsewhere.
create or replace function public.worker_row_id(for_worker text, for_owner uuid)
returns text
language sql immutable set search_path = '' as $$
  select coalesce(for_owner || ':', '') || for_worker
$$;
revoke all on function public.worker_row_id from public, anon, authenticated;

-- supabase/schemas/generations/functions/create_output.sql
-- Makes what a finished task's output becomes: a variant of the generation it is based on, or a generation
-- of its own with this file as its primary variant; nothing for orchestration and utility tasks.
-- An id in params that is no generation of the same project is left out and named in `warnings`.
create or replace function public.create_output(
  task public.tasks, output_location text, output_thumbnail text,
  out generation_id uuid, out variant_id uuid, out warnings jsonb
)
language plpgsql set search_path = '' as $$
declare
  type_row public.task_types;
  based_on_text text;
  base public.generations;
  wants_own boolean;
  output_params jsonb;
begin
  warnings := '[]';
  select * into type_row from public.task_types where name = task.task_type;
  if task.orchestrator_task_id is not null
     or not (type_row.category = 'generation'
             or (type_row.category = 'processing' and type_row.content_type = 'image')) then
    return;
  end if;

  based_on_text := coalesce(
    task.params ->> 'based_on',
    task.params -> 'originalParams' -> 'orchestrator_details' ->> 'based_on',
    task.params -> 'orchestrator_details' ->> 'based_on',
    task.params -> 'full_orchestrator_payload' ->> 'based_on',
    task.params -> 'originalParams' ->> 'based_on');
  wants_own := coalesce(task.params -> 'create_as_generation' = 'true', false);
  if based_on_text is not null then
    if based_on_text ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
      -- Locked against being deleted before this commits.
      select * into base from public.generations
       where id = based_on_text::uuid and project_id = task.project_id for key share;
    end if;
    if base.id is null then
      warnings := warnings || jsonb_build_object(
        'field', 'based_on', 'message', 'There is no such generation in this project; it was ignored.');
    end if;
  end if;

  output_params := task.params || jsonb_strip_nulls(jsonb_build_object(
    'source_task_id', task.id, 'created_from', task.task_type, 'content_type', type_row.content_type,
    'tool_type', coalesce(task.params ->> 'tool_type', type_row.tool_type)));

  if base.id is not null and not wants_own then
    insert into public.generation_variants
      (generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type)
    values (base.id, task.project_id, task.id, output_location, output_thumbnail, output_params, false,
            coalesce(type_row.variant_type, 'edit'))
    returning id into variant_id;
    generation_id := base.id;
    return;
  end if;

  insert into public.generations
    (project_id, tasks, source_task_id, type, name, location, thumbnail_url, params, based_on)
  values (task.project_id, jsonb_build_array(task.id), task.id, coalesce(type_row.content_type, 'image'),
          left(coalesce(task.params ->> 'generation_name', task.params -> 'orchestrator_details' ->> 'generation_name'), 300),
          output_location, output_thumbnail, output_params, base.id)
  returning id into generation_id;
  insert into public.generation_variants
    (generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type)
  values (generation_id, task.project_id, task.id, output_location, output_thumbnail, output_params, true, 'original')
  returning id into variant_id;
  update public.generations set primary_variant_id = variant_id where id = generation_id;
end
$$;
revoke all on function public.create_output from public, anon, authenticated;

-- supabase/schemas/media/functions/media_path_is_open.sql
-- Whether a file may be written there: false for the folder of a task that is finished, because its output
-- was delivered and paid. Asked in the transaction that writes the file's row, it holds for that transaction:
-- the task cannot finish before it, for its row is locked against change.
create or replace function public.media_path_is_open(path text)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  segments text[] := string_to_array(path, '/');
  found_status public.task_status;
begin
  if segments[2] is distinct from 'tasks'
     or segments[3] is null
     or segments[3] !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    return true;
  end if;
  select task.status into found_status from public.tasks as task where task.id = segments[3]::uuid for share;
  if found_status is null then
    return not exists (select from public.archived_tasks as task where task.id = segments[3]::uuid);
  end if;
  return found_status in ('Queued', 'In Progress');
end
$$;
revoke all on function public.media_path_is_open from public, anon, authenticated;
grant execute on function public.media_path_is_open to service_role;

-- supabase/schemas/realtime/functions/broadcast_balance.sql
create or replace function public.broadcast_balance()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object(
      'user_id', new.user_id, 'credits', new.balance_microusd / 10000.0,
      'balance_microusd', new.balance_microusd, 'held_microusd', new.held_microusd,
      'available_microusd', new.balance_microusd - new.held_microusd),
    'balance', 'credits:' || new.user_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_balance from public, anon, authenticated;

-- supabase/schemas/realtime/functions/broadcast_generation.sql
-- One event a change that people see: a generation, or a variant of it, with its file.
create or replace function public.broadcast_generation()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object(
      'generation_id', new.generation_id, 'variant_id', new.id, 'project_id', new.project_id,
      'task_id', new.source_task_id, 'variant_type', new.variant_type, 'is_primary', new.is_primary,
      'location', new.location, 'thumbnail_url', new.thumbnail_url, 'created_at', new.created_at),
    'generation', 'generations:' || new.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_generation from public, anon, authenticated;

-- supabase/schemas/realtime/functions/broadcast_task_update.sql
-- One event a change of status, and the shown ones of progress; never params.
create or replace function public.broadcast_task_update()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object(
      'task_id', new.id, 'project_id', new.project_id, 'task_type', new.task_type, 'status', new.status,
      'previous_status', case when tg_op = 'UPDATE' then old.status end,
      'progress', new.progress, 'progress_message', new.progress_message,
      'attempt', new.attempt, 'error_message', new.error_message,
      'output_location', new.output_location, 'thumbnail_url', new.thumbnail_url,
      'created_at', new.created_at, 'updated_at', new.updated_at,
      'generation_started_at', new.generation_started_at, 'generation_processed_at', new.generation_processed_at,
      'seq', nextval('public.task_update_sequence')),
    'task-update', 'task-updates:' || new.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_task_update from public, anon, authenticated;

-- supabase/schemas/realtime/functions/may_read_topic.sql
-- Whether the caller may listen to a topic: those of their projects, and that of their credits.
-- Names are compared as text and never cast: a topic that names no uuid is refused like one that is not theirs.
create or replace function public.may_read_topic(topic text)
returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(topic = 'credits:' || auth.uid(), false)
      or exists (
        select from public.projects as project
         where project.user_id = auth.uid()
           and topic in ('task-updates:' || project.id, 'generations:' || project.id))
$$;
revoke all on function public.may_read_topic from public, anon, authenticated;
grant execute on function public.may_read_topic to authenticated, service_role;

-- supabase/schemas/accounts/triggers.sql
create trigger welcome_new_user after insert on auth.users
  for each row execute function public.welcome_new_user();

-- supabase/schemas/credits/triggers.sql
create trigger credits_ledger_keeps_its_rows before update or delete on public.credits_ledger
  for each row execute function public.refuse_ledger_change();
create trigger credits_ledger_keeps_all_rows before truncate on public.credits_ledger
  for each statement execute function public.refuse_ledger_change();
create trigger show_balance after update of balance_microusd on public.credit_accounts
  for each row when (old.balance_microusd is distinct from new.balance_microusd)
  execute function public.show_balance();

-- supabase/schemas/tasks/triggers.sql
create trigger end_project_tasks before delete on public.projects
  for each row execute function public.end_project_tasks();
create trigger tasks_leave_queue before delete on public.tasks
  for each row execute function public.leave_queue();
create trigger tasks_forget_output after delete on public.tasks
  for each row when (old.generation_created) execute function public.forget_output();
create trigger fail_orphaned_dependant after delete on public.task_dependencies
  for each row execute function public.fail_orphaned_dependant();
create trigger users_choose_cloud after update of settings on public.users
  for each row when (old.settings is distinct from new.settings)
  execute function public.follow_cloud_choice();

-- On Supabase, where no host has a timer. Elsewhere there is no pg_cron, and nothing happens here.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-sweep-expired-leases', '15 seconds', 'select public.sweep_expired_leases()');
    perform cron.schedule('darkroom-archive-finished-tasks', '10 seconds', 'select public.archive_finished_tasks()');
    perform cron.schedule('darkroom-forget-old-requests', '17 * * * *', 'select public.forget_old_requests()');
  end if;
end
$$;

-- supabase/schemas/realtime/triggers.sql
create trigger broadcast_task_insert after insert on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_task_update after update on public.tasks
  for each row when (
    old.status is distinct from new.status
    or old.progress_shown_at is distinct from new.progress_shown_at
    or (new.status = 'Complete' and old.output_location is distinct from new.output_location))
  execute function public.broadcast_task_update();
create trigger broadcast_balance after update on public.credit_accounts
  for each row when (
    old.balance_microusd is distinct from new.balance_microusd
    or old.held_microusd is distinct from new.held_microusd)
  execute function public.broadcast_balance();
create trigger broadcast_generation after insert on public.generation_variants
  for each row execute function public.broadcast_generation();

-- supabase/schemas/accounts/policies.sql
alter table public.users enable row level security;
alter table public.projects enable row level security;

revoke all on public.users, public.projects from anon, authenticated, service_role;
grant select, insert, update, delete on public.users, public.projects to service_role;

-- What a person may change about themselves is granted by name: credits and flags are not theirs to write.
grant select on public.users to authenticated;
grant update (name, username, avatar_url, settings, onboarding) on public.users to authenticated;
create policy users_select_own on public.users for select to authenticated
  using (id = (select auth.uid()));
create policy users_update_own on public.users for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));

grant select, delete on public.projects to authenticated;
grant insert (id, user_id, name, aspect_ratio, settings) on public.projects to authenticated;
grant update (name, aspect_ratio, settings) on public.projects to authenticated;
create policy projects_own on public.projects for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

-- supabase/schemas/limits/policies.sql
alter table public.rate_limits enable row level security;
revoke all on public.rate_limits from anon, authenticated, service_role;

-- supabase/schemas/tokens/policies.sql
alter table public.personal_access_tokens enable row level security;
revoke all on public.personal_access_tokens from anon, authenticated, service_role;
grant select (id, user_id, last_four, label, scopes, expires_at, last_used_at, revoked_at, created_at)
  on public.personal_access_tokens to authenticated, service_role;
create policy personal_access_tokens_select_own on public.personal_access_tokens for select to authenticated
  using (user_id = (select auth.uid()));

-- supabase/schemas/credits/policies.sql
alter table public.credit_accounts enable row level security;
alter table public.credits_ledger enable row level security;
alter table public.credit_holds enable row level security;
alter table public.task_type_prices enable row level security;

revoke all on public.credit_accounts, public.credits_ledger, public.credit_holds, public.task_type_prices
  from anon, authenticated, service_role;
-- Money moves by functions alone, for the service too.
grant select on public.credit_accounts, public.credits_ledger, public.credit_holds
  to authenticated, service_role;
grant select on public.task_type_prices to anon, authenticated, service_role;

create policy credit_accounts_select_own on public.credit_accounts for select to authenticated
  using (user_id = (select auth.uid()));
create policy credits_ledger_select_own on public.credits_ledger for select to authenticated
  using (user_id = (select auth.uid()));
create policy credit_holds_select_own on public.credit_holds for select to authenticated
  using (user_id = (select auth.uid()));
create policy task_type_prices_select on public.task_type_prices for select to anon, authenticated
  using (true);

-- supabase/schemas/tasks/policies.sql
alter table public.task_types enable row level security;
alter table public.task_tenants enable row level security;
alter table public.task_slots enable row level security;
alter table public.task_lanes enable row level security;
alter table public.task_models enable row level security;
alter table public.tasks enable row level security;
alter table public.task_dependencies enable row level security;
alter table public.task_requests enable row level security;
alter table public.queue_settings enable row level security;
alter table public.archived_tasks enable row level security;

revoke all on public.task_types, public.task_tenants, public.task_slots, public.task_lanes, public.task_models,
  public.tasks, public.task_dependencies, public.task_requests, public.queue_settings,
  public.archived_tasks, public.all_tasks
  from anon, authenticated, service_role;
revoke all on sequence public.task_turns from anon, authenticated, service_role;

grant select on public.task_types to anon, authenticated, service_role;
create policy task_types_select on public.task_types for select to anon, authenticated using (true);

-- Tasks change by functions alone: a written row would be one without cover, lane or lease.
grant select on public.tasks to authenticated, service_role;
grant delete on public.tasks to service_role;
create policy tasks_select_own on public.tasks for select to authenticated
  using (user_id = (select auth.uid()));

grant select on public.archived_tasks, public.all_tasks to authenticated, service_role;
create policy archived_tasks_select_own on public.archived_tasks for select to authenticated
  using (user_id = (select auth.uid()));

grant select, update on public.queue_settings to service_role;

-- supabase/schemas/workers/policies.sql
alter table public.workers enable row level security;
revoke all on public.workers from anon, authenticated, service_role;
grant select, insert, update, delete on public.workers to service_role;
grant select on public.workers to authenticated;
create policy workers_select_own on public.workers for select to authenticated
  using (user_id = (select auth.uid()));

-- supabase/schemas/generations/policies.sql
alter table public.generations enable row level security;
alter table public.generation_variants enable row level security;

revoke all on public.generations, public.generation_variants from anon, authenticated, service_role;
grant select, insert, update, delete on public.generations, public.generation_variants to service_role;

-- Files and lineage come from completed tasks; people name, star, look and throw away.
grant select, delete on public.generations, public.generation_variants to authenticated;
grant update (name, starred) on public.generations to authenticated;
grant update (name, viewed_at) on public.generation_variants to authenticated;
create policy generations_own on public.generations for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy generation_variants_own on public.generation_variants for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));

-- supabase/schemas/media/policies.sql
-- A person's files are those under their own id. Public buckets are read by URL, which asks no policy; to
-- list, sign or change files is for their owner. The service key is held back by none of this.
drop policy if exists media_select_own on storage.objects;
create policy media_select_own on storage.objects for select to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
  );

drop policy if exists media_delete_own on storage.objects;
create policy media_delete_own on storage.objects for delete to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
  );

-- Outputs of tasks come by signed URL alone: what `tasks/` holds was made by the worker that says so.
drop policy if exists media_insert_own on storage.objects;
create policy media_insert_own on storage.objects for insert to authenticated
  with check (
    bucket_id in ('image_uploads', 'training-data', 'lora_files')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  );

drop policy if exists media_update_own on storage.objects;
create policy media_update_own on storage.objects for update to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  )
  with check (
    bucket_id in ('image_uploads', 'training-data', 'lora_files')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  );

-- supabase/schemas/realtime/policies.sql
-- Who may listen to private channels. Nobody may send to them: on these topics only the database speaks.
create policy messages_select_own on realtime.messages for select to authenticated
  using (public.may_read_topic(topic));
