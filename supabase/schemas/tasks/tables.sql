-- What kinds of work there are; `seed.sql` lists them.
create table public.task_types (
  -- Never a run type's name: turn_marks speaks of both.
  name text primary key check (length(name) between 1 and 100 and name not in ('gpu', 'api')),
  run_type public.run_type not null default 'gpu',
  category text not null check (category in ('generation', 'processing', 'orchestration', 'upscale', 'utility', 'call')),
  tool_type text,
  content_type text check (content_type in ('image', 'video')),
  variant_type text,
  display_name text not null,
  description text,
  -- The name under which another spelling is meant; such a row is never stored on a task.
  alias_of text references public.task_types (name),
  -- The longest run that is waited for, and paid.
  max_runtime_seconds integer not null default 1200 check (max_runtime_seconds between 1 and 86400),
  -- How long a run is expected to take: the operator's figure. It sets the estimate and the first hold of work that is paid
  -- by the second; see expected_seconds().
  expected_seconds integer not null default 60 check (expected_seconds between 1 and 86400),
  -- How many may run at once, of all users together; any number when null.
  max_running_tasks smallint check (max_running_tasks between 1 and 10000),
  is_active boolean not null default true,
  is_visible boolean not null default false,
  supports_progress boolean not null default false,
  -- What can run such tasks: the operator's GPU and API workers, FAL, the sandbox. A claim that names its provider gets only
  -- types that list it. Own workers get what they ask for; here they say for which types FAL leaves tasks to them.
  runners text[] not null default '{gpu_worker,api_worker}'
    check (runners <@ array['gpu_worker', 'api_worker', 'fal', 'sandbox']),
  -- Whether type, params and seed decide what it makes, so that projects may reuse it.
  is_reusable boolean not null default false,
  -- Whether its tasks run at a provider that bills more for them than they are sold for; see require_provider_margin().
  allows_provider_loss boolean not null default false,
  constraint reusable_types_make_media check (not is_reusable or category in ('generation', 'processing', 'upscale'))
);
alter table public.task_type_prices
  add constraint task_type_prices_task_type_fkey foreign key (task_type) references public.task_types (name);

-- A user's place in the queue. Its row is the lock under which lanes open and close.
create table public.task_tenants (
  user_id uuid primary key references public.users (id) on delete cascade,
  -- The user's choice: `settings.ui.generationMethods`, inCloud and onComputer.
  allows_cloud boolean not null default true,
  allows_local boolean not null default true
) with (fillfactor = 50);

-- The cap on running tasks, as things that can be taken: a running task occupies one, so more cannot run,
-- and two claims take two of them without waiting for each other. Orchestrators need none.
create table public.task_slots (
  user_id uuid not null references public.task_tenants (user_id) on delete cascade,
  slot smallint not null,
  task_id uuid,
  primary key (user_id, slot)
) with (fillfactor = 50);

-- The same for what a project or a task type is limited to, where somebody set a limit. A slot beyond a limit
-- that was lowered goes when its task ends.
create table public.project_slots (
  project_id uuid not null references public.projects (id) on delete cascade,
  slot smallint not null,
  task_id uuid,
  primary key (project_id, slot)
) with (fillfactor = 50);
create table public.task_type_slots (
  task_type text not null references public.task_types (name),
  slot smallint not null,
  task_id uuid,
  primary key (task_type, slot)
) with (fillfactor = 50);

-- One queue a user, task type, model and payer, and a project where that has a limit of its own. A lane is ready while
-- a task of it may run, and open while the cloud may take one. Both err towards true: a claim that finds nothing
-- closes the lane. It is overdue when its next task has waited longer than a warm worker's model is worth.
-- It is late when its next task has waited for own workers so long that FAL may take it (`fal_after`).
-- `turn` is its user's turn, or an older one of theirs: claims that look for lanes of a kind bring those up to date that they
-- meet. `oldest_ready_at` is when its next task began to wait, or earlier; `waits_since`, when that task last became ready, or
-- earlier.
create table public.task_lanes (
  id bigint generated always as identity primary key,
  user_id uuid not null references public.task_tenants (user_id) on delete cascade,
  task_type text not null references public.task_types (name),
  model text not null,
  run_type public.run_type not null,
  in_cloud boolean not null,
  project_id uuid references public.projects (id) on delete cascade,
  is_orchestrator boolean not null,
  is_ready boolean not null default false,
  is_open boolean not null default false,
  is_overdue boolean not null default false,
  is_late boolean not null default false,
  turn bigint not null,
  oldest_ready_at timestamptz not null default now(),
  waits_since timestamptz not null default now(),
  unique nulls not distinct (user_id, task_type, model, in_cloud, project_id),
  constraint open_lanes_are_ready_and_paid check (not is_open or (is_ready and in_cloud))
) with (fillfactor = 50);
create index open_lanes_by_run_type_and_model on public.task_lanes (run_type, model, turn) where is_open;
create index open_lanes_by_task_type on public.task_lanes (task_type, turn) where is_open;
create index open_lanes_by_task_type_and_model on public.task_lanes (task_type, model, turn) where is_open;
create index overdue_lanes_by_task_type on public.task_lanes (task_type, turn) where is_open and is_overdue;
create index overdue_lanes_by_task_type_and_model on public.task_lanes (task_type, model, turn) where is_open and is_overdue;
create index late_lanes_by_task_type on public.task_lanes (task_type, turn) where is_open and is_late;
create index late_lanes_by_task_type_and_model on public.task_lanes (task_type, model, turn) where is_open and is_late;
create index timely_lanes_by_wait on public.task_lanes (waits_since) where is_open and not is_late;
create index ready_lanes_by_user on public.task_lanes (user_id) where is_ready;
create index waiting_lanes on public.task_lanes (run_type) where is_ready and not is_open;
create index punctual_lanes_by_age on public.task_lanes (oldest_ready_at) where is_open and not is_overdue;
create sequence public.task_turns;

-- Whose turn it is: `turn` numbers when a user was last served. Open while they have an open lane of the run type, and
-- sometimes a little longer. The one row that a claim writes to pass the turn, however many lanes the user has.
create table public.user_turns (
  user_id uuid not null references public.task_tenants (user_id) on delete cascade,
  run_type public.run_type not null,
  turn bigint not null,
  is_open boolean not null default true,
  primary key (user_id, run_type)
) with (fillfactor = 50);
create index open_turns on public.user_turns (run_type, turn) where is_open;

-- Below these turns nothing open of a kind is left; a kind is a run type alone (null model: of users), or a lane's run
-- type with a model, or its task type, alone or with a model. Where the turns of served lanes cannot be cleaned up because somebody holds an old snapshot, claims
-- begin behind them. Rows are only added, so that the newest is found by one probe; the queue's upkeep removes
-- old ones.
create table public.turn_marks (
  kind text not null,
  model text,
  turn bigint not null,
  created_at timestamptz not null default now()
);
create unique index turn_marks_by_turn on public.turn_marks (kind, model, turn) nulls not distinct;

create table public.tasks (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  user_id uuid not null,
  -- Neither this nor the price nor the lane is a foreign key: each would lock one row that all new tasks share.
  -- Types and prices are never deleted (triggers say so), and lanes only with their user. A task that was complete
  -- from its beginning has never waited: its lane is 0.
  task_type text not null,
  params public.task_params not null,
  status public.task_status not null default 'Queued',

  -- The queue: filled at creation, never dug out of params later.
  lane_id bigint not null,
  run_type public.run_type not null,
  model text,
  is_orchestrator boolean not null default false,
  orchestrator_task_id uuid references public.tasks (id) on delete set null,
  dependant_on uuid[],
  unmet_dependencies public.natural_number not null default 0,
  -- The longest chain of tasks before it that were open when it was created, or more: what max_dependency_depth limits.
  dependency_depth public.natural_number not null default 0,
  priority public.task_priority not null default 0,
  -- Not before this time. `is_scheduled` until the queue has let the task go; a flag, so that it can be indexed.
  run_after timestamptz,
  is_scheduled boolean not null default false,
  -- When it was last queued so that a worker could take it: created, released, due, or put back by a run.
  ready_at timestamptz not null default now(),
  request_hash bytea not null,
  -- What its output is decided by, where the project reuses results: see result_key(). Of equal tasks one runs, and
  -- the others follow it, counted as one unmet dependency.
  result_key bytea,
  is_following boolean not null default false,

  -- The run. `attempt` counts claims and fences late calls; `attempts` counts runs that failed.
  attempt public.natural_number not null default 0,
  attempts public.natural_number not null default 0,
  max_attempts public.attempt_limit not null default 3,
  worker_id text,
  claimed_by_owner boolean,
  slot public.slot_number,
  project_slot smallint,
  task_type_slot smallint,
  lease_expires_at timestamptz,
  progress public.task_progress,
  progress_message text,
  progress_shown_at timestamptz,
  generation_started_at timestamptz,
  generation_processed_at timestamptz,

  -- The outcome.
  output_location text,
  thumbnail_url text,
  error_message text,
  -- The same, as shipped workers write it over REST.
  error_details text,
  generation_created boolean not null default false,
  result_data jsonb not null default '{}',
  warnings public.output_warnings not null default '{}',
  -- The task whose run made the output, where it was another's. `claimed_by_owner` is then of that run.
  reused_task_id uuid,

  -- Money: the price it was quoted, what it is expected to cost, what it may cost, what it did cost.
  in_cloud boolean not null,
  price_id bigint not null,
  -- What the price depends on, read from params once: see read_billed_values().
  billed public.billed_values not null,
  expected_microusd public.amount_microusd not null default 0,
  upper_bound_microusd public.amount_microusd not null,
  -- What is held for it: by its own hold, or as a part of its orchestrator's.
  held_microusd public.amount_microusd not null default 0,
  -- Of an orchestrator: what is held for its open children, and what the complete ones cost. Its hold covers that.
  children_held_microusd public.amount_microusd not null default 0,
  -- How many seconds of a run the held amount pays for, and until when that is; null where it pays for the longest run.
  covered_seconds integer,
  covered_until timestamptz,
  cost_microusd public.amount_microusd,
  -- Of an orchestrator, what its children were promised to cost: {type: {price_id, expected_seconds, upper_bound_seconds}}.
  part_prices jsonb,

  copied_from_share text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),

  foreign key (project_id, project_slot) references public.project_slots (project_id, slot)
    deferrable initially deferred,
  foreign key (task_type, task_type_slot) references public.task_type_slots (task_type, slot)
    deferrable initially deferred,
  -- One check, for it is read at every write. Running means leased and, but for an orchestrator, in a slot; only
  -- what is queued is scheduled, or follows; what is complete has an end.
  constraint columns_fit_status check (case status
    when 'In Progress' then lease_expires_at is not null and not is_scheduled and is_orchestrator = (slot is null)
                            and not is_following and reused_task_id is null
    else lease_expires_at is null and num_nonnulls(slot, project_slot, task_type_slot) = 0
         and (status = 'Queued' and (not is_scheduled or run_after is not null)
                and (not is_following or result_key is not null and unmet_dependencies = 1)
              or not is_scheduled and not is_following
                and (status <> 'Complete' or generation_processed_at is not null))
         and (reused_task_id is null or status = 'Complete') end)
);
create unique index one_running_task_per_slot on public.tasks (user_id, slot) where slot is not null;
create unique index one_running_task_per_project_slot on public.tasks (project_id, project_slot)
  where project_slot is not null;
create unique index one_running_task_per_task_type_slot on public.tasks (task_type, task_type_slot)
  where task_type_slot is not null;
create index ready_tasks_by_lane on public.tasks (lane_id, priority desc, created_at, id)
  where status = 'Queued' and unmet_dependencies = 0 and not is_scheduled;
create index scheduled_tasks on public.tasks (run_after) include (user_id) where is_scheduled;
create index running_tasks_by_lease on public.tasks (lease_expires_at) include (user_id) where status = 'In Progress';
create index running_tasks_by_cover on public.tasks (covered_until) include (user_id) where status = 'In Progress' and covered_until is not null;
create index running_tasks_by_worker on public.tasks (worker_id) where status = 'In Progress';
-- The status comes last: a list of one status is read in order, and rows of the others cost an index entry.
create index tasks_by_project on public.tasks (project_id, created_at desc, id desc, status);
create index tasks_by_orchestrator on public.tasks (orchestrator_task_id, created_at, id)
  where orchestrator_task_id is not null;
create index complete_segments_by_run on public.tasks ((params ->> 'orchestrator_run_id'))
  where task_type = 'travel_segment' and status = 'Complete';
-- Of equal tasks one runs at a time.
create unique index one_run_per_result on public.tasks (project_id, result_key)
  where result_key is not null and not is_following and status in ('Queued', 'In Progress');
create index tasks_by_result on public.tasks (project_id, result_key, status, priority desc, created_at, id)
  where result_key is not null;
-- What may leave for the archive; a child leaves with its orchestrator.
create index finished_tasks_by_age on public.tasks (updated_at, id)
  where status in ('Complete', 'Failed', 'Cancelled') and orchestrator_task_id is null;

-- The jobs that run a task at a provider of models, so that the run that claims the task next resumes them instead of paying
-- for others. A task has one for each step, from before it is submitted until it ended in an error; they go with their task. Only the
-- functions read it: a reader of another's webhook key could end that task.
create table public.provider_jobs (
  task_id uuid not null references public.tasks (id) on delete cascade,
  -- Numbers the jobs of the task.
  step smallint not null default 0 check (step between 0 and 63),
  provider text not null check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'),
  -- Both become part of URLs at the provider, behind which our key is.
  model text not null check (model ~ '^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)+$' and length(model) <= 200),
  -- Null from the intent to submit until the provider's answer is noted.
  request_id text check (request_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$'),
  -- The run that began it; with an owner's worker, at an account of the owner's, which is of no use to the cloud.
  attempt public.natural_number not null,
  by_owner boolean not null,
  -- Names the job in the address to which the provider sends its end.
  webhook_key uuid,
  -- Whether the job's result is the output of the task, so that the webhook may complete the run with it.
  completes boolean not null default true,
  -- What the provider bills for the job, at most, and what that costs; null of an owner's worker, and where it is not known.
  units public.billed_units not null default '{}',
  cost_microusd public.amount_microusd,
  began_at timestamptz not null default now(),
  submitted_at timestamptz,
  primary key (task_id, step),
  constraint submitted_jobs_have_an_id check ((request_id is null) = (submitted_at is null))
);
create unique index provider_jobs_by_request on public.provider_jobs (provider, request_id);
create unique index provider_jobs_by_webhook_key on public.provider_jobs (webhook_key) where webhook_key is not null;

-- Jobs at providers that no task needs any more, for their task failed, was cancelled or was deleted. A row outlives its
-- task. One party at a time withdraws a job: `next_try_at` is its lease. Where the owner ended the run, the outcome decides
-- whether `cost_microusd` is charged, and until then the hold of `paid_by` stays open; see settle_withdrawal(). Of several jobs of
-- a run each has its cost, and the first that is charged takes it from the others.
create table public.provider_withdrawals (
  id uuid primary key default gen_random_uuid(),
  task_id uuid not null,
  step smallint not null default 0,
  attempt public.natural_number not null,
  user_id uuid not null,
  provider text not null,
  model text not null,
  -- Null where it is not known whether the job was submitted.
  request_id text,
  webhook_key uuid,
  by_owner boolean not null,
  -- The task whose hold pays: this one, or the outermost orchestrator.
  paid_by uuid not null,
  cost_microusd public.amount_microusd not null,
  charged_microusd public.amount_microusd not null default 0,
  charge_metadata jsonb not null,
  -- What the provider bills the operator for the job, if it ran; as in provider_jobs.
  provider_cost_microusd public.amount_microusd,
  -- `withdrawn`: before it began. `ran`: it began, or has ended well. `failed`: it ended in an error at the provider.
  -- `unanswered`: the provider did not say before `expires_at`. `unknown`: until then no job was heard of.
  state text not null default 'open'
    check (state in ('open', 'withdrawn', 'ran', 'failed', 'unanswered', 'unknown')),
  -- Said before, by a party whose report could not be settled.
  has_run boolean not null default false,
  tries public.natural_number not null default 0,
  next_try_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '10 minutes',
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  constraint settled_withdrawals_have_an_end check (
    (state = 'open') = (settled_at is null) and charged_microusd in (0, cost_microusd))
);
create index open_withdrawals on public.provider_withdrawals (provider, by_owner, next_try_at)
  where state = 'open' and request_id is not null;
create index open_withdrawals_by_expiry on public.provider_withdrawals (expires_at) where state = 'open';
create index open_withdrawals_by_payer on public.provider_withdrawals (paid_by) where state = 'open';
create index withdrawals_by_task on public.provider_withdrawals (task_id);
create index withdrawals_by_request on public.provider_withdrawals (provider, request_id) where request_id is not null;
create index withdrawals_by_webhook_key on public.provider_withdrawals (webhook_key) where webhook_key is not null;
create index withdrawn_by_user on public.provider_withdrawals (user_id, settled_at) where state = 'withdrawn';
create index settled_withdrawals_by_age on public.provider_withdrawals (settled_at) where state <> 'open';

-- Every job that was submitted to a provider at the operator's account, and what the provider bills for it. It outlives its task. A
-- job that was withdrawn before it began, or ended in an error, is not billed. None of an owner's own worker, which runs at the
-- owner's account. These three tables are the operator's business: no tenant reads them, not the task's owner either.
create table public.provider_calls (
  id bigint generated always as identity primary key,
  task_id uuid not null,
  provider text not null,
  model text not null,
  request_id text not null,
  -- By cost_of_provider_call() when the job was begun; null where the price was not known and the operator allows that.
  cost_microusd public.amount_microusd,
  is_billed boolean not null default true,
  submitted_at timestamptz not null default now(),
  unique (provider, request_id)
);
create index provider_calls_by_task on public.provider_calls (task_id);

-- What a task costs the operator at providers: the sum of its billed jobs. Not in `tasks`, whose rows their owners read with all
-- columns. A row also stays when its task is archived or deleted.
create table public.task_provider_costs (
  task_id uuid primary key,
  user_id uuid not null,
  task_type text not null,
  -- When the first of its jobs was submitted (UTC).
  day date not null,
  jobs public.natural_number not null,
  provider_cost_microusd public.amount_microusd not null,
  -- What of it was counted in unpaid_provider_costs when the task ended, and on which day last.
  unpaid_microusd public.amount_microusd not null default 0,
  unpaid_on date
);
create index task_provider_costs_by_day on public.task_provider_costs (day, task_type);

-- What tasks of a user that ended on a day (UTC) cost at providers beyond what they were charged; see count_unpaid_cost(). Kept for
-- 30 days. A row is written under the lock of the user's account, and by nobody else's tasks.
create table public.unpaid_provider_costs (
  user_id uuid not null,
  day date not null,
  unpaid_microusd public.amount_microusd not null,
  primary key (user_id, day)
);
create index unpaid_provider_costs_by_day on public.unpaid_provider_costs (day);

-- Which models of a provider run a task type, with a usual job: what the price of the task counts in it (as in tasks.billed), and
-- what the provider counts. By it the doctor finds types that are sold below their cost.
create table public.provider_models (
  task_type text not null references public.task_types (name),
  provider text not null,
  model text not null,
  billed jsonb not null check (jsonb_typeof(billed) = 'object'),
  units jsonb not null check (jsonb_typeof(units) = 'object'),
  primary key (task_type, provider, model)
);

-- How many tasks of a lane are in which state, kept by a trigger. A lane has several rows, of which a change takes
-- any that nobody else is writing, so that counting makes nobody wait; their sum is the count, and a single row may
-- be below zero.
create table public.task_counts (
  id bigint generated always as identity primary key,
  lane_id bigint not null,
  -- May run now; waits for other tasks; waits for its time; runs.
  ready integer not null default 0,
  blocked integer not null default 0,
  scheduled integer not null default 0,
  running integer not null default 0
) with (fillfactor = 50);
create index task_counts_by_lane on public.task_counts (lane_id);
create index waiting_task_counts on public.task_counts (lane_id) where blocked <> 0 or scheduled <> 0;

-- How long finished runs took: how many ended in each bucket, four to a doubling of seconds; see run_time_bucket.
-- Estimates for people: no price, hold or charge depends on them. Rows without a model are those of names that are not in
-- `known_models`; runs of the sandbox and of owners' workers are not counted.
create table public.task_run_times (
  task_type text not null,
  model text not null,
  bucket smallint not null check (bucket between 0 and 80),
  runs integer not null,
  primary key (task_type, model, bucket)
) with (fillfactor = 50);

-- The names of models that the operator's workers serve. Any other name that params carry counts as no model.
create table public.known_models (
  model text primary key check (model = trim(model) and length(model) between 1 and 200)
);

-- Which task waits for which; `dependant_on` in rows, for the way back. `is_waiting` until the dependant is released or ends.
-- A queued task counts these rows in `unmet_dependencies`, so it cannot run before it is released.
create table public.task_dependencies (
  dependency_id uuid not null references public.tasks (id) on delete cascade,
  task_id uuid not null references public.tasks (id) on delete cascade,
  is_waiting boolean not null,
  primary key (dependency_id, task_id),
  check (dependency_id <> task_id)
);
create index task_dependencies_by_task on public.task_dependencies (task_id);
create index waiting_dependants on public.task_dependencies (dependency_id, task_id) where is_waiting;

-- What the limits of queue_settings are compared with: a user's open tasks, the tasks that wait for a task, the children of an
-- orchestrator. Kept by triggers in the way of task_counts: a subject has several rows, of which a change takes one that
-- no other transaction is writing. Their sum is the count; a single row may be below zero.
create table public.limit_counts (
  id bigint generated always as identity primary key,
  subject text not null check (subject in ('open_tasks', 'dependants', 'children')),
  subject_id uuid not null,
  amount integer not null
) with (fillfactor = 50);
create index limit_counts_by_subject on public.limit_counts (subject_id, subject);

-- Work that follows from a committed change and is too large for its transaction. run_task_outbox() does it in batches.
--   release_dependants  the task `subject_id` is complete: tasks that wait for it are released
--   end_relatives       the task has ended: its open parts and the tasks that wait for it end too
--   delete_project      the project is being deleted: its tasks end, its rows are removed
-- A row may be there twice, and every step may be repeated. No foreign keys: a row outlives what it names, and is then
-- removed as done.
create table public.task_outbox (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('release_dependants', 'end_relatives', 'delete_project')),
  subject_id uuid not null,
  user_id uuid not null,
  -- Of `end_relatives`: the status that parts get, whether the owner ended them, and the task whose end was the first.
  new_status public.task_status check (new_status in ('Failed', 'Cancelled')),
  by_owner boolean,
  origin_id uuid,
  created_at timestamptz not null default now(),
  constraint ends_have_a_status check ((kind = 'end_relatives') = (new_status is not null and by_owner is not null and origin_id is not null))
);
create index task_outbox_by_user on public.task_outbox (user_id, id);
create index task_outbox_by_subject on public.task_outbox (subject_id, kind);

-- Results, or runs that ended without one, that tasks still follow: more than the run's own transaction gives them to, or
-- tasks that somebody held. settle_followers() sees to them. Written under the tenant's lock.
create table public.results_to_share (
  project_id uuid not null references public.projects (id) on delete cascade,
  result_key bytea not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (project_id, result_key)
);

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

-- Reports by which workers ended a run, and their answers: a report that is sent again, because its answer was lost, is
-- answered alike and does nothing. One a run; kept for a day. Not deleted with the task, which may be archived before.
create table public.run_reports (
  task_id uuid not null,
  attempt integer not null,
  request_hash bytea not null,
  answer jsonb not null,
  created_at timestamptz not null default now(),
  primary key (task_id, attempt)
);
create index run_reports_by_age on public.run_reports (created_at);

-- Settings of the queue that operators may change; one row.
create table public.queue_settings (
  only_row boolean primary key default true check (only_row),
  -- How long a task of another model may wait for a warm worker to leave its own.
  affinity_max_wait interval not null default '5 minutes',
  -- The lease of a worker that has shown that it heartbeats.
  heartbeat_lease interval not null default '60 seconds',
  -- How long a finished task stays in `tasks`; null: for ever. Longer than any statement runs, so that a
  -- task cannot be created, ended and archived while another request is about to use its id.
  keep_finished interval default '30 days' check (keep_finished >= '1 hour'),
  -- After how long without a heartbeat a worker that nobody manages counts as inactive.
  silent_worker_after interval not null default '5 minutes',
  -- How old a result may be that is given again.
  reuse_results_for interval not null default '90 days' check (reuse_results_for >= '0'),
  -- How long the lines of `system_logs` are kept.
  log_retention interval not null default '7 days',
  -- Limits; see docs/operations.md. Of a user: tasks that are queued or run, also those that wait for a time or a dependency.
  max_open_tasks integer not null default 10000 check (max_open_tasks between 1 and 1000000),
  -- Of a task: how many wait for it, and how many stand one behind the other before it.
  max_dependants integer not null default 1000 check (max_dependants between 1 and 100000),
  max_dependency_depth integer not null default 1000 check (max_dependency_depth between 1 and 100000),
  -- Of an orchestrator: its children, finished ones too; and how many orchestrators are nested, itself counted.
  max_children integer not null default 1000 check (max_children between 1 and 100000),
  max_orchestration_depth integer not null default 5 check (max_orchestration_depth between 1 and 20),
  -- Whether any task may run at a provider that bills more for it than it is sold for, or whose price is not known.
  allows_provider_loss boolean not null default false,
  -- How many other tasks a transaction releases or ends with a task; the rest are left to task_outbox.
  direct_cascade integer not null default 20 check (direct_cascade between 1 and 1000),
  -- Which tasks FAL takes, of those that own workers could run: those that no active worker can take (missing), all, or none. A
  -- task that has waited longer than `fal_after` counts as missing. A host with FAL's key and FAL's workers write both.
  fal_runs text not null default 'missing' check (fal_runs in ('missing', 'all', 'none')),
  fal_after interval not null default '5 minutes' check (fal_after >= '0'),
  -- Whether FAL runs tasks here: then the sandbox leaves it what it can run. And when FAL last claimed or sent a heartbeat.
  fal_is_configured boolean not null default false,
  fal_seen_at timestamptz not null default '-infinity',
  -- When an API worker last counted tasks: while nothing is queued, the shipped one does nothing else.
  api_worker_seen_at timestamptz not null default '-infinity',
  -- How long a worker that sends no heartbeats counts as active after a claim.
  claimer_active_for interval not null default '2 minutes',
  -- How long after an own worker was last active the sandbox leaves it what it can run.
  sandbox_waits_for interval not null default '30 days',
  -- What active own workers could run when the queue was last tended: FAL's waiting claims are woken when that shrinks.
  own_worker_types text[] not null default '{}',
  -- When the queue was last tended; claims do it where nobody else does.
  tended_at timestamptz not null default '-infinity'
);
insert into public.queue_settings default values;

-- Finished tasks that have left `tasks`: the same columns but for those of the queue, so that history costs a
-- claim nothing. A task is in one of the two tables. Filled by archive_finished_tasks(), changed by nobody.
create table public.archived_tasks (
  id uuid primary key,
  project_id uuid not null references public.projects (id) on delete cascade,
  user_id uuid not null,
  task_type text not null,
  params public.task_params not null,
  status public.task_status not null check (status in ('Complete', 'Failed', 'Cancelled')),
  run_type public.run_type not null,
  model text,
  is_orchestrator boolean not null,
  -- No foreign keys: relatives are archived in an order of their own.
  orchestrator_task_id uuid,
  dependant_on uuid[],
  unmet_dependencies public.natural_number not null,
  priority public.task_priority not null,
  run_after timestamptz,
  request_hash bytea not null,
  result_key bytea,
  attempt public.natural_number not null,
  attempts public.natural_number not null,
  max_attempts public.attempt_limit not null,
  worker_id text,
  claimed_by_owner boolean,
  progress public.task_progress,
  progress_message text,
  generation_started_at timestamptz,
  generation_processed_at timestamptz,
  output_location text,
  thumbnail_url text,
  error_message text,
  generation_created boolean not null,
  result_data jsonb not null,
  warnings public.output_warnings not null,
  reused_task_id uuid,
  in_cloud boolean not null,
  price_id bigint not null,
  billed public.billed_values not null,
  expected_microusd public.amount_microusd not null,
  upper_bound_microusd public.amount_microusd not null,
  held_microusd public.amount_microusd not null,
  children_held_microusd public.amount_microusd not null,
  cost_microusd public.amount_microusd,
  copied_from_share text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  archived_at timestamptz not null default now()
);
create index archived_tasks_by_project on public.archived_tasks (project_id, created_at desc, id desc);
create index archived_tasks_by_status on public.archived_tasks (project_id, status, created_at desc, id desc);
create index archived_tasks_by_orchestrator on public.archived_tasks (orchestrator_task_id, created_at, id)
  where orchestrator_task_id is not null;
create index archived_tasks_by_result on public.archived_tasks (project_id, result_key, status, created_at)
  where result_key is not null;
create index archived_segments_by_run on public.archived_tasks ((params ->> 'orchestrator_run_id'))
  where task_type = 'travel_segment' and status = 'Complete';

-- Both, for those who read. The archive comes second: who asks for one row by `limit 1` and finds it in
-- `tasks` never looks there. Without what only the queue needs: lane, slot, request hash and the like.
create view public.all_tasks with (security_invoker = true) as
  select id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator,
         orchestrator_task_id, dependant_on, unmet_dependencies, priority, run_after,
         attempt, attempts, max_attempts, worker_id, claimed_by_owner, lease_expires_at, progress, progress_message,
         generation_started_at, generation_processed_at, output_location, thumbnail_url, error_message,
         generation_created, result_data, warnings, reused_task_id, in_cloud, price_id, billed, expected_microusd,
         upper_bound_microusd, held_microusd, children_held_microusd, cost_microusd, copied_from_share, created_at, updated_at
    from public.tasks
  union all
  select id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator,
         orchestrator_task_id, dependant_on, unmet_dependencies, priority, run_after,
         attempt, attempts, max_attempts, worker_id, claimed_by_owner, null, progress, progress_message,
         generation_started_at, generation_processed_at, output_location, thumbnail_url, error_message,
         generation_created, result_data, warnings, reused_task_id, in_cloud, price_id, billed, expected_microusd,
         upper_bound_microusd, held_microusd, children_held_microusd, cost_microusd, copied_from_share, created_at, updated_at
    from public.archived_tasks;

-- What tasks that ran at a provider brought in and cost, by type and day (UTC) of their first job. A condition on `day` is
-- answered by an index. Of a task whose row was deleted, the charge of its own hold counts.
create view public.provider_margins with (security_invoker = true) as
  select priced.day, priced.task_type, count(*) as tasks, sum(priced.jobs) as jobs,
         sum(priced.revenue_microusd)::bigint as revenue_microusd,
         sum(priced.provider_cost_microusd)::bigint as provider_cost_microusd,
         sum(priced.revenue_microusd - priced.provider_cost_microusd)::bigint as margin_microusd
    from (
      select cost.day, cost.task_type, cost.jobs, cost.provider_cost_microusd::bigint as provider_cost_microusd,
             -- An orchestrator's cost is the sum of its parts, which have rows of their own.
             coalesce(
               (select case when task.is_orchestrator then 0 else coalesce(task.cost_microusd, 0) end
                  from public.tasks as task where task.id = cost.task_id),
               (select case when task.is_orchestrator then 0 else coalesce(task.cost_microusd, 0) end
                  from public.archived_tasks as task where task.id = cost.task_id),
               (select hold.charged_microusd from public.credit_holds as hold where hold.task_id = cost.task_id),
               0)::bigint as revenue_microusd
        from public.task_provider_costs as cost) as priced
   group by priced.day, priced.task_type;
