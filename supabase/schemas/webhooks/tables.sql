-- Where the events of a project are sent.
create table public.webhook_endpoints (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  user_id uuid not null,
  url text not null check (length(url) between 1 and 2000),
  description text check (length(description) <= 500),
  events text[] not null check (
    cardinality(events) between 1 and 5
    and events <@ array['task.queued', 'task.in_progress', 'task.complete', 'task.failed', 'task.cancelled']),
  enabled boolean not null default true,
  disabled_at timestamptz,
  disabled_reason text check (disabled_reason in ('owner', 'gone', 'failing')),
  -- The first failure since the last success.
  failing_since timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint disabled_says_why check (
    enabled = (disabled_at is null) and enabled = (disabled_reason is null))
);
-- What every change of a task's status looks into.
create index webhook_endpoints_by_project on public.webhook_endpoints (project_id, created_at);

-- What deliveries are signed with, as `whsec_` and base64. They must be readable to sign, so they are here in
-- the clear, and no role may read them: the sender gets them with each claim.
create table public.webhook_secrets (
  id bigint generated always as identity primary key,
  endpoint_id uuid not null references public.webhook_endpoints (id) on delete cascade,
  secret text not null check (secret ~ '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$'),
  -- Of an earlier secret: until when it still signs beside the current one.
  expires_at timestamptz,
  created_at timestamptz not null default now()
);
create unique index one_current_webhook_secret on public.webhook_secrets (endpoint_id) where expires_at is null;
create index webhook_secrets_by_endpoint on public.webhook_secrets (endpoint_id);

-- Numbers events, so that a receiver can tell an older one from a newer.
create sequence public.webhook_sequence;

-- The outbox: one message to one endpoint, written with the change it tells of. `id` is the `webhook-id`, the
-- same at every attempt.
create table public.webhook_deliveries (
  id uuid primary key default gen_random_uuid(),
  endpoint_id uuid not null references public.webhook_endpoints (id) on delete cascade,
  seq bigint not null,
  type text not null,
  task_id uuid,
  -- The body as it is sent and signed: text that nobody may format anew.
  payload text not null check (length(payload) <= 65536),
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0 check (attempts >= 0),
  -- Failed attempts of this round of the schedule; a redelivery begins another.
  failures smallint not null default 0 check (failures >= 0),
  -- When it is due. While it is being sent: when its sender is given up.
  next_attempt_at timestamptz default now(),
  -- Who sends it; a late answer of another claim is left aside.
  claim_id uuid,
  delivered_at timestamptz,
  created_at timestamptz not null default now(),
  constraint pending_is_due check ((state = 'pending') = (next_attempt_at is not null)),
  constraint delivered_says_when check (state <> 'delivered' or delivered_at is not null)
);
create index due_webhook_deliveries on public.webhook_deliveries (next_attempt_at) where state = 'pending';
create index pending_webhook_deliveries on public.webhook_deliveries (endpoint_id, next_attempt_at, seq)
  where state = 'pending';
create index claimed_webhook_deliveries on public.webhook_deliveries (endpoint_id)
  where state = 'pending' and claim_id is not null;
create index failed_webhook_deliveries on public.webhook_deliveries (endpoint_id, seq) where state = 'failed';
create index webhook_deliveries_by_endpoint on public.webhook_deliveries (endpoint_id, seq);
create index webhook_deliveries_by_age on public.webhook_deliveries (created_at);

-- What came of each attempt; nothing of what the receiver said but its status.
create table public.webhook_attempts (
  delivery_id uuid not null references public.webhook_deliveries (id) on delete cascade,
  attempt integer not null check (attempt >= 1),
  status_code integer check (status_code between 100 and 999),
  error text check (length(error) <= 100),
  duration_ms integer not null check (duration_ms >= 0),
  attempted_at timestamptz not null default now(),
  primary key (delivery_id, attempt),
  constraint answered_or_failed check ((status_code is null) <> (error is null))
);
