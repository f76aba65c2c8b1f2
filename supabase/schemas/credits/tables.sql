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
