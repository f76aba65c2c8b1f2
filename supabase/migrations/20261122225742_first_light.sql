-- Made from supabase/schemas by `npm run generate`; change those files, not this one.
-- Functions name each other, so their bodies are checked when they are called.
set check_function_bodies = off;

-- supabase/schemas/accounts/types.sql
-- What people may write about themselves and their projects, with its limits. Domains, for a table's own checks are
-- read anew at every write, and `users.credits` is written with every charge.
create domain public.person_name as text check (length(value) <= 200);
create domain public.username as text check (length(value) between 1 and 60);
create domain public.link as text check (length(value) <= 2000);
create domain public.user_settings as jsonb check (pg_column_size(value) <= 262144);
create domain public.onboarding_state as jsonb check (pg_column_size(value) <= 65536);
create domain public.credit_threshold as integer check (value between 0 and 1000000);

-- What is paid at once, the balance at which more is bought, and what a month may cost at most; in US cents.
create domain public.payment_cents as integer check (value between 500 and 10000);
create domain public.topup_threshold_cents as integer check (value between 100 and 9999);
create domain public.topup_cap_cents as integer check (value between 500 and 1000000);
create domain public.topup_disabled_reason as text check (
  value in ('card_declined', 'expired_card', 'authentication_required', 'card_removed', 'customer_removed',
            'payment_disputed', 'payment_refunded'));

-- supabase/schemas/credits/types.sql
-- The first five are those that clients know.
create type public.ledger_entry_type as enum (
  'stripe', 'manual', 'spend', 'refund', 'auto_topup', 'expiry', 'dispute', 'debt', 'write_off');
-- Given away is spent before what was paid for, and only it can expire.
create type public.grant_category as enum ('promotional', 'paid');
create type public.billing_type as enum ('per_unit', 'per_second');
create type public.hold_state as enum ('held', 'settled', 'released');

-- An amount of money that cannot be below zero, in millionths of a dollar.
create domain public.amount_microusd as bigint check (value >= 0);
create domain public.ledger_key as text check (length(value) <= 300);
-- As people type them: without regard to case.
create domain public.promo_code as text check (value ~ '^[A-Z0-9][A-Z0-9_-]{2,39}$');
create domain public.cost_factors as jsonb check (jsonb_typeof(value) = 'object' and pg_column_size(value) <= 16384);

-- supabase/schemas/billing/types.sql
create type public.checkout_status as enum ('open', 'complete', 'expired');
-- `requested` is open: it is charged, or what came of it is not known yet. `failed` leaves automatic top-ups on.
create type public.auto_topup_state as enum ('requested', 'succeeded', 'declined', 'failed', 'cancelled');
create type public.payment_purpose as enum ('checkout', 'auto_topup');
-- `paid` stays paid: what is given back is in refunds and disputes.
create type public.payment_state as enum ('unknown', 'pending', 'failed', 'paid');
create type public.stripe_event_state as enum ('received', 'handled', 'ignored', 'quarantined');
create type public.alert_state as enum ('open', 'released', 'dismissed');

-- supabase/schemas/tasks/types.sql
create type public.task_status as enum ('Queued', 'In Progress', 'Complete', 'Failed', 'Cancelled');

-- Checks of one column are domains: PostgreSQL keeps those prepared, where it reads a table's checks anew for
-- every statement that writes a row.
create domain public.run_type as text check (value in ('gpu', 'api'));
create domain public.task_params as jsonb check (jsonb_typeof(value) = 'object');
create domain public.task_priority as smallint check (value between -100 and 100);
create domain public.task_progress as real check (value between 0 and 1);
create domain public.attempt_limit as integer check (value between 1 and 20);
create domain public.natural_number as integer check (value >= 0);
-- What of params a price depends on; read_billed_values() makes it.
create domain public.billed_values as jsonb check (
  jsonb_typeof(value) = 'object' and pg_column_size(value) <= 4096
  and value - array['images', 'frames', 'gap_frames', 'context_frames', 'seconds', 'megapixels', 'scale', 'resolution', 'model',
                   'model_type'] = '{}'
  and not jsonb_path_exists(
    value, '$.keyvalue() ? (@.key like_regex "^(images|frames|gap_frames|context_frames|seconds|megapixels|scale)$" && @.value.type() <> "number")')
  and not jsonb_path_exists(
    value, '$.keyvalue() ? (@.key like_regex "^(resolution|model|model_type)$" && @.value.type() <> "string")'));
-- What could not be done of what a task asked, as its worker says.
create domain public.output_warnings as text[] check (
  cardinality(value) <= 20 and array_position(value, null) is null and length(array_to_string(value, '')) <= 10000);
-- How much of each unit a provider bills for a job, at most, and the variant that decides the price of one.
create domain public.billed_units as jsonb check (
  jsonb_typeof(value) = 'object' and value - array['images', 'megapixels', 'seconds', 'training_steps', 'variant'] = '{}'
  and jsonb_typeof(coalesce(value -> 'variant', '""')) = 'string' and length(value ->> 'variant') <= 100
  and not jsonb_path_exists(value - 'variant', '$.* ? (@.type() <> "number" || @ < 0 || @ > 1000000000)'));
create domain public.slot_number as smallint check (value between 1 and 5);

-- supabase/schemas/generations/types.sql
-- What a finished task's output became.
create type public.made_output as (generation_id uuid, variant_id uuid, warnings jsonb);

-- supabase/schemas/accounts/tables.sql
-- People and their projects. `credits` (US cents) is kept by the credits room for clients that read it here.
create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  name public.person_name,
  email text,
  username public.username unique,
  avatar_url public.link,
  credits numeric(16, 4) not null default 0,
  given_credits boolean not null default false,
  -- Told of, live, when the balance falls to this, in credits.
  low_balance_threshold public.credit_threshold not null default 100,
  -- Automatic top-ups, in US cents; `setup_completed` says that a card is saved. The billing room writes them.
  auto_topup_enabled boolean not null default false,
  auto_topup_amount public.payment_cents,
  auto_topup_threshold public.topup_threshold_cents,
  auto_topup_monthly_cap public.topup_cap_cents,
  auto_topup_last_triggered timestamptz,
  auto_topup_setup_completed boolean not null default false,
  -- Why it was switched off, where that was not its owner.
  auto_topup_disabled_reason public.topup_disabled_reason,
  settings public.user_settings not null
    default '{"ui": {"paneLocks": {"gens": false, "shots": false, "tasks": true}}, "user-preferences": {}}',
  onboarding public.onboarding_state not null default '{}',
  created_at timestamptz not null default now()
);

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid() references public.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 200),
  aspect_ratio text check (aspect_ratio ~ '^\d{1,2}:\d{1,2}$|^Square$'),
  settings jsonb not null default '{}' check (pg_column_size(settings) <= 262144),
  -- How many of its tasks may run at once; as many as its owner's may when null.
  max_running_tasks smallint check (max_running_tasks between 1 and 1000),
  -- Whether the same task again is answered with what it made before; see docs/reuse.md.
  reuses_results boolean not null default false,
  -- Set when its owner has deleted it and its rows are not all removed yet. Its owner does not see it from then on.
  deleted_at timestamptz,
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
-- Money is integer micro-dollars. Accounts, entries, grants and holds name no person and no task by foreign key: they
-- outlive those that they speak of.
create table public.credit_accounts (
  user_id uuid primary key,
  balance_microusd bigint not null default 0,
  held_microusd bigint not null default 0,
  -- Credit that was taken back after it had been spent. Who owes opens no new holds.
  debt_microusd public.amount_microusd not null default 0,
  -- The end of the account's chain of entries.
  entry_count bigint not null default 0,
  chain_hash bytea not null default '',
  -- When the next of its open grants expires, or earlier. What a hold keeps beyond its time is looked at when that ends.
  next_expiry_at timestamptz,
  has_spend_caps boolean not null default false,
  created_at timestamptz not null default now(),
  constraint held_is_covered check (held_microusd >= 0 and balance_microusd >= held_microusd)
) with (fillfactor = 50);
create index credit_accounts_by_expiry on public.credit_accounts (next_expiry_at) where next_expiry_at is not null;

-- Append-only, double entry: each row is one entry in the journal, with the customer's side in `amount_microusd` and
-- the other sides beside it; what is credited is positive, and a check holds the sum to zero. Each account's
-- entries are chained by hash.
create table public.credits_ledger (
  id uuid primary key,
  user_id uuid not null references public.credit_accounts (user_id),
  -- 1, 2, 3… of its account.
  sequence bigint not null check (sequence > 0),
  task_id uuid,
  call_id uuid,
  payment_id uuid,
  type public.ledger_entry_type not null,
  amount_microusd bigint not null,
  revenue_microusd bigint not null default 0,
  purchases_microusd bigint not null default 0,
  grants_microusd bigint not null default 0,
  write_off_microusd bigint not null default 0,
  debt_microusd bigint not null default 0,
  -- The same in US cents, for clients that read it.
  amount numeric(20, 4) generated always as (amount_microusd / 10000.0) stored,
  balance_after_microusd public.amount_microusd not null,
  idempotency_key public.ledger_key,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  hash bytea not null,
  unique (user_id, sequence),
  constraint entry_is_balanced check (
    amount_microusd + revenue_microusd + purchases_microusd + grants_microusd + write_off_microusd + debt_microusd = 0
    and case type
      when 'spend' then amount_microusd < 0 and num_nonnulls(task_id, call_id) = 1
      when 'write_off' then amount_microusd = 0 and task_id is not null and call_id is null
      else num_nonnulls(task_id, call_id) = 0 and (amount_microusd <> 0 or debt_microusd <> 0) end)
);
create unique index one_charge_per_task on public.credits_ledger (task_id) where type in ('spend', 'write_off');
create unique index one_charge_per_call on public.credits_ledger (call_id) where call_id is not null;
create unique index one_entry_per_key on public.credits_ledger (idempotency_key) where idempotency_key is not null;
create index credits_ledger_by_payment on public.credits_ledger (payment_id) where payment_id is not null;

-- What was added to an account, and what is left of it. Their remainders add up to the account's balance.
create table public.credit_grants (
  id bigint generated always as identity primary key,
  user_id uuid not null references public.credit_accounts (user_id),
  entry_id uuid not null unique references public.credits_ledger (id),
  category public.grant_category not null,
  amount_microusd bigint not null check (amount_microusd > 0),
  remaining_microusd bigint not null,
  is_open boolean not null default true,
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  constraint remainder_fits check (
    remaining_microusd between 0 and amount_microusd and is_open = (remaining_microusd > 0)
    and (category = 'promotional' or expires_at is null))
) with (fillfactor = 50);
-- In the order in which they are spent.
create index open_grants on public.credit_grants (user_id, expires_at, category, id) where is_open;

-- Which grants an entry took how much from. Append-only.
create table public.credit_grant_draws (
  entry_id uuid not null references public.credits_ledger (id),
  grant_id bigint not null references public.credit_grants (id),
  amount_microusd bigint not null check (amount_microusd > 0),
  primary key (entry_id, grant_id)
);
create index credit_grant_draws_by_grant on public.credit_grant_draws (grant_id);

-- What a task has reserved, and what became of it. The hold of work that is paid by the second grows while it runs.
create table public.credit_holds (
  task_id uuid primary key,
  user_id uuid not null references public.credit_accounts (user_id),
  -- Whose spend caps it counts for.
  project_id uuid,
  token_id uuid,
  amount_microusd public.amount_microusd not null,
  state public.hold_state not null default 'held',
  charged_microusd public.amount_microusd not null default 0,
  -- Cost beyond what was held: our loss, never the customer's.
  written_off_microusd public.amount_microusd not null default 0,
  -- Consumed by work whose rows were deleted: charged when the hold closes, as what the rows say is.
  consumed_microusd public.amount_microusd not null default 0,
  created_at timestamptz not null default now(),
  -- When a task that still waits is given up, so that no credit is held for ever.
  expires_at timestamptz not null,
  closed_at timestamptz,
  constraint columns_fit_state check (
    (state = 'held') = (closed_at is null)
    and charged_microusd <= case state when 'settled' then amount_microusd else 0 end)
);
create index open_holds_by_expiry on public.credit_holds (expires_at) where state = 'held';
create index credit_holds_by_user on public.credit_holds (user_id, created_at);

-- What a project, or a token, may spend in a calendar month (UTC). Changed under the account's lock.
create table public.spend_caps (
  id bigint generated always as identity primary key,
  user_id uuid not null references public.credit_accounts (user_id),
  project_id uuid unique references public.projects (id) on delete cascade,
  token_id uuid unique references public.personal_access_tokens (id) on delete cascade,
  cap_microusd public.amount_microusd not null,
  month date not null,
  -- Spent or held by work that was created in that month.
  committed_microusd public.amount_microusd not null,
  created_at timestamptz not null default now(),
  constraint cap_of_one_thing check (num_nonnulls(project_id, token_id) = 1)
);
create index spend_caps_by_user on public.spend_caps (user_id);

-- Prices by version; a task keeps the row it was quoted. Of the versions whose time has come, the one with the latest
-- time is in force. Append-only.
create table public.task_type_prices (
  id bigint generated always as identity primary key,
  task_type text not null,
  version integer not null check (version > 0),
  billing_type public.billing_type not null,
  -- Of one output, or of one second of work.
  price_microusd bigint not null check (price_microusd between 0 and 1000000000),
  -- Multipliers. By name: {"resolution": {"2x": 1, "4x": 2}, "model": {…}, "model_type": {…}}; a value without a price is
  -- refused. By number: {"frames": {"included": 81, "each": 0.01}, "images": {…}, "seconds": {…}, "megapixels": {…}}; each
  -- beyond those adds so much.
  cost_factors public.cost_factors not null default '{}',
  -- Of an output that an earlier run made, whatever that cost; never more than a run may cost.
  reuse_price_microusd bigint not null default 0 check (reuse_price_microusd between 0 and 1000000000),
  -- What a run costs that its owner ends: what it has consumed, by cost_of_cancel(), or nothing.
  cancel_policy text not null default 'consumed' check (cancel_policy in ('consumed', 'free')),
  -- What an output costs that the provider's safety checker made black: nothing, or as much as any other.
  blacked_out_policy text not null default 'free' check (blacked_out_policy in ('free', 'charged')),
  valid_from timestamptz not null default now(),
  published_by text not null default 'seed' check (length(published_by) between 1 and 200),
  reason text not null default 'first price' check (length(reason) between 1 and 500),
  idempotency_key public.ledger_key unique,
  created_at timestamptz not null default now(),
  unique (task_type, version)
);
create index task_type_prices_by_time on public.task_type_prices (task_type, valid_from desc, version desc);

-- What a provider of models bills the operator for a job, by version. In force is, as with prices of tasks, the version with the
-- latest time that has come. Append-only: what a job cost is computed once, by the version of that moment.
create table public.provider_prices (
  id bigint generated always as identity primary key,
  provider text not null check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'),
  -- The provider's endpoint.
  model text not null check (model ~ '^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)+$' and length(model) <= 200),
  version integer not null check (version > 0),
  -- What the provider counts. `job`: each job costs the same, however large it is.
  unit text not null check (unit in ('job', 'image', 'megapixel', 'second', 'training_step')),
  -- Of one unit.
  price_microusd bigint not null check (price_microusd between 0 and 1000000000),
  -- Of one unit by variant, where the provider has such prices: {"480p": 40000, "720p": 80000}. A job without a variant, or with
  -- one that is not listed, costs the highest of all.
  variant_prices jsonb not null default '{}'
    check (jsonb_typeof(variant_prices) = 'object' and pg_column_size(variant_prices) <= 4096),
  -- A job counts at least so many units, and so many where it does not say how many.
  minimum_units numeric not null default 0 check (minimum_units between 0 and 1000000),
  -- Of each job, beside its units.
  job_fee_microusd bigint not null default 0 check (job_fee_microusd between 0 and 1000000000),
  -- The provider's currency where it is not the US dollar, and how the price was converted; what is estimated, and how.
  note text check (length(note) <= 500),
  source_url text check (length(source_url) <= 500),
  valid_from timestamptz not null default now(),
  published_by text not null default 'seed' check (length(published_by) between 1 and 200),
  reason text not null default 'first price' check (length(reason) between 1 and 500),
  idempotency_key public.ledger_key unique,
  created_at timestamptz not null default now(),
  unique (provider, model, version)
);
create index provider_prices_by_time on public.provider_prices (provider, model, valid_from desc, version desc);

-- A call that is paid by itself, as a prompt is: what it has reserved, and what became of it. Free calls have no row.
create table public.paid_calls (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.credit_accounts (user_id),
  -- Whose spend cap it counts for.
  token_id uuid,
  price_id bigint not null references public.task_type_prices (id),
  -- What a provider is asked for: what is answered of it is charged.
  units integer not null check (units between 1 and 1000),
  amount_microusd public.amount_microusd not null,
  state public.hold_state not null default 'held',
  charged_units integer not null default 0,
  charged_microusd public.amount_microusd not null default 0,
  -- The same key and content again are answered by the first answer for seven days, and not charged again.
  idempotency_key text check (length(idempotency_key) between 1 and 200),
  content_hash bytea check (length(content_hash) = 32),
  answer jsonb check (pg_column_size(answer) <= 2097152),
  created_at timestamptz not null default now(),
  -- When whoever makes it is taken for dead, so that no credit is held for long.
  expires_at timestamptz not null default now() + interval '5 minutes',
  closed_at timestamptz,
  constraint columns_fit_state check (
    (state = 'held') = (closed_at is null)
    and charged_units between 0 and case state when 'settled' then units else 0 end
    and (state = 'settled') = (charged_units > 0)
    and charged_microusd = case state when 'settled' then amount_microusd / units * charged_units else 0 end),
  constraint amount_is_of_units check (amount_microusd > 0 and amount_microusd % units = 0),
  constraint answer_is_kept_for_its_key check (
    (idempotency_key is null) = (content_hash is null)
    and (answer is not null) = (idempotency_key is not null and state = 'settled'))
);
create unique index one_call_per_key on public.paid_calls (user_id, idempotency_key)
  where idempotency_key is not null and state <> 'released';
create index open_calls_by_user on public.paid_calls (user_id) where state = 'held';
create index open_calls_by_expiry on public.paid_calls (expires_at) where state = 'held';
create index paid_calls_by_token on public.paid_calls (token_id, created_at) where token_id is not null;
create index answered_calls_by_age on public.paid_calls (closed_at) where answer is not null;

-- How many model calls an account was given today for nothing; one row an account.
create table public.free_calls (
  user_id uuid primary key references public.credit_accounts (user_id) on delete cascade,
  day date not null,
  calls integer not null check (calls >= 0)
) with (fillfactor = 50);

-- A price that was promised for ten minutes to one user, for one task type and these params; of a family, for payloads
-- whose price depends on the same.
create table public.task_quotes (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.credit_accounts (user_id),
  task_type text not null,
  is_of_family boolean not null default false,
  -- By hash_of_quoted().
  params_hash bytea not null check (length(params_hash) = 32),
  price_id bigint not null references public.task_type_prices (id),
  exact boolean not null,
  expected_microusd public.amount_microusd not null,
  upper_bound_microusd public.amount_microusd not null,
  held_microusd public.amount_microusd not null,
  -- As in tasks.
  part_prices jsonb,
  -- The one reading of what the price depends on; of an orchestrator, by the kind of its children.
  billed jsonb not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '10 minutes'
);
create index task_quotes_by_age on public.task_quotes (expires_at);

-- Codes that give credit: so much, to so many people, once each.
create table public.promo_codes (
  code public.promo_code primary key,
  amount_microusd bigint not null check (amount_microusd between 1 and 1000000000),
  max_uses integer not null check (max_uses between 1 and 1000000),
  uses integer not null default 0,
  valid_from timestamptz not null default now(),
  valid_until timestamptz,
  -- How long the credit lasts, from when it was taken.
  credit_days integer check (credit_days between 1 and 3650),
  description text not null check (length(description) between 1 and 500),
  created_by text not null check (length(created_by) between 1 and 200),
  created_at timestamptz not null default now(),
  constraint uses_within_limit check (uses between 0 and max_uses),
  constraint ends_after_begin check (valid_until > valid_from)
);
create table public.promo_redemptions (
  code public.promo_code not null references public.promo_codes (code),
  user_id uuid not null references public.credit_accounts (user_id),
  -- As in welcome_bonuses: who has several accounts is one person.
  address_hash bytea not null check (length(address_hash) = 32),
  entry_id uuid not null unique references public.credits_ledger (id),
  created_at timestamptz not null default now(),
  primary key (code, user_id),
  unique (code, address_hash)
);

-- Whom the welcome bonus was given to; kept when the person goes, so that coming back is no way to a second one. The
-- address is a hash of what all its spellings have in common.
create table public.welcome_bonuses (
  address_hash bytea primary key check (length(address_hash) = 32),
  domain text not null,
  network_hash bytea check (length(network_hash) = 32),
  user_id uuid not null unique,
  entry_id uuid not null unique references public.credits_ledger (id),
  created_at timestamptz not null default now()
);
create index welcome_bonuses_by_domain on public.welcome_bonuses (domain, created_at);
create index welcome_bonuses_by_network on public.welcome_bonuses (network_hash, created_at);
create index welcome_bonuses_by_time on public.welcome_bonuses (created_at);

-- What operators may set; one row.
create table public.credit_settings (
  is_only boolean primary key default true check (is_only),
  -- How many jobs of a user may be withdrawn for nothing within an hour; a further one costs what it would have cost.
  free_withdrawals_per_hour integer not null default 60 check (free_withdrawals_per_hour >= 0),
  -- What a user's tasks that end on one day (UTC) may cost at providers beyond what they are charged; beyond it no further task of the
  -- user is begun there on that day. Null: any amount.
  unpaid_provider_cost_per_day_microusd public.amount_microusd default 2000000,
  welcome_bonus_microusd bigint not null default 5000000 check (welcome_bonus_microusd between 0 and 100000000),
  -- Whether a bonus needs an address that its owner has shown to be theirs: see address_is_proven(). A local host asks for none.
  welcome_bonus_needs_proven_address boolean not null default true,
  -- Written by the standalone host when it starts: nobody but its own machine reaches it, and it sells nothing.
  is_local_host boolean not null default false,
  -- A mail domain of one's own is a way to any number of addresses. Those of the large providers are not.
  welcome_bonuses_per_domain_and_day integer not null default 20 check (welcome_bonuses_per_domain_and_day >= 0),
  -- From one network (IPv4 /24, IPv6 /48); null: any number. A local host gives at least 20.
  welcome_bonuses_per_network_and_day integer default 5 check (welcome_bonuses_per_network_and_day >= 0),
  -- Of all together.
  welcome_bonuses_per_day integer not null default 500 check (welcome_bonuses_per_day >= 0),
  -- Model calls a day (UTC) of an account that nobody pays for; null: any number.
  free_calls_per_day integer default 100 check (free_calls_per_day >= 0),
  -- The first hold of work that is paid by the second covers this at least. Longer than two looks at running work.
  first_hold_seconds integer not null default 60 check (first_hold_seconds between 30 and 86400),
  -- By how much a hold grows while such work runs.
  hold_growth_seconds integer not null default 60 check (hold_growth_seconds between 30 and 86400),
  shared_mail_domains text[] not null default array[
    'gmail.com', 'googlemail.com', 'outlook.com', 'hotmail.com', 'hotmail.co.uk', 'live.com', 'msn.com', 'yahoo.com',
    'yahoo.co.uk', 'ymail.com', 'icloud.com', 'me.com', 'mac.com', 'aol.com',
    'proton.me', 'protonmail.com', 'gmx.de', 'gmx.net', 'web.de', 'mail.ru', 'yandex.ru', 'qq.com', '163.com', '126.com',
    'naver.com', 'orange.fr', 'free.fr', 'libero.it', 't-online.de', 'comcast.net', 'fastmail.com', 'zoho.com']
);
insert into public.credit_settings default values on conflict do nothing;

-- What browsers of the older product read.
create view public.user_credit_balance with (security_invoker = true) as
  select account.user_id, account.balance_microusd / 10000.0 as current_balance,
         coalesce(sum(entry.amount) filter (where entry.type in ('stripe', 'auto_topup')), 0) as total_purchased,
         coalesce(-sum(entry.amount) filter (where entry.type = 'spend'), 0) as total_spent,
         coalesce(-sum(entry.amount) filter (where entry.type in ('refund', 'dispute')), 0) as total_refunded
    from public.credit_accounts as account left join public.credits_ledger as entry using (user_id)
   group by account.user_id;

-- supabase/schemas/billing/tables.sql
-- Who somebody is at Stripe, and the card that they saved there. Browsers see `users.auto_topup_*` alone.
create table public.stripe_customers (
  user_id uuid primary key references public.users (id) on delete cascade,
  -- Stripe makes one customer of it, however many calls ask at once; so what is asked for stays as it was.
  creation_key uuid not null default gen_random_uuid(),
  email text,
  customer_id text unique check (length(customer_id) between 1 and 255),
  payment_method_id text unique check (length(payment_method_id) between 1 and 255),
  -- When the checkout was asked for that saved the card: an older one's late event does not replace it.
  card_asked_for_at timestamptz,
  created_at timestamptz not null default now(),
  constraint card_is_of_a_customer check (payment_method_id is null or customer_id is not null)
);

-- What people asked to pay, as we asked Stripe for it: what a payment is compared with. Without foreign keys, like
-- all that tells of money: it outlives the person.
create table public.checkout_sessions (
  -- Part of Stripe's idempotency key.
  request_id uuid primary key default gen_random_uuid(),
  -- Stripe's; null until Stripe has answered. Nobody can pay before it is noted, for nobody knows its address.
  id text unique check (length(id) between 1 and 255),
  user_id uuid not null,
  amount_cents public.payment_cents not null,
  currency text not null default 'usd' check (currency = 'usd'),
  -- Automatic top-ups as they are switched on when this is paid; null when that was not asked for.
  auto_topup_amount_cents public.payment_cents,
  auto_topup_threshold_cents public.topup_threshold_cents,
  auto_topup_monthly_cap_cents public.topup_cap_cents,
  -- The caller's; without one, a repeat is told by the time.
  idempotency_key text check (length(idempotency_key) between 1 and 200),
  success_url text not null,
  cancel_url text not null,
  url text,
  -- How often an expired page was replaced by a new one. Part of Stripe's idempotency key.
  renewals integer not null default 0 check (renewals >= 0),
  status public.checkout_status not null default 'open',
  -- When automatic top-ups were switched on by it: once, so that a repeated event undoes no later choice.
  auto_topup_applied_at timestamptz,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  unique (user_id, idempotency_key),
  constraint auto_topup_is_whole check (
    (auto_topup_amount_cents is null) = (auto_topup_threshold_cents is null)
    and (auto_topup_amount_cents is null) = (auto_topup_monthly_cap_cents is null)
    and auto_topup_threshold_cents < auto_topup_amount_cents
    and auto_topup_monthly_cap_cents >= auto_topup_amount_cents),
  constraint session_has_its_address check ((id is null) = (url is null) and (id is null) = (expires_at is null))
);
create index checkout_sessions_by_user on public.checkout_sessions (user_id, created_at desc);

-- The outbox of automatic top-ups: written where the balance falls, charged by whoever claims it. Its id is part of
-- Stripe's idempotency key, and card and amount stay as they were, so that however often it is tried, Stripe makes
-- one payment of it.
create table public.auto_topup_requests (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  amount_cents public.payment_cents not null,
  -- What there was when it was asked for, in credits.
  balance_cents numeric(16, 4) not null,
  customer_id text not null,
  payment_method_id text not null,
  state public.auto_topup_state not null default 'requested',
  attempts smallint not null default 0 check (attempts >= 0),
  -- When it is due. While it is being charged: when whoever does so is given up.
  next_attempt_at timestamptz default now(),
  claim_id uuid,
  payment_intent_id text unique,
  -- In a word what went wrong; nothing of what Stripe said.
  reason text check (length(reason) <= 200),
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  constraint open_is_due check (
    (state = 'requested') = (next_attempt_at is not null) and (state = 'requested') = (closed_at is null)),
  constraint paid_by_an_intent check (state <> 'succeeded' or payment_intent_id is not null)
);
create unique index one_open_auto_topup_per_user on public.auto_topup_requests (user_id)
  where state = 'requested';
create index due_auto_topups on public.auto_topup_requests (next_attempt_at) where state = 'requested';
create index auto_topup_requests_by_user on public.auto_topup_requests (user_id, created_at desc);

-- Who may be due, for the sweep.
create index users_with_auto_topup on public.users (id) where auto_topup_enabled;

-- Every event of Stripe's, stored in its own transaction before it is interpreted.
create table public.stripe_events (
  -- Stripe's id. An event without a usable one is stored under a hash of its text.
  id text primary key check (length(id) between 1 and 255),
  type text not null check (length(type) between 1 and 200),
  -- The payment, refund or dispute that it is about, where it is about one.
  payment_intent_id text,
  livemode boolean,
  account text,
  api_version text,
  -- The text that Stripe signed. Not jsonb: an event that jsonb cannot hold is stored too.
  body text not null,
  state public.stripe_event_state not null default 'received',
  reason text check (length(reason) <= 200),
  deliveries integer not null default 1 check (deliveries > 0),
  -- How often maintenance has claimed it, and when it is due; null when nothing is left to do.
  attempts smallint not null default 0 check (attempts >= 0),
  retry_at timestamptz,
  event_created_at timestamptz,
  received_at timestamptz not null default now(),
  handled_at timestamptz,
  constraint handled_has_its_time check ((state = 'received') = (handled_at is null)),
  constraint received_is_due check (state <> 'received' or retry_at is not null)
);
create index unhandled_stripe_events on public.stripe_events (received_at) where state = 'received';
create index due_stripe_events on public.stripe_events (retry_at) where retry_at is not null;
create index stripe_events_by_payment on public.stripe_events (payment_intent_id) where payment_intent_id is not null;

-- What Stripe says of a payment, and how much of it the ledger has: state, not steps, so that events in any order and
-- any number come to the same. Without foreign keys to people: it outlives them.
create table public.payments (
  id uuid primary key default gen_random_uuid(),
  payment_intent_id text not null unique check (length(payment_intent_id) between 1 and 255),
  -- Known when it was told by an event that fits what we asked for.
  user_id uuid references public.credit_accounts (user_id),
  purpose public.payment_purpose,
  -- Of checkout_sessions or auto_topup_requests: paid once.
  request_id uuid unique,
  state public.payment_state not null default 'unknown',
  amount_cents integer check (amount_cents > 0),
  currency text not null default 'usd',
  -- How much of it is in the ledger, and by how many entries.
  credited_microusd public.amount_microusd not null default 0,
  entries integer not null default 0 check (entries >= 0),
  paid_at timestamptz,
  -- When the reconciler last saw it at Stripe.
  reconciled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint paid_is_known check (
    state <> 'paid' or user_id is not null and purpose is not null and amount_cents is not null and paid_at is not null),
  constraint only_paid_is_credited check (credited_microusd <= case state when 'paid' then amount_cents * 10000::bigint else 0 end)
);
create index payments_by_user on public.payments (user_id, created_at desc);
create index payments_by_time on public.payments (paid_at, id) where state = 'paid';

create table public.payment_refunds (
  id text primary key check (length(id) between 1 and 255),
  payment_id uuid not null references public.payments (id),
  amount_cents integer not null check (amount_cents >= 0),
  status text not null check (length(status) between 1 and 50),
  -- As of when Stripe said so, in its own time; an older word does not replace a newer one.
  told_at timestamptz not null
);
create index payment_refunds_by_payment on public.payment_refunds (payment_id);

create table public.payment_disputes (
  id text primary key check (length(id) between 1 and 255),
  payment_id uuid not null references public.payments (id),
  amount_cents integer not null check (amount_cents >= 0),
  status text not null check (length(status) between 1 and 50),
  told_at timestamptz not null
);
create index payment_disputes_by_payment on public.payment_disputes (payment_id);

-- What somebody has to look at: payments that do not fit what was asked for. One for each payment and reason.
create table public.billing_alerts (
  id uuid primary key default gen_random_uuid(),
  reason text not null check (length(reason) between 1 and 100),
  -- A payment intent, or an event where there is none.
  subject text not null check (length(subject) between 1 and 255),
  details jsonb not null default '{}',
  state public.alert_state not null default 'open',
  note text check (length(note) <= 500),
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  constraint closed_has_its_time check ((state = 'open') = (closed_at is null))
);
create unique index one_open_alert_per_subject on public.billing_alerts (subject, reason) where state = 'open';

-- supabase/schemas/tasks/tables.sql
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

-- supabase/schemas/workers/tables.sql
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

-- supabase/schemas/generations/tables.sql
-- What finished tasks made. A generation shows its primary variant's file; a parent without one waits for the
-- stitch of its children.
create table public.generations (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  -- Ids of the tasks that made it, as clients read them; `source_task_id` is the same, unique: a task makes one
  -- generation, an orchestrator one parent. It names no table by foreign key: the task may be in the archive.
  tasks jsonb not null default '[]',
  source_task_id uuid unique,
  type text check (length(type) <= 100),
  name text check (length(name) <= 300),
  location text check (length(location) <= 8192),
  thumbnail_url text check (length(thumbnail_url) <= 8192),
  params jsonb not null default '{}',
  based_on uuid references public.generations (id) on delete set null,
  parent_generation_id uuid references public.generations (id) on delete cascade,
  is_child boolean not null default false,
  child_order integer,
  -- The image of a shot behind which a child stands.
  pair_shot_generation_id uuid,
  primary_variant_id uuid,
  -- Where it stands in shots: {"<shot>": [frame or null, …]}; kept by a trigger.
  shot_data jsonb not null default '{}',
  starred boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index generations_by_project on public.generations (project_id, created_at desc);
create index generations_by_based_on on public.generations (based_on) where based_on is not null;
create index generations_by_parent on public.generations (parent_generation_id, child_order)
  where parent_generation_id is not null;
create index generations_by_pair on public.generations (pair_shot_generation_id)
  where pair_shot_generation_id is not null;
-- Who made the image that a task began with.
create index generations_by_location on public.generations using hash (location);

create table public.generation_variants (
  id uuid primary key default gen_random_uuid(),
  generation_id uuid not null references public.generations (id) on delete cascade,
  -- The generation's; a trigger sees to it.
  project_id uuid not null references public.projects (id) on delete cascade,
  source_task_id uuid,
  -- Which of the task's outputs it is, where it has several.
  output_index smallint not null default 0 check (output_index between 0 and 15),
  location text not null check (length(location) <= 8192),
  thumbnail_url text check (length(thumbnail_url) <= 8192),
  params jsonb not null default '{}',
  is_primary boolean not null default false,
  variant_type text not null check (length(variant_type) between 1 and 100),
  name text check (length(name) <= 300),
  viewed_at timestamptz,
  created_at timestamptz not null default now(),
  -- A task adds each output to a generation once, however often its completion is repeated.
  unique (generation_id, source_task_id, output_index)
);
create unique index one_primary_variant on public.generation_variants (generation_id) where is_primary;
create index generation_variants_by_project on public.generation_variants (project_id, created_at desc);

alter table public.generations
  add constraint generations_primary_variant_id_fkey
  foreign key (primary_variant_id) references public.generation_variants (id) on delete set null
  -- A generation is written once, with its variant's id, and the variant after it.
  deferrable initially deferred;

-- A timeline of images.
create table public.shots (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  name text not null default 'Shot' check (length(name) between 1 and 300),
  -- Counted from 1 within the project; the last when not given.
  position integer not null,
  aspect_ratio text check (aspect_ratio ~ '^\d{1,2}:\d{1,2}$|^Square$'),
  settings jsonb not null default '{}' check (pg_column_size(settings) <= 262144),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index shots_by_project on public.shots (project_id, position);

-- A generation's place in a shot; the same generation may stand in several. Browsers ask for what is embedded by the
-- names of these keys, and of `generations_primary_variant_id_fkey` and `generation_variants_generation_id_fkey`.
create table public.shot_generations (
  id uuid primary key default gen_random_uuid(),
  shot_id uuid not null constraint shot_generations_shot_id_shots_id_fk references public.shots (id) on delete cascade,
  generation_id uuid not null constraint shot_generations_generation_id_generations_id_fk
    references public.generations (id) on delete cascade,
  -- Null: belongs to the shot, stands nowhere on its timeline.
  timeline_frame integer check (timeline_frame between -1000000 and 100000000),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 262144),
  -- The task whose completion put it there, once.
  source_task_id uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (shot_id, source_task_id)
);
create index shot_generations_by_shot on public.shot_generations (shot_id, timeline_frame);
create index shot_generations_by_generation on public.shot_generations (generation_id);
alter table public.generations
  add constraint generations_pair_shot_generation_id_fkey
  foreign key (pair_shot_generation_id) references public.shot_generations (id) on delete set null;

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
  ]),
  ('temporary', 'temporary', false, 524288000, null)
on conflict (id) do update
   set public = excluded.public,
       file_size_limit = excluded.file_size_limit,
       allowed_mime_types = excluded.allowed_mime_types;

-- The files that runs write: one row for each path, from before its worker learns it. The service alone reads a file before the row
-- says `delivered_at`, which the completing transaction writes: see is_readable_file(). What no run can deliver any more is deleted:
-- see take_abandoned_files(). Rows outlive their tasks, as files do. Nobody reads the table: it names what is secret.
create table public.output_files (
  path text primary key,
  task_id uuid not null,
  attempt public.natural_number not null,
  created_at timestamptz not null default now(),
  -- Until then an upload URL may write it; null where none was signed.
  upload_until timestamptz,
  -- Since then parts of this running orchestrator read it as their input.
  published_at timestamptz,
  delivered_at timestamptz,
  -- When it is looked at whether a run can deliver it yet; the first time after a worker that lost its lease had time to end.
  check_at timestamptz default now() + interval '15 minutes',
  -- Since then its content may be gone.
  deleting_since timestamptz,
  constraint delivered_files_are_kept check (delivered_at is null or (check_at is null and deleting_since is null))
);
create index output_files_to_check on public.output_files (check_at) where check_at is not null;
create index undelivered_files_by_task on public.output_files (task_id) where delivered_at is null;

-- supabase/schemas/realtime/tables.sql
-- Numbers task updates, so that a client can tell an older one from a newer.
create sequence public.task_update_sequence;

-- What `postgres_changes` may show; row policies decide to whom.
alter publication supabase_realtime add table public.tasks, public.generations, public.generation_variants,
  public.shots, public.shot_generations;

-- supabase/schemas/webhooks/tables.sql
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

-- supabase/schemas/errors/functions/refuse.sql
-- Ends the transaction with one of our refusals: SQLSTATE `PT` + HTTP status, the code as message,
-- the details as JSON. `_shared/database` turns it into the answer. Called through `/rest/v1` it is PostgREST's
-- own way to say a status, so a browser gets the same one there, from every host.
create or replace function public.refuse(code text, status integer, details jsonb default '{}')
returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT' || status, message = code, detail = details::text;
end
$$;
revoke all on function public.refuse from public, anon, authenticated;
-- Called by functions that browsers call under their own policies. It does nothing but end the call.
grant execute on function public.refuse to authenticated, service_role;

-- supabase/schemas/accounts/functions/create_user_record.sql
-- Makes everything a new person needs, once: the user row, an account, a place in the queue and the welcome bonus, as soon
-- as there is a right to it. Repeating it changes nothing.
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
  if not is_anonymous and public.welcome_bonus_refusal(for_user) is null then
    begin
      perform public.grant_welcome_bonus(for_user);
    exception
      -- Another spelling of the address had it a moment before: that is no reason to turn the person away.
      when sqlstate 'PT409' then
        null;
    end;
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
  out user_id uuid, out remaining integer, out reset_at bigint, out token_id uuid
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
    token_id := token.id;
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
    'revoked_at', token.revoked_at, 'spend_cap', (
      select jsonb_build_object(
               'cap_credits', cap.cap_microusd / 10000.0, 'cap_microusd', cap.cap_microusd,
               'month', public.spend_month(now()),
               'committed_microusd', case when cap.month = public.spend_month(now()) then cap.committed_microusd else 0 end)
        from public.spend_caps as cap where cap.token_id = token.id))
$$;
revoke all on function public.token_summary from public, anon, authenticated;

-- supabase/schemas/credits/functions/add_credit.sql
-- Adds credit to an account: a payment's, or a gift, which may expire. What the account owes is collected from it at
-- once. A key that was used before is a unique violation.
create or replace function public.add_credit(
  for_user uuid, entry_type public.ledger_entry_type, amount_microusd bigint,
  idempotency_key text default null, metadata jsonb default '{}', for_payment uuid default null,
  expires_at timestamptz default null
) returns public.credits_ledger
language plpgsql set search_path = '' as $$
declare
  new_entry public.credits_ledger;
  recorded record;
begin
  new_entry.user_id := for_user;
  new_entry.type := entry_type;
  new_entry.payment_id := for_payment;
  new_entry.amount_microusd := add_credit.amount_microusd;
  if for_payment is not null then
    new_entry.purchases_microusd := -add_credit.amount_microusd;
  else
    new_entry.grants_microusd := -add_credit.amount_microusd;
  end if;
  new_entry.idempotency_key := add_credit.idempotency_key;
  new_entry.metadata := add_credit.metadata;
  select * into recorded from public.record_entry(new_entry);
  insert into public.credit_grants (user_id, entry_id, category, amount_microusd, remaining_microusd, expires_at)
  values (for_user, (recorded.entry).id,
          case when for_payment is null then 'promotional' else 'paid' end::public.grant_category,
          add_credit.amount_microusd, add_credit.amount_microusd, add_credit.expires_at);
  if add_credit.expires_at is not null then
    update public.credit_accounts set next_expiry_at = least(next_expiry_at, add_credit.expires_at)
     where user_id = for_user;
  end if;
  if (recorded.account).debt_microusd > 0 then
    perform public.collect_debt(for_user);
  end if;
  return recorded.entry;
end
$$;
revoke all on function public.add_credit from public, anon, authenticated;

-- supabase/schemas/credits/functions/address_is_proven.sql
-- Whether somebody has shown that a mail address is theirs: by a mail that was sent to it before it counted as confirmed, or by
-- an identity provider. A server that confirms every address by itself sends no mail, so nothing is proven there.
create or replace function public.address_is_proven(person auth.users)
returns boolean
language plpgsql stable set search_path = '' as $$
declare
  -- The standalone host's table has no column for mails.
  known constant jsonb := to_jsonb(person);
begin
  return person.email_confirmed_at is not null and (
    coalesce((known ->> 'confirmation_sent_at')::timestamptz <= person.email_confirmed_at, false)
    or coalesce(person.raw_app_meta_data ->> 'provider', 'email') not in ('email', 'phone', 'anonymous'));
end
$$;
revoke all on function public.address_is_proven from public, anon, authenticated;

-- supabase/schemas/credits/functions/address_key.sql
-- What all spellings of a mail address have in common: without case and `+tag`, and where dots mean nothing without them.
create or replace function public.address_key(email text)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  local_part text := split_part(split_part(lower(trim(email)), '@', 1), '+', 1);
  domain text := public.mail_domain(email);
begin
  if domain in ('gmail.com', 'googlemail.com') then
    return replace(local_part, '.', '') || '@gmail.com';
  end if;
  return local_part || '@' || split_part(lower(trim(email)), '@', 2);
end
$$;
revoke all on function public.address_key from public, anon, authenticated;

-- supabase/schemas/credits/functions/amounts_of_quote.sql
-- The amounts of a quote or of a task as APIs show them: what it is expected to cost (`cost` is another name of that), what is
-- held for it first, and the most that it can cost.
create or replace function public.amounts_of_quote(expected_microusd bigint, held_microusd bigint, upper_bound_microusd bigint)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'cost', expected_microusd / 10000.0, 'cost_microusd', expected_microusd,
    'estimated_cost', expected_microusd / 10000.0, 'estimated_cost_microusd', expected_microusd,
    'hold', held_microusd / 10000.0, 'hold_microusd', held_microusd,
    'upper_bound', upper_bound_microusd / 10000.0, 'upper_bound_microusd', upper_bound_microusd)
$$;
revoke all on function public.amounts_of_quote from public, anon, authenticated;

-- supabase/schemas/credits/functions/are_cost_factors.sql
-- Whether this says how params change a price: known names, and numbers from 0 to 1000.
create or replace function public.are_cost_factors(factors jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  factor record;
begin
  for factor in select key as name, value as rule from jsonb_each(factors) loop
    if jsonb_typeof(factor.rule) <> 'object'
       or factor.name <> all (public.cost_factor_names())
       or exists (select from jsonb_each(factor.rule) as given
                   where jsonb_typeof(given.value) <> 'number'
                      or case when jsonb_typeof(given.value) = 'number' then given.value::numeric not between 0 and
                              case given.key when 'included' then 100000 else 1000 end end)
       or factor.name = any (public.counted_factor_names())
          and (not factor.rule ?& array['included', 'each']
               or (select count(*) from jsonb_object_keys(factor.rule)) > 2)
       or factor.rule = '{}'
       -- A size that is spelled otherwise than it is read would never be met.
       or factor.name = 'resolution' and exists (
            select from jsonb_object_keys(factor.rule) as size
             where public.read_quantity('resolution', to_jsonb(size), '{}') <> to_jsonb(size)) then
      return false;
    end if;
  end loop;
  return true;
end
$$;
revoke all on function public.are_cost_factors from public, anon, authenticated;

-- supabase/schemas/credits/functions/are_variant_prices.sql
-- Whether this says what a unit costs by variant: names of 1 to 100 characters, and whole micro-dollars up to 1,000 dollars.
create or replace function public.are_variant_prices(variant_prices jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_typeof(variant_prices) = 'object' and pg_column_size(variant_prices) <= 4096 and not exists (
    select from jsonb_each(variant_prices) as given
     where length(given.key) not between 1 and 100
        or jsonb_typeof(given.value) <> 'number'
        or case when jsonb_typeof(given.value) = 'number'
             then given.value::numeric <> trunc(given.value::numeric) or given.value::numeric not between 0 and 1000000000 end);
end
$$;
revoke all on function public.are_variant_prices from public, anon, authenticated;

-- supabase/schemas/credits/functions/available_for_hold.sql
-- How much more an open hold may take: the available credit, within the spend caps that count for it; nothing while the
-- account owes. The caller holds the account's lock.
create or replace function public.available_for_hold(hold public.credit_holds)
returns bigint
language plpgsql set search_path = '' as $$
declare
  account public.credit_accounts;
begin
  perform public.expire_grants(hold.user_id) from public.credit_accounts
    where user_id = hold.user_id and next_expiry_at <= now();
  select * into account from public.credit_accounts where user_id = hold.user_id;
  if account.debt_microusd > 0 then
    return 0;
  end if;
  return greatest(0, least(
    account.balance_microusd - account.held_microusd,
    -- As count_against_spend_caps() counts: in the month in which the work was created.
    (select min(cap_microusd - case when month = public.spend_month(hold.created_at) then committed_microusd else 0 end)
       from public.spend_caps
      where (project_id = hold.project_id or token_id = hold.token_id)
        and month <= public.spend_month(hold.created_at))));
end
$$;
revoke all on function public.available_for_hold from public, anon, authenticated;

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
  each_microusd numeric;
  promised jsonb;
begin
  select * into price from public.task_type_prices where id = task.price_id;
  select * into hold from public.credit_holds where task_id = task.id;
  if task.is_orchestrator then
    select part_prices into promised from public.tasks where id = task.id;
  else
    each_microusd := nullif(price.price_microusd * public.price_multiplier(price, task.billed), 0);
    promised := jsonb_build_object(task.task_type, jsonb_build_object(
      'price_id', price.id, 'expected_seconds', coalesce(round(task.expected_microusd / each_microusd), 1),
      'upper_bound_seconds', coalesce(round(task.upper_bound_microusd / each_microusd), 1)));
  end if;
  -- A hold that is still open after the end waits for the withdrawal of a job.
  is_final := task.status in ('Complete', 'Failed', 'Cancelled') and hold.state is distinct from 'held';
  -- A child is not charged by itself: its cost is part of its orchestrator's.
  final_microusd := case
    when is_final and task.orchestrator_task_id is not null then coalesce(task.cost_microusd, 0)
    when is_final then coalesce(hold.charged_microusd, 0)
    else task.expected_microusd end;
  return public.amounts_of_quote(task.expected_microusd, task.held_microusd, task.upper_bound_microusd) || jsonb_build_object(
    'success', true, 'task_id', task.id, 'task_type', task.task_type, 'status', task.status,
    'final', is_final, 'exact', is_final or (price.billing_type = 'per_unit' and not task.is_orchestrator),
    'cost', final_microusd / 10000.0, 'cost_microusd', final_microusd,
    'held_microusd', case when hold.state = 'held' then hold.amount_microusd else 0 end,
    'billing_type', price.billing_type, 'price_version', price.version,
    'charged_with', task.orchestrator_task_id,
    'cancellation', public.cancel_terms(price, task.is_orchestrator, task.upper_bound_microusd) || jsonb_build_object(
      'now_microusd', case when task.status in ('Queued', 'In Progress') then public.cost_of_cancel_now(task.id) else 0 end),
    'breakdown', case
      when is_final then public.cost_lines(task)
      else (public.quote_task(task.task_type, task.params, promised, true)).breakdown end);
end
$$;
revoke all on function public.calculate_cost_of_task from public, anon, authenticated;
grant execute on function public.calculate_cost_of_task to service_role;

-- supabase/schemas/credits/functions/calculate_task_cost.sql
-- A quote for a task that does not exist yet, or for so many of one price. For a user it is kept for ten minutes: who creates
-- the task with its id gets this price. A family's is for any payload whose price depends on the same.
create or replace function public.calculate_task_cost(
  for_user uuid, for_task_type text, params jsonb, is_of_family boolean default false, task_count integer default 1
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  type_name constant text := (public.canonical_task_type(for_task_type)).name;
  quote record;
  kept public.task_quotes;
begin
  select * into quote
    from public.quote_task(type_name, calculate_task_cost.params, with_breakdown => true, task_count => calculate_task_cost.task_count);
  if for_user is not null then
    insert into public.task_quotes (user_id, task_type, is_of_family, params_hash, price_id, exact, expected_microusd,
                                    held_microusd, upper_bound_microusd, part_prices, billed)
    values (for_user, type_name, calculate_task_cost.is_of_family,
            public.hash_of_quoted(calculate_task_cost.params, calculate_task_cost.is_of_family),
            (quote.price).id, quote.exact, quote.expected_microusd, quote.held_microusd,
            quote.upper_bound_microusd, quote.part_prices, quote.billed)
    returning * into kept;
  end if;
  return jsonb_build_object(
    'success', true, 'task_type', type_name, 'quote_id', kept.id, 'quote_expires_at', kept.expires_at,
    'exact', quote.exact, 'billing_type', (quote.price).billing_type,
    'price_version', (quote.price).version, 'billed', quote.billed, 'breakdown', quote.breakdown,
    'cancellation', public.cancel_terms(
      quote.price, quote.part_prices is not null, quote.upper_bound_microusd * task_count))
    || public.amounts_of_quote(
         quote.expected_microusd * task_count, quote.held_microusd * task_count, quote.upper_bound_microusd * task_count)
    || case when calculate_task_cost.is_of_family then jsonb_build_object('task_count', task_count) else '{}' end;
end
$$;
revoke all on function public.calculate_task_cost from public, anon, authenticated;
grant execute on function public.calculate_task_cost to service_role;

-- supabase/schemas/credits/functions/cancel_terms.sql
-- What a cancel costs under a price, at each stage, in words and numbers. `at_most_microusd`: the most that a run may cost.
create or replace function public.cancel_terms(
  price public.task_type_prices, is_orchestration boolean default false, at_most_microusd bigint default null
) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object(
    'policy', price.cancel_policy, 'while_queued_microusd', 0,
    'terms', 'Cancelling a task that waits is free. ' || case
      when is_orchestration then
        'Finished parts are charged. A part that runs is charged by the terms of its own type.'
      when price.cancel_policy = 'free' then 'Cancelling a task that runs is free.'
      when price.billing_type = 'per_second' then
        'A task that runs is charged for the seconds that it has run, begun ones whole. If it runs at a provider and is withdrawn there before it starts, it is free.'
      else 'A task that runs is charged its full price once a job was submitted for it at a provider, unless the job is withdrawn before it starts. Without such a job it is free.' end)
    || case when at_most_microusd is null then '{}' else jsonb_build_object(
      'while_running_at_most_microusd',
      case when price.cancel_policy = 'free' and not is_orchestration then 0 else at_most_microusd end) end;
end
$$;
revoke all on function public.cancel_terms from public, anon, authenticated;

-- supabase/schemas/credits/functions/close_hold.sql
-- Ends a task's hold, once: charges the cost, never above the hold, and gives back the rest. Cost beyond the hold is
-- revenue that is written off. A cost of nothing releases all. Without an open hold nothing happens.
-- Answers what was charged.
create or replace function public.close_hold(for_task uuid, cost_microusd bigint, metadata jsonb default '{}')
returns bigint
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
  charge bigint;
  excess bigint;
  new_entry public.credits_ledger;
  recorded record;
  account public.credit_accounts;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if not found then
    return 0;
  end if;
  charge := least(greatest(cost_microusd, 0), hold.amount_microusd);
  excess := greatest(cost_microusd - charge, 0);
  update public.credit_holds
     set state = case when charge > 0 then 'settled' else 'released' end::public.hold_state,
         charged_microusd = charge, written_off_microusd = excess, closed_at = now()
   where task_id = for_task;
  if charge > 0 or excess > 0 then
    new_entry.user_id := hold.user_id;
    new_entry.task_id := for_task;
    new_entry.type := case when charge > 0 then 'spend' else 'write_off' end;
    new_entry.amount_microusd := -charge;
    new_entry.revenue_microusd := charge + excess;
    new_entry.write_off_microusd := -excess;
    new_entry.metadata := close_hold.metadata;
    select * into recorded from public.record_entry(new_entry, hold.amount_microusd);
    account := recorded.account;
    if charge > 0 then
      perform public.draw_grants(recorded.entry);
    end if;
  else
    update public.credit_accounts set held_microusd = held_microusd - hold.amount_microusd
     where user_id = hold.user_id
    returning * into account;
  end if;
  if account.has_spend_caps then
    perform public.give_back_to_spend_caps(hold, hold.amount_microusd - charge);
  end if;
  if account.debt_microusd > 0 then
    perform public.collect_debt(hold.user_id);
  end if;
  -- Also of grants whose time was over long ago, which only this hold has kept.
  if exists (select from public.credit_grants
              where user_id = hold.user_id and is_open and expires_at <= now()) then
    perform public.expire_grants(hold.user_id);
  end if;
  return charge;
end
$$;
revoke all on function public.close_hold from public, anon, authenticated;

-- supabase/schemas/credits/functions/close_paid_call.sql
-- Ends a call, once: charges what was answered of it and gives back the rest; of nothing answered, all. An answer is kept
-- where its call has a key, and carries what it cost. A call that is over already, as when its time ran out, stays as it
-- is. Answers what this charged.
create or replace function public.close_paid_call(
  for_call uuid, answered_units integer, answer jsonb default null, details jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  call public.paid_calls;
  price public.task_type_prices;
  hold public.credit_holds;
  charge bigint;
  told jsonb;
  new_entry public.credits_ledger;
  recorded record;
  account public.credit_accounts;
begin
  -- The account before its calls, as in open_paid_call().
  perform from public.credit_accounts
   where user_id = (select user_id from public.paid_calls where id = for_call) for no key update;
  select * into call from public.paid_calls where id = for_call and state = 'held';
  if not found then
    return jsonb_build_object('call_id', for_call, 'units', 0, 'credits', 0, 'microusd', 0);
  end if;
  select * into price from public.task_type_prices where id = call.price_id;
  charge := price.price_microusd * least(answered_units, call.units);
  told := jsonb_build_object('call_id', for_call, 'units', least(answered_units, call.units),
                             'credits', charge / 10000.0, 'microusd', charge);
  update public.paid_calls
     set state = case when charge > 0 then 'settled' else 'released' end::public.hold_state,
         charged_units = case when charge > 0 then least(answered_units, units) else 0 end,
         charged_microusd = charge, closed_at = now(),
         answer = case when charge > 0 and idempotency_key is not null
                       then close_paid_call.answer || jsonb_build_object('charge', told) end
   where id = for_call;
  if charge > 0 then
    new_entry.user_id := call.user_id;
    new_entry.call_id := for_call;
    new_entry.type := 'spend';
    new_entry.amount_microusd := -charge;
    new_entry.revenue_microusd := charge;
    new_entry.metadata := details || jsonb_build_object(
      'task_type', price.task_type, 'price_version', price.version, 'units', least(answered_units, call.units));
    select * into recorded from public.record_entry(new_entry, call.amount_microusd);
    account := recorded.account;
    perform public.draw_grants(recorded.entry);
  else
    update public.credit_accounts set held_microusd = held_microusd - call.amount_microusd
     where user_id = call.user_id
    returning * into account;
  end if;
  if account.has_spend_caps then
    hold.token_id := call.token_id;
    hold.created_at := call.created_at;
    perform public.give_back_to_spend_caps(hold, call.amount_microusd - charge);
  end if;
  if account.debt_microusd > 0 then
    perform public.collect_debt(call.user_id);
  end if;
  if exists (select from public.credit_grants
              where user_id = call.user_id and is_open and expires_at <= now()) then
    perform public.expire_grants(call.user_id);
  end if;
  return told;
end
$$;
revoke all on function public.close_paid_call from public, anon, authenticated;
grant execute on function public.close_paid_call to service_role;

-- supabase/schemas/credits/functions/collect_debt.sql
-- Pays what an account owes out of what is available. The caller holds the account's lock.
create or replace function public.collect_debt(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  payable bigint;
  new_entry public.credits_ledger;
  recorded public.credits_ledger;
begin
  select least(debt_microusd, balance_microusd - held_microusd) into payable
    from public.credit_accounts where user_id = for_user for no key update;
  if payable > 0 then
    new_entry.user_id := for_user;
    new_entry.type := 'debt';
    new_entry.amount_microusd := -payable;
    new_entry.debt_microusd := payable;
    select (made.entry).* into recorded from public.record_entry(new_entry) as made;
    perform public.draw_grants(recorded);
  end if;
end
$$;
revoke all on function public.collect_debt from public, anon, authenticated;

-- supabase/schemas/credits/functions/cost_factor_names.sql
-- What a price may be multiplied by; read_billed_values() reads each from params.
create or replace function public.cost_factor_names()
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return array['resolution', 'model', 'model_type', 'frames', 'images', 'seconds', 'megapixels'];
end
$$;
revoke all on function public.cost_factor_names from public, anon, authenticated;

-- supabase/schemas/credits/functions/cost_of_provider_call.sql
-- What a provider bills at most for one job, in micro-dollars: the price of its units, rounded up once, and the fee of each job.
-- `units` says how much of each unit the job has at most: {"images", "megapixels", "seconds", "training_steps"}, and the `variant`
-- that decides the price of one. Null where it cannot be known: the model has no price, or the job does not say what is counted and
-- no minimum counts instead.
create or replace function public.cost_of_provider_call(provider text, model text, units jsonb)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  price constant public.provider_prices :=
    public.current_provider_price(cost_of_provider_call.provider, cost_of_provider_call.model);
  counted jsonb;
  unit_microusd numeric;
begin
  if price.id is null then
    return null;
  end if;
  counted := case price.unit
    when 'job' then '1'::jsonb
    else units -> case price.unit when 'image' then 'images' when 'megapixel' then 'megapixels'
                                  when 'second' then 'seconds' else 'training_steps' end end;
  if counted is null and price.minimum_units > 0 then
    counted := to_jsonb(price.minimum_units);
  end if;
  if counted is null or jsonb_typeof(counted) <> 'number' or counted::numeric < 0 then
    return null;
  end if;
  unit_microusd := coalesce(
    (price.variant_prices -> (units ->> 'variant'))::numeric,
    (select max(listed.value::numeric) from jsonb_each(price.variant_prices) as listed where listed.value::numeric > price.price_microusd),
    price.price_microusd);
  -- No task costs more than that: see price_of_work().
  return least(ceil(unit_microusd * greatest(counted::numeric, price.minimum_units)) + price.job_fee_microusd, 1e14)::bigint;
end
$$;
revoke all on function public.cost_of_provider_call from public, anon, authenticated;

-- supabase/schemas/credits/functions/count_against_spend_caps.sql
-- Counts what is to be held, by work that was created in that month, against the caps of a project and of a token; 402
-- names the cap that has no room for it. A cap that has gone on to a later month counts it no more.
-- The caller holds the account's lock, under which everything that counts for these caps is counted.
create or replace function public.count_against_spend_caps(
  for_project uuid, for_token uuid, amount_microusd bigint, for_month date
) returns void
language plpgsql set search_path = '' as $$
declare
  cap public.spend_caps;
begin
  for cap in
    update public.spend_caps
       set committed_microusd = case when month = for_month then committed_microusd else 0 end
                                + count_against_spend_caps.amount_microusd,
           month = for_month
     where (project_id = for_project or token_id = for_token) and month <= for_month
    returning *
  loop
    if cap.committed_microusd > cap.cap_microusd then
      perform public.refuse('spend_cap_reached', 402, jsonb_build_object(
        'project_id', cap.project_id, 'token_id', cap.token_id, 'month', cap.month,
        'cap_credits', cap.cap_microusd / 10000.0, 'cap_microusd', cap.cap_microusd,
        'committed_microusd', cap.committed_microusd - count_against_spend_caps.amount_microusd,
        'required_microusd', count_against_spend_caps.amount_microusd));
    end if;
  end loop;
end
$$;
revoke all on function public.count_against_spend_caps from public, anon, authenticated;

-- supabase/schemas/credits/functions/counted_factor_names.sql
-- Those of cost_factor_names() that count something: {"included": n, "each": m}.
create or replace function public.counted_factor_names()
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return array['frames', 'images', 'seconds', 'megapixels'];
end
$$;
revoke all on function public.counted_factor_names from public, anon, authenticated;

-- supabase/schemas/credits/functions/create_promo_code.sql
-- A code that gives credit. The same code with the same content again is the same success; with other content 409.
create or replace function public.create_promo_code(
  new_code text, amount_cents integer, max_uses integer, valid_from timestamptz, valid_until timestamptz,
  credit_days integer, description text, actor text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  made public.promo_codes;
  repeated boolean := false;
begin
  insert into public.promo_codes
    (code, amount_microusd, max_uses, valid_from, valid_until, credit_days, description, created_by)
  select upper(new_code), amount_cents * 10000::bigint, create_promo_code.max_uses,
         coalesce(create_promo_code.valid_from, now()), create_promo_code.valid_until, create_promo_code.credit_days,
         create_promo_code.description, actor
   where create_promo_code.valid_until is null
      or create_promo_code.valid_until > coalesce(create_promo_code.valid_from, now())
  on conflict (code) do nothing
  returning * into made;
  if not found then
    repeated := true;
    select * into made from public.promo_codes where code = upper(new_code);
    if not found then
      perform public.refuse('invalid_request', 400,
        '{"issues": [{"path": "valid_until", "message": "is before the code begins"}]}');
    end if;
    if (made.amount_microusd, made.max_uses, made.valid_until, made.credit_days, made.description)
       is distinct from (amount_cents * 10000::bigint, create_promo_code.max_uses, create_promo_code.valid_until,
                         create_promo_code.credit_days, create_promo_code.description)
       or made.valid_from <> create_promo_code.valid_from then
      perform public.refuse('promo_code_taken', 409);
    end if;
  end if;
  return jsonb_build_object(
    'code', made.code, 'amount', made.amount_microusd / 10000.0, 'amount_microusd', made.amount_microusd,
    'max_uses', made.max_uses, 'uses', made.uses, 'valid_from', made.valid_from, 'valid_until', made.valid_until,
    'credit_days', made.credit_days, 'description', made.description, 'deduplicated', repeated);
end
$$;
revoke all on function public.create_promo_code from public, anon, authenticated;
grant execute on function public.create_promo_code to service_role;

-- supabase/schemas/credits/functions/credit_balance.sql
-- What a user has: in all, held, available, owed; what of it was given away, and what expires when.
create or replace function public.credit_balance(for_user uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  account public.credit_accounts;
begin
  select * into account from public.credit_accounts where user_id = for_user;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  return (
    select jsonb_build_object(
      'user_id', for_user,
      'credits', account.balance_microusd / 10000.0, 'balance_microusd', account.balance_microusd,
      'held', account.held_microusd / 10000.0, 'held_microusd', account.held_microusd,
      'available', (account.balance_microusd - greatest(account.held_microusd, over_microusd)) / 10000.0,
      'available_microusd', account.balance_microusd - greatest(account.held_microusd, over_microusd),
      'debt', account.debt_microusd / 10000.0, 'debt_microusd', account.debt_microusd,
      'paid_microusd', paid_microusd, 'promotional_microusd', account.balance_microusd - paid_microusd,
      'expiring', expiring,
      'low_balance_threshold', (select low_balance_threshold from public.users where id = for_user))
      from (select coalesce(sum(remaining_microusd) filter (where category = 'paid'), 0)::bigint as paid_microusd,
                   coalesce(sum(remaining_microusd) filter (where expires_at <= now()), 0)::bigint as over_microusd,
                   coalesce(jsonb_agg(jsonb_build_object(
                     'amount', remaining_microusd / 10000.0, 'amount_microusd', remaining_microusd,
                     'expires_at', expires_at) order by expires_at, id)
                     filter (where expires_at > now()), '[]') as expiring
              from public.credit_grants where user_id = for_user and is_open) as granted);
end
$$;
revoke all on function public.credit_balance from public, anon, authenticated;
grant execute on function public.credit_balance to service_role;

-- supabase/schemas/credits/functions/credit_statement.sql
-- A user's entries from a time to another, the newest first, a page at a time: `before` is the last page's
-- `next_before`.
create or replace function public.credit_statement(
  for_user uuid, from_time timestamptz, to_time timestamptz, before bigint, at_most integer
) returns jsonb
language plpgsql stable security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
declare
  page public.credits_ledger[];
begin
  if not exists (select from public.credit_accounts where user_id = for_user) then
    perform public.refuse('user_not_found', 404);
  end if;
  page := array(
    select entry from public.credits_ledger as entry
     where user_id = for_user and (before is null or sequence < before)
       and (from_time is null or created_at >= from_time) and (to_time is null or created_at < to_time)
     order by sequence desc limit at_most + 1);
  return jsonb_build_object(
    'user_id', for_user,
    'entries', (select coalesce(jsonb_agg(public.ledger_entry_summary(entry) order by entry.sequence desc), '[]')
                  from unnest(page[:at_most]) as entry),
    'next_before', case when cardinality(page) > at_most then page[at_most].sequence end);
end
$$;
revoke all on function public.credit_statement from public, anon, authenticated;
grant execute on function public.credit_statement to service_role;

-- supabase/schemas/credits/functions/current_price.sql
-- The price row in force at a time; null for a type without one.
create or replace function public.current_price(for_task_type text, as_of timestamptz default now())
returns public.task_type_prices
language plpgsql stable set search_path = '' as $$
declare
  price public.task_type_prices;
begin
  select * into price from public.task_type_prices
   where task_type = for_task_type and valid_from <= as_of
   order by valid_from desc, version desc limit 1;
  return price;
end
$$;
revoke all on function public.current_price from public, anon, authenticated;

-- supabase/schemas/credits/functions/current_provider_price.sql
-- The price of a provider's model that is in force at a time; null where the model has none.
create or replace function public.current_provider_price(for_provider text, for_model text, as_of timestamptz default now())
returns public.provider_prices
language plpgsql stable set search_path = '' as $$
declare
  price public.provider_prices;
begin
  select * into price from public.provider_prices
   where provider = for_provider and model = for_model and valid_from <= as_of
   order by valid_from desc, version desc limit 1;
  return price;
end
$$;
revoke all on function public.current_provider_price from public, anon, authenticated;

-- supabase/schemas/credits/functions/draw_grants.sql
-- Takes what an entry spends out of the account's grants: given away before paid for, and of these what expires
-- first, then what is oldest. `first_grant` comes before all; `paid_first` turns the first rule round.
-- The account's row is locked by its entry.
create or replace function public.draw_grants(
  entry public.credits_ledger, first_grant bigint default null, paid_first boolean default false
) returns void
language plpgsql set search_path = '' as $$
declare
  missing bigint := -entry.amount_microusd;
  source record;
  taken bigint;
  drawn_grant bigint;
begin
  if first_grant is null and not paid_first then
    -- Nearly always the first has enough.
    update public.credit_grants
       set remaining_microusd = remaining_microusd - missing, is_open = remaining_microusd > missing
     where id = (select id from public.credit_grants
                  where user_id = entry.user_id and is_open order by expires_at, category, id limit 1)
       and remaining_microusd >= missing
    returning id into drawn_grant;
    if found then
      insert into public.credit_grant_draws (entry_id, grant_id, amount_microusd)
      values (entry.id, drawn_grant, missing);
      return;
    end if;
  end if;
  for source in
    select id, remaining_microusd from public.credit_grants
     where user_id = entry.user_id and is_open
     order by id is not distinct from first_grant desc, paid_first and category <> 'paid', expires_at, category, id
  loop
    exit when missing = 0;
    taken := least(source.remaining_microusd, missing);
    update public.credit_grants
       set remaining_microusd = remaining_microusd - taken, is_open = remaining_microusd > taken
     where id = source.id;
    insert into public.credit_grant_draws (entry_id, grant_id, amount_microusd) values (entry.id, source.id, taken);
    missing := missing - taken;
  end loop;
  if missing > 0 then
    raise exception '% of entry % is in no grant', missing, entry.id;
  end if;
end
$$;
revoke all on function public.draw_grants from public, anon, authenticated;

-- supabase/schemas/credits/functions/entry_hash.sql
-- The link of an entry to the one before it: SHA-256 of that one's hash and of everything that this one says.
create or replace function public.entry_hash(
  previous_hash bytea, entry public.credits_ledger, entry_sequence bigint, balance_after bigint
) returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return sha256(previous_hash || convert_to(jsonb_build_array(
    entry_sequence, entry.id, entry.user_id, entry.task_id, entry.call_id, entry.payment_id, entry.type,
    entry.amount_microusd, entry.revenue_microusd, entry.purchases_microusd, entry.grants_microusd,
    entry.write_off_microusd, entry.debt_microusd, balance_after, entry.idempotency_key, entry.metadata,
    -- As a number: the text of a time depends on the session.
    extract(epoch from entry.created_at))::text, 'UTF8'));
end
$$;
revoke all on function public.entry_hash from public, anon, authenticated;

-- supabase/schemas/credits/functions/expire_due_grants.sql
-- Ends the grants whose time is over, of accounts that nobody is using at the moment. Run now and then; holds do the
-- same for their own account before they count on it.
create or replace function public.expire_due_grants(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform public.expire_grants(due.user_id)
     from (select user_id from public.credit_accounts
            where next_expiry_at <= now()
            order by next_expiry_at limit at_most for no key update skip locked) as due;
end
$$;
revoke all on function public.expire_due_grants from public, anon, authenticated;
grant execute on function public.expire_due_grants to service_role;

-- supabase/schemas/credits/functions/expire_grants.sql
-- Ends an account's grants whose time is over: what is left of them, but for what is held. What is held counts as the
-- credit that expires first, as it is spent; it may still be spent by the work that it was held for, and what that
-- gives back expires then.
-- Guarantees: what is spent does not expire, and the reverse, for both lock the account.
create or replace function public.expire_grants(for_user uuid, as_of timestamptz default now())
returns void
language plpgsql set search_path = '' as $$
declare
  held bigint;
  expirable bigint;
  expired record;
  new_entry public.credits_ledger;
  recorded public.credits_ledger;
begin
  select held_microusd into held from public.credit_accounts where user_id = for_user for no key update;
  select sum(remaining_microusd) - held into expirable
    from public.credit_grants where user_id = for_user and is_open and expires_at <= as_of;
  -- The latest first: what is held is of the earliest.
  for expired in
    select id, remaining_microusd, expires_at from public.credit_grants
     where user_id = for_user and is_open and expires_at <= as_of order by expires_at desc, id desc
  loop
    exit when expirable <= 0;
    new_entry := null;
    new_entry.user_id := for_user;
    new_entry.type := 'expiry';
    new_entry.amount_microusd := -least(expired.remaining_microusd, expirable);
    new_entry.grants_microusd := -new_entry.amount_microusd;
    new_entry.metadata := jsonb_build_object('grant_id', expired.id, 'expired_at', expired.expires_at);
    select (made.entry).* into recorded from public.record_entry(new_entry) as made;
    perform public.draw_grants(recorded, first_grant => expired.id);
    expirable := expirable + new_entry.amount_microusd;
  end loop;
  update public.credit_accounts
     set next_expiry_at = (select min(expires_at) from public.credit_grants
                            where user_id = for_user and is_open and expires_at > as_of)
   where user_id = for_user;
end
$$;
revoke all on function public.expire_grants from public, anon, authenticated;

-- supabase/schemas/credits/functions/extend_hold.sql
-- Raises an open hold to an amount that covers more work; 402 when the account, or a spend cap, has no room for it.
create or replace function public.extend_hold(for_task uuid, new_amount_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  hold public.credit_holds;
  account public.credit_accounts;
begin
  select * into hold from public.credit_holds
   where task_id = for_task and state = 'held' for no key update;
  if found and hold.amount_microusd < new_amount_microusd then
    account := public.reserve_credit(hold.user_id, new_amount_microusd - hold.amount_microusd);
    if account.has_spend_caps then
      perform public.count_against_spend_caps(
        hold.project_id, hold.token_id, new_amount_microusd - hold.amount_microusd,
        public.spend_month(hold.created_at));
    end if;
    update public.credit_holds set amount_microusd = new_amount_microusd where task_id = for_task;
  end if;
end
$$;
revoke all on function public.extend_hold from public, anon, authenticated;

-- supabase/schemas/credits/functions/film_quantities.sql
-- The quantities that decide how long the film of a task type is, where the price counts its seconds and no parameter says them:
-- the frames of a segment, or the new frames of a join with those of both clips that it is made from. Empty for other types.
create or replace function public.film_quantities(for_task_type text)
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when for_task_type in ('travel_segment', 'individual_travel_segment') then array['frames']
    when for_task_type in ('join_clips_segment', 'edit_video_segment') then array['gap_frames', 'context_frames']
    else '{}' end;
end
$$;
revoke all on function public.film_quantities from public, anon, authenticated;

-- supabase/schemas/credits/functions/find_ledger_faults.sql
-- What is wrong with the books, from the tables alone: one row for each fault, none when they are right. Reads every
-- entry; in one snapshot, so it can be asked while work goes on.
-- Of entries, exactly those are named that somebody changed or slipped in, and the numbers of those that are gone: an entry is
-- right as long as it follows from what the one before it says, or said. (Where more than a hundred were changed at
-- once, some right ones may be named with them.)
create or replace function public.find_ledger_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with chained as (
    select entry, account.entry_count, account.chain_hash,
           -- The first follows from nothing, whatever was put before it.
           case when entry.sequence = 1 then ''::bytea else lag(entry.hash) over numbers end as previous_hash,
           case when entry.sequence = 1 then 0 else lag(entry.sequence, 1, 0::bigint) over numbers end as previous_sequence,
           lead(entry.sequence) over numbers as next_sequence,
           case when entry.sequence = 1 then 0 else lag(entry.balance_after_microusd) over numbers end as previous_balance
      from public.credits_ledger as entry
      left join public.credit_accounts as account on account.user_id = entry.user_id
    window numbers as (partition by entry.user_id order by entry.sequence)
  ), checked as (
    select (chained.entry).id, (chained.entry).user_id, (chained.entry).sequence, (chained.entry).hash,
           chained.entry, chained.entry_count, chained.chain_hash, chained.previous_sequence,
           public.entry_hash(chained.previous_hash, chained.entry, (chained.entry).sequence,
                             (chained.entry).balance_after_microusd) as expected_hash,
           (chained.entry).sequence = chained.previous_sequence + 1 as follows,
           (chained.entry).sequence in (chained.previous_sequence, chained.next_sequence) as is_double,
           (chained.entry).sequence between 1 and coalesce(chained.entry_count, 0) as is_counted,
           (chained.entry).amount is not distinct from (chained.entry).amount_microusd / 10000.0 as is_shown_right,
           (chained.entry).balance_after_microusd
             = chained.previous_balance::numeric + (chained.entry).amount_microusd as is_carried
      from chained
  ), suspect as materialized (
    select *, coalesce(checked.hash = checked.expected_hash and checked.follows, false) as is_linked from checked
     where (checked.hash = checked.expected_hash and checked.follows and not coalesce(checked.is_double, false)
            and checked.is_counted and checked.is_shown_right and checked.is_carried) is not true
  ), judged as materialized (
    select suspect.*,
           -- It follows from an entry that was moved elsewhere, from one whose hash was changed, or from the right one of
           -- two with one number.
           not suspect.is_linked and (
             exists (select from (select * from suspect limit 100) as moved
                      where moved.id <> suspect.id and suspect.hash = public.entry_hash(
                              moved.hash, suspect.entry, suspect.sequence, (suspect.entry).balance_after_microusd))
             or exists (select from suspect as before
                         where before.user_id = suspect.user_id and before.sequence = suspect.sequence - 1
                           and suspect.hash = public.entry_hash(
                                 before.expected_hash, suspect.entry, suspect.sequence, (suspect.entry).balance_after_microusd))
             or exists (select from public.credits_ledger as before
                         where before.user_id = suspect.user_id and before.sequence = suspect.sequence - 1
                           and suspect.hash = public.entry_hash(
                                 before.hash, suspect.entry, suspect.sequence, (suspect.entry).balance_after_microusd)))
             as is_right,
           -- The chain goes on from it, though not from its number.
           exists (select from (select * from suspect limit 100) as after
                    where after.id <> suspect.id and after.sequence <> suspect.sequence + 1 and not after.is_linked
                      and after.hash = public.entry_hash(
                            suspect.hash, after.entry, after.sequence, (after.entry).balance_after_microusd))
             or exists (select from public.credit_accounts as account
                         where account.chain_hash = suspect.hash and account.entry_count <> suspect.sequence)
             as is_moved
      from suspect
  ), booked as (
    select entry.user_id, sum(entry.amount_microusd) as balance, -sum(entry.debt_microusd) as debt
      from public.credits_ledger as entry group by entry.user_id
  ), held as (
    select open.user_id, sum(open.amount_microusd) as amount
      from (select hold.user_id, hold.amount_microusd from public.credit_holds as hold where hold.state = 'held'
            union all
            select call.user_id, call.amount_microusd from public.paid_calls as call where call.state = 'held') as open
     group by open.user_id
  ), granted as (
    select lot.user_id, sum(lot.remaining_microusd) as remaining from public.credit_grants as lot group by lot.user_id
  ), drawn as (
    select draw.grant_id, sum(draw.amount_microusd) as amount from public.credit_grant_draws as draw group by draw.grant_id
  ), paid_by as (
    select draw.entry_id, sum(draw.amount_microusd) as amount from public.credit_grant_draws as draw group by draw.entry_id
  )
  select 'entry_changed', judged.user_id, judged.id::text, jsonb_build_object('sequence', judged.sequence)
    from judged
   where not judged.is_shown_right
      or not judged.is_linked and not judged.is_right and (judged.follows or judged.is_moved or not judged.is_counted)
  union all
  select 'entry_inserted', judged.user_id, judged.id::text, jsonb_build_object('sequence', judged.sequence)
    from judged
   where (judged.is_linked or judged.is_right) and (
           not judged.is_counted and judged.hash is distinct from judged.chain_hash
           or judged.is_double and judged.hash <> judged.chain_hash
              and not exists (select from public.credits_ledger as after
                               where after.user_id = judged.user_id and after.sequence = judged.sequence + 1
                                 and after.hash = public.entry_hash(
                                       judged.hash, after, after.sequence, after.balance_after_microusd)))
  union all
  -- Named by the first number that is missing; there is no row.
  select 'entry_missing', judged.user_id, format('%s#%s', judged.user_id, judged.previous_sequence + 1), jsonb_build_object(
         'first_sequence', judged.previous_sequence + 1, 'last_sequence', judged.sequence - 1)
    from judged
   where judged.is_counted and judged.sequence > judged.previous_sequence + 1 and not judged.is_right and not judged.is_moved
  union all
  select 'entry_missing', account.user_id, format('%s#%s', account.user_id, kept.last_sequence + 1), jsonb_build_object(
         'first_sequence', kept.last_sequence + 1, 'last_sequence', account.entry_count)
    from public.credit_accounts as account
   cross join lateral (select coalesce(max(entry.sequence), 0) as last_sequence from public.credits_ledger as entry
                        where entry.user_id = account.user_id and entry.sequence <= account.entry_count) as kept
   where kept.last_sequence < account.entry_count
     and not exists (select from suspect where suspect.hash = account.chain_hash)
  union all
  select 'chain_end_differs', account.user_id, account.user_id::text,
         jsonb_build_object('entry_count', account.entry_count)
    from public.credit_accounts as account
    left join public.credits_ledger as newest
      on newest.user_id = account.user_id and newest.sequence = account.entry_count
   where (newest.id is not null or account.entry_count = 0)
     and account.chain_hash <> coalesce(newest.hash, ''::bytea)
     and not exists (select from suspect
                      where suspect.user_id = account.user_id and suspect.sequence = account.entry_count
                        and suspect.expected_hash = account.chain_hash)
  union all
  select 'balance_not_carried', judged.user_id, judged.id::text, jsonb_build_object(
         'balance_after_microusd', (judged.entry).balance_after_microusd, 'sequence', judged.sequence)
    from judged
   where not judged.is_carried and judged.is_linked
     and not exists (select from suspect as before
                      where before.user_id = judged.user_id and before.sequence = judged.sequence - 1)
  union all
  select 'entry_unbalanced', entry.user_id, entry.id::text, to_jsonb(entry)
    from public.credits_ledger as entry
   where entry.amount_microusd::numeric + entry.revenue_microusd + entry.purchases_microusd + entry.grants_microusd
         + entry.write_off_microusd + entry.debt_microusd <> 0
  union all
  select 'balance_is_not_the_sum', account.user_id, account.user_id::text, jsonb_build_object(
         'balance_microusd', account.balance_microusd, 'sum_microusd', coalesce(booked.balance, 0),
         'debt_microusd', account.debt_microusd, 'debt_sum_microusd', coalesce(booked.debt, 0))
    from public.credit_accounts as account left join booked using (user_id)
   where account.balance_microusd <> coalesce(booked.balance, 0) or account.debt_microusd <> coalesce(booked.debt, 0)
  union all
  select 'held_is_not_the_sum', account.user_id, account.user_id::text, jsonb_build_object(
         'held_microusd', account.held_microusd, 'sum_microusd', coalesce(held.amount, 0))
    from public.credit_accounts as account left join held using (user_id)
   where account.held_microusd <> coalesce(held.amount, 0)
  union all
  select 'debt_beside_credit', account.user_id, account.user_id::text, jsonb_build_object(
         'debt_microusd', account.debt_microusd, 'available_microusd', account.balance_microusd - account.held_microusd)
    from public.credit_accounts as account
   where account.debt_microusd > 0 and account.balance_microusd > account.held_microusd
  union all
  select 'grants_are_not_the_balance', account.user_id, account.user_id::text, jsonb_build_object(
         'balance_microusd', account.balance_microusd, 'remaining_microusd', coalesce(granted.remaining, 0))
    from public.credit_accounts as account left join granted using (user_id)
   where account.balance_microusd <> coalesce(granted.remaining, 0)
  union all
  select 'grant_is_not_its_draws', lot.user_id, lot.id::text, jsonb_build_object(
         'amount_microusd', lot.amount_microusd, 'remaining_microusd', lot.remaining_microusd,
         'drawn_microusd', coalesce(drawn.amount, 0))
    from public.credit_grants as lot left join drawn on drawn.grant_id = lot.id
   where lot.amount_microusd - lot.remaining_microusd <> coalesce(drawn.amount, 0)
  union all
  select 'entry_is_not_its_grants', entry.user_id, entry.id::text, jsonb_build_object(
         'amount_microusd', entry.amount_microusd, 'drawn_microusd', coalesce(paid_by.amount, 0),
         'granted_microusd', lot.amount_microusd)
    from public.credits_ledger as entry
    left join paid_by on paid_by.entry_id = entry.id
    left join public.credit_grants as lot on lot.entry_id = entry.id
   where greatest(-entry.amount_microusd::numeric, 0) <> coalesce(paid_by.amount, 0)
      or greatest(entry.amount_microusd, 0) <> coalesce(lot.amount_microusd, 0)
  union all
  select 'shown_balance_differs', account.user_id, account.user_id::text, jsonb_build_object(
         'balance_microusd', account.balance_microusd, 'credits', person.credits)
    from public.credit_accounts as account join public.users as person on person.id = account.user_id
   where person.credits <> account.balance_microusd / 10000.0
  union all
  select 'charge_is_not_its_hold', hold.user_id, hold.task_id::text, jsonb_build_object(
         'charged_microusd', hold.charged_microusd, 'spent_microusd', coalesce(-entry.amount_microusd::numeric, 0),
         'written_off_microusd', hold.written_off_microusd)
    from public.credit_holds as hold
    left join public.credits_ledger as entry on entry.task_id = hold.task_id and entry.type in ('spend', 'write_off')
   where hold.charged_microusd <> coalesce(-entry.amount_microusd::numeric, 0)
      or hold.written_off_microusd <> coalesce(-entry.write_off_microusd::numeric, 0)
  union all
  select 'spend_without_hold', entry.user_id, entry.id::text, jsonb_build_object('task_id', entry.task_id)
    from public.credits_ledger as entry
   where entry.type in ('spend', 'write_off') and entry.call_id is null
     and not exists (select from public.credit_holds as hold
                      where hold.task_id = entry.task_id and hold.user_id = entry.user_id)
  union all
  select 'charge_is_not_its_call', call.user_id, call.id::text, jsonb_build_object(
         'charged_microusd', call.charged_microusd, 'spent_microusd', coalesce(-entry.amount_microusd, 0),
         'price_microusd', price.price_microusd, 'charged_units', call.charged_units)
    from public.paid_calls as call
    join public.task_type_prices as price on price.id = call.price_id
    left join public.credits_ledger as entry on entry.call_id = call.id and entry.user_id = call.user_id
   where call.charged_microusd <> coalesce(-entry.amount_microusd, 0)
      or call.charged_microusd <> price.price_microusd * call.charged_units
      or call.amount_microusd <> price.price_microusd * call.units
  union all
  select 'spend_without_call', entry.user_id, entry.id::text, jsonb_build_object('call_id', entry.call_id)
    from public.credits_ledger as entry
   where entry.call_id is not null
     and not exists (select from public.paid_calls as call
                      where call.id = entry.call_id and call.user_id = entry.user_id)
  union all
  select 'call_not_released', call.user_id, call.id::text, jsonb_build_object('expires_at', call.expires_at)
    from public.paid_calls as call
   where call.state = 'held' and call.expires_at < now() - interval '10 minutes'
  union all
  select 'spend_cap_miscounted', cap.user_id, cap.id::text, jsonb_build_object(
         'committed_microusd', cap.committed_microusd,
         'counted_microusd', public.spent_in_month(cap.project_id, cap.token_id, cap.month))
    from public.spend_caps as cap
   where cap.committed_microusd <> public.spent_in_month(cap.project_id, cap.token_id, cap.month)
  union all
  select 'promo_code_miscounted', null, promo.code, jsonb_build_object('uses', promo.uses, 'redeemed', count(taken.user_id))
    from public.promo_codes as promo left join public.promo_redemptions as taken on taken.code = promo.code
   group by promo.code, promo.uses having promo.uses <> count(taken.user_id)
$$;
revoke all on function public.find_ledger_faults from public, anon, authenticated;

-- supabase/schemas/credits/functions/find_quote.sql
-- What was promised under this id, to this user for this type and these params (or, of a family, for any of the same price),
-- while the promise stands.
create or replace function public.find_quote(
  for_user uuid, quote_id uuid, for_task_type text, params jsonb,
  out price public.task_type_prices, out expected_microusd bigint, out held_microusd bigint, out upper_bound_microusd bigint,
  out exact boolean, out part_prices jsonb, out billed jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  quote public.task_quotes;
begin
  select * into quote from public.task_quotes where id = quote_id and user_id = for_user;
  if not found then
    perform public.refuse('quote_not_found', 404);
  end if;
  if quote.expires_at <= now() then
    perform public.refuse('quote_expired', 409, jsonb_build_object('expired_at', quote.expires_at));
  end if;
  if quote.task_type <> for_task_type
     or quote.params_hash <> public.hash_of_quoted(params, quote.is_of_family) then
    perform public.refuse('quote_mismatch', 422);
  end if;
  -- Read once more by the price that was quoted.
  billed := (public.quote_task(for_task_type, params, coalesce(quote.part_prices, jsonb_build_object(
    for_task_type, jsonb_build_object(
      'price_id', quote.price_id, 'expected_seconds', 1, 'upper_bound_seconds', 1))))).billed;
  if billed <> quote.billed then
    perform public.refuse('quote_mismatch', 422);
  end if;
  select * into price from public.task_type_prices where id = quote.price_id;
  expected_microusd := quote.expected_microusd;
  held_microusd := quote.held_microusd;
  upper_bound_microusd := quote.upper_bound_microusd;
  exact := quote.exact;
  part_prices := quote.part_prices;
end
$$;
revoke all on function public.find_quote from public, anon, authenticated;

-- supabase/schemas/credits/functions/first_hold_seconds.sql
-- How many seconds the first hold of a run pays for: what such a run is expected to take, and not less than the floor, so
-- that a run is covered until its hold is looked at again.
create or replace function public.first_hold_seconds(expected_seconds integer, upper_bound_seconds integer)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return least(upper_bound_seconds, greatest(
    first_hold_seconds.expected_seconds, (select first_hold_seconds from public.credit_settings)));
end
$$;
revoke all on function public.first_hold_seconds from public, anon, authenticated;

-- supabase/schemas/credits/functions/give_back_to_spend_caps.sql
-- What a closed hold did not spend counts for its caps no more, unless its month is over.
create or replace function public.give_back_to_spend_caps(hold public.credit_holds, unspent_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.spend_caps
     set committed_microusd = committed_microusd - unspent_microusd
   where (project_id = hold.project_id or token_id = hold.token_id)
     and month = public.spend_month(hold.created_at);
end
$$;
revoke all on function public.give_back_to_spend_caps from public, anon, authenticated;

-- supabase/schemas/credits/functions/grant_credits.sql
-- An operator's gift, which may expire. The same key again answers the first entry; with another amount, user, reason,
-- actor or time 422.
create or replace function public.grant_credits(
  for_user uuid, amount_cents integer, reason text, actor text, idempotency_key text, expires_at timestamptz default null
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
       or entry.metadata ->> 'description' is distinct from reason or entry.metadata ->> 'actor' is distinct from actor
       or grant_credits.expires_at is distinct from (
            select granted.expires_at from public.credit_grants as granted where granted.entry_id = entry.id) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
  else
    if grant_credits.expires_at <= now() then
      perform public.refuse('expiry_in_the_past', 422);
    end if;
    entry := public.add_credit(for_user, 'manual', amount_cents * 10000::bigint, key,
      jsonb_build_object('description', reason, 'actor', actor), null, grant_credits.expires_at);
  end if;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry), 'expires_at', grant_credits.expires_at,
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
-- The welcome bonus, of a fixed amount, once per person: unique keys on user and address decide between racers.
-- Answers the entry, new or old.
create or replace function public.grant_welcome_bonus(for_user uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  entry public.credits_ledger;
  reason text;
  bonus_microusd bigint;
begin
  -- Locked first, so that a racer waits here and then finds the entry.
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  select ledger.* into entry
    from public.welcome_bonuses as bonus join public.credits_ledger as ledger on ledger.id = bonus.entry_id
   where bonus.user_id = for_user;
  if found then
    return jsonb_build_object(
      'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
      'deduplicated', true, 'message', 'The welcome bonus was granted before');
  end if;
  -- One person after the other, so that the limits count all before them.
  perform pg_advisory_xact_lock(hashtextextended('welcome_bonus', 0));
  reason := public.welcome_bonus_refusal(for_user);
  if reason is not null then
    perform public.refuse('welcome_bonus_refused', 409, jsonb_build_object('reason', reason));
  end if;
  select welcome_bonus_microusd into bonus_microusd from public.credit_settings;
  entry := public.add_credit(for_user, 'manual', bonus_microusd, 'welcome:' || for_user, jsonb_build_object(
    'is_welcome_bonus', true, 'description', 'Welcome bonus', 'actor', 'system'));
  insert into public.welcome_bonuses (address_hash, domain, network_hash, user_id, entry_id)
  select sha256(convert_to(public.address_key(email), 'UTF8')), public.mail_domain(email),
         sha256(convert_to(public.network_of_person(for_user), 'UTF8')), for_user, entry.id
    from auth.users where id = for_user;
  update public.users set given_credits = true where id = for_user;
  return jsonb_build_object(
    'success', true, 'transaction', public.ledger_entry_summary(entry), 'isWelcomeBonus', true,
    'deduplicated', false,
    'message', format('Granted the welcome bonus of $%s', to_char(bonus_microusd / 1000000.0, 'FM999990.00')));
exception
  -- Another person with the same address, committed between our look and our insert.
  when unique_violation then
    perform public.refuse('welcome_bonus_refused', 409, '{"reason": "address_used"}');
end
$$;
revoke all on function public.grant_welcome_bonus from public, anon, authenticated;
grant execute on function public.grant_welcome_bonus to service_role;

-- supabase/schemas/credits/functions/hash_of_params.sql
create or replace function public.hash_of_params(params jsonb)
returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return sha256(convert_to(params::text, 'UTF8'));
end
$$;
revoke all on function public.hash_of_params from public, anon, authenticated;

-- supabase/schemas/credits/functions/hash_of_quoted.sql
-- What a quote is compared by beside its billed values: the params as they are; of a family, whose payloads differ in ids and
-- seeds each time they are built, the model, on which an estimate depends.
create or replace function public.hash_of_quoted(params jsonb, is_of_family boolean)
returns bytea
language plpgsql stable set search_path = '' as $$
begin
  return public.hash_of_params(
    case when is_of_family then jsonb_build_object('model', public.model_of_params(params)) else params end);
end
$$;
revoke all on function public.hash_of_quoted from public, anon, authenticated;

-- supabase/schemas/credits/functions/hold_for_seconds.sql
-- What must be held so that it pays for so many seconds of work: rounded up, where a price is rounded to the nearest.
create or replace function public.hold_for_seconds(price public.task_type_prices, billed jsonb, seconds integer)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return least(ceil(price.price_microusd * public.price_multiplier(price, billed) * seconds), 1e14)::bigint;
end
$$;
revoke all on function public.hold_for_seconds from public, anon, authenticated;

-- supabase/schemas/credits/functions/is_shared_mail_host.sql
-- Whether this address is at a large provider, where people take one mailbox each. A name under a provider's (fastmail
-- gives everybody one) is not the provider: it is a way to any number of addresses.
create or replace function public.is_shared_mail_host(email text)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return (select split_part(lower(trim(is_shared_mail_host.email)), '@', 2) = any (shared_mail_domains)
            from public.credit_settings);
end
$$;
revoke all on function public.is_shared_mail_host from public, anon, authenticated;

-- supabase/schemas/credits/functions/ledger_digest.sql
-- Stands for every entry of every account up to now: one that was changed, taken out or put in since gives another digest.
create or replace function public.ledger_digest()
returns text
language plpgsql stable set search_path = '' as $$
begin
  return (
    select encode(sha256(coalesce(string_agg(
        convert_to(user_id::text || entry_count, 'UTF8') || chain_hash, ''::bytea order by user_id), ''::bytea)), 'hex')
      from public.credit_accounts where entry_count > 0);
end
$$;
revoke all on function public.ledger_digest from public, anon, authenticated;

-- supabase/schemas/credits/functions/ledger_entry_summary.sql
-- A ledger row as APIs show it: cents for people, micro-dollars for arithmetic.
create or replace function public.ledger_entry_summary(entry public.credits_ledger)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'id', entry.id, 'user_id', entry.user_id, 'sequence', entry.sequence, 'task_id', entry.task_id,
    'call_id', entry.call_id, 'type', entry.type,
    'amount', entry.amount, 'amount_microusd', entry.amount_microusd,
    'balance_after_microusd', entry.balance_after_microusd, 'debt_microusd', -entry.debt_microusd,
    'metadata', entry.metadata, 'created_at', entry.created_at);
end
$$;
revoke all on function public.ledger_entry_summary from public, anon, authenticated;

-- supabase/schemas/credits/functions/list_prices.sql
-- The price list: what each type costs now, and what is announced for later. For everybody.
create or replace function public.list_prices()
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return jsonb_build_object('currency', 'usd', 'unit', 'credits', 'prices', (
    select jsonb_agg(public.price_summary(public.current_price(kind.name))
           || public.price_terms(kind, public.current_price(kind.name)) || jsonb_build_object(
             'display_name', kind.display_name, 'run_type', kind.run_type, 'category', kind.category,
             'content_type', kind.content_type, 'is_visible', kind.is_visible,
             'announced', (select coalesce(jsonb_agg(public.price_summary(price) order by price.valid_from, price.version), '[]')
                             from public.task_type_prices as price
                            where price.task_type = kind.name and price.valid_from > now()))
           order by kind.name)
      from public.task_types as kind
     where kind.is_active and kind.alias_of is null and kind.category <> 'orchestration'
       and (public.current_price(kind.name)).id is not null));
end
$$;
revoke all on function public.list_prices from public, anon, authenticated;
grant execute on function public.list_prices to service_role;

-- supabase/schemas/credits/functions/list_provider_prices.sql
-- What each model of a provider, or of all, costs now, and the versions that are announced. A model whose first price is yet to
-- come is listed with that price.
create or replace function public.list_provider_prices(for_provider text default null)
returns jsonb
language sql stable security definer set search_path = '' as $$
  with known as (
    select distinct each.provider, each.model from public.provider_prices as each
     where for_provider is null or each.provider = for_provider
  ), shown as (
    select known.provider, known.model, public.provider_price_summary(latest.price) || jsonb_build_object(
             'in_force', (latest.price).valid_from <= now(),
             'announced', (
               select coalesce(jsonb_agg(public.provider_price_summary(later) order by later.valid_from, later.version), '[]')
                 from public.provider_prices as later
                where later.provider = known.provider and later.model = known.model and later.valid_from > now())) as price
      from known cross join lateral (
        select one as price from public.provider_prices as one
         where one.provider = known.provider and one.model = known.model
         order by one.valid_from <= now() desc, abs(extract(epoch from one.valid_from - now())), one.version desc
         limit 1) as latest
  )
  select jsonb_build_object('currency', 'usd', 'prices', (
    select coalesce(jsonb_agg(shown.price order by shown.provider, shown.model), '[]') from shown))
$$;
revoke all on function public.list_provider_prices from public, anon, authenticated;
grant execute on function public.list_provider_prices to service_role;

-- supabase/schemas/credits/functions/listed_value.sql
-- Which of a price's listed values a value is paid as: itself, or the smallest listed size or scale that is not smaller. Null
-- where there is none.
create or replace function public.listed_value(listed jsonb, value text)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  wanted_pixels constant bigint := public.pixels_of_size(value);
  wanted_scale constant numeric := (regexp_match(value, '^([0-9]{1,9}(\.[0-9]+)?)x$'))[1]::numeric;
begin
  if listed ? value then
    return value;
  end if;
  return (
    select key from (
      select key, public.pixels_of_size(key) as pixels,
             (regexp_match(key, '^([0-9]{1,9}(\.[0-9]+)?)x$'))[1]::numeric as scale
        from jsonb_object_keys(listed) as key) as option
     where option.pixels >= wanted_pixels or option.scale >= wanted_scale
     order by option.pixels, option.scale, key limit 1);
end
$$;
revoke all on function public.listed_value from public, anon, authenticated;

-- supabase/schemas/credits/functions/mail_domain.sql
-- The domain that somebody had to register for this address: its last two labels, three under such as `co.uk`.
create or replace function public.mail_domain(email text)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  labels constant text[] := string_to_array(split_part(lower(trim(email)), '@', 2), '.');
  size constant integer := cardinality(labels);
begin
  if size > 2 and length(labels[size]) = 2 and labels[size - 1] in ('co', 'com', 'net', 'org', 'ac', 'gov', 'edu') then
    return array_to_string(labels[size - 2:], '.');
  end if;
  return array_to_string(labels[greatest(size - 1, 1):], '.');
end
$$;
revoke all on function public.mail_domain from public, anon, authenticated;

-- supabase/schemas/credits/functions/network_of_person.sql
-- The network from which somebody signed up: the /24 of an IPv4 address, the /48 of an IPv6 one. The standalone host says the
-- address while it makes the person; else it is that of their first session. Null where neither is known.
create or replace function public.network_of_person(for_user uuid)
returns text
language plpgsql stable set search_path = '' as $$
declare
  address inet := coalesce(
    nullif(current_setting('darkroom.client_address', true), '')::inet,
    (select ip from auth.sessions where user_id = for_user order by created_at, id limit 1));
begin
  -- An IPv4 address in the form of IPv6 is an IPv4 address.
  if address <<= '::ffff:0.0.0.0/96' then
    address := replace(host(address), '::ffff:', '')::inet;
  end if;
  return text(network(set_masklen(address, case family(address) when 4 then 24 else 48 end)));
end
$$;
revoke all on function public.network_of_person from public, anon, authenticated;

-- supabase/schemas/credits/functions/open_credit_account.sql
create or replace function public.open_credit_account(for_user uuid)
returns void
language sql set search_path = '' as $$
  insert into public.credit_accounts (user_id) values (for_user) on conflict (user_id) do nothing
$$;
revoke all on function public.open_credit_account from public, anon, authenticated;

-- supabase/schemas/credits/functions/open_hold.sql
-- Reserves what a task is expected to cost, or refuses with 402, also where a spend cap of the project or of the token that asked
-- for it is reached. A task that still waits 30 days after it could have run is given up: see give_up_old_tasks().
create or replace function public.open_hold(
  for_user uuid, for_task uuid, hold_microusd bigint, for_project uuid, for_token uuid default null,
  not_before timestamptz default null
) returns void
language plpgsql set search_path = '' as $$
declare
  account public.credit_accounts;
begin
  account := public.reserve_credit(for_user, hold_microusd);
  if account.has_spend_caps then
    perform public.count_against_spend_caps(for_project, for_token, hold_microusd, public.spend_month(now()));
  end if;
  insert into public.credit_holds (task_id, user_id, project_id, token_id, amount_microusd, expires_at)
  values (for_task, for_user, for_project, for_token, hold_microusd,
          greatest(now(), not_before) + interval '30 days')
  on conflict (task_id) do update
    set amount_microusd = excluded.amount_microusd, state = 'held', created_at = now(), expires_at = excluded.expires_at,
        closed_at = null, project_id = excluded.project_id, token_id = excluded.token_id
    where credit_holds.state = 'released' and credit_holds.user_id = excluded.user_id;
  if not found then
    raise exception 'task % is held or settled already', for_task;
  end if;
end
$$;
revoke all on function public.open_hold from public, anon, authenticated;

-- supabase/schemas/credits/functions/open_paid_call.sql
-- Covers a call before a provider is asked, or refuses with 402; null where it is free: without an account to charge, with
-- nothing to pay for, or without a price. What has no price counts as `model_calls` against the account's daily allowance. The same key and content again answer what the first call answered.
-- Guarantees: calls of an account are opened and closed under its lock, so of two with one key the second sees the first,
-- and credit for one call covers one. What a dead process held is given back first.
create or replace function public.open_paid_call(
  for_user uuid, for_token uuid, asked_user uuid, for_type text, for_units integer, idempotency_key text,
  content_hash bytea, model_calls integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  price constant public.task_type_prices := public.current_price(for_type);
  required constant bigint := coalesce(price.price_microusd, 0) * for_units;
  account public.credit_accounts;
  known public.paid_calls;
begin
  if asked_user <> for_user then
    perform public.refuse('forbidden', 403);
  end if;
  if for_user is null or for_units = 0 then
    return null;
  end if;
  if required = 0 then
    if not exists (select from public.credit_accounts where user_id = for_user) then
      perform public.refuse('user_not_found', 404);
    end if;
    perform public.take_free_calls(for_user, coalesce(open_paid_call.model_calls, for_units));
    return null;
  end if;
  perform from public.credit_accounts where user_id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  perform public.close_paid_call(call.id, 0)
     from public.paid_calls as call
    where call.user_id = for_user and call.state = 'held' and call.expires_at <= now();
  if open_paid_call.idempotency_key is not null then
    select * into known from public.paid_calls as call
     where call.user_id = for_user and call.idempotency_key = open_paid_call.idempotency_key
       and call.state <> 'released';
    if known.content_hash <> open_paid_call.content_hash then
      perform public.refuse('idempotency_key_reused', 422);
    elsif known.state = 'held' then
      perform public.refuse('call_in_progress', 409, '{"retry_after": 5}');
    elsif known.state = 'settled' then
      return jsonb_build_object('call_id', known.id, 'answer', known.answer);
    end if;
  end if;
  account := public.reserve_credit(for_user, required);
  if account.has_spend_caps then
    perform public.count_against_spend_caps(null, for_token, required, public.spend_month(now()));
  end if;
  insert into public.paid_calls (user_id, token_id, price_id, units, amount_microusd, idempotency_key, content_hash)
  values (for_user, for_token, price.id, for_units, required, open_paid_call.idempotency_key,
          case when open_paid_call.idempotency_key is not null then open_paid_call.content_hash end)
  returning * into known;
  return jsonb_build_object('call_id', known.id, 'answer', null);
end
$$;
revoke all on function public.open_paid_call from public, anon, authenticated;
grant execute on function public.open_paid_call to service_role;

-- supabase/schemas/credits/functions/own_params_of_part.sql
-- What an orchestrator's details say of one of its children alone, as far as prices depend on it: the frames of a segment by its
-- place, those of a join by its place, those of a portion of an edited film, how many clips are stitched. In the form in which the child's params say it.
create or replace function public.own_params_of_part(for_task_type text, child_type text, details jsonb, place integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  own jsonb;
begin
  if child_type = 'travel_segment' then
    return jsonb_strip_nulls(jsonb_build_object('segment_frames_target', case
      when jsonb_typeof(details -> 'segment_frames_expanded') = 'array' then details -> 'segment_frames_expanded' -> place end));
  end if;
  if child_type = 'join_final_stitch' then
    return public.planned_clips(for_task_type, details);
  end if;
  if child_type <> 'join_clips_segment' then
    return '{}';
  end if;
  own := case for_task_type
    when 'edit_video_orchestrator' then
      case when jsonb_typeof(details -> 'portions_to_regenerate') = 'array' then details -> 'portions_to_regenerate' -> place end
    when 'travel_orchestrator' then details -> 'stitch_config'
    else case when jsonb_typeof(details -> 'per_join_settings') = 'array' then details -> 'per_join_settings' -> place end end;
  -- Nulls say nothing, here and in the child.
  own := case when jsonb_typeof(own) = 'object' then jsonb_strip_nulls(own) else '{}' end;
  if for_task_type = 'edit_video_orchestrator' then
    own := own || jsonb_build_object('gap_frame_count', coalesce(
      own -> 'gap_frame_count', own -> 'frame_count',
      to_jsonb(nullif(greatest(public.integer_or_null(own ->> 'end_frame') - public.integer_or_null(own ->> 'start_frame'), 0), 0))));
  elsif for_task_type = 'travel_orchestrator' then
    -- As the orchestration has it where the configuration says nothing.
    own := '{"gap_frame_count": 19, "context_frame_count": 12}' || own;
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'gap_frame_count', own -> 'gap_frame_count', 'context_frame_count', own -> 'context_frame_count'));
end
$$;
revoke all on function public.own_params_of_part from public, anon, authenticated;

-- supabase/schemas/credits/functions/params_of_run.sql
-- Params as a worker gets them: as the client sent them, and each parameter that says a priced quantity says what is billed.
-- Parameters that were not sent are added, but where workers make the same without them: one image, twice the size, five seconds,
-- a join's usual frames, and a size that `resolution` says already.
create or replace function public.params_of_run(for_task_type text, params jsonb, billed jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  told jsonb := params;
  quantity text;
  paid jsonb;
  names text[];
  name text;
  place text;
  given jsonb;
  is_told boolean;
begin
  for quantity, paid in select key, value from jsonb_each(billed) where key <> 'megapixels' loop
    names := public.priced_names(for_task_type, quantity);
    is_told := case quantity
      when 'images' then paid = '1'
      when 'scale' then paid = '2'
      when 'seconds' then paid = '5'
      when 'gap_frames' then paid = '53'
      when 'context_frames' then paid = '8'
      when 'resolution' then names @> '{image_size}' and coalesce(params -> 'resolution' = paid, false)
      else false end;
    foreach name in array names loop
      given := case
        when quantity = 'scale' and name = 'resolution' then to_jsonb((paid #>> '{}') || 'x')
        -- Workers of joins read a list of two numbers.
        when for_task_type in ('join_clips_segment', 'join_final_stitch', 'edit_video_segment') and name = 'resolution'
             and paid #>> '{}' ~ '^[0-9]+x[0-9]+$'
          then to_jsonb(string_to_array(paid #>> '{}', 'x')::integer[])
        else paid end;
      -- A scale is a resolution only where somebody said so.
      if told ? name or not is_told and (quantity <> 'scale' or name <> 'resolution') then
        told := told || jsonb_build_object(name, given);
      end if;
      foreach place in array public.priced_places(for_task_type) loop
        if jsonb_typeof(told -> place) = 'object' and told -> place ? name then
          told := jsonb_set(told, array[place, name], given);
        end if;
      end loop;
    end loop;
  end loop;
  return told;
end
$$;
revoke all on function public.params_of_run from public, anon, authenticated;

-- supabase/schemas/credits/functions/passages_of_film.sql
-- Between how many pairs of pictures a film goes: one where params name fewer than three.
create or replace function public.passages_of_film(for_task_type text, params jsonb)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return greatest(coalesce(jsonb_array_length(public.planned_list(for_task_type, params, 'input_image_paths_resolved')) - 1, 1), 1);
end
$$;
revoke all on function public.passages_of_film from public, anon, authenticated;

-- supabase/schemas/credits/functions/pixels_of_size.sql
-- How many pixels a size has: "1024x768", or one of the names that FAL gives to sizes. Null for others.
create or replace function public.pixels_of_size(size text)
returns bigint
language plpgsql immutable set search_path = '' as $$
declare
  sides constant text[] := regexp_match(case size
    when 'square_hd' then '1024x1024'
    when 'square' then '512x512'
    when 'portrait_4_3' then '768x1024'
    when 'portrait_16_9' then '576x1024'
    when 'landscape_4_3' then '1024x768'
    when 'landscape_16_9' then '1024x576'
    else size end, '^([0-9]{1,5})x([0-9]{1,5})$');
begin
  return sides[1]::bigint * sides[2]::bigint;
end
$$;
revoke all on function public.pixels_of_size from public, anon, authenticated;

-- supabase/schemas/credits/functions/planned_children.sql
-- How many children of which type an orchestrator's details ask for, at most 500 of a type, and what is said of some of them alone:
-- the frames of each segment, the frames of each join. Children of which the same is said are one row.
create or replace function public.planned_children(for_task_type text, params jsonb)
returns table (child_type text, child_count integer, own_params jsonb)
language plpgsql immutable set search_path = '' as $$
begin
  return query
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
             jsonb_typeof(details -> 'stitch_config') = 'object' as stitches,
             -- As plans_stitch() has it, but for a stitch by joins.
             details -> 'use_svi' = 'true'
               or coalesce(details ->> 'model_type', 'vace') = 'vace' and details -> 'chain_segments' is distinct from 'false'
                  and details -> 'independent_segments' is distinct from 'true' as is_chained,
             -- The last clip is joined to the first as well.
             (coalesce(details -> 'stitch_config' -> 'loop_first_clip', details -> 'loop_first_clip') = 'true')::integer as loops
        from plan
    ), planned as (
    select planned.child_type, planned.child_count
      from sizes, lateral (values
        ('travel_orchestrator', 'travel_segment', segments),
        ('travel_orchestrator', 'travel_stitch', case when is_chained then 1 else 0 end),
        ('travel_orchestrator', 'join_clips_segment', case when stitches then greatest(segments - 1 + coalesce(loops, 0), 1) else 0 end),
        ('travel_orchestrator', 'join_final_stitch', case when stitches then 1 else 0 end),
        ('join_clips_orchestrator', 'join_clips_segment', clips - 1 + coalesce(loops, 0)),
        ('join_clips_orchestrator', 'join_final_stitch', 1),
        ('edit_video_orchestrator', 'join_clips_segment', portions),
        ('edit_video_orchestrator', 'join_final_stitch', 1)
      ) as planned (orchestrator_type, child_type, child_count)
     where planned.orchestrator_type = for_task_type and planned.child_count > 0
    )
    select part.child_type, count(*)::integer, part.own_params
      from (select planned.child_type, public.own_params_of_part(for_task_type, planned.child_type, plan.details, place) as own_params
              from plan, planned cross join lateral generate_series(0, planned.child_count - 1) as place) as part
     group by part.child_type, part.own_params
     order by part.child_type, part.own_params;
end
$$;
revoke all on function public.planned_children from public, anon, authenticated;

-- supabase/schemas/credits/functions/planned_clips.sql
-- How many clips the final stitch of an orchestration joins, as a `clip_list` of so many: the clips of a join, the segments of a travel,
-- what portions leave of an edited film. At most 501.
create or replace function public.planned_clips(for_task_type text, details jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  settings constant jsonb := case for_task_type when 'travel_orchestrator' then details -> 'stitch_config' else details end;
  listed constant jsonb := case for_task_type
    when 'edit_video_orchestrator' then details -> 'portions_to_regenerate'
    when 'travel_orchestrator' then null
    else coalesce(nullif(details -> 'clip_list', '[]'), details -> 'segment_task_ids') end;
  clips integer := case when jsonb_typeof(listed) = 'array' then jsonb_array_length(listed) else 0 end;
begin
  if for_task_type = 'travel_orchestrator' then
    clips := coalesce(public.integer_or_null(details ->> 'num_new_segments_to_generate'), 1);
  elsif for_task_type = 'edit_video_orchestrator' then
    clips := clips + 1;
  end if;
  if settings -> 'loop_first_clip' = 'true' then
    clips := clips + 1;
  end if;
  return jsonb_build_object('clip_list', (
    select coalesce(jsonb_agg(place), '[]') from generate_series(1, least(clips, 501)) as place));
end
$$;
revoke all on function public.planned_clips from public, anon, authenticated;

-- supabase/schemas/credits/functions/planned_frames.sql
-- The frames of a segment that says none itself: those that its travel plans for its place; null where it plans none.
create or replace function public.planned_frames(for_task_type text, params jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  planned constant jsonb := public.planned_list(for_task_type, params, 'segment_frames_expanded')
    -> greatest(coalesce(public.integer_or_null(params ->> 'segment_index'), 0), 0);
  read jsonb;
begin
  if coalesce(planned, 'null') in ('null', '""') then
    return null;
  end if;
  read := public.read_quantity('frames', planned, null);
  if read is null then
    perform public.refuse('unpriced_value', 422, jsonb_build_object(
      'task_type', for_task_type, 'parameter', 'segment_frames_expanded', 'value', left(planned #>> '{}', 200),
      'allowed', public.quantity_forms('frames')));
  end if;
  return read;
end
$$;
revoke all on function public.planned_frames from public, anon, authenticated;

-- supabase/schemas/credits/functions/planned_list.sql
-- A list in params, from the first of priced_places() that has one of this name; null where none has.
create or replace function public.planned_list(for_task_type text, params jsonb, list_name text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return (
    select list from unnest(public.priced_places(for_task_type)) with ordinality as looked (place, position),
           lateral (select case place when '' then params -> list_name else params -> place -> list_name end) as found (list)
     where case when jsonb_typeof(list) = 'array' then jsonb_array_length(list) > 0 end
     order by position limit 1);
end
$$;
revoke all on function public.planned_list from public, anon, authenticated;

-- supabase/schemas/credits/functions/planned_seconds.sql
-- How long the film is that is made of many, as far as params tell: of a travel by the frames that are planned for each segment, of
-- joined clips twenty seconds for each clip with its transition. Null where nothing is planned, or the type makes another film.
create or replace function public.planned_seconds(for_task_type text, params jsonb)
returns numeric
language plpgsql stable set search_path = '' as $$
declare
  planned jsonb;
  parts integer;
  frames numeric;
  total numeric := 0;
begin
  if for_task_type = 'join_final_stitch' then
    planned := public.planned_list(for_task_type, params, 'clip_list');
    return case when planned is not null then least(20 * jsonb_array_length(planned), 3600) end;
  end if;
  if for_task_type not in ('wan_2_2_i2v', 'travel_stitch') then
    return null;
  end if;
  planned := public.planned_list(for_task_type, params, 'segment_frames_expanded');
  if planned is null then
    return null;
  end if;
  parts := case for_task_type
    when 'wan_2_2_i2v' then public.passages_of_film(for_task_type, params) else jsonb_array_length(planned) end;
  for part in 0 .. least(parts, 500) - 1 loop
    frames := (coalesce(public.planned_frames(
      for_task_type, jsonb_build_object('segment_index', part, 'segment_frames_expanded', planned)), '61') #>> '{}')::numeric;
    -- A stitch shows the first frame of every segment as well.
    total := total + case for_task_type when 'travel_stitch' then frames / 16 else public.seconds_of_frames(frames) end;
  end loop;
  total := ceil(total);
  -- The longest film that has a price.
  return least(total, 3600);
end
$$;
revoke all on function public.planned_seconds from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_factors.sql
-- What billed values make of a price: [{factor, value, multiplier}], one for each factor that the price has.
create or replace function public.price_factors(price public.task_type_prices, billed jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  factors jsonb := '[]';
  factor record;
  named text;
  multiplier numeric;
begin
  for factor in select key as name, value as rule from jsonb_each(price.cost_factors) loop
    named := coalesce(billed ->> factor.name, case factor.name when 'resolution' then (billed ->> 'scale') || 'x' end);
    if factor.name = any (public.counted_factor_names()) then
      multiplier := 1 + greatest(coalesce(named::numeric, 0) - (factor.rule ->> 'included')::numeric, 0)
                        * (factor.rule ->> 'each')::numeric;
    else
      multiplier := coalesce((factor.rule ->> public.listed_value(factor.rule, named))::numeric, 1);
    end if;
    factors := factors || jsonb_build_object('factor', factor.name, 'value', named, 'multiplier', multiplier);
  end loop;
  return factors;
end
$$;
revoke all on function public.price_factors from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_line.sql
-- A line of a quote: so many pieces of work, each of one output or of so many seconds, and what they come to.
create or replace function public.price_line(
  price public.task_type_prices, billed jsonb, pieces integer, expected_seconds integer, upper_bound_seconds integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  each_expected constant bigint := public.price_of_work(price, billed, expected_seconds, upper_bound_seconds);
  each_bound constant bigint := public.price_of_work(price, billed, upper_bound_seconds, upper_bound_seconds);
begin
  return jsonb_build_object(
    'item', price.task_type, 'count', pieces, 'price_version', price.version,
    'unit', case price.billing_type when 'per_unit' then 'output' else 'second' end,
    'quantity', case price.billing_type when 'per_unit' then 1 else expected_seconds end,
    'upper_bound_quantity', case price.billing_type when 'per_unit' then 1 else upper_bound_seconds end,
    'each_microusd', price.price_microusd, 'factors', public.price_factors(price, billed),
    'multiplier', public.price_multiplier(price, billed),
    'total_microusd', pieces * each_expected, 'upper_bound_microusd', pieces * each_bound);
end
$$;
revoke all on function public.price_line from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_multiplier.sql
-- The product of a price's factors for what is billed.
create or replace function public.price_multiplier(price public.task_type_prices, billed jsonb)
returns numeric
language plpgsql stable set search_path = '' as $$
declare
  product numeric := 1;
  factor jsonb;
begin
  if price.cost_factors <> '{}' then
    for factor in select value from jsonb_array_elements(public.price_factors(price, billed)) loop
      product := product * (factor ->> 'multiplier')::numeric;
    end loop;
  end if;
  return product;
end
$$;
revoke all on function public.price_multiplier from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_of_work.sql
-- What a finished piece of work costs: one unit, or its begun seconds (at least one, at most so many; null: without a
-- limit), times the factors. Rounded half up to a whole micro-dollar, once, at the end. What counts drive beyond
-- a hundred million dollars stays there: nobody has that, and it is still a number to every reader.
create or replace function public.price_of_work(
  price public.task_type_prices, billed jsonb, work_seconds numeric, max_runtime_seconds integer
) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return least(round(price.price_microusd * public.price_multiplier(price, billed)
    * case price.billing_type
        when 'per_unit' then 1
        else least(greatest(ceil(work_seconds), 1), max_runtime_seconds)
      end), 1e14)::bigint;
end
$$;
revoke all on function public.price_of_work from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_part.sql
-- What one piece of work is expected to cost, what is held for it first, and what it costs at most: by what was promised for its
-- type, else by the price in force and the operator's figures. Work that is paid by the second costs at most its longest run.
-- Nothing that a payer can influence is read but the params themselves.
create or replace function public.price_part(
  for_task_type text, params jsonb, promised jsonb,
  out price public.task_type_prices, out expected_seconds integer, out upper_bound_seconds integer,
  out expected_microusd bigint, out held_microusd bigint, out upper_bound_microusd bigint, out billed jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  promise constant jsonb := promised -> for_task_type;
begin
  if promise is not null then
    select * into price from public.task_type_prices where id = (promise ->> 'price_id')::bigint;
    expected_seconds := (promise ->> 'expected_seconds')::integer;
    upper_bound_seconds := (promise ->> 'upper_bound_seconds')::integer;
  else
    price := public.current_price(for_task_type);
    if price.billing_type = 'per_unit' then
      expected_seconds := 1;
      upper_bound_seconds := 1;
    else
      expected_seconds := public.expected_seconds(for_task_type);
      upper_bound_seconds := (select max_runtime_seconds from public.task_types where name = for_task_type);
    end if;
  end if;
  billed := public.read_billed_values(price, params);
  upper_bound_microusd := public.price_of_work(price, billed, upper_bound_seconds, upper_bound_seconds);
  if price.billing_type = 'per_unit' then
    expected_microusd := upper_bound_microusd;
    held_microusd := upper_bound_microusd;
  else
    expected_microusd := public.price_of_work(price, billed, expected_seconds, upper_bound_seconds);
    held_microusd := least(upper_bound_microusd, public.hold_for_seconds(
      price, billed, public.first_hold_seconds(expected_seconds, upper_bound_seconds)));
  end if;
end
$$;
revoke all on function public.price_part from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_summary.sql
-- A version of a price as APIs show it.
create or replace function public.price_summary(price public.task_type_prices)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'task_type', price.task_type, 'version', price.version, 'billing_type', price.billing_type,
    'unit', case price.billing_type when 'per_unit' then 'output' else 'second' end,
    'price', price.price_microusd / 10000.0, 'price_microusd', price.price_microusd,
    'cost_factors', price.cost_factors,
    'cancellation', public.cancel_terms(price), 'blacked_out_policy', price.blacked_out_policy,
    'reuse_price', price.reuse_price_microusd / 10000.0, 'reuse_price_microusd', price.reuse_price_microusd,
    'valid_from', price.valid_from);
end
$$;
revoke all on function public.price_summary from public, anon, authenticated;

-- supabase/schemas/credits/functions/price_terms.sql
-- What work of a type comes to at a price before anything of its params counts: the estimate, the first hold and the most.
create or replace function public.price_terms(kind public.task_types, price public.task_type_prices)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  expected constant integer := public.expected_seconds(kind.name);
  first_hold constant integer := public.first_hold_seconds(expected, kind.max_runtime_seconds);
begin
  return jsonb_build_object('expected_seconds', expected, 'max_runtime_seconds', kind.max_runtime_seconds)
    || (public.amounts_of_quote(
          public.price_of_work(price, '{}', expected, kind.max_runtime_seconds),
          case price.billing_type when 'per_unit' then price.price_microusd else public.hold_for_seconds(price, '{}', first_hold) end,
          public.price_of_work(price, '{}', kind.max_runtime_seconds, kind.max_runtime_seconds))
        - '{cost,cost_microusd}'::text[]);
end
$$;
revoke all on function public.price_terms from public, anon, authenticated;

-- supabase/schemas/credits/functions/priced_names.sql
-- The parameters under which workers of a task type read a priced quantity. Within one object of params all that are given
-- must agree; docs/credits.md lists them.
create or replace function public.priced_names(for_task_type text, quantity text)
returns text[]
language plpgsql stable set search_path = '' as $$
declare
  medium constant text := (select content_type from public.task_types where name = for_task_type);
begin
  return case quantity
    -- Only pictures are made several at a time.
    when 'images' then case when medium = 'image' then array['num_images', 'num_generations'] else '{}' end
    when 'frames' then array['num_frames', 'segment_frames_target', 'frame_count', 'video_length']
    when 'gap_frames' then array['gap_frame_count']
    when 'context_frames' then array['context_frame_count']
    -- Where the frames of a film decide, nothing else says how long it is.
    when 'seconds' then case when public.film_quantities(for_task_type) = '{}' then array['seconds', 'duration'] else '{}' end
    when 'scale' then array['scale_factor', 'upscale_factor', 'scale', 'resolution']
    when 'resolution' then case
      when for_task_type = 'animate_character' then array['resolution']
      when medium = 'image' then array['resolution', 'image_size']
      else array['resolution', 'parsed_resolution_wh'] end
    when 'model' then array['model_name', 'model']
                      -- Older clients of pictures name the model there.
                      || case when for_task_type = 'single_image' then array['model_type'] else '{}' end
    when 'model_type' then array['model_type'] end;
end
$$;
revoke all on function public.priced_names from public, anon, authenticated;

-- supabase/schemas/credits/functions/priced_param.sql
-- What params say of a priced quantity, and the parameter that says it: from the first of priced_places() that says anything.
-- Null, '' and the size "auto" say nothing. A value that cannot be read, and parameters of one object that contradict each other, are refused.
create or replace function public.priced_param(
  for_task_type text, quantity text, params jsonb, listed jsonb, out parameter text, out value jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  names constant text[] := public.priced_names(for_task_type, quantity);
  place text;
  container jsonb;
  name text;
  read jsonb;
begin
  foreach place in array public.priced_places(for_task_type) loop
    container := case place when '' then params else params -> place end;
    continue when jsonb_typeof(container) <> 'object' or container is null or not container ?| names;
    foreach name in array names loop
      continue when coalesce(container -> name, 'null') in ('null', '""');
      -- Names of models that are not text have never been any.
      continue when quantity = 'model' and jsonb_typeof(container -> name) <> 'string';
      read := public.read_quantity(quantity, container -> name, listed);
      if read is null then
        perform public.refuse('unpriced_value', 422, jsonb_build_object(
          'task_type', for_task_type, 'parameter', concat_ws('.', nullif(place, ''), name),
          'value', left(container ->> name, 200),
          'allowed', coalesce((select jsonb_agg(key order by key) from jsonb_object_keys(listed) as key),
                              public.quantity_forms(quantity))));
      end if;
      -- It says nothing of a size, wherever it stands.
      continue when read = '"auto"' and quantity = 'resolution';
      if value is null then
        value := read;
        parameter := concat_ws('.', nullif(place, ''), name);
      elsif value <> read and quantity <> 'model' then
        perform public.refuse('contradicting_values', 422, jsonb_build_object(
          'task_type', for_task_type, 'parameters', array[parameter, concat_ws('.', nullif(place, ''), name)],
          'values', array[value, read]));
      end if;
    end loop;
    exit when value is not null;
  end loop;
end
$$;
revoke all on function public.priced_param from public, anon, authenticated;

-- supabase/schemas/credits/functions/priced_places.sql
-- The objects within params in which workers look for a parameter, in their order; '' is params itself.
create or replace function public.priced_places(for_task_type text)
returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return case for_task_type
    -- Its worker lays the details over the rest.
    when 'wan_2_2_i2v' then array['orchestrator_details', '', 'individual_segment_params', 'full_orchestrator_payload']
    else array['individual_segment_params', '', 'orchestrator_details', 'full_orchestrator_payload'] end;
end
$$;
revoke all on function public.priced_places from public, anon, authenticated;

-- supabase/schemas/credits/functions/provider_price_summary.sql
-- A version of a provider's price as APIs show it.
create or replace function public.provider_price_summary(price public.provider_prices)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'provider', price.provider, 'model', price.model, 'version', price.version, 'unit', price.unit,
    'price_microusd', price.price_microusd, 'variant_prices', price.variant_prices,
    'minimum_units', price.minimum_units, 'job_fee_microusd', price.job_fee_microusd,
    'note', price.note, 'source_url', price.source_url, 'valid_from', price.valid_from,
    'published_by', price.published_by, 'reason', price.reason)
$$;
revoke all on function public.provider_price_summary from public, anon, authenticated;

-- supabase/schemas/credits/functions/publish_price.sql
-- A new version of a type's price, from a time on that is not past. Tasks and quotes keep theirs. The same key again
-- answers the first version; with other content 422.
create or replace function public.publish_price(
  for_task_type text, billing_type public.billing_type, price_microusd bigint, cost_factors jsonb,
  valid_from timestamptz, actor text, reason text, idempotency_key text, reuse_price_microusd bigint default 0,
  cancel_policy text default 'consumed', blacked_out_policy text default 'free'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  kind constant public.task_types := public.canonical_task_type(for_task_type, or_call => true);
  type_name constant text := kind.name;
  known public.task_type_prices;
  published public.task_type_prices;
begin
  if pg_column_size(publish_price.cost_factors) > 16384 or not public.are_cost_factors(publish_price.cost_factors) then
    perform public.refuse('invalid_cost_factors', 422);
  end if;
  -- Nothing about a call is multiplied or measured.
  if kind.category = 'call' and (publish_price.billing_type, publish_price.cost_factors) <> ('per_unit', '{}') then
    perform public.refuse('invalid_cost_factors', 422, jsonb_build_object('task_type', type_name));
  end if;
  -- One publisher at a time.
  perform pg_advisory_xact_lock(hashtextextended('publish_price', 0));
  select * into known from public.task_type_prices as price
   where price.idempotency_key = publish_price.idempotency_key;
  if found then
    if (known.task_type, known.billing_type, known.price_microusd, known.cost_factors::jsonb, known.reuse_price_microusd,
        known.cancel_policy, known.blacked_out_policy, known.reason, known.published_by)
       is distinct from (type_name, publish_price.billing_type, publish_price.price_microusd,
                         publish_price.cost_factors, publish_price.reuse_price_microusd, publish_price.cancel_policy,
                         publish_price.blacked_out_policy, publish_price.reason, actor)
       or publish_price.valid_from is not null
          and known.valid_from <> greatest(publish_price.valid_from, known.created_at) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
    return public.price_summary(known) || '{"deduplicated": true}';
  end if;
  if publish_price.valid_from < now() - interval '1 minute' then
    perform public.refuse('price_in_the_past', 422);
  end if;
  insert into public.task_type_prices
    (task_type, version, billing_type, price_microusd, cost_factors, reuse_price_microusd, cancel_policy, blacked_out_policy,
     valid_from, published_by, reason, idempotency_key)
  values (type_name,
          1 + coalesce((select max(version) from public.task_type_prices where task_type = type_name), 0),
          publish_price.billing_type, publish_price.price_microusd, publish_price.cost_factors,
          publish_price.reuse_price_microusd, publish_price.cancel_policy, publish_price.blacked_out_policy, greatest(publish_price.valid_from, now()), actor, publish_price.reason, publish_price.idempotency_key)
  returning * into published;
  return public.price_summary(published) || '{"deduplicated": false}';
exception
  -- The same key for another type, committed between our look and our insert.
  when unique_violation then
    perform public.refuse('idempotency_key_reused', 422);
end
$$;
revoke all on function public.publish_price from public, anon, authenticated;
grant execute on function public.publish_price to service_role;

-- supabase/schemas/credits/functions/publish_provider_price.sql
-- A new version of what a provider bills for a model, from a time on that is not past. `price` has the columns of provider_prices
-- that say what it costs. The same key again answers the first version; with other content 422. Jobs that were submitted before keep
-- their cost.
create or replace function public.publish_provider_price(price jsonb, actor text, reason text, idempotency_key text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  wanted public.provider_prices := jsonb_populate_record(null::public.provider_prices, price);
  known public.provider_prices;
  published public.provider_prices;
begin
  wanted.variant_prices := coalesce(wanted.variant_prices, '{}');
  wanted.minimum_units := coalesce(wanted.minimum_units, 0);
  wanted.job_fee_microusd := coalesce(wanted.job_fee_microusd, 0);
  if not public.are_variant_prices(wanted.variant_prices) then
    perform public.refuse('invalid_variant_prices', 422);
  end if;
  -- One publisher at a time.
  perform pg_advisory_xact_lock(hashtextextended('publish_provider_price', 0));
  select * into known from public.provider_prices as one where one.idempotency_key = publish_provider_price.idempotency_key;
  if found then
    if (known.provider, known.model, known.unit, known.price_microusd, known.variant_prices, known.minimum_units,
        known.job_fee_microusd, known.note, known.source_url, known.reason, known.published_by)
       is distinct from (wanted.provider, wanted.model, wanted.unit, wanted.price_microusd, wanted.variant_prices,
                         wanted.minimum_units, wanted.job_fee_microusd, wanted.note, wanted.source_url,
                         publish_provider_price.reason, publish_provider_price.actor)
       or wanted.valid_from is not null and known.valid_from <> greatest(wanted.valid_from, known.created_at) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
    return public.provider_price_summary(known) || '{"deduplicated": true}';
  end if;
  if wanted.valid_from < now() - interval '1 minute' then
    perform public.refuse('price_in_the_past', 422);
  end if;
  insert into public.provider_prices
    (provider, model, version, unit, price_microusd, variant_prices, minimum_units, job_fee_microusd, note, source_url,
     valid_from, published_by, reason, idempotency_key)
  values (wanted.provider, wanted.model,
          1 + coalesce((select max(version) from public.provider_prices as earlier
                         where earlier.provider = wanted.provider and earlier.model = wanted.model), 0),
          wanted.unit, wanted.price_microusd, wanted.variant_prices, wanted.minimum_units, wanted.job_fee_microusd,
          wanted.note, wanted.source_url, greatest(wanted.valid_from, now()), publish_provider_price.actor,
          publish_provider_price.reason, publish_provider_price.idempotency_key)
  returning * into published;
  return public.provider_price_summary(published) || '{"deduplicated": false}';
end
$$;
revoke all on function public.publish_provider_price from public, anon, authenticated;
grant execute on function public.publish_provider_price to service_role;

-- supabase/schemas/credits/functions/quantity_forms.sql
-- What read_quantity() reads, in words, where a price lists no values.
create or replace function public.quantity_forms(quantity text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return case quantity
    when 'images' then '["a whole number from 1 to 16"]'
    when 'frames' then '["a whole number from 1 to 100000"]'
    when 'gap_frames' then '["a whole number from 0 to 1000"]'
    when 'context_frames' then '["a whole number from 0 to 1000"]'
    when 'seconds' then '["a number above 0, up to 3600"]'
    when 'scale' then '["a number from 1"]'
    else '["WIDTHxHEIGHT with sides from 1 to 16384"]' end::jsonb;
end
$$;
revoke all on function public.quantity_forms from public, anon, authenticated;

-- supabase/schemas/credits/functions/quote_task.sql
-- The price of a task before it runs. Per unit it is exact. Per second it is what the operator expects such a run to take, and
-- at most the longest run of its type; an orchestrator is the sum of the children that its plan speaks of, and what was
-- promised for each kind of them is in part_prices.
-- `billed` is the one reading of what the price depends on; of an orchestrator, of each kind of its children: see with_billed_part().
-- `promised` is such a promise, which counts instead of the prices and figures of today. The breakdown is made for
-- those who show it, of so many tasks; the rest is of one.
create or replace function public.quote_task(
  for_task_type text, params jsonb, promised jsonb default null, with_breakdown boolean default false,
  task_count integer default 1,
  out price public.task_type_prices, out expected_microusd bigint, out held_microusd bigint, out upper_bound_microusd bigint,
  out exact boolean,
  out part_prices jsonb, out breakdown jsonb, out billed jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  is_orchestration constant boolean := (select category = 'orchestration' from public.task_types where name = for_task_type);
  part record;
  priced record;
begin
  expected_microusd := 0;
  held_microusd := 0;
  upper_bound_microusd := 0;
  breakdown := '[]';
  billed := '{}';
  if is_orchestration then
    price := public.current_price(for_task_type);
    exact := false;
    part_prices := '{}';
    for part in select * from public.planned_children(for_task_type, params) loop
      select * into priced from public.price_part(part.child_type, params || part.own_params, promised);
      expected_microusd := expected_microusd + part.child_count * priced.expected_microusd;
      held_microusd := held_microusd + part.child_count * priced.held_microusd;
      upper_bound_microusd := upper_bound_microusd + part.child_count * priced.upper_bound_microusd;
      part_prices := part_prices || jsonb_build_object(part.child_type, jsonb_build_object(
        'price_id', (priced.price).id, 'expected_seconds', priced.expected_seconds,
        'upper_bound_seconds', priced.upper_bound_seconds));
      billed := public.with_billed_part(billed, part.child_type, priced.billed, part.child_count);
      if with_breakdown then
        breakdown := breakdown || public.price_line(
          priced.price, priced.billed, task_count * part.child_count, priced.expected_seconds, priced.upper_bound_seconds);
      end if;
    end loop;
  else
    select * into priced from public.price_part(for_task_type, params, promised);
    price := priced.price;
    exact := price.billing_type = 'per_unit';
    expected_microusd := priced.expected_microusd;
    held_microusd := priced.held_microusd;
    upper_bound_microusd := priced.upper_bound_microusd;
    billed := priced.billed;
    if with_breakdown then
      breakdown := breakdown || public.price_line(
        price, billed, task_count, priced.expected_seconds, priced.upper_bound_seconds);
    end if;
  end if;
end
$$;
revoke all on function public.quote_task from public, anon, authenticated;

-- supabase/schemas/credits/functions/read_billed_values.sql
-- The one reading of priced parameters: every quantity that a price depends on, from params as the client sent them. Quote,
-- hold, charge and receipt are computed from what this answers, and a claim gives it to the worker (params_of_run()).
-- Guarantee: what has no price is refused (422 `unpriced_value`), and so are parameters that contradict each other.
-- `images` is in every price by the unit: how many outputs are paid.
create or replace function public.read_billed_values(price public.task_type_prices, params jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  factors constant jsonb := price.cost_factors;
  -- Of a film whose frames decide how long it is.
  film constant text[] := case when price.cost_factors ? 'seconds' then public.film_quantities(price.task_type) else '{}' end;
  kind public.task_types;
  billed jsonb := '{}';
  quantity text;
  listed jsonb;
  said record;
  word text;
begin
  if price.billing_type <> 'per_unit' and factors = '{}' then
    return billed;
  end if;
  select * into kind from public.task_types where name = price.task_type;

  for quantity, listed in
    select case when key = 'resolution' and kind.category = 'upscale' then 'scale'
                when key = 'megapixels' then 'resolution' else key end,
           case when key in ('resolution', 'model', 'model_type') then value end
      from jsonb_each(factors)
     -- Of an upscale no parameter names a size.
     where (key <> 'megapixels' or not factors ? 'resolution' and kind.category <> 'upscale')
       and (key <> 'seconds' or film = '{}')
    union all
    select 'images', null where price.billing_type = 'per_unit' and not factors ? 'images'
    union all
    select part, null from unnest(film) as part where not factors ? part
    order by 1
  loop
    select * into said from public.priced_param(kind.name, quantity, params, listed);
    if said.value is null then
      -- What workers take where they are not told.
      said.value := case
        when quantity = 'images' then '1'
        when quantity = 'scale' then '2'
        when quantity = 'gap_frames' then '53'
        when quantity = 'context_frames' then '8'
        when quantity = 'frames' and quantity = any (film) then coalesce(public.planned_frames(kind.name, params), '61')
        when quantity = 'seconds' then to_jsonb(coalesce(
          public.planned_seconds(kind.name, params), greatest(floor((factors -> 'seconds' ->> 'included')::numeric), 1)))
        when kind.name = 'animate_character' and quantity = 'resolution' and listed ? '480p' then '"480p"' end;
    end if;
    if quantity = 'seconds' and kind.name = 'wan_2_2_i2v' then
      -- A second at least between each two pictures.
      said.value := to_jsonb(greatest((said.value #>> '{}')::numeric, public.passages_of_film(kind.name, params)));
    end if;
    if said.value is null and listed is not null and quantity <> 'model' and price.billing_type = 'per_unit' then
      -- The worker is then given it: the smallest of those that count once.
      select to_jsonb(key) into said.value from jsonb_each(listed)
       where value = '1' order by public.pixels_of_size(key), key limit 1;
    end if;
    word := (said.value #>> '{}') || case quantity when 'scale' then 'x' else '' end;
    if (case
         -- No model has the price of none, and what is paid by the second is as large as its inputs: the seconds tell.
         when said.value is null and (quantity = 'model' or price.billing_type = 'per_second') then false
         when listed is not null and public.listed_value(listed, word) is null then true
         when quantity = 'images' then not factors ? 'images' and said.value <> '1'
         when quantity = 'resolution' and factors ? 'megapixels'
           then said.value is not null and public.pixels_of_size(word) is null
         else false end) then
      perform public.refuse('unpriced_value', 422, jsonb_build_object(
        'task_type', kind.name,
        'parameter', coalesce(said.parameter, (public.priced_names(kind.name, quantity))[1]), 'value', word,
        'allowed', case
          when listed is not null then (select jsonb_agg(key order by key) from jsonb_object_keys(listed) as key)
          when quantity = 'images' then '["1"]'
          else public.quantity_forms(quantity) end));
    end if;
    if said.value is not null then
      billed := billed || jsonb_build_object(quantity, said.value);
    end if;
  end loop;

  if film <> '{}' then
    billed := billed || jsonb_build_object('seconds', public.seconds_of_frames(coalesce(
      (billed ->> 'gap_frames')::numeric + 2 * (billed ->> 'context_frames')::numeric, (billed ->> 'frames')::numeric)));
  end if;
  if factors ? 'megapixels' then
    billed := billed || jsonb_build_object('megapixels', case
      when billed ? 'resolution' then ceil(public.pixels_of_size(billed ->> 'resolution') / 1048576.0)
      -- The worker sees to it that the output is not larger.
      else greatest(floor((factors -> 'megapixels' ->> 'included')::numeric), 1) end);
  end if;
  return billed;
end
$$;
revoke all on function public.read_billed_values from public, anon, authenticated;

-- supabase/schemas/credits/functions/read_quantity.sql
-- A priced quantity as it was sent, in its one form: a number, "WIDTHxHEIGHT", "720p", a name. Null where the value cannot be
-- read. `listed` are the values that a price has.
-- Numbers are JSON numbers, or texts of digits with at most ten decimals; neither sign nor exponent.
create or replace function public.read_quantity(quantity text, sent jsonb, listed jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  kind constant text := jsonb_typeof(sent);
  word text := sent #>> '{}';
  sides text[];
  number numeric;
begin
  if kind = 'string' and length(word) > 200 then
    return null;
  end if;
  if quantity in ('model', 'model_type') then
    word := trim(word);
    return case
      when kind <> 'string' or word = '' then null
      when listed ? word then to_jsonb(word)
      else coalesce((select to_jsonb(key) from jsonb_object_keys(listed) as key
                      where public.spelling_of_model(key) = public.spelling_of_model(word) order by key limit 1),
                    to_jsonb(word)) end;
  end if;

  if quantity = 'resolution' then
    -- A number without the decimals that say nothing.
    word := case kind
      when 'string' then lower(trim(word))
      when 'number' then trim_scale(word::numeric)::text
      when 'array' then case when jsonb_array_length(sent) = 2
        then public.side_of_size(sent -> 0) || 'x' || public.side_of_size(sent -> 1) end
      when 'object' then public.side_of_size(sent -> 'width') || 'x' || public.side_of_size(sent -> 'height') end;
    sides := regexp_match(word, '^0*([1-9][0-9]{0,4})\s*[x×*]\s*0*([1-9][0-9]{0,4})$');
    return case
      when sides is not null then
        case when greatest(sides[1]::integer, sides[2]::integer) <= 16384 then to_jsonb(sides[1] || 'x' || sides[2]) end
      when word ~ '^[1-9][0-9]{2,3}p?$' then to_jsonb(rtrim(word, 'p') || 'p')
      when word = 'auto' or public.pixels_of_size(word) > 0 then to_jsonb(word)
      when kind = 'string' and listed ? (sent #>> '{}') then sent end;
  end if;

  if quantity = 'scale' and kind = 'string' and word ~ '^[0-9.]+[xX]$' then
    word := left(word, -1);
  end if;
  if kind <> 'number' and (kind <> 'string' or word !~ '^[0-9]{1,9}(\.[0-9]{1,10})?$') then
    return null;
  end if;
  number := word::numeric;
  if quantity = 'seconds' then
    number := ceil(number);
  end if;
  return case when case quantity
      when 'images' then number between 1 and 16 and number = trunc(number)
      when 'frames' then number between 1 and 100000 and number = trunc(number)
      when 'gap_frames' then number between 0 and 1000 and number = trunc(number)
      when 'context_frames' then number between 0 and 1000 and number = trunc(number)
      when 'seconds' then number between 1 and 3600
      when 'scale' then number between 1 and 100 end
    then to_jsonb(trim_scale(number)) end;
end
$$;
revoke all on function public.read_quantity from public, anon, authenticated;

-- supabase/schemas/credits/functions/record_entry.sql
-- The only writer of the ledger: moves the account, gives back what was held for this, and appends the entry that says
-- so. Who calls sees to the grants: see add_credit() and draw_grants().
-- Guarantees: entries and balance agree at every commit, for the account's row is locked by its own update.
create or replace function public.record_entry(
  new_entry public.credits_ledger, released_microusd bigint default 0,
  out entry public.credits_ledger, out account public.credit_accounts
)
language plpgsql set search_path = '' as $$
begin
  entry := new_entry;
  entry.id := gen_random_uuid();
  entry.created_at := clock_timestamp();
  entry.metadata := coalesce(entry.metadata, '{}');
  entry.revenue_microusd := coalesce(entry.revenue_microusd, 0);
  entry.purchases_microusd := coalesce(entry.purchases_microusd, 0);
  entry.grants_microusd := coalesce(entry.grants_microusd, 0);
  entry.write_off_microusd := coalesce(entry.write_off_microusd, 0);
  entry.debt_microusd := coalesce(entry.debt_microusd, 0);
  update public.credit_accounts as moved
     set balance_microusd = moved.balance_microusd + entry.amount_microusd,
         held_microusd = moved.held_microusd - released_microusd,
         debt_microusd = moved.debt_microusd - entry.debt_microusd,
         entry_count = moved.entry_count + 1,
         chain_hash = public.entry_hash(
           moved.chain_hash, entry, moved.entry_count + 1, moved.balance_microusd + entry.amount_microusd)
   where moved.user_id = entry.user_id
  returning * into account;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  entry.sequence := account.entry_count;
  entry.balance_after_microusd := account.balance_microusd;
  entry.hash := account.chain_hash;
  insert into public.credits_ledger (
    id, user_id, sequence, task_id, call_id, payment_id, type, amount_microusd, revenue_microusd, purchases_microusd,
    grants_microusd, write_off_microusd, debt_microusd, balance_after_microusd, idempotency_key, metadata, created_at, hash)
  values (
    entry.id, entry.user_id, entry.sequence, entry.task_id, entry.call_id, entry.payment_id, entry.type, entry.amount_microusd,
    entry.revenue_microusd, entry.purchases_microusd, entry.grants_microusd, entry.write_off_microusd,
    entry.debt_microusd, entry.balance_after_microusd, entry.idempotency_key, entry.metadata, entry.created_at, entry.hash);
  entry.amount := entry.amount_microusd / 10000.0;
end
$$;
revoke all on function public.record_entry from public, anon, authenticated;

-- supabase/schemas/credits/functions/redeem_promo_code.sql
-- Gives a user what a code is worth, once, however they spell their address; asking again answers the same entry. People
-- without a confirmed address get none, and are not told which codes there are: they could be any number of people.
create or replace function public.redeem_promo_code(for_user uuid, given_code text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  promo public.promo_codes;
  entry public.credits_ledger;
  repeated boolean;
  person_hash bytea;
begin
  select sha256(convert_to(public.address_key(email), 'UTF8')) into person_hash
    from auth.users
   where id = for_user and not coalesce(is_anonymous, false) and email_confirmed_at is not null;
  if person_hash is null then
    perform public.refuse('address_not_confirmed', 403);
  end if;
  select * into promo from public.promo_codes where code = upper(trim(given_code)) for no key update;
  if not found or promo.valid_from > now() then
    perform public.refuse('promo_code_not_found', 404);
  end if;
  select ledger.* into entry
    from public.promo_redemptions as redeemed join public.credits_ledger as ledger on ledger.id = redeemed.entry_id
   where redeemed.code = promo.code and redeemed.user_id = for_user;
  repeated := found;
  if not repeated then
    if promo.valid_until <= now() or promo.uses >= promo.max_uses then
      perform public.refuse('promo_code_ended', 409, jsonb_build_object(
        'reason', case when promo.valid_until <= now() then 'expired' else 'used_up' end));
    end if;
    if exists (select from public.promo_redemptions where code = promo.code and address_hash = person_hash) then
      perform public.refuse('promo_code_ended', 409, '{"reason": "address_used"}');
    end if;
    update public.promo_codes set uses = uses + 1 where code = promo.code;
    entry := public.add_credit(
      for_user, 'manual', promo.amount_microusd, format('promo:%s:%s', promo.code, for_user),
      jsonb_build_object('description', promo.description, 'promo_code', promo.code, 'actor', 'user'), null,
      now() + make_interval(days => promo.credit_days));
    insert into public.promo_redemptions (code, user_id, address_hash, entry_id)
    values (promo.code, for_user, person_hash, entry.id);
  end if;
  return jsonb_build_object(
    'success', true, 'code', promo.code, 'transaction', public.ledger_entry_summary(entry),
    'expires_at', (select expires_at from public.credit_grants where entry_id = entry.id),
    'deduplicated', repeated);
end
$$;
revoke all on function public.redeem_promo_code from public, anon, authenticated;
grant execute on function public.redeem_promo_code to service_role;

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
-- Holds so much more of an account, or refuses with 402. The condition is part of the update, so any number of racers
-- share one balance correctly. Credit whose time is over is not counted on.
create or replace function public.reserve_credit(for_user uuid, required_microusd bigint)
returns public.credit_accounts
language plpgsql set search_path = '' as $$
declare
  account public.credit_accounts;
  available bigint;
begin
  for attempt in 1..2 loop
    update public.credit_accounts as held
       set held_microusd = held.held_microusd + required_microusd
     where held.user_id = for_user
       and held.balance_microusd - held.held_microusd >= required_microusd
       and held.debt_microusd = 0
       and (held.next_expiry_at is null or held.next_expiry_at > now() or attempt = 2)
    returning * into account;
    if found then
      return account;
    end if;
    perform public.expire_grants(for_user);
  end loop;
  select * into account from public.credit_accounts as known where known.user_id = for_user;
  if account.debt_microusd > 0 then
    perform public.refuse('account_in_debt', 402, jsonb_build_object(
      'debt_credits', account.debt_microusd / 10000.0, 'debt_microusd', account.debt_microusd));
  end if;
  available := coalesce(account.balance_microusd - account.held_microusd, 0);
  perform public.refuse('insufficient_credits', 402, jsonb_build_object(
    'required_credits', required_microusd / 10000.0, 'available_credits', available / 10000.0,
    'required_microusd', required_microusd, 'available_microusd', available));
end
$$;
revoke all on function public.reserve_credit from public, anon, authenticated;

-- supabase/schemas/credits/functions/seconds_of_bound.sql
-- How many seconds of work a task's upper bound is of: the longest run that its type allowed when it was quoted, whatever the
-- operator allows since. A day, the longest of all, where seconds cost nothing; null where they cost so much that price_of_work()
-- stops counting.
create or replace function public.seconds_of_bound(upper_bound_microusd bigint, price public.task_type_prices, billed jsonb)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return case when price.billing_type = 'per_second' and upper_bound_microusd < 1e14 then
    least(round(upper_bound_microusd / nullif(price.price_microusd * public.price_multiplier(price, billed), 0)), 86400) end;
end
$$;
revoke all on function public.seconds_of_bound from public, anon, authenticated;

-- supabase/schemas/credits/functions/seconds_of_frames.sql
-- How many seconds of film some frames are, begun ones whole, at least one. They count at 16 frames a second, as providers bill them,
-- however fast the film is shown. The first frame begins the film and counts for nothing: models make 81 frames for five seconds.
create or replace function public.seconds_of_frames(frames numeric)
returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  return greatest(ceil((frames - 1) / 16), 1);
end
$$;
revoke all on function public.seconds_of_frames from public, anon, authenticated;

-- supabase/schemas/credits/functions/seconds_paid_by.sql
-- How many whole seconds of work an amount pays for at a price; null where seconds cost nothing, so that any amount pays
-- for all of them.
create or replace function public.seconds_paid_by(amount_microusd bigint, price public.task_type_prices, billed jsonb)
returns integer
language plpgsql stable set search_path = '' as $$
declare
  second_microusd constant numeric := price.price_microusd * public.price_multiplier(price, billed);
begin
  return case when price.billing_type = 'per_second' and second_microusd > 0
    then least(floor(amount_microusd / second_microusd), 86400)::integer end;
end
$$;
revoke all on function public.seconds_paid_by from public, anon, authenticated;

-- supabase/schemas/credits/functions/set_spend_cap.sql
-- Limits what a project, or a token, may spend in a calendar month (UTC); null lifts the limit. What it has spent and
-- holds this month counts. Open holds stay.
create or replace function public.set_spend_cap(
  for_user uuid, for_project uuid, for_token uuid, new_cap_microusd bigint
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  owner uuid;
  this_month constant date := public.spend_month(now());
  cap public.spend_caps;
begin
  if for_project is not null then
    select user_id into owner from public.projects where id = for_project and (for_user is null or user_id = for_user);
    if not found then
      perform public.refuse('project_not_found', 404);
    end if;
  else
    select user_id into owner from public.personal_access_tokens
     where id = for_token and revoked_at is null and (for_user is null or user_id = for_user);
    if not found then
      perform public.refuse('token_not_found', 404);
    end if;
  end if;
  -- Holds are opened and closed under this lock: none is missed, none counted twice.
  perform from public.credit_accounts where user_id = owner for no key update;
  delete from public.spend_caps where project_id = for_project or token_id = for_token;
  if new_cap_microusd is not null then
    insert into public.spend_caps (user_id, project_id, token_id, cap_microusd, month, committed_microusd)
    values (owner, for_project, for_token, new_cap_microusd, this_month,
            public.spent_in_month(for_project, for_token, this_month))
    returning * into cap;
  end if;
  update public.credit_accounts
     set has_spend_caps = exists (select from public.spend_caps where user_id = owner)
   where user_id = owner;
  return jsonb_build_object(
    'project_id', for_project, 'token_id', for_token,
    'cap_credits', cap.cap_microusd / 10000.0, 'cap_microusd', cap.cap_microusd,
    'month', this_month, 'committed_microusd', cap.committed_microusd);
end
$$;
revoke all on function public.set_spend_cap from public, anon, authenticated;
grant execute on function public.set_spend_cap to service_role;

-- supabase/schemas/credits/functions/show_balance.sql
-- Keeps `users.credits` (cents), which clients read, equal to the account; and asks for an automatic top-up where the
-- balance has fallen to its threshold.
create or replace function public.show_balance()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  is_low boolean;
begin
  update public.users set credits = new.balance_microusd / 10000.0 where id = new.user_id
  returning auto_topup_enabled and credits <= auto_topup_threshold into is_low;
  if is_low and new.balance_microusd < old.balance_microusd then
    perform public.request_auto_topup(new.user_id);
  end if;
  return null;
end
$$;
revoke all on function public.show_balance from public, anon, authenticated;

-- supabase/schemas/credits/functions/side_of_size.sql
-- A side of a size that was sent as two numbers; null for what is not a whole number.
create or replace function public.side_of_size(sent jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case when jsonb_typeof(sent) = 'number' and sent::numeric between 1 and 16384
    then trim_scale(sent::numeric)::text end;
end
$$;
revoke all on function public.side_of_size from public, anon, authenticated;

-- supabase/schemas/credits/functions/spelling_of_model.sql
-- A model's name without case and separators: "FLUX.1 [dev]", "flux_1-dev" and "flux 1 dev" are one name.
create or replace function public.spelling_of_model(name text)
returns text
language sql immutable set search_path = '' as $$
  select trim('-' from regexp_replace(lower(name), '[^a-z0-9]+', '-', 'g'))
$$;
revoke all on function public.spelling_of_model from public, anon, authenticated;

-- supabase/schemas/credits/functions/spend_month.sql
-- The first day of the month, in UTC, in which spend caps count something.
create or replace function public.spend_month(at timestamptz)
returns date
language plpgsql stable set search_path = '' as $$
begin
  return date_trunc('month', at at time zone 'UTC')::date;
end
$$;
revoke all on function public.spend_month from public, anon, authenticated;

-- supabase/schemas/credits/functions/spent_in_month.sql
-- What the holds of a project or a token, and a token's paid calls, that were opened in a month have spent, or still
-- hold.
create or replace function public.spent_in_month(for_project uuid, for_token uuid, for_month date)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  begins constant timestamptz := for_month::timestamp at time zone 'UTC';
  ends constant timestamptz := (for_month + interval '1 month') at time zone 'UTC';
begin
  return (
    select coalesce(sum(case when state = 'held' then amount_microusd else charged_microusd end), 0)
      from public.credit_holds
     where (project_id = for_project or token_id = for_token) and created_at >= begins and created_at < ends)
  + (select coalesce(sum(case when state = 'held' then amount_microusd else charged_microusd end), 0)
       from public.paid_calls
      where token_id = for_token and created_at >= begins and created_at < ends);
end
$$;
revoke all on function public.spent_in_month from public, anon, authenticated;

-- supabase/schemas/credits/functions/take_back_credit.sql
-- Takes back credit that was added, as a refund or a dispute does: what is available, the payment's own first, never
-- what is held. What was spent already becomes debt, which is collected as soon as something is available.
create or replace function public.take_back_credit(
  for_user uuid, entry_type public.ledger_entry_type, amount_microusd bigint,
  idempotency_key text, metadata jsonb default '{}', for_payment uuid default null
) returns public.credits_ledger
language plpgsql set search_path = '' as $$
declare
  available bigint;
  taken bigint;
  new_entry public.credits_ledger;
  recorded public.credits_ledger;
begin
  if take_back_credit.amount_microusd <= 0 then
    raise exception 'taking back % is taking back nothing', take_back_credit.amount_microusd;
  end if;
  -- Credit whose time is over is not there to be taken.
  perform public.expire_grants(user_id) from public.credit_accounts
    where user_id = for_user and next_expiry_at <= now();
  select balance_microusd - held_microusd into available
    from public.credit_accounts where user_id = for_user for no key update;
  taken := least(take_back_credit.amount_microusd, coalesce(available, 0));
  new_entry.user_id := for_user;
  new_entry.type := entry_type;
  new_entry.payment_id := for_payment;
  new_entry.amount_microusd := -taken;
  new_entry.debt_microusd := taken - take_back_credit.amount_microusd;
  if for_payment is not null then
    new_entry.purchases_microusd := take_back_credit.amount_microusd;
  else
    new_entry.grants_microusd := take_back_credit.amount_microusd;
  end if;
  new_entry.idempotency_key := take_back_credit.idempotency_key;
  new_entry.metadata := take_back_credit.metadata;
  select (made.entry).* into recorded from public.record_entry(new_entry) as made;
  if taken > 0 then
    perform public.draw_grants(
      recorded,
      (select granted.id from public.credit_grants as granted
         join public.credits_ledger as added on added.id = granted.entry_id
        where granted.user_id = for_user and granted.is_open and added.payment_id = for_payment
        order by granted.id limit 1),
      paid_first => true);
  end if;
  return recorded;
end
$$;
revoke all on function public.take_back_credit from public, anon, authenticated;

-- supabase/schemas/credits/functions/take_free_calls.sql
-- Counts model calls that nobody pays for against the account's allowance of the day (UTC); 429 `free_allowance_used` when they
-- do not fit, and then none is counted. One row an account, so any number of racers share one allowance.
create or replace function public.take_free_calls(for_user uuid, model_calls integer)
returns void
language plpgsql set search_path = '' as $$
declare
  allowance constant integer := (select free_calls_per_day from public.credit_settings);
  today constant date := (now() at time zone 'UTC')::date;
begin
  if allowance is null or model_calls = 0 then
    return;
  end if;
  if model_calls <= allowance then
    insert into public.free_calls as used (user_id, day, calls) values (for_user, today, model_calls)
    on conflict (user_id) do update
      set day = excluded.day,
          calls = excluded.calls + case when used.day = excluded.day then used.calls else 0 end
      where excluded.calls + case when used.day = excluded.day then used.calls else 0 end <= allowance;
    if found then
      return;
    end if;
  end if;
  perform public.refuse('free_allowance_used', 429, jsonb_build_object(
    'limit', allowance, 'required', model_calls,
    'remaining', allowance - coalesce((select calls from public.free_calls where user_id = for_user and day = today), 0),
    'retry_after', ceil(extract(epoch from (today + 1)::timestamp at time zone 'UTC' - now()))));
end
$$;
revoke all on function public.take_free_calls from public, anon, authenticated;

-- supabase/schemas/credits/functions/tend_paid_calls.sql
-- Gives back what dead processes hold for calls, and forgets answers, with their keys, after seven days.
create or replace function public.tend_paid_calls(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' as $$
declare
  overdue record;
begin
  for overdue in
    select id, user_id from public.paid_calls
     where state = 'held' and expires_at <= now() order by expires_at limit at_most
  loop
    -- One that is busy is looked at again the next time.
    perform from public.credit_accounts where user_id = overdue.user_id for no key update skip locked;
    if found then
      perform public.close_paid_call(overdue.id, 0);
    end if;
  end loop;
  update public.paid_calls set answer = null, idempotency_key = null, content_hash = null
   where id in (select id from public.paid_calls
                 where answer is not null and closed_at < now() - interval '7 days'
                 order by closed_at limit at_most for no key update skip locked);
end
$$;
revoke all on function public.tend_paid_calls from public, anon, authenticated;
grant execute on function public.tend_paid_calls to service_role;

-- supabase/schemas/credits/functions/verify_ledger.sql
-- The part of doctor() that is about the books alone; for operators with the database's own password.
create or replace function public.verify_ledger(at_most integer default 1000)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  faults jsonb;
  found_faults bigint;
begin
  select coalesce(jsonb_agg(to_jsonb(listed) - 'position') filter (where position <= at_most), '[]'), count(*)
    into faults, found_faults
    from (select 'credits' as room, fault.*, row_number() over () as position
            from public.find_ledger_faults() as fault) as listed;
  return jsonb_build_object(
    'healthy', found_faults = 0, 'checked_at', clock_timestamp(), 'fault_count', found_faults, 'faults', faults,
    'accounts', (select count(*) from public.credit_accounts),
    'entries', (select count(*) from public.credits_ledger),
    'chain_digest', public.ledger_digest());
end
$$;
revoke all on function public.verify_ledger from public, anon, authenticated;

-- supabase/schemas/credits/functions/welcome_bonus_refusal.sql
-- Why this person gets no welcome bonus; null when there is no reason. One bonus is for one person with a mailbox: the address
-- is confirmed and, but for a local host or where the operator decided otherwise, proven; no spelling of it had one; and neither
-- its domain nor its network nor the day is a source of any number of them.
create or replace function public.welcome_bonus_refusal(for_user uuid)
returns text
language plpgsql stable set search_path = '' as $$
declare
  person auth.users;
  settings public.credit_settings;
  network text;
begin
  if exists (select from public.welcome_bonuses where user_id = for_user) then
    return 'already_granted';
  end if;
  select * into person from auth.users where id = for_user;
  select * into settings from public.credit_settings;
  network := public.network_of_person(for_user);
  return case
    when settings.welcome_bonus_microusd = 0 then 'no_bonus'
    when coalesce(person.is_anonymous, false) or person.email is null then 'anonymous'
    when person.email_confirmed_at is null then 'address_not_confirmed'
    when settings.welcome_bonus_needs_proven_address and not settings.is_local_host
         and not public.address_is_proven(person) then 'address_not_proven'
    when exists (select from public.welcome_bonuses
                  where address_hash = sha256(convert_to(public.address_key(person.email), 'UTF8'))) then 'address_used'
    when not public.is_shared_mail_host(person.email)
         and settings.welcome_bonuses_per_domain_and_day <= (
           select count(*) from public.welcome_bonuses
            where domain = public.mail_domain(person.email) and created_at > now() - interval '1 day')
      then 'domain_limit'
    when settings.welcome_bonuses_per_network_and_day is not null and network is null then 'network_unknown'
    -- Whoever tries a local host out signs up more than once: each example makes a person of its own.
    when greatest(settings.welcome_bonuses_per_network_and_day, case when settings.is_local_host then 20 end) <= (
           select count(*) from public.welcome_bonuses
            where network_hash = sha256(convert_to(network, 'UTF8')) and created_at > now() - interval '1 day')
      then 'network_limit'
    when settings.welcome_bonuses_per_day <= (
           select count(*) from public.welcome_bonuses where created_at > now() - interval '1 day')
      then 'day_limit' end;
end
$$;
revoke all on function public.welcome_bonus_refusal from public, anon, authenticated;

-- supabase/schemas/credits/functions/with_billed_part.sql
-- The billed values of an orchestration with those of some more of its children: by their type, with how many there are (`tasks`).
-- Where children of one type differ, `groups` lists them apart.
create or replace function public.with_billed_part(billed jsonb, child_type text, part jsonb, part_count integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  known constant jsonb := billed -> child_type;
  tasks constant integer := part_count + coalesce((known ->> 'tasks')::integer, 0);
begin
  return billed || jsonb_build_object(child_type, case
    when known is null or not known ? 'groups' and known - 'tasks' = part then part || jsonb_build_object('tasks', tasks)
    else jsonb_build_object('tasks', tasks, 'groups',
      coalesce(known -> 'groups', jsonb_build_array(known)) || jsonb_build_array(part || jsonb_build_object('tasks', part_count))) end);
end
$$;
revoke all on function public.with_billed_part from public, anon, authenticated;

-- supabase/schemas/billing/functions/auto_topup_retry_delay.sql
-- How long until a charge is tried again: half a minute, doubled up to an hour, with some chance so that what failed
-- together does not return together. All tries with Stripe's key lie well within the day that Stripe remembers it.
create or replace function public.auto_topup_retry_delay(attempts integer)
returns interval
language plpgsql volatile set search_path = '' as $$
begin
  return least(interval '30 seconds' * power(2, least(attempts, 10) - 1), interval '1 hour') * (0.75 + random() / 2);
end
$$;
revoke all on function public.auto_topup_retry_delay from public, anon, authenticated;

-- supabase/schemas/billing/functions/checkout_summary.sql
-- A checkout as `stripe-checkout` goes on with it. A page that ends within a minute counts as over.
create or replace function public.checkout_summary(checkout public.checkout_sessions, customer public.stripe_customers)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'request_id', checkout.request_id, 'session_id', checkout.id, 'url', checkout.url, 'status', checkout.status,
    'is_over', checkout.status = 'expired' or coalesce(checkout.expires_at <= now() + interval '1 minute', false),
    'renewals', checkout.renewals, 'success_url', checkout.success_url, 'user_id', checkout.user_id,
    'customer', to_jsonb(customer));
end
$$;
revoke all on function public.checkout_summary from public, anon, authenticated;

-- supabase/schemas/billing/functions/claim_auto_topups.sql
-- Gives whoever charges the requests that are due, or those of one user: at most so many.
-- Guarantees: nothing is given to two within the lease, after which the first has died. A request that was never
-- tried and is not wanted any more (switched off, another card) is cancelled. `look_up` says that nothing more may be
-- charged: it was tried as often as makes sense, or is not wanted any more, so only what became of it is to be found.
create or replace function public.claim_auto_topups(at_most integer, for_user uuid default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  lease constant interval := '3 minutes';
  claimed jsonb;
begin
  with due as (
    select request.id, (account.auto_topup_enabled and customer.payment_method_id = request.payment_method_id)
             is not true as unwanted
      from public.auto_topup_requests as request
      left join public.users as account on account.id = request.user_id
      left join public.stripe_customers as customer on customer.user_id = request.user_id
     where request.state = 'requested' and request.next_attempt_at <= now()
       and (claim_auto_topups.for_user is null or request.user_id = claim_auto_topups.for_user)
     order by request.next_attempt_at limit at_most
       for no key update of request skip locked
  ), cancelled as (
    update public.auto_topup_requests as request
       set state = 'cancelled', reason = 'not_wanted', closed_at = now(), next_attempt_at = null
      from due where request.id = due.id and due.unwanted and request.attempts = 0
  ), taken as (
    update public.auto_topup_requests as request
       set claim_id = gen_random_uuid(), next_attempt_at = now() + lease, attempts = request.attempts + 1
      from due where request.id = due.id and not (due.unwanted and request.attempts = 0)
    returning request.*, due.unwanted or request.attempts > 6 as look_up
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', taken.id, 'claim_id', taken.claim_id, 'user_id', taken.user_id, 'amount_cents', taken.amount_cents,
           'balance_cents', taken.balance_cents, 'customer_id', taken.customer_id,
           'payment_method_id', taken.payment_method_id, 'payment_intent_id', taken.payment_intent_id,
           'look_up', taken.look_up, 'created_at', taken.created_at)), '[]')
    into claimed from taken;
  return claimed;
end
$$;
revoke all on function public.claim_auto_topups from public, anon, authenticated;
grant execute on function public.claim_auto_topups to service_role;

-- supabase/schemas/billing/functions/claim_stripe_events.sql
-- Gives maintenance the events that are due: those that were stored and not handled, and those whose card could not be
-- saved. At most so many, the longest due first, as {id, body}.
-- Guarantees: an event is not given out again before its next attempt is due. After 48 attempts, two days, an event that
-- could not be handled is quarantined, and either kind raises an alert.
create or replace function public.claim_stripe_events(at_most integer)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  most_attempts constant integer := 48;
  event public.stripe_events;
  claimed jsonb := '[]';
begin
  for event in
    select * from public.stripe_events where retry_at <= now() order by retry_at limit at_most
       for no key update skip locked
  loop
    if event.attempts < most_attempts then
      update public.stripe_events
         set attempts = attempts + 1, retry_at = now() + public.stripe_event_retry_delay(attempts + 1)
       where id = event.id;
      claimed := claimed || jsonb_build_object('id', event.id, 'body', event.body);
      continue;
    end if;
    perform public.quarantine_payment(
      coalesce(event.payment_intent_id, event.id),
      case event.state when 'received' then 'handling_failed' else 'card_not_saved' end,
      jsonb_build_object('event_id', event.id, 'type', event.type, 'last_failure', event.reason));
    if event.state = 'received' then
      update public.stripe_events
         set state = 'quarantined', reason = 'handling_failed', handled_at = now(), retry_at = null where id = event.id;
    else
      update public.stripe_events set retry_at = null where id = event.id;
    end if;
  end loop;
  return claimed;
end
$$;
revoke all on function public.claim_stripe_events from public, anon, authenticated;
grant execute on function public.claim_stripe_events to service_role;

-- supabase/schemas/billing/functions/close_payment_request.sql
-- What was asked for is paid. After the credit, for an account is locked before its person.
create or replace function public.close_payment_request(told jsonb, payment_intent_id text)
returns void
language plpgsql set search_path = '' as $$
begin
  if told ->> 'purpose' = 'auto_topup' then
    perform public.record_auto_topup((told ->> 'request_id')::uuid, 'succeeded', payment_intent_id);
  else
    update public.checkout_sessions
       set status = 'complete',
           -- Where our own note of Stripe's answer was lost.
           id = coalesce(id, told ->> 'session_id'), url = coalesce(url, ''), expires_at = coalesce(expires_at, now())
     where request_id = (told ->> 'request_id')::uuid and status <> 'complete'
       and (id is not null or told ->> 'session_id' is not null);
  end if;
end
$$;
revoke all on function public.close_payment_request from public, anon, authenticated;

-- supabase/schemas/billing/functions/confirm_checkout.sql
-- Records what Stripe says of a user's own checkout, and answers whether its credit is there.
create or replace function public.confirm_checkout(for_user uuid, session_id text, facts jsonb)
returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform public.find_checkout(for_user, session_id);
  if facts is not null then
    perform public.record_payment(facts, clock_timestamp());
  end if;
  return jsonb_build_object(
    'credited', exists (
      select from public.payments as payment
        join public.checkout_sessions as session on session.request_id = payment.request_id
       where session.id = session_id and payment.user_id = for_user and payment.state = 'paid'),
    'credits', (select balance_microusd / 10000.0 from public.credit_accounts where user_id = for_user));
end
$$;
revoke all on function public.confirm_checkout from public, anon, authenticated;
grant execute on function public.confirm_checkout to service_role;

-- supabase/schemas/billing/functions/count_billing_alerts.sql
-- How many billing alerts are open, by reason: {reason: count}.
create or replace function public.count_billing_alerts()
returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_object_agg(reason, alerts order by reason), '{}')
    from (select reason, count(*) as alerts from public.billing_alerts where state = 'open' group by reason) as counted
$$;
revoke all on function public.count_billing_alerts from public, anon, authenticated;

-- supabase/schemas/billing/functions/credit_payment.sql
-- Brings the ledger up to what a payment is worth: adds what is missing, takes back what is too much, which the statement
-- calls by its cause, `refund` or `dispute`. The caller holds the payment's lock.
-- Guarantees: who disputes a payment, or was given back all of an automatic one, is not charged automatically again
-- until they ask for it.
create or replace function public.credit_payment(for_intent text, cause public.ledger_entry_type)
returns void
language plpgsql set search_path = '' as $$
declare
  payment public.payments;
  worth bigint;
  difference bigint;
  entry_key text;
  metadata jsonb;
begin
  select * into payment from public.payments where payment_intent_id = for_intent;
  worth := public.worth_of_payment(payment);
  difference := worth - payment.credited_microusd;
  if difference = 0 then
    return;
  end if;
  entry_key := format('payment:%s:%s', payment.id, payment.entries + 1);
  metadata := jsonb_build_object(
    'payment_id', payment.id, 'stripe_payment_intent_id', payment.payment_intent_id, 'purpose', payment.purpose,
    'amount_paid', payment.amount_cents, 'currency', payment.currency, 'worth_microusd', worth,
    'dollar_amount', payment.amount_cents / 100.0)
    || coalesce((select jsonb_build_object('stripe_session_id', id) from public.checkout_sessions
                  where request_id = payment.request_id and id is not null), '{}');
  update public.payments
     set credited_microusd = worth, entries = entries + 1, updated_at = now() where id = payment.id;
  if difference > 0 then
    perform public.add_credit(
      payment.user_id,
      case when payment.entries > 0 then cause
           when payment.purpose = 'checkout' then 'stripe' else 'auto_topup' end,
      difference, entry_key, metadata, payment.id);
  else
    perform public.take_back_credit(payment.user_id, cause, -difference, entry_key, metadata, payment.id);
    -- After the account, whose lock comes first. A request that the lower balance has just made is cancelled when it is due.
    if cause = 'dispute' then
      perform public.disable_auto_topup(payment.user_id, 'payment_disputed');
    elsif worth = 0 and payment.purpose = 'auto_topup' then
      perform public.disable_auto_topup(payment.user_id, 'payment_refunded');
    end if;
  end if;
end
$$;
revoke all on function public.credit_payment from public, anon, authenticated;

-- supabase/schemas/billing/functions/disable_auto_topup.sql
-- Switches automatic top-ups off for a reason that will not pass by itself, and tells its owner. A declined card is
-- kept, for its owner may set it right; one that is gone is not.
create or replace function public.disable_auto_topup(for_user uuid, reason text)
returns void
language plpgsql set search_path = '' as $$
declare
  was_enabled boolean;
begin
  select auto_topup_enabled into was_enabled from public.users where id = for_user for no key update;
  update public.users
     set auto_topup_enabled = false,
         auto_topup_disabled_reason = case when was_enabled then reason else auto_topup_disabled_reason end,
         auto_topup_setup_completed = auto_topup_setup_completed and reason not in ('card_removed', 'customer_removed')
   where id = for_user;
  if was_enabled then
    perform public.tell_auto_topup(for_user, 'disabled', reason);
  end if;
end
$$;
revoke all on function public.disable_auto_topup from public, anon, authenticated;

-- supabase/schemas/billing/functions/dispute_rank.sql
-- Which of two words about a dispute, of the same second, is the later one.
create or replace function public.dispute_rank(status text)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when status like 'warning%' then 1 when status = 'needs_response' then 2 when status = 'under_review' then 3
    when status like 'appeal%' then 5 when status = 'won' then 6 else 4 end;
end
$$;
revoke all on function public.dispute_rank from public, anon, authenticated;

-- supabase/schemas/billing/functions/find_checkout.sql
-- Refuses a checkout that is not this user's; foreign and unknown are the same 404.
create or replace function public.find_checkout(for_user uuid, session_id text)
returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if not exists (select from public.checkout_sessions where id = session_id and user_id = for_user) then
    perform public.refuse('checkout_not_found', 404);
  end if;
end
$$;
revoke all on function public.find_checkout from public, anon, authenticated;
grant execute on function public.find_checkout to service_role;

-- supabase/schemas/billing/functions/find_payment_faults.sql
-- What is wrong with payments, from the tables alone: one row for each fault.
create or replace function public.find_payment_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with booked as (
    -- The customer's side and what they owe for it, without what was collected of a debt later.
    select entry.payment_id, count(*) as entries, -sum(entry.purchases_microusd) as credited
      from public.credits_ledger as entry where entry.payment_id is not null group by entry.payment_id
  )
  select 'payment_not_credited', payment.user_id, payment.payment_intent_id, jsonb_build_object(
         'worth_microusd', public.worth_of_payment(payment), 'credited_microusd', payment.credited_microusd,
         'booked_microusd', coalesce(booked.credited, 0))
    from public.payments as payment left join booked on booked.payment_id = payment.id
   where public.worth_of_payment(payment) <> payment.credited_microusd
      or payment.credited_microusd <> coalesce(booked.credited, 0)
      or payment.entries <> coalesce(booked.entries, 0)
  union all
  select 'entry_without_payment', entry.user_id, entry.id::text, jsonb_build_object('payment_id', entry.payment_id)
    from public.credits_ledger as entry
    left join public.payments as payment on payment.id = entry.payment_id and payment.user_id = entry.user_id
   where entry.type in ('stripe', 'auto_topup') and payment.id is null
      or entry.payment_id is not null and payment.id is null
  union all
  select 'paid_but_still_open', request.user_id, request.id::text, jsonb_build_object('state', request.state)
    from public.auto_topup_requests as request join public.payments as payment on payment.request_id = request.id
   where payment.state = 'paid' and request.state <> 'succeeded'
  union all
  select 'topped_up_without_payment', request.user_id, request.id::text, jsonb_build_object('payment_intent_id', request.payment_intent_id)
    from public.auto_topup_requests as request
   where request.state = 'succeeded' and request.closed_at < now() - interval '5 minutes'
     and not exists (select from public.payments as payment
                      where payment.request_id = request.id and payment.state = 'paid')
  union all
  select 'event_not_handled', null, event.id, jsonb_build_object('type', event.type, 'received_at', event.received_at)
    from public.stripe_events as event
   where event.state = 'received' and event.received_at < now() - interval '1 hour'
  union all
  select 'event_without_effect', null, event.id, jsonb_build_object('type', event.type)
    from public.stripe_events as event
   where event.state = 'handled' and event.payment_intent_id is not null
     and not exists (select from public.payments as payment where payment.payment_intent_id = event.payment_intent_id)
  union all
  select 'quarantined_without_alert', null, event.id, jsonb_build_object('type', event.type, 'reason', event.reason)
    from public.stripe_events as event
   where event.state = 'quarantined'
     and not exists (select from public.billing_alerts as alert
                      where alert.subject in (event.id, event.payment_intent_id) and alert.reason = event.reason)
$$;
revoke all on function public.find_payment_faults from public, anon, authenticated;

-- supabase/schemas/billing/functions/forget_payment_method.sql
-- A card that was detached at Stripe: automatic top-ups are switched off. Answers whether it was somebody's.
create or replace function public.forget_payment_method(payment_method_id text)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  owner constant uuid := (
    select customer.user_id from public.stripe_customers as customer
     where customer.payment_method_id = forget_payment_method.payment_method_id);
begin
  if owner is null then
    return false;
  end if;
  perform public.disable_auto_topup(owner, 'card_removed');
  update public.stripe_customers as customer set payment_method_id = null
   where customer.user_id = owner and customer.payment_method_id = forget_payment_method.payment_method_id;
  return found;
end
$$;
revoke all on function public.forget_payment_method from public, anon, authenticated;
grant execute on function public.forget_payment_method to service_role;

-- supabase/schemas/billing/functions/forget_stripe_customer.sql
-- A customer that Stripe does not know (any more), with the card that was saved: automatic top-ups are switched off,
-- and the next checkout makes another customer. Answers what that one is made with; null when it was unknown here too.
create or replace function public.forget_stripe_customer(customer_id text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  former public.stripe_customers;
begin
  select * into former from public.stripe_customers as customer
   where customer.customer_id = forget_stripe_customer.customer_id;
  if not found then
    return null;
  end if;
  perform public.disable_auto_topup(former.user_id, 'customer_removed');
  update public.stripe_customers as customer
     set customer_id = null, payment_method_id = null, creation_key = gen_random_uuid(),
         email = (select one.email from public.users as one where one.id = customer.user_id)
   where customer.user_id = former.user_id and customer.customer_id = former.customer_id
  returning * into former;
  return to_jsonb(former);
end
$$;
revoke all on function public.forget_stripe_customer from public, anon, authenticated;
grant execute on function public.forget_stripe_customer to service_role;

-- supabase/schemas/billing/functions/handle_other_event.sql
-- What events tell that are not about a payment: a checkout that expired, a card or a customer that is gone.
create or replace function public.handle_other_event(facts jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
begin
  if facts ? 'expired_session' then
    update public.checkout_sessions set status = 'expired'
     where id = facts ->> 'expired_session' and status = 'open';
  elsif facts ? 'detached_card' then
    perform public.forget_payment_method(facts ->> 'detached_card');
  elsif facts ? 'deleted_customer' then
    perform public.forget_stripe_customer(facts ->> 'deleted_customer');
  end if;
  return jsonb_build_object('state', 'handled');
end
$$;
revoke all on function public.handle_other_event from public, anon, authenticated;

-- supabase/schemas/billing/functions/handle_stripe_event.sql
-- Does what an event says, once: what it tells is recorded, and the event is marked in the same transaction. `facts` are
-- what record_payment() or handle_other_event() takes, null where the event is about nothing of ours. `refusal` is a
-- reason to quarantine the event; then `facts` only name its payment, and `details` say what is wrong.
-- Guarantee: values that the tables refuse quarantine the event. They undo nothing but this event's own writes.
-- Answers {state, reason?, card_wanted?}; card_wanted names the checkout whose card is to be saved.
create or replace function public.handle_stripe_event(
  event_id text, facts jsonb, refusal text default null, details jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  event public.stripe_events;
  subject text;
  outcome jsonb;
  card_wanted jsonb;
begin
  select * into event from public.stripe_events where id = event_id for no key update;
  if not found then
    raise exception 'event % was not stored', event_id;
  end if;
  if event.state in ('handled', 'ignored') then
    card_wanted := public.unkept_card(event.payment_intent_id);
    if event.retry_at is not null and card_wanted = '{}' then
      update public.stripe_events set retry_at = null where id = event.id;
    end if;
    return jsonb_build_object('state', event.state, 'reason', event.reason) || card_wanted;
  end if;
  event.payment_intent_id := coalesce(facts ->> 'payment_intent_id', event.payment_intent_id);
  subject := coalesce(event.payment_intent_id, event.id);
  details := jsonb_build_object('event_id', event.id, 'type', event.type) || details;
  begin
    outcome := case
      when refusal is not null then public.quarantine_payment(subject, refusal, details)
      when facts is null then jsonb_build_object('state', 'ignored', 'reason', 'of_no_interest')
      when not facts ? 'payment_intent_id' then public.handle_other_event(facts)
      else public.record_payment(
        facts, coalesce((facts ->> 'told_at')::timestamptz, event.event_created_at, event.received_at)) end;
  exception when data_exception or integrity_constraint_violation then
    outcome := public.quarantine_payment(
      subject, 'unreadable_event', details || jsonb_build_object('sqlstate', sqlstate));
  end;
  card_wanted := public.unkept_card(event.payment_intent_id);
  update public.stripe_events
     set state = (outcome ->> 'state')::public.stripe_event_state, reason = outcome ->> 'reason', handled_at = now(),
         payment_intent_id = event.payment_intent_id, attempts = 0,
         retry_at = case when card_wanted <> '{}' then now() + public.stripe_event_retry_delay(0) end
   where id = event.id;
  return outcome || card_wanted;
end
$$;
revoke all on function public.handle_stripe_event from public, anon, authenticated;
grant execute on function public.handle_stripe_event to service_role;

-- supabase/schemas/billing/functions/is_same_checkout.sql
-- Whether two checkouts are the same purchase, which comes back to the same pages.
create or replace function public.is_same_checkout(one public.checkout_sessions, other public.checkout_sessions)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return (one.user_id, one.amount_cents, one.success_url, one.cancel_url)
           = (other.user_id, other.amount_cents, other.success_url, other.cancel_url)
     and (one.auto_topup_amount_cents, one.auto_topup_threshold_cents, one.auto_topup_monthly_cap_cents)
           is not distinct from
         (other.auto_topup_amount_cents, other.auto_topup_threshold_cents, other.auto_topup_monthly_cap_cents);
end
$$;
revoke all on function public.is_same_checkout from public, anon, authenticated;

-- supabase/schemas/billing/functions/keep_auto_topup_whole.sql
-- What is on knows how much, from which balance and up to which sum a month. Not a check of the table, which would
-- be read anew whenever a balance changes.
create or replace function public.keep_auto_topup_whole()
returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.auto_topup_enabled and not coalesce(
       new.auto_topup_threshold < new.auto_topup_amount
       and new.auto_topup_monthly_cap >= new.auto_topup_amount, false) then
    raise exception using errcode = '23514', message = 'automatic top-ups need an amount, a lower threshold and a cap';
  end if;
  return new;
end
$$;
revoke all on function public.keep_auto_topup_whole from public, anon, authenticated;

-- supabase/schemas/billing/functions/list_billing_alerts.sql
-- What waits for somebody to look at it, the oldest first.
create or replace function public.list_billing_alerts(of_state public.alert_state default 'open', at_most integer default 100)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return jsonb_build_object('alerts', (
    select coalesce(jsonb_agg(to_jsonb(listed) order by listed.created_at, listed.id), '[]')
      from (select * from public.billing_alerts where state = of_state order by created_at, id limit at_most) as listed));
end
$$;
revoke all on function public.list_billing_alerts from public, anon, authenticated;
grant execute on function public.list_billing_alerts to service_role;

-- supabase/schemas/billing/functions/open_checkout.sql
-- A checkout as it is asked for: a new request, or the one that this call repeats. A repeat has the same key; without
-- a key, it is the same purchase within a minute (a double click) that is neither paid nor expired. A repeat whose page is
-- over says so (`is_over`); renew_checkout() then makes room for another page.
-- Guarantees: calls of one user follow each other, for the row of the customer is locked, so repeats find their first.
create or replace function public.open_checkout(
  for_user uuid, amount_cents integer, success_url text, cancel_url text,
  auto_topup_amount_cents integer default null, auto_topup_threshold_cents integer default null,
  auto_topup_monthly_cap_cents integer default null, idempotency_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
#variable_conflict use_column
declare
  customer public.stripe_customers;
  asked public.checkout_sessions;
  known public.checkout_sessions;
begin
  insert into public.stripe_customers (user_id, email)
  select one.id, one.email from public.users as one where one.id = for_user
      on conflict (user_id) do update set created_at = public.stripe_customers.created_at
  returning * into customer;
  if customer is null then
    perform public.refuse('user_not_found', 404);
  end if;
  asked.user_id := for_user;
  asked.amount_cents := open_checkout.amount_cents;
  asked.auto_topup_amount_cents := open_checkout.auto_topup_amount_cents;
  asked.auto_topup_threshold_cents := open_checkout.auto_topup_threshold_cents;
  asked.auto_topup_monthly_cap_cents :=
    coalesce(open_checkout.auto_topup_monthly_cap_cents, open_checkout.auto_topup_amount_cents * 10);
  asked.idempotency_key := open_checkout.idempotency_key;
  asked.success_url := open_checkout.success_url;
  asked.cancel_url := open_checkout.cancel_url;

  if asked.idempotency_key is not null then
    select * into known from public.checkout_sessions as one
     where one.user_id = for_user and one.idempotency_key = asked.idempotency_key;
    if found and not public.is_same_checkout(known, asked) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
  else
    select * into known from public.checkout_sessions as one
     where one.user_id = for_user and one.created_at > now() - interval '1 minute'
       and one.idempotency_key is null and one.status = 'open' and public.is_same_checkout(one, asked)
     order by one.created_at desc limit 1;
  end if;
  if known.request_id is null then
    insert into public.checkout_sessions
      (user_id, amount_cents, auto_topup_amount_cents, auto_topup_threshold_cents, auto_topup_monthly_cap_cents,
       idempotency_key, success_url, cancel_url)
    values (for_user, asked.amount_cents, asked.auto_topup_amount_cents, asked.auto_topup_threshold_cents,
            asked.auto_topup_monthly_cap_cents, asked.idempotency_key, asked.success_url, asked.cancel_url)
    returning * into known;
  end if;
  return public.checkout_summary(known, customer);
end
$$;
revoke all on function public.open_checkout from public, anon, authenticated;
grant execute on function public.open_checkout to service_role;

-- supabase/schemas/billing/functions/payment_misfit.sql
-- Why a payment is not what we asked for; null when it is. What we asked for is in our own rows; what the payment's
-- metadata say only names them.
create or replace function public.payment_misfit(for_payment uuid, told jsonb)
returns text
language plpgsql stable set search_path = '' as $$
declare
  asked record;
begin
  if told ->> 'purpose' = 'auto_topup' then
    select user_id, amount_cents into asked from public.auto_topup_requests
     where id = public.uuid_or_null(told ->> 'request_id');
  else
    select user_id, amount_cents into asked from public.checkout_sessions
     where request_id = public.uuid_or_null(told ->> 'request_id');
  end if;
  return case
    when asked.user_id is null then 'unknown_request'
    when told ->> 'currency' is distinct from 'usd' then 'wrong_currency'
    when public.uuid_or_null(told ->> 'user_id') is distinct from asked.user_id
         or not exists (select from public.credit_accounts where user_id = asked.user_id) then 'unknown_user'
    when (told ->> 'amount_cents')::bigint is distinct from asked.amount_cents then 'wrong_amount'
    when exists (select from public.payments
                  where request_id = (told ->> 'request_id')::uuid and id <> for_payment) then 'paid_twice'
    end;
end
$$;
revoke all on function public.payment_misfit from public, anon, authenticated;

-- supabase/schemas/billing/functions/postpone_stripe_event.sql
-- Notes why an event could not be handled now, such as a Stripe API that is down. Maintenance claims it when it is due.
create or replace function public.postpone_stripe_event(event_id text, reason text)
returns void
language plpgsql security definer set search_path = '' as $$
begin
  update public.stripe_events as event
     set reason = case event.state when 'received' then left(postpone_stripe_event.reason, 200) else event.reason end,
         retry_at = greatest(event.retry_at, now() + public.stripe_event_retry_delay(event.attempts))
   where event.id = event_id and event.retry_at is not null;
end
$$;
revoke all on function public.postpone_stripe_event from public, anon, authenticated;
grant execute on function public.postpone_stripe_event to service_role;

-- supabase/schemas/billing/functions/quarantine_payment.sql
-- Leaves something undone that does not fit, and says so once: an alert for each payment and reason. What somebody has
-- dismissed stays dismissed.
create or replace function public.quarantine_payment(subject text, reason text, details jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  select quarantine_payment.subject, quarantine_payment.reason, quarantine_payment.details
   where not exists (select from public.billing_alerts as known
                      where known.subject = quarantine_payment.subject and known.reason = quarantine_payment.reason
                        and known.state = 'dismissed')
  on conflict do nothing;
  return jsonb_build_object('state', 'quarantined', 'reason', quarantine_payment.reason);
end
$$;
revoke all on function public.quarantine_payment from public, anon, authenticated;

-- supabase/schemas/billing/functions/receive_stripe_event.sql
-- Stores an event, in a transaction of its own, before it is interpreted. Answers its state: `received` is still to be
-- handled, any other state says what became of an earlier delivery. An event that is stored is retried by maintenance
-- until it is handled or quarantined.
create or replace function public.receive_stripe_event(
  event_id text, event_type text, body text, livemode boolean default null, account text default null,
  api_version text default null, event_created_at timestamptz default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  stored public.stripe_events;
begin
  insert into public.stripe_events as known
    (id, type, livemode, account, api_version, body, event_created_at, retry_at)
  values (event_id, event_type, receive_stripe_event.livemode, receive_stripe_event.account,
          receive_stripe_event.api_version, receive_stripe_event.body, receive_stripe_event.event_created_at,
          now() + public.stripe_event_retry_delay(0))
  on conflict (id) do update set deliveries = known.deliveries + 1
  returning * into stored;
  return stored.state;
end
$$;
revoke all on function public.receive_stripe_event from public, anon, authenticated;
grant execute on function public.receive_stripe_event to service_role;

-- supabase/schemas/billing/functions/reconcile_payments.sql
-- Holds a page of what Stripe has against what is here, and sets right what is missing here, if told to. `told` are facts as
-- record_payment() takes them, with told_at, as of now.
-- Answers one row for each difference: {fault, subject, details, healed}. What was credited and is not so at Stripe is never
-- undone, but told.
create or replace function public.reconcile_payments(told jsonb, heal boolean)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  facts jsonb;
  payment public.payments;
  fault text;
  faults jsonb := '[]';
  missing text[];
  outcome jsonb;
begin
  for facts in select value from jsonb_array_elements(told) order by value ->> 'payment_intent_id' loop
    fault := null;
    select * into payment from public.payments where payment_intent_id = facts ->> 'payment_intent_id';
    if facts -> 'payment' ->> 'state' = 'paid' then
      update public.payments set reconciled_at = clock_timestamp() where id = payment.id;
      fault := case
        when payment.state is distinct from 'paid' then 'payment_not_recorded'
        when facts -> 'payment' ->> 'currency' = payment.currency
             and (facts -> 'payment' ->> 'amount_cents')::bigint <> payment.amount_cents then 'amount_differs' end;
    elsif facts ? 'payment' and payment.state = 'paid' then
      fault := 'not_paid_at_stripe';
    end if;
    -- Refunds and disputes of other things that the same account sells are nothing of ours.
    if fault is null and payment.id is not null then
      select array_agg(coalesce(refund ->> 'id', '')) into missing
        from jsonb_array_elements(coalesce(facts -> 'refunds', '[]')) as refund
        left join public.payment_refunds as known on known.id = refund ->> 'id'
       where (known.amount_cents, known.status) is distinct from ((refund ->> 'amount_cents')::integer, refund ->> 'status');
      fault := case when missing is not null then 'refund_not_recorded' end;
      if fault is null then
        select array_agg(coalesce(dispute ->> 'id', '')) into missing
          from jsonb_array_elements(coalesce(facts -> 'disputes', '[]')) as dispute
          left join public.payment_disputes as known on known.id = dispute ->> 'id'
         where (known.amount_cents, known.status) is distinct from ((dispute ->> 'amount_cents')::integer, dispute ->> 'status');
        fault := case when missing is not null then 'dispute_not_recorded' end;
      end if;
    end if;
    continue when fault is null;

    outcome := null;
    if fault in ('amount_differs', 'not_paid_at_stripe') then
      outcome := public.quarantine_payment(payment.payment_intent_id, fault, facts);
    elsif heal then
      outcome := public.record_payment(facts, (facts ->> 'told_at')::timestamptz);
      update public.payments set reconciled_at = clock_timestamp()
       where payment_intent_id = facts ->> 'payment_intent_id' and facts -> 'payment' ->> 'state' = 'paid';
    end if;
    faults := faults || jsonb_build_object(
      'fault', fault, 'subject', facts ->> 'payment_intent_id', 'healed', coalesce(outcome ->> 'state' = 'handled', false),
      'details', jsonb_strip_nulls(jsonb_build_object(
        'at_stripe', facts - array['payment_intent_id', 'told_at'], 'here', case when payment.id is not null then
          jsonb_build_object('state', payment.state, 'amount_cents', payment.amount_cents, 'user_id', payment.user_id) end,
        'missing', missing, 'reason', outcome ->> 'reason')));
    missing := null;
  end loop;
  return faults;
end
$$;
revoke all on function public.reconcile_payments from public, anon, authenticated;
grant execute on function public.reconcile_payments to service_role;

-- supabase/schemas/billing/functions/record_auto_topup.sql
-- Notes what came of charging a request; answers its state.
--   succeeded  paid by this intent
--   declined   the card will not do; automatic top-ups are switched off for this reason
--   failed     nothing was paid, another may be tried at the next occasion
--   pending    not known yet, or to be tried again after a while
-- Guarantees: that it was paid is noted whoever says so, also after it was given up; anything else only by the claim
-- that is current. The same twice changes nothing.
create or replace function public.record_auto_topup(
  for_request uuid, outcome text, payment_intent_id text default null, reason text default null,
  for_claim uuid default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  request public.auto_topup_requests;
  owner uuid;
begin
  -- The person before the request, as where a balance falls.
  select one.user_id into owner from public.auto_topup_requests as one where one.id = for_request;
  perform from public.users as account where account.id = owner for no key update;
  select * into request from public.auto_topup_requests as one where one.id = for_request for no key update;
  if not found or request.state = 'succeeded' then
    return request.state;
  end if;
  if outcome = 'succeeded' then
    update public.auto_topup_requests as one
       set state = 'succeeded', payment_intent_id = record_auto_topup.payment_intent_id, reason = null,
           closed_at = now(), next_attempt_at = null, claim_id = null
     where one.id = for_request;
    perform public.tell_auto_topup(request.user_id, 'succeeded', null, request.amount_cents);
    return 'succeeded';
  end if;
  if request.state <> 'requested' or request.claim_id is distinct from for_claim then
    return request.state;
  end if;
  if outcome = 'pending' then
    update public.auto_topup_requests as one
       set payment_intent_id = coalesce(record_auto_topup.payment_intent_id, one.payment_intent_id),
           reason = record_auto_topup.reason, claim_id = null,
           next_attempt_at = now() + public.auto_topup_retry_delay(one.attempts)
     where one.id = for_request;
    return 'requested';
  end if;
  update public.auto_topup_requests as one
     set state = outcome::public.auto_topup_state, reason = record_auto_topup.reason, claim_id = null,
         payment_intent_id = coalesce(record_auto_topup.payment_intent_id, one.payment_intent_id),
         closed_at = now(), next_attempt_at = null
   where one.id = for_request;
  if outcome = 'declined' then
    perform public.disable_auto_topup(request.user_id, record_auto_topup.reason);
  else
    perform public.tell_auto_topup(request.user_id, 'failed', record_auto_topup.reason, request.amount_cents);
  end if;
  return outcome;
end
$$;
revoke all on function public.record_auto_topup from public, anon, authenticated;
grant execute on function public.record_auto_topup to service_role;

-- supabase/schemas/billing/functions/record_checkout_session.sql
-- Notes the session that Stripe made of a request. Answers the one to use: the first noted wins.
create or replace function public.record_checkout_session(
  for_request uuid, session_id text, url text, expires_at timestamptz
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  known public.checkout_sessions;
begin
  update public.checkout_sessions as session
     set id = record_checkout_session.session_id, url = record_checkout_session.url,
         expires_at = record_checkout_session.expires_at
   where session.request_id = for_request and session.id is null;
  select * into known from public.checkout_sessions as session where session.request_id = for_request;
  return jsonb_build_object('session_id', known.id, 'url', known.url, 'status', known.status);
end
$$;
revoke all on function public.record_checkout_session from public, anon, authenticated;
grant execute on function public.record_checkout_session to service_role;

-- supabase/schemas/billing/functions/record_payment.sql
-- The one writer of payments, for events, the runner of automatic top-ups and the reconciler alike: adds what is told of a
-- payment to what is known, and brings the ledger up to it.
-- `facts`: {payment_intent_id, payment?: {state, amount_cents, currency, user_id, purpose, request_id, session_id},
-- refunds?: [{id, amount_cents, currency, status, told_at?}], disputes?: the same}; told_at is when that was so.
-- Guarantees: in any order and however often, the same facts come to the same state; a payment that does not fit what
-- was asked for credits nothing. Refunds and disputes in another currency are never counted as cents of ours.
-- Locks: the payment, the account, the person.
create or replace function public.record_payment(facts jsonb, told_at timestamptz)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  told constant jsonb := facts -> 'payment';
  payment public.payments;
  misfit text;
begin
  if exists (
    select from jsonb_array_elements(coalesce(facts -> 'refunds', '[]') || coalesce(facts -> 'disputes', '[]')) as taken
     where taken ->> 'currency' <> 'usd') then
    -- Of a payment that is not ours they are nothing of ours.
    if exists (select from public.payments as known
                where known.payment_intent_id = facts ->> 'payment_intent_id' and known.user_id is not null) then
      return public.quarantine_payment(facts ->> 'payment_intent_id', 'wrong_currency', facts);
    end if;
    return jsonb_build_object('state', 'ignored', 'reason', 'of_no_interest');
  end if;
  insert into public.payments (payment_intent_id) values (facts ->> 'payment_intent_id')
  on conflict (payment_intent_id) do nothing;
  select * into payment from public.payments
   where payment_intent_id = facts ->> 'payment_intent_id' for no key update;

  insert into public.payment_refunds as known (id, payment_id, amount_cents, status, told_at)
  select refund ->> 'id', payment.id, (refund ->> 'amount_cents')::integer, refund ->> 'status',
         coalesce((refund ->> 'told_at')::timestamptz, record_payment.told_at)
    from jsonb_array_elements(coalesce(facts -> 'refunds', '[]')) as refund order by refund ->> 'id'
  on conflict (id) do update
    set amount_cents = excluded.amount_cents, status = excluded.status, told_at = excluded.told_at
    where (known.told_at, public.refund_rank(known.status), known.status, known.amount_cents)
        < (excluded.told_at, public.refund_rank(excluded.status), excluded.status, excluded.amount_cents);
  insert into public.payment_disputes as known (id, payment_id, amount_cents, status, told_at)
  select dispute ->> 'id', payment.id, (dispute ->> 'amount_cents')::integer, dispute ->> 'status',
         coalesce((dispute ->> 'told_at')::timestamptz, record_payment.told_at)
    from jsonb_array_elements(coalesce(facts -> 'disputes', '[]')) as dispute order by dispute ->> 'id'
  on conflict (id) do update
    set amount_cents = excluded.amount_cents, status = excluded.status, told_at = excluded.told_at
    where (known.told_at, public.dispute_rank(known.status), known.status, known.amount_cents)
        < (excluded.told_at, public.dispute_rank(excluded.status), excluded.status, excluded.amount_cents);

  if told is not null and payment.state <> 'paid' then
    misfit := public.payment_misfit(payment.id, told);
    if misfit is not null then
      -- Only who has paid has something to be sorted out.
      if told ->> 'state' <> 'paid' then
        return jsonb_build_object('state', 'ignored', 'reason', misfit);
      end if;
      return public.quarantine_payment(payment.payment_intent_id, misfit, facts);
    end if;
    begin
      update public.payments
         set user_id = (told ->> 'user_id')::uuid, purpose = (told ->> 'purpose')::public.payment_purpose,
             request_id = case when told ->> 'state' = 'paid' then (told ->> 'request_id')::uuid end, amount_cents = (told ->> 'amount_cents')::integer,
             state = (told ->> 'state')::public.payment_state,
             paid_at = case when told ->> 'state' = 'paid' then record_payment.told_at end, updated_at = now()
       where id = payment.id
         -- A late word of waiting undoes no failure; it may be tried again, and then it is paid.
         and not (payment.state = 'failed' and told ->> 'state' = 'pending');
    exception when unique_violation then
      -- Another payment of the same request, told at the same time.
      return public.quarantine_payment(payment.payment_intent_id, 'paid_twice', facts);
    end;
  elsif told ->> 'state' = 'paid' then
    -- Whoever tells it first, it was paid at the same time.
    update public.payments set paid_at = least(paid_at, record_payment.told_at) where id = payment.id;
  end if;
  perform public.credit_payment(
    payment.payment_intent_id, case when facts ? 'disputes' then 'dispute' else 'refund' end::public.ledger_entry_type);
  if told ->> 'state' = 'paid' then
    perform public.close_payment_request(told, facts ->> 'payment_intent_id');
    -- A customer who paid in a currency of their own: the intent names that currency, its session names ours.
    update public.billing_alerts as alert set state = 'released', note = 'settled by another event', closed_at = now()
     where alert.subject = facts ->> 'payment_intent_id' and alert.reason = 'wrong_currency' and alert.state = 'open'
       and alert.details ? 'payment';
  end if;
  return jsonb_build_object('state', 'handled');
end
$$;
revoke all on function public.record_payment from public, anon, authenticated;
grant execute on function public.record_payment to service_role;

-- supabase/schemas/billing/functions/refund_rank.sql
-- Which of two words about a refund, of the same second, is the later one.
create or replace function public.refund_rank(status text)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return case status when 'pending' then 1 when 'requires_action' then 2 when 'succeeded' then 3 else 4 end;
end
$$;
revoke all on function public.refund_rank from public, anon, authenticated;

-- supabase/schemas/billing/functions/renew_checkout.sql
-- Makes room for another page of a checkout whose page can no longer be paid: the caller has seen so at Stripe. Answers the
-- checkout as it is then, which another call may have renewed or finished before.
-- Guarantee: a page is replaced once, and never that of a checkout that is paid.
create or replace function public.renew_checkout(for_user uuid, for_request uuid, former_session text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  customer public.stripe_customers;
  checkout public.checkout_sessions;
begin
  -- The customer first, as where a checkout is opened.
  select * into customer from public.stripe_customers as known where known.user_id = for_user for no key update;
  select * into checkout from public.checkout_sessions as known
   where known.request_id = for_request and known.user_id = for_user for no key update;
  if not found then
    perform public.refuse('checkout_not_found', 404);
  end if;
  if checkout.id = former_session and checkout.status <> 'complete' then
    update public.checkout_sessions as known
       set id = null, url = null, expires_at = null, status = 'open', renewals = known.renewals + 1
     where known.request_id = for_request
    returning * into checkout;
  end if;
  return public.checkout_summary(checkout, customer);
end
$$;
revoke all on function public.renew_checkout from public, anon, authenticated;
grant execute on function public.renew_checkout to service_role;

-- supabase/schemas/billing/functions/report_ghost_payment.sql
-- A payment that was credited here and that Stripe does not know: told, never undone by itself.
create or replace function public.report_ghost_payment(for_intent text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  payment public.payments;
begin
  select * into payment from public.payments where payment_intent_id = for_intent;
  perform public.quarantine_payment(for_intent, 'unknown_at_stripe', to_jsonb(payment));
  return jsonb_build_object(
    'fault', 'unknown_at_stripe', 'subject', for_intent, 'healed', false, 'details', jsonb_build_object(
      'here', jsonb_build_object('state', payment.state, 'amount_cents', payment.amount_cents, 'user_id', payment.user_id)));
end
$$;
revoke all on function public.report_ghost_payment from public, anon, authenticated;
grant execute on function public.report_ghost_payment to service_role;

-- supabase/schemas/billing/functions/request_auto_topup.sql
-- Asks for an automatic top-up where one is due: called where a balance falls, in that transaction. Answers
-- `requested`, or why not.
-- Guarantees: never makes the change of the balance fail; a user has one open request at most, and one an hour; a
-- month's requests, those that failed left out, stay within its cap.
create or replace function public.request_auto_topup(for_user uuid)
returns text
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  account public.users;
  customer public.stripe_customers;
begin
  -- Locked already where a balance falls: users.credits is written with it.
  select * into account from public.users where id = for_user for no key update;
  if not found then
    return 'unknown_user';
  elsif not account.auto_topup_enabled then
    return 'not_enabled';
  elsif account.credits > account.auto_topup_threshold then
    return 'above_threshold';
  end if;
  select * into customer from public.stripe_customers as known where known.user_id = for_user;
  if customer.payment_method_id is null then
    return 'no_card';
  elsif account.auto_topup_last_triggered > now() - interval '1 hour'
        or exists (select from public.auto_topup_requests as request
                    where request.user_id = for_user and request.state = 'requested') then
    return 'rate_limited';
  end if;
  update public.users set auto_topup_last_triggered = now() where id = for_user;
  if public.topped_up_in_month(for_user) + account.auto_topup_amount > account.auto_topup_monthly_cap then
    perform public.tell_auto_topup(for_user, 'skipped', 'monthly_cap_reached', account.auto_topup_amount);
    return 'monthly_cap_reached';
  end if;
  insert into public.auto_topup_requests (user_id, amount_cents, balance_cents, customer_id, payment_method_id)
  values (for_user, account.auto_topup_amount, account.credits, customer.customer_id, customer.payment_method_id);
  return 'requested';
end
$$;
revoke all on function public.request_auto_topup from public, anon, authenticated;
grant execute on function public.request_auto_topup to service_role;

-- supabase/schemas/billing/functions/request_auto_topup_charges.sql
-- On Supabase, by pg_cron: has the function `trigger-auto-topup` charge what is due. Where nothing is, nothing happens.
create or replace function public.request_auto_topup_charges()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.auto_topup_requests where state = 'requested' and next_attempt_at <= now()) then
    perform public.call_edge_function('trigger-auto-topup');
  end if;
end
$$;
revoke all on function public.request_auto_topup_charges from public, anon, authenticated;

-- supabase/schemas/billing/functions/request_due_auto_topups.sql
-- Asks for a top-up for everybody who is due and was not noticed as their balance fell: a new month, or an hour after
-- the last. A page of users in the order of their ids; `next_after` is null on the last page.
create or replace function public.request_due_auto_topups(after_user uuid default null, page_size integer default 500)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  candidate record;
  outcomes jsonb := '[]';
  seen integer := 0;
  last_user uuid;
begin
  for candidate in
    select one.id, one.credits, one.auto_topup_threshold, one.auto_topup_setup_completed
      from public.users as one
     where one.auto_topup_enabled and one.id > coalesce(after_user, '00000000-0000-0000-0000-000000000000')
     order by one.id limit page_size
  loop
    seen := seen + 1;
    last_user := candidate.id;
    if candidate.auto_topup_setup_completed and candidate.credits <= candidate.auto_topup_threshold then
      outcomes := outcomes || jsonb_build_object(
        'user_id', candidate.id, 'outcome', public.request_auto_topup(candidate.id));
    end if;
  end loop;
  return jsonb_build_object('outcomes', outcomes, 'next_after', case when seen = page_size then last_user end);
end
$$;
revoke all on function public.request_due_auto_topups from public, anon, authenticated;
grant execute on function public.request_due_auto_topups to service_role;

-- supabase/schemas/billing/functions/request_reconciliation.sql
-- On Supabase, by pg_cron: has the function `reconcile-payments` look at the last days. Where nobody ever bought
-- anything, nothing happens.
create or replace function public.request_reconciliation()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.stripe_customers) then
    perform public.call_edge_function('reconcile-payments');
  end if;
end
$$;
revoke all on function public.request_reconciliation from public, anon, authenticated;

-- supabase/schemas/billing/functions/request_stripe_event_retries.sql
-- On Supabase, by pg_cron: has the function `reconcile-payments`, which begins with them, handle the events that are due.
-- Where none is, nothing happens.
create or replace function public.request_stripe_event_retries()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.stripe_events where retry_at <= now()) then
    perform public.call_edge_function('reconcile-payments');
  end if;
end
$$;
revoke all on function public.request_stripe_event_retries from public, anon, authenticated;

-- supabase/schemas/billing/functions/resolve_billing_alert.sql
-- An operator has looked at an alert. `retry` releases its events to be handled again, after what was wrong has been set
-- right; `dismiss` leaves them quarantined. Answers the alert and the events to handle again, as {id, body}.
create or replace function public.resolve_billing_alert(for_alert uuid, resolution text, note text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  alert public.billing_alerts;
  again text[] := '{}';
begin
  update public.billing_alerts as one
     set state = case resolution when 'retry' then 'released' else 'dismissed' end::public.alert_state,
         note = resolve_billing_alert.note, closed_at = now()
   where one.id = for_alert and one.state = 'open'
  returning * into alert;
  if not found then
    perform public.refuse('alert_not_found', 404);
  end if;
  if resolution = 'retry' then
    with released as (
      update public.stripe_events as event
         set state = case event.state when 'quarantined' then 'received' else event.state end,
             reason = case event.state when 'quarantined' then null else event.reason end,
             handled_at = case event.state when 'quarantined' then null else event.handled_at end,
             attempts = 0, retry_at = now() + public.stripe_event_retry_delay(0)
       where alert.subject in (event.id, event.payment_intent_id)
         and (event.state = 'quarantined' or event.state = 'handled' and alert.reason = 'card_not_saved')
      returning event.id, event.event_created_at
    )
    select coalesce(array_agg(released.id order by released.event_created_at, released.id), '{}') into again from released;
  end if;
  return jsonb_build_object(
    'alert', to_jsonb(alert), 'events', (
      select coalesce(jsonb_agg(jsonb_build_object('id', event.id, 'body', event.body)
               order by event.event_created_at, event.id), '[]')
        from public.stripe_events as event where event.id = any (again)));
end
$$;
revoke all on function public.resolve_billing_alert from public, anon, authenticated;
grant execute on function public.resolve_billing_alert to service_role;

-- supabase/schemas/billing/functions/save_payment_method.sql
-- Keeps the card that was saved when a checkout was paid, and switches automatic top-ups on as that checkout asked, once.
-- For a customer that is not this user's, or a checkout older than the one of the card that is kept, nothing changes.
-- Answers whether the card is the one that is kept now.
create or replace function public.save_payment_method(
  for_user uuid, customer_id text, payment_method_id text, for_session text default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  kept public.stripe_customers;
  asked public.checkout_sessions;
begin
  -- The person first: their balance, and so their account, may be locked by whoever asks for a top-up.
  perform from public.users as one where one.id = for_user for no key update;
  if not found then
    return false;
  end if;
  insert into public.stripe_customers (user_id, customer_id) values (for_user, save_payment_method.customer_id)
      on conflict (user_id) do update set customer_id = coalesce(public.stripe_customers.customer_id, excluded.customer_id)
  returning * into kept;
  if kept.customer_id <> save_payment_method.customer_id then
    return false;
  end if;
  select * into asked from public.checkout_sessions as session
   where session.id = for_session and session.user_id = for_user for no key update;
  if coalesce(asked.created_at, now()) < kept.card_asked_for_at then
    return kept.payment_method_id = save_payment_method.payment_method_id;
  end if;
  update public.stripe_customers as customer
     set payment_method_id = save_payment_method.payment_method_id, card_asked_for_at = coalesce(asked.created_at, now())
   where customer.user_id = for_user;
  update public.users set auto_topup_setup_completed = true where id = for_user and not auto_topup_setup_completed;
  if asked.auto_topup_amount_cents is not null and asked.auto_topup_applied_at is null then
    update public.checkout_sessions set auto_topup_applied_at = now() where request_id = asked.request_id;
    update public.users
       set auto_topup_enabled = true, auto_topup_amount = asked.auto_topup_amount_cents,
           auto_topup_threshold = asked.auto_topup_threshold_cents,
           auto_topup_monthly_cap = asked.auto_topup_monthly_cap_cents, auto_topup_disabled_reason = null
     where id = for_user;
  end if;
  return true;
end
$$;
revoke all on function public.save_payment_method from public, anon, authenticated;
grant execute on function public.save_payment_method to service_role;

-- supabase/schemas/billing/functions/save_stripe_customer.sql
-- Notes the customer that Stripe made for this key. Answers the one to use: the first noted wins.
create or replace function public.save_stripe_customer(for_user uuid, for_creation uuid, customer_id text)
returns text
language plpgsql security definer set search_path = '' as $$
declare
  known public.stripe_customers;
begin
  update public.stripe_customers as customer set customer_id = save_stripe_customer.customer_id
   where customer.user_id = for_user and customer.creation_key = for_creation and customer.customer_id is null;
  select * into known from public.stripe_customers as customer where customer.user_id = for_user;
  return known.customer_id;
end
$$;
revoke all on function public.save_stripe_customer from public, anon, authenticated;
grant execute on function public.save_stripe_customer to service_role;

-- supabase/schemas/billing/functions/setup_auto_topup.sql
-- Switches automatic top-ups on or off. Off keeps the card. On at a balance that is low already asks for one at once.
-- Without a cap, the one before stays, if it still covers a payment; else ten payments a month.
create or replace function public.setup_auto_topup(
  for_user uuid, enabled boolean, amount_cents integer default null, threshold_cents integer default null,
  monthly_cap_cents integer default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  account public.users;
begin
  select * into account from public.users where id = for_user for no key update;
  if not found then
    perform public.refuse('user_not_found', 404);
  end if;
  update public.users
     set auto_topup_enabled = setup_auto_topup.enabled,
         auto_topup_amount = case when setup_auto_topup.enabled then setup_auto_topup.amount_cents end,
         auto_topup_threshold = case when setup_auto_topup.enabled then setup_auto_topup.threshold_cents end,
         auto_topup_monthly_cap = case
           when not setup_auto_topup.enabled then auto_topup_monthly_cap
           when setup_auto_topup.monthly_cap_cents is not null then setup_auto_topup.monthly_cap_cents
           when auto_topup_monthly_cap >= setup_auto_topup.amount_cents then auto_topup_monthly_cap
           else setup_auto_topup.amount_cents * 10 end,
         auto_topup_disabled_reason = null
   where id = for_user
  returning * into account;
  if account.auto_topup_enabled then
    perform public.request_auto_topup(for_user);
  end if;
  return jsonb_build_object(
    'success', true,
    'message', case when account.auto_topup_enabled then 'Auto-top-up enabled' else 'Auto-top-up disabled' end,
    'auto_topup_enabled', account.auto_topup_enabled,
    'auto_topup_amount', account.auto_topup_amount,
    'auto_topup_threshold', account.auto_topup_threshold,
    'auto_topup_monthly_cap', account.auto_topup_monthly_cap,
    'auto_topup_setup_completed', account.auto_topup_setup_completed);
end
$$;
revoke all on function public.setup_auto_topup from public, anon, authenticated;
grant execute on function public.setup_auto_topup to service_role;

-- supabase/schemas/billing/functions/stripe_event_retry_delay.sql
-- How long until an event is interpreted again: a minute, doubled up to an hour. 48 attempts take two days.
create or replace function public.stripe_event_retry_delay(attempts integer)
returns interval
language sql immutable set search_path = '' as $$
  select least(interval '1 minute' * power(2, least(greatest(attempts, 0), 10)), interval '1 hour')
$$;
revoke all on function public.stripe_event_retry_delay from public, anon, authenticated;

-- supabase/schemas/billing/functions/tell_auto_topup.sql
-- Tells a person's browsers what came of an automatic top-up.
create or replace function public.tell_auto_topup(
  for_user uuid, status text, reason text default null, amount_cents integer default null
) returns void
language plpgsql set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object('user_id', for_user, 'status', status, 'reason', reason, 'amount', amount_cents),
    'auto_topup', 'credits:' || for_user, true);
end
$$;
revoke all on function public.tell_auto_topup from public, anon, authenticated;

-- supabase/schemas/billing/functions/topped_up_in_month.sql
-- What automatic top-ups have cost in this calendar month (UTC), in US cents: those paid, and the open one.
create or replace function public.topped_up_in_month(for_user uuid)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (
    select coalesce(sum(request.amount_cents), 0)
      from public.auto_topup_requests as request
     where request.user_id = for_user and request.state in ('requested', 'succeeded')
       and request.created_at >= date_trunc('month', now(), 'UTC'));
end
$$;
revoke all on function public.topped_up_in_month from public, anon, authenticated;

-- supabase/schemas/billing/functions/unhandled_stripe_events.sql
-- Events that were stored more than a minute ago and not handled: the oldest, as {id, type, body}.
create or replace function public.unhandled_stripe_events(at_most integer)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object('id', waiting.id, 'type', waiting.type, 'body', waiting.body)
             order by waiting.received_at, waiting.id), '[]')
      from (select id, type, body, received_at from public.stripe_events
             where state = 'received' and received_at < now() - interval '1 minute'
             order by received_at, id limit at_most) as waiting);
end
$$;
revoke all on function public.unhandled_stripe_events from public, anon, authenticated;
grant execute on function public.unhandled_stripe_events to service_role;

-- supabase/schemas/billing/functions/unkept_card.sql
-- The paid checkout of a payment that asked for automatic top-ups and whose card is not kept yet; else nothing.
create or replace function public.unkept_card(payment_intent_id text)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return coalesce((
    select jsonb_build_object('card_wanted', jsonb_build_object('session_id', session.id, 'user_id', session.user_id))
      from public.payments as payment
      join public.checkout_sessions as session on session.request_id = payment.request_id
     where payment.payment_intent_id = unkept_card.payment_intent_id and payment.state = 'paid'
       and session.auto_topup_amount_cents is not null and session.auto_topup_applied_at is null), '{}');
end
$$;
revoke all on function public.unkept_card from public, anon, authenticated;

-- supabase/schemas/billing/functions/unseen_payments.sql
-- Payments of a window that a run of the reconciler, which began at `seen_since`, has not seen at Stripe: a page of their
-- intents, in order.
create or replace function public.unseen_payments(
  from_time timestamptz, to_time timestamptz, seen_since timestamptz, after_intent text, at_most integer
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select coalesce(jsonb_agg(unseen.payment_intent_id order by unseen.payment_intent_id), '[]')
      from (select payment_intent_id from public.payments
             where state = 'paid' and paid_at >= from_time and paid_at < to_time
               and (reconciled_at is null or reconciled_at < seen_since)
               and (after_intent is null or payment_intent_id > after_intent)
             order by payment_intent_id limit at_most) as unseen);
end
$$;
revoke all on function public.unseen_payments from public, anon, authenticated;
grant execute on function public.unseen_payments to service_role;

-- supabase/schemas/billing/functions/worth_of_payment.sql
-- What a payment is worth now: what was paid, without what was given back or is disputed; never below nothing. What Stripe
-- calls by a word that is not known here counts as given back.
create or replace function public.worth_of_payment(payment public.payments)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  if payment.state <> 'paid' then
    return 0;
  end if;
  return 10000 * greatest(payment.amount_cents
    - (select coalesce(sum(amount_cents), 0) from public.payment_refunds
        where payment_id = payment.id and status not in ('failed', 'canceled'))
    -- A warning takes no money yet, and one that was prevented none at all. A lost one stays lost while it is appealed.
    - (select coalesce(sum(amount_cents), 0) from public.payment_disputes
        where payment_id = payment.id and status not like 'warning%' and status not in ('won', 'prevented')), 0);
end
$$;
revoke all on function public.worth_of_payment from public, anon, authenticated;

-- supabase/schemas/tasks/functions/active_workers.sql
-- How many workers serve a run type now: those that run a task of it, and those that were heard within two minutes and
-- run nothing (they may serve any). An owner's own are counted for that owner alone. Workers of the named providers do not count.
create or replace function public.active_workers(
  for_run_type text, for_user uuid, without_providers text[], out busy integer, out idle integer
)
language plpgsql stable set search_path = '' as $$
begin
  select count(distinct worker_id) into busy from public.tasks
   where status = 'In Progress' and run_type = for_run_type and not is_orchestrator
     and (for_user is null and not claimed_by_owner or user_id = for_user and claimed_by_owner)
     and not exists (select from public.workers as worker
                      where worker.id = tasks.worker_id and worker.provider = any (without_providers) and for_user is null);
  select count(*) into idle from public.workers as worker
   where worker.status = 'active' and worker.last_heartbeat > now() - interval '2 minutes'
     and worker.user_id is not distinct from for_user and worker.provider = any (without_providers) is not true
     and not exists (select from public.tasks
                      where status = 'In Progress'
                        and worker_id = case when for_user is null then worker.id
                                             else substr(worker.id, length(for_user::text) + 2) end);
end
$$;
revoke all on function public.active_workers from public, anon, authenticated;

-- supabase/schemas/tasks/functions/add_to_count.sql
-- One task more or fewer in a lane's count of a state; those that have ended are not counted.
create or replace function public.add_to_count(for_lane bigint, state text, change integer)
returns void
language plpgsql set search_path = '' as $$
begin
  if state = 'ended' then
    return;
  end if;
  update public.task_counts
     set ready = ready + case state when 'ready' then change else 0 end,
         blocked = blocked + case state when 'blocked' then change else 0 end,
         scheduled = scheduled + case state when 'scheduled' then change else 0 end,
         running = running + case state when 'running' then change else 0 end
   where id = (select id from public.task_counts where lane_id = for_lane limit 1 for no key update skip locked);
  if not found then
    insert into public.task_counts (lane_id, ready, blocked, scheduled, running)
    values (for_lane, case state when 'ready' then change else 0 end, case state when 'blocked' then change else 0 end,
            case state when 'scheduled' then change else 0 end, case state when 'running' then change else 0 end);
  end if;
end
$$;
revoke all on function public.add_to_count from public, anon, authenticated;

-- supabase/schemas/tasks/functions/add_to_limit_count.sql
-- Adds to a count that a limit is compared with. Takes a row that no other transaction is writing, or makes a new one,
-- so it waits for nobody.
create or replace function public.add_to_limit_count(of_subject text, of_subject_id uuid, change integer)
returns void
language plpgsql set search_path = '' as $$
declare
  counted record;
begin
  update public.limit_counts set amount = amount + change
   where id = (select id from public.limit_counts
                where subject_id = of_subject_id and subject = of_subject limit 1 for no key update skip locked)
  returning id, amount into counted;
  if not found then
    insert into public.limit_counts (subject, subject_id, amount) values (of_subject, of_subject_id, change);
  elsif counted.amount = 0 and of_subject <> 'open_tasks' then
    -- Tasks end, and their counts with them. A user's row stays: the next task needs it.
    delete from public.limit_counts where id = counted.id;
  end if;
end
$$;
revoke all on function public.add_to_limit_count from public, anon, authenticated;

-- supabase/schemas/tasks/functions/allows_cloud.sql
-- A user's tasks go to the cloud unless they chose otherwise.
create or replace function public.allows_cloud(settings jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(settings -> 'ui' -> 'generationMethods' -> 'inCloud' <> 'false', true);
end
$$;
revoke all on function public.allows_cloud from public, anon, authenticated;

-- supabase/schemas/tasks/functions/allows_local.sql
-- A user's own workers run their tasks unless they chose otherwise.
create or replace function public.allows_local(settings jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(settings -> 'ui' -> 'generationMethods' -> 'onComputer' <> 'false', true);
end
$$;
revoke all on function public.allows_local from public, anon, authenticated;

-- supabase/schemas/tasks/functions/announce_lane.sql
-- Tells the hosts' long polls that a lane turned ready or open: a line in the write-ahead log, which needs no
-- table and no lock, and is not there when the transaction is rolled back. A hint, no promise: waiting claims
-- look by themselves now and then too. Task types are named with their aliases, for a worker may ask by those.
create or replace function public.announce_lane()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Asked, not caught: an exception block would be a subtransaction for each lane.
  if exists (select from pg_catalog.pg_proc
              where proname = 'pg_logical_emit_message' and pg_catalog.has_function_privilege(oid, 'execute')) then
    perform pg_catalog.pg_logical_emit_message(true, 'darkroom.queue', jsonb_build_object(
      'user_id', new.user_id, 'run_type', new.run_type, 'model', new.model, 'is_open', new.is_open,
      'task_types', (select jsonb_agg(name) from public.task_types
                      where new.task_type in (name, alias_of)))::text);
  end if;
  return null;
end
$$;
revoke all on function public.announce_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/announce_outbox.sql
-- Tells hosts in the write-ahead log that there is work in task_outbox, so that they do it at once. A hint: their timer, and
-- pg_cron, look as well.
create or replace function public.announce_outbox()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from pg_catalog.pg_proc
              where proname = 'pg_logical_emit_message' and pg_catalog.has_function_privilege(oid, 'execute')) then
    perform pg_catalog.pg_logical_emit_message(true, 'darkroom.outbox', '');
  end if;
  return null;
end
$$;
revoke all on function public.announce_outbox from public, anon, authenticated;

-- supabase/schemas/tasks/functions/announce_task_types.sql
-- Announces to the hosts' long polls that tasks of these types may be claimed which could not be before: see announce_lane().
create or replace function public.announce_task_types(types text[])
returns void
language plpgsql set search_path = '' as $$
begin
  if types <> '{}' and exists (
       select from pg_catalog.pg_proc
        where proname = 'pg_logical_emit_message' and pg_catalog.has_function_privilege(oid, 'execute')) then
    perform pg_catalog.pg_logical_emit_message(true, 'darkroom.queue', jsonb_build_object(
              'run_type', kind.run_type, 'is_open', true,
              'task_types', (select jsonb_agg(name) from public.task_types where kind.name in (name, alias_of)))::text)
       from public.task_types as kind where kind.name = any (types);
  end if;
end
$$;
revoke all on function public.announce_task_types from public, anon, authenticated;

-- supabase/schemas/tasks/functions/answered_request.sql
-- The first answer to a request with this key; null when the key is new. Another request with it is 422.
create or replace function public.answered_request(for_owner uuid, key text, hash bytea)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  known public.task_requests;
begin
  select * into known from public.task_requests where user_id = for_owner and idempotency_key = key;
  if not found then
    return null;
  end if;
  if known.request_hash <> hash then
    perform public.refuse('idempotency_key_reused', 422);
  end if;
  return known.answer || '{"deduplicated": true}';
end
$$;
revoke all on function public.answered_request from public, anon, authenticated;

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
    dependant_on, unmet_dependencies, priority, run_after, request_hash, result_key, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, warnings, reused_task_id, in_cloud, price_id, billed,
    expected_microusd, upper_bound_microusd, held_microusd, children_held_microusd, cost_microusd, copied_from_share, created_at, updated_at)
  select
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, result_key, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, warnings, reused_task_id, in_cloud, price_id, billed,
    expected_microusd, upper_bound_microusd, held_microusd, children_held_microusd, cost_microusd, copied_from_share, created_at, updated_at
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

-- supabase/schemas/tasks/functions/as_reused.sql
-- The row of a task that ends with the output of an earlier run, without the generation or variant: nothing is written. It costs
-- the reuse price of its quote, never more than its run might have; nothing where the owner's own machine made the output.
create or replace function public.as_reused(task public.tasks, result public.tasks)
returns public.tasks
language plpgsql stable set search_path = '' as $$
declare
  kept constant jsonb := result.result_data;
begin
  -- The thumbnail is a file of its own, which may be gone.
  if exists (select from storage.objects
              where bucket_id = 'image_uploads' and name = kept ->> 'thumbnail_path') then
    task.thumbnail_url := result.thumbnail_url;
  end if;
  task.output_location := result.output_location;
  task.status := 'Complete';
  task.is_following := false;
  task.unmet_dependencies := 0;
  -- The key is that of the run, which others find by it.
  task.result_key := null;
  task.reused_task_id := result.id;
  task.claimed_by_owner := result.claimed_by_owner;
  task.progress := 1;
  task.generation_processed_at := clock_timestamp();
  task.updated_at := now();
  task.warnings := result.warnings;
  task.result_data := jsonb_strip_nulls(jsonb_build_object('public_url', kept -> 'public_url'));
  task.cost_microusd := case when result.claimed_by_owner then 0 else (
    select least(price.reuse_price_microusd, task.upper_bound_microusd)
      from public.task_type_prices as price where price.id = task.price_id) end;
  return task;
end
$$;
revoke all on function public.as_reused from public, anon, authenticated;

-- supabase/schemas/tasks/functions/billed_of_run.sql
-- What a finished task is charged by: its billed values, but for how many images it made where it made fewer.
create or replace function public.billed_of_run(billed jsonb, result_data jsonb)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return case when result_data ? 'images'
    then billed || jsonb_build_object('images', result_data -> 'images') else billed end;
end
$$;
revoke all on function public.billed_of_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/canonical_task_type.sql
-- The type of this name, or the one that it is another spelling of; 422 for a type that there is none of. Calls, which are
-- answered at once and never queued, have a price like tasks but are no types of tasks.
create or replace function public.canonical_task_type(given_name text, or_call boolean default false)
returns public.task_types
language plpgsql stable set search_path = '' as $$
declare
  kind public.task_types;
begin
  select * into kind from public.task_types where name = given_name and is_active;
  if kind.alias_of is not null then
    select * into kind from public.task_types where name = kind.alias_of and is_active;
  end if;
  if kind.name is null or kind.category = 'call' and not or_call then
    perform public.refuse('unknown_task_type', 422, jsonb_build_object('task_type', given_name));
  end if;
  return kind;
end
$$;
revoke all on function public.canonical_task_type from public, anon, authenticated;

-- supabase/schemas/tasks/functions/charge_metadata.sql
-- What a receipt needs to be recomputed.
create or replace function public.charge_metadata(task public.tasks)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object(
        'task_type', task.task_type, 'price_id', task.price_id, 'price_version', price.version,
        'billing_type', price.billing_type, 'price_microusd', price.price_microusd,
        'multiplier', public.price_multiplier(price, public.billed_of_run(task.billed, task.result_data)),
        'duration_seconds', round(extract(epoch from task.generation_processed_at - task.generation_started_at), 3))
      || case when task.reused_task_id is null then '{}' else jsonb_build_object(
           'reused_task_id', task.reused_task_id, 'reuse_price_microusd', price.reuse_price_microusd) end
      || case when task.status in ('Failed', 'Cancelled') then jsonb_build_object('reason', lower(task.status::text)) else '{}' end
        from public.task_type_prices as price where price.id = task.price_id);
end
$$;
revoke all on function public.charge_metadata from public, anon, authenticated;

-- supabase/schemas/tasks/functions/charge_of_provider_run.sql
-- What a running task is certain to be charged when it ends well, and so what its jobs at a provider may cost. By the unit that is its
-- price. By the second it is the seconds that the run has taken: a provider may be done at once. An orchestrator's own run costs
-- nothing, so its own jobs may cost a twentieth of what is held for its parts.
create or replace function public.charge_of_provider_run(task public.tasks)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return case when task.is_orchestrator then case when task.in_cloud then task.held_microusd / 20 else 0 end
    else public.cost_of_run(task, true) end;
end
$$;
revoke all on function public.charge_of_provider_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_by_lane.sql
-- A task of the kinds that a claim asks for, when the users whose turn is next have none: looks where such tasks are,
-- in the order of their users' turns. Of users whom other claims are serving: see claim_by_turn.
-- A lane keeps the turn at which it was last looked at; those met are brought up to date, so that the order is right.
create or replace function public.claim_by_lane(
  stage text, run_types text[], types text[], models text[], for_worker text, heartbeat_lease interval,
  affinity_max_wait interval, late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- By run type there are fewer places to look than by task type. Who is overdue is listed by task type alone.
  by_run_type constant boolean := types is null and stage <> 'overdue';
  kinds constant text[] := case when by_run_type then run_types
                                else coalesce(types, public.claimable_task_types(run_types, null)) end;
  met public.task_lanes[];
  lane public.task_lanes;
  tried bigint[] := '{}';
  failed_users uuid[] := '{}';
  busy_users uuid[] := '{}';
  busy_user uuid;
  claimed jsonb;
  page_size integer := 4;
  -- Enough to be exact but where nearly all turns are taken elsewhere; then a claim is rather quick.
  lifts_left integer := 32;
  lifted integer;
begin
  for page in 1 .. 64 loop
    loop
      met := array(select next_lane from public.lanes_to_try(stage, kinds, models, tried, page_size, late_types) as next_lane);
      exit when cardinality(met) = 0 or lifts_left <= 0;
      lifted := public.lift_lanes(array(select id from unnest(met)));
      exit when lifted = 0;
      lifts_left := lifts_left - lifted;
    end loop;
    exit when cardinality(met) = 0;
    foreach lane in array met loop
      tried := tried || lane.id;
      continue when lane.user_id = any (failed_users) or lane.user_id = any (busy_users);
      perform from public.user_turns
        where user_id = lane.user_id and run_type = lane.run_type for no key update skip locked;
      if not found then
        busy_users := busy_users || lane.user_id;
        continue;
      end if;
      claimed := public.claim_of_user(lane.user_id, stage, run_types, types, models, null, for_worker,
                                      heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
      if claimed is not null then
        if lane.turn % 16 = 0 and stage <> 'overdue' and lane.task_type = any (late_types) is not true then
          perform public.move_turn_mark(case when by_run_type then lane.run_type else lane.task_type end,
                                        case when models is not null then lane.model end, lane.turn);
        end if;
        return claimed;
      end if;
      failed_users := failed_users || lane.user_id;
    end loop;
    page_size := 64;
  end loop;
  foreach busy_user in array busy_users loop
    claimed := public.claim_of_user(busy_user, stage, run_types, types, models, null, for_worker,
                                    heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
    if claimed is not null then
      return claimed;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_by_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_by_turn.sql
-- A task of the user whose turn it is: of those who have an open lane for this claim, whoever was served longest ago. A
-- user whom another claim is serving is left to the end, so that claims at the same moment serve different users;
-- then they are tried too, for they may have more slots. Null also when the claim asks for task types or models of
-- which the next eight users have none.
create or replace function public.claim_by_turn(
  run_types text[], types text[], models text[], for_worker text, heartbeat_lease interval,
  affinity_max_wait interval, late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  taken public.user_turns;
  found_turn record;
  busy uuid[] := '{}';
  tried uuid[] := '{}';
  busy_user uuid;
  claimed jsonb;
begin
  for attempt in 1 .. 1024 loop
    taken := null;
    -- What nearly every claim asks for, in one probe of one index.
    if types is null and models is null and cardinality(run_types) = 1 and tried = '{}' then
      select * into taken from public.user_turns
       where is_open and run_type = run_types[1]
         and turn >= coalesce((select turn from public.turn_marks
                                where kind = run_types[1] and model is null and created_at < now() - interval '1 second'
                                order by turn desc limit 1), 0)
       order by turn limit 1 for no key update skip locked;
    end if;
    if taken.user_id is null then
      select * into found_turn from public.take_turn(run_types, types, models, tried || busy, late_types);
      taken := found_turn.taken;
      busy := busy || found_turn.busy;
    end if;
    exit when taken.user_id is null;
    claimed := public.claim_of_user(taken.user_id, 'turn', run_types, types, models, null, for_worker,
                                    heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
    if claimed is not null then
      -- Now and then is enough.
      if taken.turn % 16 = 0 then
        perform public.move_turn_mark(taken.run_type, null, taken.turn);
      end if;
      return claimed;
    end if;
    perform public.close_turn_if_idle(taken.user_id, taken.run_type);
    tried := tried || taken.user_id;
  end loop;
  foreach busy_user in array busy loop
    claimed := public.claim_of_user(busy_user, 'turn', run_types, types, models, null, for_worker,
                                    heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
    if claimed is not null then
      return claimed;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_by_turn from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_from_lane.sql
-- Takes the lane's first task and a free slot of its user (and of its project and type, where they have a limit),
-- skipping what others have locked. Null when there is no such set; then the lane is closed if that is so for good.
-- The lease is the type's longest run, unless the worker is one that heartbeats.
-- With `late_before` it takes what has been ready since then, or what its provider has begun. With `skip_jobs_of` it leaves that
-- provider the tasks that this has begun: another run would be paid twice.
create or replace function public.claim_from_lane(
  lane public.task_lanes, for_worker text, by_owner boolean, heartbeat_lease interval, affinity_max_wait interval,
  late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- Of the lane's type: its limit and longest run; and a free slot of the user, but for an orchestrator.
  terms record;
  head public.tasks;
  ended uuid;
  free_project_slot smallint;
  free_type_slot smallint;
  task public.tasks;
begin
  select kind.max_running_tasks, kind.max_runtime_seconds,
         case when not lane.is_orchestrator then (
           select slot from public.task_slots
            where user_id = lane.user_id and task_id is null order by slot limit 1 for update skip locked) end as free_slot
    into terms
    from public.task_types as kind where kind.name = lane.task_type;
  if terms.free_slot is null and not lane.is_orchestrator then
    perform public.close_lane_if_idle(lane.id);
    return null;
  end if;
  if lane.project_id is not null and not lane.is_orchestrator then
    select slot into free_project_slot from public.project_slots
     where project_id = lane.project_id and task_id is null order by slot limit 1 for update skip locked;
    if not found then
      perform public.close_lane_if_idle(lane.id);
      return null;
    end if;
  end if;
  if terms.max_running_tasks is not null then
    select slot into free_type_slot from public.task_type_slots
     where task_type = lane.task_type and task_id is null order by slot limit 1 for update skip locked;
    if not found then
      return null;
    end if;
  end if;

  -- Parts of orchestrations that are over end here; the outbox has not reached them yet.
  for look in 1 .. 16 loop
    ended := null;
    if skip_jobs_of is null then
      select * into head from public.tasks
       where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
       order by priority desc, created_at, id limit 1 for no key update skip locked;
    else
      -- Passes over those alone that a run at the provider left behind: a user has five slots.
      select * into head from public.tasks
       where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
         and not exists (select from public.provider_jobs as job
                          where job.task_id = tasks.id and job.provider = skip_jobs_of and not job.by_owner)
       order by priority desc, created_at, id limit 1 for no key update skip locked;
    end if;
    exit when not found or head.orchestrator_task_id is null;
    ended := public.ended_orchestrator(head.orchestrator_task_id);
    exit when ended is null;
    if exists (select from public.provider_jobs where task_id = head.id)
       or exists (select from public.task_provider_costs where task_id = head.id) then
      -- Its end may cost something, which end_task() knows and counts under the lock of the account; the outbox calls that.
      return null;
    end if;
    perform public.end_part_of_ended(head, ended);
  end loop;
  if ended is not null then
    -- Others may follow. Another claim, or the outbox, goes on with them.
    return null;
  end if;

  if head.ready_at > late_before
     and not exists (select from public.provider_jobs as job where job.task_id = head.id and job.by_owner = claim_from_lane.by_owner) then
    update public.task_lanes set is_late = false, waits_since = head.ready_at
     where id = (select id from public.task_lanes where id = lane.id and is_late for no key update skip locked);
    return null;
  end if;

  update public.tasks
     set status = 'In Progress', attempt = attempt + 1,
         worker_id = coalesce(for_worker, 'edge_' || gen_random_uuid()), claimed_by_owner = by_owner,
         slot = terms.free_slot, project_slot = free_project_slot, task_type_slot = free_type_slot,
         generation_started_at = now(), updated_at = now(),
         progress = null, progress_message = null, error_message = null, error_details = null,
         lease_expires_at = now() + coalesce(heartbeat_lease, make_interval(secs => terms.max_runtime_seconds)),
         covered_until = case when not by_owner then now() + make_interval(secs => covered_seconds) end
   -- By its id: the place of a row that was changed just now is not yet known to this statement.
   where id = head.id
  returning * into task;
  if not found then
    perform public.close_lane_if_idle(lane.id);
    return null;
  end if;
  if terms.free_slot is not null then
    update public.task_slots set task_id = task.id where user_id = lane.user_id and slot = terms.free_slot;
    if free_project_slot is not null then
      update public.project_slots set task_id = task.id
       where project_id = lane.project_id and slot = free_project_slot;
    end if;
  end if;
  if free_type_slot is not null then
    update public.task_type_slots set task_id = task.id where task_type = lane.task_type and slot = free_type_slot;
  end if;
  perform public.pass_turn(lane, affinity_max_wait);

  return jsonb_build_object(
    'task_id', task.id, 'params', public.params_of_run(task.task_type, task.params, task.billed),
    'billed', task.billed, 'task_type', task.task_type, 'project_id', task.project_id,
    'attempt', task.attempt, 'attempts', task.attempts, 'lease_expires_at', task.lease_expires_at)
    || case when exists (select from public.provider_jobs where task_id = task.id)
         then coalesce(public.known_provider_jobs(task), '{}') else '{}' end;
end
$$;
revoke all on function public.claim_from_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_next_task.sql
-- Moves tasks to a worker, one or up to `max_tasks`; null when there is none.
-- Guarantees: a task goes to one worker, and no user, project or task type has more running tasks than slots,
-- for task and slots are locked as they are chosen; whatever another claim has locked is skipped, so no claim
-- waits for another.
-- Order: a warm worker's loaded model first, unless a task has waited longer than `affinity_max_wait`; then the
-- user served longest ago; within a user by priority, then age.
-- `for_user` limits it to that owner's tasks (a token), which then need no cover.
-- `for_provider` names what runs the tasks where that is no own worker: see provider_task_types(). FAL may state its rule, which
-- then holds for the database; a token's for its own claim alone.
-- A worker of the service that names no task types is a shipped one, which fails what it does not know: while FAL is active, it gets no type
-- that no shipped worker of that run type runs.
create or replace function public.claim_next_task(
  for_user uuid default null, for_worker text default null, for_run_type text default null,
  only_task_types text[] default null, only_models text[] default null, same_model_only boolean default false,
  max_tasks integer default null, debug boolean default false,
  for_provider text default null, fal_runs text default null, fal_after_seconds integer default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  provider constant text := coalesce(for_provider, case when public.is_sandbox_worker(for_worker) then 'sandbox' end);
  worker_name constant text := coalesce(for_worker, provider);
  row_id constant text := coalesce(for_user || ':', '') || worker_name;
  -- What a claim needs to know, looked up at once.
  known record;
  worker public.workers;
  run_types constant text[] := case when for_run_type is null then array['gpu', 'api'] else array[for_run_type] end;
  -- Null when all types of these run types will do. Of late types only what has waited since `late_before`.
  types text[];
  late_types text[];
  late_before timestamptz;
  allowed record;
  is_ruled constant boolean := provider = 'fal' or provider = 'sandbox' and for_user is null;
  -- What FAL has begun to run it resumes, while it is active.
  skip_jobs_of text;
  -- Task types that only FAL can run, where the claim may not have them.
  left_to_fal text[];
  claimed jsonb;
  claims jsonb := '[]';
begin
  -- Hosts tend the queue every two seconds, and pg_cron every five: then a claim does no maintenance.
  select settings.tended_at >= now() - interval '15 seconds' as is_tended, settings.heartbeat_lease, settings.affinity_max_wait, caller as worker,
         settings as settings, public.fal_is_active(settings) as fal_is_active, exists (select from public.task_type_slots) as has_limited_types
    into known
    from public.queue_settings as settings left join public.workers as caller on caller.id = row_id;
  if not known.is_tended then
    perform public.tend_queue(16);
  end if;
  worker := known.worker;
  if worker.id is null and row_id is not null then
    worker := public.register_worker(worker_name, for_user);
  end if;
  -- A machine that an operator takes out of service gets no more work. One that said so of itself and asks is back.
  if worker.status in ('error', 'terminating', 'terminated') and public.operator_decided(worker) then
    return case when debug then jsonb_build_object('debug', jsonb_build_object('worker_is_' || worker.status, 1)) end;
  end if;

  if worker.id is not null then
    perform public.note_claim(worker, provider, for_run_type, only_task_types);
  end if;
  if provider = 'fal' and for_user is null then
    perform public.note_fal(fal_runs, fal_after_seconds);
  end if;
  if is_ruled then
    select * into allowed from public.provider_task_types(
      provider, for_user,
      coalesce(fal_runs, case when for_user is null then (known.settings).fal_runs else 'missing' end));
    late_before := now() - coalesce(make_interval(secs => fal_after_seconds), (known.settings).fal_after);
  end if;
  if for_user is null and provider is distinct from 'fal' and known.fal_is_active then
    skip_jobs_of := 'fal';
  end if;
  if for_user is null and provider is null and only_task_types is null and known.fal_is_active then
    left_to_fal := public.fal_only_types('missing');
  end if;

  while jsonb_array_length(claims) < coalesce(max_tasks, 1) loop
    -- A type at its limit is left out here, so its lanes are not even looked at.
    types := null;
    if only_task_types is not null then
      types := public.claimable_task_types(run_types, only_task_types);
    elsif known.has_limited_types then
      if exists (select from public.task_types as kind
                  where kind.max_running_tasks is not null
                    and not exists (select from public.task_type_slots as free
                                     where free.task_type = kind.name and free.task_id is null)) then
        types := public.claimable_task_types(run_types, null);
      end if;
    end if;
    if is_ruled then
      types := coalesce(types, public.claimable_task_types(run_types, only_task_types));
      late_types := array(select unnest(types) intersect select unnest(allowed.late_types));
      types := array(select unnest(types) intersect select unnest(allowed.types));
      exit when types = '{}' and late_types = '{}';
    elsif left_to_fal <> '{}' then
      types := array(select unnest(coalesce(types, public.claimable_task_types(run_types, null))) except select unnest(left_to_fal));
    end if;
    claimed := public.claim_one_task(for_user, worker_name, case when worker.heartbeats then known.heartbeat_lease end,
                                     known.affinity_max_wait, worker.current_model, run_types, types, only_models,
                                     same_model_only and worker.current_model is not null, late_types, late_before,
                                     skip_jobs_of);
    if claimed is null and claims = '[]' and not known.is_tended and public.release_overdue_work() then
      continue;
    end if;
    exit when claimed is null;
    claims := claims || claimed;
  end loop;

  if claims <> '[]' then
    return case when max_tasks > 1 then jsonb_build_object('tasks', claims) else claims -> 0 end;
  end if;
  if debug then
    return jsonb_build_object('debug', public.explain_empty_claim(
      for_user, run_types,
      case when is_ruled or left_to_fal <> '{}' then public.claimable_task_types(run_types, only_task_types) else types end,
      only_models, case when same_model_only then worker.current_model end, provider, types, late_types, late_before));
  end if;
  return null;
end
$$;
revoke all on function public.claim_next_task from public, anon, authenticated;
grant execute on function public.claim_next_task to service_role;

-- supabase/schemas/tasks/functions/claim_of_user.sql
-- The turn of a user has come: takes the best task that they have for this claim, by priority, then age, over all
-- their lanes that it may look at. An owner's worker prefers its loaded model. Of `late_types` (FAL's claims alone) it takes what
-- has been ready since `late_before`, or what FAL has begun.
create or replace function public.claim_of_user(
  served_user uuid, stage text, run_types text[], types text[], models text[], warm_model text,
  for_worker text, heartbeat_lease interval, affinity_max_wait interval,
  late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  tried bigint[] := '{}';
  claimed jsonb;
begin
  loop
    select mine.* into lane
      from public.task_lanes as mine
      left join lateral (
        select priority, created_at, id, ready_at from public.tasks
         where lane_id = mine.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
         order by priority desc, created_at, id limit 1) as head on true
     where mine.user_id = served_user
       and case when stage = 'owner' then mine.is_ready else mine.is_open end
       and (mine.is_overdue or stage <> 'overdue')
       and mine.run_type = any (run_types) and (
         types is null or mine.task_type = any (types)
         or mine.task_type = any (late_types)
            and (head.ready_at <= late_before or exists (
                   select from public.provider_jobs as job where job.task_id = head.id and job.by_owner = (stage = 'owner'))))
       and (models is null or mine.model = any (models)) and mine.id <> all (tried)
     order by (stage = 'owner' and mine.model = warm_model) desc nulls last,
              head.priority desc nulls last, head.created_at, head.id
     limit 1;
    exit when not found;
    claimed := public.claim_from_lane(lane, for_worker, stage = 'owner', heartbeat_lease, affinity_max_wait,
                                      case when lane.task_type = any (late_types) then late_before end, skip_jobs_of);
    if claimed is not null then
      return claimed;
    end if;
    tried := tried || lane.id;
  end loop;
  return null;
end
$$;
revoke all on function public.claim_of_user from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_one_task.sql
-- One task of a claim: see claim_next_task. Its stages: what has waited too long for a warm worker, what that worker
-- has loaded, anything that it may have. `late_types`, `late_before`: see claim_of_user(). `skip_jobs_of`: see claim_from_lane().
create or replace function public.claim_one_task(
  for_user uuid, for_worker text, heartbeat_lease interval, affinity_max_wait interval, warm_model text,
  run_types text[], types text[], only_models text[], same_model_only boolean,
  late_types text[], late_before timestamptz, skip_jobs_of text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- Null when the worker's model is none of those that it asks for.
  preferred constant text := case when only_models is null or warm_model = any (only_models) then warm_model end;
  claimed jsonb;
begin
  if same_model_only and preferred is null then
    return null;
  end if;
  if for_user is not null then
    if not (select allows_local from public.task_tenants where user_id = for_user) then
      return null;
    end if;
    return public.claim_of_user(for_user, 'owner', run_types, types,
                                case when same_model_only then array[preferred] else only_models end, warm_model,
                                for_worker, heartbeat_lease, affinity_max_wait, late_types, late_before, skip_jobs_of);
  end if;

  if preferred is not null then
    if not same_model_only and exists (select from public.task_lanes where is_open and is_overdue) then
      claimed := public.claim_by_lane('overdue', run_types, types, only_models, for_worker, heartbeat_lease, affinity_max_wait,
                                      late_types, late_before, skip_jobs_of);
    end if;
    if claimed is null then
      claimed := public.claim_by_turn(run_types, types, array[preferred], for_worker, heartbeat_lease, affinity_max_wait,
                                      late_types, late_before, skip_jobs_of);
    end if;
    if claimed is null then
      claimed := public.claim_by_lane('turn', run_types, types, array[preferred], for_worker, heartbeat_lease, affinity_max_wait,
                                      late_types, late_before, skip_jobs_of);
    end if;
    if claimed is not null or same_model_only then
      return claimed;
    end if;
  end if;
  claimed := public.claim_by_turn(run_types, types, only_models, for_worker, heartbeat_lease, affinity_max_wait,
                                  late_types, late_before, skip_jobs_of);
  if claimed is null and (types is not null or only_models is not null) then
    claimed := public.claim_by_lane('turn', run_types, types, only_models, for_worker, heartbeat_lease, affinity_max_wait,
                                    late_types, late_before, skip_jobs_of);
  end if;
  return claimed;
end
$$;
revoke all on function public.claim_one_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claim_provider_withdrawals.sql
-- Gives out jobs that are to be withdrawn at a provider, each to one caller for a minute: of two that withdraw one job, the
-- second would be told that it is over, which is also what is said of a job that ran. `for_user`: the owner whose own worker asks,
-- for the jobs of that account; null: the service, for the others.
create or replace function public.claim_provider_withdrawals(for_user uuid, for_provider text, at_most integer)
returns jsonb
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  claimed jsonb;
begin
  with given as (
    update public.provider_withdrawals
       set tries = tries + 1, next_try_at = now() + interval '1 minute'
     where id in (
       select id from public.provider_withdrawals
        where state = 'open' and request_id is not null and provider = for_provider
          and by_owner = (for_user is not null) and (for_user is null or user_id = for_user)
          and next_try_at <= now() and expires_at > now()
        order by next_try_at limit at_most for no key update skip locked)
    returning *
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'withdrawal_id', id, 'task_id', task_id, 'model', model, 'request_id', request_id,
           'tries', tries) order by created_at), '[]')
    into claimed from given;
  return claimed;
end
$$;
revoke all on function public.claim_provider_withdrawals from public, anon, authenticated;

-- supabase/schemas/tasks/functions/claimable_task_types.sql
-- The task types of these run types (or of those, the named ones; another spelling counts) that are not at their limit.
create or replace function public.claimable_task_types(run_types text[], only_task_types text[])
returns text[]
language plpgsql stable set search_path = '' as $$
begin
  return array(
    select kind.name from public.task_types as kind
     where kind.alias_of is null and kind.run_type = any (run_types)
       and (only_task_types is null or kind.name = any (only_task_types)
            or exists (select from public.task_types as alias
                        where alias.alias_of = kind.name and alias.name = any (only_task_types)))
       and (kind.max_running_tasks is null
            or exists (select from public.task_type_slots as free
                        where free.task_type = kind.name and free.task_id is null)));
end
$$;
revoke all on function public.claimable_task_types from public, anon, authenticated;

-- supabase/schemas/tasks/functions/close_lane_if_idle.sql
-- A claim found nothing here: closes the lane if that is true for good, and waits for nobody to find out.
-- Whoever is adding work or freeing a slot holds the tenant's lock; then the lane is left as it is.
create or replace function public.close_lane_if_idle(for_lane bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  has_task boolean;
  stays_open boolean;
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
  select * into lane from public.task_lanes where id = for_lane;
  has_task := exists (select from public.tasks
                       where lane_id = for_lane and status = 'Queued' and unmet_dependencies = 0
                         and not is_scheduled);
  stays_open := lane.is_open and has_task and public.lane_may_open(lane);
  if lane.is_ready <> has_task or lane.is_open <> stays_open then
    update public.task_lanes set is_ready = has_task, is_open = stays_open where id = for_lane;
  end if;
end
$$;
revoke all on function public.close_lane_if_idle from public, anon, authenticated;

-- supabase/schemas/tasks/functions/close_orchestrator.sql
-- Ends a running orchestration when all that it planned is done: nothing of it is open, and either its worker has said
-- (by text of progress) that it has created everything, or as many parts as were asked for are done and no final
-- stitch is to come. Otherwise keeps it waiting. The caller holds the orchestrator's lock, so one caller closes it.
-- A part that failed fails it, with the price of the others; see end_task() for parts that fail while it runs.
create or replace function public.close_orchestrator(for_orchestrator uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  part_type text;
  parts record;
  result record;
  failed public.tasks;
  made public.made_output;
begin
  select * into orchestrator from public.tasks where id = for_orchestrator and status = 'In Progress' for no key update;
  if not found then
    return;
  end if;
  part_type := case when orchestrator.task_type = 'travel_orchestrator' then 'travel_segment' else 'join_clips_segment' end;
  select count(*) filter (where status in ('Queued', 'In Progress')) as open,
         count(*) filter (where status in ('Failed', 'Cancelled')) as failed,
         count(*) as total, min(generation_started_at) as started_at,
         count(*) filter (where task_type = part_type and status = 'Complete') as complete,
         bool_or(task_type in ('travel_stitch', 'join_final_stitch', 'join_clips_orchestrator')) as has_stitch
    into parts
    from public.tasks where orchestrator_task_id = orchestrator.id;
  if parts.open > 0 or parts.total = 0
     or orchestrator.output_location is null and orchestrator.progress_message is null
        and (coalesce(parts.complete + parts.failed < public.expected_parts(orchestrator), true)
             or public.plans_stitch(orchestrator) and not parts.has_stitch) then
    perform public.extend_lease(orchestrator);
    return;
  end if;
  if parts.failed > 0 then
    -- The first that failed by itself, and not because another did.
    select * into failed from public.tasks
     where orchestrator_task_id = orchestrator.id and status in ('Failed', 'Cancelled')
     order by coalesce(error_message like 'Cascaded %' or error_message = 'dependency_failed', true), updated_at, id limit 1;
    update public.tasks set result_data = result_data || jsonb_build_object('failed_part', public.failed_part(failed))
     where id = orchestrator.id;
    perform public.end_task(
      orchestrator.id, 'Failed',
      format('%s of %s segments failed', parts.failed, parts.total) || coalesce(': ' || left(failed.error_message, 500), ''),
      by_owner => false);
    return;
  end if;

  -- The whole; else its last part, unless each stands for itself. A part's text may have been replaced since.
  select coalesce(result_data ->> 'public_url', output_location) as output_location, thumbnail_url into result
    from public.tasks
   where orchestrator_task_id = orchestrator.id
     and coalesce(result_data ->> 'public_url', output_location) ~* '^https?://'
     and (task_type in ('travel_stitch', 'join_final_stitch', 'join_clips_orchestrator')
          or task_type = part_type and not (part_type = 'travel_segment' and public.parts_are_independent(orchestrator)))
   order by array_position(array['join_final_stitch', 'join_clips_orchestrator', 'travel_stitch'], task_type) nulls last,
            coalesce(public.integer_or_null(params ->> 'segment_index'), public.integer_or_null(params ->> 'join_index')) desc,
            generation_processed_at desc
   limit 1;
  update public.tasks
     set generation_started_at = coalesce(parts.started_at, generation_started_at), output_location = null
   where id = orchestrator.id
  returning * into orchestrator;
  made := public.create_output(orchestrator, result.output_location, result.thumbnail_url);
  perform public.finish_task(orchestrator, result.output_location, result.thumbnail_url,
                             made.generation_id, made.variant_id);
end
$$;
revoke all on function public.close_orchestrator from public, anon, authenticated;

-- supabase/schemas/tasks/functions/close_turn_if_idle.sql
-- A claim found nothing of a user whose turn had come: they have none until a lane of theirs opens, unless one has.
-- Whoever is adding work or freeing a slot holds the tenant's lock; then it is left as it is.
create or replace function public.close_turn_if_idle(for_user uuid, of_run_type text)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.task_tenants where user_id = for_user for no key update skip locked;
  if not found then
    return;
  end if;
  update public.user_turns set is_open = false
   where user_id = for_user and run_type = of_run_type and is_open
     and not exists (select from public.task_lanes
                      where user_id = for_user and run_type = of_run_type and is_open);
end
$$;
revoke all on function public.close_turn_if_idle from public, anon, authenticated;

-- supabase/schemas/tasks/functions/complete_task.sql
-- Ends a run with its output, in one transaction: the row, the generation or variant, the charge, the
-- dependants, and that others than the service can read its files (deliver_files()). Guarantees: one output and one charge, for the status is checked under the row's lock;
-- the same worker and attempt get the first answer again; everybody else 409, and nothing changes.
-- `output_path` and `thumbnail_path` name files in storage, `output_location` and `thumbnail_location` their URLs.
-- `output_text` is what the task says of its output: alone, a foreign URL or any text; beside a file, instead
-- of the file's URL. An output record is made of a file, or of a text that is a medium's URL.
-- `output_facts` is what is known of the output beside the task's params, and is kept with them. `more_outputs` are further
-- files of the same run, [{path, location, facts}]: all of them are kept, or nothing is. `output_warnings` says what could not be
-- done of what the task asked; it is stored with the task and with what is made of the output.
-- `checked_files` is what the check of the files' bytes found, by path: what is not a complete file of the kind that the task makes is
-- refused (output_fault()), and so is a file without a check.
-- More outputs than are billed are refused, unless the owner's own worker made them.
-- Outputs that a provider's safety checker made black come last, are not charged unless the price says so, and are flagged. Where
-- all are black and free, the run fails: see fail_blacked_out().
-- Tasks that follow this one end with it, up to twenty in its transaction; see docs/reuse.md.
create or replace function public.complete_task(
  for_user uuid, for_task uuid, output_path text default null, output_location text default null,
  thumbnail_path text default null, thumbnail_location text default null,
  for_worker text default null, for_attempt integer default null,
  output_text text default null, skip_generation boolean default false,
  output_facts jsonb default '{}', more_outputs jsonb default '[]', checked_files jsonb default '{}',
  output_warnings text[] default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  task public.tasks;
  medium text := coalesce(output_location, output_text);
  outputs jsonb;
  black_outputs integer;
  blacked_out_is_free boolean := false;
  new_thumbnail text;
  -- The task with what is known of its output.
  described public.tasks;
  made public.made_output;
  asked_images numeric;
  media text[];
  extra jsonb;
  fault jsonb;
  more jsonb := '{}';
  result public.tasks;
  shared public.tasks[] := '{}';
begin
  perform public.lock_orchestrators(for_task);
  task := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
  if task.status = 'Complete' then
    return public.stored_completion(task);
  end if;
  asked_images := (task.billed ->> 'images')::numeric;
  if 1 + jsonb_array_length(more_outputs) > asked_images and task.in_cloud and not task.claimed_by_owner then
    perform public.refuse('too_many_outputs', 422, jsonb_build_object(
      'task_id', task.id, 'paid', asked_images, 'sent', 1 + jsonb_array_length(more_outputs)));
  end if;
  media := public.output_media(task.task_type);
  if output_path is not null then
    perform public.require_output(task, output_path, media, checked_files);
  end if;
  for extra in select value from jsonb_array_elements(more_outputs) loop
    perform public.require_output(task, extra ->> 'path', media, checked_files);
  end loop;
  if thumbnail_path is not null then
    -- Finished work is worth more than its thumbnail, whose upload may have failed.
    fault := public.output_fault(task, thumbnail_path, '{image}', checked_files);
    if fault is null then
      new_thumbnail := complete_task.thumbnail_location;
    elsif fault ->> 'code' = 'storage_unavailable' then
      perform public.require_output(task, thumbnail_path, '{image}', checked_files);
    else
      more := jsonb_build_object('warnings', jsonb_build_array(jsonb_build_object(
        'field', 'thumbnail_storage_path',
        'message', case fault ->> 'code'
          when 'output_not_found' then 'There is no such file; the task has no thumbnail.'
          when 'output_replaced' then 'The file was replaced while it was checked; the task has no thumbnail.'
          else format('The file %s; the task has no thumbnail.', fault ->> 'problem') end)));
    end if;
  end if;

  outputs := public.outputs_in_order(task.params, jsonb_build_array(jsonb_build_object(
    'path', output_path, 'location', output_location, 'facts', coalesce(output_facts, '{}'))) || more_outputs);
  black_outputs := (select count(*) from jsonb_array_elements(outputs) as output where output -> 'facts' ? 'blacked_out');
  if black_outputs > 0 then
    blacked_out_is_free := (select blacked_out_policy = 'free' from public.task_type_prices where id = task.price_id);
    if blacked_out_is_free and black_outputs = jsonb_array_length(outputs) then
      return public.fail_blacked_out(task, black_outputs);
    end if;
    if output_path is distinct from outputs -> 0 ->> 'path' then
      -- The thumbnail shows what is not shown now.
      new_thumbnail := null;
    end if;
    output_path := outputs -> 0 ->> 'path';
    output_location := outputs -> 0 ->> 'location';
    output_facts := outputs -> 0 -> 'facts';
    more_outputs := outputs - 0;
    medium := coalesce(output_location, output_text);
    more := more || jsonb_build_object('blacked_out', black_outputs, 'warnings',
      coalesce(more -> 'warnings', '[]') || jsonb_build_object('field', 'outputs', 'message', format(
        'The safety checker of the provider made %s of %s outputs black%s.', black_outputs, jsonb_array_length(outputs),
        case when blacked_out_is_free then '; they are not charged' else '' end)));
  end if;

  task.warnings := coalesce(output_warnings, '{}');
  described := public.with_warnings(task);
  described.params := described.params || output_facts;
  if asked_images > 1 then
    -- What is paid is what there is, though the task asked for more.
    task.result_data := jsonb_build_object('images', least(
      asked_images, jsonb_array_length(outputs) - case when blacked_out_is_free then black_outputs else 0 end));
  end if;
  if not skip_generation and (output_path is not null or public.is_media_url(medium)) then
    made := public.create_output(described, medium, new_thumbnail);
  end if;
  if output_path is not null and output_text is not null then
    more := more || jsonb_build_object('public_url', output_location);
  end if;
  if task.result_key is not null and not skip_generation and more_outputs = '[]' and public.is_result(task, output_path) then
    more := more || jsonb_strip_nulls(jsonb_build_object(
      'storage_path', output_path, 'thumbnail_path', case when new_thumbnail is not null then thumbnail_path end));
    result := task;
    result.output_location := coalesce(output_text, output_location);
    result.thumbnail_url := new_thumbnail;
    result.result_data := more;
    shared := public.share_result(result, 20);
  end if;
  perform public.deliver_files(
    task,
    array[output_path, case when new_thumbnail is not null then thumbnail_path end]
      || array(select value ->> 'path' from jsonb_array_elements(more_outputs)));
  perform public.deliver_named_files(task.id, output_text);
  task := public.finish_task(task, coalesce(output_text, output_location), new_thumbnail,
                             made.generation_id, made.variant_id);

  -- What the row does not say, for repeats of this call.
  if made.warnings <> '[]' then
    more := more || jsonb_build_object('warnings', coalesce(more -> 'warnings', '[]') || made.warnings);
  end if;
  if more_outputs <> '[]' then
    more := more || jsonb_build_object('more_outputs', public.add_more_outputs(task, made, more_outputs));
  end if;
  if more <> '{}' then
    update public.tasks set result_data = result_data || more where id = task.id returning * into task;
  end if;
  if task.result_key is not null then
    perform public.finish_followers(shared);
    perform public.release_followers(task.project_id, task.result_key, task.user_id);
  end if;
  return public.stored_completion(task);
end
$$;
revoke all on function public.complete_task from public, anon, authenticated;
grant execute on function public.complete_task to service_role;

-- supabase/schemas/tasks/functions/configure_fal.sql
-- What a host says about FAL when it starts. With a key: the rule and the time. Without: that FAL is not configured, which a host
-- says only of a database that it alone serves.
create or replace function public.configure_fal(is_configured boolean, rule text default null, after_seconds integer default null)
returns void
language sql set search_path = '' as $$
  update public.queue_settings
     set fal_is_configured = is_configured, fal_runs = coalesce(rule, fal_runs),
         fal_after = coalesce(make_interval(secs => after_seconds), fal_after)
   where (fal_is_configured, fal_runs, fal_after)
         is distinct from (is_configured, coalesce(rule, fal_runs), coalesce(make_interval(secs => after_seconds), fal_after))
$$;
revoke all on function public.configure_fal from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cost_lines.sql
-- How an ended task's cost came about, line by line; an orchestration's by the kinds of its finished and cancelled parts.
-- `reason` names what was not completed. Nothing for what was free.
create or replace function public.cost_lines(task public.all_tasks)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    with work as (
      select part.*, price.version, price.billing_type, part.reused_task_id is not null as is_reused,
             case when part.status <> 'Complete' then lower(part.status::text) end as reason,
             case when part.reused_task_id is null then price.price_microusd else part.cost_microusd end as price_microusd,
             least(greatest(ceil(extract(epoch from part.generation_processed_at - part.generation_started_at)), 1),
                   public.seconds_of_bound(part.upper_bound_microusd, price, part.billed))::integer as seconds,
             case when part.reused_task_id is null then public.price_multiplier(price, public.billed_of_run(part.billed, part.result_data)) else 1 end as multiplier,
             case when part.reused_task_id is null then public.price_factors(price, public.billed_of_run(part.billed, part.result_data)) else '[]' end as factors
        from public.parts_of_task(task.id) as part
        join public.task_type_prices as price on price.id = part.price_id
       where part.cost_microusd > 0
    ), line as (
      select work.task_type, work.version, work.billing_type, work.price_microusd, work.multiplier, work.factors,
             work.is_reused, work.reason, count(*) as pieces, sum(work.seconds) as seconds, sum(work.cost_microusd) as total
        from work group by 1, 2, 3, 4, 5, 6, 7, 8
    )
    select coalesce(jsonb_agg(jsonb_build_object(
        'item', line.task_type, 'count', line.pieces, 'price_version', line.version,
        'unit', case when line.is_reused then 'reuse' when line.billing_type = 'per_unit' then 'output' else 'second' end,
        'quantity', case when line.is_reused or line.billing_type = 'per_unit' then line.pieces else line.seconds end,
        'each_microusd', line.price_microusd, 'factors', line.factors, 'multiplier', line.multiplier,
        'total_microusd', line.total)
        || case when line.reason is null then '{}' else jsonb_build_object('reason', line.reason) end
        order by line.task_type, line.version, line.multiplier), '[]')
      from line);
end
$$;
revoke all on function public.cost_lines from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cost_of_cancel.sql
-- What it costs when the owner ends a task at this moment; the one place that says so, for the end itself and for quotes.
-- A task that waits costs nothing, and so does a run on the owner's own worker. A run costs what a completion at this moment
-- would: by the second always; by the unit only when a job was begun for it at a provider, because such work is billed
-- whole. `withdrawal_decides`: there is a job, and if it is withdrawn before it begins the cost is nothing.
-- An orchestrator has no cost of its own; see cost_of_cancel_now().
create or replace function public.cost_of_cancel(
  task public.tasks, ended_at timestamptz default clock_timestamp(),
  out cost_microusd bigint, out basis text, out withdrawal_decides boolean
)
language plpgsql stable set search_path = '' as $$
declare
  price public.task_type_prices;
  has_job boolean;
begin
  cost_microusd := 0;
  basis := 'nothing';
  withdrawal_decides := false;
  if task.status <> 'In Progress' or task.is_orchestrator or task.claimed_by_owner or not task.in_cloud then
    return;
  end if;
  select * into price from public.task_type_prices where id = task.price_id;
  has_job := exists (select from public.provider_jobs as job where job.task_id = task.id and not job.by_owner);
  if price.cancel_policy = 'free' or price.billing_type = 'per_unit' and not has_job then
    return;
  end if;
  cost_microusd := public.cost_of_run(task, true, ended_at);
  basis := case price.billing_type when 'per_second' then 'seconds' else 'provider_job' end;
  withdrawal_decides := has_job;
end
$$;
revoke all on function public.cost_of_cancel from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cost_of_cancel_now.sql
-- What the owner pays for cancelling a task at this moment, at most: of an orchestrator its finished parts, and those that run
-- by cost_of_cancel().
create or replace function public.cost_of_cancel_now(for_task uuid)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  part public.tasks;
  total bigint := 0;
begin
  for part in
    with recursive family (id) as (
      select for_task
      union
      select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
    )
    select task.* from family join public.tasks as task on task.id = family.id
  loop
    total := total + case when part.is_orchestrator then 0 else coalesce(part.cost_microusd, 0) end
      + (public.cost_of_cancel(part)).cost_microusd;
  end loop;
  return total;
end
$$;
revoke all on function public.cost_of_cancel_now from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cost_of_run.sql
-- What a finished run costs: nothing on the owner's own machine or without an output; an orchestrator what
-- its parts cost, each once, also those of an orchestration within it that failed: the finished ones, and those that the owner
-- cancelled while they ran; else the price it was quoted, by the database's clock, at most the seconds of its own bound. A part
-- that ended without a charge has no cost.
create or replace function public.cost_of_run(
  task public.tasks, has_output boolean, ended_at timestamptz default clock_timestamp()
)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (
    select case
        when task.is_orchestrator then
          (select coalesce(sum(part.cost_microusd), 0)::bigint from public.parts_of_task(task.id) as part)
          + coalesce((select hold.consumed_microusd from public.credit_holds as hold where hold.task_id = task.id), 0)
        when task.claimed_by_owner or not task.in_cloud or not has_output then 0
        else public.price_of_work(
          price, public.billed_of_run(task.billed, task.result_data), extract(epoch from ended_at - task.generation_started_at),
          public.seconds_of_bound(task.upper_bound_microusd, price, task.billed))
        end
        from public.task_type_prices as price where price.id = task.price_id);
end
$$;
revoke all on function public.cost_of_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cost_with_margin.sql
-- What a job costs that is about to be submitted for a task, after require_provider_margin() has compared what the task costs with it:
-- its billed jobs, those that other steps are about to submit, and this one. The caller holds the running task's lock.
create or replace function public.cost_with_margin(task public.tasks, job jsonb)
returns bigint
language plpgsql set search_path = '' as $$
declare
  cost constant bigint := public.cost_of_provider_call(job ->> 'provider', job ->> 'model', job -> 'units');
begin
  perform public.require_provider_margin(task, cost
    + coalesce((select known.provider_cost_microusd from public.task_provider_costs as known where known.task_id = task.id), 0)
    + coalesce((select sum(begun.cost_microusd)::bigint from public.provider_jobs as begun
                 where begun.task_id = task.id and begun.step <> coalesce((job ->> 'step')::smallint, 0)
                   and begun.request_id is null and not begun.by_owner), 0));
  return cost;
end
$$;
revoke all on function public.cost_with_margin from public, anon, authenticated;

-- supabase/schemas/tasks/functions/count_dependant.sql
-- Keeps the number of tasks that wait for a task.
create or replace function public.count_dependant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if coalesce(new.is_waiting, false) <> coalesce(old.is_waiting, false) then
    perform public.add_to_limit_count('dependants', coalesce(new.dependency_id, old.dependency_id),
                                      case when new.is_waiting then 1 else -1 end);
  end if;
  return null;
end
$$;
revoke all on function public.count_dependant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/count_provider_call.sql
-- Adds a job that was submitted at the operator's account to what its task costs there.
-- Guarantee: a job is added once, by the provider's id, however often and by however many parties it is reported.
create or replace function public.count_provider_call(job public.provider_jobs, for_user uuid, for_task_type text)
returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.provider_calls (task_id, provider, model, request_id, cost_microusd)
  values (job.task_id, job.provider, job.model, job.request_id, job.cost_microusd)
  on conflict (provider, request_id) do nothing;
  if not found then
    return;
  end if;
  insert into public.task_provider_costs as known (task_id, user_id, task_type, day, jobs, provider_cost_microusd)
  values (job.task_id, for_user, for_task_type, (now() at time zone 'UTC')::date, 1, coalesce(job.cost_microusd, 0))
  on conflict (task_id) do update
     set jobs = known.jobs + 1, provider_cost_microusd = known.provider_cost_microusd + excluded.provider_cost_microusd;
  -- Of a task that has ended already.
  perform public.count_unpaid_cost(array[job.task_id]);
end
$$;
revoke all on function public.count_provider_call from public, anon, authenticated;

-- supabase/schemas/tasks/functions/count_task.sql
-- Moves a task from the count of its old state to that of its new one. Takes any of the lane's rows that nobody is
-- writing, and makes a new one rather than wait.
create or replace function public.count_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  was text;
  is_now text;
begin
  if tg_op <> 'INSERT' then
    was := case
      when old.status = 'In Progress' then 'running' when old.status <> 'Queued' then 'ended'
      when old.unmet_dependencies > 0 then 'blocked' when old.is_scheduled then 'scheduled' else 'ready' end;
  end if;
  if tg_op <> 'DELETE' then
    is_now := case
      when new.status = 'In Progress' then 'running' when new.status <> 'Queued' then 'ended'
      when new.unmet_dependencies > 0 then 'blocked' when new.is_scheduled then 'scheduled' else 'ready' end;
  end if;
  if (coalesce(was, 'ended') = 'ended') <> (coalesce(is_now, 'ended') = 'ended') then
    perform public.add_to_limit_count('open_tasks', coalesce(new.user_id, old.user_id),
                                      case when coalesce(is_now, 'ended') = 'ended' then -1 else 1 end);
  end if;
  if tg_op = 'INSERT' and new.is_orchestrator then
    -- Children that outlived a deleted orchestrator with the same id are not this one's.
    delete from public.limit_counts where subject = 'children' and subject_id = new.id;
  end if;
  if tg_op = 'INSERT' and new.orchestrator_task_id is not null then
    perform public.add_to_limit_count('children', new.orchestrator_task_id, 1);
  elsif tg_op = 'DELETE' and old.orchestrator_task_id is not null then
    perform public.add_to_limit_count('children', old.orchestrator_task_id, -1);
  end if;
  if tg_op = 'UPDATE' and old.lane_id <> new.lane_id then
    perform public.add_to_count(old.lane_id, was, -1);
    perform public.add_to_count(new.lane_id, is_now, 1);
  elsif was is null then
    perform public.add_to_count(new.lane_id, is_now, 1);
  elsif is_now is null then
    perform public.add_to_count(old.lane_id, was, -1);
  elsif was <> is_now then
    update public.task_counts
       set ready = ready + case when is_now = 'ready' then 1 when was = 'ready' then -1 else 0 end,
           blocked = blocked + case when is_now = 'blocked' then 1 when was = 'blocked' then -1 else 0 end,
           scheduled = scheduled + case when is_now = 'scheduled' then 1 when was = 'scheduled' then -1 else 0 end,
           running = running + case when is_now = 'running' then 1 when was = 'running' then -1 else 0 end
     where id = (select id from public.task_counts where lane_id = new.lane_id limit 1 for no key update skip locked);
    if not found then
      perform public.add_to_count(new.lane_id, was, -1);
      perform public.add_to_count(new.lane_id, is_now, 1);
    end if;
  end if;
  return null;
end
$$;
revoke all on function public.count_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/count_unpaid_cost.sql
-- Counts what tasks cost at providers beyond their charge with their user, in the transaction that ends them or that changes their
-- cost or their charge afterwards; require_unpaid_allowance() reads it.
-- Guarantee: however often a task is counted, what it was counted with last is what counts.
-- Takes the lock of the account, which holds of the same user take as well, and only where something changes.
create or replace function public.count_unpaid_cost(for_tasks uuid[], deleted_charge bigint default null)
returns void
language plpgsql set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  cost public.task_provider_costs;
  unpaid bigint;
begin
  for cost in select * from public.task_provider_costs where task_id = any (for_tasks) order by user_id, task_id loop
    unpaid := public.unpaid_cost_of_task(cost, deleted_charge);
    continue when unpaid is null or unpaid = cost.unpaid_microusd;
    perform from public.credit_accounts where user_id = cost.user_id for no key update;
    -- Another transaction may have counted it while this one waited.
    select * into cost from public.task_provider_costs where task_id = cost.task_id;
    unpaid := public.unpaid_cost_of_task(cost, deleted_charge);
    if unpaid > cost.unpaid_microusd then
      insert into public.unpaid_provider_costs as counted (user_id, day, unpaid_microusd)
      values (cost.user_id, today, unpaid - cost.unpaid_microusd)
      on conflict (user_id, day) do update set unpaid_microusd = counted.unpaid_microusd + excluded.unpaid_microusd;
    else
      update public.unpaid_provider_costs
         set unpaid_microusd = greatest(unpaid_microusd - (cost.unpaid_microusd - unpaid), 0)
       where user_id = cost.user_id and day = cost.unpaid_on;
    end if;
    update public.task_provider_costs
       set unpaid_microusd = unpaid, unpaid_on = case when unpaid > cost.unpaid_microusd then today else cost.unpaid_on end
     where task_id = cost.task_id;
  end loop;
end
$$;
revoke all on function public.count_unpaid_cost from public, anon, authenticated;

-- supabase/schemas/tasks/functions/count_withdrawn_job.sql
-- Adds a job whose id became known only when its task had ended to what the task costs the operator; see count_provider_call().
create or replace function public.count_withdrawn_job(withdrawal public.provider_withdrawals)
returns void
language plpgsql set search_path = '' as $$
declare
  job public.provider_jobs;
begin
  if withdrawal.by_owner or withdrawal.request_id is null then
    return;
  end if;
  job.task_id := withdrawal.task_id;
  job.provider := withdrawal.provider;
  job.model := withdrawal.model;
  job.request_id := withdrawal.request_id;
  job.cost_microusd := withdrawal.provider_cost_microusd;
  perform public.count_provider_call(job, withdrawal.user_id, coalesce(
    withdrawal.charge_metadata ->> 'task_type',
    (select task_type from public.all_tasks where id = withdrawal.task_id limit 1), 'unknown'));
end
$$;
revoke all on function public.count_withdrawn_job from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cover_child.sql
-- A child is paid from the hold of its (outermost) orchestrator; when the children need more than what is
-- held, the hold is raised (402 when the account cannot). Without this, an orchestrator would be a way
-- to free work.
create or replace function public.cover_child(orchestrator_id uuid, child_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  excess bigint;
begin
  update public.tasks set children_held_microusd = children_held_microusd + child_microusd
   where id = orchestrator_id
  returning * into orchestrator;
  excess := orchestrator.children_held_microusd - orchestrator.held_microusd;
  if excess <= 0 then
    return;
  end if;
  update public.tasks set held_microusd = children_held_microusd where id = orchestrator_id;
  if orchestrator.orchestrator_task_id is null then
    perform public.extend_hold(orchestrator_id, orchestrator.children_held_microusd);
  else
    perform public.cover_child(orchestrator.orchestrator_task_id, excess);
  end if;
end
$$;
revoke all on function public.cover_child from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cover_cost.sql
-- Before a finished run is charged: a hold that is short of its cost takes the rest from the available credit, and what a part
-- did not use serves the other parts of its orchestration. The caller holds the locks of the task and its orchestrations.
create or replace function public.cover_cost(finished public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  held bigint := finished.held_microusd;
begin
  if not finished.in_cloud then
    return;
  end if;
  if finished.cost_microusd > held and not finished.is_orchestrator then
    held := public.raise_hold(finished, finished.cost_microusd);
    update public.tasks set held_microusd = held where id = finished.id;
  end if;
  if finished.orchestrator_task_id is not null then
    update public.tasks set children_held_microusd = children_held_microusd - greatest(held - finished.cost_microusd, 0)
     where id = finished.orchestrator_task_id;
  end if;
end
$$;
revoke all on function public.cover_cost from public, anon, authenticated;

-- supabase/schemas/tasks/functions/cover_run.sql
-- Holds one more step of a run, as far as the account and its caps allow, and answers the task with the time until which it is
-- covered now. The caller holds the locks of the task, its orchestrations and its account.
create or replace function public.cover_run(task public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
declare
  price public.task_type_prices;
  wanted_seconds integer;
  held bigint;
  seconds integer;
begin
  select * into price from public.task_type_prices where id = task.price_id;
  -- From this moment, where the last look was long ago.
  wanted_seconds := greatest(task.covered_seconds, ceil(extract(epoch from now() - task.generation_started_at)))
                    + (select hold_growth_seconds from public.credit_settings);
  held := public.raise_hold(task, public.hold_for_seconds(price, task.billed, wanted_seconds));
  if held < task.upper_bound_microusd then
    seconds := public.seconds_paid_by(held, price, task.billed);
  end if;
  update public.tasks
     set held_microusd = held, covered_seconds = seconds,
         covered_until = task.generation_started_at + make_interval(secs => seconds)
   where id = task.id
  returning * into task;
  return task;
end
$$;
revoke all on function public.cover_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/create_one_task.sql
-- One task of a create: see create_task. Locks, in this order: shot, orchestrator, dependencies, tenant, account.
create or replace function public.create_one_task(for_user uuid, request jsonb, for_token uuid default null)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  new_id constant uuid := coalesce((request ->> 'task_id')::uuid, gen_random_uuid());
  plan record;
  task public.tasks;
  known public.tasks;
begin
  if request ? 'task_id' then
    select * into known from public.tasks where id = new_id;
    if not found then
      select * into known from public.archived_task(new_id);
    end if;
    if known.id is not null then
      return public.repeated_task(known, (public.project_of_request(for_user, request)).user_id,
                                  public.hash_of_request(request));
    end if;
  end if;

  if request ? 'placeholder' then
    -- Before the tenant and the account, as completing locks them.
    perform from public.shots
     where id = (request -> 'placeholder' ->> 'shot_id')::uuid
       and project_id = (public.project_of_request(for_user, request)).id
       for no key update;
    if not found then
      perform public.refuse('shot_not_found', 404, '{"field": "shot_id"}');
    end if;
  end if;
  select * into plan from public.plan_task(for_user, request, new_id);
  task := plan.planned;
  if (plan.result).id is not null then
    task := public.reuse_result(task, plan.result);
    insert into public.tasks select task.* on conflict (id) do nothing;
    if not found then
      -- Undone with what was just made of it, and tried again: then the task is known.
      raise exception 'task % was created meanwhile', new_id using errcode = 'serialization_failure';
    end if;
  else
    insert into public.tasks (
      id, project_id, user_id, task_type, params, lane_id, run_type, model, is_orchestrator,
      orchestrator_task_id, dependant_on, unmet_dependencies, dependency_depth, priority, run_after, is_scheduled, max_attempts,
      request_hash,
      result_key, is_following, in_cloud, price_id, billed, expected_microusd, held_microusd, upper_bound_microusd, covered_seconds,
      part_prices)
    values (
      new_id, task.project_id, task.user_id, task.task_type, task.params, task.lane_id, task.run_type, task.model,
      task.is_orchestrator, task.orchestrator_task_id, task.dependant_on, task.unmet_dependencies,
      task.dependency_depth, task.priority,
      task.run_after, task.is_scheduled, task.max_attempts, task.request_hash, task.result_key, task.is_following,
      task.in_cloud, task.price_id, task.billed, task.expected_microusd, task.held_microusd, task.upper_bound_microusd,
      task.covered_seconds, task.part_prices)
    on conflict (id) do nothing;
    if not found then
      -- The same id, committed by another request since our look.
      select * into known from public.tasks where id = new_id;
      return public.repeated_task(known, (public.project_of_request(for_user, request)).user_id,
                                    public.hash_of_request(request));
    end if;
  end if;
  perform public.publish_inputs(task, for_user is not null);
  perform public.enter_queue(task, for_token);
  if request ? 'placeholder' then
    perform public.make_placeholder(task, request -> 'placeholder');
  end if;

  return public.created_task(task, plan.exact, plan.price_version) || jsonb_build_object(
    'held_microusd', case when task.in_cloud and task.orchestrator_task_id is null and task.reused_task_id is null
                          then task.held_microusd else 0 end,
    'deduplicated', false);
end
$$;
revoke all on function public.create_one_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/create_task.sql
-- Creates one task or up to a hundred, all or none: priced, covered by a hold, queued.
-- `requests` is an array of {task_id?, task_type, params, project_id?, dependant_on, priority?, max_attempts?, run_after?, quote_id?,
-- placeholder?: see make_placeholder}.
-- `sent` is what the client sent, where the requests were built from it and are built otherwise each time. With rows, the
-- answer has the new rows as readers see them; `more` is added to it, and comes again with it.
-- Guarantees: no task without cover; the same key, or the same task id, and the same request give the first
-- answer again.
create or replace function public.create_task(
  for_user uuid, requests jsonb, is_batch boolean, idempotency_key text default null, for_token uuid default null,
  sent jsonb default null, with_rows boolean default false, more jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  hash constant bytea := sha256(convert_to(coalesce(sent, requests)::text, 'UTF8'));
  project public.projects;
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
      return public.answered_request(project.user_id, create_task.idempotency_key, hash);
    end if;
  end if;

  -- Results that are given again go into shots, which come before tenants and accounts: also those of a batch's later tasks.
  if is_batch and exists (
       select from public.projects
        where reuses_results
          and id in (select public.uuid_or_null(value ->> 'project_id') from jsonb_array_elements(requests))) then
    perform from public.shots
      where id in (select public.uuid_or_null(public.shot_of_params(value -> 'params')) from jsonb_array_elements(requests))
        and project_id in (select id from public.projects where for_user is null or user_id = for_user)
      order by id for no key update;
  end if;

  for request in select value from jsonb_array_elements(requests) loop
    created := created || public.create_one_task(for_user, request, for_token);
  end loop;

  first_answer := case
    when is_batch then jsonb_build_object(
      'status', 'Task queued', 'tasks', created,
      'task_ids', (select jsonb_agg(task -> 'task_id') from jsonb_array_elements(created) as task),
      'deduplicated', not exists (select from jsonb_array_elements(created) as task
                                   where not (task -> 'deduplicated')::boolean))
    else created -> 0 end || more;
  if with_rows then
    first_answer := first_answer || jsonb_build_object('rows', (
      select jsonb_agg(to_jsonb(row_of) order by position)
        from jsonb_array_elements(created) with ordinality as one (task, position)
        join public.all_tasks as row_of on row_of.id = (task ->> 'task_id')::uuid));
  end if;
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

-- supabase/schemas/tasks/functions/created_task.sql
-- What a create answers about a task, the first time and every time after. `cost` is what it is expected to cost; of one that
-- reused a result, and is complete, what it did cost.
create or replace function public.created_task(task public.tasks, exact boolean, price_version integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  is_reused constant boolean := task.reused_task_id is not null;
begin
  return case when is_reused then public.amounts_of_quote(task.cost_microusd, task.cost_microusd, task.cost_microusd)
    else public.amounts_of_quote(task.expected_microusd, task.held_microusd, task.upper_bound_microusd) end
    || jsonb_build_object(
    'task_id', task.id, 'status', case when is_reused then 'Task complete' else 'Task queued' end,
    'task_type', task.task_type, 'project_id', task.project_id,
    'exact', exact or is_reused, 'price_version', price_version,
    'reused', is_reused, 'shares_run', task.is_following);
end
$$;
revoke all on function public.created_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/delete_large_project.sql
-- A person, or the service, deletes a project over REST. A small one goes with this statement; one with much in it is marked, which
-- hides it, and task_outbox ends its tasks and removes its rows in batches. Without this, the more a project has, the less
-- likely it could be deleted within a statement's time.
create or replace function public.delete_large_project()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  few constant integer := (select direct_cascade from public.queue_settings);
begin
  if old.deleted_at is null then
    if (select count(*) from (
          select from public.tasks where project_id = old.id and status in ('Queued', 'In Progress') limit few + 1) as one) <= few
       and (select count(*) from (select from public.tasks where project_id = old.id limit 201) as one) <= 200
       and (select count(*) from (select from public.archived_tasks where project_id = old.id limit 201) as one) <= 200
       and (select count(*) from (select from public.generations where project_id = old.id limit 201) as one) <= 200 then
      return old;
    end if;
    update public.projects set deleted_at = now() where id = old.id;
    insert into public.task_outbox (kind, subject_id, user_id) values ('delete_project', old.id, old.user_id);
  end if;
  return null;
end
$$;
revoke all on function public.delete_large_project from public, anon, authenticated;

-- supabase/schemas/tasks/functions/delete_some_of_project.sql
-- Ends up to so many open tasks of a project that is being deleted; when none is open, removes as many rows; at last the project.
create or replace function public.delete_some_of_project(
  for_project uuid, at_most integer, out did integer, out is_done boolean
)
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  next_id uuid;
begin
  did := 0;
  is_done := false;
  if not exists (select from public.projects where id = for_project and deleted_at is not null) then
    is_done := true;
    return;
  end if;
  for next_id in
    select id from public.tasks where project_id = for_project and status in ('Queued', 'In Progress')
     order by is_orchestrator desc, id limit at_most
  loop
    exit when clock_timestamp() > started + interval '100 ms';
    perform public.end_task(next_id, 'Cancelled', 'project_deleted');
    did := did + 1;
  end loop;
  if did > 0 then
    return;
  end if;
  delete from public.tasks where id in (select id from public.tasks where project_id = for_project limit least(at_most, 100));
  get diagnostics did = row_count;
  if did = 0 then
    delete from public.archived_tasks
     where id in (select id from public.archived_tasks where project_id = for_project limit least(at_most, 200));
    get diagnostics did = row_count;
  end if;
  if did = 0 then
    delete from public.generations
     where id in (select id from public.generations where project_id = for_project limit least(at_most, 100));
    get diagnostics did = row_count;
  end if;
  if did = 0 then
    delete from public.projects where id = for_project;
    did := 1;
    is_done := true;
  end if;
end
$$;
revoke all on function public.delete_some_of_project from public, anon, authenticated;

-- supabase/schemas/tasks/functions/doctor.sql
-- Proves from the tables alone that no task is lost, charged twice or unpaid and that every account adds up; lists what
-- is wrong, with its row, at most so many. `chain_digest` stands for every entry up to now: kept elsewhere, it shows
-- later whether the past was changed.
create or replace function public.doctor(at_most integer default 1000)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  faults jsonb;
  found_faults bigint;
begin
  select coalesce(jsonb_agg(to_jsonb(listed) - 'position') filter (where position <= at_most), '[]'), count(*)
    into faults, found_faults
    from (select checked.*, row_number() over () as position
            from (select 'credits' as room, fault.* from public.find_ledger_faults() as fault
                  union all
                  select 'billing', fault.* from public.find_payment_faults() as fault
                  union all
                  select 'tasks', fault.* from public.find_task_faults() as fault
                  union all
                  select 'queue', fault.* from public.find_queue_faults() as fault
                  union all
                  select 'margin', fault.* from public.find_margin_faults() as fault) as checked) as listed;
  return jsonb_build_object(
    'healthy', found_faults = 0, 'checked_at', clock_timestamp(), 'fault_count', found_faults, 'faults', faults,
    'accounts', (select count(*) from public.credit_accounts),
    'entries', (select count(*) from public.credits_ledger),
    'open_holds', (select count(*) from public.credit_holds where state = 'held')
                  + (select count(*) from public.paid_calls where state = 'held'),
    'tasks', (select count(*) from public.all_tasks),
    'books_microusd', (select jsonb_build_object(
        'customers', coalesce(sum(amount_microusd), 0), 'revenue', coalesce(sum(revenue_microusd), 0),
        'purchases', coalesce(sum(purchases_microusd), 0), 'grants', coalesce(sum(grants_microusd), 0),
        'write_off', coalesce(sum(write_off_microusd), 0), 'debt', coalesce(sum(debt_microusd), 0))
      from public.credits_ledger),
    'chain_digest', public.ledger_digest());
end
$$;
revoke all on function public.doctor from public, anon, authenticated;
grant execute on function public.doctor to service_role;

-- supabase/schemas/tasks/functions/empty_account.sql
-- Removes what the projects of a user have, a batch a call, before the user is deleted: the deletion itself is one transaction, and
-- must not take longer the more a user has. Their projects are marked as deleted, as delete_large_project() does, and task_outbox goes
-- on with them also when nobody calls again. Answers how many rows it changed, 0 when somebody else has what comes next, and
-- null when so little is left that it goes with the user. An account that is small from the beginning is left as it is.
create or replace function public.empty_account(for_user uuid)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  own constant uuid[] := array(select id from public.projects where user_id = for_user);
  few constant integer := (select direct_cascade from public.queue_settings);
begin
  if (select count(*) from (
        select from public.tasks where project_id = any (own) and status in ('Queued', 'In Progress') limit few + 1) as one) <= few
     and (select count(*) from (select from public.tasks where project_id = any (own) limit 201) as one) <= 200
     and (select count(*) from (select from public.archived_tasks where project_id = any (own) limit 201) as one) <= 200
     and (select count(*) from (select from public.generations where project_id = any (own) limit 201) as one) <= 200 then
    return null;
  end if;
  update public.projects set deleted_at = now() where user_id = for_user and deleted_at is null;
  insert into public.task_outbox (kind, subject_id, user_id)
  select 'delete_project', id, user_id from public.projects
   where user_id = for_user
     and not exists (select from public.task_outbox where subject_id = projects.id and kind = 'delete_project');
  return public.run_outbox_of_user(for_user, 200);
exception when lock_not_available or deadlock_detected then
  return 0;
end
$$;
revoke all on function public.empty_account from public, anon, authenticated;
grant execute on function public.empty_account to service_role;

-- supabase/schemas/tasks/functions/end_leftover_parts.sql
-- Ends the parts that a complete orchestrator leaves behind: some at once, and all that run; task_outbox has the rest. They would
-- run without cover, for its hold ends here. With the owner's own worker, that is the owner's doing.
create or replace function public.end_leftover_parts(orchestrator public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  part uuid;
begin
  for part in
    select id from public.tasks
     where orchestrator_task_id = orchestrator.id and status in ('Queued', 'In Progress')
     order by created_at, id limit (select direct_cascade from public.queue_settings)
  loop
    perform public.end_task(part, 'Cancelled', 'orchestrator_finished', by_owner => orchestrator.claimed_by_owner);
  end loop;
  foreach part in array public.running_parts_of_ended(orchestrator.user_id) loop
    perform public.end_task(part, 'Cancelled', 'orchestrator_finished', by_owner => orchestrator.claimed_by_owner);
  end loop;
  if exists (select from public.tasks
              where orchestrator_task_id = orchestrator.id and status in ('Queued', 'In Progress')) then
    insert into public.task_outbox (kind, subject_id, user_id, new_status, by_owner, origin_id)
    values ('end_relatives', orchestrator.id, orchestrator.user_id, 'Cancelled', orchestrator.claimed_by_owner, orchestrator.id);
  end if;
end
$$;
revoke all on function public.end_leftover_parts from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_part_of_ended.sql
-- Ends a queued part of an orchestration that is over, before the outbox does, because a claim has met it. Waits for nobody: the
-- caller has the part's lock, and what follows from its end is left to the outbox.
create or replace function public.end_part_of_ended(part public.tasks, ended uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  end_status constant public.task_status := (
    select case status when 'Failed' then 'Failed' else 'Cancelled' end from public.tasks where id = ended);
begin
  update public.tasks
     set status = end_status, is_scheduled = false, updated_at = now(),
         error_message = format('Cascaded %s from related task %s', lower(end_status::text), ended)
   where id = part.id;
  if part.is_orchestrator then
    perform public.settle_ended_orchestrator(part);
  end if;
  if exists (select from public.task_dependencies where dependency_id = part.id and is_waiting)
     or exists (select from public.tasks
                 where orchestrator_task_id = part.id and status in ('Queued', 'In Progress')) then
    insert into public.task_outbox (kind, subject_id, user_id, new_status, by_owner, origin_id)
    values ('end_relatives', part.id, part.user_id, end_status, end_status = 'Cancelled', ended);
  end if;
end
$$;
revoke all on function public.end_part_of_ended from public, anon, authenticated;

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

-- supabase/schemas/tasks/functions/end_some_relatives.sql
-- Ends up to so many open parts of a task that has ended, and of the tasks that wait for it; each as end_task() does, with what
-- depends on it in turn. When the task was queued again meanwhile, they have no reason to end: there is nothing left to do.
create or replace function public.end_some_relatives(
  entry public.task_outbox, at_most integer, out did integer, out is_done boolean
)
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  subject_status public.task_status;
  next_id uuid;
  parts uuid[];
  waiting uuid[] := '{}';
begin
  did := 0;
  -- Locked, so that it is not queued again meanwhile.
  select status into subject_status from public.tasks where id = entry.subject_id for share skip locked;
  if not found then
    is_done := not exists (select from public.tasks where id = entry.subject_id);
    return;
  end if;
  if subject_status in ('Queued', 'In Progress') then
    is_done := true;
    return;
  end if;
  parts := array(
    select id from public.tasks
     where orchestrator_task_id = entry.subject_id and status in ('Queued', 'In Progress')
     order by created_at, id limit at_most);
  if subject_status <> 'Complete' then
    waiting := array(
      select task_id from public.task_dependencies
       where dependency_id = entry.subject_id and is_waiting and task_id <> all (parts)
       order by task_id limit at_most - cardinality(parts));
  end if;
  is_done := cardinality(parts) + cardinality(waiting) < at_most;
  foreach next_id in array parts || waiting loop
    if clock_timestamp() > started + interval '100 ms' then
      is_done := false;
      exit;
    end if;
    perform public.end_task(
      next_id, entry.new_status,
      case when next_id <> all (parts) then 'dependency_failed'
           when subject_status = 'Complete' then 'orchestrator_finished'
           else format('Cascaded %s from related task %s', lower(entry.new_status::text), entry.origin_id) end,
      by_owner => entry.by_owner, is_dependant => next_id <> all (parts));
    did := did + 1;
  end loop;
end
$$;
revoke all on function public.end_some_relatives from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_task.sql
-- Fails or cancels a task, and with it whoever cannot go on: its orchestrator, the orchestrator's other
-- children, and all who depend on any of them. Rows that have ended stay as they are. At most `direct_cascade` children and
-- dependants end with it; task_outbox has the rest: see next_to_end(). `is_dependant`: the task ends for a dependency that
-- did, so it fails, and `new_status` is for what ends with it as a relative.
-- Charges an orchestrator's finished children and, where the owner ended the work, what running tasks have consumed:
-- see give_up_run(). Every other hold is released. `by_owner`: the owner, or something that the owner did, ended it, and no
-- failure of a worker or a provider; a cancel is the owner's unless it is said to be another's.
-- The orchestrators above a task that fails keep which part failed and why (`failed_part`): their `error_message` names its id alone,
-- in the form that clients know.
-- One statement a step away from the task, and not one for all: a step's rows are looked for when those before are
-- locked, so that a child which is created at the same moment is found.
-- `already_ended` is the task as it was, where its row says so already.
create or replace function public.end_task(
  for_task uuid, new_status public.task_status, error text, already_ended public.tasks default null,
  by_owner boolean default null, is_dependant boolean default false
)
returns void
language plpgsql set search_path = '' as $$
declare
  is_owners constant boolean := coalesce(by_owner, new_status = 'Cancelled');
  -- One moment for the rows and for their costs, so that the one can be computed from the other.
  ended_at constant timestamptz := clock_timestamp();
  run record;
  relatives uuid[] := case when is_dependant then '{}' else array[for_task] end;
  dependants uuid[] := case when is_dependant then array[for_task] else '{}' end;
  room integer := (select direct_cascade from public.queue_settings);
  ended public.tasks[];
  ended_ids uuid[];
  orchestrators uuid[] := '{}';
  task public.tasks;
  cause jsonb;
  above uuid[] := '{}';
  all_ended uuid[] := '{}';
begin
  loop
    ended := array(
      select candidate from public.tasks as candidate
       where candidate.id = any (relatives || dependants) and candidate.status in ('Queued', 'In Progress')
       order by candidate.id for no key update);
    if already_ended.id is not null then
      ended := ended || already_ended;
      already_ended := null;
    end if;
    exit when cardinality(ended) = 0;
    ended_ids := array(select id from unnest(ended));
    all_ended := all_ended || ended_ids;
    if cause is null and new_status = 'Failed' then
      select * into task from unnest(ended) where id = for_task;
      task.error_message := coalesce(error, task.error_message);
      cause := public.failed_part(task);
      above := public.orchestrators_above(task);
    end if;
    update public.tasks
       set status = case when id = any (relatives) then new_status else 'Failed' end,
           error_message = case
             when id = for_task then error
             when id = any (relatives) then format('Cascaded %s from related task %s', lower(new_status::text), for_task)
             else 'dependency_failed' end,
           result_data = case when id = any (above) then result_data || jsonb_build_object('failed_part', cause) else result_data end,
           slot = null, project_slot = null, task_type_slot = null, lease_expires_at = null, is_scheduled = false,
           is_following = false, updated_at = now()
     where id = any (ended_ids) and status in ('Queued', 'In Progress');
    perform public.free_slots(ended);
    foreach task in array ended loop
      if task.result_key is not null and not task.is_following then
        perform public.release_followers(task.project_id, task.result_key, task.user_id);
      end if;
    end loop;
    foreach task in array ended loop
      -- end_uncovered_run() has charged its run already.
      run := public.give_up_run(task, is_owners and task.cost_microusd is null, ended_at);
      if run.basis <> 'nothing' then
        update public.tasks
           set cost_microusd = run.cost_microusd, generation_processed_at = ended_at,
               result_data = result_data || jsonb_build_object('cancellation', jsonb_build_object(
                 'state', case when run.is_pending then 'withdrawing' else 'charged' end,
                 'basis', run.basis, 'cost_microusd', run.cost_microusd))
         where id = task.id;
      end if;
      if task.is_orchestrator then
        orchestrators := orchestrators || task.id;
      elsif task.orchestrator_task_id is null then
        perform public.settle_hold(task.id);
      end if;
    end loop;
    update public.task_dependencies set is_waiting = false where task_id = any (ended_ids) and is_waiting;
    select next.* into relatives, dependants, room
      from public.next_to_end(ended, new_status, is_owners, for_task, room) as next;
  end loop;

  -- Last, when no child can finish any more.
  for task in select * from public.tasks where id = any (orchestrators) order by id loop
    perform public.settle_ended_orchestrator(task);
  end loop;
  perform public.count_unpaid_cost(all_ended);
end
$$;
revoke all on function public.end_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_unallowed_run.sql
-- Fails a task that require_unpaid_allowance() refuses to begin at a provider. Its owner reads until when; the operator gets an alert with
-- the amounts, one for each user, until it is resolved. The caller holds the locks of the task and its orchestrations.
create or replace function public.end_unallowed_run(task public.tasks, refusal jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  values (task.user_id::text, 'unpaid_provider_limit', refusal)
  on conflict do nothing;
  perform public.end_task(
    task.id, 'Failed',
    'unpaid_provider_limit: too many tasks of this account ended today without a charge. Try again after 00:00 UTC. Nothing is charged.',
    by_owner => false);
end
$$;
revoke all on function public.end_unallowed_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_uncovered_parts.sql
-- The open children of an orchestrator that was deleted would run without cover: they end. It was open, or the outbox had not
-- ended them yet. Their reference to it is gone
-- by now, so they are known by having no hold. Afterwards, and not before, for one statement may delete them all.
create or replace function public.end_uncovered_parts()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if old.status not in ('Queued', 'In Progress')
     and not exists (select from public.task_outbox where subject_id = old.id and kind = 'end_relatives') then
    return null;
  end if;
  perform public.end_task(part.id, 'Cancelled', 'orchestrator_deleted')
     from public.tasks as part
    where part.project_id = old.project_id and part.created_at >= old.created_at
      and part.status in ('Queued', 'In Progress') and part.in_cloud and part.orchestrator_task_id is null
      and not exists (select from public.credit_holds as hold where hold.task_id = part.id);
  return null;
end
$$;
revoke all on function public.end_uncovered_parts from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_uncovered_run.sql
-- Ends a run that its account can pay no further: Failed with `credit_exhausted`, not retried. It costs the seconds that it took,
-- and is charged at most what is held for it. With a part ends its orchestration, and the other parts that run are charged as if
-- the owner had cancelled them: an account without credit gets none of them for nothing.
-- The caller holds the locks of the task, its orchestrations, its tenant and its account.
create or replace function public.end_uncovered_run(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  ended_at constant timestamptz := clock_timestamp();
  ended public.tasks;
begin
  update public.tasks
     set generation_processed_at = ended_at, cost_microusd = public.cost_of_run(task, true, ended_at)
   where id = task.id
  returning * into ended;
  if ended.orchestrator_task_id is null then
    perform public.close_hold(ended.id, ended.cost_microusd, public.charge_metadata(ended));
  end if;
  perform public.end_task(ended.id, 'Failed', 'credit_exhausted', by_owner => true);
end
$$;
revoke all on function public.end_uncovered_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/end_uncovered_runs.sql
-- Ends runs whose held amount is used up and whose account allows no more: see end_uncovered_run(). Answers how many.
-- `may_wait`: it waits for locks, lest a tenant run uncovered by holding one: half a second for one lock and a second in all, in an order
-- by chance, so that one tenant's locks delay no other's end for long. Safe to run anywhere at once.
create or replace function public.end_uncovered_runs(at_most integer default 50, may_wait boolean default true)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '500ms' as $$
declare
  begun constant timestamptz := clock_timestamp();
  run record;
  task public.tasks;
  ended integer := 0;
begin
  if not may_wait then
    perform set_config('lock_timeout', '1ms', true);
  end if;
  for run in
    select id, user_id from (
      select id, user_id from public.tasks
       where status = 'In Progress' and covered_until <= now() order by covered_until limit 1000) as uncovered
     order by random() limit at_most
  loop
    exit when clock_timestamp() > begun + interval '1 second';
    begin
      -- In the order of all: orchestrations, the task, the tenant, the account.
      perform public.lock_orchestrators(run.id);
      select * into task from public.tasks
       where id = run.id and status = 'In Progress' and covered_until <= now() for no key update;
      continue when not found;
      perform public.lock_tenant(run.user_id);
      perform from public.credit_accounts where user_id = run.user_id for no key update;
      task := public.cover_run(task);
      if task.covered_until <= now() then
        perform public.end_uncovered_run(task);
        ended := ended + 1;
      end if;
    exception when lock_not_available or deadlock_detected then
      continue;
    end;
  end loop;
  return ended;
end
$$;
revoke all on function public.end_uncovered_runs from public, anon, authenticated;
grant execute on function public.end_uncovered_runs to service_role;

-- supabase/schemas/tasks/functions/end_unprofitable_run.sql
-- Fails a task that require_provider_margin() refuses to run at a provider. Its owner reads that it cannot be run and pays nothing; the
-- operator gets an alert with the amounts, one for each type and model, until it is resolved. The caller holds the locks of the task
-- and its orchestrations.
create or replace function public.end_unprofitable_run(task public.tasks, job jsonb, refusal jsonb)
returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.billing_alerts (subject, reason, details)
  values (left(concat_ws(' ', task.task_type, job ->> 'provider', job ->> 'model'), 255), 'sold_below_cost',
          refusal || jsonb_build_object('provider', job -> 'provider', 'model', job -> 'model', 'units', job -> 'units'))
  on conflict do nothing;
  perform public.end_task(
    task.id, 'Failed', 'not_available: this task cannot be run at the moment. Nothing is charged.', by_owner => false);
end
$$;
revoke all on function public.end_unprofitable_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/ended_orchestrator.sql
-- The nearest of an orchestrator and those above it that is over; null when none is. A part of one that is over is neither
-- claimed nor given parts of its own: the outbox ends it.
create or replace function public.ended_orchestrator(of_orchestrator uuid)
returns uuid
language plpgsql stable set search_path = '' as $$
declare
  candidate uuid := of_orchestrator;
  known record;
begin
  while candidate is not null loop
    select status, orchestrator_task_id into known from public.tasks where id = candidate;
    if known.status in ('Complete', 'Failed', 'Cancelled') then
      return candidate;
    end if;
    candidate := known.orchestrator_task_id;
  end loop;
  return null;
end
$$;
revoke all on function public.ended_orchestrator from public, anon, authenticated;

-- supabase/schemas/tasks/functions/enter_queue.sql
-- What a new task's row brings with it: who it waits for, its cover, a lane that has work. The tenant's lock is held since
-- the task was planned.
create or replace function public.enter_queue(task public.tasks, for_token uuid default null)
returns void
language plpgsql set search_path = '' as $$
begin
  if task.reused_task_id is not null then
    -- It never waits; what it costs is held and charged at once.
    if task.cost_microusd > 0 then
      perform public.open_hold(task.user_id, task.id, task.cost_microusd, task.project_id, for_token);
      perform public.close_hold(task.id, task.cost_microusd, public.charge_metadata(task));
    end if;
    return;
  end if;
  if task.is_following then
    -- It waits no longer than it would by itself. A run that somebody has just taken needs no priority.
    update public.tasks set priority = task.priority
     where id = (select id from public.tasks
                  where project_id = task.project_id and result_key = task.result_key and not is_following
                    and status = 'Queued' and priority < task.priority
                  for no key update skip locked);
    if not public.run_is_under_way(task.project_id, task.result_key) then
      -- The run ended while we waited for the tenant.
      insert into public.results_to_share (project_id, result_key, user_id)
      values (task.project_id, task.result_key, task.user_id) on conflict do nothing;
    end if;
  end if;
  if task.dependant_on is not null then
    -- Locked since the task was planned, so their status is the same.
    insert into public.task_dependencies (dependency_id, task_id, is_waiting)
    select id, task.id, status <> 'Complete' from public.tasks where id = any (task.dependant_on);
  end if;
  if task.in_cloud then
    if task.orchestrator_task_id is null then
      perform public.open_hold(
        task.user_id, task.id, task.held_microusd, task.project_id, for_token, task.run_after);
    else
      perform public.cover_child(task.orchestrator_task_id, task.held_microusd);
    end if;
  end if;
  if task.unmet_dependencies = 0 and not task.is_scheduled then
    perform public.ready_lane(task.lane_id, now());
  end if;
end
$$;
revoke all on function public.enter_queue from public, anon, authenticated;

-- supabase/schemas/tasks/functions/exchange_provider_withdrawals.sql
-- What a party that withdraws jobs at a provider says and asks, in one call: the id of a job that it submitted while the task
-- ended, what became of jobs that it was given, and the next ones. `request`: {provider, submitted: {task_id, attempt,
-- step, request_id}, reports: [{withdrawal_id, outcome}], at_most}. `for_user`: the owner whose own worker asks.
create or replace function public.exchange_provider_withdrawals(for_user uuid, request jsonb)
returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '1s' as $$
declare
  provider constant text := request ->> 'provider';
  submitted constant jsonb := request -> 'submitted';
  is_noted boolean := false;
  settled integer;
begin
  if jsonb_typeof(submitted) = 'object' then
    is_noted := public.note_unwanted_job(
      for_user, provider, (submitted ->> 'task_id')::uuid, (submitted ->> 'attempt')::integer,
      coalesce((submitted ->> 'step')::smallint, 0::smallint), submitted ->> 'request_id');
  end if;
  settled := public.report_provider_withdrawals(for_user, coalesce(request -> 'reports', '[]'));
  return jsonb_build_object(
    'noted', is_noted, 'settled', settled,
    'withdrawals', public.claim_provider_withdrawals(for_user, provider, coalesce((request ->> 'at_most')::integer, 0)));
end
$$;
revoke all on function public.exchange_provider_withdrawals from public, anon, authenticated;
grant execute on function public.exchange_provider_withdrawals to service_role;

-- supabase/schemas/tasks/functions/expected_parts.sql
-- How many segments or joins an orchestrator was asked for; null when its params do not say.
create or replace function public.expected_parts(orchestrator public.tasks)
returns integer
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := coalesce(orchestrator.params -> 'orchestrator_details', '{}') ;
  clips integer;
begin
  if orchestrator.task_type = 'travel_orchestrator' then
    return coalesce(public.integer_or_null(details ->> 'num_new_segments_to_generate'),
                    public.integer_or_null(orchestrator.params ->> 'num_new_segments_to_generate'));
  end if;
  if orchestrator.task_type <> 'join_clips_orchestrator' then
    return null;
  end if;
  clips := case
    when jsonb_typeof(details -> 'clip_list') = 'array' then jsonb_array_length(details -> 'clip_list')
    when jsonb_typeof(details -> 'segment_task_ids') = 'array' then jsonb_array_length(details -> 'segment_task_ids') end;
  if clips > 1 then
    return clips - case when details -> 'loop_first_clip' = 'true' then 0 else 1 end;
  end if;
  return coalesce(public.integer_or_null(details ->> 'num_joins'), public.integer_or_null(orchestrator.params ->> 'num_joins'));
end
$$;
revoke all on function public.expected_parts from public, anon, authenticated;

-- supabase/schemas/tasks/functions/expected_seconds.sql
-- How long a run of this type is expected to take: the operator's figure, at most the longest run. Never a measured one:
-- payers make what is measured.
create or replace function public.expected_seconds(for_task_type text)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (select least(expected_seconds, max_runtime_seconds) from public.task_types where name = for_task_type);
end
$$;
revoke all on function public.expected_seconds from public, anon, authenticated;

-- supabase/schemas/tasks/functions/explain_empty_claim.sql
-- Why a claim got nothing, in numbers of queued tasks, each counted under the first reason that holds it back. Reads
-- the queue, up to 10,000 tasks of it: for people who debug, not for polling. `types` are those that were asked for. A claim of a
-- provider, or of an own worker beside FAL, may have `allowed_types`, and `late_types` where a task has been ready since `late_before`.
create or replace function public.explain_empty_claim(
  for_user uuid, run_types text[], types text[], only_models text[], only_model text,
  for_provider text default null, allowed_types text[] default null, late_types text[] default null, late_before timestamptz default null
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object(
        'queued', count(*),
        'other_run_type', count(*) filter (where reason = 'other_run_type'),
        'other_task_type', count(*) filter (where reason = 'other_task_type'),
        'other_model', count(*) filter (where reason = 'other_model'),
        'shares_run', count(*) filter (where reason = 'shares_run'),
        'blocked_by_dependency', count(*) filter (where reason = 'blocked_by_dependency'),
        'scheduled', count(*) filter (where reason = 'scheduled'),
        'local_off', count(*) filter (where reason = 'local_off'),
        'cloud_off', count(*) filter (where reason = 'cloud_off'),
        'no_credits', count(*) filter (where reason = 'no_credits'),
        'at_capacity', count(*) filter (where reason = 'at_capacity'),
        'at_project_limit', count(*) filter (where reason = 'at_project_limit'),
        'left_to_own_workers', count(*) filter (where reason = 'left_to_own_workers'),
        'left_to_fal', count(*) filter (where reason = 'left_to_fal'),
        'left_to_fal_or_own_workers', count(*) filter (where reason = 'left_to_fal_or_own_workers'),
        'fal_runs_none', count(*) filter (where reason = 'fal_runs_none'),
        'at_task_type_limit', count(*) filter (where reason = 'at_task_type_limit'),
        'claimable', count(*) filter (where reason = 'claimable'))
      from (
        select case
            when task.run_type <> all (run_types) then 'other_run_type'
            when kind.max_running_tasks is not null and not exists (
              select from public.task_type_slots as slot
               where slot.task_type = task.task_type and slot.task_id is null) then 'at_task_type_limit'
            when task.task_type <> all (types) or for_provider <> all (kind.runners) and (for_provider = 'fal' or for_user is null)
              then 'other_task_type'
            when coalesce(task.model, '') <> all (only_models) or coalesce(task.model, '') <> only_model then 'other_model'
            when task.is_following then 'shares_run'
            when task.unmet_dependencies > 0 then 'blocked_by_dependency'
            when task.is_scheduled then 'scheduled'
            when for_user is not null and not tenant.allows_local then 'local_off'
            when for_user is null and not tenant.allows_cloud then 'cloud_off'
            when for_user is null and not task.in_cloud then 'no_credits'
            when not task.is_orchestrator and not exists (
              select from public.task_slots as slot
               where slot.user_id = task.user_id and slot.task_id is null) then 'at_capacity'
            when not task.is_orchestrator and lane.project_id is not null and not exists (
              select from public.project_slots as slot
               where slot.project_id = task.project_id and slot.task_id is null) then 'at_project_limit'
            when task.task_type = any (late_types) and task.ready_at > late_before and job.task_id is null
              then 'left_to_own_workers'
            when task.task_type <> all (allowed_types) and task.task_type = any (late_types) is not true
              then case when for_provider is null then 'left_to_fal' when for_provider = 'fal' then 'fal_runs_none'
                        else 'left_to_fal_or_own_workers' end
            when for_user is null and job.provider <> coalesce(for_provider, '') and fal.is_active then 'left_to_fal'
            else 'claimable' end as reason
          from public.tasks as task
          join public.task_lanes as lane on lane.id = task.lane_id
          join public.task_types as kind on kind.name = task.task_type
          join public.task_tenants as tenant on tenant.user_id = task.user_id
          cross join (select public.fal_is_active(settings) as is_active from public.queue_settings as settings) as fal
          left join lateral (select begun.task_id, begun.provider from public.provider_jobs as begun
                              where begun.task_id = task.id and begun.by_owner = (for_user is not null) limit 1) as job on true
         where task.status = 'Queued' and (for_user is null or task.user_id = for_user)
         limit 10000) as queued);
end
$$;
revoke all on function public.explain_empty_claim from public, anon, authenticated;

-- supabase/schemas/tasks/functions/extend_lease.sql
-- A call about a running task by its worker keeps the task with it.
create or replace function public.extend_lease(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.tasks
     set lease_expires_at = now() + public.lease_duration(task.task_type, coalesce(
           (select heartbeats from public.workers where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)), false))
   where id = task.id and status = 'In Progress';
end
$$;
revoke all on function public.extend_lease from public, anon, authenticated;

-- supabase/schemas/tasks/functions/fail_blacked_out.sql
-- Ends a run whose every output the provider's safety checker made black: there is nothing to show and nothing to charge, and who
-- depends on it must not go on with a black picture. Answers what its worker is told. The caller has the task's lock.
create or replace function public.fail_blacked_out(task public.tasks, outputs integer)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  message constant text := 'blacked_out: The safety checker of the provider made every output black. Nothing is charged.';
begin
  -- They have ended: there is nothing to withdraw.
  delete from public.provider_jobs where task_id = task.id;
  update public.tasks set result_data = result_data || jsonb_build_object('blacked_out', outputs) where id = task.id;
  perform public.end_task(task.id, 'Failed', message, by_owner => false);
  return (select public.stored_completion(failed) || jsonb_build_object('message', message)
            from public.tasks as failed where failed.id = task.id);
end
$$;
revoke all on function public.fail_blacked_out from public, anon, authenticated;

-- supabase/schemas/tasks/functions/fail_orphaned_dependant.sql
-- A task that waited for one that was deleted can never run. One that was complete, and whose dependants the outbox has not
-- released yet, releases them.
create or replace function public.fail_orphaned_dependant()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  dependant public.tasks;
begin
  select * into dependant from public.tasks where id = old.task_id and status = 'Queued' for no key update;
  if not found then
    return null;
  end if;
  if exists (select from public.task_outbox where subject_id = old.dependency_id and kind = 'release_dependants') then
    update public.tasks set unmet_dependencies = unmet_dependencies - 1, ready_at = now() where id = dependant.id;
    if dependant.unmet_dependencies = 1 and not dependant.is_scheduled then
      perform public.lock_tenant(dependant.user_id);
      perform public.ready_lane(dependant.lane_id, now());
    end if;
  else
    perform public.end_task(dependant.id, 'Failed', 'dependency_failed', by_owner => true);
  end if;
  return null;
end
$$;
revoke all on function public.fail_orphaned_dependant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/failed_part.sql
-- What an orchestrator says of the part that made it fail: which task it is, its position among the parts, and its error.
create or replace function public.failed_part(part public.tasks)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object(
    'task_id', part.id, 'task_type', part.task_type,
    'index', coalesce(public.integer_or_null(part.params ->> 'segment_index'), public.integer_or_null(part.params ->> 'join_index')),
    'error_message', part.error_message);
end
$$;
revoke all on function public.failed_part from public, anon, authenticated;

-- supabase/schemas/tasks/functions/fal_is_active.sql
-- Whether FAL runs tasks now: a claim or a heartbeat of it within two minutes, and a rule that lets it take any.
create or replace function public.fal_is_active(settings public.queue_settings)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return settings.fal_runs <> 'none' and settings.fal_seen_at > now() - interval '2 minutes';
end
$$;
revoke all on function public.fal_is_active from public, anon, authenticated;

-- supabase/schemas/tasks/functions/fal_only_types.sql
-- The task types whose tasks are left to FAL, so that no own worker is started for them: none while FAL is not active; all that
-- it can run by the rule `all`; by the rule `missing` those that shipped own workers of their run type cannot run. A caller may ask
-- what another rule than the stored one would leave.
create or replace function public.fal_only_types(rule text default null)
returns text[]
language sql stable set search_path = '' as $$
  select coalesce(array_agg(kind.name), '{}')
    from public.queue_settings as settings, public.task_types as kind
   where public.fal_is_active(settings) and 'fal' = any (kind.runners)
     and (coalesce(rule, settings.fal_runs) = 'all'
          or case when kind.run_type = 'api' then 'api_worker' else 'gpu_worker' end <> all (kind.runners))
$$;
revoke all on function public.fal_only_types from public, anon, authenticated;

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
-- The caller holds the tenant's lock.
create or replace function public.find_lane(
  for_project public.projects, for_task_type text, for_model text, lane_in_cloud boolean, lane_is_orchestrator boolean
) returns bigint
language plpgsql set search_path = '' as $$
declare
  -- A project shares its owner's lanes until it has a limit, which its tasks alone wait for.
  limited_project constant uuid := case when for_project.max_running_tasks is not null then for_project.id end;
  lane_id bigint;
begin
  select id into lane_id from public.task_lanes
   where user_id = for_project.user_id and task_type = for_task_type and model = for_model
     and in_cloud = lane_in_cloud and project_id is not distinct from limited_project;
  if found then
    return lane_id;
  end if;
  if for_model <> ''
     and (select count(*) from public.task_lanes where user_id = for_project.user_id) >= 300 then
    return public.find_lane(for_project, for_task_type, '', lane_in_cloud, lane_is_orchestrator);
  end if;
  insert into public.task_lanes
    (user_id, task_type, model, run_type, in_cloud, project_id, is_orchestrator, turn)
  select for_project.user_id, name, for_model, run_type, lane_in_cloud, limited_project, lane_is_orchestrator, 0
    from public.task_types where name = for_task_type
  returning id into lane_id;
  return lane_id;
end
$$;
revoke all on function public.find_lane from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_margin_faults.sql
-- Work that is sold for less than providers bill for it: by the prices in force, and by what tasks of the last seven days cost and were
-- charged. One row for each fault. Types whose losses the operator allows are left out.
create or replace function public.find_margin_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with usual as (
    select offer.task_type, offer.provider, offer.model, price.billing_type,
           -- By the second, what the operator expects such a run to take.
           public.price_of_work(price, offer.billed, public.expected_seconds(kind.name), kind.max_runtime_seconds) as charge_microusd,
           public.cost_of_provider_call(offer.provider, offer.model, offer.units) as cost_microusd
      from public.provider_models as offer
      join public.task_types as kind on kind.name = offer.task_type and kind.is_active and not kind.allows_provider_loss
      cross join lateral public.current_price(kind.name) as price
     where price.id is not null and not (select allows_provider_loss from public.queue_settings)
  )
  select 'type_sold_below_cost', null::uuid, usual.task_type || ' ' || usual.model, jsonb_build_object(
         'provider', usual.provider, 'charge_microusd', usual.charge_microusd, 'provider_cost_microusd', usual.cost_microusd)
    from usual where usual.cost_microusd > usual.charge_microusd
  union all
  select 'provider_price_unknown', null, usual.task_type || ' ' || usual.model, jsonb_build_object('provider', usual.provider)
    from usual where usual.cost_microusd is null
  union all
  select 'task_cost_exceeds_charge', cost.user_id, cost.task_id::text, jsonb_build_object(
         'task_type', cost.task_type, 'status', task.status, 'charge_microusd', coalesce(task.cost_microusd, 0),
         'provider_cost_microusd', cost.provider_cost_microusd)
    from public.task_provider_costs as cost
    join public.task_types as kind on kind.name = cost.task_type and not kind.allows_provider_loss
    join public.all_tasks as task on task.id = cost.task_id
   where cost.day >= (now() at time zone 'UTC')::date - 7
     and task.status in ('Complete', 'Failed', 'Cancelled') and not task.is_orchestrator
     and cost.provider_cost_microusd > coalesce(task.cost_microusd, 0)
     and not (select allows_provider_loss from public.queue_settings)
     -- A job that is being withdrawn decides about both.
     and not exists (select from public.provider_withdrawals as open where open.task_id = task.id and open.state = 'open')
$$;
revoke all on function public.find_margin_faults from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_project.sql
-- Refuses a project that is not this caller's like one that does not exist.
create or replace function public.find_project(for_user uuid, for_project uuid)
returns public.projects
language plpgsql stable set search_path = '' as $$
declare
  project public.projects;
begin
  select * into project from public.projects
   where id = for_project and deleted_at is null and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  return project;
end
$$;
revoke all on function public.find_project from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_provider_job.sql
-- The run that a provider's news is about, by the id of its job; null when there is none. Where the run ended between
-- submitting the job and noting its id, the key in the news' address tells which one it is, and the id is noted now.
-- `completes`: the job's result is the task's output; else the run goes on with it by itself. `is_running`: with a worker of the cloud at this moment; `attempt` fences whatever is done about it.
-- `is_left_behind`: the run is an own worker's, which took the task after the provider's run had begun the job.
create or replace function public.find_provider_job(
  for_provider text, for_request_ids text[], for_webhook_key uuid default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  job public.provider_jobs;
begin
  select * into job from public.provider_jobs
   where provider = for_provider and request_id = any (for_request_ids) and not by_owner limit 1;
  if not found then
    update public.provider_jobs set request_id = for_request_ids[1], submitted_at = now()
     where webhook_key = for_webhook_key and provider = for_provider and request_id is null and not by_owner
    returning * into job;
    if not found then
      return null;
    end if;
    perform public.count_provider_call(job, task.user_id, task.task_type)
       from public.tasks as task where task.id = job.task_id;
  end if;
  return (
    select jsonb_build_object(
        'task_id', task.id, 'task_type', task.task_type, 'model', job.model, 'attempt', task.attempt,
        'step', job.step, 'completes', job.completes, 'paid_outputs', task.billed -> 'images',
        'is_running', task.status = 'In Progress' and not task.claimed_by_owner,
        'is_left_behind', job.attempt <> task.attempt and exists (
          select from public.workers as worker
           where worker.id = task.worker_id and worker.user_id is null and worker.provider is distinct from for_provider))
      from public.tasks as task where task.id = job.task_id);
end
$$;
revoke all on function public.find_provider_job from public, anon, authenticated;
grant execute on function public.find_provider_job to service_role;

-- supabase/schemas/tasks/functions/find_queue_faults.sql
-- What is wrong with the queue, from the tables alone: tasks that are never offered, wrong places, slots and counters.
-- One row for each fault. What the queue's upkeep mends by itself is none.
create or replace function public.find_queue_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with running as (
    select * from public.tasks where status = 'In Progress'
  ), limited as (
    select running.*, project.max_running_tasks as project_limit, kind.max_running_tasks as type_limit
      from running join public.projects as project on project.id = running.project_id
      join public.task_types as kind on kind.name = running.task_type
  ), lane as (
    select lane.*, exists (select from public.tasks as task
                            where task.lane_id = lane.id and task.status = 'Queued' and task.unmet_dependencies = 0
                              and not task.is_scheduled) as has_task,
           lane.in_cloud and tenant.allows_cloud and (
             lane.is_orchestrator
             or exists (select from public.task_slots as slot where slot.user_id = lane.user_id and slot.task_id is null)
                and (lane.project_id is null
                     or exists (select from public.project_slots as slot
                                 where slot.project_id = lane.project_id and slot.task_id is null))) as may_open
      from public.task_lanes as lane join public.task_tenants as tenant on tenant.user_id = lane.user_id
  )
  select 'waits_in_no_lane', task.user_id, task.id::text, jsonb_build_object('lane_id', task.lane_id)
    from public.tasks as task
   where task.status = 'Queued' and not exists (select from public.task_lanes as place where place.id = task.lane_id)
  union all
  select 'waits_for_wrong_number', task.user_id, task.id::text, jsonb_build_object('unmet_dependencies', task.unmet_dependencies)
    from public.tasks as task
   where task.status = 'Queued' and (task.dependant_on is not null or task.unmet_dependencies > 0)
     and task.unmet_dependencies <> task.is_following::integer + (
       select count(*) from public.task_dependencies as needed where needed.task_id = task.id and needed.is_waiting)
  union all
  select 'dependency_mark_differs', task.user_id, task.id::text, jsonb_build_object('dependency_id', needed.dependency_id)
    from public.task_dependencies as needed
    join public.tasks as task on task.id = needed.task_id
    join public.tasks as dependency on dependency.id = needed.dependency_id
   where case when task.status <> 'Queued' then needed.is_waiting
              when dependency.status <> 'Complete' then not needed.is_waiting
              else needed.is_waiting and not exists (
                select from public.task_outbox as noted
                 where noted.subject_id = dependency.id and noted.kind = 'release_dependants') end
  union all
  select 'outbox_is_not_worked_off', noted.user_id, noted.id::text,
         jsonb_build_object('kind', noted.kind, 'subject_id', noted.subject_id, 'created_at', noted.created_at)
    from public.task_outbox as noted where noted.created_at < now() - interval '5 minutes'
  union all
  select 'waits_for_what_will_not_come', task.user_id, task.id::text, '{}'
    from public.tasks as task
   where task.status in ('Queued', 'In Progress')
     and (exists (select from public.task_dependencies as needed
                    join public.tasks as dependency on dependency.id = needed.dependency_id
                   where needed.task_id = task.id and dependency.status in ('Failed', 'Cancelled')
                     and not exists (select from public.task_outbox as noted
                                      where noted.subject_id = dependency.id and noted.kind = 'end_relatives'))
          or exists (select from public.tasks as orchestrator
                      where orchestrator.id = task.orchestrator_task_id
                        and orchestrator.status in ('Complete', 'Failed', 'Cancelled')
                        and not exists (select from public.task_outbox as noted
                                         where noted.subject_id = orchestrator.id and noted.kind = 'end_relatives')))
  union all
  select 'follows_nobody', task.user_id, task.id::text, '{}'
    from public.tasks as task
   where task.is_following and not public.run_is_under_way(task.project_id, task.result_key)
     and not exists (select from public.results_to_share as noted
                      where noted.project_id = task.project_id and noted.result_key = task.result_key)
  union all
  select 'ready_lane_is_closed', lane.user_id, lane.id::text, jsonb_build_object('is_ready', lane.is_ready, 'is_open', lane.is_open)
    from lane where lane.has_task and (not lane.is_ready or lane.may_open and not lane.is_open)
  union all
  select 'open_lane_without_turn', lane.user_id, lane.id::text, '{}'
    from public.task_lanes as lane
    left join public.user_turns as mine on mine.user_id = lane.user_id and mine.run_type = lane.run_type and mine.is_open
   where lane.is_open and mine.user_id is null
  union all
  select 'waits_in_foreign_lane', task.user_id, task.id::text, jsonb_build_object('lane_id', task.lane_id)
    from public.tasks as task join public.task_lanes as place on place.id = task.lane_id
    join public.projects as project on project.id = task.project_id
   where task.status = 'Queued'
     and ((place.user_id, place.task_type, place.run_type, place.in_cloud, place.is_orchestrator)
          <> (task.user_id, task.task_type, task.run_type, task.in_cloud, task.is_orchestrator)
          or place.model not in (coalesce(task.model, ''), '')
          or place.project_id is distinct from case when project.max_running_tasks is not null then project.id end)
  union all
  select 'waits_with_worker', task.user_id, task.id::text, jsonb_build_object('worker_id', task.worker_id)
    from public.tasks as task where task.status = 'Queued' and task.worker_id is not null
  union all
  select 'runs_without_worker', running.user_id, running.id::text, '{}'
    from running
   where running.worker_id is null or running.claimed_by_owner is null or running.lease_expires_at is null
  union all
  select 'too_many_attempts', task.user_id, task.id::text, jsonb_build_object('attempt', task.attempt, 'attempts', task.attempts)
    from public.tasks as task
   where task.status in ('Queued', 'In Progress') and task.attempts >= task.max_attempts or task.attempts > task.attempt
  union all
  select 'user_has_not_five_slots', tenant.user_id, tenant.user_id::text, '{}'
    from public.task_tenants as tenant
   where (select count(*) from public.task_slots as slot where slot.user_id = tenant.user_id) <> 5
      or (select count(*) from running where running.user_id = tenant.user_id and not running.is_orchestrator) > 5
  union all
  select 'slot_is_not_its_task', coalesce(task.user_id, slot.user_id), coalesce(task.id, slot.task_id)::text, '{}'
    from (select * from running where not is_orchestrator) as task
    full join (select * from public.task_slots where task_id is not null) as slot
      on slot.task_id = task.id and slot.user_id = task.user_id and slot.slot = task.slot
   where task.id is null or slot.task_id is null
  union all
  select 'project_slot_is_not_its_task', task.user_id, coalesce(task.id, slot.task_id)::text, '{}'
    from (select * from limited where not is_orchestrator and project_limit is not null) as task
    full join (select * from public.project_slots where task_id is not null) as slot
      on slot.task_id = task.id and slot.project_id = task.project_id and slot.slot = task.project_slot
   where task.id is null or slot.task_id is null
  union all
  select 'type_slot_is_not_its_task', task.user_id, coalesce(task.id, slot.task_id)::text, '{}'
    from (select * from limited where type_limit is not null) as task
    full join (select * from public.task_type_slots where task_id is not null) as slot
      on slot.task_id = task.id and slot.task_type = task.task_type and slot.slot = task.task_type_slot
   where task.id is null or slot.task_id is null
  union all
  select 'project_slots_are_not_its_limit', project.user_id, project.id::text, jsonb_build_object('slots', count(slot.slot))
    from public.projects as project left join public.project_slots as slot on slot.project_id = project.id
   group by project.id
  having count(slot.slot) <> coalesce(greatest(project.max_running_tasks, count(slot.task_id)), 0)
  union all
  select 'type_slots_are_not_its_limit', null, kind.name, jsonb_build_object('slots', count(slot.slot))
    from public.task_types as kind left join public.task_type_slots as slot on slot.task_type = kind.name
   group by kind.name
  having count(slot.slot) <> coalesce(greatest(kind.max_running_tasks, count(slot.task_id)), 0)
  union all
  select 'limit_count_differs', null, coalesce(counted.subject_id, real.subject_id)::text,
         jsonb_build_object('subject', coalesce(counted.subject, real.subject), 'counted', counted.amount, 'real', real.amount)
    from (select subject, subject_id, sum(amount) as amount from public.limit_counts
           where subject = 'open_tasks' or exists (select from public.tasks where tasks.id = subject_id)
           group by subject, subject_id having sum(amount) <> 0) as counted
    full join (
      select 'open_tasks' as subject, task.user_id as subject_id, count(*) as amount
        from public.tasks as task where task.status in ('Queued', 'In Progress') group by task.user_id
      union all
      select 'dependants', needed.dependency_id, count(*)
        from public.task_dependencies as needed where needed.is_waiting group by needed.dependency_id
      union all
      select 'children', task.orchestrator_task_id, count(*)
        from public.tasks as task where task.orchestrator_task_id is not null group by task.orchestrator_task_id) as real
      on real.subject = counted.subject and real.subject_id = counted.subject_id
   where counted.amount is distinct from real.amount
  union all
  select 'counter_differs', lane.user_id, lane.id::text, jsonb_build_object(
         'ready', counted.ready, 'running', counted.running, 'blocked', counted.blocked, 'scheduled', counted.scheduled)
    from public.task_lanes as lane
    cross join lateral public.lane_count(lane.id) as counted
    left join (select lane_id, count(*) filter (where status = 'Queued' and unmet_dependencies = 0 and not is_scheduled) as ready,
                      count(*) filter (where status = 'In Progress') as running,
                      count(*) filter (where status = 'Queued' and unmet_dependencies > 0) as blocked,
                      count(*) filter (where status = 'Queued' and unmet_dependencies = 0 and is_scheduled) as scheduled
                 from public.tasks where status in ('Queued', 'In Progress') group by lane_id) as real
      on real.lane_id = lane.id
   where (counted.ready, counted.running, counted.blocked, counted.scheduled)
         is distinct from (coalesce(real.ready, 0), coalesce(real.running, 0), coalesce(real.blocked, 0), coalesce(real.scheduled, 0))
$$;
revoke all on function public.find_queue_faults from public, anon, authenticated;

-- supabase/schemas/tasks/functions/find_result.sql
-- The newest run of a project with this key whose output is still there and not too old, archived or not; else null.
create or replace function public.find_result(for_project uuid, for_key bytea)
returns public.tasks
language plpgsql stable set search_path = '' as $$
declare
  oldest constant timestamptz := (select now() - reuse_results_for from public.queue_settings);
  result public.tasks;
begin
  select run.* into result
    from (select * from public.tasks
           where project_id = for_project and result_key = for_key and status = 'Complete'
           order by created_at desc limit 10) as run
   where run.generation_processed_at > oldest
     and exists (select from storage.objects
                  where bucket_id = 'image_uploads' and name = run.result_data ->> 'storage_path')
   order by run.created_at desc limit 1;
  if not found then
    select found_run.* into result
      from (select * from public.archived_tasks
             where project_id = for_project and result_key = for_key and status = 'Complete'
             order by created_at desc limit 10) as run,
           lateral public.archived_task(run.id) as found_run
     where run.generation_processed_at > oldest
       and exists (select from storage.objects
                    where bucket_id = 'image_uploads' and name = run.result_data ->> 'storage_path')
     order by run.created_at desc limit 1;
  end if;
  return result;
end
$$;
revoke all on function public.find_result from public, anon, authenticated;

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

-- supabase/schemas/tasks/functions/find_task_faults.sql
-- Tasks that are lost, unpaid or paid for nothing, from the tables alone: one row for each fault.
create or replace function public.find_task_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with ended as (
    select task.*, price.billing_type, hold.state as hold_state, hold.amount_microusd as hold_amount,
           hold.charged_microusd, price as price_row
      from public.all_tasks as task
      join public.task_type_prices as price on price.id = task.price_id
      left join public.credit_holds as hold on hold.task_id = task.id
     where task.status in ('Complete', 'Failed', 'Cancelled')
  )
  -- Charged, and by what it cost.
  select 'charge_is_not_the_cost', ended.user_id, ended.id::text, jsonb_build_object(
         'cost_microusd', ended.cost_microusd, 'charged_microusd', ended.charged_microusd, 'hold_microusd', ended.hold_amount)
    from ended
   where ended.orchestrator_task_id is null and ended.in_cloud
     and coalesce(ended.charged_microusd, 0) <> least(coalesce(ended.cost_microusd, 0), coalesce(ended.hold_amount, 0))
     -- A job that is being withdrawn decides about the cost, for ten minutes at most.
     and not (ended.hold_state = 'held' and exists (
           select from public.provider_withdrawals as open where open.paid_by = ended.id and open.state = 'open'))
  union all
  select 'cost_is_not_the_price', ended.user_id, ended.id::text, jsonb_build_object('cost_microusd', ended.cost_microusd)
    from ended
   where ended.status = 'Complete' and not ended.is_orchestrator and coalesce(ended.cost_microusd, 0) <> case
           when ended.claimed_by_owner or not ended.in_cloud or ended.output_location is null then 0
           when ended.reused_task_id is not null
             then least((ended.price_row).reuse_price_microusd, ended.upper_bound_microusd::bigint)
           else public.price_of_work(
             ended.price_row, public.billed_of_run(ended.billed, ended.result_data),
             extract(epoch from ended.generation_processed_at - ended.generation_started_at),
             public.seconds_of_bound(ended.upper_bound_microusd, ended.price_row, ended.billed)) end
  union all
  -- What ended without an output costs what its run had consumed, by the rule of its price, when its owner ended it; else nothing.
  select 'cancel_is_not_its_rule', ended.user_id, ended.id::text, jsonb_build_object(
         'cost_microusd', ended.cost_microusd, 'cancellation', ended.result_data -> 'cancellation')
    from ended
   where ended.status <> 'Complete' and not ended.is_orchestrator
     and coalesce(ended.cost_microusd, 0) <> case
           when ended.claimed_by_owner or not ended.in_cloud
                or (ended.price_row).cancel_policy = 'free' and ended.error_message is distinct from 'credit_exhausted'
                or ended.result_data -> 'cancellation' is null and ended.error_message is distinct from 'credit_exhausted'
                or ended.result_data -> 'cancellation' ->> 'state' not in ('charged', 'ran', 'unanswered')
                   and (ended.result_data -> 'cancellation' ->> 'cost_microusd') = '0' then 0
           else public.price_of_work(
             ended.price_row, public.billed_of_run(ended.billed, ended.result_data),
             extract(epoch from ended.generation_processed_at - ended.generation_started_at),
             public.seconds_of_bound(ended.upper_bound_microusd, ended.price_row, ended.billed)) end
  union all
  select 'orchestration_is_not_its_parts', ended.user_id, ended.id::text, jsonb_build_object('cost_microusd', ended.cost_microusd)
    from ended
   where ended.is_orchestrator
     and coalesce(ended.cost_microusd, 0) <> (
       select coalesce(sum(part.cost_microusd), 0) from public.parts_of_task(ended.id) as part)
       + coalesce((select hold.consumed_microusd from public.credit_holds as hold where hold.task_id = ended.id), 0)
  union all
  select 'charged_without_output', ended.user_id, ended.id::text, jsonb_build_object('charged_microusd', ended.charged_microusd)
    from ended where ended.charged_microusd > 0 and ended.status = 'Failed' and not ended.is_orchestrator
     and ended.error_message is distinct from 'credit_exhausted'
  union all
  -- Covered while it is open, and only then.
  select 'open_without_cover', task.user_id, task.id::text, jsonb_build_object('status', task.status)
    from public.tasks as task
   where task.status in ('Queued', 'In Progress') and task.in_cloud and task.orchestrator_task_id is null
     and not exists (select from public.credit_holds as hold where hold.task_id = task.id and hold.state = 'held')
  union all
  select 'orchestration_without_cover', task.user_id, task.id::text, jsonb_build_object('held_microusd', hold.amount_microusd)
    from public.tasks as task
    join public.credit_holds as hold on hold.task_id = task.id and hold.state = 'held'
   where task.is_orchestrator
     and hold.amount_microusd < (
       select coalesce(sum(case part.status when 'Complete' then least(part.cost_microusd::bigint, part.held_microusd::bigint)
                             else part.held_microusd end), 0)
         from public.tasks as part
        where part.orchestrator_task_id = task.id and part.status in ('Queued', 'In Progress', 'Complete'))
  union all
  select 'held_for_nothing', hold.user_id, hold.task_id::text, jsonb_build_object('amount_microusd', hold.amount_microusd)
    from public.credit_holds as hold
   where hold.state = 'held'
     and not exists (select from public.tasks as task
                      where task.id = hold.task_id and task.status in ('Queued', 'In Progress'))
     and not exists (select from public.provider_withdrawals as open
                      where open.paid_by = hold.task_id and open.state = 'open' and open.cost_microusd > 0)
  union all
  select 'withdrawal_without_hold', withdrawal.user_id, withdrawal.id::text, jsonb_build_object('task_id', withdrawal.task_id)
    from public.provider_withdrawals as withdrawal
   where withdrawal.state = 'open' and withdrawal.cost_microusd > 0
     and not exists (select from public.credit_holds as hold where hold.task_id = withdrawal.paid_by and hold.state = 'held')
  union all
  select 'withdrawal_not_settled', withdrawal.user_id, withdrawal.id::text, jsonb_build_object('expires_at', withdrawal.expires_at)
    from public.provider_withdrawals as withdrawal
   where withdrawal.state = 'open' and withdrawal.expires_at < now() - interval '2 minutes'
  union all
  select 'job_of_ended_task', task.user_id, task.id::text, jsonb_build_object('request_id', job.request_id)
    from public.provider_jobs as job join public.tasks as task on task.id = job.task_id
   where task.status in ('Failed', 'Cancelled')
  union all
  select 'part_with_hold', task.user_id, task.id::text, '{}'
    from public.all_tasks as task join public.credit_holds as hold on hold.task_id = task.id
   where task.orchestrator_task_id is not null
  union all
  -- See keep_finished_files(): runs are completed with copies then, which costs a copy each.
  select 'finished_files_are_not_kept', null, 'storage.objects', '{}'
   where not public.keeps_finished_files()
  union all
  -- Lost: nobody runs it, and nobody would.
  select 'lease_not_swept', task.user_id, task.id::text, jsonb_build_object('lease_expires_at', task.lease_expires_at)
    from public.tasks as task
   where task.status = 'In Progress' and task.lease_expires_at < now() - interval '2 minutes'
  union all
  select 'schedule_not_swept', task.user_id, task.id::text, jsonb_build_object('run_after', task.run_after)
    from public.tasks as task where task.is_scheduled and task.run_after < now() - interval '2 minutes'
$$;
revoke all on function public.find_task_faults from public, anon, authenticated;

-- supabase/schemas/tasks/functions/finish_followers.sql
-- Writes what share_result() made of followers: their rows, who waited for them, and then the charges.
create or replace function public.finish_followers(shared public.tasks[])
returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  room integer := (select direct_cascade from public.queue_settings);
begin
  foreach task in array shared loop
    update public.tasks
       set status = task.status, is_following = false, unmet_dependencies = 0, result_key = null,
           reused_task_id = task.reused_task_id, claimed_by_owner = task.claimed_by_owner,
           output_location = task.output_location, thumbnail_url = task.thumbnail_url, progress = task.progress,
           generation_processed_at = task.generation_processed_at, updated_at = task.updated_at,
           generation_created = task.generation_created, result_data = task.result_data, warnings = task.warnings,
           cost_microusd = task.cost_microusd, error_message = null
     where id = task.id;
    room := room - public.release_dependants(task.id, room);
  end loop;
  foreach task in array shared loop
    perform public.close_hold(task.id, task.cost_microusd, public.charge_metadata(task));
  end loop;
end
$$;
revoke all on function public.finish_followers from public, anon, authenticated;

-- supabase/schemas/tasks/functions/finish_task.sql
-- Complete: the row, the slot, the charge, the dependants. The caller holds the running task's lock.
create or replace function public.finish_task(
  task public.tasks, new_output text, new_thumbnail text, new_generation uuid, new_variant uuid
) returns public.tasks
language plpgsql set search_path = '' as $$
declare
  finished public.tasks;
  -- One moment for the row and for its price, so that the one can be computed from the other.
  ended_at constant timestamptz := clock_timestamp();
begin
  update public.tasks
     set status = 'Complete', output_location = new_output, thumbnail_url = new_thumbnail,
         generation_processed_at = ended_at, updated_at = now(),
         progress = 1, progress_message = null, slot = null, project_slot = null, task_type_slot = null,
         lease_expires_at = null,
         warnings = task.warnings,
         generation_created = task.generation_created or new_generation is not null,
         cost_microusd = public.cost_of_run(task, new_output is not null, ended_at),
         result_data = jsonb_strip_nulls(jsonb_build_object(
           'generation_id', new_generation, 'variant_id', new_variant, 'images', task.result_data -> 'images'))
   where id = task.id
  returning * into finished;
  if task.is_orchestrator then
    perform public.keep_published_files(task.id);
    perform public.end_leftover_parts(finished);
    -- Counted again: a child may have finished while we waited for it.
    update public.tasks set cost_microusd = public.cost_of_run(task, true) where id = task.id
    returning * into finished;
  end if;
  perform public.note_run_time(finished);
  perform public.free_slots(array[task]);
  perform public.cover_cost(finished);
  if task.orchestrator_task_id is null then
    perform public.settle_hold(task.id);
  end if;
  perform public.release_dependants(task.id);
  if task.orchestrator_task_id is not null then
    perform public.close_orchestrator(task.orchestrator_task_id);
  end if;
  perform public.count_unpaid_cost(array[task.id]);
  return finished;
end
$$;
revoke all on function public.finish_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/follow_direct_change.sql
-- What a change of status brings with it that was written over REST: see plan_direct_change().
create or replace function public.follow_direct_change()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.status = old.status then
    return null;
  end if;
  if new.status = 'Queued' then
    perform public.free_slots(array[old]);
    perform public.ready_lane(new.lane_id, greatest(new.created_at, new.run_after));
    perform public.let_provider_resume(new.id, new.lane_id);
  else
    perform public.end_task(
      new.id, new.status, new.error_message, old, by_owner => auth.uid() is not null or new.status = 'Cancelled');
  end if;
  return null;
end
$$;
revoke all on function public.follow_direct_change from public, anon, authenticated;

-- supabase/schemas/tasks/functions/follow_generation_methods.sql
-- A user changed their mind about where their tasks run: opens or closes their lanes for the cloud.
create or replace function public.follow_generation_methods()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.task_tenants
     set allows_cloud = public.allows_cloud(new.settings), allows_local = public.allows_local(new.settings)
   where user_id = new.id
     and (allows_cloud, allows_local) <> (public.allows_cloud(new.settings), public.allows_local(new.settings));
  if found then
    perform public.open_lanes(new.id);
  end if;
  return null;
end
$$;
revoke all on function public.follow_generation_methods from public, anon, authenticated;

-- supabase/schemas/tasks/functions/forget_failed_job.sql
-- A job failed at its provider while an own worker runs the task: the job is forgotten and not billed, and the run goes on.
create or replace function public.forget_failed_job(for_task uuid, for_provider text, for_step smallint)
returns void
language plpgsql security definer set search_path = '' as $$
declare
  job public.provider_jobs;
begin
  perform from public.tasks where id = for_task for no key update;
  delete from public.provider_jobs
   where task_id = for_task and provider = for_provider and step = for_step and request_id is not null and not by_owner
  returning * into job;
  perform public.release_provider_call(job.provider, job.request_id);
end
$$;
revoke all on function public.forget_failed_job from public, anon, authenticated;
grant execute on function public.forget_failed_job to service_role;

-- supabase/schemas/tasks/functions/forget_old_requests.sql
-- Forgets idempotency keys, settled withdrawals and what users' tasks cost unpaid after 30 days, reports on runs after a day, rate limits that nobody has touched
-- for a day, quotes a day after their time.
create or replace function public.forget_old_requests()
returns void
language sql security definer set search_path = '' as $$
  delete from public.task_requests where created_at < now() - interval '30 days';
  delete from public.run_reports where created_at < now() - interval '1 day';
  delete from public.rate_limits where updated_at < now() - interval '1 day';
  delete from public.provider_withdrawals where state <> 'open' and settled_at < now() - interval '30 days';
  delete from public.unpaid_provider_costs where day < (now() at time zone 'UTC')::date - 30;
  delete from public.task_quotes where expires_at < now() - interval '1 day';
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
     where source_task_id = old.id
       and (id = (old.result_data ->> 'variant_id')::uuid
            or id in (select (more ->> 'variant_id')::uuid
                        from jsonb_array_elements(old.result_data -> 'more_outputs') as more));
  end if;
  return null;
end
$$;
revoke all on function public.forget_output from public, anon, authenticated;

-- supabase/schemas/tasks/functions/free_slots.sql
-- Gives back what running tasks of one user occupied and opens what waited for it. The caller has ended their runs.
create or replace function public.free_slots(ended public.tasks[])
returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  owner_id constant uuid := ended[1].user_id;
  slots constant smallint[] := array(select slot from unnest(ended) where slot is not null);
begin
  foreach task in array ended loop
    if task.task_type_slot is not null then
      perform public.free_task_type_slot(task);
    end if;
  end loop;
  if cardinality(slots) = 0 then
    return;
  end if;
  perform public.lock_tenant(owner_id);
  update public.task_slots set task_id = null where user_id = owner_id and slot = any (slots);
  foreach task in array ended loop
    if task.project_slot is not null then
      -- Beyond a limit that was lowered, the slot goes.
      delete from public.project_slots
       where project_id = task.project_id and slot = task.project_slot
         and (select count(*) from public.project_slots where project_id = task.project_id)
             > (select max_running_tasks from public.projects where id = task.project_id);
      update public.project_slots set task_id = null
       where project_id = task.project_id and slot = task.project_slot;
    end if;
  end loop;
  perform public.open_lanes(owner_id);
end
$$;
revoke all on function public.free_slots from public, anon, authenticated;

-- supabase/schemas/tasks/functions/free_task_type_slot.sql
-- Gives back a limited type's slot; beyond a limit that was lowered, the slot goes.
create or replace function public.free_task_type_slot(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
begin
  if (select count(*) from public.task_type_slots where task_type = task.task_type)
     > (select max_running_tasks from public.task_types where name = task.task_type) then
    -- One after the other, and counted again: of two that end at once, each would see the other's slot.
    perform from public.task_types where name = task.task_type for no key update;
    delete from public.task_type_slots
     where task_type = task.task_type and slot = task.task_type_slot
       and (select count(*) from public.task_type_slots where task_type = task.task_type)
           > (select max_running_tasks from public.task_types where name = task.task_type);
  end if;
  update public.task_type_slots set task_id = null
   where task_type = task.task_type and slot = task.task_type_slot;
end
$$;
revoke all on function public.free_task_type_slot from public, anon, authenticated;

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
                'id', id, 'task_type', task_type, 'status', status, 'params', public.params_of_run(task_type, params, billed),
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

-- supabase/schemas/tasks/functions/get_receipt.sql
-- The receipt of a ledger entry, or of the charge for a task or a paid call: what it was for, line by line, and what it came to.
create or replace function public.get_receipt(for_user uuid, for_entry uuid, for_task uuid, for_call uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  entry public.credits_ledger;
  task public.all_tasks;
  type_name text;
  lines jsonb := '[]';
begin
  if for_entry is not null then
    select * into entry from public.credits_ledger
     where id = for_entry and (for_user is null or user_id = for_user);
  elsif for_call is not null then
    select * into entry from public.credits_ledger
     where call_id = for_call and (for_user is null or user_id = for_user);
  else
    select * into entry from public.credits_ledger
     where task_id = for_task and type in ('spend', 'write_off') and (for_user is null or user_id = for_user);
  end if;
  if not found then
    perform public.refuse('entry_not_found', 404);
  end if;
  if entry.task_id is not null then
    select * into task from public.all_tasks where id = entry.task_id limit 1;
    if found then
      lines := public.cost_lines(task);
      type_name := task.task_type;
    end if;
    if entry.write_off_microusd < 0 then
      lines := lines || jsonb_build_object('item', 'written_off', 'total_microusd', entry.write_off_microusd);
    end if;
  elsif entry.call_id is not null then
    select price.task_type, jsonb_build_array(jsonb_build_object(
             'item', price.task_type, 'price_version', price.version, 'unit', 'output', 'quantity', call.charged_units,
             'each_microusd', price.price_microusd, 'total_microusd', call.charged_microusd))
      into type_name, lines
      from public.paid_calls as call join public.task_type_prices as price on price.id = call.price_id
     where call.id = entry.call_id;
  end if;
  return jsonb_build_object(
    'receipt_number', format('%s-%s', upper(left(replace(entry.user_id::text, '-', ''), 12)), entry.sequence),
    'entry', public.ledger_entry_summary(entry), 'task_type', type_name,
    'customer', (select jsonb_build_object('id', id, 'name', name, 'email', email)
                   from public.users where id = entry.user_id),
    'lines', lines, 'grants_drawn', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'grant_id', drawn.id, 'category', drawn.category, 'amount_microusd', draw.amount_microusd,
               'expires_at', drawn.expires_at) order by drawn.id), '[]')
        from public.credit_grant_draws as draw join public.credit_grants as drawn on drawn.id = draw.grant_id
       where draw.entry_id = entry.id),
    'currency', 'usd', 'total', abs(entry.amount), 'total_microusd', abs(entry.amount_microusd))
    -- The operator's business alone.
    || case when for_user is null and entry.task_id is not null then jsonb_build_object('provider_cost_microusd', (
         select coalesce(sum(cost.provider_cost_microusd), 0) from public.task_provider_costs as cost
          where cost.task_id = entry.task_id or cost.task_id in (select part.id from public.parts_of_task(entry.task_id) as part)))
       else '{}' end;
end
$$;
revoke all on function public.get_receipt from public, anon, authenticated;
grant execute on function public.get_receipt to service_role;

-- supabase/schemas/tasks/functions/get_task_output.sql
-- `params` are those that its workers get.
create or replace function public.get_task_output(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
begin
  return jsonb_build_object(
    'task_id', task.id, 'project_id', task.project_id, 'status', task.status,
    'output_location', task.output_location, 'warnings', task.warnings,
    'params', public.params_of_run(task.task_type, task.params, task.billed), 'dependant_on', task.dependant_on);
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
    'error_message', task.error_message, 'failed_part', task.result_data -> 'failed_part',
    'cancellation', task.result_data -> 'cancellation',
    'blacked_out', coalesce((task.result_data ->> 'blacked_out')::integer, 0), 'warnings', task.warnings,
    'lease_expires_at', task.lease_expires_at,
    'generation_id', task.result_data -> 'generation_id',
    'reused', task.reused_task_id is not null, 'reused_task_id', task.reused_task_id,
    'created_at', task.created_at, 'generation_started_at', task.generation_started_at,
    'generation_processed_at', task.generation_processed_at);
end
$$;
revoke all on function public.get_task_status from public, anon, authenticated;
grant execute on function public.get_task_status to service_role;

-- supabase/schemas/tasks/functions/give_task_back.sql
-- Puts a running task back into the queue though no run failed: its worker stops, or cannot reach what it works with, or had
-- done its part. It is not counted, up to 20 times a task. `attempt` stays, for numbers are not given out twice.
-- Where a job at a provider goes on, a run of ten seconds or longer is never counted: a function that runs tasks gives them back
-- whenever its time is over, and jobs have an end of their own.
create or replace function public.give_task_back(task public.tasks, error text)
returns void
language plpgsql set search_path = '' as $$
declare
  goes_on constant boolean := task.generation_started_at < now() - interval '10 seconds'
    and exists (select from public.provider_jobs where task_id = task.id);
begin
  perform public.requeue_task(task, error, has_failed => task.attempt - task.attempts > 20 and not goes_on);
end
$$;
revoke all on function public.give_task_back from public, anon, authenticated;

-- supabase/schemas/tasks/functions/give_up_old_tasks.sql
-- Fails tasks that have waited so long that their hold is over; what they held is given back. One that runs is
-- looked at again a day later: its lease sees to its end. A user whose tenant's lock is held is passed over, and so is a task
-- whose end would wait longer than 200 ms for a lock.
create or replace function public.give_up_old_tasks(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  started constant timestamptz := clock_timestamp();
  overdue record;
begin
  for overdue in
    select task_id, user_id from public.credit_holds
     where state = 'held' and expires_at <= now() order by expires_at limit at_most
  loop
    exit when clock_timestamp() > started + interval '2 seconds';
    perform from public.task_tenants where user_id = overdue.user_id for no key update skip locked;
    continue when not found;
    begin
      -- The task before its hold, as everywhere.
      perform from public.tasks where id = overdue.task_id and status = 'Queued' for no key update skip locked;
      if found then
        -- Nothing has failed: what of it still runs is paid as far as it has run.
        perform public.end_task(overdue.task_id, 'Failed', 'hold_expired', by_owner => true);
      else
        update public.credit_holds set expires_at = now() + interval '1 day'
         where task_id = (select task_id from public.credit_holds
                           where task_id = overdue.task_id and state = 'held' and expires_at <= now()
                             for no key update skip locked);
      end if;
    exception when lock_not_available or deadlock_detected then
      continue;
    end;
  end loop;
end
$$;
revoke all on function public.give_up_old_tasks from public, anon, authenticated;
grant execute on function public.give_up_old_tasks to service_role;

-- supabase/schemas/tasks/functions/give_up_run.sql
-- What follows when a task ends without an output. Its jobs at a provider are to be withdrawn. Where the owner ended it, the run
-- costs what cost_of_cancel() says; where a worker or a provider failed, nothing. `is_pending`: the withdrawals decide about
-- the cost, which is 0 until then. `task` is the row before its end; the caller has its lock, and writes the cost.
create or replace function public.give_up_run(
  task public.tasks, by_owner boolean, ended_at timestamptz, out cost_microusd bigint, out is_pending boolean, out basis text
)
language plpgsql set search_path = '' as $$
declare
  withdrawal_decides boolean := false;
begin
  cost_microusd := 0;
  basis := 'nothing';
  if by_owner then
    select ending.cost_microusd, ending.basis, ending.withdrawal_decides into cost_microusd, basis, withdrawal_decides
      from public.cost_of_cancel(task, ended_at) as ending;
  end if;
  is_pending := withdrawal_decides and cost_microusd > 0;
  -- The job of a task that is complete has ended with it.
  if task.status not in ('Queued', 'In Progress') then
    return;
  end if;
  with given_up as (
    delete from public.provider_jobs where task_id = task.id returning *
  )
  insert into public.provider_withdrawals
    (task_id, step, attempt, user_id, provider, model, request_id, webhook_key, by_owner, paid_by, cost_microusd, charge_metadata,
     provider_cost_microusd)
  select task.id, job.step, job.attempt, task.user_id, job.provider, job.model, job.request_id, job.webhook_key, job.by_owner,
         public.payer_of_task(task), case when is_pending and not job.by_owner then give_up_run.cost_microusd else 0 end,
         public.charge_metadata(task) || jsonb_build_object('reason', 'cancelled'), job.cost_microusd
    from given_up as job;
  if is_pending then
    cost_microusd := 0;
  end if;
end
$$;
revoke all on function public.give_up_run from public, anon, authenticated;

-- supabase/schemas/tasks/functions/grow_due_holds.sql
-- Looks after the holds of runs whose held amount is used up soon, those that come first first: see grow_hold(). Safe to run
-- anywhere at once. Answers how many runs it looked at.
create or replace function public.grow_due_holds(at_most integer default 500)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  run uuid;
  looked_at integer := 0;
begin
  for run in
    select id from public.tasks
     where status = 'In Progress' and covered_until < now() + public.hold_check_ahead()
     order by covered_until limit at_most
  loop
    perform public.grow_hold(run);
    looked_at := looked_at + 1;
  end loop;
  return looked_at;
end
$$;
revoke all on function public.grow_due_holds from public, anon, authenticated;
grant execute on function public.grow_due_holds to service_role;

-- supabase/schemas/tasks/functions/grow_hold.sql
-- Covers a run for one more step before its held amount is used up: by a step of seconds, or by what the account and its caps
-- still allow. What then runs uncovered is ended by end_uncovered_runs().
-- Guarantee: waits for no lock. What somebody has locked is covered by a later call.
create or replace function public.grow_hold(for_task uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestration uuid;
  task public.tasks;
begin
  foreach orchestration in array public.orchestrations_around(for_task) loop
    perform from public.tasks where id = orchestration for no key update skip locked;
    if not found then
      return;
    end if;
  end loop;
  select * into task from public.tasks
   where id = for_task and status = 'In Progress' and covered_until < now() + public.hold_check_ahead()
     for no key update skip locked;
  if not found then
    return;
  end if;
  perform from public.credit_accounts where user_id = task.user_id for no key update skip locked;
  if found then
    perform public.cover_run(task);
  end if;
end
$$;
revoke all on function public.grow_hold from public, anon, authenticated;

-- supabase/schemas/tasks/functions/hash_of_request.sql
-- What tells whether a create is the same as one before; priority and attempts may differ.
create or replace function public.hash_of_request(request jsonb)
returns bytea
language plpgsql immutable set search_path = '' as $$
begin
  return sha256(convert_to((request - array['priority', 'max_attempts'])::text, 'UTF8'));
end
$$;
revoke all on function public.hash_of_request from public, anon, authenticated;

-- supabase/schemas/tasks/functions/hold_check_ahead.sql
-- How long before a held amount is used up it grows: several times as long as the pause between two looks at it, and shorter
-- than a step.
create or replace function public.hold_check_ahead()
returns interval
language sql immutable set search_path = '' as $$
  select interval '20 seconds'
$$;
revoke all on function public.hold_check_ahead from public, anon, authenticated;

-- supabase/schemas/tasks/functions/is_blacked_out.sql
-- Whether a provider's safety checker made an output black: it is flagged, and the checker was not switched off, as _shared/worker/fal
-- reads that. With the checker off, a flagged output is a picture like any other.
create or replace function public.is_blacked_out(params jsonb, facts jsonb)
returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(facts -> 'has_nsfw_concepts' = 'true', false)
    and params -> 'enable_safety_checker' is distinct from 'false'
$$;
revoke all on function public.is_blacked_out from public, anon, authenticated;

-- supabase/schemas/tasks/functions/is_result.sql
-- Whether a file that completes a run is a result for others: one that nobody can replace any more, made of the files that the
-- key speaks of; those may have been replaced since the task was created.
create or replace function public.is_result(task public.tasks, path text)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return coalesce(split_part(path, '/', 2) = 'tasks', false)
    and public.result_key(task.user_id, task.task_type, task.params) is not distinct from task.result_key;
end
$$;
revoke all on function public.is_result from public, anon, authenticated;

-- supabase/schemas/tasks/functions/is_sandbox_worker.sql
-- Whether a run is the sandbox's: the sandbox names its workers so, on every host.
create or replace function public.is_sandbox_worker(worker_id text)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(starts_with(worker_id, 'sandbox-'), false);
end
$$;
revoke all on function public.is_sandbox_worker from public, anon, authenticated;

-- supabase/schemas/tasks/functions/keep_row.sql
-- Refuses to delete or change what tasks speak of without a foreign key.
create or replace function public.keep_row()
returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'rows of % are kept: tasks refer to them', tg_table_name using errcode = 'foreign_key_violation';
end
$$;
revoke all on function public.keep_row from public, anon, authenticated;

-- supabase/schemas/tasks/functions/known_model.sql
-- A model's name where the operator lists it in `known_models`, else no model: names come from payers.
create or replace function public.known_model(named text)
returns text
language plpgsql stable set search_path = '' as $$
begin
  return coalesce((select model from public.known_models where model = named), '');
end
$$;
revoke all on function public.known_model from public, anon, authenticated;

-- supabase/schemas/tasks/functions/known_provider_jobs.sql
-- What a claim hands to the new run of the jobs that earlier runs began at a provider: {provider_jobs, provider_job}, the second of the
-- first step alone, for workers that know one job a task. Null without any. A job that may have been submitted has its webhook's
-- key, by which the run learns of it.
create or replace function public.known_provider_jobs(task public.tasks)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('provider_jobs', jsonb_agg(
           known.job || jsonb_build_object('step', known.step) || known.key order by known.step))
         || case when min(known.step) = 0
              then jsonb_build_object('provider_job', (jsonb_agg(known.job order by known.step)) -> 0) else '{}' end
    from (select step,
                 jsonb_build_object('provider', provider, 'model', model, 'request_id', request_id, 'began_at', began_at) as job,
                 case when request_id is null and webhook_key is not null
                   then jsonb_build_object('webhook_key', webhook_key) else '{}' end as key
            from public.provider_jobs
           where task_id = task.id and by_owner = task.claimed_by_owner) as known
  having count(*) > 0
$$;
revoke all on function public.known_provider_jobs from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lane_count.sql
-- How many tasks of a lane are ready, blocked, scheduled and running.
create or replace function public.lane_count(
  for_lane bigint, out ready integer, out blocked integer, out scheduled integer, out running integer
)
language plpgsql stable set search_path = '' as $$
begin
  select coalesce(sum(count.ready), 0), coalesce(sum(count.blocked), 0), coalesce(sum(count.scheduled), 0),
         coalesce(sum(count.running), 0)
    into ready, blocked, scheduled, running
    from public.task_counts as count where count.lane_id = for_lane;
end
$$;
revoke all on function public.lane_count from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lane_may_open.sql
-- Whether the cloud may take a task of this lane, if there is one: the user wants it, and has a free slot, and so
-- has the project where it is limited. The caller holds the tenant's lock, or looks again under it.
create or replace function public.lane_may_open(lane public.task_lanes)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return lane.in_cloud
    and (select allows_cloud from public.task_tenants where user_id = lane.user_id)
    and (lane.is_orchestrator
         or exists (select from public.task_slots where user_id = lane.user_id and task_id is null)
            and (lane.project_id is null
                 or exists (select from public.project_slots
                             where project_id = lane.project_id and task_id is null)));
end
$$;
revoke all on function public.lane_may_open from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lane_of_task.sql
-- The lane in which a task waits now: while it ran or was over, its project may have got a limit or lost it.
-- The caller holds the tenant's lock.
create or replace function public.lane_of_task(task public.tasks)
returns bigint
language plpgsql set search_path = '' as $$
declare
  project public.projects;
begin
  select * into project from public.projects where id = task.project_id;
  return public.find_lane(project, task.task_type, coalesce(task.model, ''), task.in_cloud, task.is_orchestrator);
end
$$;
revoke all on function public.lane_of_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lanes_to_try.sql
-- The next lanes for a claim that looks where its kinds of task are, best first, without those tried: one index probe a
-- kind (and model), however many lanes and tasks there are. Kinds are run types, and then models are named, or
-- task types. Of `late_types` lanes that are late.
create or replace function public.lanes_to_try(
  stage text, kinds text[], models text[], tried bigint[], page_size integer, late_types text[]
)
returns setof public.task_lanes
language plpgsql set search_path = '' as $$
begin
  if late_types <> '{}' and models is null then
    return query
      select next_lane.*
        from (select next_lane.*
                from unnest(kinds) as kind (name),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.task_type = kind.name
                                 and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane
              union all
              select next_lane.*
                from unnest(late_types) as kind (name),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.is_late and lane.task_type = kind.name
                                 and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane) as next_lane
       order by next_lane.turn limit page_size;
  elsif late_types <> '{}' then
    return query
      select next_lane.*
        from (select next_lane.*
                from unnest(kinds) as kind (name), unnest(models) as wanted (model),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.task_type = kind.name and lane.model = wanted.model
                                 and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane
              union all
              select next_lane.*
                from unnest(late_types) as kind (name), unnest(models) as wanted (model),
                     lateral (select * from public.task_lanes as lane
                               where lane.is_open and lane.is_late and lane.task_type = kind.name and lane.model = wanted.model
                                 and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                               order by lane.turn limit page_size) as next_lane) as next_lane
       order by next_lane.turn limit page_size;
  elsif stage = 'overdue' and models is null then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.is_overdue and lane.task_type = kind.name
                         and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  elsif stage = 'overdue' then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name), unnest(models) as wanted (model),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.is_overdue and lane.task_type = kind.name
                         and lane.model = wanted.model
                         and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  elsif models is null then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.task_type = kind.name
                         and lane.turn >= public.turn_mark(kind.name, null) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  elsif kinds <@ array['gpu', 'api'] then
    return query
      select next_lane.*
        from unnest(kinds) as kind (name), unnest(models) as wanted (model),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.run_type = kind.name and lane.model = wanted.model
                         and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
                       order by lane.turn limit page_size) as next_lane
       order by next_lane.turn limit page_size;
  else
    return query
      select next_lane.*
        from unnest(kinds) as kind (name), unnest(models) as wanted (model),
             lateral (select * from public.task_lanes as lane
                       where lane.is_open and lane.task_type = kind.name and lane.model = wanted.model
                         and lane.turn >= public.turn_mark(kind.name, wanted.model) and lane.id <> all (tried)
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
language plpgsql stable set search_path = '' as $$
begin
  return (
    select case when worker_heartbeats
        then (select heartbeat_lease from public.queue_settings)
        else make_interval(secs => (select max_runtime_seconds from public.task_types where name = for_task_type))
      end);
end
$$;
revoke all on function public.lease_duration from public, anon, authenticated;

-- supabase/schemas/tasks/functions/leave_queue.sql
-- A deleted task gives back its slot and its hold. A task that is deleted while it runs costs what a cancelled one does; an
-- orchestrator pays its finished children first, and what the others have consumed: they end after the statement, see
-- end_uncovered_parts(). An archived task has none of these, and is not deleted.
create or replace function public.leave_queue()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  ended_at constant timestamptz := clock_timestamp();
  payer constant uuid := public.payer_of_task(old);
  part public.tasks;
  consumed bigint;
begin
  if exists (select from public.archived_tasks where id = old.id) then
    return old;
  end if;
  perform public.free_slots(array[old::public.tasks]);
  consumed := (public.give_up_run(old, true, ended_at)).cost_microusd;
  if old.is_orchestrator then
    consumed := public.cost_of_run(old, true)
      - coalesce((select hold.consumed_microusd from public.credit_holds as hold where hold.task_id = payer and payer = old.id), 0);
    for part in
      with recursive family (id) as (
        select old.id
        union
        select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
      )
      select task.* from family join public.tasks as task on task.id = family.id where task.id <> old.id
    loop
      consumed := consumed + (public.give_up_run(part, true, ended_at)).cost_microusd;
    end loop;
  else
    consumed := consumed + coalesce(old.cost_microusd, 0);
  end if;
  if old.status in ('Queued', 'In Progress') then
    perform public.count_unpaid_cost(array[old.id], consumed);
  end if;
  -- A part that is deleted after its orchestrator was counted with it. Of a charge that was made it is noted what it was for.
  if payer = old.id or exists (select from public.tasks where id = payer) then
    update public.credit_holds set consumed_microusd = consumed_microusd + consumed
     where task_id = payer and (state = 'held' or state = 'settled' and payer <> old.id);
  end if;
  if payer = old.id then
    perform public.settle_hold(old.id, is_deleted => true, metadata => public.charge_metadata(old) || '{"reason": "deleted"}');
  end if;
  return old;
end
$$;
revoke all on function public.leave_queue from public, anon, authenticated;

-- supabase/schemas/tasks/functions/let_provider_resume.sql
-- A task goes back to the queue while a provider has a job of it: that provider may take it at once, whatever own workers are
-- active, and they leave it to the provider. The caller holds the tenant's lock.
create or replace function public.let_provider_resume(for_task uuid, lane bigint)
returns void
language plpgsql set search_path = '' as $$
begin
  if exists (select from public.provider_jobs where task_id = for_task and not by_owner) then
    update public.task_lanes set is_late = true where id = lane and not is_late;
  end if;
end
$$;
revoke all on function public.let_provider_resume from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lift_lanes.sql
-- Brings lanes that a claim met up to their users' turns; answers how many were behind. A lane that somebody else is
-- writing is left as it is.
create or replace function public.lift_lanes(met bigint[])
returns integer
language plpgsql set search_path = '' as $$
declare
  lifted integer;
begin
  update public.task_lanes as lane set turn = behind.user_turn
    from (select mine.id, served.turn as user_turn
            from public.task_lanes as mine
            join public.user_turns as served on served.user_id = mine.user_id and served.run_type = mine.run_type
           where mine.id = any (met) and mine.turn < served.turn
           order by mine.id for no key update of mine skip locked) as behind
   where lane.id = behind.id;
  get diagnostics lifted = row_count;
  return lifted;
end
$$;
revoke all on function public.lift_lanes from public, anon, authenticated;

-- supabase/schemas/tasks/functions/limit_count.sql
-- How many open tasks a user has, tasks wait for a task, or children an orchestrator has.
create or replace function public.limit_count(of_subject text, of_subject_id uuid)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (select coalesce(sum(amount), 0)::integer from public.limit_counts
           where subject_id = of_subject_id and subject = of_subject);
end
$$;
revoke all on function public.limit_count from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lock_orchestrators.sql
-- Locks the orchestrations that a task is part of, outermost first, before anybody locks the task: its end may be
-- theirs, and of two parts that end at once the second sees the first.
create or replace function public.lock_orchestrators(for_task uuid)
returns void
language plpgsql set search_path = '' as $$
declare
  orchestrator uuid := (select orchestrator_task_id from public.tasks where id = for_task);
begin
  if orchestrator is not null then
    perform public.lock_orchestrators(orchestrator);
    perform from public.tasks where id = orchestrator for no key update;
  end if;
end
$$;
revoke all on function public.lock_orchestrators from public, anon, authenticated;

-- supabase/schemas/tasks/functions/lock_tenant.sql
-- Every change that can make a lane ready or free a slot happens under this lock, so that no claim can close
-- a lane on what it no longer knows.
create or replace function public.lock_tenant(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.task_tenants where user_id = for_user for no key update;
end
$$;
revoke all on function public.lock_tenant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/model_of_params.sql
-- The model that a worker needs for these params: what decides which warm worker it suits.
create or replace function public.model_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return left(nullif(trim(coalesce(
    case when jsonb_typeof(params -> 'model_name') = 'string' then params ->> 'model_name' end,
    case when jsonb_typeof(params -> 'orchestrator_details' -> 'model_name') = 'string'
         then params -> 'orchestrator_details' ->> 'model_name' end,
    case when jsonb_typeof(params -> 'model') = 'string' then params ->> 'model' end)), ''), 200);
end
$$;
revoke all on function public.model_of_params from public, anon, authenticated;

-- supabase/schemas/tasks/functions/move_turn_mark.sql
-- Notes how far the turns of a kind have come, now and then: see turn_marks. `taken_turn` is one that a claim took.
create or replace function public.move_turn_mark(of_kind text, of_model text, taken_turn bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  apart constant integer := 256;
  passed constant bigint := public.turn_mark(of_kind, of_model);
  first_turn bigint;
begin
  if taken_turn <= passed + apart then
    return;
  end if;
  -- The first that is open, which need not be the one that was served.
  if of_kind in ('gpu', 'api') and of_model is null then
    select turn into first_turn from public.user_turns
     where is_open and run_type = of_kind and turn >= passed order by turn limit 1;
  elsif of_kind in ('gpu', 'api') then
    select turn into first_turn from public.task_lanes
     where is_open and run_type = of_kind and model = of_model and turn >= passed order by turn limit 1;
  elsif of_model is null then
    select turn into first_turn from public.task_lanes
     where is_open and task_type = of_kind and turn >= passed order by turn limit 1;
  else
    select turn into first_turn from public.task_lanes
     where is_open and task_type = of_kind and model = of_model and turn >= passed order by turn limit 1;
  end if;
  if first_turn > passed + apart
     and first_turn > coalesce((select max(turn) from public.turn_marks
                                 where kind = of_kind and model is not distinct from of_model), 0) + apart then
    insert into public.turn_marks (kind, model, turn) values (of_kind, of_model, first_turn) on conflict do nothing;
  end if;
end
$$;
revoke all on function public.move_turn_mark from public, anon, authenticated;

-- supabase/schemas/tasks/functions/names_seed.sql
-- Whether params say which seed to use, in all places where they speak of one; without, each run is to make something new.
create or replace function public.names_seed(params jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := params -> 'orchestrator_details';
begin
  return coalesce((
    select bool_and(seed ~ '^\d{1,20}$')
      from unnest(array[
        params ->> 'seed', params ->> 'seed_to_use', params ->> 'seed_base',
        details ->> 'seed', details ->> 'seed_to_use', details ->> 'seed_base']) as seed
     where seed is not null), false)
    and params -> 'random_seed' is distinct from 'true' and details -> 'random_seed' is distinct from 'true';
end
$$;
revoke all on function public.names_seed from public, anon, authenticated;

-- supabase/schemas/tasks/functions/newest_turn_mark.sql
-- The newest mark of a kind, however young: what opens now enters the rotation there.
create or replace function public.newest_turn_mark(of_kind text, of_model text)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  mark bigint;
begin
  if of_model is null then
    select turn into mark from public.turn_marks where kind = of_kind and model is null order by turn desc limit 1;
  else
    select turn into mark from public.turn_marks where kind = of_kind and model = of_model order by turn desc limit 1;
  end if;
  return coalesce(mark, 0);
end
$$;
revoke all on function public.newest_turn_mark from public, anon, authenticated;

-- supabase/schemas/tasks/functions/next_to_end.sql
-- The next step of end_task(): what ends because these tasks have ended. All orchestrators that they are part of; of their open
-- parts and the tasks that wait for them as many as `room` has, and the rest is noted in task_outbox. Where something is
-- left, the family's parts that run end as well, of which a user has at most five, and queued ones that a provider may be running:
-- so nothing is delivered or used for an orchestration whose cost is settled. Parts that are left are not claimed, and dependants that are left wait: neither can run.
create or replace function public.next_to_end(
  ended public.tasks[], new_status public.task_status, by_owner boolean, origin uuid, room integer,
  out relatives uuid[], out dependants uuid[], out room_left integer
)
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  parts uuid[];
  waiting uuid[];
begin
  relatives := array(
    select distinct orchestrator_task_id from unnest(ended) where orchestrator_task_id is not null);
  dependants := '{}';
  room_left := room;
  foreach task in array ended loop
    parts := array(
      select id from public.tasks
       where orchestrator_task_id = task.id and status in ('Queued', 'In Progress') and id <> all (relatives)
       order by created_at, id limit room_left + 1);
    waiting := array(
      select task_id from public.task_dependencies
       where dependency_id = task.id and is_waiting and task_id <> all (relatives || parts || dependants)
       order by task_id limit room_left + 1);
    if cardinality(parts) + cardinality(waiting) > room_left then
      insert into public.task_outbox (kind, subject_id, user_id, new_status, by_owner, origin_id)
      values ('end_relatives', task.id, task.user_id, new_status, next_to_end.by_owner, origin);
      parts := parts[1:room_left];
      waiting := waiting[1:room_left - cardinality(parts)];
      relatives := relatives || array(
        select part.id from public.tasks as part
         where part.orchestrator_task_id = task.id and part.status = 'Queued' and part.id <> all (parts)
           and exists (select from public.provider_jobs as job where job.task_id = part.id) limit 100);
    end if;
    relatives := relatives || parts;
    dependants := dependants || waiting;
    room_left := room_left - cardinality(parts) - cardinality(waiting);
  end loop;
  if room_left = 0 then
    relatives := relatives || public.running_parts_of_ended(ended[1].user_id);
  end if;
end
$$;
revoke all on function public.next_to_end from public, anon, authenticated;

-- supabase/schemas/tasks/functions/note_fal.sql
-- Notes that FAL runs tasks here, and the rule by which it does, where a caller states one. Nothing is written while nothing
-- changes, but for the time, every 30 seconds. Waits for nobody: the next caller notes what this one could not.
create or replace function public.note_fal(rule text default null, after_seconds integer default null)
returns void
language plpgsql set search_path = '' as $$
declare
  after constant interval := make_interval(secs => after_seconds);
begin
  if exists (select from public.queue_settings
              where not fal_is_configured or fal_seen_at < now() - interval '30 seconds'
                 or fal_runs <> coalesce(rule, fal_runs) or fal_after <> coalesce(after, fal_after)) then
    update public.queue_settings
       set fal_is_configured = true, fal_seen_at = now(), fal_runs = coalesce(rule, fal_runs), fal_after = coalesce(after, fal_after)
     where only_row = (select only_row from public.queue_settings for no key update skip locked);
  end if;
end
$$;
revoke all on function public.note_fal from public, anon, authenticated;

-- supabase/schemas/tasks/functions/note_provider_job.sql
-- Notes a job that a run has at a provider: the intent, before it is submitted, then the id that the provider gave it; or,
-- by a JSON null, that the task has none any more. `step` says which job of the task it is; default: 0. Refuses what would begin a
-- second job of the step while the first may still end well, and names that job in the refusal; and an id that is another task's.
-- An intent that is noted again with the same webhook's key is the same intent, and keeps its time, units and cost.
-- Of a worker of the cloud, an intent is refused by which the task would cost more than it is charged (require_provider_margin()), and
-- the first of a task by require_unpaid_allowance(); the id adds the job to what the task costs, once.
-- The caller holds the running task's lock.
create or replace function public.note_provider_job(task public.tasks, job jsonb)
returns void
language plpgsql set search_path = '' as $$
declare
  for_step constant smallint := coalesce((job ->> 'step')::smallint, 0::smallint);
  known public.provider_jobs;
  noted public.provider_jobs;
  cost bigint;
begin
  -- Jobs of the other kind of run, at another account, are not this run's to forget: the party that began them withdraws them.
  with left_behind as (
    delete from public.provider_jobs as begun
     where begun.task_id = task.id and begun.by_owner <> task.claimed_by_owner
       and (job = 'null' or job ->> 'request_id' is null)
    returning *
  )
  insert into public.provider_withdrawals
    (task_id, step, attempt, user_id, provider, model, request_id, webhook_key, by_owner, paid_by, cost_microusd, charge_metadata,
     provider_cost_microusd)
  select task.id, begun.step, begun.attempt, task.user_id, begun.provider, begun.model, begun.request_id, begun.webhook_key,
         begun.by_owner, public.payer_of_task(task), 0, '{}', begun.cost_microusd
    from left_behind as begun;
  if job = 'null' then
    delete from public.provider_jobs where task_id = task.id;
    return;
  end if;
  if job ->> 'request_id' is null then
    if not task.claimed_by_owner then
      select * into known from public.provider_jobs where task_id = task.id and step = for_step;
      -- A step whose job is known is refused below.
      cost := case
        when known.webhook_key = (job ->> 'webhook_key')::uuid and known.model = job ->> 'model' then known.cost_microusd
        when known.request_id is null then public.cost_with_margin(task, job) end;
      if known.task_id is null then
        perform public.require_unpaid_allowance(task);
      end if;
    end if;
    insert into public.provider_jobs as begun
      (task_id, step, provider, model, attempt, by_owner, webhook_key, completes, units, cost_microusd)
    values (task.id, for_step, job ->> 'provider', job ->> 'model', task.attempt, task.claimed_by_owner,
            (job ->> 'webhook_key')::uuid, coalesce((job ->> 'completes')::boolean, true),
            coalesce(nullif(job -> 'units', 'null'), '{}'), cost)
    on conflict (task_id, step) do update
       set provider = excluded.provider, model = excluded.model, attempt = excluded.attempt,
           by_owner = excluded.by_owner, webhook_key = excluded.webhook_key, request_id = null, submitted_at = null,
           began_at = case when begun.webhook_key = excluded.webhook_key then begun.began_at else now() end,
           completes = case when begun.webhook_key = excluded.webhook_key then begun.completes else excluded.completes end,
           units = case when begun.webhook_key = excluded.webhook_key then begun.units else excluded.units end,
           cost_microusd = excluded.cost_microusd
     where begun.request_id is null or begun.by_owner <> excluded.by_owner
    returning * into noted;
  else
    update public.provider_jobs
       set request_id = job ->> 'request_id', submitted_at = coalesce(submitted_at, now())
     where task_id = task.id and step = for_step and by_owner = task.claimed_by_owner and provider = job ->> 'provider'
       and model = job ->> 'model' and coalesce(request_id, job ->> 'request_id') = job ->> 'request_id'
    returning * into noted;
    if not noted.by_owner then
      perform public.count_provider_call(noted, task.user_id, task.task_type);
    end if;
  end if;
  if noted.task_id is null then
    select * into noted from public.provider_jobs where task_id = task.id and step = for_step;
    perform public.refuse('provider_job_open', 409, jsonb_build_object(
      'provider_job', jsonb_build_object(
        'step', for_step, 'provider', noted.provider, 'model', noted.model, 'request_id', noted.request_id)));
  end if;
exception when unique_violation then
  perform public.refuse('provider_job_open', 409, jsonb_build_object('provider_job', job - array['webhook_key', 'request_id']));
end
$$;
revoke all on function public.note_provider_job from public, anon, authenticated;

-- supabase/schemas/tasks/functions/note_run_time.sql
-- Counts how long a finished run took, under its model where the operator knows that. Never waits: a run whose bucket somebody is writing is not counted.
create or replace function public.note_run_time(finished public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  for_bucket smallint;
  for_model constant text := public.known_model(finished.model);
begin
  -- Neither an owner's machine nor the sandbox says anything about the cloud's.
  if finished.is_orchestrator or finished.claimed_by_owner or public.is_sandbox_worker(finished.worker_id)
     or finished.generation_started_at is null then
    return;
  end if;
  for_bucket := public.run_time_bucket(extract(epoch from finished.generation_processed_at - finished.generation_started_at));
  update public.task_run_times set runs = runs + 1
   where ctid = (select ctid from public.task_run_times
                  where task_type = finished.task_type and model = for_model and bucket = for_bucket
                  for no key update skip locked);
  if found or exists (select from public.task_run_times
                       where task_type = finished.task_type and model = for_model and bucket = for_bucket) then
    return;
  end if;
  insert into public.task_run_times (task_type, model, bucket, runs) values (finished.task_type, for_model, for_bucket, 1)
  on conflict (task_type, model, bucket) do nothing;
end
$$;
revoke all on function public.note_run_time from public, anon, authenticated;

-- supabase/schemas/tasks/functions/note_unwanted_job.sql
-- The id of a job that its run submitted while its task ended: from now on it can be withdrawn. False when nobody waits for it.
create or replace function public.note_unwanted_job(
  for_user uuid, for_provider text, for_task uuid, for_attempt integer, for_step smallint, new_request_id text
) returns boolean
language plpgsql set search_path = '' as $$
declare
  withdrawal public.provider_withdrawals;
begin
  update public.provider_withdrawals set request_id = new_request_id, next_try_at = now()
   where task_id = for_task and attempt = for_attempt and step = for_step and provider = for_provider and state = 'open'
     and by_owner = (for_user is not null) and (for_user is null or user_id = for_user)
     and coalesce(request_id, new_request_id) = new_request_id
  returning * into withdrawal;
  if not found then
    return false;
  end if;
  perform public.count_withdrawn_job(withdrawal);
  return true;
end
$$;
revoke all on function public.note_unwanted_job from public, anon, authenticated;

-- supabase/schemas/tasks/functions/open_dependency_depth.sql
-- The longest chain of tasks that are not complete which a task with these dependencies would stand behind, itself not counted.
-- Reads the numbers that were stored at creation. They are too high where the first of a chain have completed since; so a
-- number above the limit is counted anew, along at most 5,000 dependencies.
create or replace function public.open_dependency_depth(dependencies uuid[], allowed integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  depth integer;
  counted record;
begin
  select coalesce(max(dependency_depth) + 1, 0) into depth
    from public.tasks where id = any (dependencies) and status <> 'Complete';
  if depth <= allowed then
    return depth;
  end if;
  with recursive before (task_id, level) as (
    select id, 1 from public.tasks where id = any (dependencies) and status <> 'Complete'
    union
    select needed.dependency_id, before.level + 1
      from before join public.task_dependencies as needed on needed.task_id = before.task_id and needed.is_waiting
     where before.level <= allowed
  )
  select count(*) as steps, max(level) as level into counted from (select level from before limit 5001) as step;
  return case when counted.steps > 5000 then depth else counted.level end;
end
$$;
revoke all on function public.open_dependency_depth from public, anon, authenticated;

-- supabase/schemas/tasks/functions/open_lanes.sql
-- Brings `is_open` of a user's ready lanes in line with the user's choice and free slots.
-- The caller holds the tenant's lock.
create or replace function public.open_lanes(for_user uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.task_lanes as lane
     set is_open = not lane.is_open, turn = public.turn_floor(lane)
    from public.task_tenants as tenant,
         lateral (select exists (select from public.task_slots
                                  where user_id = for_user and task_id is null) as has_slot) as own
   where lane.user_id = for_user and lane.is_ready and tenant.user_id = for_user
     and lane.is_open <> (
       lane.in_cloud and tenant.allows_cloud
       and (lane.is_orchestrator
            or own.has_slot
               and (lane.project_id is null
                    or exists (select from public.project_slots
                                where project_id = lane.project_id and task_id is null))));
  if found then
    perform public.open_turn(for_user, run_type)
       from (select distinct run_type from public.task_lanes where user_id = for_user and is_open) as open_lane;
  end if;
end
$$;
revoke all on function public.open_lanes from public, anon, authenticated;

-- supabase/schemas/tasks/functions/open_turn.sql
-- Puts a user with an open lane among those whose turn comes: not before where claims begin, and not before their own
-- last turn, so that nobody gets ahead by coming back. The caller holds the tenant's lock.
create or replace function public.open_turn(for_user uuid, of_run_type text)
returns void
language plpgsql set search_path = '' as $$
declare
  first_turn bigint;
begin
  -- Only who holds the tenant's lock closes it.
  if exists (select from public.user_turns where user_id = for_user and run_type = of_run_type and is_open) then
    return;
  end if;
  first_turn := greatest(public.newest_turn_mark(of_run_type, null),
                         (select max(turn) from public.user_turns where user_id = for_user));
  insert into public.user_turns as mine (user_id, run_type, turn) values (for_user, of_run_type, first_turn)
  on conflict (user_id, run_type) do update set is_open = true, turn = greatest(mine.turn, first_turn);
end
$$;
revoke all on function public.open_turn from public, anon, authenticated;

-- supabase/schemas/tasks/functions/orchestration_depth.sql
-- How many orchestrators stand above a child of this one, itself counted.
create or replace function public.orchestration_depth(of_orchestrator uuid)
returns integer
language plpgsql stable set search_path = '' as $$
declare
  above uuid := of_orchestrator;
  depth integer := 0;
begin
  while above is not null loop
    depth := depth + 1;
    above := (select orchestrator_task_id from public.tasks where id = above);
  end loop;
  return depth;
end
$$;
revoke all on function public.orchestration_depth from public, anon, authenticated;

-- supabase/schemas/tasks/functions/orchestrations_around.sql
-- The orchestrations that a task is part of, outermost first, in the order in which they are locked.
create or replace function public.orchestrations_around(for_task uuid)
returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
  return array(
    with recursive around (id, depth) as (
      select orchestrator_task_id, 1 from public.tasks where id = for_task
      union all
      select wider.orchestrator_task_id, depth + 1 from around join public.tasks as wider on wider.id = around.id
    )
    select id from around where id is not null order by depth desc);
end
$$;
revoke all on function public.orchestrations_around from public, anon, authenticated;

-- supabase/schemas/tasks/functions/orchestrator_of_params.sql
-- The task that these params name as their orchestrator: the first of the known places that holds a row's
-- uuid. Readable ids, which browsers put there, are not one.
create or replace function public.orchestrator_of_params(params jsonb)
returns uuid
language plpgsql stable set search_path = '' as $$
declare
  reference text;
  orchestrator uuid;
begin
  foreach reference in array array[
    params ->> 'orchestrator_task_id_ref',
    params -> 'orchestrator_details' ->> 'orchestrator_task_id_ref',
    params -> 'orchestrator_details' ->> 'orchestrator_task_id',
    params -> 'originalParams' -> 'orchestrator_details' ->> 'orchestrator_task_id',
    params ->> 'orchestrator_task_id',
    params -> 'full_orchestrator_payload' ->> 'orchestrator_task_id',
    params -> 'orchestration_contract' ->> 'orchestrator_task_id',
    params -> 'orchestrator_details' ->> 'parent_orchestrator_task_id',
    params ->> 'parent_orchestrator_task_id',
    params ->> 'orchestrator_id'
  ] loop
    continue when reference is null or reference !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$';
    select id into orchestrator from public.tasks where id = reference::uuid and is_orchestrator;
    if not found then
      select id into orchestrator from public.archived_tasks where id = reference::uuid and is_orchestrator;
    end if;
    if orchestrator is not null then
      return orchestrator;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.orchestrator_of_params from public, anon, authenticated;

-- supabase/schemas/tasks/functions/orchestrators_above.sql
-- The orchestrator of a part, that orchestrator's own, and so on to the outermost.
create or replace function public.orchestrators_above(part public.tasks)
returns uuid[]
language plpgsql stable set search_path = '' as $$
declare
  candidate uuid := part.orchestrator_task_id;
  found_ids uuid[] := '{}';
begin
  while candidate is not null and candidate <> all (found_ids) loop
    found_ids := found_ids || candidate;
    candidate := (select orchestrator_task_id from public.tasks where id = candidate);
  end loop;
  return found_ids;
end
$$;
revoke all on function public.orchestrators_above from public, anon, authenticated;

-- supabase/schemas/tasks/functions/output_fault.sql
-- Why a file cannot be an output of this task, as {code, reason, problem}; null when it can. `media` are the kinds of file that are
-- accepted, null for all. `checked_files` holds by path what the check of the files' bytes found, and of which version: an object
-- that has another size or tag now was replaced, and nobody knows what it holds. Called under the task's lock, which writers into its
-- folder wait for (keep_finished_files()): what is true here is true at the commit.
create or replace function public.output_fault(task public.tasks, path text, media text[], checked_files jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  -- First of all, for it refuses what the caller may not know about.
  is_stored constant boolean := public.output_is_stored(task, path);
  checked constant jsonb := checked_files -> path;
  state constant text := checked ->> 'state';
  medium constant text := checked ->> 'medium';
  stored jsonb;
begin
  if state = 'unsound' then
    return jsonb_build_object('code', 'invalid_output', 'reason', checked -> 'reason', 'problem', checked -> 'problem');
  end if;
  if state = 'sound' and media is not null and (medium is null or medium <> all (media)) then
    return jsonb_build_object('code', 'invalid_output', 'reason', 'wrong_kind', 'problem',
      format('is %s; a %s task makes %s',
             case when medium is null then 'not a known image or video format' else public.with_article(medium) end,
             task.task_type,
             (select string_agg(public.with_article(kind), ' or ') from unnest(media) as kind)));
  end if;
  if not is_stored then
    return '{"code": "output_not_found"}';
  end if;
  select metadata into stored from storage.objects where bucket_id = 'image_uploads' and name = path;
  if state = 'absent' and (stored ->> 'size')::bigint = 0 then
    return '{"code": "invalid_output", "reason": "empty", "problem": "is empty (0 bytes)"}';
  end if;
  if state is null then
    return '{"code": "invalid_output", "reason": "unchecked", "problem": "was not checked"}';
  end if;
  if state in ('absent', 'unreadable') then
    return '{"code": "storage_unavailable"}';
  end if;
  if state <> 'sound'
     or (checked ->> 'size')::bigint <> (stored ->> 'size')::bigint
     or checked ->> 'etag' <> translate(regexp_replace(stored ->> 'eTag', '^W/', ''), '"', '') then
    return '{"code": "output_replaced"}';
  end if;
  return null;
end
$$;
revoke all on function public.output_fault from public, anon, authenticated;

-- supabase/schemas/tasks/functions/output_is_stored.sql
-- Whether a file is in storage, of those that this task may be completed with: its own, its owner's uploads, and
-- files that complete tasks of its project delivered (an orchestrator passes on what a child made). A complete task's
-- files stay as they are; another's may still be replaced. What is out of reach is refused, there or not.
create or replace function public.output_is_stored(task public.tasks, path text)
returns boolean
language plpgsql stable set search_path = '' as $$
declare
  segments constant text[] := string_to_array(path, '/');
  maker_status public.task_status;
begin
  if segments[1] <> task.user_id::text or array_length(segments, 1) < 3 then
    perform public.refuse('forbidden', 403, jsonb_build_object('path', path));
  end if;
  if segments[2] = 'tasks' and segments[3] <> task.id::text then
    if segments[3] ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
      select maker.status into maker_status from public.all_tasks as maker
       where maker.id = segments[3]::uuid and maker.project_id = task.project_id limit 1;
    end if;
    if maker_status is null then
      perform public.refuse('forbidden', 403, jsonb_build_object('path', path));
    elsif maker_status <> 'Complete' then
      perform public.refuse('output_not_final', 409, jsonb_build_object('path', path));
    end if;
  end if;
  return (maker_status is null or public.is_readable_file('image_uploads', path))
    and exists (select from storage.objects where bucket_id = 'image_uploads' and name = path);
end
$$;
revoke all on function public.output_is_stored from public, anon, authenticated;

-- supabase/schemas/tasks/functions/output_media.sql
-- What a task type makes: the kinds of file that may complete it. Null: a file of any kind, such as weights.
create or replace function public.output_media(for_type text)
returns text[]
language sql stable set search_path = '' as $$
  select case
           -- Runs whatever model its params name.
           when kind.name = 'wgp' then array['image', 'video']
           when kind.content_type is not null then array[kind.content_type]
         end
    from public.task_types as kind where kind.name = for_type
$$;
revoke all on function public.output_media from public, anon, authenticated;

-- supabase/schemas/tasks/functions/outputs_in_order.sql
-- The outputs of a run, [{path, location, facts}], those first that can be shown; each that a safety checker made black says so in
-- its facts.
create or replace function public.outputs_in_order(params jsonb, outputs jsonb)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_agg(case when is_black then jsonb_set(output, '{facts,blacked_out}', 'true') else output end
                   order by is_black, place)
    from jsonb_array_elements(outputs) with ordinality as listed (output, place),
         lateral (select public.is_blacked_out(params, output -> 'facts') as is_black) as looked
$$;
revoke all on function public.outputs_in_order from public, anon, authenticated;

-- supabase/schemas/tasks/functions/own_worker_types.sql
-- The task types that active own workers can run: the operator's, or with `for_user` those of that owner. A worker that names task
-- types can run those; one that names none, what shipped workers of its run type run. One that has only sent heartbeats is
-- a GPU worker, for these start so. With `active_within`, those that were active within that time, whatever they are now.
-- Active: a heartbeat, or a claim where it sends none, within its time; or a run with a valid lease.
create or replace function public.own_worker_types(for_user uuid default null, active_within interval default null)
returns text[]
language plpgsql stable set search_path = '' as $$
declare
  settings public.queue_settings;
begin
  select * into settings from public.queue_settings;
  return array(
    with candidate as (
      select worker.* from public.workers as worker
       where for_user is null and active_within is null
         and worker.user_id is null and worker.provider is null and worker.status = 'active'
      union all
      select worker.* from public.workers as worker
       where for_user is null and active_within is not null and worker.user_id is null and worker.provider is null
      union all
      select worker.* from public.workers as worker
       where for_user is not null and worker.user_id = for_user and worker.provider is null and worker.status = 'active'
    ), active as (
      select distinct case when last_claim_at is null then 'gpu' else claimed_run_type end as run_type,
             claimed_task_types as task_types
        from candidate
       where last_heartbeat > now() - coalesce(active_within, settings.heartbeat_lease)
          or last_claim_at > now() - coalesce(active_within, case when heartbeats then settings.heartbeat_lease
                                                                  else settings.claimer_active_for end)
          or not heartbeats and exists (
            select from public.tasks
             where status = 'In Progress' and lease_expires_at > now() and claimed_by_owner = (for_user is not null)
               and worker_id = case when for_user is null then candidate.id
                                    else substr(candidate.id, length(for_user::text) + 2) end)
      union
      select 'api', null
       where for_user is null
         and settings.api_worker_seen_at > now() - coalesce(active_within, settings.claimer_active_for)
    )
    select kind.name
      from public.task_types as kind
     where kind.alias_of is null
       and exists (
         select from active
          where (active.run_type is null or active.run_type = kind.run_type)
            and case when active.task_types is null
                       then kind.runners && array[case when kind.run_type = 'api' then 'api_worker' else 'gpu_worker' end]
                     else kind.name = any (active.task_types)
                       or exists (select from public.task_types as alias
                                   where alias.alias_of = kind.name and alias.name = any (active.task_types)) end)
     order by kind.name);
end
$$;
revoke all on function public.own_worker_types from public, anon, authenticated;

-- supabase/schemas/tasks/functions/parts_are_independent.sql
-- Whether the segments of a travel stand each for itself: then no stitch makes one of them.
create or replace function public.parts_are_independent(orchestrator public.tasks)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(orchestrator.params -> 'orchestrator_details' -> 'independent_segments',
                  orchestrator.params -> 'independent_segments', 'true') <> 'false';
end
$$;
revoke all on function public.parts_are_independent from public, anon, authenticated;

-- supabase/schemas/tasks/functions/parts_of_task.sql
-- The work that a task's cost is made of: the task itself; of an orchestration its children, and those of orchestrations
-- within it. Archived ones too.
create or replace function public.parts_of_task(for_task uuid)
returns setof public.all_tasks
language plpgsql stable set search_path = '' as $$
begin
  return query
    with recursive family (id) as (
      select for_task
      union
      select child.id from family join public.all_tasks as child on child.orchestrator_task_id = family.id
    )
    select part.* from family join public.all_tasks as part on part.id = family.id
     where not part.is_orchestrator;
end
$$;
revoke all on function public.parts_of_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/pass_turn.sql
-- Puts a user who was served behind all others. Lanes from which nothing more can be claimed are closed, so that
-- claims do not visit them: the served one when it is empty, all when the user has no slot left. What another claim
-- is updating is left to that claim.
create or replace function public.pass_turn(served public.task_lanes, affinity_max_wait interval)
returns void
language plpgsql set search_path = '' as $$
declare
  next_turn constant bigint := nextval('public.task_turns');
  next_since timestamptz;
  next_ready_at timestamptz;
  next_id uuid;
  has_slot boolean;
  has_project_slot boolean;
  may_close boolean := false;
begin
  loop
    select next_task.since, next_task.ready_at, next_task.id,
           served.is_orchestrator
             or exists (select from public.task_slots where user_id = served.user_id and task_id is null),
           served.project_id is null or served.is_orchestrator
             or exists (select from public.project_slots where project_id = served.project_id and task_id is null)
      into next_since, next_ready_at, next_id, has_slot, has_project_slot
      from (values (true)) as always
      left join lateral (select greatest(created_at, run_after) as since, ready_at, id from public.tasks
                          where lane_id = served.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                          order by priority desc, created_at, id limit 1) as next_task on true;
    exit when may_close or (next_since is not null and has_slot and has_project_slot);
    -- Whoever adds work or frees a slot holds the tenant's lock: then the lanes stay as they are. With it, we look
    -- again, for what was committed before we had it.
    perform from public.task_tenants where user_id = served.user_id for no key update skip locked;
    exit when not found;
    may_close := true;
  end loop;

  if may_close then
    update public.task_lanes as lane
       set is_ready = lane.id <> served.id or next_since is not null, is_open = false
      from (select id from public.task_lanes
             where user_id = served.user_id and is_ready
               and (id = served.id and next_since is null
                    or is_open and not is_orchestrator
                       and (not has_slot or not has_project_slot and project_id = served.project_id))
             order by id for no key update skip locked) as idle
     where lane.id = idle.id;
  end if;
  if served.is_overdue and not coalesce(next_since < now() - affinity_max_wait, false) then
    update public.task_lanes set is_overdue = false, oldest_ready_at = coalesce(next_since, oldest_ready_at)
     where id = (select id from public.task_lanes where id = served.id for no key update skip locked);
  end if;
  if served.is_late
     and not coalesce(next_ready_at <= now() - (select fal_after from public.queue_settings), false)
     and not exists (select from public.provider_jobs where task_id = next_id and not by_owner) then
    update public.task_lanes set is_late = false, waits_since = coalesce(next_ready_at, waits_since)
     where id = (select id from public.task_lanes where id = served.id for no key update skip locked);
  end if;
  update public.user_turns as mine
     set turn = next_turn,
         is_open = mine.is_open and (not may_close or exists (
           select from public.task_lanes where user_id = mine.user_id and run_type = mine.run_type and is_open))
    from (select run_type from public.user_turns where user_id = served.user_id
           order by run_type for no key update skip locked) as free
   where mine.user_id = served.user_id and mine.run_type = free.run_type;
end
$$;
revoke all on function public.pass_turn from public, anon, authenticated;

-- supabase/schemas/tasks/functions/payer_of_task.sql
-- The task whose hold pays for this one: the outermost orchestration that it is part of, else itself.
create or replace function public.payer_of_task(task public.tasks)
returns uuid
language plpgsql stable set search_path = '' as $$
declare
  payer uuid := task.id;
  orchestrator uuid := task.orchestrator_task_id;
begin
  while orchestrator is not null loop
    payer := orchestrator;
    select orchestrator_task_id into orchestrator from public.tasks where id = payer;
  end loop;
  return payer;
end
$$;
revoke all on function public.payer_of_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/plan_direct_change.sql
-- A change that somebody writes into `tasks` itself, over REST: an autoscaler or a shipped worker that puts a task back
-- or ends it, a browser that cancels. The row becomes what update_task_status() would have made of it; the rest is
-- done by follow_direct_change(). Attempts are counted here, whatever the writer counted.
create or replace function public.plan_direct_change()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  wanted constant public.task_status := new.status;
  error constant text := case
    when new.error_details is distinct from old.error_details then new.error_details
    when new.error_message is distinct from old.error_message then new.error_message end;
  wanted_output constant text := new.output_location;
begin
  if wanted <> old.status and not (
       old.status = 'In Progress' and wanted = 'Queued' and auth.uid() is null
       or old.status in ('Queued', 'In Progress') and wanted = 'Failed' and auth.uid() is null
       or old.status in ('Queued', 'In Progress') and wanted = 'Cancelled') then
    perform public.refuse('invalid_transition', 409,
      public.status_details(old) || jsonb_build_object('requested_status', wanted));
  end if;
  new := old;
  new.updated_at := now();
  if error is not null then
    new.error_message := error;
    new.error_details := error;
  end if;
  if wanted = old.status then
    if auth.uid() is null then
      new.output_location := wanted_output;
    end if;
    return new;
  end if;

  new.slot := null;
  new.project_slot := null;
  new.task_type_slot := null;
  new.lease_expires_at := null;
  if wanted = 'Queued' then
    new.attempts := old.attempts + 1;
    if new.attempts < old.max_attempts then
      perform public.lock_tenant(old.user_id);
      new.status := 'Queued';
      new.ready_at := now();
      new.lane_id := public.lane_of_task(old);
      new.worker_id := null;
      new.claimed_by_owner := null;
      new.generation_started_at := null;
      new.progress := null;
      new.progress_message := null;
      return new;
    end if;
    new.error_message := coalesce(error, 'max_attempts_reached');
  end if;
  new.status := case wanted when 'Queued' then 'Failed' else wanted end;
  new.is_scheduled := false;
  new.is_following := false;
  return new;
end
$$;
revoke all on function public.plan_direct_change from public, anon, authenticated;

-- supabase/schemas/tasks/functions/plan_direct_task.sql
-- A row that a browser, or the service, writes into `tasks` itself, over REST: becomes what create_task() would have
-- made of it, whatever else it says. Only the columns of a request count. It writes nothing that lasts but an empty lane: with
-- `on conflict` (PostgREST's `resolution=`) the row may not be inserted. What lasts is done by queue_direct_task().
create or replace function public.plan_direct_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  caller constant uuid := auth.uid();
  plan record;
begin
  if new.status <> 'Queued' then
    perform public.refuse('invalid_request', 400, '{"field": "status"}');
  end if;
  if exists (select from public.archived_tasks where id = new.id) then
    perform public.refuse('task_id_conflict', 409);
  end if;
  if caller is not null then
    -- As create-task counts.
    perform public.take_rate_limit('create-task:' || caller, 600, 60);
  end if;
  select * into plan from public.plan_task(
    caller,
    jsonb_strip_nulls(jsonb_build_object(
      'task_type', new.task_type, 'project_id', new.project_id, 'priority', new.priority,
      'dependant_on', new.dependant_on)) || jsonb_build_object('params', new.params),
    new.id);
  new := plan.planned;
  if (plan.result).id is not null then
    new := public.as_reused(new, plan.result);
  end if;
  return new;
end
$$;
revoke all on function public.plan_direct_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/plan_task.sql
-- The row of a new task, priced and with its place in the queue; not written yet. Locks, in this order: orchestrator,
-- dependencies, tenant. Whoever writes the row calls enter_queue() then.
-- With a `result`, an earlier run has made its output: it has no place in the queue and no tenant is locked, for the caller
-- makes it complete by reuse_result(), which locks shots. A result that comes meanwhile is followed instead.
create or replace function public.plan_task(
  for_user uuid, request jsonb, new_id uuid,
  out planned public.tasks, out exact boolean, out price_version integer, out result public.tasks
)
language plpgsql set search_path = '' as $$
declare
  project public.projects := public.project_of_request(for_user, request);
  new_params constant jsonb := request -> 'params';
  named_orchestrator constant uuid := public.orchestrator_of_params(new_params);
  type_row public.task_types;
  orchestrator public.tasks;
  dependencies uuid[];
  present integer;
  failed integer;
  unmet integer := 0;
  quote record;
begin
  -- A deleted task keeps its id while something of it is to be charged, and for good when it was charged: that is done once. The
  -- id of another user's task is theirs for good: a hold has one payer.
  if (exists (select from public.credit_holds
               where task_id = new_id and (state <> 'released' or user_id <> project.user_id))
      or exists (select from public.provider_withdrawals where task_id = new_id and state = 'open'))
     and not exists (select from public.tasks where id = new_id) then
    perform public.refuse('task_id_conflict', 409);
  end if;
  type_row := public.canonical_task_type(request ->> 'task_type');

  -- Locked so that neither the orchestrator nor a dependency ends between our look and our commit.
  if named_orchestrator is not null then
    select * into orchestrator from public.tasks
     where id = named_orchestrator and id <> new_id and project_id = project.id
     for no key update;
    if not found then
      -- An archived one is not locked: it does not change any more.
      select * into orchestrator from public.archived_task(named_orchestrator)
       where id <> new_id and project_id = project.id;
    end if;
  end if;
  if orchestrator.status in ('Complete', 'Failed', 'Cancelled')
     or orchestrator.orchestrator_task_id is not null and public.ended_orchestrator(orchestrator.orchestrator_task_id) is not null then
    perform public.refuse('orchestrator_finished', 409, jsonb_build_object(
      'orchestrator_task_id', orchestrator.id, 'orchestrator_status', orchestrator.status));
  end if;

  -- In the client's order: get-predecessor-output gives out the first.
  select array_agg(id order by position) into dependencies
    from (select value::uuid as id, min(ordinality) as position
            from jsonb_array_elements_text(coalesce(request -> 'dependant_on', '[]')) with ordinality
           group by 1) as given;
  if cardinality(dependencies) > 200 then
    -- As create-task's contract says; rows over REST have no contract.
    perform public.refuse('invalid_request', 400, '{"field": "dependant_on"}');
  end if;
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

  -- Neither what is part of a whole, nor what is to run at a time of its own or to fill a placeholder, nor what only the
  -- owner's machine runs.
  if project.reuses_results and type_row.is_reusable and orchestrator.id is null and dependencies is null
     and not request ?| array['run_after', 'placeholder']
     and (select allows_cloud from public.task_tenants where user_id = project.user_id) then
    planned.result_key := public.result_key(project.user_id, type_row.name, new_params);
    if planned.result_key is not null then
      result := public.find_result(project.id, planned.result_key);
    end if;
  end if;
  planned.dependency_depth := 0;
  if result.id is null then
    perform public.lock_tenant(project.user_id);
    if unmet > 0 then
      planned.dependency_depth := public.open_dependency_depth(
        dependencies, (select max_dependency_depth from public.queue_settings));
    end if;
    perform public.require_task_room(project.user_id, dependencies, orchestrator.id,
                                     type_row.category = 'orchestration', planned.dependency_depth);
    -- Read again: under the tenant's lock a limit neither comes nor goes.
    select * into project from public.projects where id = project.id;
  end if;
  if request ? 'quote_id' then
    select * into quote
      from public.find_quote(project.user_id, (request ->> 'quote_id')::uuid, type_row.name, new_params);
  else
    -- Children cost what their orchestrator was promised.
    select * into quote from public.quote_task(type_row.name, new_params, orchestrator.part_prices);
  end if;
  planned.part_prices := quote.part_prices;
  exact := quote.exact;
  price_version := (quote.price).version;

  planned.id := new_id;
  planned.project_id := project.id;
  planned.user_id := project.user_id;
  planned.task_type := type_row.name;
  planned.params := new_params;
  planned.run_type := type_row.run_type;
  planned.is_orchestrator := type_row.category = 'orchestration';
  planned.billed := case when planned.is_orchestrator then '{}' else quote.billed end;
  planned.model := coalesce(planned.billed ->> 'model', public.model_of_params(new_params));
  planned.orchestrator_task_id := orchestrator.id;
  planned.dependant_on := dependencies;
  planned.unmet_dependencies := unmet;
  planned.is_following := false;
  planned.priority := coalesce((request ->> 'priority')::smallint, 0);
  planned.run_after := (request ->> 'run_after')::timestamptz;
  planned.is_scheduled := coalesce(planned.run_after > now(), false);
  planned.max_attempts := coalesce((request ->> 'max_attempts')::integer, 3);
  planned.request_hash := public.hash_of_request(request);
  planned.in_cloud := case when orchestrator.id is not null then orchestrator.in_cloud
    else (select allows_cloud from public.task_tenants where user_id = project.user_id) end;
  if result.id is not null then
    planned.lane_id := 0;
  else
    planned.lane_id := public.find_lane(project, type_row.name, coalesce(planned.model, ''), planned.in_cloud,
                                        planned.is_orchestrator);
    if planned.result_key is not null then
      if not planned.in_cloud then
        planned.result_key := null;
      elsif public.run_is_under_way(project.id, planned.result_key)
            or (public.find_result(project.id, planned.result_key)).id is not null then
        planned.is_following := true;
        planned.unmet_dependencies := 1;
      end if;
    end if;
  end if;
  planned.price_id := (quote.price).id;
  planned.expected_microusd := quote.expected_microusd;
  planned.held_microusd := quote.held_microusd;
  planned.upper_bound_microusd := quote.upper_bound_microusd;
  if planned.is_following then
    -- Nobody raises the hold of a task that does not run.
    planned.held_microusd := greatest(
      quote.held_microusd, least((quote.price).reuse_price_microusd, quote.upper_bound_microusd));
  end if;
  if planned.in_cloud and not planned.is_orchestrator and planned.held_microusd < planned.upper_bound_microusd then
    planned.covered_seconds := public.seconds_paid_by(planned.held_microusd, quote.price, planned.billed);
  end if;

  planned.status := 'Queued';
  planned.attempt := 0;
  planned.attempts := 0;
  planned.generation_created := false;
  planned.result_data := '{}';
  planned.warnings := '{}';
  planned.children_held_microusd := 0;
  planned.created_at := now();
  planned.ready_at := now();
  planned.updated_at := now();
end
$$;
revoke all on function public.plan_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/plans_stitch.sql
-- Whether an orchestrator's worker will create a task that makes one of its parts, as far as params tell.
create or replace function public.plans_stitch(orchestrator public.tasks)
returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := coalesce(orchestrator.params -> 'orchestrator_details', '{}');
begin
  if orchestrator.task_type = 'travel_orchestrator' then
    return jsonb_typeof(details -> 'stitch_config') = 'object' or details -> 'use_svi' = 'true'
      or coalesce(details ->> 'model_type', 'vace') = 'vace' and details -> 'chain_segments' is distinct from 'false'
         and not public.parts_are_independent(orchestrator);
  end if;
  return details -> 'use_parallel_joins' is distinct from 'false';
end
$$;
revoke all on function public.plans_stitch from public, anon, authenticated;

-- supabase/schemas/tasks/functions/prepare_output.sql
-- Where the files of a running task go: `paths` for these names, secret until they are delivered (issue_output_paths()). The attempt
-- is part of each, so a late worker's file never replaces the file of the one after it. `media`: the kinds of file that the output may be.
-- For a task that this caller has completed already: the stored answer, so a repeat uploads nothing.
create or replace function public.prepare_output(
  for_user uuid, for_task uuid, for_worker text default null, for_attempt integer default null,
  file_names text[] default '{}', for_upload boolean default false
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  task constant public.tasks := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
begin
  if task.status = 'Complete' then
    return jsonb_build_object('completed', public.stored_completion(task));
  end if;
  perform public.extend_lease(task);
  return jsonb_build_object(
    'paths', to_jsonb(public.issue_output_paths(task, file_names, for_upload)), 'media', public.output_media(task.task_type));
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
  if project.id is null or project.deleted_at is not null or (for_user is not null and project.user_id <> for_user) then
    perform public.refuse('project_not_found', 404);
  end if;
  return project;
end
$$;
revoke all on function public.project_of_request from public, anon, authenticated;

-- supabase/schemas/tasks/functions/provider_margin.sql
-- What tasks that ran at a provider brought in and cost, by day (UTC) of their first job and task type, from a day up to, not including,
-- another; at most 366 days. Read by the index of their days.
create or replace function public.provider_margin(from_day date, to_day date)
returns jsonb
language plpgsql stable security definer set search_path = '' set plan_cache_mode = 'force_custom_plan' as $$
begin
  if to_day <= from_day or to_day - from_day > 366 then
    perform public.refuse('invalid_request', 400, '{"field": "to_day"}');
  end if;
  return (
    with line as (
      select * from public.provider_margins where day >= from_day and day < to_day
    )
    select jsonb_build_object(
      'currency', 'usd', 'from_day', from_day, 'to_day', to_day,
      'tasks', coalesce(sum(line.tasks), 0), 'jobs', coalesce(sum(line.jobs), 0),
      'revenue_microusd', coalesce(sum(line.revenue_microusd), 0),
      'provider_cost_microusd', coalesce(sum(line.provider_cost_microusd), 0),
      'margin_microusd', coalesce(sum(line.margin_microusd), 0),
      'lines', coalesce(jsonb_agg(to_jsonb(line) order by line.day, line.task_type), '[]'))
      from line);
end
$$;
revoke all on function public.provider_margin from public, anon, authenticated;
grant execute on function public.provider_margin to service_role;

-- supabase/schemas/tasks/functions/provider_task_types.sql
-- The task types that a claim of a provider may have: `types` at once, and `late_types` where a task has waited long enough.
-- FAL: what it can run; with the rule `missing`, what active own workers can run too only late. Nothing with `none`.
-- The sandbox: what it can run and FAL and own workers cannot, for its drawings are charged like real work. An owner's own
-- sandbox charges nothing, so it may have everything.
create or replace function public.provider_task_types(
  for_provider text, for_user uuid, rule text, out types text[], out late_types text[]
)
language plpgsql stable set search_path = '' as $$
declare
  settings public.queue_settings;
  own_types text[];
begin
  late_types := '{}';
  select array_agg(name) into types from public.task_types where alias_of is null and for_provider = any (runners);
  types := coalesce(types, '{}');
  if for_provider = 'fal' then
    if rule = 'none' then
      types := '{}';
    elsif rule = 'missing' then
      own_types := public.own_worker_types(for_user);
      late_types := array(select unnest(types) intersect select unnest(own_types));
      types := array(select unnest(types) except select unnest(own_types));
    end if;
  elsif for_user is null then
    select * into settings from public.queue_settings;
    own_types := public.own_worker_types(null, settings.sandbox_waits_for);
    types := array(
      select name from public.task_types
       where name = any (types) and name <> all (own_types)
         and not (settings.fal_is_configured and 'fal' = any (runners)));
  end if;
end
$$;
revoke all on function public.provider_task_types from public, anon, authenticated;

-- supabase/schemas/tasks/functions/queue_direct_task.sql
-- The rest of what create_task() does, for a row that was written over REST. After the insert, so for rows that there are.
create or replace function public.queue_direct_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks := new;
begin
  if new.reused_task_id is not null then
    task := public.with_reused_output(task);
    update public.tasks set generation_created = task.generation_created, result_data = task.result_data
     where id = task.id;
  end if;
  perform public.enter_queue(task);
  return null;
end
$$;
revoke all on function public.queue_direct_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/queue_of_users.sql
-- The users with work in these run types, with what a claim could take of it now. For everybody (null) those of the
-- cloud: lanes that are open, or ready and closed; a token's owner alone, with all their lanes.
-- `claimable` is what could run at once: the ready tasks, but no more than free slots of the user (and of the project,
-- where it is limited); orchestrators need none. Types at their limit count as at capacity, and so do `without_types`.
create or replace function public.queue_of_users(for_user uuid, run_types text[], without_types text[] default '{}')
returns table (
  user_id uuid, allowed boolean, free_slots integer, ready integer, ready_orchestrators integer, blocked integer,
  scheduled integer, running integer, running_orchestrators integer, claimable integer
)
language plpgsql stable set search_path = '' as $$
declare
  types constant text[] := array(
    select name from unnest(public.claimable_task_types(run_types, null)) as kind (name) where name <> all (without_types));
begin
  return query
    with lanes as (
      select lane.* from public.task_lanes as lane
       where for_user is null and lane.is_open and lane.run_type = any (run_types)
      union all
      select lane.* from public.task_lanes as lane
       where for_user is null and lane.is_ready and not lane.is_open and lane.run_type = any (run_types)
         and lane.in_cloud
      union all
      select lane.* from public.task_lanes as lane
       where for_user is null and not lane.is_ready and lane.run_type = any (run_types) and lane.in_cloud
         and lane.id in (select waiting.lane_id from public.task_counts as waiting
                          where waiting.blocked <> 0 or waiting.scheduled <> 0
                         union
                         select task.lane_id from public.tasks as task where task.status = 'In Progress')
      union all
      select lane.* from public.task_lanes as lane
       where lane.user_id = for_user and lane.run_type = any (run_types)
    ), counted as (
      select lane.user_id, lane.project_id, lane.is_orchestrator, lane.task_type = any (types) as has_type_slot,
             count.ready, count.blocked, count.scheduled, count.running
        from lanes as lane, lateral public.lane_count(lane.id) as count
    ), by_project as (
      select counted.user_id,
             sum(counted.ready) filter (where not is_orchestrator)::integer as ready,
             sum(counted.ready) filter (where is_orchestrator)::integer as ready_orchestrators,
             sum(counted.ready) filter (where is_orchestrator and has_type_slot)::integer as claimable_orchestrators,
             sum(counted.blocked)::integer as blocked, sum(counted.scheduled)::integer as scheduled,
             sum(counted.running) filter (where not is_orchestrator)::integer as running,
             sum(counted.running) filter (where is_orchestrator)::integer as running_orchestrators,
             least(sum(counted.ready) filter (where not is_orchestrator and has_type_slot),
                   case when counted.project_id is not null then (
                     select count(*) from public.project_slots as slot
                      where slot.project_id = counted.project_id and slot.task_id is null) end)::integer as claimable
        from counted group by counted.user_id, counted.project_id
    ), by_user as (
      select by_project.user_id, coalesce(sum(by_project.ready), 0)::integer as ready,
             coalesce(sum(by_project.ready_orchestrators), 0)::integer as ready_orchestrators,
             coalesce(sum(by_project.claimable_orchestrators), 0)::integer as claimable_orchestrators,
             coalesce(sum(by_project.blocked), 0)::integer as blocked,
             coalesce(sum(by_project.scheduled), 0)::integer as scheduled,
             coalesce(sum(by_project.running), 0)::integer as running,
             coalesce(sum(by_project.running_orchestrators), 0)::integer as running_orchestrators,
             coalesce(sum(by_project.claimable), 0)::integer as claimable
        from by_project group by by_project.user_id
    )
    select by_user.user_id, place.allowed, place.free_slots, by_user.ready, by_user.ready_orchestrators,
           by_user.blocked, by_user.scheduled, by_user.running, by_user.running_orchestrators,
           case when place.allowed
             then least(by_user.claimable, place.free_slots) + by_user.claimable_orchestrators else 0 end
      from by_user,
           lateral (select case when for_user is null then tenant.allows_cloud else tenant.allows_local end as allowed,
                           (select count(*)::integer from public.task_slots as slot
                             where slot.user_id = by_user.user_id and slot.task_id is null) as free_slots
                      from public.task_tenants as tenant where tenant.user_id = by_user.user_id) as place
     where by_user.ready + by_user.ready_orchestrators + by_user.blocked + by_user.scheduled + by_user.running
           + by_user.running_orchestrators > 0;
end
$$;
revoke all on function public.queue_of_users from public, anon, authenticated;

-- supabase/schemas/tasks/functions/queue_position.sql
-- Where a queued task stands, and when it may start: its place among its owner's tasks, the tasks that are likely to
-- be served before it when users take turns, and from the workers there are and the run times seen so far the time
-- until then, at even odds (p50) and nine times in ten (p90). What is not known is null, with the reason. `waits_for` says what may
-- take it: a worker, FAL or either. How many tasks FAL runs at once is not known, so what is left to it has no estimate.
create or replace function public.queue_position(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  bound constant integer := 1000;
  task public.tasks;
  tenant public.task_tenants;
  own_ahead integer;
  others_ahead integer;
  ahead integer;
  free_slots integer;
  workers record;
  worker_count integer;
  runs record;
  wait_mean double precision;
  wait_deviation double precision;
  reason text;
  estimate jsonb;
  is_cloud boolean;
  settings public.queue_settings;
  worker_may boolean;
  -- In how many seconds FAL may take it; null: never.
  fal_seconds double precision;
begin
  select * into task from public.tasks where id = for_task and (for_user is null or user_id = for_user);
  if not found then
    -- In the archive, or nowhere: then this refuses.
    select seen.id, seen.status, seen.run_after into task.id, task.status, task.run_after
      from public.find_task(for_user, for_task) as seen;
  end if;
  if task.status <> 'Queued' then
    return jsonb_build_object(
      'task_id', task.id, 'status', task.status, 'position', null, 'position_is_bound', false, 'tasks_ahead', null,
      'estimated_start_seconds', null, 'waits_for', null, 'fal_takes_it_in_seconds', null, 'reason', case when task.status = 'In Progress' then 'running' else 'ended' end,
      'run_after', task.run_after, 'based_on', null);
  end if;
  select * into tenant from public.task_tenants where user_id = task.user_id;
  select count(*) into free_slots from public.task_slots where user_id = task.user_id and task_id is null;

  -- One's own tasks before it, in the order of claims; counted up to the bound.
  select count(*) into own_ahead from (
    select from public.task_lanes as lane,
         lateral (select from public.tasks as other
                   where other.lane_id = lane.id and other.status = 'Queued' and other.unmet_dependencies = 0
                     and not other.is_scheduled
                     and (other.priority > task.priority
                          or other.priority = task.priority
                             and (other.created_at, other.id) < (task.created_at, task.id))
                   order by other.priority desc, other.created_at, other.id limit bound) as before
     where lane.user_id = task.user_id and lane.is_ready and lane.run_type = task.run_type
       and lane.in_cloud = task.in_cloud and lane.is_orchestrator = task.is_orchestrator
     limit bound) as mine;
  -- Each other user is served once a round, as long as they have tasks.
  select coalesce(sum(least(queue.ready, own_ahead + 1)), 0) into others_ahead
    from public.queue_of_users(null, array[task.run_type::text]) as queue
   where task.in_cloud and queue.user_id <> task.user_id and queue.allowed;
  ahead := own_ahead + others_ahead;

  is_cloud := task.in_cloud and tenant.allows_cloud;
  select * into settings from public.queue_settings;
  worker_may := not is_cloud or task.task_type = any (public.own_worker_types());
  if is_cloud and public.fal_is_active(settings)
     and exists (select from public.task_types where name = task.task_type and 'fal' = any (runners)) then
    fal_seconds := case
      when settings.fal_runs = 'all' or not worker_may or exists (select from public.provider_jobs where task_id = task.id)
        then 0
      else greatest(0, extract(epoch from task.ready_at + settings.fal_after - now())) end;
  end if;
  select * into workers from public.active_workers(
    task.run_type, case when not is_cloud then task.user_id end,
    case when is_cloud then array['fal'] else '{}' end
      || case when is_cloud and task.task_type <> all ((public.provider_task_types('sandbox', null, null)).types)
              then array['sandbox'] else '{}' end);
  worker_count := workers.busy + workers.idle;
  select * into runs from public.run_time_statistics(
    case when ahead = 0 then array[task.task_type]
         else public.claimable_task_types(array[task.run_type::text], null) end, null);

  reason := case
    when task.is_following then 'shares_run'
    when task.unmet_dependencies > 0 then 'blocked_by_dependency'
    when task.is_scheduled then 'scheduled'
    when task.in_cloud and not tenant.allows_cloud and not tenant.allows_local then 'generation_is_off'
    when not task.in_cloud and not tenant.allows_local then 'local_off'
    when fal_seconds = 0 and (not worker_may or worker_count = 0) then 'left_to_fal'
    when worker_count = 0 then 'no_workers'
    when runs.samples = 0 and (ahead > 0 or workers.idle = 0) then 'no_run_times_yet' end;
  if reason is null then
    -- Tasks ahead pass through all workers; one's own through no more of them than slots. A busy worker is half
    -- through its task on average.
    wait_mean := greatest(ahead::double precision / worker_count,
                          case when task.is_orchestrator then 0
                               else own_ahead::double precision / least(worker_count, 5) end) * coalesce(runs.mean, 0)
      + case when ahead >= workers.idle or (free_slots = 0 and not task.is_orchestrator)
             then coalesce(runs.mean, 0) / 2 else 0 end;
    wait_deviation := sqrt(ahead + 1) * coalesce(runs.deviation, 0) / worker_count;
    estimate := jsonb_build_object(
      'p50', round(wait_mean::numeric, 1),
      'p90', round((wait_mean + 1.2816 * wait_deviation)::numeric, 1));
  end if;
  return jsonb_build_object(
    'task_id', task.id, 'status', task.status,
    'position', own_ahead + 1, 'position_is_bound', own_ahead >= bound,
    'tasks_ahead', ahead, 'estimated_start_seconds', estimate,
    'waits_for', case when fal_seconds is null or fal_seconds > 0 then 'worker'
                      when worker_may and worker_count > 0 then 'worker_or_fal' else 'fal' end,
    'fal_takes_it_in_seconds', round(fal_seconds::numeric, 1),
    'reason', coalesce(reason, case when free_slots = 0 and not task.is_orchestrator then 'at_capacity' end),
    'run_after', task.run_after,
    'based_on', jsonb_build_object(
      'busy_workers', workers.busy, 'idle_workers', workers.idle, 'free_slots', free_slots,
      'run_time_samples', runs.samples, 'run_time_p50_seconds', round(runs.p50::numeric, 1),
      'run_time_p90_seconds', round(runs.p90::numeric, 1)));
end
$$;
revoke all on function public.queue_position from public, anon, authenticated;
grant execute on function public.queue_position to service_role;

-- supabase/schemas/tasks/functions/raise_hold.sql
-- Raises what is held for a task to an amount, at most its upper bound, or as far as the account and its spend caps allow.
-- A part takes first what its orchestrations hold and have not given to a part. Answers what is held now; the caller writes it
-- into the task's row. Never refuses. The caller holds the locks of the task and its orchestrations.
create or replace function public.raise_hold(task public.tasks, wanted_microusd bigint)
returns bigint
language plpgsql set search_path = '' as $$
declare
  outermost public.tasks := task;
  unused bigint := 0;
  hold public.credit_holds;
  held bigint;
  missing bigint;
begin
  while outermost.orchestrator_task_id is not null loop
    select * into outermost from public.tasks where id = outermost.orchestrator_task_id;
    unused := unused + greatest(outermost.held_microusd - outermost.children_held_microusd, 0);
  end loop;
  -- The account before the hold's row is read: whoever changes one has locked the other.
  perform from public.credit_accounts where user_id = task.user_id for no key update;
  select * into hold from public.credit_holds where task_id = outermost.id and state = 'held' for no key update;
  held := case when outermost.id = task.id then hold.amount_microusd else task.held_microusd end;
  if hold.task_id is null then
    return task.held_microusd;
  end if;
  missing := least(wanted_microusd, task.upper_bound_microusd) - held;
  if missing > unused then
    missing := least(missing, unused + public.available_for_hold(hold));
  end if;
  if missing <= 0 then
    return held;
  end if;
  if outermost.id = task.id then
    perform public.extend_hold(task.id, held + missing);
  else
    perform public.cover_child(task.orchestrator_task_id, missing);
  end if;
  return held + missing;
end
$$;
revoke all on function public.raise_hold from public, anon, authenticated;

-- supabase/schemas/tasks/functions/ready_lane.sql
-- Says that a lane has a task that may run. The caller holds the tenant's lock.
create or replace function public.ready_lane(for_lane bigint, waiting_since timestamptz)
returns void
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  may_open boolean;
begin
  select * into lane from public.task_lanes where id = for_lane;
  if lane.is_open and waiting_since >= lane.oldest_ready_at then
    return;
  end if;
  may_open := public.lane_may_open(lane);
  if lane.is_ready and lane.is_open = may_open and waiting_since >= lane.oldest_ready_at then
    return;
  end if;
  update public.task_lanes
     set is_ready = true, is_open = may_open,
         oldest_ready_at = case when is_ready then least(oldest_ready_at, waiting_since) else waiting_since end,
         is_overdue = is_ready and is_overdue, is_late = is_ready and is_late,
         waits_since = case when is_ready then waits_since else now() end,
         turn = public.turn_floor(lane)
   where id = for_lane;
  if may_open then
    perform public.open_turn(lane.user_id, lane.run_type);
  end if;
end
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

-- supabase/schemas/tasks/functions/refuse_limit.sql
-- Refuses a task that would exceed a limit of queue_settings.
create or replace function public.refuse_limit(limit_name text, allowed integer, message text)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.refuse('task_limit_reached', 422, jsonb_build_object(
    'limit_name', limit_name, 'limit', allowed, 'message', format(message, allowed)));
end
$$;
revoke all on function public.refuse_limit from public, anon, authenticated;

-- supabase/schemas/tasks/functions/register_tenant.sql
-- Gives a user a place in the queue, with five slots.
create or replace function public.register_tenant(for_user uuid)
returns void
language sql set search_path = '' as $$
  insert into public.task_tenants (user_id, allows_cloud, allows_local)
  select id, public.allows_cloud(settings), public.allows_local(settings) from public.users where id = for_user
  on conflict (user_id) do nothing;
  insert into public.task_slots (user_id, slot)
  select for_user, slot from generate_series(1, 5) as slot
  on conflict (user_id, slot) do nothing
$$;
revoke all on function public.register_tenant from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_dependants.sql
-- Releases the tasks that wait for this one, which is complete: at most so many at once, `direct_cascade` by default; task_outbox
-- has the rest, which wait until they are released. Answers how many it released.
create or replace function public.release_dependants(finished_task uuid, at_most integer default null)
returns integer
language plpgsql set search_path = '' as $$
declare
  room constant integer := coalesce(at_most, (select direct_cascade from public.queue_settings));
  released constant integer := public.release_some_dependants(finished_task, room);
begin
  if released = room
     and exists (select from public.task_dependencies where dependency_id = finished_task and is_waiting) then
    insert into public.task_outbox (kind, subject_id, user_id)
    select 'release_dependants', id, user_id from public.tasks where id = finished_task;
  end if;
  return released;
end
$$;
revoke all on function public.release_dependants from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_followers.sql
-- What becomes of those who follow a run that is over. When it left a result, they are noted for settle_followers(), which
-- gives it to them; else the first of them is an ordinary task from now on, and the others follow that one. One
-- that somebody holds is passed over; when all are held, they are noted as well. Answers whether one was let go.
create or replace function public.release_followers(for_project uuid, for_key bytea, for_user uuid)
returns boolean
language plpgsql set search_path = '' as $$
declare
  next_task public.tasks;
  lane bigint;
begin
  -- From here on nobody begins to follow before this commits.
  perform public.lock_tenant(for_user);
  if not exists (select from public.tasks
                  where project_id = for_project and result_key = for_key and status = 'Queued' and is_following)
     or public.run_is_under_way(for_project, for_key) then
    return false;
  end if;
  if (public.find_result(for_project, for_key)).id is null then
    select * into next_task from public.tasks
     where project_id = for_project and result_key = for_key and status = 'Queued' and is_following
     order by priority desc, created_at, id limit 1 for no key update skip locked;
  end if;
  if next_task.id is null then
    insert into public.results_to_share (project_id, result_key, user_id) values (for_project, for_key, for_user)
    on conflict do nothing;
    return false;
  end if;
  lane := public.lane_of_task(next_task);
  update public.tasks
     set is_following = false, unmet_dependencies = 0, lane_id = lane, updated_at = now(), ready_at = now()
   where id = next_task.id;
  perform public.ready_lane(lane, now());
  return true;
end
$$;
revoke all on function public.release_followers from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_followers_of_deleted.sql
-- A run that was deleted leaves nothing to those who followed it.
create or replace function public.release_followers_of_deleted()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.release_followers(old.project_id, old.result_key, old.user_id);
  return null;
end
$$;
revoke all on function public.release_followers_of_deleted from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_overdue_work.sql
-- Brings back what is due and nobody has tended to yet: scheduled tasks, runs whose lease is over, and who followed a run
-- that is over. For a claim that found nothing where neither a host's timer nor pg_cron runs. Answers whether there was any, so
-- that it is worth another look.
create or replace function public.release_overdue_work()
returns boolean
language plpgsql set search_path = '' as $$
declare
  released integer := 0;
begin
  if exists (select from public.tasks where is_scheduled and run_after <= now()) then
    released := public.release_scheduled_tasks(64);
  end if;
  if exists (select from public.tasks where status = 'In Progress' and lease_expires_at < now()) then
    released := released + public.sweep_expired_leases(16);
  end if;
  if exists (select from public.tasks where status = 'In Progress' and covered_until <= now()) then
    released := released + public.end_uncovered_runs(4, may_wait => false);
  end if;
  if exists (select from public.results_to_share) then
    released := released + public.settle_followers(16);
  end if;
  if exists (select from public.task_outbox) then
    released := released + public.run_task_outbox(16);
  end if;
  return released > 0;
end
$$;
revoke all on function public.release_overdue_work from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_provider_call.sql
-- Takes a job that the provider does not bill off the cost of its task: it was withdrawn before it began, or ended in an error.
-- Guarantee: a job is taken off once.
create or replace function public.release_provider_call(for_provider text, for_request_id text)
returns void
language plpgsql set search_path = '' as $$
declare
  released public.provider_calls;
begin
  update public.provider_calls set is_billed = false
   where provider = for_provider and request_id = for_request_id and is_billed
  returning * into released;
  if found then
    update public.task_provider_costs
       set provider_cost_microusd = provider_cost_microusd - coalesce(released.cost_microusd, 0)
     where task_id = released.task_id;
    perform public.count_unpaid_cost(array[released.task_id]);
  end if;
end
$$;
revoke all on function public.release_provider_call from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_scheduled_tasks.sql
-- Lets tasks go whose time has come; answers how many: at most so many, 50 of one user, for up to 500 ms. Waits for nobody and
-- is safe to run anywhere at once: a user whose tenant's lock is held is passed over, and so is a task that is locked.
create or replace function public.release_scheduled_tasks(at_most integer default 1000)
returns integer
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  due record;
  -- Users whose lock we have, how many tasks of each went, and users who are busy.
  ours uuid[] := '{}';
  counts integer[] := '{}';
  busy uuid[] := '{}';
  place integer;
  task public.tasks;
  released integer := 0;
begin
  for due in
    select id, user_id from public.tasks where is_scheduled and run_after <= now() order by run_after
  loop
    exit when released >= at_most or clock_timestamp() > started + interval '500 ms';
    continue when due.user_id = any (busy);
    place := array_position(ours, due.user_id);
    if place is null then
      perform from public.task_tenants where user_id = due.user_id for no key update skip locked;
      if not found then
        busy := busy || due.user_id;
        continue;
      end if;
      ours := ours || due.user_id;
      counts := counts || 0;
      place := cardinality(ours);
    end if;
    select * into task from public.tasks
     where id = due.id and is_scheduled and run_after <= now() for no key update skip locked;
    continue when not found;
    update public.tasks set is_scheduled = false, ready_at = now() where id = task.id;
    if task.unmet_dependencies = 0 then
      perform public.ready_lane(task.lane_id, task.run_after);
    end if;
    released := released + 1;
    counts[place] := counts[place] + 1;
    if counts[place] >= 50 then
      busy := busy || due.user_id;
    end if;
  end loop;
  return released;
end
$$;
revoke all on function public.release_scheduled_tasks from public, anon, authenticated;

-- supabase/schemas/tasks/functions/release_some_dependants.sql
-- One dependency fewer for up to so many tasks that wait for this one; those that wait for nothing more are ready. Answers how many.
create or replace function public.release_some_dependants(finished_task uuid, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  next_ids constant uuid[] := array(
    select task_id from public.task_dependencies
     where dependency_id = finished_task and is_waiting order by task_id limit at_most);
  owner_id uuid;
  lane bigint;
begin
  if cardinality(next_ids) = 0 then
    return 0;
  end if;
  perform from public.tasks where id = any (next_ids) order by id for no key update;
  with released as (
    update public.task_dependencies set is_waiting = false
     where dependency_id = finished_task and task_id = any (next_ids) and is_waiting
    returning task_id
  )
  update public.tasks set unmet_dependencies = unmet_dependencies - 1, ready_at = now()
   where id in (select task_id from released) and status = 'Queued';
  -- In a project, so of one user.
  select user_id into owner_id from public.tasks
   where id = any (next_ids) and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled limit 1;
  if found then
    perform public.lock_tenant(owner_id);
    for lane in
      select distinct lane_id from public.tasks
       where id = any (next_ids) and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
    loop
      perform public.ready_lane(lane, now());
    end loop;
  end if;
  return cardinality(next_ids);
end
$$;
revoke all on function public.release_some_dependants from public, anon, authenticated;

-- supabase/schemas/tasks/functions/repeated_report.sql
-- The first answer to a report that ended a run of this locked task; null when it is no repeat. Without an attempt it cannot be
-- one while that worker runs the task: then it is about that run.
create or replace function public.repeated_report(
  task public.tasks, for_worker text, for_attempt integer, hash bytea
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if for_attempt is null and task.status = 'In Progress' and task.worker_id = for_worker then
    return null;
  end if;
  return (select answer from public.run_reports
           where task_id = task.id and request_hash = hash and attempt = coalesce(for_attempt, attempt)
           order by attempt desc limit 1);
end
$$;
revoke all on function public.repeated_report from public, anon, authenticated;

-- supabase/schemas/tasks/functions/repeated_task.sql
-- The answer to a create whose task id exists: the first answer for the same request, else 409.
create or replace function public.repeated_task(known public.tasks, for_owner uuid, request_hash bytea)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if known.user_id is distinct from for_owner or known.request_hash <> repeated_task.request_hash then
    perform public.refuse('task_id_conflict', 409);
  end if;
  return public.created_task(
      known,
      (select billing_type = 'per_unit' from public.task_type_prices where id = known.price_id)
        and not known.is_orchestrator,
      (select version from public.task_type_prices where id = known.price_id))
    || jsonb_build_object(
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
    -- Whoever finds the row locked leaves the note to the one who holds it: a worker's row is locked before its
    -- tasks, so nobody may wait for one while holding the other.
    update public.workers set heartbeats = true, last_heartbeat = now()
     where id = (
       select id from public.workers
        where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)
          and (not heartbeats or last_heartbeat is null or last_heartbeat < now() - interval '10 seconds')
          for no key update skip locked);
  end if;
  update public.tasks
     set progress = coalesce((changes ->> 'progress')::real, task.progress),
         progress_message = coalesce(changes ->> 'progress_message', task.progress_message),
         output_location = coalesce(changes ->> 'output_location', task.output_location),
         generation_started_at = case when (changes ->> 'reset_generation_started_at')::boolean
           then now() else task.generation_started_at end,
         covered_until = case when (changes ->> 'reset_generation_started_at')::boolean
           then now() + (task.covered_until - task.generation_started_at) else task.covered_until end,
         progress_shown_at = case
           when changes ?| array['progress', 'progress_message', 'output_location']
            and (task.progress_shown_at is null or task.progress_shown_at <= clock_timestamp() - interval '500 milliseconds')
           then clock_timestamp() else task.progress_shown_at end,
         lease_expires_at = now() + public.lease_duration(task.task_type, names_attempt or coalesce(
           (select heartbeats from public.workers where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)), false)),
         updated_at = now()
   where id = task.id;
  if task.covered_until < now() + public.hold_check_ahead() then
    perform public.grow_hold(task.id);
  end if;
end
$$;
revoke all on function public.report_progress from public, anon, authenticated;

-- supabase/schemas/tasks/functions/report_provider_withdrawals.sql
-- What became of jobs that were given out to be withdrawn: [{withdrawal_id, outcome}]. `withdrawn`, `ran` and `failed` settle
-- it; `retry` has it given out again, later and later, until its time is over. So does a task that somebody holds for longer than
-- the caller waits for a lock: what one tenant holds must not keep the jobs of others. That its job ran is noted all the same,
-- because a job that was told to stop looks later like one that failed. Answers how many were settled.
create or replace function public.report_provider_withdrawals(for_user uuid, reports jsonb)
returns integer
language plpgsql set search_path = '' as $$
declare
  report record;
  is_again boolean;
  settled integer := 0;
begin
  for report in
    select withdrawal.id, withdrawal.tries, said ->> 'outcome' as outcome
      from jsonb_array_elements(reports) as said
      join public.provider_withdrawals as withdrawal on withdrawal.id = (said ->> 'withdrawal_id')::uuid
     where withdrawal.state = 'open' and withdrawal.by_owner = (for_user is not null)
       and (for_user is null or withdrawal.user_id = for_user)
     order by withdrawal.user_id, withdrawal.paid_by, withdrawal.id
  loop
    is_again := report.outcome = 'retry';
    if not is_again then
      begin
        settled := settled + (public.settle_withdrawal(report.id, report.outcome) is not null)::integer;
      exception when lock_not_available then
        is_again := true;
      end;
    end if;
    if is_again then
      update public.provider_withdrawals
         set has_run = has_run or report.outcome = 'ran', next_try_at = now() + least(interval '1 minute', interval '1 second' * 2 ^ least(report.tries, 6))
       where id = report.id and state = 'open';
    end if;
  end loop;
  return settled;
end
$$;
revoke all on function public.report_provider_withdrawals from public, anon, authenticated;

-- supabase/schemas/tasks/functions/request_provider_runs.sql
-- On Supabase, by pg_cron: has the function `run-provider-tasks` run tasks that wait for a provider. Nothing happens while none
-- waits that the provider may have, or as many calls run as may. Before the function has said what it runs, it is called at most every ten minutes.
create or replace function public.request_provider_runs()
returns void
language plpgsql security definer set search_path = '' as $$
declare
  runner public.provider_runners;
  allowed record;
begin
  for runner in
    select * from public.provider_runners where next_call_at <= now() order by provider for no key update skip locked
  loop
    select * into allowed from public.provider_task_types(
      runner.provider, null, (select fal_runs from public.queue_settings));
    continue when not exists (
      select from public.task_lanes as lane
       where lane.is_open and (runner.task_types = '{}' or lane.task_type = any (runner.task_types))
         and (lane.task_type = any (allowed.types) or lane.is_late and lane.task_type = any (allowed.late_types)));
    continue when (
      select count(*) from public.workers
       where id like runner.provider || '-function-%' and status = 'active' and last_heartbeat > now() - interval '1 minute'
    ) >= runner.most_runners;
    update public.provider_runners
       set next_call_at = now() + case when runner.task_types = '{}' then interval '10 minutes' else interval '10 seconds' end
     where provider = runner.provider;
    perform public.call_edge_function('run-provider-tasks');
  end loop;
end
$$;
revoke all on function public.request_provider_runs from public, anon, authenticated;

-- supabase/schemas/tasks/functions/request_provider_withdrawals.sql
-- On Supabase, by pg_cron: has the function `withdraw-provider-jobs` withdraw what is due. Where nothing is, nothing happens.
create or replace function public.request_provider_withdrawals()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.provider_withdrawals
              where state = 'open' and request_id is not null and not by_owner
                and next_try_at <= now() and expires_at > now()) then
    perform public.call_edge_function('withdraw-provider-jobs');
  end if;
end
$$;
revoke all on function public.request_provider_withdrawals from public, anon, authenticated;

-- supabase/schemas/tasks/functions/requeue_task.sql
-- Puts a running task back into the queue after a failed run; fails it when that was its last. A run that did not fail is not
-- counted: see give_task_back(). The hold stays: the task is still to be run and paid. Answers the new status.
create or replace function public.requeue_task(task public.tasks, error text, has_failed boolean default true)
returns public.task_status
language plpgsql set search_path = '' as $$
declare
  lane bigint;
begin
  if has_failed then
    update public.tasks set attempts = attempts + 1 where id = task.id;
    if task.attempts + 1 >= task.max_attempts then
      -- What fails on the owner's own worker may take parts with it that run in the cloud.
      perform public.end_task(
        task.id, 'Failed', coalesce(error, 'max_attempts_reached'), by_owner => coalesce(task.claimed_by_owner, false));
      return 'Failed';
    end if;
  end if;
  perform public.lock_tenant(task.user_id);
  lane := public.lane_of_task(task);
  update public.tasks
     set status = 'Queued', lane_id = lane, worker_id = null, claimed_by_owner = null, lease_expires_at = null,
         slot = null, project_slot = null, task_type_slot = null,
         generation_started_at = null, progress = null, progress_message = null,
         error_message = error, updated_at = now(), ready_at = now()
   where id = task.id;
  perform public.free_slots(array[task]);
  perform public.ready_lane(lane, greatest(task.created_at, task.run_after));
  perform public.let_provider_resume(task.id, lane);
  return 'Queued';
end
$$;
revoke all on function public.requeue_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/require_output.sql
-- Refuses a completion for a fault of one of its files, with a message that names the file, what is wrong and what to do. The
-- refusal ends the transaction: nothing is charged, and the run goes on.
create or replace function public.require_output(task public.tasks, path text, media text[], checked_files jsonb)
returns void
language plpgsql stable set search_path = '' as $$
declare
  fault constant jsonb := public.output_fault(task, path, media, checked_files);
  details constant jsonb := jsonb_build_object('path', path);
begin
  case fault ->> 'code'
    when 'output_not_found' then
      perform public.refuse('output_not_found', 404, details);
    when 'output_replaced' then
      perform public.refuse('output_replaced', 409, details);
    when 'storage_unavailable' then
      perform public.refuse('storage_unavailable', 503, details || '{"retry_after": 2}');
    when 'invalid_output' then
      perform public.refuse('invalid_output', 422, details || jsonb_build_object(
        'reason', fault -> 'reason',
        'message', format('The output file "%s" %s. Upload the right file, then complete the task again.',
                          path, fault ->> 'problem')));
    else
      null;
  end case;
end
$$;
revoke all on function public.require_output from public, anon, authenticated;

-- supabase/schemas/tasks/functions/require_provider_margin.sql
-- Refuses with 409 `sold_below_cost` that a task costs the operator more at providers than it is charged. `cost_microusd` is what all
-- its jobs cost, with the one that is about to be submitted; null where a price is not known, which is refused as well: an unknown
-- price may be any. The operator may allow losses for all tasks (queue_settings) or for a type (task_types).
-- The caller holds the running task's lock, so that two jobs of a task are compared one after the other.
create or replace function public.require_provider_margin(task public.tasks, cost_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  charge constant bigint := public.charge_of_provider_run(task);
begin
  if cost_microusd <= charge
     or (select allows_provider_loss from public.queue_settings)
     or (select allows_provider_loss from public.task_types where name = task.task_type) then
    return;
  end if;
  perform public.refuse('sold_below_cost', 409, jsonb_build_object(
    'task_id', task.id, 'task_type', task.task_type, 'charge_microusd', charge, 'provider_cost_microusd', cost_microusd,
    'reason', case when cost_microusd is null then 'provider_price_unknown' else 'cost_exceeds_charge' end));
end
$$;
revoke all on function public.require_provider_margin from public, anon, authenticated;

-- supabase/schemas/tasks/functions/require_task_room.sql
-- Refuses an open task that would exceed a limit of queue_settings. The caller holds the tenant's lock, so of two creates at a
-- limit the second counts the first; ends that are not committed yet count as open.
create or replace function public.require_task_room(
  for_user uuid, dependencies uuid[], orchestrator uuid, is_orchestrator boolean, depth integer
) returns void
language plpgsql set search_path = '' as $$
declare
  settings public.queue_settings;
begin
  select * into settings from public.queue_settings;
  if public.limit_count('open_tasks', for_user) >= settings.max_open_tasks then
    perform public.refuse_limit('max_open_tasks', settings.max_open_tasks,
      'An account may have at most %s open tasks. Wait until tasks have ended, or cancel some, then send the request again.');
  end if;
  if orchestrator is not null then
    if public.limit_count('children', orchestrator) >= settings.max_children then
      perform public.refuse_limit('max_children', settings.max_children,
        'An orchestrator may have at most %s children. Create a second orchestrator for the others.');
    end if;
    if is_orchestrator and public.orchestration_depth(orchestrator) >= settings.max_orchestration_depth then
      perform public.refuse_limit('max_orchestration_depth', settings.max_orchestration_depth,
        'Orchestrators may be nested at most %s deep. Create this one as a child of an orchestrator further up.');
    end if;
  end if;
  if exists (select from public.tasks
              where id = any (dependencies) and status <> 'Complete'
                and public.limit_count('dependants', id) >= settings.max_dependants) then
    perform public.refuse_limit('max_dependants', settings.max_dependants,
      'For a task, at most %s others may wait. Create this task when the tasks of dependant_on are complete.');
  end if;
  if depth > settings.max_dependency_depth then
    perform public.refuse_limit('max_dependency_depth', settings.max_dependency_depth,
      'A chain of dependencies may have at most %s tasks before this one. Create it when the first of them are complete.');
  end if;
end
$$;
revoke all on function public.require_task_room from public, anon, authenticated;

-- supabase/schemas/tasks/functions/require_unpaid_allowance.sql
-- Refuses with 409 `unpaid_provider_limit` that a task is begun at a provider whose user's tasks have cost more there today than they
-- were charged and than the operator allows (credit_settings.unpaid_provider_cost_per_day_microusd). A task that has begun there goes
-- on, because what was billed for it would be lost. One that is retried after it ended unpaid begins anew.
create or replace function public.require_unpaid_allowance(task public.tasks)
returns void
language plpgsql stable set search_path = '' as $$
declare
  allowance constant bigint := (select unpaid_provider_cost_per_day_microusd from public.credit_settings);
  unpaid constant bigint := (
    select unpaid_microusd from public.unpaid_provider_costs
     where user_id = task.user_id and day = (now() at time zone 'UTC')::date);
begin
  if allowance is null or unpaid is null or unpaid <= allowance
     or exists (select from public.provider_jobs where task_id = task.id and not by_owner)
     or exists (select from public.task_provider_costs as known
                 where known.task_id = task.id and known.provider_cost_microusd > known.unpaid_microusd) then
    return;
  end if;
  perform public.refuse('unpaid_provider_limit', 409, jsonb_build_object(
    'task_id', task.id, 'user_id', task.user_id, 'unpaid_microusd', unpaid, 'allowance_microusd', allowance));
end
$$;
revoke all on function public.require_unpaid_allowance from public, anon, authenticated;

-- supabase/schemas/tasks/functions/rescue_task.sql
-- Takes a running task back from a worker that is gone. An orchestrator that has created parts has done what it can do, and
-- the parts go on without it: the next worker goes on as well, and no run has failed. A provider's worker reports a progress message
-- when it has created all parts; then no worker is needed any more, and the orchestrator stays in progress until its last part ends.
create or replace function public.rescue_task(task public.tasks, reason text)
returns void
language plpgsql set search_path = '' as $$
begin
  if not task.is_orchestrator or not exists (select from public.tasks where orchestrator_task_id = task.id) then
    perform public.requeue_task(task, reason);
  elsif task.progress_message is not null and exists (
    select from public.workers
     where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)
       and provider is not null)
  then
    perform public.extend_lease(task);
  else
    perform public.give_task_back(task, reason);
  end if;
end
$$;
revoke all on function public.rescue_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/resize_project_slots.sql
-- A project's limit was set, changed or lifted: as many slots, its running tasks in them, and its queued tasks in
-- lanes of their own, so that those who wait for the limit hold up nobody. What runs beyond a lowered limit keeps
-- its slot until it ends.
create or replace function public.resize_project_slots()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
  lane bigint;
  lanes bigint[] := '{}';
  taken smallint := 0;
begin
  -- In the order in which a run's end takes them.
  perform from public.tasks where project_id = new.id and status = 'In Progress' order by id for no key update;
  perform public.lock_tenant(new.user_id);
  -- A claim holds the slot that it is about to fill: those that began before have committed when all are ours, and
  -- no other begins.
  perform from public.task_slots where user_id = new.user_id order by slot for no key update;
  update public.tasks set project_slot = null where project_id = new.id and project_slot is not null;
  delete from public.project_slots where project_id = new.id;
  if new.max_running_tasks is not null then
    for task in
      select * from public.tasks
       where project_id = new.id and status = 'In Progress' and not is_orchestrator order by id
    loop
      taken := taken + 1;
      insert into public.project_slots (project_id, slot, task_id) values (new.id, taken, task.id);
      update public.tasks set project_slot = taken where id = task.id;
    end loop;
    insert into public.project_slots (project_id, slot)
    select new.id, slot from generate_series(taken + 1, new.max_running_tasks) as slot;
  end if;
  for task in select * from public.tasks where project_id = new.id and status = 'Queued' order by id loop
    lane := public.find_lane(new, task.task_type, coalesce(task.model, ''), task.in_cloud, task.is_orchestrator);
    update public.tasks set lane_id = lane where id = task.id and status = 'Queued' and lane_id <> lane;
    if found and task.unmet_dependencies = 0 and not task.is_scheduled then
      lanes := lanes || lane;
    end if;
  end loop;
  perform public.ready_lane(moved.id, now()) from (select distinct unnest(lanes) as id) as moved;
  update public.task_lanes as lane set is_ready = false, is_open = false
   where lane.user_id = new.user_id and lane.is_ready
     and not exists (select from public.tasks
                      where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled);
  perform public.open_lanes(new.user_id);
  return null;
end
$$;
revoke all on function public.resize_project_slots from public, anon, authenticated;

-- supabase/schemas/tasks/functions/resize_task_type_slots.sql
-- A task type's limit was set, changed or lifted: as many slots, and the running tasks in them. What runs beyond a
-- lowered limit keeps its slot until it ends.
create or replace function public.resize_task_type_slots()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
  taken smallint := 0;
begin
  -- In the order in which a run's end takes them; claims wait for neither.
  perform from public.tasks where task_type = new.name and status = 'In Progress' order by id for no key update;
  if old.max_running_tasks is null then
    -- A claim holds its user's turn, or a slot, before it looks for a limit: those that found none have committed when
    -- we go on.
    lock table public.user_turns, public.task_slots in exclusive mode;
  end if;
  perform from public.task_type_slots where task_type = new.name order by slot for update;
  update public.tasks set task_type_slot = null where task_type = new.name and task_type_slot is not null;
  delete from public.task_type_slots where task_type = new.name;
  if new.max_running_tasks is not null then
    for task in select * from public.tasks where task_type = new.name and status = 'In Progress' order by id loop
      taken := taken + 1;
      insert into public.task_type_slots (task_type, slot, task_id) values (new.name, taken, task.id);
      update public.tasks set task_type_slot = taken where id = task.id;
    end loop;
    insert into public.task_type_slots (task_type, slot)
    select new.name, slot from generate_series(taken + 1, new.max_running_tasks) as slot;
  end if;
  return null;
end
$$;
revoke all on function public.resize_task_type_slots from public, anon, authenticated;

-- supabase/schemas/tasks/functions/result_key.sql
-- What decides a task's output, as a hash: its type, and its params without what says where the output goes; in place of
-- each file in storage its content. What is not known to be beside the point counts. Null where the output is not
-- decided: without a seed, or with a file from elsewhere. At most 64 kB of params and 100 files are looked at.
create or replace function public.result_key(for_user uuid, for_task_type text, params jsonb)
returns bytea
language plpgsql stable set search_path = '' as $$
declare
  -- At the top and in orchestrator_details; docs/reuse.md lists them.
  beside_the_point constant text[] := array[
    'task_id', 'run_id', 'project_id', 'orchestrator_task_id', 'orchestrator_run_id', 'orchestrator_id', 'priority',
    'shot_id', 'shotId', 'add_in_position', 'generation_name', 'tool_type', 'generation_source',
    'based_on', 'source_variant_id', 'create_as_generation', 'generation_id', 'parent_generation_id',
    'child_generation_id', 'make_primary_variant', 'input_image_generation_ids', 'start_image_generation_id',
    'end_image_generation_id', 'pair_shot_generation_id', 'pair_shot_generation_ids',
    'main_output_dir_for_run', 'current_run_base_output_dir', 'debug_mode_enabled', 'show_input_images',
    'max_wait_seconds', 'enable_sync_mode', 'enable_base64_output'];
  decisive jsonb := jsonb_strip_nulls(params - beside_the_point);
  described text;
  files integer := 0;
  link text;
  content text;
begin
  if octet_length(params::text) > 65536 or not public.names_seed(params) then
    return null;
  end if;
  if jsonb_typeof(decisive -> 'orchestrator_details') = 'object' then
    decisive := jsonb_set(decisive, '{orchestrator_details}', (decisive -> 'orchestrator_details') - beside_the_point);
  end if;
  described := decisive::text;
  -- Values and names: LoRAs are named by URL. A space before it is no reason to believe that it is none.
  for link in
    select word from (
      select jsonb_path_query(decisive, 'strict $.** ? (@.type() == "string")') #>> '{}' as word
      union
      select jsonb_path_query(decisive, 'strict $.** ? (@.type() == "object").keyvalue().key') #>> '{}') as words
     where word ~* '^\s*([a-z][a-z0-9+.-]*:)?//' or word like '%/storage/v1/%'
  loop
    content := public.content_of_url(for_user, link);
    files := files + 1;
    if content is null or files > 100 then
      return null;
    end if;
    -- Quoted as it stands there; what takes its place is no JSON, so no params can say the same.
    described := replace(described, to_jsonb(link)::text, content);
  end loop;
  return sha256(convert_to(for_task_type || E'\n' || described, 'UTF8'));
end
$$;
revoke all on function public.result_key from public, anon, authenticated;

-- supabase/schemas/tasks/functions/retry_task.sql
-- Queues a failed task again, with a new hold and all its attempts, on account of the token that created it, whoever
-- retries. Refused when the orchestration it belongs to is over, or when it was charged or written off: that is done once; and
-- while the withdrawal of a job may still charge it.
-- Where an equal task is under way, it follows that one.
create or replace function public.retry_task(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  unmet integer;
  is_early constant boolean := coalesce(task.run_after > now(), false);
  lane bigint;
  key bytea;
  follows boolean := false;
begin
  if exists (select from public.credits_ledger where task_id = task.id and type in ('spend', 'write_off'))
     or exists (select from public.credit_holds where task_id = task.id and state = 'held')
     or task.orchestrator_task_id is not null and public.ended_orchestrator(task.orchestrator_task_id) is not null then
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
  perform public.lock_tenant(task.user_id);
  -- Its orchestrator has counted it as a child since it was created, and its place in a chain is the same.
  perform public.require_task_room(
    task.user_id, array(select dependency_id from public.task_dependencies where task_id = task.id), null, false, 0);
  update public.task_dependencies as needed set is_waiting = dependency.status <> 'Complete'
    from public.tasks as dependency
   where needed.task_id = task.id and dependency.id = needed.dependency_id
     and needed.is_waiting <> (dependency.status <> 'Complete');
  select count(*) into unmet from public.task_dependencies where task_id = task.id and is_waiting;
  lane := public.lane_of_task(task);
  if task.result_key is not null then
    key := (select task.result_key from public.projects where id = task.project_id and reuses_results);
    follows := key is not null and public.run_is_under_way(task.project_id, key);
    unmet := unmet + follows::integer;
  end if;
  update public.tasks
     set status = 'Queued', lane_id = lane, is_scheduled = is_early, attempts = 0, worker_id = null,
         claimed_by_owner = null, generation_started_at = null,
         generation_processed_at = null, progress = null, progress_message = null, error_message = null,
         output_location = null, cost_microusd = null,
         result_data = result_data - array['cancellation', 'blacked_out', 'failed_part'], unmet_dependencies = unmet,
         result_key = key, is_following = follows, updated_at = now(), ready_at = now()
   where id = task.id;
  if task.in_cloud and task.orchestrator_task_id is null then
    perform public.open_hold(
      task.user_id, task.id, task.held_microusd, task.project_id,
      (select token_id from public.credit_holds where task_id = task.id), task.run_after);
  end if;
  if unmet = 0 and not is_early then
    perform public.ready_lane(lane, now());
  end if;
end
$$;
revoke all on function public.retry_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/reuse_result.sql
-- A task as it is when it ends with the output of an earlier run, of which its own generation or variant is made here; the
-- row is not written yet.
create or replace function public.reuse_result(task public.tasks, result public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
begin
  return public.with_reused_output(public.as_reused(task, result));
end
$$;
revoke all on function public.reuse_result from public, anon, authenticated;

-- supabase/schemas/tasks/functions/run_is_under_way.sql
-- Whether a task with this key waits for a worker, or runs. Who asks under the tenant's lock knows it until they commit,
-- for nobody else begins such a run or gives one up without that lock.
create or replace function public.run_is_under_way(for_project uuid, for_key bytea)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return exists (
    select from public.tasks
     where project_id = for_project and result_key = for_key and not is_following
       and status in ('Queued', 'In Progress'));
end
$$;
revoke all on function public.run_is_under_way from public, anon, authenticated;

-- supabase/schemas/tasks/functions/run_outbox_entry.sql
-- Does a batch of one row of task_outbox, and removes the row when nothing is left of it. Answers how many tasks or rows it
-- changed. The caller holds the row's and the tenant's lock.
create or replace function public.run_outbox_entry(entry public.task_outbox, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  did integer;
  is_done boolean;
begin
  if entry.kind = 'release_dependants' then
    did := public.release_some_dependants(entry.subject_id, at_most);
    is_done := did < at_most;
  elsif entry.kind = 'end_relatives' then
    select * into did, is_done from public.end_some_relatives(entry, at_most);
  else
    select * into did, is_done from public.delete_some_of_project(entry.subject_id, at_most);
  end if;
  if is_done then
    delete from public.task_outbox where id = entry.id;
    did := did + 1;
  end if;
  return did;
end
$$;
revoke all on function public.run_outbox_entry from public, anon, authenticated;

-- supabase/schemas/tasks/functions/run_outbox_of_user.sql
-- Does what task_outbox notes for one user, the oldest first, for up to 100 ms: see run_task_outbox(). Nothing while their tenant's
-- lock is held.
create or replace function public.run_outbox_of_user(for_user uuid, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  started constant timestamptz := clock_timestamp();
  entry public.task_outbox;
  last_id bigint := 0;
  did integer;
  total integer := 0;
begin
  perform from public.task_tenants where user_id = for_user for no key update skip locked;
  if not found and exists (select from public.task_tenants where user_id = for_user) then
    return 0;
  end if;
  while total < at_most and clock_timestamp() < started + interval '100 ms' loop
    select * into entry from public.task_outbox
     where user_id = for_user and id > last_id order by id limit 1 for update skip locked;
    exit when not found;
    last_id := entry.id;
    begin
      did := public.run_outbox_entry(entry, at_most - total);
    exception when lock_not_available or deadlock_detected then
      -- Left as it was, for another time. Others of this user's rows would wait for the same locks.
      exit;
    end;
    total := total + did;
  end loop;
  return total;
end
$$;
revoke all on function public.run_outbox_of_user from public, anon, authenticated;

-- supabase/schemas/tasks/functions/run_task_outbox.sql
-- Does work that task_outbox notes, for some users. Answers how much: 0 when there is nothing that it could do.
-- Guarantees: a call is one transaction of some 250 ms, of which one user gets 100 ms, or of a second in which it only met users
-- who are busy. A user whose tenant's lock is held
-- is passed over, and so is one whose rows are locked for longer than 200 ms: nobody delays others. What it does may be
-- done again. Safe to run anywhere at once.
-- Users are taken in the order of their ids from `start_at` on, which is random: each has its chance, however many rows
-- another has.
create or replace function public.run_task_outbox(at_most integer default 200, start_at uuid default gen_random_uuid())
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  started constant timestamptz := clock_timestamp();
  next_user uuid := start_at;
  has_wrapped boolean := false;
  total integer := 0;
begin
  for look in 1 .. 64 loop
    exit when total >= at_most or clock_timestamp() > started + interval '150 ms' * case when total > 0 then 1 else 7 end;
    select user_id into next_user from public.task_outbox where user_id > next_user order by user_id limit 1;
    if not found then
      exit when has_wrapped;
      has_wrapped := true;
      next_user := '00000000-0000-0000-0000-000000000000';
      continue;
    end if;
    exit when has_wrapped and next_user > start_at;
    total := total + public.run_outbox_of_user(next_user, at_most - total);
  end loop;
  return total;
end
$$;
revoke all on function public.run_task_outbox from public, anon, authenticated;
grant execute on function public.run_task_outbox to service_role;

-- supabase/schemas/tasks/functions/run_time_bucket.sql
-- The bucket of task_run_times for a run of so many seconds: four to a doubling, from a tenth of a second on.
create or replace function public.run_time_bucket(seconds double precision)
returns smallint
language plpgsql immutable set search_path = '' as $$
begin
  return least(greatest(floor(4 * ln(greatest(seconds, 0.1) * 10) / ln(2::double precision)), 0), 80);
end
$$;
revoke all on function public.run_time_bucket from public, anon, authenticated;

-- supabase/schemas/tasks/functions/run_time_of_bucket.sql
-- The seconds in the middle of a bucket of task_run_times.
create or replace function public.run_time_of_bucket(bucket integer)
returns double precision
language plpgsql immutable set search_path = '' as $$
begin
  return 0.1 * power(2::double precision, (bucket + 0.5) / 4);
end
$$;
revoke all on function public.run_time_of_bucket from public, anon, authenticated;

-- supabase/schemas/tasks/functions/run_time_statistics.sql
-- What finished runs of these types (and model, where it is named and known) took, in seconds.
create or replace function public.run_time_statistics(
  types text[], of_model text,
  out samples integer, out mean double precision, out deviation double precision, out p50 double precision,
  out p90 double precision
)
language plpgsql stable set search_path = '' as $$
declare
  by_model constant boolean := of_model is not null and exists (
    select from public.task_run_times where task_type = any (types) and model = of_model);
begin
  with buckets as (
    select public.run_time_of_bucket(bucket) as seconds, sum(runs) as runs
      from public.task_run_times
     where task_type = any (types) and (not by_model or model = of_model)
     group by bucket
  ), ranked as (
    select *, sum(runs) over (order by seconds) as up_to, sum(runs) over () as total from buckets
  )
  select max(total)::integer, sum(seconds * runs) / max(total),
         sqrt(greatest(sum(seconds * seconds * runs) / max(total) - power(sum(seconds * runs) / max(total), 2), 0)),
         min(seconds) filter (where up_to >= total * 0.5), min(seconds) filter (where up_to >= total * 0.9)
    into samples, mean, deviation, p50, p90
    from ranked;
  samples := coalesce(samples, 0);
end
$$;
revoke all on function public.run_time_statistics from public, anon, authenticated;

-- supabase/schemas/tasks/functions/running_parts_of_ended.sql
-- A user's running tasks, of at most five, that are parts of an orchestration that is over.
create or replace function public.running_parts_of_ended(for_user uuid)
returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
  return array(
    select id from public.tasks
     where user_id = for_user and slot is not null and orchestrator_task_id is not null
       and public.ended_orchestrator(orchestrator_task_id) is not null);
end
$$;
revoke all on function public.running_parts_of_ended from public, anon, authenticated;

-- supabase/schemas/tasks/functions/scale.sql
-- How many workers are wanted now, by run type and model: those that run something, and as many more as finish the
-- claimable tasks within the target wait. A task takes as much of a worker as its mean run time is of that wait, at
-- most one; one whose run time nobody has seen, a whole one. Of a user's tasks the longest fill the free slots, so
-- that more work never wants fewer workers. Never fewer than one where a task waits. Between the bounds.
-- What is left to FAL wants none: see fal_only_types(). What FAL runs because no own worker was there counts as work for one.
create or replace function public.scale(
  for_run_type text default null, for_model text default null, target_wait_seconds integer default 60,
  min_workers integer default 0, max_workers integer default 100
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  parts jsonb;
  total integer;
  wanted integer;
  fal_types constant text[] := public.fal_only_types();
  fal jsonb;
begin
  with lanes as (
    select lane.*, count.ready
      from public.task_lanes as lane, lateral public.lane_count(lane.id) as count
     where lane.is_open and (for_run_type is null or lane.run_type = for_run_type)
       and (for_model is null or lane.model = for_model) and count.ready > 0 and lane.task_type <> all (fal_types)
  ), kinds as (
    select kind.task_type, kind.model, runs.mean, runs.samples
      from (select distinct task_type, model from lanes) as kind,
           lateral public.run_time_statistics(array[kind.task_type], kind.model) as runs
  ), shares as (
    select lanes.*, kinds.mean, coalesce(least(kinds.mean, target_wait_seconds), target_wait_seconds) as seconds,
           case when lanes.is_orchestrator then lanes.ready else greatest(0, least(lanes.ready,
             (select count(*) from public.task_slots as slot
               where slot.user_id = lanes.user_id and slot.task_id is null)
             - coalesce(sum(lanes.ready) over (
                 partition by lanes.user_id, lanes.is_orchestrator
                 order by coalesce(least(kinds.mean, target_wait_seconds), target_wait_seconds) desc, lanes.id
                 rows between unbounded preceding and 1 preceding), 0))) end as claimable
      from lanes join kinds on kinds.task_type = lanes.task_type and kinds.model = lanes.model
  ), queued as (
    select run_type, model, sum(claimable)::integer as claimable, sum(ready)::integer as ready,
           min(oldest_ready_at) as oldest_ready_at, sum(claimable * seconds) / target_wait_seconds as work,
           sum(claimable * mean) as expected_seconds, avg(mean) as mean, bool_or(mean is null) as is_unknown
      from shares group by run_type, model
  ), running as (
    select run_type, coalesce(model, '') as model, count(*)::integer as tasks
      from public.tasks
     where status = 'In Progress' and not coalesce(claimed_by_owner, false) and not is_orchestrator
       and (for_run_type is null or run_type = for_run_type) and (for_model is null or coalesce(model, '') = for_model)
       and not (task_type = any (fal_types)
                and exists (select from public.workers as worker where worker.id = tasks.worker_id and worker.provider = 'fal'))
     group by 1, 2
  ), models as (
    select coalesce(queued.run_type, running.run_type) as run_type, coalesce(queued.model, running.model) as model,
           coalesce(queued.claimable, 0) as claimable, coalesce(queued.ready, 0) as ready,
           coalesce(running.tasks, 0) as running, coalesce(queued.work, 0) as work,
           queued.oldest_ready_at, queued.expected_seconds, queued.mean, queued.is_unknown
      from queued full join running on running.run_type = queued.run_type and running.model = queued.model
  ), by_run_type as (
    select run_type, sum(running)::integer as busy, sum(claimable)::integer as claimable, sum(ready)::integer as ready,
           -- Rounded once, over all models: a worker serves more than one.
           (sum(running) + greatest(ceil(round(sum(work)::numeric, 6)), sign(sum(claimable))))::integer as wanted,
           jsonb_agg(jsonb_build_object(
             'model', model,
             'wanted', running + greatest(ceil(round(work::numeric, 6)), sign(claimable)),
             'running', running, 'claimable', claimable, 'ready', ready,
             'oldest_wait_seconds', round(extract(epoch from now() - oldest_ready_at)),
             'mean_run_seconds', round(mean::numeric, 1),
             'expected_work_seconds', round(expected_seconds::numeric, 1),
             'reason', case
               when claimable = 0 then 'only what runs'
               when is_unknown then 'run times not seen yet: a worker a task'
               when work >= claimable then 'a worker a task, to meet the target wait'
               else 'enough to finish within the target wait' end) order by work desc, running desc, model) as models
      from models group by run_type
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'run_type', by_run_type.run_type, 'wanted', by_run_type.wanted, 'busy', busy, 'claimable', claimable,
           'ready', ready, 'models', by_run_type.models) order by by_run_type.run_type), '[]'),
         coalesce(sum(by_run_type.wanted), 0)
    into parts, total
    from by_run_type;
  select jsonb_build_object(
           'runs', settings.fal_runs, 'is_active', public.fal_is_active(settings),
           'left', (select coalesce(sum(count.ready), 0)
                      from public.task_lanes as lane, lateral public.lane_count(lane.id) as count
                     where lane.is_open and lane.task_type = any (fal_types)
                       and (for_run_type is null or lane.run_type = for_run_type) and (for_model is null or lane.model = for_model)),
           'running', (select count(*) from public.tasks as task
                         join public.workers as worker on worker.id = task.worker_id and worker.provider = 'fal'
                        where task.status = 'In Progress' and not task.claimed_by_owner
                          and (for_run_type is null or task.run_type = for_run_type)
                          and (for_model is null or coalesce(task.model, '') = for_model)))
    into fal
    from public.queue_settings as settings;
  wanted := greatest(min_workers, least(total, max_workers));
  return jsonb_build_object(
    'value', wanted, 'wanted_workers', wanted, 'unbounded', total,
    'target_wait_seconds', target_wait_seconds, 'min_workers', min_workers, 'max_workers', max_workers,
    'reason', case when total > max_workers then 'max_workers' when total < min_workers then 'min_workers' else 'work' end,
    'by_run_type', parts, 'fal', fal);
end
$$;
revoke all on function public.scale from public, anon, authenticated;
grant execute on function public.scale to service_role;

-- supabase/schemas/tasks/functions/settle_ended_orchestrator.sql
-- A failed or cancelled orchestration costs what its finished children cost, and its cancelled ones have consumed.
create or replace function public.settle_ended_orchestrator(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  cost constant bigint := public.cost_of_run(task, false);
begin
  update public.tasks set cost_microusd = cost where id = task.id;
  if task.orchestrator_task_id is null then
    perform public.settle_hold(task.id);
  end if;
end
$$;
revoke all on function public.settle_ended_orchestrator from public, anon, authenticated;

-- supabase/schemas/tasks/functions/settle_followers.sql
-- Gives the longest noted result to those who still follow it, at most so many; where there is no result any more, lets one
-- of them run. Answers how many tasks moved on. Safe to run anywhere at once: what another has locked is passed over, and so
-- is a user whose tenant's lock is held, or whose rows are locked for longer than 200 ms. One result a call.
create or replace function public.settle_followers(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  candidate record;
  busy uuid[] := '{}';
  noted public.results_to_share;
  moved integer;
begin
  for candidate in select project_id, result_key, user_id from public.results_to_share order by created_at loop
    continue when candidate.user_id = any (busy);
    -- Under the tenant's lock: who begins to follow notes it under that lock too, so no note is lost.
    perform from public.task_tenants where user_id = candidate.user_id for no key update skip locked;
    if not found then
      busy := busy || candidate.user_id;
      continue;
    end if;
    select * into noted from public.results_to_share
     where project_id = candidate.project_id and result_key = candidate.result_key for update skip locked;
    continue when not found;
    begin
      moved := public.settle_followers_of(noted, at_most);
      return moved;
    exception when lock_not_available or deadlock_detected then
      busy := busy || candidate.user_id;
    end;
  end loop;
  return 0;
end
$$;
revoke all on function public.settle_followers from public, anon, authenticated;
grant execute on function public.settle_followers to service_role;

-- supabase/schemas/tasks/functions/settle_followers_of.sql
-- One noted result: see settle_followers(). The caller holds the tenant's and the note's lock.
create or replace function public.settle_followers_of(noted public.results_to_share, at_most integer)
returns integer
language plpgsql set search_path = '' as $$
declare
  result constant public.tasks := public.find_result(noted.project_id, noted.result_key);
  shared public.tasks[] := '{}';
begin
  if result.id is not null then
    shared := public.share_result(result, at_most);
  end if;
  delete from public.results_to_share where project_id = noted.project_id and result_key = noted.result_key;
  perform public.finish_followers(shared);
  return cardinality(shared)
         + public.release_followers(noted.project_id, noted.result_key, noted.user_id)::integer;
end
$$;
revoke all on function public.settle_followers_of from public, anon, authenticated;

-- supabase/schemas/tasks/functions/settle_hold.sql
-- Closes the hold of a task that has ended, or is deleted: charges what its row says, or what was noted of it when it was
-- deleted. While the withdrawal of a job may still change the cost, the hold stays open; settle_withdrawal() comes back here.
create or replace function public.settle_hold(for_task uuid, is_deleted boolean default false, metadata jsonb default '{}')
returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
begin
  if exists (select from public.provider_withdrawals
              where paid_by = for_task and state = 'open' and cost_microusd > 0) then
    return;
  end if;
  if not is_deleted then
    select * into task from public.tasks where id = for_task;
  end if;
  if task.id is not null then
    perform public.close_hold(for_task, coalesce(task.cost_microusd, 0), public.charge_metadata(task));
  else
    perform public.close_hold(
      for_task, (select consumed_microusd from public.credit_holds where task_id = for_task), settle_hold.metadata);
  end if;
end
$$;
revoke all on function public.settle_hold from public, anon, authenticated;

-- supabase/schemas/tasks/functions/settle_overdue_withdrawals.sql
-- Settles withdrawals whose time is over, so that no hold stays open for longer: a job that is known counts as one that ran, and
-- one of which only the intent is known as one that was never submitted. A task that somebody holds is left to the next call, so
-- that nobody is kept waiting by another's lock.
create or replace function public.settle_overdue_withdrawals(at_most integer default 20)
returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  overdue record;
  settled integer := 0;
begin
  for overdue in
    select id, request_id from public.provider_withdrawals
     where state = 'open' and expires_at <= now() order by expires_at limit at_most
  loop
    begin
      perform public.settle_withdrawal(
        overdue.id, case when overdue.request_id is null then 'unknown' else 'unanswered' end);
      settled := settled + 1;
    exception when lock_not_available then
      null;
    end;
  end loop;
  return settled;
end
$$;
revoke all on function public.settle_overdue_withdrawals from public, anon, authenticated;

-- supabase/schemas/tasks/functions/settle_withdrawal.sql
-- Ends the withdrawal of a job, once, with what became of the job, and charges the run by it: what ran costs its price, what was
-- withdrawn before it began, or failed, nothing. A provider that does not answer in time counts as one that ran it.
-- A run of several jobs is charged once: the first of them that ran decides, and the others are withdrawn without a cost. Where
-- none ran, the last one that is settled closes the hold.
-- Beyond `credit_settings.free_withdrawals_per_hour` tasks a withdrawn job costs its price too, so that submitting and withdrawing
-- cannot keep a provider busy. Answers what was charged; null when it was settled before.
-- Locks: orchestrations from the outermost, the task, its open withdrawals, the account.
create or replace function public.settle_withdrawal(for_withdrawal uuid, said_state text)
returns bigint
language plpgsql set search_path = '' as $$
declare
  named public.provider_withdrawals;
  withdrawal public.provider_withdrawals;
  ancestor uuid;
  is_linked boolean;
  new_state text;
  charge bigint;
begin
  select * into named from public.provider_withdrawals where id = for_withdrawal;
  perform from public.tasks where id = named.paid_by for no key update;
  perform public.lock_orchestrators(named.task_id);
  perform from public.tasks where id = named.task_id for no key update;
  -- All of the task's, in one order: a task that was deleted has no row by which two calls would wait for each other.
  perform from public.provider_withdrawals where task_id = named.task_id and state = 'open' order by id for no key update;
  select * into withdrawal from public.provider_withdrawals where id = for_withdrawal and state = 'open';
  if not found then
    return null;
  end if;
  new_state := case when withdrawal.has_run then 'ran' else said_state end;
  -- One at a time for a user, so that the allowance is exact.
  perform from public.credit_accounts where user_id = withdrawal.user_id for no key update;
  charge := case
    when new_state in ('ran', 'unanswered') then withdrawal.cost_microusd
    when new_state = 'withdrawn' and withdrawal.cost_microusd > 0 and (
           select count(distinct earlier.task_id) from public.provider_withdrawals as earlier
            where earlier.user_id = withdrawal.user_id and earlier.state = 'withdrawn' and earlier.cost_microusd > 0
              and earlier.task_id <> withdrawal.task_id
              and earlier.settled_at > now() - interval '1 hour')
         >= (select free_withdrawals_per_hour from public.credit_settings) then withdrawal.cost_microusd
    else 0 end;
  update public.provider_withdrawals
     set state = new_state, charged_microusd = charge, settled_at = clock_timestamp()
   where id = withdrawal.id;
  if new_state in ('withdrawn', 'failed') then
    perform public.release_provider_call(withdrawal.provider, withdrawal.request_id);
  end if;
  if withdrawal.cost_microusd = 0 then
    return 0;
  end if;
  if charge > 0 then
    update public.provider_withdrawals set cost_microusd = 0 where task_id = withdrawal.task_id and state = 'open';
  elsif exists (select from public.provider_withdrawals
                 where task_id = withdrawal.task_id and state = 'open' and cost_microusd > 0) then
    return 0;
  else
    -- Of all jobs together: what was withdrawn comes before what failed, and that before what was never submitted.
    new_state := (
      select state from public.provider_withdrawals
       where task_id = withdrawal.task_id and created_at = withdrawal.created_at and cost_microusd > 0
       order by array_position(array['withdrawn', 'failed', 'unknown'], state) limit 1);
  end if;

  update public.tasks
     set cost_microusd = charge, updated_at = now(),
         result_data = result_data || jsonb_build_object('cancellation', jsonb_build_object(
           'state', new_state, 'basis', result_data -> 'cancellation' -> 'basis', 'cost_microusd', charge))
   where id = withdrawal.task_id
  returning orchestrator_task_id into ancestor;
  is_linked := found and (ancestor is not null or withdrawal.paid_by = withdrawal.task_id);
  if not is_linked then
    update public.credit_holds set consumed_microusd = consumed_microusd + charge
     where task_id = withdrawal.paid_by and state = 'held';
    -- Its part was deleted, and the orchestration is still there.
    update public.tasks as orchestrator set cost_microusd = public.cost_of_run(orchestrator, true)
     where orchestrator.id = withdrawal.paid_by and orchestrator.is_orchestrator
       and orchestrator.status in ('Complete', 'Failed', 'Cancelled');
  end if;
  while ancestor is not null loop
    update public.tasks as orchestrator set cost_microusd = public.cost_of_run(orchestrator, true)
     where orchestrator.id = ancestor and orchestrator.status in ('Complete', 'Failed', 'Cancelled')
    returning orchestrator.orchestrator_task_id into ancestor;
    exit when not found;
  end loop;
  perform public.settle_hold(withdrawal.paid_by, metadata => withdrawal.charge_metadata);
  perform public.count_unpaid_cost(array[withdrawal.task_id, withdrawal.paid_by]);
  return charge;
end
$$;
revoke all on function public.settle_withdrawal from public, anon, authenticated;

-- supabase/schemas/tasks/functions/settle_withdrawal_by_news.sql
-- What a provider's news says of a job that is to be withdrawn: it has ended, well or in an error. False when it is about no such
-- job. An error is left to the caller that is withdrawing the job, because it may be the withdrawal itself.
create or replace function public.settle_withdrawal_by_news(
  for_provider text, for_request_ids text[], has_failed boolean, for_webhook_key uuid default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  withdrawal public.provider_withdrawals;
begin
  select * into withdrawal from public.provider_withdrawals
   where provider = for_provider and not by_owner
     and (request_id = any (for_request_ids) or webhook_key = for_webhook_key and request_id is null)
   order by state = 'open' desc, created_at desc limit 1;
  if not found then
    return false;
  end if;
  if withdrawal.state = 'open' and (not has_failed or withdrawal.tries = 0) then
    perform public.settle_withdrawal(withdrawal.id, case when has_failed then 'failed' else 'ran' end);
    -- After the locks of the task, which come first.
    update public.provider_withdrawals set request_id = for_request_ids[1] where id = withdrawal.id and request_id is null
    returning * into withdrawal;
    if found and not has_failed then
      perform public.count_withdrawn_job(withdrawal);
    end if;
  end if;
  return true;
end
$$;
revoke all on function public.settle_withdrawal_by_news from public, anon, authenticated;
grant execute on function public.settle_withdrawal_by_news to service_role;

-- supabase/schemas/tasks/functions/share_result.sql
-- Gives a result to tasks that follow its run, in the order of claims and at most so many: their rows as finish_followers() will
-- write them. Locks them, and who depends on them; one that somebody holds is passed over, so nobody is waited for
-- whom a follower's end could wait for.
create or replace function public.share_result(result public.tasks, at_most integer)
returns public.tasks[]
language plpgsql set search_path = '' as $$
declare
  followers public.tasks[] := array(
    select candidate from public.tasks as candidate
     where candidate.project_id = result.project_id and candidate.result_key = result.result_key
       and candidate.status = 'Queued' and candidate.is_following
     order by candidate.priority desc, candidate.created_at, candidate.id limit at_most for no key update skip locked);
  shared public.tasks[] := '{}';
  follower public.tasks;
begin
  if cardinality(followers) = 0 then
    return followers;
  end if;
  perform from public.tasks
    where id in (select needed.task_id from public.task_dependencies as needed
                  where needed.dependency_id in (select id from unnest(followers)))
    order by id for no key update;
  foreach follower in array followers loop
    shared := shared || public.reuse_result(follower, result);
  end loop;
  return shared;
end
$$;
revoke all on function public.share_result from public, anon, authenticated;

-- supabase/schemas/tasks/functions/status_details.sql
-- What a 409 about a task tells.
create or replace function public.status_details(task public.tasks)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object(
    'task_id', task.id, 'current_status', task.status, 'attempt', task.attempt,
    'allowed_transitions', to_jsonb(case task.status
      when 'Queued' then array['Failed', 'Cancelled']
      when 'In Progress' then array['In Progress', 'Queued', 'Complete', 'Failed', 'Cancelled']
      when 'Failed' then array['Queued']
      else array[]::text[] end));
end
$$;
revoke all on function public.status_details from public, anon, authenticated;

-- supabase/schemas/tasks/functions/stored_completion.sql
-- What completing a task answers, the first time and every time after. `public_url` is where the output can be
-- fetched, also after its text was replaced; null where the output is text.
create or replace function public.stored_completion(task public.tasks)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'success', true, 'task_id', task.id, 'status', task.status,
    'public_url', coalesce(task.result_data ->> 'public_url',
                           case when task.output_location ~* '^https?://[^[:space:]]+$' then task.output_location end),
    'output_location', task.output_location, 'thumbnail_url', task.thumbnail_url,
    'message', 'Task completed and file uploaded successfully', 'attempt', task.attempt,
    'generation_id', task.result_data -> 'generation_id', 'variant_id', task.result_data -> 'variant_id',
    'cost_microusd', coalesce(task.cost_microusd, 0), 'warnings', coalesce(task.result_data -> 'warnings', '[]'),
    'more_outputs', coalesce(task.result_data -> 'more_outputs', '[]'));
end
$$;
revoke all on function public.stored_completion from public, anon, authenticated;

-- supabase/schemas/tasks/functions/sweep_expired_leases.sql
-- Rescues tasks whose worker fell silent: back to the queue, or failed after the last attempt. Answers how many: at most so many,
-- 20 of one user, for up to 500 ms.
-- Safe to run anywhere at once: a task that is locked, a user whose tenant's lock is held, and a rescue that would wait longer
-- than 200 ms for a lock are left for another time, so nobody delays others.
create or replace function public.sweep_expired_leases(at_most integer default 200)
returns integer
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set lock_timeout = '200ms' as $$
declare
  started constant timestamptz := clock_timestamp();
  silent record;
  ours uuid[] := '{}';
  counts integer[] := '{}';
  busy uuid[] := '{}';
  place integer;
  task public.tasks;
  rescued integer := 0;
begin
  for silent in
    select id, user_id from public.tasks
     where status = 'In Progress' and lease_expires_at < now() order by lease_expires_at
  loop
    exit when rescued >= at_most or clock_timestamp() > started + interval '500 ms';
    continue when silent.user_id = any (busy);
    place := array_position(ours, silent.user_id);
    if place is null then
      perform from public.task_tenants where user_id = silent.user_id for no key update skip locked;
      if not found then
        busy := busy || silent.user_id;
        continue;
      end if;
      ours := ours || silent.user_id;
      counts := counts || 0;
      place := cardinality(ours);
    end if;
    -- Asked again under the lock: an earlier rescue of this loop may have ended it with its orchestration.
    select * into task from public.tasks
     where id = silent.id and status = 'In Progress' and lease_expires_at <= now() for no key update skip locked;
    continue when not found;
    begin
      perform public.rescue_task(task, 'lease_expired');
      rescued := rescued + 1;
      counts[place] := counts[place] + 1;
    exception when lock_not_available or deadlock_detected then
      busy := busy || silent.user_id;
    end;
    if counts[place] >= 20 then
      busy := busy || silent.user_id;
    end if;
  end loop;
  return rescued;
end
$$;
revoke all on function public.sweep_expired_leases from public, anon, authenticated;
grant execute on function public.sweep_expired_leases to service_role;

-- supabase/schemas/tasks/functions/take_turn.sql
-- The next user whose turn it is, locked: see claim_by_turn; and those before them whom another claim is serving.
create or replace function public.take_turn(
  run_types text[], types text[], models text[], tried uuid[], late_types text[],
  out taken public.user_turns, out busy uuid[]
)
language plpgsql set search_path = '' as $$
declare
  candidate public.user_turns;
  passed integer := 0;
  busy_before integer := -1;
begin
  busy := '{}';
  -- In pages, for all of one may be busy.
  while taken.user_id is null and passed < 8 and cardinality(busy) > busy_before loop
    busy_before := cardinality(busy);
    for candidate in
      select next_turn.*
        from unnest(run_types) as kind (name),
             lateral (select * from public.user_turns as mine
                       where mine.is_open and mine.run_type = kind.name
                         and mine.turn >= public.turn_mark(kind.name, null)
                         and mine.user_id <> all (tried) and mine.user_id <> all (busy)
                       order by mine.turn limit 32) as next_turn
       order by next_turn.turn
    loop
      if (types is not null or models is not null) and not exists (
           select from public.task_lanes as lane
            where lane.user_id = candidate.user_id and lane.is_open and lane.run_type = candidate.run_type
              and (types is null or lane.task_type = any (types) or lane.is_late and lane.task_type = any (late_types))
              and (models is null or lane.model = any (models))) then
        passed := passed + 1;
        exit when passed = 8;
        continue;
      end if;
      -- Not when they were served in the meantime, or are being served.
      select * into taken from public.user_turns
       where user_id = candidate.user_id and run_type = candidate.run_type and turn = candidate.turn and is_open
       for no key update skip locked;
      exit when found;
      busy := busy || candidate.user_id;
    end loop;
  end loop;
end
$$;
revoke all on function public.take_turn from public, anon, authenticated;

-- supabase/schemas/tasks/functions/task_counts_for.sql
-- What waits and what runs, for workers that decide whether to claim and for autoscalers: see the endpoint.
-- Numbers from the lanes' counts; the lists are the first tasks that a claim would meet, and what runs.
-- What is left to FAL is neither `queued_only` nor, while FAL runs it, `active_only`: autoscalers start workers for those two. The
-- call is all that a shipped API worker shows of itself while nothing is queued.
create or replace function public.task_counts_for(for_user uuid, for_run_type text default null, is_api_worker boolean default false)
returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  run_types constant text[] := case when for_run_type is null then array['gpu', 'api'] else array[for_run_type] end;
  list_size constant integer := 100;
  fal_types constant text[] := case when for_user is null then public.fal_only_types() else '{}' end;
  totals jsonb;
  users jsonb;
  queued jsonb;
  active jsonb;
  person record;
begin
  if is_api_worker and for_user is null then
    update public.queue_settings set api_worker_seen_at = now()
     where only_row = (select only_row from public.queue_settings
                        where api_worker_seen_at < now() - interval '10 seconds' for no key update skip locked);
  end if;
  select jsonb_build_object(
           'queued_only', coalesce(sum(claimable), 0), 'left_to_fal', 0,
           'eligible_queued', coalesce(sum(ready + ready_orchestrators) filter (where allowed), 0),
           'blocked_by_capacity',
             coalesce(sum(ready + ready_orchestrators - claimable) filter (where allowed), 0),
           'blocked_by_deps', coalesce(sum(blocked), 0),
           'blocked_by_schedule', coalesce(sum(scheduled), 0),
           'blocked_by_settings', coalesce(sum(ready + ready_orchestrators) filter (where not allowed), 0),
           'potentially_claimable', coalesce(sum(ready + ready_orchestrators) filter (where allowed), 0)),
         coalesce(jsonb_agg(jsonb_build_object(
             'user_id', queue.user_id, 'credits', account.balance_microusd / 10000.0,
             'queued_tasks', ready + ready_orchestrators + blocked + scheduled,
             'in_progress_tasks', running, 'allows_cloud', tenant.allows_cloud, 'at_limit', free_slots = 0)
           order by ready desc, queue.user_id) filter (where queue.rank <= 1000), '[]')
    into totals, users
    from (select *, row_number() over (order by in_use.ready desc, in_use.user_id) as rank
            from public.queue_of_users(for_user, run_types) as in_use) as queue
    join public.task_tenants as tenant on tenant.user_id = queue.user_id
    join public.credit_accounts as account on account.user_id = queue.user_id;

  if fal_types <> '{}' then
    select totals || jsonb_build_object(
             'queued_only', own.claimable, 'left_to_fal', (totals ->> 'queued_only')::integer - own.claimable)
      into totals
      from (select coalesce(sum(claimable), 0)::integer as claimable
              from public.queue_of_users(null, run_types, fal_types)) as own;
  end if;
  -- What an owner's machine runs is no work of the cloud's.
  select totals || jsonb_build_object(
           'active_only', count(*), 'queued_plus_active', (totals ->> 'queued_only')::integer + count(*))
    into totals
    from public.tasks
   where status = 'In Progress' and run_type = any (run_types)
     and case when for_user is null then not claimed_by_owner else user_id = for_user end
     and not (task_type = any (fal_types)
              and exists (select from public.workers as worker where worker.id = tasks.worker_id and worker.provider = 'fal'));

  select coalesce(jsonb_agg(jsonb_build_object(
           'task_id', task.id, 'task_type', task.task_type, 'user_id', task.user_id, 'created_at', task.created_at)
           order by task.created_at, task.id), '[]')
    into queued
    from (select next_task.*
            from (select id from public.task_lanes
                   where for_user is null and is_open and run_type = any (run_types) limit list_size) as lane,
                 lateral (select * from public.tasks
                           where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                           order by priority desc, created_at, id limit list_size) as next_task
          union all
          select next_task.*
            from public.task_lanes as lane,
                 lateral (select * from public.tasks
                           where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
                           order by priority desc, created_at, id limit list_size) as next_task
           where lane.user_id = for_user and lane.is_ready and lane.run_type = any (run_types)
          limit list_size) as task;

  select coalesce(jsonb_agg(jsonb_build_object(
           'task_id', task.id, 'task_type', task.task_type, 'worker_id', task.worker_id, 'user_id', task.user_id,
           'started_at', task.generation_started_at) order by task.generation_started_at, task.id), '[]')
    into active
    from (select * from public.tasks
           where status = 'In Progress' and run_type = any (run_types) and (for_user is null or user_id = for_user)
           limit list_size) as task;

  totals := jsonb_build_object(
    'mode', 'count', 'timestamp', clock_timestamp(), 'run_type_filter', for_run_type, 'totals', totals,
    -- As older autoscalers and API workers read them.
    'queued_plus_active', totals -> 'queued_plus_active', 'available_tasks', totals -> 'queued_only',
    'queued_tasks', queued, 'active_tasks', active);
  if for_user is null then
    return totals || jsonb_build_object('users', users);
  end if;
  select account.balance_microusd / 10000.0 as credits, tenant.allows_local, tenant.allows_cloud, user_row.settings,
         (select count(*) from public.task_slots as slot where slot.user_id = for_user and slot.task_id is not null) as running
    into person
    from public.users as user_row
    join public.task_tenants as tenant on tenant.user_id = user_row.id
    join public.credit_accounts as account on account.user_id = user_row.id
   where user_row.id = for_user;
  return totals || jsonb_build_object(
    'user_id', for_user,
    'user_info', jsonb_build_object(
      'credits', person.credits, 'allows_local', person.allows_local, 'allows_cloud', person.allows_cloud,
      'settings', jsonb_build_object('ui', jsonb_build_object(
        'generationMethods', person.settings -> 'ui' -> 'generationMethods'))),
    'debug_summary', jsonb_build_object(
      'at_capacity', person.running >= 5, 'capacity_used_pct', person.running * 20,
      'can_claim_more', person.running < 5 and person.allows_local));
end
$$;
revoke all on function public.task_counts_for from public, anon, authenticated;
grant execute on function public.task_counts_for to service_role;

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

-- supabase/schemas/tasks/functions/task_runners.sql
-- What runs each task type at this moment: own workers that are active, FAL by its rule where it is configured, and whether the
-- sandbox may. For people; no claim asks it.
create or replace function public.task_runners()
returns table (task_type text, is_visible boolean, own_workers boolean, fal boolean, sandbox boolean)
language plpgsql stable set search_path = '' as $$
declare
  own_types constant text[] := public.own_worker_types();
  sandbox_types constant text[] := (public.provider_task_types('sandbox', null, null)).types;
begin
  return query
    select kind.name, kind.is_visible, kind.name = any (own_types),
           settings.fal_is_configured and settings.fal_runs <> 'none' and 'fal' = any (kind.runners), kind.name = any (sandbox_types)
      from public.task_types as kind, public.queue_settings as settings
     where kind.alias_of is null and kind.category <> 'call' and kind.is_active
     order by kind.name;
end
$$;
revoke all on function public.task_runners from public, anon, authenticated;

-- supabase/schemas/tasks/functions/task_types_of_tool.sql
-- What a name that may be a tool's stands for: the task type of this name, the active task types of the tool, and all tools. A name
-- is spelled with `-` or `_`; a tool's own name comes before a type that is spelled like it.
create or replace function public.task_types_of_tool(tool text)
returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'own_type', (select coalesce(kind.alias_of, kind.name) from public.task_types as kind
                  where kind.name in (tool, replace(tool, '-', '_')) and kind.is_active and kind.category <> 'call'
                    and (kind.name = tool or not exists (
                      select from public.task_types as other where other.tool_type = tool and other.is_active))
                  order by kind.name = tool desc limit 1),
    'task_types', coalesce((select jsonb_agg(kind.name order by kind.name) from public.task_types as kind
                             where kind.tool_type in (tool, replace(tool, '_', '-')) and kind.is_active
                               and kind.alias_of is null and kind.category <> 'call'), '[]'),
    'tools', coalesce((select jsonb_agg(distinct kind.tool_type) from public.task_types as kind
                        where kind.tool_type is not null and kind.is_active), '[]'))
$$;
revoke all on function public.task_types_of_tool from public, anon, authenticated;
grant execute on function public.task_types_of_tool to service_role;

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

-- supabase/schemas/tasks/functions/tend_queue.sql
-- What the queue needs now and then, wherever it is run from and however often: scheduled tasks whose time has
-- come, runs whose lease is over, lanes that have become overdue or late, what own workers can run, and the marks of turns.
create or replace function public.tend_queue(at_most integer default 200)
returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  settings public.queue_settings;
  own_types text[];
  mark record;
begin
  perform public.release_scheduled_tasks(at_most);
  perform public.sweep_expired_leases(at_most);

  -- One at a time for the rest; whoever comes second has nothing to add.
  select * into settings from public.queue_settings for no key update skip locked;
  if not found then
    return;
  end if;
  own_types := case when settings.fal_is_configured then public.own_worker_types() else '{}' end;
  update public.queue_settings set tended_at = now(), own_worker_types = own_types;
  perform public.announce_task_types(array(select unnest(settings.own_worker_types) except select unnest(own_types)));
  -- Claims do not note how long the next task of a lane has waited; it is looked up when it may be too long.
  update public.task_lanes as lane
     set is_overdue = coalesce(head.since < now() - settings.affinity_max_wait, false),
         oldest_ready_at = coalesce(head.since, now())
    from (select id from public.task_lanes
           where is_open and not is_overdue and oldest_ready_at < now() - settings.affinity_max_wait
           order by oldest_ready_at limit 10000 for no key update skip locked) as candidate
    left join lateral (
      select greatest(created_at, run_after) as since from public.tasks
       where lane_id = candidate.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
       order by priority desc, created_at, tasks.id limit 1) as head on true
   where lane.id = candidate.id;
  if settings.fal_is_configured then
    update public.task_lanes as lane
       set is_late = coalesce(head.ready_at <= now() - settings.fal_after, false), waits_since = coalesce(head.ready_at, now())
      from (select id from public.task_lanes
             where is_open and not is_late and waits_since <= now() - settings.fal_after
             order by waits_since limit 10000 for no key update skip locked) as candidate
      left join lateral (
        select ready_at from public.tasks
         where lane_id = candidate.id and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
         order by priority desc, created_at, tasks.id limit 1) as head on true
     where lane.id = candidate.id;
  end if;
  for mark in
    select kind, model, max(turn) as newest from public.turn_marks group by kind, model
  loop
    delete from public.turn_marks
     where kind = mark.kind and model is not distinct from mark.model
       and (turn < mark.newest and created_at < now() - interval '1 minute' or created_at < now() - interval '1 day');
    -- A lane that opened while the mark was moved may be behind it.
    update public.task_lanes set turn = mark.newest
     where id in (select id from public.task_lanes
                   where is_open and (mark.kind = task_type and mark.model is null
                                      or mark.kind in (run_type, task_type) and model = mark.model)
                     and turn < mark.newest
                   for no key update skip locked);
    update public.user_turns set turn = mark.newest
     where (user_id, run_type) in (
       select user_id, run_type from public.user_turns
        where is_open and run_type = mark.kind and mark.model is null and turn < mark.newest
          for no key update skip locked);
  end loop;
end
$$;
revoke all on function public.tend_queue from public, anon, authenticated;
grant execute on function public.tend_queue to service_role;

-- supabase/schemas/tasks/functions/tidy_counts.sql
-- Merges the rows of a lane's count, and halves the weight of old run times so that estimates follow what is now.
create or replace function public.tidy_counts()
returns void
language plpgsql security definer set search_path = '' as $$
declare
  lane bigint;
  counted record;
begin
  for lane in
    select lane_id from public.task_counts group by lane_id having count(*) > 1 order by lane_id limit 10000
  loop
    -- Rows that are being written stay for another time.
    with mine as (
      select * from public.task_counts where lane_id = lane for update skip locked
    ), gone as (
      delete from public.task_counts
       where id in (select id from mine) and id <> (select min(id) from mine)
      returning ready, blocked, scheduled, running
    ), total as (
      select sum(ready) as ready, sum(blocked) as blocked, sum(scheduled) as scheduled, sum(running) as running from gone
    )
    update public.task_counts as kept
       set ready = kept.ready + total.ready, blocked = kept.blocked + total.blocked,
           scheduled = kept.scheduled + total.scheduled, running = kept.running + total.running
      from total
     where kept.id = (select min(id) from mine) and total.ready is not null;
  end loop;
  for counted in
    select subject, subject_id from public.limit_counts
     group by subject, subject_id having count(*) > 1 order by subject, subject_id limit 10000
  loop
    with mine as (
      select * from public.limit_counts
       where subject_id = counted.subject_id and subject = counted.subject for update skip locked
    ), gone as (
      delete from public.limit_counts
       where id in (select id from mine) and id <> (select min(id) from mine)
      returning amount
    )
    update public.limit_counts as kept set amount = kept.amount + total.amount
      from (select sum(amount)::integer as amount from gone) as total
     where kept.id = (select min(id) from mine) and total.amount is not null;
  end loop;
  delete from public.limit_counts
   where id in (
     select left_behind.id from public.limit_counts as left_behind
      where case subject when 'open_tasks' then not exists (select from public.task_tenants where user_id = subject_id)
            else amount = 0 or not exists (select from public.tasks where tasks.id = subject_id) end
        for update skip locked);
  delete from public.task_counts as left_behind
   where not exists (select from public.task_lanes where id = left_behind.lane_id);
  update public.task_run_times set runs = runs / 2
   where (task_type, model) in (
     select task_type, model from public.task_run_times group by task_type, model having sum(runs) > 400);
  delete from public.task_run_times where runs = 0;
end
$$;
revoke all on function public.tidy_counts from public, anon, authenticated;
grant execute on function public.tidy_counts to service_role;

-- supabase/schemas/tasks/functions/time_of_cursor.sql
-- The time in a task_cursor(); null of null.
create or replace function public.time_of_cursor(task_cursor text)
returns timestamptz
language sql immutable set search_path = '' as $$
  select timestamptz 'epoch' + split_part(time_of_cursor.task_cursor, '.', 1)::bigint * interval '1 microsecond'
$$;
revoke all on function public.time_of_cursor from public, anon, authenticated;

-- supabase/schemas/tasks/functions/turn_floor.sql
-- The turn at which a lane opens: not below what claims still look at. Its user's turn is what counts.
create or replace function public.turn_floor(lane public.task_lanes)
returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return greatest(
    lane.turn, public.newest_turn_mark(lane.run_type, lane.model), public.newest_turn_mark(lane.task_type, null),
    public.newest_turn_mark(lane.task_type, lane.model));
end
$$;
revoke all on function public.turn_floor from public, anon, authenticated;

-- supabase/schemas/tasks/functions/turn_mark.sql
-- Where claims of a kind begin: see turn_marks. A mark counts after a second, so that a lane which opened while it
-- was made, at the mark before it, is not passed over.
create or replace function public.turn_mark(of_kind text, of_model text)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  mark bigint;
begin
  if of_model is null then
    select turn into mark from public.turn_marks
     where kind = of_kind and model is null and created_at < now() - interval '1 second'
     order by turn desc limit 1;
  else
    select turn into mark from public.turn_marks
     where kind = of_kind and model = of_model and created_at < now() - interval '1 second'
     order by turn desc limit 1;
  end if;
  return coalesce(mark, 0);
end
$$;
revoke all on function public.turn_mark from public, anon, authenticated;

-- supabase/schemas/tasks/functions/unclaim_task.sql
-- Puts a task back whose worker hung up before it was told of its claim. No run failed, so none is counted;
-- `attempt` stays, for numbers are not given out twice. False when the run is over by now.
create or replace function public.unclaim_task(for_user uuid, for_task uuid, for_attempt integer)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  task public.tasks;
begin
  select * into task from public.tasks
   where id = for_task and attempt = for_attempt and status = 'In Progress'
     and (for_user is null or user_id = for_user)
   for no key update;
  if not found then
    return false;
  end if;
  perform public.give_task_back(task, null);
  return true;
end
$$;
revoke all on function public.unclaim_task from public, anon, authenticated;
grant execute on function public.unclaim_task to service_role;

-- supabase/schemas/tasks/functions/unpaid_cost_of_task.sql
-- What a task that has ended costs the operator at providers beyond what it was charged; null while it may still be charged. A loss of a
-- finished task that the operator allows is not counted. Of a task that is deleted the charge is `deleted_charge`, and later what the
-- withdrawals of its jobs charged.
create or replace function public.unpaid_cost_of_task(cost public.task_provider_costs, deleted_charge bigint default null)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  task public.tasks;
begin
  if deleted_charge is null then
    select * into task from public.tasks where id = cost.task_id;
    if not found then
      deleted_charge := (
        select coalesce(sum(charged_microusd), 0)::bigint from public.provider_withdrawals where task_id = cost.task_id);
    end if;
  end if;
  return case
    when deleted_charge is not null then greatest(cost.provider_cost_microusd - deleted_charge, 0)
    when task.status in ('Queued', 'In Progress') then null
    when task.status = 'Complete' and (
           (select allows_provider_loss from public.queue_settings)
           or (select allows_provider_loss from public.task_types where name = task.task_type)) then 0
    else greatest(cost.provider_cost_microusd - coalesce(task.cost_microusd, 0), 0) end;
end
$$;
revoke all on function public.unpaid_cost_of_task from public, anon, authenticated;

-- supabase/schemas/tasks/functions/update_task_status.sql
-- Moves a task by the transition table: progress and completion by its worker, failing, requeueing,
-- cancelling, retrying. `caller_kind`: service, personal-access-token or user; a user (a browser) may only
-- cancel and retry. `changes` holds the optional fields of the request as they came. `output_path` is the file of our storage that
-- `output_location` names, if it does; `checked_files` as in complete_task().
-- Guarantee: a report that ends a run takes effect once. The same report by the same worker or attempt gets the first answer
-- again, also when the task was queued again or claimed by another since; every other report on that run is 409.
-- A job at a provider that would cost more than the task is charged, or that is beyond what a user's tasks may cost unpaid, fails the
-- task; the answer is then {refused, details}.
create or replace function public.update_task_status(
  for_user uuid, caller_kind text, for_task uuid, new_status public.task_status,
  for_worker text default null, for_attempt integer default null, changes jsonb default '{}',
  output_path text default null, checked_files jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  -- What names the run that it is about, so that it can be told from another worker's.
  is_fenced constant boolean := caller_kind <> 'user' and (for_worker is not null or for_attempt is not null);
  report constant bytea := case when is_fenced and new_status <> 'In Progress' then sha256(convert_to(
    jsonb_build_array(caller_kind, new_status, for_worker, for_attempt, changes)::text, 'UTF8')) end;
  -- Who ends it, where it ends: a worker's report that its run failed, or was cancelled, is not its owner's wish.
  is_owners constant boolean := caller_kind <> 'service' or new_status = 'Cancelled' and not is_fenced;
  task public.tasks;
  answer jsonb;
  refusal text;
  refusal_details text;
begin
  perform public.lock_orchestrators(for_task);
  select * into task from public.tasks
   where id = for_task and (for_user is null or user_id = for_user) for no key update;
  if not found then
    perform public.refuse_archived_change(for_user, caller_kind, for_task, new_status, for_worker, for_attempt);
  end if;

  if report is not null then
    answer := public.repeated_report(task, for_worker, for_attempt, report);
    if answer is not null then
      return answer;
    end if;
  end if;

  -- A worker's word counts only for the run it has; a task that waits has none.
  if (for_attempt is not null and (for_attempt <> task.attempt or task.status = 'Queued'))
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

  -- Of the run's own worker alone: who could forget the job of a run would not pay for it.
  if changes ?| array['provider_job', 'ended_provider_steps', 'unbilled_provider_steps'] and caller_kind <> 'user' and task.status = 'In Progress'
     and task.claimed_by_owner = (caller_kind = 'personal-access-token') then
    perform public.release_provider_call(job.provider, job.request_id)
       from public.provider_jobs as job
      where job.task_id = task.id and not job.by_owner
        and job.step in (select value::smallint from jsonb_array_elements_text(coalesce(changes -> 'unbilled_provider_steps', '[]')));
    delete from public.provider_jobs
     where task_id = task.id and by_owner = task.claimed_by_owner
       and step in (select value::smallint from jsonb_array_elements_text(coalesce(changes -> 'ended_provider_steps', '[]')));
    if changes ? 'provider_job' then
      begin
        perform public.note_provider_job(task, changes -> 'provider_job');
      exception when sqlstate 'PT409' then
        get stacked diagnostics refusal = message_text, refusal_details = pg_exception_detail;
        -- Not raised, because the task fails with it: the caller is refused when that is committed.
        if refusal = 'sold_below_cost' then
          perform public.end_unprofitable_run(task, changes -> 'provider_job', refusal_details::jsonb);
        elsif refusal = 'unpaid_provider_limit' then
          perform public.end_unallowed_run(task, refusal_details::jsonb);
        else
          raise;
        end if;
        return jsonb_build_object('refused', refusal, 'details', refusal_details::jsonb);
      end;
    end if;
  end if;
  if task.status = 'Complete' and new_status = 'Complete' and changes ? 'output_location' then
    perform public.deliver_named_files(task.id, changes ->> 'output_location');
    -- Where the file is stays known, for a repeat of its completion.
    update public.tasks
       set output_location = changes ->> 'output_location', updated_at = now(),
           result_data = case when output_location ~* '^https?://[^[:space:]]+$' and not result_data ? 'public_url'
                              then result_data || jsonb_build_object('public_url', output_location)
                              else result_data end
     where id = task.id;
  elsif task.status = 'In Progress' and new_status = 'In Progress' then
    perform public.report_progress(task, for_attempt is not null, changes);
    if task.is_orchestrator and changes ?| array['output_location', 'progress_message'] then
      -- Its parts may have been done before it said that it had created them.
      perform public.close_orchestrator(task.id);
    end if;
  elsif task.status = 'In Progress' and new_status = 'Complete' then
    if output_path is not null then
      perform public.require_output(task, output_path, public.output_media(task.task_type), checked_files);
    end if;
    perform public.deliver_files(task, array[output_path]);
    perform public.deliver_named_files(task.id, changes ->> 'output_location');
    -- What an earlier report of progress wrote there is no output, and no reason for a charge.
    perform public.finish_task(task, nullif(changes ->> 'output_location', ''), task.thumbnail_url, null, null);
    if task.result_key is not null then
      perform public.release_followers(task.project_id, task.result_key, task.user_id);
    end if;
  elsif task.status = 'In Progress' and new_status = 'Queued' then
    if (changes ->> 'given_back')::boolean then
      perform public.give_task_back(task, changes ->> 'error_details');
    else
      perform public.requeue_task(task, changes ->> 'error_details');
    end if;
  elsif task.status = 'Failed' and new_status = 'Queued' then
    perform public.retry_task(task);
  elsif task.status in ('Queued', 'In Progress') and new_status in ('Failed', 'Cancelled') then
    if changes ? 'output_location' then
      update public.tasks set output_location = changes ->> 'output_location' where id = task.id;
    end if;
    perform public.end_task(
      task.id, new_status, coalesce(changes ->> 'error_details', changes ->> 'output_location'), by_owner => is_owners);
  elsif task.status = 'Cancelled' and caller_kind <> 'user' then
    perform public.refuse('task_cancelled', 409,
      public.status_details(task) || jsonb_build_object('requested_status', new_status));
  else
    perform public.refuse('invalid_transition', 409,
      public.status_details(task) || jsonb_build_object('requested_status', new_status));
  end if;
  select jsonb_build_object(
            'success', true, 'task_id', changed.id, 'status', changed.status,
            'previous_status', task.status, 'attempt', changed.attempt, 'attempts', changed.attempts,
            'lease_expires_at', changed.lease_expires_at,
            'cancellation', changed.result_data -> 'cancellation',
            'message', format('Task status updated to ''%s''', changed.status))
    into answer from public.tasks as changed where changed.id = task.id;
  if report is not null and task.status = 'In Progress' then
    insert into public.run_reports (task_id, attempt, request_hash, answer) values (task.id, task.attempt, report, answer);
  end if;
  return answer;
end
$$;
revoke all on function public.update_task_status from public, anon, authenticated;
grant execute on function public.update_task_status to service_role;

-- supabase/schemas/tasks/functions/with_article.sql
-- A noun of a message: "a video", "an image".
create or replace function public.with_article(noun text)
returns text
language sql immutable set search_path = '' as $$
  select case when noun ~ '^[aeiou]' then 'an ' else 'a ' end || noun
$$;
revoke all on function public.with_article from public, anon, authenticated;

-- supabase/schemas/tasks/functions/with_reused_output.sql
-- Makes the generation or variant of a task that ends with the output of an earlier run; answers its row with what is known then.
create or replace function public.with_reused_output(task public.tasks)
returns public.tasks
language plpgsql set search_path = '' as $$
declare
  made constant public.made_output := public.create_output(
    public.with_warnings(task), coalesce(task.result_data ->> 'public_url', task.output_location), task.thumbnail_url);
begin
  task.generation_created := made.generation_id is not null;
  task.result_data := jsonb_strip_nulls(jsonb_build_object(
    'generation_id', made.generation_id, 'variant_id', made.variant_id, 'public_url', task.result_data -> 'public_url',
    'warnings', nullif(made.warnings, '[]')));
  return task;
end
$$;
revoke all on function public.with_reused_output from public, anon, authenticated;

-- supabase/schemas/tasks/functions/with_warnings.sql
-- The task with the warnings of its output among its params, for what is made of the output.
create or replace function public.with_warnings(task public.tasks)
returns public.tasks
language plpgsql immutable set search_path = '' as $$
begin
  if task.warnings <> '{}' then
    task.params := task.params || jsonb_build_object('warnings', to_jsonb(task.warnings::text[]));
  end if;
  return task;
end
$$;
revoke all on function public.with_warnings from public, anon, authenticated;

-- supabase/schemas/workers/functions/begin_provider_run.sql
-- Begins a call of the function that runs a provider's tasks. Answers the worker's name under which it claims; null when as many
-- calls run as may. Guarantee: two calls that run at the same time have different names. A name whose call was killed is given
-- again after two minutes without a heartbeat, when its leases have ended.
create or replace function public.begin_provider_run(for_provider text, task_types text[], most_runners integer)
returns text
language plpgsql security definer set search_path = '' as $$
declare
  given_name text;
begin
  insert into public.provider_runners as runner (provider, task_types, most_runners, next_call_at)
  values (for_provider, begin_provider_run.task_types, begin_provider_run.most_runners, now() + interval '10 seconds')
  on conflict (provider) do update
    set task_types = excluded.task_types, most_runners = excluded.most_runners, next_call_at = excluded.next_call_at;
  for place in 1..begin_provider_run.most_runners loop
    insert into public.workers as worker (id, status, own_status, heartbeats, last_heartbeat, provider)
    values (format('%s-function-%s', for_provider, place), 'active', 'active', true, now(), for_provider)
    on conflict (id) do update
      set status = 'active', own_status = 'active', heartbeats = true, last_heartbeat = now(), provider = excluded.provider
      where worker.status not in ('active', 'terminating') or worker.last_heartbeat < now() - interval '2 minutes'
    returning worker.id into given_name;
    if found then
      return given_name;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function public.begin_provider_run from public, anon, authenticated;
grant execute on function public.begin_provider_run to service_role;

-- supabase/schemas/workers/functions/extend_worker_leases.sql
-- Keeps a worker's running tasks with it, in one statement: those it names (`[{task_id, attempt?}]`), and no
-- others, for it may have lost the answer of a claim; or, when it names none at all (null), all of them.
-- A machine that lives is no proof of a run: without being named, a task is kept no longer than such a task may
-- run. An orchestrator is; it waits for others.
-- Rows that somebody has locked are skipped: whoever reports on a task extends its lease as well.
create or replace function public.extend_worker_leases(for_worker text, for_owner uuid, named jsonb)
returns void
language sql set search_path = '' as $$
  with kept as (
    select task.id from public.tasks as task
     where task.status = 'In Progress' and task.worker_id = for_worker
       and task.claimed_by_owner = (for_owner is not null) and (for_owner is null or task.user_id = for_owner)
       and case when named is null
         then task.is_orchestrator or now() < task.generation_started_at + (
           select make_interval(secs => max_runtime_seconds) from public.task_types where name = task.task_type)
         else exists (select from jsonb_to_recordset(named) as run (task_id uuid, attempt integer)
                       where run.task_id = task.id and (run.attempt is null or run.attempt = task.attempt)) end
     order by task.id for no key update skip locked
  )
  update public.tasks as task
     set lease_expires_at = now() + (select heartbeat_lease from public.queue_settings)
    from kept where task.id = kept.id and task.status = 'In Progress';

  -- What the cloud runs is covered for as long again.
  select public.grow_hold(task.id) from public.tasks as task
   where for_owner is null and task.status = 'In Progress' and task.worker_id = for_worker
     and task.covered_until < now() + public.hold_check_ahead()
   order by task.id limit 64
$$;
revoke all on function public.extend_worker_leases from public, anon, authenticated;

-- supabase/schemas/workers/functions/forget_old_logs.sql
-- Forgets log lines after their time. Lines are received in the order of their ids, so it reads those that go and
-- one more. Answers how many.
create or replace function public.forget_old_logs()
returns bigint
language sql security definer set search_path = '' as $$
  with kept as (
    select id from public.system_logs
     where received_at >= now() - (select log_retention from public.queue_settings) order by id limit 1
  ), forgotten as (
    delete from public.system_logs
     where id in (select id from public.system_logs
                   where id < coalesce((select id from kept), 9223372036854775807)
                     for update skip locked)
    returning 1
  )
  select count(*) from forgotten
$$;
revoke all on function public.forget_old_logs from public, anon, authenticated;
grant execute on function public.forget_old_logs to service_role;

-- supabase/schemas/workers/functions/func_insert_logs_batch.sql
-- Lines of log as autoscalers and API workers send them, over REST; `errors` counts those that were dropped.
create or replace function public.func_insert_logs_batch(logs json)
returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('success', true, 'inserted', written.inserted, 'errors', written.dropped)
    from public.write_logs(logs::text, 1000, null, null) as written
$$;
revoke all on function public.func_insert_logs_batch from public, anon, authenticated;
grant execute on function public.func_insert_logs_batch to service_role;

-- supabase/schemas/workers/functions/func_update_worker_heartbeat.sql
-- A heartbeat without logs, under the name that autoscalers know.
create or replace function public.func_update_worker_heartbeat(
  worker_id_param text, vram_total_mb_param numeric default null, vram_used_mb_param numeric default null
) returns jsonb
language sql security definer set search_path = '' as $$
  select public.func_worker_heartbeat_with_logs(worker_id_param, vram_total_mb_param, vram_used_mb_param)
$$;
revoke all on function public.func_update_worker_heartbeat from public, anon, authenticated;
grant execute on function public.func_update_worker_heartbeat to service_role;

-- supabase/schemas/workers/functions/func_worker_heartbeat_with_logs.sql
-- The heartbeat as the shipped GPU worker sends it, over REST; its first one comes before its first claim. What it
-- cannot have meant is left out, for a heartbeat that fails costs the worker its tasks.
create or replace function public.func_worker_heartbeat_with_logs(
  worker_id_param text, vram_total_mb_param numeric default null, vram_used_mb_param numeric default null,
  logs_param json default null, status_param text default 'active'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker constant text := trim(coalesce(worker_id_param, ''));
  said constant text := lower(trim(coalesce(status_param, '')));
begin
  if length(worker) not between 1 and 200 then
    perform public.refuse('invalid_request', 400, jsonb_build_object('field', 'worker_id_param'));
  end if;
  return public.worker_heartbeat(null, worker, jsonb_build_object(
    'status', case when said in ('inactive', 'spawning', 'active', 'error', 'crashed', 'terminating', 'terminated')
                   then said else 'active' end,
    'vram_total_mb', case when vram_total_mb_param between 0 and 1e9 then round(vram_total_mb_param) end,
    'vram_used_mb', case when vram_used_mb_param between 0 and 1e9 then round(vram_used_mb_param) end),
    logs_param::text);
end
$$;
revoke all on function public.func_worker_heartbeat_with_logs from public, anon, authenticated;
grant execute on function public.func_worker_heartbeat_with_logs to service_role;

-- supabase/schemas/workers/functions/get_worker_model.sql
-- The model that a worker has loaded, as its claims see it; null when it is not known.
create or replace function public.get_worker_model(for_user uuid, for_worker text)
returns text
language sql stable security definer set search_path = '' as $$
  select current_model from public.workers
   where id = public.worker_row_id(for_worker, for_user) and status in ('active', 'inactive')
$$;
revoke all on function public.get_worker_model from public, anon, authenticated;
grant execute on function public.get_worker_model to service_role;

-- supabase/schemas/workers/functions/is_run_of_worker.sql
-- Whether a task is in progress with this worker: an owner's (`for_owner`), or the cloud's.
create or replace function public.is_run_of_worker(task public.tasks, for_worker text, for_owner uuid)
returns boolean
language sql immutable set search_path = '' as $$
  select task.status = 'In Progress' and task.worker_id = for_worker
     and task.claimed_by_owner = (for_owner is not null) and (for_owner is null or task.user_id = for_owner)
$$;
revoke all on function public.is_run_of_worker from public, anon, authenticated;

-- supabase/schemas/workers/functions/mark_silent_workers.sql
-- Workers that have stopped to send heartbeats are inactive, and so are those that never sent any, have stopped to claim and run
-- nothing; their tasks are the business of leases. Answers how many.
-- Only those that nobody manages: an autoscaler looks among active workers for machines that fell silent, to
-- end them, and would forget to pay attention to one that is called inactive.
-- Safe to run anywhere at once: a row that another has locked is skipped.
create or replace function public.mark_silent_workers()
returns integer
language sql security definer set search_path = '' as $$
  with silent as (
    select id from public.workers
     where status in ('active', 'spawning') and instance_type = 'external'
       and case when heartbeats then last_heartbeat
                when not exists (select from public.tasks
                                  where status = 'In Progress'
                                    and worker_id in (workers.id, substr(workers.id, length(workers.user_id::text) + 2)))
                then last_claim_at end
           < now() - (select silent_worker_after from public.queue_settings)
     order by id for no key update skip locked
  ), marked as (
    update public.workers as worker set status = 'inactive'
      from silent where worker.id = silent.id
    returning 1
  )
  select count(*)::integer from marked
$$;
revoke all on function public.mark_silent_workers from public, anon, authenticated;
grant execute on function public.mark_silent_workers to service_role;

-- supabase/schemas/workers/functions/note_claim.sql
-- Notes that a worker claims, and for what: see own_worker_types(). Written when that changed, else every ten seconds. A row that
-- another call has locked is left to the next claim.
create or replace function public.note_claim(
  worker public.workers, for_provider text, for_run_type text, only_task_types text[]
) returns void
language plpgsql set search_path = '' as $$
begin
  if worker.last_claim_at >= now() - interval '10 seconds'
     and (worker.provider, worker.claimed_run_type, worker.claimed_task_types)
         is not distinct from (for_provider, for_run_type::public.run_type, only_task_types) then
    return;
  end if;
  update public.workers as known
     set last_claim_at = now(), provider = for_provider, claimed_run_type = for_run_type, claimed_task_types = only_task_types
   where id = (select id from public.workers where id = worker.id for no key update skip locked);
  if found and worker.status = 'inactive' then
    -- One that sends no heartbeats and that no autoscaler manages became inactive by silence: see mark_silent_workers().
    update public.workers set status = 'active'
     where id = worker.id and status = 'inactive' and not heartbeats and instance_type = 'external';
  end if;
end
$$;
revoke all on function public.note_claim from public, anon, authenticated;

-- supabase/schemas/workers/functions/note_provider_runner.sql
-- Notes what the function that runs a provider's tasks can run now (nothing: it has no key), and keeps pg_cron from calling it for
-- a while.
create or replace function public.note_provider_runner(
  for_provider text, task_types text[], pause_seconds integer default 600
) returns void
language sql security definer set search_path = '' as $$
  insert into public.provider_runners (provider, task_types, next_call_at)
  values (for_provider, note_provider_runner.task_types, now() + make_interval(secs => pause_seconds))
  on conflict (provider) do update set task_types = excluded.task_types, next_call_at = excluded.next_call_at
$$;
revoke all on function public.note_provider_runner from public, anon, authenticated;
grant execute on function public.note_provider_runner to service_role;

-- supabase/schemas/workers/functions/operator_decided.sql
-- Whether a worker's status is an operator's word (an autoscaler's, over REST) that heartbeats must not change.
create or replace function public.operator_decided(worker public.workers)
returns boolean
language sql immutable set search_path = '' as $$
  select worker.status in ('error', 'terminating', 'terminated')
     and worker.status is distinct from worker.own_status
     -- The shipped worker reports its own fatal error like an operator would.
     and not (worker.status = 'error' and worker.metadata @> '{"self_terminated": true}')
$$;
revoke all on function public.operator_decided from public, anon, authenticated;

-- supabase/schemas/workers/functions/readable_log_lines.sql
-- Lines of log, a JSON array as text, as PostgreSQL can hold them: NUL characters are left out, a line with
-- anything else that it cannot hold is null. Null when it is no array at all.
create or replace function public.readable_log_lines(lines text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  -- The one character that is common in what programs print.
  without_nul constant text := regexp_replace(lines, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g');
  line json;
  entries jsonb := '[]';
begin
  begin
    entries := without_nul::jsonb;
    return case when jsonb_typeof(entries) = 'array' then entries end;
  exception when data_exception or program_limit_exceeded then
    entries := '[]';
  end;
  for line in select * from json_array_elements(without_nul::json) limit 1000 loop
    begin
      entries := entries || jsonb_build_array(line::jsonb);
    exception when data_exception or program_limit_exceeded then
      entries := entries || '[null]';
    end;
  end loop;
  return entries;
exception when data_exception or program_limit_exceeded then
  return null;
end
$$;
revoke all on function public.readable_log_lines from public, anon, authenticated;

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
    insert into public.workers (id, user_id, provider)
    values (row_id, for_owner, case when public.is_sandbox_worker(for_worker) then 'sandbox' end) on conflict (id) do nothing;
    select * into worker from public.workers where id = row_id;
  end if;
  return worker;
end
$$;
revoke all on function public.register_worker from public, anon, authenticated;

-- supabase/schemas/workers/functions/rescue_tasks_of_ended_worker.sql
-- A worker that has ended has no running tasks, whoever said that it has: itself, or an autoscaler over REST.
create or replace function public.rescue_tasks_of_ended_worker()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.rescue_worker_tasks(
    case when new.user_id is null then new.id else substr(new.id, length(new.user_id || ':') + 1) end,
    new.user_id, 'worker_' || new.status);
  return null;
end
$$;
revoke all on function public.rescue_tasks_of_ended_worker from public, anon, authenticated;

-- supabase/schemas/workers/functions/rescue_worker_tasks.sql
-- Gives the running tasks of a worker that has ended back to the queue, or fails them after the last attempt.
-- Answers how many. Whatever somebody has locked is left to them: it is being ended, reported on or rescued just
-- now. A user whose tenant's lock is held is passed over, so that the worker's report waits for no user. What it leaves behind is rescued when the lease expires.
create or replace function public.rescue_worker_tasks(for_worker text, for_owner uuid, reason text)
returns integer
language plpgsql set search_path = '' as $$
declare
  candidate record;
  task public.tasks;
  rescued integer := 0;
begin
  for candidate in
    select running.id, running.user_id from public.tasks as running
     where running.status = 'In Progress' and running.worker_id = for_worker
       and public.is_run_of_worker(running, for_worker, for_owner)
     order by running.id
  loop
    perform from public.task_tenants where user_id = candidate.user_id for no key update skip locked;
    continue when not found;
    begin
      -- Asked again under the lock: an earlier rescue of this loop may have ended it with its orchestration.
      select * into task from public.tasks as running
       where running.id = candidate.id and public.is_run_of_worker(running, for_worker, for_owner)
         for no key update skip locked;
      if found then
        perform public.rescue_task(task, reason);
        rescued := rescued + 1;
      end if;
    exception when deadlock_detected then
      -- Two ends of one orchestration met; the other goes on, and the lease sees to this task.
      continue;
    end;
  end loop;
  return rescued;
end
$$;
revoke all on function public.rescue_worker_tasks from public, anon, authenticated;

-- supabase/schemas/workers/functions/runs_of_worker.sql
-- What became of the runs that a worker names, in its order: `running` with it · `cancelled` · `ended` (complete
-- or failed) · `stale`, given back to the queue or to another · `unknown`, which is another user's task as well as
-- none. When it names none at all (null): what runs with it.
create or replace function public.runs_of_worker(for_worker text, for_owner uuid, named jsonb)
returns jsonb
language sql stable set search_path = '' as $$
  with run as (
    select (entry.run ->> 'task_id')::uuid as task_id, (entry.run ->> 'attempt')::integer as attempt, entry.position
      from jsonb_array_elements(named) with ordinality as entry (run, position)
    union all
    select running.id, null, row_number() over (order by running.generation_started_at, running.id)
      from (select * from public.tasks as task
             where named is null and task.status = 'In Progress' and task.worker_id = for_worker
               and public.is_run_of_worker(task, for_worker, for_owner)
             order by task.generation_started_at, task.id limit 50) as running
  ), found as (
    select run.task_id, run.position, task.attempt, task.lease_expires_at,
           case
             when task.id is null then 'unknown'
             when task.status = 'Cancelled' then 'cancelled'
             when run.attempt is not null and run.attempt <> task.attempt then 'stale'
             when public.is_run_of_worker(task, for_worker, for_owner) then 'running'
             when task.status in ('Complete', 'Failed') then 'ended'
             else 'stale' end as state
      from run
      left join public.tasks as task
        on task.id = run.task_id and (for_owner is null or task.user_id = for_owner)
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'task_id', task_id, 'state', state, 'attempt', attempt,
           'lease_expires_at', case when state = 'running' then lease_expires_at end) order by position), '[]')
    from found
$$;
revoke all on function public.runs_of_worker from public, anon, authenticated;

-- supabase/schemas/workers/functions/status_after_heartbeat.sql
-- A worker's status once it has said one of itself. Its own word counts, and it may take that back: a worker that
-- crashed or was shut down comes back with its first heartbeat. What an operator said stays, whatever late
-- heartbeats say; only the end of a worker that is terminating is believed.
create or replace function public.status_after_heartbeat(worker public.workers, said text)
returns text
language sql immutable set search_path = '' as $$
  select case
    when not public.operator_decided(worker) then said
    when worker.status = 'terminating' and said in ('crashed', 'terminated') then 'terminated'
    else worker.status
  end
$$;
revoke all on function public.status_after_heartbeat from public, anon, authenticated;

-- supabase/schemas/workers/functions/timestamp_or_null.sql
-- A time as a log line writes it; null when it is none.
create or replace function public.timestamp_or_null(given_text text)
returns timestamptz
language plpgsql stable set search_path = '' set timezone = 'UTC' as $$
begin
  return case when given_text ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d' then left(given_text, 40)::timestamptz end;
exception when datetime_field_overflow or invalid_datetime_format or invalid_text_representation
            or invalid_parameter_value or invalid_time_zone_displacement_value then
  return null;
end
$$;
revoke all on function public.timestamp_or_null from public, anon, authenticated;

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
        status = public.status_after_heartbeat(known, 'active'),
        own_status = case when public.operator_decided(known) then known.own_status else 'active' end
  returning * into worker;
  return jsonb_build_object(
    'success', true, 'worker_id', worker.id, 'current_model', worker.current_model,
    'last_heartbeat', worker.last_heartbeat, 'action', case when existed then 'updated' else 'inserted' end,
    'message', coalesce(format('Worker model updated to ''%s''', worker.current_model), 'Worker model cleared'));
end
$$;
revoke all on function public.update_worker_model from public, anon, authenticated;
grant execute on function public.update_worker_model to service_role;

-- supabase/schemas/workers/functions/worker_heartbeat.sql
-- A worker's sign of life, and all it has to tell: status, loaded model, video memory, logs. Registers an unknown
-- worker, notes that its silence will mean something, and keeps its running tasks with it, or gives them back when
-- it says that it has ended. `report` holds the optional fields of the request as they came, `log_lines` its logs.
-- `for_user` is the owner of a worker that came with a token.
create or replace function public.worker_heartbeat(
  for_user uuid, for_worker text, report jsonb default '{}', log_lines text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  worker public.workers := public.register_worker(for_worker, for_user);
  said constant text := coalesce(report ->> 'status', 'active');
  logs record;
begin
  -- The worker's row before its tasks, here and in the trigger that the new status may set off.
  update public.workers as known
     set status = public.status_after_heartbeat(known, said),
         own_status = case when public.operator_decided(known) then known.own_status else said end,
         heartbeats = true, last_heartbeat = now(), provider = coalesce(report ->> 'provider', known.provider),
         current_model = case when report ? 'current_model' then nullif(report ->> 'current_model', '')
                              else known.current_model end,
         metadata = (case when said = 'active' then known.metadata - 'self_terminated' else known.metadata end)
           || jsonb_strip_nulls(jsonb_build_object(
                'vram_total_mb', report -> 'vram_total_mb', 'vram_used_mb', report -> 'vram_used_mb'))
           -- In a place of its own: beside it stand the notes of autoscalers.
           || case when report ? 'metadata' then jsonb_build_object('reported', report -> 'metadata') else '{}' end
   where id = worker.id
  returning * into worker;
  if for_user is null and worker.provider = 'fal' and said = 'active' then
    perform public.note_fal();
  end if;
  if said in ('crashed', 'terminated', 'error') then
    -- Also where an operator's status stayed, so that no trigger fired for this one.
    perform public.rescue_worker_tasks(for_worker, for_user, 'worker_' || said);
  else
    perform public.extend_worker_leases(for_worker, for_user, report -> 'tasks');
  end if;
  select * into logs from public.write_logs(log_lines, 100, public.worker_row_id(for_worker, for_user), for_user);
  return jsonb_build_object(
    'success', true, 'worker_id', for_worker, 'status', coalesce(worker.status, said),
    'current_model', worker.current_model, 'last_heartbeat', coalesce(worker.last_heartbeat, now()),
    'lease_seconds', (select extract(epoch from heartbeat_lease) from public.queue_settings),
    'tasks', public.runs_of_worker(for_worker, for_user, report -> 'tasks'),
    'logs_inserted', logs.inserted, 'logs_dropped', logs.dropped);
end
$$;
revoke all on function public.worker_heartbeat from public, anon, authenticated;
grant execute on function public.worker_heartbeat to service_role;

-- supabase/schemas/workers/functions/worker_row_id.sql
-- The id of a worker's row: as it calls itself in the cloud, behind its owner's id elsewhere.
create or replace function public.worker_row_id(for_worker text, for_owner uuid)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(for_owner || ':', '') || for_worker;
end
$$;
revoke all on function public.worker_row_id from public, anon, authenticated;

-- supabase/schemas/workers/functions/write_logs.sql
-- Writes lines of log, `[{timestamp, level, message, …}]` as text, and never fails for what they hold: odd values
-- are brought into shape, long ones cut, what is no line or beyond `at_most` is dropped and counted.
-- With `of_worker` all of them are that worker's; without, they say themselves whose they are.
-- A worker of somebody's own (`of_owner`) writes about 2,000 lines an hour with all its owner's others, and names
-- its owner's tasks only.
create or replace function public.write_logs(
  lines text, at_most integer, of_worker text, of_owner uuid, out inserted integer, out dropped integer
)
language plpgsql set search_path = '' as $$
declare
  entries constant jsonb := public.readable_log_lines(lines);
begin
  inserted := 0;
  dropped := 0;
  if lines is null or lines in ('null', '[]') then
    return;
  end if;
  if entries is null then
    dropped := 1;
    return;
  end if;
  if of_owner is not null then
    at_most := least(at_most, 2000 - (
      select count(*) from (select from public.system_logs
                             where user_id = of_owner and received_at > now() - interval '1 hour'
                             limit 2000) as recent));
  end if;

  insert into public.system_logs (
    timestamp, source_type, source_id, log_level, message, task_id, worker_id, user_id, cycle_number, metadata)
  select case when said.at between now() - interval '30 days' and now() + interval '1 hour' then said.at else now() end,
         case when of_worker is not null then 'worker'
              else left(coalesce(nullif(entry.line ->> 'source_type', ''), 'unknown'), 50) end,
         coalesce(of_worker, left(entry.line ->> 'source_id', 240)),
         case
           when said.level in ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL') then said.level
           when said.level in ('TRACE', 'VERBOSE') then 'DEBUG'
           when said.level = 'WARN' then 'WARNING'
           when said.level in ('FATAL', 'EXCEPTION') then 'CRITICAL'
           else 'INFO' end,
         left(entry.line ->> 'message', 4000),
         case when of_owner is null or exists (
           select from public.tasks where id = said.task_id and user_id = of_owner) then said.task_id end,
         coalesce(of_worker, left(entry.line ->> 'worker_id', 240)),
         of_owner,
         case when jsonb_typeof(entry.line -> 'cycle_number') = 'number'
               and (entry.line ->> 'cycle_number')::numeric between 0 and 2147483647
           then trunc((entry.line ->> 'cycle_number')::numeric)::integer end,
         case
           when jsonb_typeof(entry.line -> 'metadata') is distinct from 'object' then '{}'
           when octet_length((entry.line -> 'metadata')::text) > 8192 then '{"truncated": true}'
           else entry.line -> 'metadata' end
    from jsonb_array_elements(entries) with ordinality as entry (line, position),
         lateral (select
           public.timestamp_or_null(entry.line ->> 'timestamp') as at,
           upper(left(coalesce(entry.line ->> 'level', entry.line ->> 'log_level', ''), 20)) as level,
           case when entry.line ->> 'task_id' ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
             then (entry.line ->> 'task_id')::uuid end as task_id) as said
   where entry.position <= at_most and jsonb_typeof(entry.line) = 'object'
     and coalesce(entry.line ->> 'message', '') <> ''
   order by entry.position;
  get diagnostics inserted = row_count;
  dropped := jsonb_array_length(entries) - inserted;
end
$$;
revoke all on function public.write_logs from public, anon, authenticated;

-- supabase/schemas/generations/functions/add_generation_to_shot.sql
-- Puts a generation into a shot: at the end of the timeline (see next_frame), or without a place. Each call adds one
-- more place. For browsers, under the caller's policies.
create or replace function public.add_generation_to_shot(
  p_shot_id uuid, p_generation_id uuid, p_with_position boolean default true
) returns public.shot_generations
language plpgsql set search_path = '' as $$
declare
  added public.shot_generations;
begin
  -- Two at once take two places.
  perform public.shot_to_change(p_shot_id);
  if not exists (select from public.generations where id = p_generation_id) then
    perform public.refuse('generation_not_found', 404);
  end if;
  insert into public.shot_generations (shot_id, generation_id, timeline_frame, metadata)
  values (p_shot_id, p_generation_id, case when p_with_position then public.next_frame(p_shot_id) end,
          case when p_with_position then '{"auto_positioned": true}'::jsonb else '{}' end)
  returning * into added;
  return added;
end
$$;
revoke all on function public.add_generation_to_shot from public, anon, authenticated;
grant execute on function public.add_generation_to_shot to authenticated, service_role;

-- supabase/schemas/generations/functions/add_more_outputs.sql
-- What a task made beside its first output: further variants of the same generation, none of them shown by itself. Answers
-- [{output_location, variant_id}]; where the first made no generation, the files alone.
-- `outputs`: [{location, facts}] in their order.
create or replace function public.add_more_outputs(task public.tasks, made public.made_output, outputs jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  variant public.generation_variants;
  output record;
  variant_id uuid;
  added jsonb := '[]';
begin
  select * into variant from public.generation_variants where id = made.variant_id;
  for output in
    select value as file, ordinality as index from jsonb_array_elements(outputs) with ordinality
  loop
    variant_id := null;
    if variant.id is not null then
      insert into public.generation_variants
        (generation_id, project_id, source_task_id, output_index, location, params, variant_type)
      values (variant.generation_id, variant.project_id, task.id, output.index, output.file ->> 'location',
              variant.params || coalesce(output.file -> 'facts', '{}'),
              variant.variant_type)
      returning id into variant_id;
    end if;
    added := added || jsonb_build_object('output_location', output.file -> 'location', 'variant_id', variant_id);
  end loop;
  return added;
end
$$;
revoke all on function public.add_more_outputs from public, anon, authenticated;

-- supabase/schemas/generations/functions/add_variant.sql
-- One more file of a generation. A task adds one: asked again, it is the same, and shown if either call wants that.
create or replace function public.add_variant(
  to_generation uuid, task public.tasks, output_location text, output_thumbnail text, variant_params jsonb,
  new_variant_type text, primary_variant boolean, seen boolean default false
) returns uuid
language plpgsql set search_path = '' as $$
declare
  variant_id uuid;
begin
  insert into public.generation_variants as variant
    (generation_id, project_id, source_task_id, location, thumbnail_url, params, variant_type, is_primary, viewed_at)
  values (to_generation, task.project_id, task.id, output_location, output_thumbnail, variant_params, new_variant_type,
          primary_variant, case when seen then now() end)
  on conflict (generation_id, source_task_id, output_index) do update set is_primary = variant.is_primary or excluded.is_primary
  returning id into variant_id;
  return variant_id;
end
$$;
revoke all on function public.add_variant from public, anon, authenticated;

-- supabase/schemas/generations/functions/based_on_of_params.sql
-- The generation that an output is a version of, as params name it.
create or replace function public.based_on_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(
    params ->> 'based_on',
    params -> 'originalParams' -> 'orchestrator_details' ->> 'based_on',
    params -> 'orchestrator_details' ->> 'based_on',
    params -> 'full_orchestrator_payload' ->> 'based_on',
    params -> 'originalParams' ->> 'based_on');
end
$$;
revoke all on function public.based_on_of_params from public, anon, authenticated;

-- supabase/schemas/generations/functions/batch_update_timeline_frames.sql
-- Moves images of shots: [{shot_generation_id, timeline_frame (null: off the timeline), metadata?}], at most 1,000, all
-- or none; metadata is added to what is there. Answers what moved. For browsers, under the caller's policies.
create or replace function public.batch_update_timeline_frames(p_updates jsonb)
returns table (shot_generation_id uuid, timeline_frame integer)
language plpgsql set search_path = '' as $$
declare
  wanted integer;
  moved integer;
begin
  if jsonb_typeof(p_updates) is distinct from 'array' or jsonb_array_length(p_updates) > 1000 then
    perform public.refuse('invalid_request', 400, '{"field": "p_updates"}');
  end if;
  select count(distinct item ->> 'shot_generation_id') into wanted from jsonb_array_elements(p_updates) as item;
  -- Shots in order, so that two who move images of the same ones do not wait for each other in a circle.
  perform from public.shots as shot
    where shot.id in (select place.shot_id from public.shot_generations as place
                       where place.id in (select public.uuid_or_null(item ->> 'shot_generation_id')
                                            from jsonb_array_elements(p_updates) as item))
    order by shot.id for no key update;
  return query
    update public.shot_generations as place
       set timeline_frame = change.frame, metadata = place.metadata || change.metadata
      from (select distinct on (item ->> 'shot_generation_id')
                   public.uuid_or_null(item ->> 'shot_generation_id') as id,
                   (item ->> 'timeline_frame')::integer as frame,
                   case when jsonb_typeof(item -> 'metadata') = 'object' then item -> 'metadata' else '{}' end as metadata
              from jsonb_array_elements(p_updates) with ordinality as given (item, number)
             order by item ->> 'shot_generation_id', number desc) as change
     where place.id = change.id
    returning place.id, place.timeline_frame;
  get diagnostics moved = row_count;
  if moved <> wanted then
    perform public.refuse('generation_not_found', 404);
  end if;
end
$$;
revoke all on function public.batch_update_timeline_frames from public, anon, authenticated;
grant execute on function public.batch_update_timeline_frames to authenticated, service_role;

-- supabase/schemas/generations/functions/change_primary_variant.sql
-- What is changed of a generation that its primary variant has too is changed there as well.
create or replace function public.change_primary_variant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- A generation without a file has lost its last variant, or waits for its first.
  update public.generation_variants
     set location = coalesce(new.location, location), thumbnail_url = new.thumbnail_url,
         name = case when new.name is distinct from old.name then new.name else name end
   where id = new.primary_variant_id and generation_id = new.id
     and (location, thumbnail_url, name) is distinct from
         (coalesce(new.location, location), new.thumbnail_url,
          case when new.name is distinct from old.name then new.name else name end);
  return null;
end
$$;
revoke all on function public.change_primary_variant from public, anon, authenticated;

-- supabase/schemas/generations/functions/create_output.sql
-- Makes what a finished task's output becomes: a generation, or a variant of one; nothing for utilities and what has
-- no file. See docs/generations.md. Every id in params must be of the task's project; another is left out and
-- named in `warnings`.
create or replace function public.create_output(task public.tasks, output_location text, output_thumbnail text)
returns public.made_output
language plpgsql set search_path = '' as $$
declare
  type_row public.task_types;
  is_child constant boolean := task.orchestrator_task_id is not null;
  base public.generations;
  warnings jsonb := '[]';
  made public.made_output;
begin
  select * into type_row from public.task_types where name = task.task_type;
  if output_location is null or type_row.category = 'utility' then
    return row(null, null, warnings)::public.made_output;
  end if;
  if type_row.category = 'orchestration' then
    return public.make_joined_clip(task, type_row, output_location, output_thumbnail);
  end if;

  if not is_child and public.based_on_of_params(task.params) is not null then
    base := public.find_generation(public.based_on_of_params(task.params), task.project_id);
    if base.id is null then
      warnings := public.unknown_id('based_on');
    elsif task.params -> 'create_as_generation' is distinct from 'true' then
      return public.make_edit(task, type_row, base.id, output_location, output_thumbnail);
    end if;
  end if;
  if type_row.category = 'upscale' then
    return public.make_upscale(task, type_row, output_location, output_thumbnail);
  end if;
  if type_row.category = 'processing' and not is_child and type_row.content_type is distinct from 'image'
     and not (task.task_type = 'travel_stitch' and jsonb_typeof(task.params -> 'clip_urls') = 'array') then
    return row(null, null, warnings)::public.made_output;
  end if;

  made := case
    when task.task_type in ('travel_stitch', 'join_final_stitch') and (is_child or task.params ? 'clip_urls')
      then public.make_stitch(task, type_row, output_location, output_thumbnail)
    when task.task_type = 'individual_travel_segment'
      or task.task_type in ('travel_segment', 'join_clips_segment', 'edit_video_segment') and is_child
      then public.make_segment(task, type_row, output_location, output_thumbnail)
    end;
  if made.generation_id is null then
    warnings := warnings || coalesce(made.warnings, '[]');
    made := public.make_generation(task, type_row, base.id, output_location, output_thumbnail);
  end if;
  made.warnings := warnings || made.warnings;
  return made;
end
$$;
revoke all on function public.create_output from public, anon, authenticated;

-- supabase/schemas/generations/functions/create_shot_with_image.sql
-- A new shot behind the others, with an image at its beginning; both or none. For browsers, under the caller's policies.
create or replace function public.create_shot_with_image(p_project_id uuid, p_shot_name text, p_generation_id uuid)
returns table (shot_id uuid, shot_name text, shot_position integer, shot_generation_id uuid, success boolean)
language plpgsql set search_path = '' as $$
declare
  added public.shots;
begin
  perform public.project_to_arrange(p_project_id);
  insert into public.shots (project_id, name) values (p_project_id, p_shot_name) returning * into added;
  return query
    select added.id, added.name, added.position, (public.add_generation_to_shot(added.id, p_generation_id)).id, true;
end
$$;
revoke all on function public.create_shot_with_image from public, anon, authenticated;
grant execute on function public.create_shot_with_image to authenticated, service_role;

-- supabase/schemas/generations/functions/duplicate_shot.sql
-- A copy of a shot behind it, with its images at their places. The images themselves are not copied. Answers the
-- copy's id. For browsers, under the caller's policies.
create or replace function public.duplicate_shot(original_shot_id uuid, project_id uuid default null)
returns uuid
language plpgsql set search_path = '' as $$
declare
  original public.shots;
  copy uuid;
begin
  select * into original from public.shots as shot
   where shot.id = original_shot_id and shot.project_id = coalesce(duplicate_shot.project_id, shot.project_id);
  if not found then
    perform public.refuse('shot_not_found', 404);
  end if;
  perform public.project_to_arrange(original.project_id);
  original := public.shot_to_change(original_shot_id);
  update public.shots as later set position = later.position + 1
   where later.project_id = original.project_id and later.position > original.position;
  insert into public.shots (project_id, name, position, aspect_ratio, settings)
  values (original.project_id, left(original.name, 293) || ' (copy)', original.position + 1, original.aspect_ratio,
          original.settings)
  returning id into copy;
  insert into public.shot_generations (shot_id, generation_id, timeline_frame, metadata)
  select copy, place.generation_id, place.timeline_frame, place.metadata
    from public.shot_generations as place where place.shot_id = original_shot_id order by place.created_at, place.id;
  return copy;
end
$$;
revoke all on function public.duplicate_shot from public, anon, authenticated;
grant execute on function public.duplicate_shot to authenticated, service_role;

-- supabase/schemas/generations/functions/exchange_timeline_frames.sql
-- Two images of a shot change places. For browsers, under the caller's policies.
create or replace function public.exchange_timeline_frames(
  p_shot_id uuid, p_first_shot_generation_id uuid, p_second_shot_generation_id uuid
) returns void
language plpgsql set search_path = '' as $$
declare
  moved integer;
begin
  perform public.shot_to_change(p_shot_id);
  update public.shot_generations as place set timeline_frame = other.timeline_frame
    from public.shot_generations as other
   where place.shot_id = p_shot_id and other.shot_id = p_shot_id and place.id <> other.id
     and place.id in (p_first_shot_generation_id, p_second_shot_generation_id)
     and other.id in (p_first_shot_generation_id, p_second_shot_generation_id);
  get diagnostics moved = row_count;
  if moved <> 2 then
    perform public.refuse('generation_not_found', 404);
  end if;
end
$$;
revoke all on function public.exchange_timeline_frames from public, anon, authenticated;
grant execute on function public.exchange_timeline_frames to authenticated, service_role;

-- supabase/schemas/generations/functions/find_generation.sql
-- A generation that params name, if it is one of this project; locked against being deleted before this commits.
create or replace function public.find_generation(named text, of_project uuid)
returns public.generations
language plpgsql set search_path = '' as $$
declare
  found_generation public.generations;
begin
  select * into found_generation from public.generations
   where id = public.uuid_or_null(named) and project_id = of_project for key share;
  return found_generation;
end
$$;
revoke all on function public.find_generation from public, anon, authenticated;

-- supabase/schemas/generations/functions/generation_name_of_params.sql
create or replace function public.generation_name_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return left(coalesce(params ->> 'generation_name', params -> 'orchestrator_details' ->> 'generation_name',
                       params -> 'full_orchestrator_payload' ->> 'generation_name'), 300);
end
$$;
revoke all on function public.generation_name_of_params from public, anon, authenticated;

-- supabase/schemas/generations/functions/insert_shot_at_position.sql
-- A new shot at a place (counted from 1; at the end when null), those from there on one further. For browsers, under
-- the caller's policies.
create or replace function public.insert_shot_at_position(p_project_id uuid, p_shot_name text, p_position integer)
returns table (shot_id uuid, shot_name text, shot_position integer, success boolean)
language plpgsql set search_path = '' as $$
begin
  perform public.project_to_arrange(p_project_id);
  update public.shots as later set position = later.position + 1
   where later.project_id = p_project_id and later.position >= p_position;
  return query
    insert into public.shots as added (project_id, name, position)
    values (p_project_id, p_shot_name, case when p_position is not null then greatest(p_position, 1) end)
    returning added.id, added.name, added.position, true;
end
$$;
revoke all on function public.insert_shot_at_position from public, anon, authenticated;
grant execute on function public.insert_shot_at_position to authenticated, service_role;

-- supabase/schemas/generations/functions/integer_or_null.sql
-- A small number out of params; null when the text is none.
create or replace function public.integer_or_null(written text)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  if written ~ '^-?\d{1,9}(\.0+)?$' then
    return split_part(written, '.', 1)::integer;
  end if;
  return null;
end
$$;
revoke all on function public.integer_or_null from public, anon, authenticated;

-- supabase/schemas/generations/functions/keep_generation_in_project.sql
-- A generation stays in its project, and so do those that it names: nobody can hang their rows on another's.
create or replace function public.keep_generation_in_project()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and new.project_id <> old.project_id then
    perform public.refuse('invalid_request', 400, '{"field": "project_id"}');
  end if;
  if new.based_on is not null and not exists (
       select from public.generations where id = new.based_on and project_id = new.project_id) then
    perform public.refuse('invalid_request', 400, '{"field": "based_on"}');
  end if;
  if new.parent_generation_id is not null and not exists (
       select from public.generations
        where id = new.parent_generation_id and id <> new.id and project_id = new.project_id) then
    perform public.refuse('invalid_request', 400, '{"field": "parent_generation_id"}');
  end if;
  if new.pair_shot_generation_id is not null and not exists (
       select from public.shot_generations as pair join public.shots as shot on shot.id = pair.shot_id
        where pair.id = new.pair_shot_generation_id and shot.project_id = new.project_id) then
    perform public.refuse('invalid_request', 400, '{"field": "pair_shot_generation_id"}');
  end if;
  return new;
end
$$;
revoke all on function public.keep_generation_in_project from public, anon, authenticated;

-- supabase/schemas/generations/functions/keep_shot_generation_in_project.sql
-- A shot holds generations of its own project.
create or replace function public.keep_shot_generation_in_project()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (
       select from public.shots as shot join public.generations as generation on generation.project_id = shot.project_id
        where shot.id = new.shot_id and generation.id = new.generation_id) then
    perform public.refuse('invalid_request', 400, '{"field": "generation_id"}');
  end if;
  return new;
end
$$;
revoke all on function public.keep_shot_generation_in_project from public, anon, authenticated;

-- supabase/schemas/generations/functions/keep_variant_with_generation.sql
-- A variant is of its generation's project, and stays with it. People's own images count as seen.
create or replace function public.keep_variant_with_generation()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' then
    if new.generation_id <> old.generation_id or new.project_id <> old.project_id then
      perform public.refuse('invalid_request', 400, '{"field": "generation_id"}');
    end if;
    return new;
  end if;
  -- Null where there is no such generation; the foreign key says so.
  new.project_id := (select project_id from public.generations where id = new.generation_id);
  if new.variant_type = 'original' and new.source_task_id is null and not new.params ? 'source_task_id' then
    new.viewed_at := coalesce(new.viewed_at, now());
  end if;
  return new;
end
$$;
revoke all on function public.keep_variant_with_generation from public, anon, authenticated;

-- supabase/schemas/generations/functions/link_to_shot.sql
-- Puts what a task made into the shot that its params name, once; says in `warnings` when there is no such shot.
create or replace function public.link_to_shot(task public.tasks, made_generation uuid, warnings jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  details constant jsonb := task.params -> 'orchestrator_details';
  original constant jsonb := task.params -> 'originalParams';
  named constant text := public.shot_of_params(task.params);
  shot constant uuid := public.uuid_or_null(named);
  has_place boolean;
begin
  if named is null then
    return warnings;
  end if;
  -- Locked, so that two at once take two places.
  perform from public.shots where id = shot and project_id = task.project_id for no key update;
  if not found then
    return warnings || public.unknown_id('shot_id');
  end if;
  has_place := coalesce(task.params ->> 'add_in_position', original ->> 'add_in_position', details ->> 'add_in_position',
                        original -> 'orchestrator_details' ->> 'add_in_position') in ('true', '1');
  insert into public.shot_generations (shot_id, generation_id, timeline_frame, metadata, source_task_id)
  values (shot, made_generation, case when has_place then public.next_frame(shot) end,
          case when has_place then '{"auto_positioned": true}'::jsonb else '{}' end, task.id)
  on conflict (shot_id, source_task_id) do nothing;
  return warnings;
end
$$;
revoke all on function public.link_to_shot from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_edit.sql
-- A version of an existing generation beside its primary one; a larger version that is asked for as the primary one is shown.
create or replace function public.make_edit(
  task public.tasks, type_row public.task_types, base_id uuid, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  named_source constant text := task.params ->> 'source_variant_id';
  source_variant uuid;
  warnings jsonb := '[]';
begin
  if named_source is not null then
    select id into source_variant from public.generation_variants
     where id = public.uuid_or_null(named_source) and project_id = task.project_id;
    if not found then
      warnings := public.unknown_id('source_variant_id');
    end if;
  end if;
  return row(
    base_id,
    public.add_variant(
      base_id, task, output_location, output_thumbnail,
      public.output_params(task, type_row, task.task_type, jsonb_build_object('source_variant_id', source_variant)),
      coalesce(type_row.variant_type, 'edit'),
      coalesce(type_row.variant_type = 'upscaled' and task.params -> 'is_primary' = 'true', false)),
    warnings)::public.made_output;
end
$$;
revoke all on function public.make_edit from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_generation.sql
-- A generation of its own, with the output as its primary variant, in the shot that params name. Where this task has
-- made a generation before, the output is a new version of that; where one was made for it to fill, its first.
create or replace function public.make_generation(
  task public.tasks, type_row public.task_types, base_id uuid, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  variant_id uuid := gen_random_uuid();
  generation_id uuid;
  new_params constant jsonb := public.output_params(task, type_row, task.task_type);
begin
  insert into public.generations
    (project_id, tasks, source_task_id, type, name, location, thumbnail_url, params, based_on, primary_variant_id)
  values (task.project_id, jsonb_build_array(task.id), task.id, coalesce(type_row.content_type, 'image'),
          public.generation_name_of_params(task.params), output_location, output_thumbnail, new_params,
          coalesce(base_id, public.source_of_image(task.params, task.project_id)), variant_id)
  on conflict (source_task_id) do nothing
  returning id into generation_id;
  if found then
    insert into public.generation_variants
      (id, generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type)
    values (variant_id, generation_id, task.project_id, task.id, output_location, output_thumbnail, new_params, true,
            'original');
  else
    select id into generation_id from public.generations where source_task_id = task.id;
    variant_id := public.add_variant(
      generation_id, task, output_location, output_thumbnail, new_params,
      case when (select location from public.generations where id = generation_id) is null
           then 'original' else 'regenerated' end, true);
  end if;
  return row(generation_id, variant_id, public.link_to_shot(task, generation_id, '[]'))::public.made_output;
end
$$;
revoke all on function public.make_generation from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_joined_clip.sql
-- The clip that a join was for, where no final stitch has made it: what the parent that its params name shows from
-- now on. Nothing for other orchestrations: their children have made it all.
create or replace function public.make_joined_clip(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  parent public.made_output;
begin
  if task.task_type not in ('join_clips_orchestrator', 'edit_video_orchestrator')
     or not exists (select from public.tasks where orchestrator_task_id = task.id and status = 'Complete')
     or exists (select from public.tasks
                 where orchestrator_task_id = task.id and task_type = 'join_final_stitch' and status = 'Complete') then
    return row(null, null, '[]')::public.made_output;
  end if;
  parent := public.parent_generation(task.id, task);
  return row(
    parent.generation_id,
    public.add_variant(
      parent.generation_id, task, output_location, output_thumbnail,
      public.output_params(task, type_row, 'join_clips_complete'), 'clip_join', true),
    parent.warnings)::public.made_output;
end
$$;
revoke all on function public.make_joined_clip from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_placeholder.sql
-- The generation under which a new task's outputs will stand, made with the task: empty, in a shot, nowhere on its timeline.
-- `placeholder` is {id, shot_id, is_of_task}: an orchestrator's is its own, and parent_generation() finds it by that too;
-- that of a part by itself is nobody's, for the part makes a generation of its own.
create or replace function public.make_placeholder(task public.tasks, placeholder jsonb)
returns void
language plpgsql set search_path = '' as $$
declare
  new_id constant uuid := (placeholder ->> 'id')::uuid;
  source_task constant uuid := case when (placeholder -> 'is_of_task')::boolean then task.id end;
begin
  insert into public.generations (id, project_id, tasks, source_task_id, type, name, params)
  select new_id, task.project_id, to_jsonb(array_remove(array[source_task], null)), source_task, 'video',
         public.generation_name_of_params(task.params),
         task.params || jsonb_build_object(
           'tool_type', coalesce(task.params ->> 'tool_type', type_row.tool_type), 'created_from', 'shot_placeholder')
    from public.task_types as type_row where type_row.name = task.task_type;
  insert into public.shot_generations (shot_id, generation_id, source_task_id)
  values ((placeholder ->> 'shot_id')::uuid, new_id, source_task);
end
$$;
revoke all on function public.make_placeholder from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_segment.sql
-- A part of a whole: a new version of the child that params name, or of the child that stands at the same place; else a
-- new child of the parent. The only part of an orchestration is the whole too.
-- Without a parent it makes nothing.
create or replace function public.make_segment(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  details constant jsonb := coalesce(
    task.params -> 'orchestrator_details', task.params -> 'full_orchestrator_payload', '{}');
  is_join constant boolean := task.task_type in ('join_clips_segment', 'edit_video_segment');
  place constant integer := coalesce(
    public.integer_or_null(task.params ->> case when is_join then 'join_index' else 'segment_index' end),
    public.integer_or_null(task.params ->> 'index'), public.integer_or_null(task.params ->> 'sequence_index'));
  is_only_part constant boolean := case
    when is_join then task.params -> 'is_first_join' = 'true' and task.params -> 'is_last_join' = 'true'
    else task.task_type = 'travel_segment' and place = 0
      and '1' = coalesce(details ->> 'num_new_segments_to_generate', task.params ->> 'num_new_segments_to_generate') end;
  named_pair constant text := case when not is_join then public.pair_of_params(task.params, coalesce(place, 0)) end;
  new_params jsonb := public.output_params(
    task, type_row, 'child_generation_original',
    public.segment_params(task.params, coalesce(place, 0)) || jsonb_build_object('tool_type', type_row.tool_type));
  parent public.made_output;
  child public.generations;
  pair uuid;
  warnings jsonb := '[]';
  variant uuid := gen_random_uuid();
begin
  if named_pair is not null then
    select place_in_shot.id into pair
      from public.shot_generations as place_in_shot join public.shots as shot on shot.id = place_in_shot.shot_id
     where place_in_shot.id = public.uuid_or_null(named_pair) and shot.project_id = task.project_id
       for key share of place_in_shot;
    if not found then
      warnings := public.unknown_id('pair_shot_generation_id');
    end if;
  end if;

  if task.params ->> 'child_generation_id' is not null then
    child := public.find_generation(task.params ->> 'child_generation_id', task.project_id);
    if child.id is not null then
      return public.make_segment_version(task, type_row, child, output_location, output_thumbnail, new_params, true, warnings);
    end if;
    warnings := warnings || public.unknown_id('child_generation_id');
  end if;

  if task.orchestrator_task_id is not null then
    parent := public.parent_generation(task.orchestrator_task_id, task);
  else
    parent.generation_id := (public.find_generation(coalesce(
      task.params ->> 'parent_generation_id', details ->> 'parent_generation_id'), task.project_id)).id;
    parent.warnings := case
      when parent.generation_id is null
       and coalesce(task.params ->> 'parent_generation_id', details ->> 'parent_generation_id') is not null
      then public.unknown_id('parent_generation_id') else '[]' end;
  end if;
  warnings := warnings || parent.warnings;
  if parent.generation_id is null then
    return row(null, null, warnings)::public.made_output;
  end if;

  if is_only_part then
    -- Whoever shows something already goes on showing it.
    variant := public.add_variant(
      parent.generation_id, task, output_location, output_thumbnail,
      new_params || jsonb_strip_nulls(jsonb_build_object(
        'created_from', 'single_item_completion', 'is_single_item', true,
        'is_single_join', case when is_join then true end)),
      type_row.variant_type,
      not exists (select from public.generation_variants where generation_id = parent.generation_id and is_primary));
    update public.tasks set generation_created = true where id = task.orchestrator_task_id;
    if is_join then
      return row(parent.generation_id, variant, warnings)::public.made_output;
    end if;
  end if;

  if not is_join then
    -- Under the parent's lock, so that of two for one place the second finds the first.
    perform from public.generations where id = parent.generation_id for no key update;
    select * into child from public.generations as sibling
     where sibling.parent_generation_id = parent.generation_id
       and case when pair is not null then sibling.pair_shot_generation_id = pair else sibling.child_order = place end
     order by sibling.created_at desc, sibling.id limit 1;
    if found then
      return public.make_segment_version(task, type_row, child, output_location, output_thumbnail, new_params, false, warnings);
    end if;
  end if;

  variant := gen_random_uuid();
  if is_only_part then
    new_params := new_params || '{"created_from": "single_segment_child_original"}';
  end if;
  insert into public.generations
    (project_id, tasks, source_task_id, type, name, location, thumbnail_url, params, based_on, parent_generation_id,
     is_child, child_order, pair_shot_generation_id, primary_variant_id)
  values (task.project_id, jsonb_build_array(task.id), task.id, coalesce(type_row.content_type, 'video'),
          public.generation_name_of_params(task.params), output_location, output_thumbnail, new_params,
          coalesce((public.find_generation(public.based_on_of_params(task.params), task.project_id)).id,
                   public.source_of_image(task.params, task.project_id)),
          parent.generation_id, true, place, pair, variant)
  returning * into child;
  insert into public.generation_variants
    (id, generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type, viewed_at)
  values (variant, child.id, task.project_id, task.id, output_location, output_thumbnail, new_params, true, 'original',
          case when is_only_part then now() end);
  return row(child.id, variant, warnings)::public.made_output;
end
$$;
revoke all on function public.make_segment from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_segment_version.sql
-- A new version of an existing part. One that was asked for by the child's id is shown from now on unless
-- `make_primary_variant` says no; one that came to the same place is only if it says yes.
-- When the part is its parent's only one, the parent shows what it shows.
create or replace function public.make_segment_version(
  task public.tasks, type_row public.task_types, child public.generations, output_location text, output_thumbnail text,
  new_params jsonb, is_named boolean, warnings jsonb
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  shows constant boolean := case task.params -> 'make_primary_variant'
    when 'true' then true when 'false' then false else is_named end;
  is_only_child constant boolean := child.parent_generation_id is not null and not exists (
    select from public.generations
     where parent_generation_id = child.parent_generation_id and id <> child.id);
  variant uuid;
begin
  variant := public.add_variant(
    child.id, task, output_location, output_thumbnail,
    new_params || jsonb_build_object(
      'created_from', case when is_named then 'individual_segment_regeneration' else 'segment_variant_at_position' end),
    type_row.variant_type, shows, is_only_child and (shows or not is_named));
  if shows and is_only_child then
    perform public.add_variant(
      child.parent_generation_id, task, output_location, output_thumbnail,
      new_params || '{"created_from": "single_segment_propagation", "propagated_from_child": true}',
      'travel_segment', true);
  end if;
  return row(child.id, variant, warnings)::public.made_output;
end
$$;
revoke all on function public.make_segment_version from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_stitch.sql
-- The whole that an orchestration was for: what its parent shows from now on. A stitch by itself is for the parent that
-- its params name; without one it makes nothing here.
create or replace function public.make_stitch(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  named constant text := task.params ->> 'parent_generation_id';
  parent public.made_output;
begin
  if task.orchestrator_task_id is not null then
    parent := public.parent_generation(task.orchestrator_task_id, task);
  else
    parent.generation_id := (public.find_generation(named, task.project_id)).id;
    if parent.generation_id is null then
      return row(null, null, case when named is null then '[]' else public.unknown_id('parent_generation_id') end)::public.made_output;
    end if;
    parent.warnings := '[]';
  end if;
  return row(
    parent.generation_id,
    public.add_variant(
      parent.generation_id, task, output_location, output_thumbnail,
      public.output_params(task, type_row, task.task_type || '_completion',
                           jsonb_build_object('tool_type', type_row.tool_type)),
      type_row.variant_type, true),
    parent.warnings)::public.made_output;
end
$$;
revoke all on function public.make_stitch from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_upscale.sql
-- The larger version of a generation, which it shows from now on; its params stay those of the source.
create or replace function public.make_upscale(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  named constant text := task.params ->> 'generation_id';
  source public.generations;
begin
  if named is null then
    return row(null, null, '[]')::public.made_output;
  end if;
  source := public.find_generation(named, task.project_id);
  if source.id is null then
    return row(null, null, public.unknown_id('generation_id'))::public.made_output;
  end if;
  return row(
    source.id,
    public.add_variant(
      source.id, task, output_location, coalesce(output_thumbnail, source.thumbnail_url),
      source.params || jsonb_build_object(
        'source_task_id', task.id, 'upscale_task_id', task.id, 'upscaled_from', task.params -> 'image',
        'upscale_model', coalesce(task.params ->> 'model', 'unknown'),
        'tool_type', coalesce(source.params ->> 'tool_type', 'image-generation')),
      coalesce(type_row.variant_type, 'upscaled'), true),
    '[]')::public.made_output;
end
$$;
revoke all on function public.make_upscale from public, anon, authenticated;

-- supabase/schemas/generations/functions/make_variant_primary.sql
-- One variant is primary; the one that was is so no longer. The generation's lock keeps two from becoming it at once.
create or replace function public.make_variant_primary()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    -- Of two inserts of one id the second waits here, and then sees the first.
    perform pg_advisory_xact_lock(hashtextextended(new.id::text, 0));
  end if;
  perform from public.generations where id = new.generation_id for no key update;
  -- Not in vain: with `on conflict`, this row will not be written where there is one of its id, or one that its task has added here.
  if tg_op = 'INSERT' and exists (
       select from public.generation_variants
        where id = new.id or generation_id = new.generation_id and source_task_id = new.source_task_id) then
    return new;
  end if;
  update public.generation_variants set is_primary = false
   where generation_id = new.generation_id and is_primary and id <> new.id;
  return new;
end
$$;
revoke all on function public.make_variant_primary from public, anon, authenticated;

-- supabase/schemas/generations/functions/next_frame.sql
-- Where the next image of a shot goes: at 0, else as far behind the last as its images are apart, 10 to 81 frames.
create or replace function public.next_frame(of_shot uuid)
returns integer
language plpgsql stable set search_path = '' as $$
declare
  frames record;
begin
  select count(*) as images, min(timeline_frame) as first, max(timeline_frame) as last into frames
    from public.shot_generations where shot_id = of_shot and timeline_frame is not null;
  return case
    when frames.images = 0 then 0
    when frames.images = 1 then frames.last + 81
    else frames.last + least(greatest((frames.last - frames.first) / (frames.images - 1), 10), 81) end;
end
$$;
revoke all on function public.next_frame from public, anon, authenticated;
grant execute on function public.next_frame to authenticated, service_role;

-- supabase/schemas/generations/functions/note_update.sql
-- Says when a row was last changed, whoever changes it.
create or replace function public.note_update()
returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
revoke all on function public.note_update from public, anon, authenticated;

-- supabase/schemas/generations/functions/output_params.sql
-- The params of what a task made: the task's own, and where it comes from.
create or replace function public.output_params(task public.tasks, type_row public.task_types, made_by text, more jsonb default '{}')
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return task.params || jsonb_strip_nulls(jsonb_build_object(
    'source_task_id', task.id, 'created_from', made_by, 'content_type', type_row.content_type,
    'tool_type', coalesce(task.params ->> 'tool_type', type_row.tool_type))) || more;
end
$$;
revoke all on function public.output_params from public, anon, authenticated;

-- supabase/schemas/generations/functions/pair_of_params.sql
-- The image of a shot behind which a segment stands, as params name it.
create or replace function public.pair_of_params(params jsonb, segment integer)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(
    params ->> 'pair_shot_generation_id',
    params -> 'individual_segment_params' ->> 'pair_shot_generation_id',
    params -> 'orchestrator_details' -> 'pair_shot_generation_ids' ->> segment,
    params -> 'full_orchestrator_payload' -> 'pair_shot_generation_ids' ->> segment);
end
$$;
revoke all on function public.pair_of_params from public, anon, authenticated;

-- supabase/schemas/generations/functions/parent_generation.sql
-- The generation under which an orchestration's outputs stand: the one that its params name, else one of its own, made
-- when it is first asked for. One an orchestrator, by its unique key: of two children that finish at once, one makes
-- it. An orchestration within another stands under that one's.
create or replace function public.parent_generation(orchestrator_id uuid, child public.tasks)
returns public.made_output
language plpgsql set search_path = '' as $$
declare
  orchestrator public.tasks;
  type_row public.task_types;
  named text;
  parent public.generations;
  warnings jsonb := '[]';
begin
  select * into orchestrator from public.tasks where id = orchestrator_id;
  foreach named in array array[
    orchestrator.params ->> 'parent_generation_id',
    orchestrator.params -> 'orchestrator_details' ->> 'parent_generation_id',
    child.params ->> 'parent_generation_id',
    child.params -> 'full_orchestrator_payload' ->> 'parent_generation_id'
  ] loop
    continue when named is null;
    parent := public.find_generation(named, child.project_id);
    if parent.id is not null then
      return row(parent.id, null, '[]')::public.made_output;
    end if;
    warnings := public.unknown_id('parent_generation_id');
  end loop;
  if orchestrator.orchestrator_task_id is not null then
    return public.parent_generation(orchestrator.orchestrator_task_id, child);
  end if;

  select * into parent from public.generations where source_task_id = orchestrator.id;
  if not found then
    select * into type_row from public.task_types where name = orchestrator.task_type;
    insert into public.generations (project_id, tasks, source_task_id, type, name, params)
    values (orchestrator.project_id, jsonb_build_array(orchestrator.id), orchestrator.id, 'video',
            public.generation_name_of_params(orchestrator.params),
            orchestrator.params || jsonb_build_object(
              'tool_type', coalesce(orchestrator.params ->> 'tool_type', type_row.tool_type)))
    on conflict (source_task_id) do nothing
    returning * into parent;
    if found then
      warnings := public.link_to_shot(orchestrator, parent.id, warnings);
    else
      select * into parent from public.generations where source_task_id = orchestrator.id;
    end if;
  end if;
  return row(parent.id, null, warnings)::public.made_output;
end
$$;
revoke all on function public.parent_generation from public, anon, authenticated;

-- supabase/schemas/generations/functions/place_shot.sql
-- A shot without a position comes last. The project's lock keeps two new ones from the same place.
create or replace function public.place_shot()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.position is null then
    perform from public.projects where id = new.project_id for no key update;
    new.position := (select coalesce(max(position), 0) + 1 from public.shots where project_id = new.project_id);
  end if;
  return new;
end
$$;
revoke all on function public.place_shot from public, anon, authenticated;

-- supabase/schemas/generations/functions/position_existing_generation_in_shot.sql
-- Gives an image that belongs to a shot without a place the next one on its timeline; adds it when it does not belong
-- there yet. For browsers, under the caller's policies.
create or replace function public.position_existing_generation_in_shot(p_shot_id uuid, p_generation_id uuid)
returns public.shot_generations
language plpgsql set search_path = '' as $$
declare
  placed public.shot_generations;
begin
  perform public.shot_to_change(p_shot_id);
  update public.shot_generations
     set timeline_frame = public.next_frame(p_shot_id), metadata = metadata || '{"auto_positioned": true}'
   where id = (select id from public.shot_generations
                where shot_id = p_shot_id and generation_id = p_generation_id and timeline_frame is null
                order by created_at, id limit 1)
  returning * into placed;
  if not found then
    placed := public.add_generation_to_shot(p_shot_id, p_generation_id);
  end if;
  return placed;
end
$$;
revoke all on function public.position_existing_generation_in_shot from public, anon, authenticated;
grant execute on function public.position_existing_generation_in_shot to authenticated, service_role;

-- supabase/schemas/generations/functions/project_to_arrange.sql
-- Locks a project of the caller's whose shots are to be arranged; 404 when there is none that they may see.
create or replace function public.project_to_arrange(of_project uuid)
returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.projects where id = of_project for no key update;
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
end
$$;
revoke all on function public.project_to_arrange from public, anon, authenticated;
grant execute on function public.project_to_arrange to authenticated, service_role;

-- supabase/schemas/generations/functions/promote_next_variant.sql
-- The primary variant was deleted: the newest of the others takes its place; without one the generation is empty.
create or replace function public.promote_next_variant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Gone itself, when it took its variants with it.
  perform from public.generations where id = old.generation_id for no key update;
  if not found or exists (
       select from public.generation_variants where generation_id = old.generation_id and is_primary) then
    return null;
  end if;
  update public.generation_variants set is_primary = true
   where id = (select id from public.generation_variants
                where generation_id = old.generation_id order by created_at desc, id limit 1);
  if not found then
    update public.generations
       set location = null, thumbnail_url = null, primary_variant_id = null
     where id = old.generation_id;
  end if;
  return null;
end
$$;
revoke all on function public.promote_next_variant from public, anon, authenticated;

-- supabase/schemas/generations/functions/rebuild_shot_data.sql
-- Keeps `generations.shot_data`: where a generation stands, by shot, in the order of the timeline.
create or replace function public.rebuild_shot_data()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  changed uuid;
begin
  for changed in
    select distinct id from unnest(array[case when tg_op <> 'INSERT' then old.generation_id end,
                                         case when tg_op <> 'DELETE' then new.generation_id end]) as id
     where id is not null order by id
  loop
    -- Locked first, so that of two changes the later one counts both.
    perform from public.generations where id = changed for no key update;
    update public.generations
       set shot_data = (
             select coalesce(jsonb_object_agg(shot_id, frames), '{}')
               from (select shot_id, jsonb_agg(timeline_frame order by timeline_frame, id) as frames
                       from public.shot_generations where generation_id = changed group by shot_id) as by_shot)
     where id = changed;
  end loop;
  return null;
end
$$;
revoke all on function public.rebuild_shot_data from public, anon, authenticated;

-- supabase/schemas/generations/functions/reorder_shots.sql
-- Brings a project's shots into this order; those that are not named follow in the order that they had. Answers how many
-- moved. For browsers, under the caller's policies.
create or replace function public.reorder_shots(p_project_id uuid, p_shot_ids uuid[])
returns integer
language plpgsql set search_path = '' as $$
declare
  moved integer;
begin
  perform public.project_to_arrange(p_project_id);
  if cardinality(p_shot_ids) > 10000 or (select count(*) from unnest(p_shot_ids)) > (
       select count(*) from public.shots where project_id = p_project_id and id = any (p_shot_ids)) then
    perform public.refuse('shot_not_found', 404);
  end if;
  update public.shots as shot set position = place.new_position
    from (select id, row_number() over (
                   order by array_position(p_shot_ids, id) nulls last, position, created_at, id) as new_position
            from public.shots where project_id = p_project_id) as place
   where shot.id = place.id and shot.position <> place.new_position;
  get diagnostics moved = row_count;
  return moved;
end
$$;
revoke all on function public.reorder_shots from public, anon, authenticated;
grant execute on function public.reorder_shots to authenticated, service_role;

-- supabase/schemas/generations/functions/segment_params.sql
-- What an orchestrator's lists say of one segment.
create or replace function public.segment_params(params jsonb, segment integer)
returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := coalesce(params -> 'orchestrator_details', params -> 'full_orchestrator_payload');
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'prompt', details -> 'base_prompts_expanded' -> segment,
    'negative_prompt', details -> 'negative_prompts_expanded' -> segment,
    'num_frames', details -> 'segment_frames_expanded' -> segment,
    'frame_overlap', details -> 'frame_overlap_expanded' -> segment,
    'pair_shot_generation_id', public.pair_of_params(params, segment),
    'start_image_generation_id', details -> 'input_image_generation_ids' -> segment,
    'end_image_generation_id', details -> 'input_image_generation_ids' -> (segment + 1)));
end
$$;
revoke all on function public.segment_params from public, anon, authenticated;

-- supabase/schemas/generations/functions/shot_of_params.sql
-- The shot that params name, as they name it; null when they name none.
create or replace function public.shot_of_params(params jsonb)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  details constant jsonb := params -> 'orchestrator_details';
  named constant jsonb := coalesce(
    nullif(params -> 'originalParams' -> 'orchestrator_details' -> 'shot_id', 'null'),
    nullif(details -> 'shot_id', 'null'), nullif(params -> 'shot_id', 'null'),
    nullif(params -> 'full_orchestrator_payload' -> 'shot_id', 'null'), nullif(params -> 'shotId', 'null'));
begin
  -- Some clients send the whole row.
  return case when jsonb_typeof(named) = 'object' then coalesce(named ->> 'id', named ->> 'uuid', '') else named #>> '{}' end;
end
$$;
revoke all on function public.shot_of_params from public, anon, authenticated;

-- supabase/schemas/generations/functions/shot_to_change.sql
-- A shot of the caller's, locked; 404 when there is none that they may see.
create or replace function public.shot_to_change(of_shot uuid)
returns public.shots
language plpgsql set search_path = '' as $$
declare
  shot public.shots;
begin
  select * into shot from public.shots where id = of_shot for no key update;
  if not found then
    perform public.refuse('shot_not_found', 404);
  end if;
  return shot;
end
$$;
revoke all on function public.shot_to_change from public, anon, authenticated;
grant execute on function public.shot_to_change to authenticated, service_role;

-- supabase/schemas/generations/functions/show_primary_variant.sql
-- A generation shows what its primary variant is. A variant without a name leaves the generation's as it is.
create or replace function public.show_primary_variant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.generations
     set location = new.location, thumbnail_url = new.thumbnail_url, params = new.params,
         name = coalesce(new.name, name), primary_variant_id = new.id
   where id = new.generation_id
     and (location, thumbnail_url, params, primary_variant_id, coalesce(new.name, name))
         is distinct from (new.location, new.thumbnail_url, new.params, new.id, name);
  return null;
end
$$;
revoke all on function public.show_primary_variant from public, anon, authenticated;

-- supabase/schemas/generations/functions/source_of_image.sql
-- The newest generation of a project that shows the image which a task began with.
create or replace function public.source_of_image(task_params jsonb, of_project uuid)
returns uuid
language plpgsql stable set search_path = '' as $$
begin
  if jsonb_typeof(task_params -> 'image') is distinct from 'string' then
    return null;
  end if;
  return (select id from public.generations
           where location = task_params ->> 'image' and project_id = of_project order by created_at desc limit 1);
end
$$;
revoke all on function public.source_of_image from public, anon, authenticated;

-- supabase/schemas/generations/functions/unknown_id.sql
-- What an answer's `warnings` say of an id in params that is no row of the task's project.
create or replace function public.unknown_id(field text)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_array(jsonb_build_object(
    'field', field, 'message', 'There is no such row in this project; it was ignored.'));
end
$$;
revoke all on function public.unknown_id from public, anon, authenticated;

-- supabase/schemas/generations/functions/update_shot_pair_prompts.sql
-- Writes the prompts of a shot's transitions to its images: the first prompt is of the way from the first image to the
-- second, and so on. Videos and what stands nowhere count as no image. Empty prompts leave what is there, and so does
-- everything else that an image's metadata holds. One statement, so nothing that is written at the same time is lost.
create or replace function public.update_shot_pair_prompts(
  for_user uuid, for_shot uuid, enhanced_prompts text[] default null, pair_prompts text[] default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  images integer;
  updated integer;
begin
  -- Locked, so that two of these take turns.
  perform from public.shots as shot
    where shot.id = for_shot
      and (for_user is null or exists (select from public.projects where id = shot.project_id and user_id = for_user))
    for no key update;
  if not found then
    perform public.refuse('shot_not_found', 404);
  end if;
  with image as (
    select place.id, row_number() over (order by place.timeline_frame, place.id) as number
      from public.shot_generations as place
      join public.generations as generation on generation.id = place.generation_id
     where place.shot_id = for_shot and place.timeline_frame >= 0
       and coalesce(generation.type, 'image') not in ('video', 'video_travel_output')
       and coalesce(generation.location, '') !~* '\.(mp4|webm|mov)([?#]|$)'
  ), written as (
    update public.shot_generations as place
       set metadata = place.metadata || prompts.given
      from (select image.id, jsonb_strip_nulls(jsonb_build_object(
                     'enhanced_prompt', nullif(btrim(enhanced_prompts[image.number]), ''),
                     'pair_prompt', nullif(btrim(pair_prompts[image.number]), ''))) as given
              from image) as prompts
     where place.id = prompts.id and prompts.given <> '{}'
    returning place.id
  )
  select (select count(*) from image), (select count(*) from written) into images, updated;
  return jsonb_build_object(
    'success', true, 'shot_id', for_shot, 'updated_count', updated, 'skipped_count', images - updated,
    'failed_count', 0, 'image_count', images,
    'unused_count', (select count(*) from unnest(enhanced_prompts, pair_prompts) with ordinality as given (enhanced, pair, number)
                      where given.number > images and coalesce(nullif(btrim(enhanced), ''), nullif(btrim(pair), '')) is not null),
    'message', format('Updated %s of %s images', updated, images));
end
$$;
revoke all on function public.update_shot_pair_prompts from public, anon, authenticated;
grant execute on function public.update_shot_pair_prompts to service_role;

-- supabase/schemas/generations/functions/uuid_or_null.sql
-- An id out of params; null when the text is none.
create or replace function public.uuid_or_null(written text)
returns uuid
language plpgsql immutable set search_path = '' as $$
begin
  if written ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
    return written::uuid;
  end if;
  return null;
end
$$;
revoke all on function public.uuid_or_null from public, anon, authenticated;
grant execute on function public.uuid_or_null to authenticated, service_role;

-- supabase/schemas/generators/functions/place_for_generation.sql
-- Where something is to be generated: the project, what the payload takes from it, and that all rows that the request names
-- are of it; foreign and unknown are the same 404. `named` is [{field, kind, id}].
-- A request that was answered before, by its key, has the first answer instead, whatever has become of those rows.
create or replace function public.place_for_generation(
  for_user uuid, for_project uuid, named jsonb default '[]', idempotency_key text default null, sent jsonb default null
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  project constant public.projects := public.find_project(for_user, for_project);
  first_answer jsonb;
  missing record;
begin
  if idempotency_key is not null then
    first_answer := public.answered_request(project.user_id, idempotency_key, sha256(convert_to(sent::text, 'UTF8')));
    if first_answer is not null then
      return jsonb_build_object('first_answer', first_answer);
    end if;
  end if;
  select given.value ->> 'field' as field, given.value ->> 'kind' as kind into missing
    from jsonb_array_elements(named) with ordinality as given (value, position),
         lateral (select (given.value ->> 'id')::uuid as id) as row_of
   where not case given.value ->> 'kind'
           when 'shot' then exists (select from public.shots where id = row_of.id and project_id = project.id)
           when 'generation' then exists (
             select from public.generations where id = row_of.id and project_id = project.id)
           when 'variant' then exists (
             select from public.generation_variants where id = row_of.id and project_id = project.id)
           when 'shot_generation' then exists (
             select from public.shot_generations as place_in_shot join public.shots as shot on shot.id = place_in_shot.shot_id
              where place_in_shot.id = row_of.id and shot.project_id = project.id) end
   order by given.position limit 1;
  if missing.kind = 'shot' then
    perform public.refuse('shot_not_found', 404, jsonb_build_object('field', missing.field));
  elsif missing.kind = 'generation' then
    perform public.refuse('generation_not_found', 404, jsonb_build_object('field', missing.field));
  elsif missing.kind = 'variant' then
    perform public.refuse('variant_not_found', 404, jsonb_build_object('field', missing.field));
  elsif missing.kind = 'shot_generation' then
    perform public.refuse('shot_generation_not_found', 404, jsonb_build_object('field', missing.field));
  end if;
  return jsonb_build_object('project_id', project.id, 'aspect_ratio', project.aspect_ratio);
end
$$;
revoke all on function public.place_for_generation from public, anon, authenticated;
grant execute on function public.place_for_generation to service_role;

-- supabase/schemas/media/functions/content_of_url.sql
-- What stands for the bytes behind a URL: where it leads, and a hash of the file or the id of its bytes. The same file under
-- two names is the same, one that was replaced another. Null for what is not in storage, where nobody knows what it holds, and
-- for what this user may not read.
create or replace function public.content_of_url(for_user uuid, url text)
returns text
language plpgsql stable set search_path = '' as $$
declare
  parts constant text[] := regexp_match(url,
    '^(https?://[A-Za-z0-9.:\[\]-]+)/storage/v1/object/(?:public/|sign/|authenticated/)?([a-z_-]+)/([^?#]+)');
begin
  return (
    select '<' || parts[1] || ' '
           || coalesce((file.metadata ->> 'eTag') || ' ' || (file.metadata ->> 'size'), file.version) || '>'
      from storage.objects as file join storage.buckets as bucket on bucket.id = file.bucket_id
     where file.bucket_id = parts[2] and file.name = public.url_decoded(parts[3])
       and (bucket.public or split_part(file.name, '/', 1) = for_user::text)
       and public.is_readable_file(file.bucket_id, file.name));
end
$$;
revoke all on function public.content_of_url from public, anon, authenticated;

-- supabase/schemas/media/functions/deliver_files.sql
-- Makes the files that complete a run readable, in the transaction that charges for it. Files of other tasks, and its owner's uploads,
-- are left as they are.
-- Refuses a file whose deletion has begun; and, where storage would let an upload URL replace it after delivery, one that
-- has such a URL: `output_replaceable`, with all of them in `paths`. The caller completes the run with copies.
create or replace function public.deliver_files(task public.tasks, paths text[])
returns void
language plpgsql set search_path = '' as $$
declare
  own constant text[] := array(
    select distinct path from unnest(paths) as path
     where starts_with(path, format('%s/tasks/%s/', task.user_id, task.id)) order by path);
  replaceable text[];
  delivered integer;
begin
  if cardinality(own) > 0 and not public.keeps_finished_files() then
    replaceable := array(select file.path from public.output_files as file
                          where file.path = any (own) and file.upload_until > now() order by file.path);
    if cardinality(replaceable) > 0 then
      perform public.refuse('output_replaceable', 409, jsonb_build_object('paths', replaceable));
    end if;
  end if;
  insert into public.output_files as file (path, task_id, attempt, delivered_at, check_at)
  select path, task.id, task.attempt, now(), null from unnest(own) as path
  on conflict (path) do update
     set delivered_at = coalesce(file.delivered_at, excluded.delivered_at), check_at = null
   where file.deleting_since is null;
  get diagnostics delivered = row_count;
  if delivered <> cardinality(own) then
    perform public.refuse('output_not_found', 404, jsonb_build_object('path', (
      select file.path from public.output_files as file
       where file.path = any (own) and file.deleting_since is not null order by file.path limit 1)));
  end if;
end
$$;
revoke all on function public.deliver_files from public, anon, authenticated;

-- supabase/schemas/media/functions/deliver_named_files.sql
-- Makes those files of a task readable that the text of its output names: a worker's own record of what it made. For a task that
-- is complete, or becomes it in this transaction.
create or replace function public.deliver_named_files(for_task uuid, output_text text)
returns void
language plpgsql set search_path = '' as $$
begin
  if position(format('/tasks/%s/', for_task) in output_text) > 0 then
    update public.output_files
       set delivered_at = now(), check_at = null
     where task_id = for_task and delivered_at is null and deleting_since is null and position(path in output_text) > 0;
  end if;
end
$$;
revoke all on function public.deliver_named_files from public, anon, authenticated;

-- supabase/schemas/media/functions/forget_abandoned_files.sql
-- Notes that the content of marked files was deleted. A row goes when no upload URL can write its path any more. Until
-- then it stays, so that content that comes late, on an installation without keep_finished_files(), is deleted as well.
create or replace function public.forget_abandoned_files(paths text[])
returns void
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.output_files
   where path = any (paths) and deleting_since is not null and coalesce(upload_until <= now(), true);
  update public.output_files
     set check_at = upload_until
   where path = any (paths) and deleting_since is not null;
end
$$;
revoke all on function public.forget_abandoned_files from public, anon, authenticated;
grant execute on function public.forget_abandoned_files to service_role;

-- supabase/schemas/media/functions/hide_output_paths.sql
-- What a task that is not complete says to its owner names no file that is not theirs yet: see without_output_paths().
create or replace function public.hide_output_paths()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.output_location := public.without_output_paths(new.output_location);
  new.progress_message := public.without_output_paths(new.progress_message);
  new.error_message := public.without_output_paths(new.error_message);
  new.error_details := public.without_output_paths(new.error_details);
  return new;
end
$$;
revoke all on function public.hide_output_paths from public, anon, authenticated;

-- supabase/schemas/media/functions/is_media_url.sql
-- Whether an output is a picture, a film or a sound that can be shown: an http(s) URL whose path ends in the
-- name of such a file. Nothing is fetched to find out.
create or replace function public.is_media_url(location text)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return location ~* ('^https?://[^/?#[:space:]]+/[^?#[:space:]]*\.'
    || '(png|jpe?g|gif|webp|avif|bmp|tiff?|heic|mp4|m4v|mov|webm|mkv|avi|mp3|wav|m4a|ogg|flac)([?#][^[:space:]]*)?$');
end
$$;
revoke all on function public.is_media_url from public, anon, authenticated;

-- supabase/schemas/media/functions/is_readable_file.sql
-- Whether others than the service may read a file, as far as its bucket and its policies let them: true for whatever is not under a
-- task's folder, and there for what a completed run delivered or a running orchestrator handed to its parts. Storage asks it for
-- each list, download, signature, copy, move and deletion, and the standalone host for public URLs too.
create or replace function public.is_readable_file(for_bucket text, for_name text)
returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return for_bucket <> 'image_uploads'
    or split_part(for_name, '/', 2) <> 'tasks'
    or exists (select from public.output_files as file
                where file.path = for_name and file.deleting_since is null
                  and (file.delivered_at is not null or file.published_at is not null));
end
$$;
revoke all on function public.is_readable_file from public, anon, authenticated;
-- As whom policies are asked.
grant execute on function public.is_readable_file to authenticated;

-- supabase/schemas/media/functions/issue_output_paths.sql
-- The paths of files that a run is about to write, in the order of their names, which are clean and may be in the folder `thumbnails/`.
-- Each path has 128 random bits of its own: who knows one file of a run cannot name another. The service and the run's worker,
-- which are answered with it, are the only ones that learn it before the file is delivered. A public bucket of Supabase gives a
-- file to everybody who can name it, so the secret is the lock there.
-- `for_upload`: upload URLs are signed for them. Those last two hours, and an upload takes its time.
create or replace function public.issue_output_paths(task public.tasks, file_names text[], for_upload boolean)
returns text[]
language plpgsql set search_path = '' as $$
declare
  paths text[];
begin
  select array_agg(
           format('%s/tasks/%s/%s%s-%s-%s', task.user_id, task.id, left(name, -length(last_part)), task.attempt,
                  -- Two, for a UUID has 122 random bits.
                  left(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), 32),
                  last_part)
           order by position)
    into paths
    from (select name, position, substring(name from '[^/]*$') as last_part
            from unnest(file_names) with ordinality as named (name, position)) as file;
  insert into public.output_files (path, task_id, attempt, upload_until)
  select unnest(paths), task.id, task.attempt, case when for_upload then now() + interval '3 hours' end;
  return coalesce(paths, '{}');
end
$$;
revoke all on function public.issue_output_paths from public, anon, authenticated;

-- supabase/schemas/media/functions/keep_finished_files.sql
-- Refuses a file in the folder of a task that is finished, because its output was delivered and paid; whoever
-- writes it, and however long ago the URL for it was signed. It holds for the transaction that writes the file's
-- row: the task cannot finish before it, for its row is locked against change. Deleting is not refused.
-- A file whose deletion has begun is refused too. One whose path was not issued is noted, so that it is deleted if no run delivers it.
create or replace function public.keep_finished_files()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  segments constant text[] := string_to_array(new.name, '/');
  found_status public.task_status;
  found_attempt integer;
begin
  if new.bucket_id <> 'image_uploads'
     or segments[2] is distinct from 'tasks'
     or segments[3] is null
     or segments[3] !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    return new;
  end if;
  select task.status, task.attempt into found_status, found_attempt
    from public.tasks as task where task.id = segments[3]::uuid for share;
  if found_status not in ('Queued', 'In Progress')
     or (found_status is null
         and exists (select from public.archived_tasks as task where task.id = segments[3]::uuid)) then
    -- The code that Supabase's storage answers with a 403.
    raise exception using
      errcode = 'insufficient_privilege', constraint = 'keep_finished_files',
      message = 'The task of this file is finished; its files stay as they are.';
  end if;
  if exists (select from public.output_files where path = new.name and deleting_since is not null) then
    raise exception using
      errcode = 'insufficient_privilege', constraint = 'keep_finished_files',
      message = 'The run of this file has ended; the file is being deleted.';
  end if;
  insert into public.output_files (path, task_id, attempt)
  values (new.name, segments[3]::uuid, coalesce(found_attempt, 0)) on conflict (path) do nothing;
  return new;
end
$$;
revoke all on function public.keep_finished_files from public, anon, authenticated;

-- supabase/schemas/media/functions/keep_published_files.sql
-- What an orchestrator handed to its parts stays when it completes: their params name it.
create or replace function public.keep_published_files(for_task uuid)
returns void
language sql set search_path = '' as $$
  update public.output_files
     set delivered_at = now(), check_at = null
   where task_id = for_task and published_at is not null and delivered_at is null and deleting_since is null
$$;
revoke all on function public.keep_published_files from public, anon, authenticated;

-- supabase/schemas/media/functions/keeps_finished_files.sql
-- Whether storage refuses to replace files of finished tasks. Supabase may not have let the migration make the trigger.
create or replace function public.keeps_finished_files()
returns boolean
language sql stable set search_path = '' as $$
  select exists (select from pg_catalog.pg_trigger
                  where tgrelid = 'storage.objects'::regclass and tgname = 'keep_finished_files' and tgenabled <> 'D')
$$;
revoke all on function public.keeps_finished_files from public, anon, authenticated;

-- supabase/schemas/media/functions/publish_inputs.sql
-- Makes intermediate files of a running orchestrator readable that a part of it is created to read: a clip that was cut for it, for
-- example. Its worker names them in the part's params, by which everybody who may read the task learns their URLs. Nothing happens
-- unless the caller is of the kind that runs the orchestrator: owners can publish nothing of a run in the cloud.
create or replace function public.publish_inputs(part public.tasks, by_owner boolean)
returns void
language plpgsql set search_path = '' as $$
begin
  if part.orchestrator_task_id is null
     or position(format('/tasks/%s/', part.orchestrator_task_id) in part.params::text) = 0 then
    return;
  end if;
  update public.output_files as file
     set published_at = now()
   where file.task_id = part.orchestrator_task_id and file.delivered_at is null and file.published_at is null
     and file.deleting_since is null and position(file.path in part.params::text) > 0
     and exists (select from public.tasks as run
                  where run.id = part.orchestrator_task_id and run.status = 'In Progress'
                    and run.claimed_by_owner = by_owner);
end
$$;
revoke all on function public.publish_inputs from public, anon, authenticated;

-- supabase/schemas/media/functions/request_file_deletion.sql
-- On Supabase, by pg_cron: has the function `delete-abandoned-files` look, where there is something to look at.
create or replace function public.request_file_deletion()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.output_files where check_at <= now()) then
    perform public.call_edge_function('delete-abandoned-files');
  end if;
end
$$;
revoke all on function public.request_file_deletion from public, anon, authenticated;

-- supabase/schemas/media/functions/take_abandoned_files.sql
-- Looks at files of runs that were due for a look, at most so many, and marks those for deletion that no run can deliver any more.
-- Answers {paths, checked}: the paths of marked files, and how many were looked at. A marked file is never delivered, whatever
-- happens to its task. Its content is deleted by the caller, which then calls forget_abandoned_files(); if it does not, the file is
-- taken again after ten minutes. A file is needed while its run goes on, and what an orchestrator published while the
-- orchestrator is open, in whichever attempt. Several callers may run at once: each row is one caller's.
create or replace function public.take_abandoned_files(at_most integer default 500)
returns jsonb
language sql security definer set search_path = '' as $$
  with due as (
    select file.path from public.output_files as file
     where file.check_at <= now() order by file.check_at limit at_most for update skip locked
  ), looked_at as (
    update public.output_files as file
       set check_at = now() + interval '10 minutes',
           deleting_since = case
             when file.deleting_since is null
                  and exists (select from public.tasks as run
                               where run.id = file.task_id
                                 and (run.status = 'In Progress' and run.attempt = file.attempt
                                      or run.status in ('Queued', 'In Progress') and file.published_at is not null))
               then null
             else coalesce(file.deleting_since, now()) end
      from due
     where file.path = due.path
    returning file.path, file.deleting_since
  )
  select jsonb_build_object(
           'paths', coalesce(jsonb_agg(path order by path) filter (where deleting_since is not null), '[]'),
           'checked', count(*))
    from looked_at
$$;
revoke all on function public.take_abandoned_files from public, anon, authenticated;
grant execute on function public.take_abandoned_files to service_role;

-- supabase/schemas/media/functions/url_decoded.sql
-- A part of a URL with its escapes read; as it is where they spell no text.
create or replace function public.url_decoded(part text)
returns text
language plpgsql immutable set search_path = '' as $$
begin
  if position('%' in part) = 0 then
    return part;
  end if;
  return (
    select convert_from(string_agg(
             case when piece[1] is not null then decode(piece[1], 'hex') else convert_to(piece[2], 'UTF8') end,
             ''::bytea order by position), 'UTF8')
      from regexp_matches(part, '%([0-9a-fA-F]{2})|([^%]+|%)', 'g') with ordinality as found (piece, position));
exception when character_not_in_repertoire or untranslatable_character then
  return part;
end
$$;
revoke all on function public.url_decoded from public, anon, authenticated;

-- supabase/schemas/media/functions/without_output_paths.sql
-- A text without the random parts of output paths, whole or cut short, and without signed tokens, which hold the path they are for.
-- Workers quote refusals and URLs in what they report.
create or replace function public.without_output_paths(said text)
returns text
language sql immutable set search_path = '' as $$
  select regexp_replace(regexp_replace(regexp_replace(said,
           '(\d{1,9}-)[0-9a-f]{32}(?![0-9a-f])', '\1…', 'g'),
           '(/\d{1,9}-)[0-9a-f]{5,31}(?![0-9a-f])', '\1…', 'g'),
           'eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,2}', '…', 'g')
$$;
revoke all on function public.without_output_paths from public, anon, authenticated;

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
  if new.balance_microusd < old.balance_microusd
     and exists (select from public.users as person
                  where person.id = new.user_id
                    and old.balance_microusd > person.low_balance_threshold * 10000::bigint
                    and new.balance_microusd <= person.low_balance_threshold * 10000::bigint) then
    perform realtime.send(
      jsonb_build_object('user_id', new.user_id, 'credits', new.balance_microusd / 10000.0,
                         'balance_microusd', new.balance_microusd),
      'low_balance', 'credits:' || new.user_id, true);
  end if;
  return null;
end
$$;
revoke all on function public.broadcast_balance from public, anon, authenticated;

-- supabase/schemas/realtime/functions/broadcast_generation.sql
-- One event a change that people see of a file: it came, became the one that its generation shows, or went.
create or replace function public.broadcast_generation()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  variant public.generation_variants;
begin
  if tg_op = 'DELETE' then
    -- With its generation, which says so itself.
    if not exists (select from public.generations where id = old.generation_id) then
      return null;
    end if;
    variant := old;
  else
    variant := new;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'change', case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end,
      'generation_id', variant.generation_id, 'variant_id', variant.id, 'project_id', variant.project_id,
      'task_id', variant.source_task_id, 'variant_type', variant.variant_type, 'is_primary', variant.is_primary,
      'location', variant.location, 'thumbnail_url', variant.thumbnail_url, 'created_at', variant.created_at),
    'generation', 'generations:' || variant.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_generation from public, anon, authenticated;

-- supabase/schemas/realtime/functions/broadcast_generation_change.sql
-- One event a change that people see of a generation and not of its files: a parent that waits for its parts was made;
-- it was renamed, starred or moved; it was deleted.
create or replace function public.broadcast_generation_change()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  generation public.generations;
begin
  if tg_op = 'DELETE' then
    -- With its project: nobody listens there any more.
    if not exists (select from public.projects where id = old.project_id) then
      return null;
    end if;
    generation := old;
  else
    generation := new;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'change', case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end,
      'generation_id', generation.id, 'variant_id', null, 'project_id', generation.project_id,
      'task_id', generation.source_task_id, 'variant_type', null, 'is_primary', null,
      'location', generation.location, 'thumbnail_url', generation.thumbnail_url, 'created_at', generation.created_at,
      'name', generation.name, 'starred', generation.starred,
      'parent_generation_id', generation.parent_generation_id),
    'generation', 'generations:' || generation.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_generation_change from public, anon, authenticated;

-- supabase/schemas/realtime/functions/broadcast_task_update.sql
-- One event a change of status, and the shown ones of progress; never params.
create or replace function public.broadcast_task_update()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Here and not as the trigger's condition, which would be read from its text at every statement.
  if tg_op = 'UPDATE' and old.status = new.status and old.progress_shown_at is not distinct from new.progress_shown_at
     and (new.status <> 'Complete' or old.output_location is not distinct from new.output_location) then
    return null;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'task_id', new.id, 'project_id', new.project_id, 'task_type', new.task_type, 'status', new.status,
      'previous_status', case when tg_op = 'UPDATE' then old.status end,
      'progress', new.progress, 'progress_message', new.progress_message,
      'attempt', new.attempt, 'error_message', new.error_message,
      'output_location', new.output_location, 'thumbnail_url', new.thumbnail_url,
      'reused', new.reused_task_id is not null,
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

-- supabase/schemas/webhooks/functions/call_edge_function.sql
-- On Supabase, from pg_cron: calls a function of ours, without waiting for it. Its address and the key it is called
-- with are secrets of the vault; without them nothing happens.
create or replace function public.call_edge_function(function_name text)
returns void
language plpgsql set search_path = '' as $$
declare
  functions_url text;
  service_key text;
begin
  if to_regclass('vault.decrypted_secrets') is null then
    return;
  end if;
  execute 'select (select decrypted_secret from vault.decrypted_secrets where name = $1),
                  (select decrypted_secret from vault.decrypted_secrets where name = $2)'
     into functions_url, service_key using 'darkroom_functions_url', 'darkroom_service_key';
  if functions_url is null or service_key is null then
    return;
  end if;
  execute 'select net.http_post(url => $1, headers => $2, body => $3, timeout_milliseconds => 60000)'
    using rtrim(functions_url, '/') || '/' || function_name,
          -- Keys of the new kind are known in `apikey` alone, JWT keys in either.
          jsonb_build_object('content-type', 'application/json', 'apikey', service_key), '{}'::jsonb;
end
$$;
revoke all on function public.call_edge_function from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/claim_webhook_deliveries.sql
-- Gives a sender what is due, with everything it needs to send it: at most so many, the endpoints taking turns.
-- Guarantees: nothing is given to two senders within a minute, after which the first has died; an endpoint has at
-- most four on their way, and one while it fails, however many senders there are, so that a slow one holds up
-- none but itself. Nothing due costs one index probe.
create or replace function public.claim_webhook_deliveries(at_most integer default 50)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  lease constant interval := '1 minute';
  locked public.webhook_endpoints[];
  claimed jsonb;
begin
  if not exists (select from public.webhook_deliveries where state = 'pending' and next_attempt_at <= now()) then
    return '[]';
  end if;

  -- From one endpoint with something pending to the next by index: a long queue costs no more than a short one.
  with recursive waiting as (
    (select delivery.endpoint_id from public.webhook_deliveries as delivery
      where delivery.state = 'pending' order by delivery.endpoint_id limit 1)
    union all
    select (select delivery.endpoint_id from public.webhook_deliveries as delivery
             where delivery.state = 'pending' and delivery.endpoint_id > waiting.endpoint_id
             order by delivery.endpoint_id limit 1)
      from waiting where waiting.endpoint_id is not null
  ), due as (
    select waiting.endpoint_id, (
             select min(delivery.next_attempt_at) from public.webhook_deliveries as delivery
              where delivery.endpoint_id = waiting.endpoint_id and delivery.state = 'pending') as since
      from waiting where waiting.endpoint_id is not null
  ), chosen as (
    -- Whom another sender has locked is that one's to serve.
    select endpoint as locked_endpoint from due join public.webhook_endpoints as endpoint on endpoint.id = due.endpoint_id
     where due.since <= now() and public.webhook_capacity(endpoint) > 0
     order by due.since limit at_most
       for no key update of endpoint skip locked
  )
  select array_agg(locked_endpoint) into locked from chosen;

  -- Written by transactions that began before their endpoint was disabled.
  perform public.fail_pending_deliveries(endpoint.id) from unnest(locked) as endpoint where not endpoint.enabled;

  -- A statement of its own, so that it sees what the last holder of these locks has claimed.
  with turns as (
    select delivery.id, delivery.next_attempt_at, delivery.turn
      from unnest(locked) as endpoint
     cross join lateral (
       select one.id, one.next_attempt_at, row_number() over (order by one.next_attempt_at, one.seq) as turn
         from public.webhook_deliveries as one
        where one.endpoint_id = endpoint.id and one.state = 'pending' and one.next_attempt_at <= now()
        order by one.next_attempt_at, one.seq
        limit public.webhook_capacity(endpoint)) as delivery
     where endpoint.enabled
     order by delivery.turn, delivery.next_attempt_at limit at_most
  ), taken as (
    update public.webhook_deliveries as delivery
       set claim_id = gen_random_uuid(), next_attempt_at = now() + lease
      from turns where delivery.id = turns.id
    returning delivery.*
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'delivery_id', taken.id, 'claim_id', taken.claim_id, 'endpoint_id', endpoint.id, 'url', endpoint.url,
           'attempt', taken.attempts + 1, 'payload', taken.payload, 'secrets', (
             select jsonb_agg(secret.secret order by secret.id desc) from public.webhook_secrets as secret
              where secret.endpoint_id = endpoint.id and (secret.expires_at is null or secret.expires_at > now())))
           order by taken.seq), '[]')
    into claimed
    from taken join unnest(locked) as endpoint on endpoint.id = taken.endpoint_id;
  return claimed;
end
$$;
revoke all on function public.claim_webhook_deliveries from public, anon, authenticated;
grant execute on function public.claim_webhook_deliveries to service_role;

-- supabase/schemas/webhooks/functions/create_webhook.sql
-- Registers an endpoint with its first secret. A project has at most 10, also for two who register at once.
create or replace function public.create_webhook(
  for_user uuid, for_project uuid, url text, events text[], secret text, description text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  project public.projects;
  endpoint public.webhook_endpoints;
begin
  select * into project from public.projects as known
   where known.id = for_project and (for_user is null or known.user_id = for_user)
     for no key update;
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  if (select count(*) from public.webhook_endpoints as known where known.project_id = project.id) >= 10 then
    perform public.refuse('webhook_limit_reached', 422, '{"limit": 10}');
  end if;
  insert into public.webhook_endpoints (project_id, user_id, url, description, events)
  values (project.id, project.user_id, create_webhook.url, create_webhook.description,
          array(select distinct event from unnest(create_webhook.events) as event order by event))
  returning * into endpoint;
  insert into public.webhook_secrets (endpoint_id, secret) values (endpoint.id, create_webhook.secret);
  return public.webhook_summary(endpoint) || jsonb_build_object('secret', create_webhook.secret);
end
$$;
revoke all on function public.create_webhook from public, anon, authenticated;
grant execute on function public.create_webhook to service_role;

-- supabase/schemas/webhooks/functions/delete_webhook.sql
-- Deletes an endpoint, its secrets and its deliveries. What is being sent at this moment may still arrive.
create or replace function public.delete_webhook(for_user uuid, for_webhook uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
begin
  delete from public.webhook_endpoints where id = endpoint.id;
  return jsonb_build_object('success', true, 'webhook_id', endpoint.id);
end
$$;
revoke all on function public.delete_webhook from public, anon, authenticated;
grant execute on function public.delete_webhook to service_role;

-- supabase/schemas/webhooks/functions/disable_webhook.sql
-- Ends an endpoint's deliveries until its owner enables it. The caller holds the endpoint's lock.
create or replace function public.disable_webhook(for_endpoint uuid, reason text)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.webhook_endpoints
     set enabled = false, disabled_at = now(), disabled_reason = reason, updated_at = now()
   where id = for_endpoint;
  perform public.fail_pending_deliveries(for_endpoint);
end
$$;
revoke all on function public.disable_webhook from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/fail_pending_deliveries.sql
-- Dead-letters whatever waits for an endpoint; its owner can have it sent again. What is being sent keeps its claim,
-- so that its outcome is noted all the same. The caller holds the endpoint's lock.
create or replace function public.fail_pending_deliveries(for_endpoint uuid)
returns void
language sql set search_path = '' as $$
  update public.webhook_deliveries set state = 'failed', next_attempt_at = null
   where endpoint_id = for_endpoint and state = 'pending'
$$;
revoke all on function public.fail_pending_deliveries from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/forget_old_webhooks.sql
-- Forgets messages a week after they were delivered, and 30 days after their event in any case; and secrets that
-- no longer sign. At most 50,000 at a call, so that no clean-up holds its locks for long.
create or replace function public.forget_old_webhooks()
returns void
language sql security definer set search_path = '' as $$
  delete from public.webhook_deliveries as delivery
   where delivery.id in (
     select old.id from public.webhook_deliveries as old
      where old.created_at < now() - interval '7 days'
        and (old.delivered_at < now() - interval '7 days' or old.created_at < now() - interval '30 days')
        and old.state <> 'pending'
      order by old.created_at limit 50000 for update skip locked);
  delete from public.webhook_secrets where expires_at < now();
$$;
revoke all on function public.forget_old_webhooks from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/list_webhook_deliveries.sql
-- A page of an endpoint's deliveries, newest first, with what came of their latest 20 attempts.
create or replace function public.list_webhook_deliveries(
  for_user uuid, for_webhook uuid, for_state text default null, before_seq bigint default null, page_size integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  found_deliveries jsonb;
begin
  perform from public.webhook_endpoints where id = for_webhook and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('webhook_not_found', 404);
  end if;
  select coalesce(jsonb_agg(jsonb_build_object(
           'delivery_id', delivery.id, 'type', delivery.type, 'task_id', delivery.task_id, 'seq', delivery.seq,
           'state', delivery.state, 'attempts', delivery.attempts, 'next_attempt_at', delivery.next_attempt_at,
           'delivered_at', delivery.delivered_at, 'created_at', delivery.created_at,
           'payload', delivery.payload::jsonb, 'history', (
             select coalesce(jsonb_agg(to_jsonb(past) - 'delivery_id' order by past.attempt desc), '[]')
               from (select * from public.webhook_attempts as attempt where attempt.delivery_id = delivery.id
                      order by attempt.attempt desc limit 20) as past))
           order by delivery.seq desc), '[]')
    into found_deliveries
    from (select * from public.webhook_deliveries as one
           where one.endpoint_id = for_webhook and (for_state is null or one.state = for_state)
             and (before_seq is null or one.seq < before_seq)
           order by one.seq desc limit page_size) as delivery;
  return jsonb_build_object('deliveries', found_deliveries, 'next_before_seq',
    case when jsonb_array_length(found_deliveries) = page_size then found_deliveries -> -1 -> 'seq' end);
end
$$;
revoke all on function public.list_webhook_deliveries from public, anon, authenticated;
grant execute on function public.list_webhook_deliveries to service_role;

-- supabase/schemas/webhooks/functions/list_webhooks.sql
-- The endpoints of a project, oldest first.
create or replace function public.list_webhooks(for_user uuid, for_project uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform from public.projects where id = for_project and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  return (select jsonb_build_object('webhooks',
                   coalesce(jsonb_agg(public.webhook_summary(endpoint) order by endpoint.created_at, endpoint.id), '[]'))
            from public.webhook_endpoints as endpoint where endpoint.project_id = for_project);
end
$$;
revoke all on function public.list_webhooks from public, anon, authenticated;
grant execute on function public.list_webhooks to service_role;

-- supabase/schemas/webhooks/functions/owned_webhook.sql
-- An endpoint of this user's, or anybody's for the service, locked: whoever changes an endpoint or its deliveries
-- takes this lock first. Foreign and unknown: 404.
create or replace function public.owned_webhook(for_user uuid, for_webhook uuid)
returns public.webhook_endpoints
language plpgsql set search_path = '' as $$
declare
  endpoint public.webhook_endpoints;
begin
  select * into endpoint from public.webhook_endpoints as known
   where known.id = for_webhook and (for_user is null or known.user_id = for_user)
     for no key update;
  if not found then
    perform public.refuse('webhook_not_found', 404);
  end if;
  return endpoint;
end
$$;
revoke all on function public.owned_webhook from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/record_webhook_delivery.sql
-- Notes what came of an attempt: delivered, tried again later, or, after the eighth failure, dead-lettered.
-- 410 disables the endpoint at once; so does failing for five days without one success.
-- Answers the delivery's state; null for a claim that was given up and taken over: that attempt is not counted.
create or replace function public.record_webhook_delivery(
  for_delivery uuid, for_claim uuid, duration_ms integer,
  status_code integer default null, error text default null, retry_after_seconds integer default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  succeeded constant boolean := coalesce(record_webhook_delivery.status_code between 200 and 299, false);
  endpoint public.webhook_endpoints;
  delivery public.webhook_deliveries;
  next_delay interval;
begin
  -- The endpoint first, as everywhere.
  select * into endpoint from public.webhook_endpoints as known
   where known.id = (select one.endpoint_id from public.webhook_deliveries as one where one.id = for_delivery)
     for no key update;
  select * into delivery from public.webhook_deliveries as one
   where one.id = for_delivery and one.claim_id = for_claim for no key update;
  if not found then
    return null;
  end if;
  insert into public.webhook_attempts (delivery_id, attempt, status_code, error, duration_ms)
  values (delivery.id, delivery.attempts + 1, record_webhook_delivery.status_code, record_webhook_delivery.error,
          greatest(record_webhook_delivery.duration_ms, 0));

  if succeeded then
    update public.webhook_deliveries
       set state = 'delivered', delivered_at = now(), next_attempt_at = null, claim_id = null, attempts = attempts + 1
     where id = delivery.id;
    if endpoint.failing_since is not null then
      update public.webhook_endpoints set failing_since = null where id = endpoint.id;
    end if;
    return 'delivered';
  end if;

  -- One that was dead-lettered with its endpoint while it was sent stays so.
  if delivery.state = 'pending' then
    next_delay := greatest(
      public.webhook_retry_delay(delivery.failures + 1),
      -- A receiver may ask for more time, not for all of it.
      case when delivery.failures < 7 then make_interval(secs => least(coalesce(retry_after_seconds, 0), 28800)) end);
  end if;
  update public.webhook_deliveries
     set state = case when next_delay is null then 'failed' else 'pending' end,
         next_attempt_at = now() + next_delay, claim_id = null, attempts = attempts + 1, failures = failures + 1
   where id = delivery.id
  returning * into delivery;
  if endpoint.failing_since is null then
    update public.webhook_endpoints set failing_since = now() where id = endpoint.id;
  end if;
  if endpoint.enabled and record_webhook_delivery.status_code = 410 then
    perform public.disable_webhook(endpoint.id, 'gone');
  elsif endpoint.enabled and endpoint.failing_since < now() - interval '5 days' then
    perform public.disable_webhook(endpoint.id, 'failing');
  end if;
  return (select one.state from public.webhook_deliveries as one where one.id = delivery.id);
end
$$;
revoke all on function public.record_webhook_delivery from public, anon, authenticated;
grant execute on function public.record_webhook_delivery to service_role;

-- supabase/schemas/webhooks/functions/redeliver_webhook.sql
-- Sends again, under the same id and on a new schedule: one delivery, whatever became of it, or the failed ones of
-- events since a time, the oldest 10,000 at a call. What is being sent at this moment is left to it. Answers how many.
create or replace function public.redeliver_webhook(
  for_user uuid, for_webhook uuid, for_delivery uuid default null, failed_since timestamptz default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  redelivered integer;
begin
  if not endpoint.enabled then
    perform public.refuse('webhook_disabled', 409);
  end if;
  if for_delivery is not null then
    perform from public.webhook_deliveries where id = for_delivery and endpoint_id = endpoint.id;
    if not found then
      perform public.refuse('delivery_not_found', 404);
    end if;
  end if;
  update public.webhook_deliveries as delivery
     set state = 'pending', next_attempt_at = now(), failures = 0, claim_id = null, delivered_at = null
   where delivery.endpoint_id = endpoint.id
     and (delivery.state <> 'pending' or delivery.claim_id is null or delivery.next_attempt_at <= now())
     and delivery.id in (
       select chosen.id from public.webhook_deliveries as chosen where chosen.id = for_delivery
       union all
       (select failed.id from public.webhook_deliveries as failed
         where for_delivery is null and failed.endpoint_id = endpoint.id and failed.state = 'failed'
           and failed.created_at >= failed_since
         order by failed.seq limit 10000));
  get diagnostics redelivered = row_count;
  return jsonb_build_object('success', true, 'redelivered', redelivered);
end
$$;
revoke all on function public.redeliver_webhook from public, anon, authenticated;
grant execute on function public.redeliver_webhook to service_role;

-- supabase/schemas/webhooks/functions/request_webhook_delivery.sql
-- On Supabase, by pg_cron: has the function `deliver-webhooks` send what is due. Where nothing is, nothing happens.
create or replace function public.request_webhook_delivery()
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.webhook_deliveries where state = 'pending' and next_attempt_at <= now()) then
    perform public.call_edge_function('deliver-webhooks');
  end if;
end
$$;
revoke all on function public.request_webhook_delivery from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/rotate_webhook_secret.sql
-- Gives an endpoint another secret. The one before signs beside it for the overlap; at most two earlier ones do.
create or replace function public.rotate_webhook_secret(
  for_user uuid, for_webhook uuid, new_secret text, overlap_seconds integer default 86400
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  earlier_until constant timestamptz := now() + make_interval(secs => overlap_seconds);
begin
  -- An overlap of none ends every earlier secret: one of them has leaked.
  update public.webhook_secrets
     set expires_at = case when overlap_seconds = 0 then now() else coalesce(expires_at, earlier_until) end
   where endpoint_id = endpoint.id;
  delete from public.webhook_secrets as earlier
   where earlier.endpoint_id = endpoint.id
     and (earlier.expires_at <= now()
          or earlier.id not in (select recent.id from public.webhook_secrets as recent
                                 where recent.endpoint_id = endpoint.id order by recent.id desc limit 2));
  insert into public.webhook_secrets (endpoint_id, secret) values (endpoint.id, new_secret);
  return jsonb_build_object('webhook_id', endpoint.id, 'secret', new_secret, 'earlier_secret_until', earlier_until);
end
$$;
revoke all on function public.rotate_webhook_secret from public, anon, authenticated;
grant execute on function public.rotate_webhook_secret to service_role;

-- supabase/schemas/webhooks/functions/test_webhook.sql
-- Writes a message of type `webhook.test` to an enabled endpoint, whatever it subscribes to.
create or replace function public.test_webhook(for_user uuid, for_webhook uuid)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  next_seq constant bigint := nextval('public.webhook_sequence');
  written public.webhook_deliveries;
begin
  if not endpoint.enabled then
    perform public.refuse('webhook_disabled', 409);
  end if;
  insert into public.webhook_deliveries (endpoint_id, seq, type, payload)
  values (endpoint.id, next_seq, 'webhook.test', public.webhook_payload('webhook.test', json_build_object(
            'webhook_id', endpoint.id, 'project_id', endpoint.project_id, 'seq', next_seq)))
  returning * into written;
  return jsonb_build_object('success', true, 'delivery_id', written.id);
end
$$;
revoke all on function public.test_webhook from public, anon, authenticated;
grant execute on function public.test_webhook to service_role;

-- supabase/schemas/webhooks/functions/update_webhook.sql
-- Changes what is named in `changes`: url, description, events, enabled. Enabling, and another address, begin anew:
-- earlier failures are forgotten. Disabling dead-letters what waits.
create or replace function public.update_webhook(for_user uuid, for_webhook uuid, changes jsonb)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  endpoint constant public.webhook_endpoints := public.owned_webhook(for_user, for_webhook);
  changed public.webhook_endpoints;
begin
  if endpoint.enabled and changes -> 'enabled' = 'false' then
    perform public.disable_webhook(endpoint.id, 'owner');
  elsif not endpoint.enabled and changes -> 'enabled' = 'true' then
    update public.webhook_endpoints
       set enabled = true, disabled_at = null, disabled_reason = null, failing_since = null where id = endpoint.id;
  end if;
  update public.webhook_endpoints
     set url = coalesce(changes ->> 'url', endpoint.url),
         description = case when changes ? 'description' then changes ->> 'description' else endpoint.description end,
         events = case when changes ? 'events' then array(
             select distinct event from jsonb_array_elements_text(changes -> 'events') as event order by event)
           else endpoint.events end,
         failing_since = case when changes ->> 'url' <> endpoint.url then null else failing_since end,
         updated_at = now()
   where id = endpoint.id
  returning * into changed;
  return public.webhook_summary(changed);
end
$$;
revoke all on function public.update_webhook from public, anon, authenticated;
grant execute on function public.update_webhook to service_role;

-- supabase/schemas/webhooks/functions/webhook_capacity.sql
-- How many more deliveries may be on their way to an endpoint: four in all, one while it fails.
create or replace function public.webhook_capacity(endpoint public.webhook_endpoints)
returns bigint
language sql stable set search_path = '' as $$
  select greatest(0, case when endpoint.failing_since is null then 4 else 1 end - count(*))
    from public.webhook_deliveries as delivery
   where delivery.endpoint_id = endpoint.id and delivery.state = 'pending' and delivery.claim_id is not null
     and delivery.next_attempt_at > now()
$$;
revoke all on function public.webhook_capacity from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/webhook_payload.sql
-- The body of a message, as Standard Webhooks has it: type, timestamp, data.
create or replace function public.webhook_payload(event text, contents json)
returns text
language sql volatile set search_path = '' as $$
  select json_build_object('type', event, 'timestamp', public.webhook_time(clock_timestamp()), 'data', contents)::text
$$;
revoke all on function public.webhook_payload from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/webhook_retry_delay.sql
-- How long to wait after so many failures; none after the eighth: 5 s, 5 min, 30 min, 2 h, 5 h, 8 h, 8 h, about
-- a day in all. Up to a tenth more, so that what failed together does not come back together.
create or replace function public.webhook_retry_delay(failures integer)
returns interval
language sql volatile set search_path = '' as $$
  select (array['5 seconds', '5 minutes', '30 minutes', '2 hours', '5 hours', '8 hours', '8 hours']::interval[])[failures]
         * (1 + 0.1 * random())
$$;
revoke all on function public.webhook_retry_delay from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/webhook_summary.sql
-- What people see of an endpoint: never its secrets.
create or replace function public.webhook_summary(endpoint public.webhook_endpoints)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'webhook_id', endpoint.id, 'project_id', endpoint.project_id, 'url', endpoint.url,
    'description', endpoint.description, 'events', to_jsonb(endpoint.events), 'enabled', endpoint.enabled,
    'disabled_at', endpoint.disabled_at, 'disabled_reason', endpoint.disabled_reason,
    'failing_since', endpoint.failing_since, 'created_at', endpoint.created_at, 'updated_at', endpoint.updated_at)
$$;
revoke all on function public.webhook_summary from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/webhook_time.sql
-- A time as ISO 8601 in UTC, whatever the time zone of the connection.
create or replace function public.webhook_time(at timestamptz)
returns text
language sql stable set search_path = '' as $$
  select to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
revoke all on function public.webhook_time from public, anon, authenticated;

-- supabase/schemas/webhooks/functions/write_webhook_outbox.sql
-- Writes what subscribers are to be told of a task's new status, in the transaction that changes it.
-- Guarantees: costs one index probe where nobody subscribes, and never makes the change itself fail: an endpoint
-- that is being deleted is passed over (its row is locked before it is referred to), and what is long is left out.
create or replace function public.write_webhook_outbox()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  event constant text := 'task.' || replace(lower(new.status::text), ' ', '_');
  next_seq bigint;
  body text;
begin
  if tg_op = 'UPDATE' and old.status = new.status then
    return null;
  end if;
  if not exists (select from public.webhook_endpoints as endpoint
                  where endpoint.project_id = new.project_id and endpoint.enabled and event = any (endpoint.events)) then
    return null;
  end if;
  if tg_op = 'INSERT' and new.reused_task_id is not null then
    -- Over REST, its output is made after the insert.
    new.result_data := (select result_data from public.tasks where id = new.id);
  end if;
  next_seq := nextval('public.webhook_sequence');
  body := public.webhook_payload(event, json_build_object(
    'task_id', new.id, 'project_id', new.project_id, 'task_type', new.task_type,
    'orchestrator_task_id', new.orchestrator_task_id,
    'status', new.status, 'previous_status', case when tg_op = 'UPDATE' then old.status end,
    'attempt', new.attempt, 'progress', new.progress,
    -- Half an address is worse than none; `get-task-status` has it whole.
    'output_location', case when length(new.output_location) <= 4000 then new.output_location end,
    'thumbnail_url', case when length(new.thumbnail_url) <= 4000 then new.thumbnail_url end,
    'error_message', left(new.error_message, 2000),
    'generation_id', new.result_data -> 'generation_id', 'variant_id', new.result_data -> 'variant_id',
    'reused', new.reused_task_id is not null,
    'created_at', public.webhook_time(new.created_at),
    'generation_started_at', public.webhook_time(new.generation_started_at),
    'generation_processed_at', public.webhook_time(new.generation_processed_at),
    'seq', next_seq));
  insert into public.webhook_deliveries (endpoint_id, seq, type, task_id, payload)
  select endpoint.id, next_seq, event, new.id, body
    from public.webhook_endpoints as endpoint
   where endpoint.project_id = new.project_id and endpoint.enabled and event = any (endpoint.events)
     for key share;
  return null;
end
$$;
revoke all on function public.write_webhook_outbox from public, anon, authenticated;

-- supabase/schemas/accounts/triggers.sql
create trigger welcome_new_user after insert on auth.users
  for each row execute function public.welcome_new_user();
create trigger welcome_confirmed_user after update of email_confirmed_at, is_anonymous on auth.users
  for each row when (new.email_confirmed_at is not null and not coalesce(new.is_anonymous, false))
  execute function public.welcome_new_user();

-- supabase/schemas/credits/triggers.sql
create trigger credits_ledger_keeps_its_rows before update or delete on public.credits_ledger
  for each row execute function public.refuse_ledger_change();
create trigger credits_ledger_keeps_all_rows before truncate on public.credits_ledger
  for each statement execute function public.refuse_ledger_change();
create trigger grant_draws_are_kept before update or delete on public.credit_grant_draws
  for each row execute function public.refuse_ledger_change();
create trigger all_grant_draws_are_kept before truncate on public.credit_grant_draws
  for each statement execute function public.refuse_ledger_change();
create trigger show_balance after update of balance_microusd on public.credit_accounts
  for each row when (old.balance_microusd is distinct from new.balance_microusd)
  execute function public.show_balance();

-- supabase/schemas/billing/triggers.sql
-- Named columns: a change of the balance costs nothing here.
create trigger keep_auto_topup_whole
  before insert or update of auto_topup_enabled, auto_topup_amount, auto_topup_threshold, auto_topup_monthly_cap
  on public.users for each row execute function public.keep_auto_topup_whole();

-- On Supabase, where no host has a timer. pg_net calls the functions that charge and reconcile.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-request-auto-topups', '*/10 * * * *',
      'select public.request_due_auto_topups(null, 100000)');
    if exists (select from pg_available_extensions where name = 'pg_net') then
      create extension if not exists pg_net;
      perform cron.schedule('darkroom-charge-auto-topups', '5 seconds', 'select public.request_auto_topup_charges()');
      perform cron.schedule('darkroom-retry-stripe-events', '* * * * *', 'select public.request_stripe_event_retries()');
      perform cron.schedule('darkroom-reconcile-payments', '17 * * * *', 'select public.request_reconciliation()');
    end if;
  end if;
end
$$;

-- supabase/schemas/tasks/triggers.sql
-- In this order: the first leaves a large project to the outbox, and the second does not run then.
create trigger delete_large_project before delete on public.projects
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.delete_large_project();
create trigger end_project_tasks before delete on public.projects
  for each row execute function public.end_project_tasks();
create trigger tasks_leave_queue before delete on public.tasks
  for each row execute function public.leave_queue();
create trigger tasks_forget_output after delete on public.tasks
  for each row when (old.generation_created) execute function public.forget_output();
create trigger tasks_end_uncovered_parts after delete on public.tasks
  for each row when (old.is_orchestrator) execute function public.end_uncovered_parts();
create trigger release_followers_of_deleted after delete on public.tasks
  for each row when (old.result_key is not null and not old.is_following and old.status in ('Queued', 'In Progress'))
  execute function public.release_followers_of_deleted();
create trigger count_dependant after insert or delete or update of is_waiting on public.task_dependencies
  for each row execute function public.count_dependant();
create trigger announce_outbox after insert on public.task_outbox
  for each statement execute function public.announce_outbox();
create trigger fail_orphaned_dependant after delete on public.task_dependencies
  for each row when (old.is_waiting) execute function public.fail_orphaned_dependant();
create trigger plan_direct_task before insert on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.plan_direct_task();
create trigger queue_direct_task after insert on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.queue_direct_task();
create trigger plan_direct_change before update on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.plan_direct_change();
create trigger follow_direct_change after update on public.tasks
  for each row when (current_user in ('authenticated', 'service_role')) execute function public.follow_direct_change();
create trigger count_task after insert or delete or update of status, unmet_dependencies, is_scheduled, lane_id
  on public.tasks for each row execute function public.count_task();
create trigger announce_new_lane after insert on public.task_lanes
  for each row when (new.is_ready) execute function public.announce_lane();
create trigger announce_lane after update of is_ready, is_open, is_late on public.task_lanes
  for each row when ((new.is_ready and not old.is_ready) or (new.is_open and not old.is_open)
                     or (new.is_late and not old.is_late and new.is_open))
  execute function public.announce_lane();
create trigger task_types_are_kept before delete or update of name on public.task_types
  for each row execute function public.keep_row();
create trigger task_type_prices_are_kept before delete or update on public.task_type_prices
  for each row execute function public.keep_row();
create trigger provider_prices_are_kept before delete or update on public.provider_prices
  for each row execute function public.keep_row();
create trigger projects_begin_limited after insert on public.projects
  for each row when (new.max_running_tasks is not null) execute function public.resize_project_slots();
create trigger projects_limit_tasks after update of max_running_tasks on public.projects
  for each row when (old.max_running_tasks is distinct from new.max_running_tasks)
  execute function public.resize_project_slots();
create trigger task_types_limit_tasks after update of max_running_tasks on public.task_types
  for each row when (old.max_running_tasks is distinct from new.max_running_tasks)
  execute function public.resize_task_type_slots();
create trigger users_choose_generation_methods after update of settings on public.users
  for each row when (old.settings is distinct from new.settings)
  execute function public.follow_generation_methods();

-- On Supabase, where no host has a timer. Elsewhere there is no pg_cron, and nothing happens here.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-tend-queue', '5 seconds', 'select public.tend_queue()');
    perform cron.schedule('darkroom-settle-followers', '2 seconds', 'select public.settle_followers()');
    perform cron.schedule('darkroom-run-task-outbox', '1 second', 'select public.run_task_outbox(200)');
    perform cron.schedule('darkroom-archive-finished-tasks', '10 seconds', 'select public.archive_finished_tasks()');
    perform cron.schedule('darkroom-forget-old-requests', '17 * * * *', 'select public.forget_old_requests()');
    perform cron.schedule('darkroom-tidy-counts', '27 * * * *', 'select public.tidy_counts()');
    perform cron.schedule('darkroom-expire-due-grants', '10 seconds', 'select public.expire_due_grants()');
    perform cron.schedule('darkroom-tend-paid-calls', '10 seconds', 'select public.tend_paid_calls()');
    perform cron.schedule('darkroom-give-up-old-tasks', '37 * * * *', 'select public.give_up_old_tasks()');
    perform cron.schedule('darkroom-grow-due-holds', '2 seconds', 'select public.grow_due_holds()');
    perform cron.schedule('darkroom-end-uncovered-runs', '2 seconds', 'select public.end_uncovered_runs()');
    perform cron.schedule('darkroom-settle-overdue-withdrawals', '10 seconds', 'select public.settle_overdue_withdrawals()');
    if exists (select from pg_available_extensions where name = 'pg_net') then
      create extension if not exists pg_net;
      perform cron.schedule('darkroom-withdraw-provider-jobs', '5 seconds', 'select public.request_provider_withdrawals()');
      perform cron.schedule('darkroom-run-provider-tasks', '10 seconds', 'select public.request_provider_runs()');
    end if;
  end if;
end
$$;

-- supabase/schemas/workers/triggers.sql
-- Whenever a statement says that a worker has ended, also when its row said so before: it may have claimed since.
create trigger workers_end after insert or update of status on public.workers
  for each row when (new.status in ('crashed', 'terminated', 'error'))
  execute function public.rescue_tasks_of_ended_worker();

-- On Supabase, where no host has a timer. Elsewhere there is no pg_cron, and nothing happens here.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-mark-silent-workers', '* * * * *', 'select public.mark_silent_workers()');
    perform cron.schedule('darkroom-forget-old-logs', '23 * * * *', 'select public.forget_old_logs()');
  end if;
end
$$;

-- supabase/schemas/generations/triggers.sql
create trigger generations_stay_in_project before insert or update of project_id, based_on, parent_generation_id, pair_shot_generation_id
  on public.generations for each row execute function public.keep_generation_in_project();
create trigger variants_follow_generation before insert or update of generation_id, project_id
  on public.generation_variants for each row execute function public.keep_variant_with_generation();
create trigger make_variant_primary before insert or update of is_primary
  on public.generation_variants for each row when (new.is_primary) execute function public.make_variant_primary();
create trigger show_primary_variant
  after insert or update of is_primary, location, thumbnail_url, params, name on public.generation_variants
  for each row when (new.is_primary) execute function public.show_primary_variant();
create trigger promote_next_variant after delete on public.generation_variants
  for each row when (old.is_primary) execute function public.promote_next_variant();
create trigger change_primary_variant after update of location, thumbnail_url, name on public.generations
  for each row when (new.primary_variant_id is not null) execute function public.change_primary_variant();
create trigger shots_are_placed before insert on public.shots
  for each row execute function public.place_shot();
create trigger shot_generations_stay_in_project before insert or update of shot_id, generation_id
  on public.shot_generations for each row execute function public.keep_shot_generation_in_project();
create trigger rebuild_shot_data after insert or delete or update of shot_id, generation_id, timeline_frame
  on public.shot_generations for each row execute function public.rebuild_shot_data();
create trigger generations_note_update before update on public.generations
  for each row execute function public.note_update();
create trigger shots_note_update before update on public.shots
  for each row execute function public.note_update();
create trigger shot_generations_note_update before update on public.shot_generations
  for each row execute function public.note_update();

-- supabase/schemas/media/triggers.sql
-- On a table that is the platform's: where it does not let us, a signed upload URL stays good until it expires.
-- Users' writes into tasks' folders are refused by policy, which comes after triggers: without the condition they would lock others'
-- tasks, and learn which are finished.
do $$
begin
  create or replace trigger keep_finished_files before insert or update of bucket_id, name, version
    on storage.objects for each row when (current_user not in ('anon', 'authenticated'))
    execute function public.keep_finished_files();
exception when insufficient_privilege then
  raise warning 'files of finished tasks can be replaced until their upload URLs expire: %', sqlerrm;
end
$$;

create trigger withhold_output_paths before update of output_location, progress_message, error_message, error_details
  on public.tasks for each row when (new.status <> 'Complete') execute function public.hide_output_paths();

-- On Supabase, where no host has a timer: files are deleted by a function, through the storage service.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron')
     and exists (select from pg_available_extensions where name = 'pg_net') then
    create extension if not exists pg_cron;
    create extension if not exists pg_net;
    perform cron.schedule('darkroom-delete-abandoned-files', '*/5 * * * *', 'select public.request_file_deletion()');
  end if;
end
$$;

-- supabase/schemas/realtime/triggers.sql
create trigger broadcast_task_insert after insert on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_task_update after update of status, progress_shown_at, output_location on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_balance after update on public.credit_accounts
  for each row when (
    old.balance_microusd is distinct from new.balance_microusd
    or old.held_microusd is distinct from new.held_microusd)
  execute function public.broadcast_balance();
create trigger broadcast_generation after insert or delete on public.generation_variants
  for each row execute function public.broadcast_generation();
create trigger broadcast_primary_variant after update of is_primary on public.generation_variants
  for each row when (new.is_primary and not old.is_primary) execute function public.broadcast_generation();
create trigger broadcast_new_parent after insert on public.generations
  for each row when (new.location is null) execute function public.broadcast_generation_change();
create trigger broadcast_generation_change after update of name, starred, parent_generation_id, child_order on public.generations
  for each row when ((old.name, old.starred, old.parent_generation_id, old.child_order)
                     is distinct from (new.name, new.starred, new.parent_generation_id, new.child_order))
  execute function public.broadcast_generation_change();
create trigger broadcast_deleted_generation after delete on public.generations
  for each row execute function public.broadcast_generation_change();

-- supabase/schemas/webhooks/triggers.sql
create trigger write_webhook_outbox_at_insert after insert on public.tasks
  for each row execute function public.write_webhook_outbox();
create trigger write_webhook_outbox after update of status on public.tasks
  for each row execute function public.write_webhook_outbox();

-- On Supabase, where no host has a timer. pg_net calls the function that sends.
do $$
begin
  if exists (select from pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron;
    perform cron.schedule('darkroom-forget-old-webhooks', '37 * * * *', 'select public.forget_old_webhooks()');
    if exists (select from pg_available_extensions where name = 'pg_net') then
      create extension if not exists pg_net;
      perform cron.schedule('darkroom-deliver-webhooks', '5 seconds', 'select public.request_webhook_delivery()');
    end if;
  end if;
end
$$;

-- supabase/schemas/accounts/policies.sql
alter table public.users enable row level security;
alter table public.projects enable row level security;

revoke all on public.users, public.projects from anon, authenticated, service_role;
grant select, insert, update, delete on public.users, public.projects to service_role;

-- What a person may change about themselves is granted by name: credits and flags are not theirs to write.
grant select on public.users to authenticated;
grant update (name, username, avatar_url, settings, onboarding, low_balance_threshold) on public.users to authenticated;
create policy users_select_own on public.users for select to authenticated
  using (id = (select auth.uid()));
create policy users_update_own on public.users for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));

grant select, delete on public.projects to authenticated;
grant insert (id, user_id, name, aspect_ratio, settings, max_running_tasks, reuses_results) on public.projects to authenticated;
grant update (name, aspect_ratio, settings, max_running_tasks, reuses_results) on public.projects to authenticated;
create policy projects_own on public.projects for all to authenticated
  using (user_id = (select auth.uid()) and deleted_at is null) with check (user_id = (select auth.uid()));

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
alter table public.credit_grants enable row level security;
alter table public.credit_grant_draws enable row level security;
alter table public.credit_holds enable row level security;
alter table public.paid_calls enable row level security;
alter table public.free_calls enable row level security;
alter table public.spend_caps enable row level security;
alter table public.task_type_prices enable row level security;
alter table public.provider_prices enable row level security;
alter table public.task_quotes enable row level security;
alter table public.promo_codes enable row level security;
alter table public.promo_redemptions enable row level security;
alter table public.welcome_bonuses enable row level security;
alter table public.credit_settings enable row level security;

revoke all on public.credit_accounts, public.credits_ledger, public.credit_grants, public.credit_grant_draws,
  public.credit_holds, public.paid_calls, public.free_calls, public.spend_caps, public.task_type_prices, public.task_quotes,
  public.promo_codes, public.provider_prices,
  public.promo_redemptions, public.welcome_bonuses, public.credit_settings
  from anon, authenticated, service_role;
-- Money moves by functions alone, for the service too.
grant select on public.credit_accounts, public.credits_ledger, public.credit_grants, public.credit_grant_draws,
  public.credit_holds, public.paid_calls, public.free_calls, public.spend_caps, public.task_quotes, public.promo_redemptions
  to authenticated, service_role;
revoke all on public.user_credit_balance from anon, authenticated, service_role;
grant select on public.user_credit_balance to authenticated, service_role;
-- What the operator pays is no tenant's to read.
grant select on public.promo_codes, public.welcome_bonuses, public.provider_prices to service_role;
grant select, update on public.credit_settings to service_role;
grant select on public.task_type_prices to anon, authenticated, service_role;

create policy credit_accounts_select_own on public.credit_accounts for select to authenticated
  using (user_id = (select auth.uid()));
create policy credits_ledger_select_own on public.credits_ledger for select to authenticated
  using (user_id = (select auth.uid()));
create policy credit_grants_select_own on public.credit_grants for select to authenticated
  using (user_id = (select auth.uid()));
create policy credit_grant_draws_select_own on public.credit_grant_draws for select to authenticated
  using (exists (select from public.credit_grants as drawn
                  where drawn.id = grant_id and drawn.user_id = (select auth.uid())));
create policy credit_holds_select_own on public.credit_holds for select to authenticated
  using (user_id = (select auth.uid()));
create policy paid_calls_select_own on public.paid_calls for select to authenticated
  using (user_id = (select auth.uid()));
create policy free_calls_select_own on public.free_calls for select to authenticated
  using (user_id = (select auth.uid()));
create policy task_type_prices_select on public.task_type_prices for select to anon, authenticated
  using (true);
create policy spend_caps_select_own on public.spend_caps for select to authenticated
  using (user_id = (select auth.uid()));
create policy task_quotes_select_own on public.task_quotes for select to authenticated
  using (user_id = (select auth.uid()));
create policy promo_redemptions_select_own on public.promo_redemptions for select to authenticated
  using (user_id = (select auth.uid()));

-- supabase/schemas/billing/policies.sql
alter table public.stripe_customers enable row level security;
alter table public.checkout_sessions enable row level security;
alter table public.auto_topup_requests enable row level security;

revoke all on public.stripe_customers, public.checkout_sessions, public.auto_topup_requests
  from anon, authenticated, service_role;
-- Written by functions alone, for the service too.
grant select on public.stripe_customers, public.checkout_sessions, public.auto_topup_requests to service_role;

alter table public.stripe_events enable row level security;
alter table public.payments enable row level security;
alter table public.payment_refunds enable row level security;
alter table public.payment_disputes enable row level security;
alter table public.billing_alerts enable row level security;

revoke all on public.stripe_events, public.payments, public.payment_refunds, public.payment_disputes, public.billing_alerts
  from anon, authenticated, service_role;
grant select on public.stripe_events, public.payments, public.payment_refunds, public.payment_disputes,
  public.billing_alerts to service_role;
-- People see what they paid; what Stripe sent, and what is under dispute, is the operator's.
grant select (id, user_id, purpose, state, amount_cents, currency, credited_microusd, paid_at, created_at)
  on public.payments to authenticated;
create policy payments_select_own on public.payments for select to authenticated
  using (user_id = (select auth.uid()));

-- supabase/schemas/tasks/policies.sql
alter table public.task_types enable row level security;
alter table public.task_tenants enable row level security;
alter table public.task_slots enable row level security;
alter table public.task_lanes enable row level security;
alter table public.user_turns enable row level security;
alter table public.project_slots enable row level security;
alter table public.task_type_slots enable row level security;
alter table public.turn_marks enable row level security;
alter table public.tasks enable row level security;
alter table public.task_dependencies enable row level security;
alter table public.task_counts enable row level security;
alter table public.limit_counts enable row level security;
alter table public.task_outbox enable row level security;
alter table public.task_run_times enable row level security;
alter table public.known_models enable row level security;
alter table public.results_to_share enable row level security;
alter table public.task_requests enable row level security;
alter table public.run_reports enable row level security;
alter table public.queue_settings enable row level security;
alter table public.archived_tasks enable row level security;
alter table public.provider_jobs enable row level security;
alter table public.provider_withdrawals enable row level security;
alter table public.provider_calls enable row level security;
alter table public.task_provider_costs enable row level security;
alter table public.unpaid_provider_costs enable row level security;
alter table public.provider_models enable row level security;

revoke all on public.task_types, public.task_tenants, public.task_slots, public.task_lanes,
  public.user_turns, public.project_slots, public.task_type_slots, public.turn_marks, public.tasks, public.task_dependencies,
  public.task_counts, public.limit_counts, public.task_outbox, public.task_run_times, public.known_models, public.results_to_share, public.task_requests, public.run_reports, public.queue_settings,
  public.archived_tasks, public.all_tasks, public.provider_jobs, public.provider_withdrawals,
  public.provider_calls, public.task_provider_costs, public.unpaid_provider_costs, public.provider_models, public.provider_margins
  from anon, authenticated, service_role;
revoke all on sequence public.task_turns from anon, authenticated, service_role;

grant select on public.task_types to anon, authenticated, service_role;
grant update (max_running_tasks, is_reusable, expected_seconds, allows_provider_loss) on public.task_types to service_role;
create policy task_types_select on public.task_types for select to anon, authenticated using (true);

-- Tasks change by functions: what clients write into the table themselves is turned into the same by triggers, so that
-- no row is without cover, lane or lease. Only these columns are looked at.
grant select on public.tasks to authenticated, service_role;
-- Sees no row, and no refusal either: older workers look for their tasks with the anonymous key, and go on when there
-- is none.
grant select on public.tasks to anon;
grant delete on public.tasks to service_role;
grant insert (id, project_id, task_type, params, status, dependant_on, priority, created_at)
  on public.tasks to authenticated, service_role;
grant update (status, updated_at) on public.tasks to authenticated;
grant update (status, updated_at, worker_id, attempts, error_message, error_details, output_location,
              generation_started_at, generation_processed_at) on public.tasks to service_role;
create policy tasks_select_own on public.tasks for select to authenticated
  using (user_id = (select auth.uid()));
create policy tasks_insert_own on public.tasks for insert to authenticated
  with check (user_id = (select auth.uid()));
create policy tasks_update_own on public.tasks for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

grant select on public.archived_tasks, public.all_tasks to authenticated, service_role;
create policy archived_tasks_select_own on public.archived_tasks for select to authenticated
  using (user_id = (select auth.uid()));

grant select, update on public.queue_settings to service_role;
grant select, insert, update, delete on public.known_models to service_role;
-- The operator's figures; no tenant reads them.
grant select, delete on public.unpaid_provider_costs to service_role;
grant select on public.provider_calls, public.task_provider_costs, public.provider_margins to service_role;
grant select, insert, update, delete on public.provider_models to service_role;

-- supabase/schemas/workers/policies.sql
alter table public.workers enable row level security;
revoke all on public.workers from anon, authenticated, service_role;
grant select, insert, update, delete on public.workers to service_role;
grant select on public.workers to authenticated;
create policy workers_select_own on public.workers for select to authenticated
  using (user_id = (select auth.uid()));

-- What machines say is for operators; an owner's own lines too, for they stand beside everybody's.
alter table public.system_logs enable row level security;
revoke all on public.system_logs from anon, authenticated, service_role;
grant select, insert, delete on public.system_logs to service_role;

-- Read and written by functions alone.
alter table public.provider_runners enable row level security;
revoke all on public.provider_runners from anon, authenticated, service_role;

-- supabase/schemas/generations/policies.sql
alter table public.generations enable row level security;
alter table public.generation_variants enable row level security;
alter table public.shots enable row level security;
alter table public.shot_generations enable row level security;

revoke all on public.generations, public.generation_variants, public.shots, public.shot_generations
  from anon, authenticated, service_role;
grant select, insert, update, delete
  on public.generations, public.generation_variants, public.shots, public.shot_generations to service_role;

-- People bring their own images, name, star, arrange and throw away; which task made what is the server's to say.
grant select, delete on public.generations, public.generation_variants, public.shots, public.shot_generations
  to authenticated;
grant insert (id, project_id, type, name, location, thumbnail_url, params, based_on, parent_generation_id, is_child,
              child_order, pair_shot_generation_id, starred) on public.generations to authenticated;
grant update (type, name, location, thumbnail_url, params, based_on, parent_generation_id, is_child, child_order,
              pair_shot_generation_id, starred) on public.generations to authenticated;
grant insert (id, generation_id, location, thumbnail_url, params, is_primary, variant_type, name, viewed_at)
  on public.generation_variants to authenticated;
grant update (location, thumbnail_url, params, is_primary, variant_type, name, viewed_at)
  on public.generation_variants to authenticated;
grant insert (id, project_id, name, position, aspect_ratio, settings) on public.shots to authenticated;
grant update (name, position, aspect_ratio, settings) on public.shots to authenticated;
grant insert (id, shot_id, generation_id, timeline_frame, metadata) on public.shot_generations to authenticated;
grant update (timeline_frame, metadata) on public.shot_generations to authenticated;

create policy generations_own on public.generations for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy generation_variants_own on public.generation_variants for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy shots_own on public.shots for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy shot_generations_own on public.shot_generations for all to authenticated
  using (shot_id in (select id from public.shots))
  with check (shot_id in (select id from public.shots));

-- supabase/schemas/media/policies.sql
-- A person's files are those under their own id. Public buckets are read by URL, which asks no policy; to
-- list, sign or change files is for their owner. The service key is held back by none of this.
-- What runs of tasks write is nobody's but the service's until it is delivered: is_readable_file().
alter table public.output_files enable row level security;
revoke all on public.output_files from anon, authenticated, service_role;

drop policy if exists media_select_own on storage.objects;
create policy media_select_own on storage.objects for select to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and public.is_readable_file(bucket_id, name)
  );

drop policy if exists media_delete_own on storage.objects;
create policy media_delete_own on storage.objects for delete to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and public.is_readable_file(bucket_id, name)
  );

-- Outputs of tasks come by signed URL alone: what `tasks/` holds was made by the worker that says so.
drop policy if exists media_insert_own on storage.objects;
create policy media_insert_own on storage.objects for insert to authenticated
  with check (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  );

drop policy if exists media_update_own on storage.objects;
create policy media_update_own on storage.objects for update to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  )
  with check (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (storage.foldername(name))[2] is distinct from 'tasks'
  );

-- supabase/schemas/realtime/policies.sql
-- Who may listen to private channels. Nobody may send to them: on these topics only the database speaks.
create policy messages_select_own on realtime.messages for select to authenticated
  using (public.may_read_topic(topic));

-- supabase/schemas/webhooks/policies.sql
alter table public.webhook_endpoints enable row level security;
alter table public.webhook_secrets enable row level security;
alter table public.webhook_deliveries enable row level security;
alter table public.webhook_attempts enable row level security;

revoke all on public.webhook_endpoints, public.webhook_secrets, public.webhook_deliveries, public.webhook_attempts
  from anon, authenticated, service_role;
revoke all on sequence public.webhook_sequence from anon, authenticated, service_role;

grant select on public.webhook_endpoints to authenticated, service_role;
create policy webhook_endpoints_select_own on public.webhook_endpoints for select to authenticated
  using (user_id = (select auth.uid()));

-- Owners see deliveries by `list-webhook-deliveries`. Secrets are nobody's to read.
grant select on public.webhook_deliveries, public.webhook_attempts to service_role;
