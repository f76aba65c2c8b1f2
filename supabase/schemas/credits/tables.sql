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
  amount_microusd bigint not null,
  amount numeric(20, 4) generated always as (amount_microusd / 10000.0) stored,
  balance_after_microusd public.amount_microusd not null,
  idempotency_key public.ledger_key unique,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint spend_takes check (
    amount_microusd <> 0 and (type = 'spend') = (amount_microusd < 0 and task_id is not null))
);
create unique index one_spend_per_task on public.credits_ledger (task_id) where type = 'spend';
create unique index one_welcome_bonus_per_user on public.credits_ledger (user_id)
  where metadata ->> 'is_welcome_bonus' = 'true';
create index credits_ledger_by_user on public.credits_ledger (user_id, sequence desc);

-- What a task has reserved, and what became of it.
create table public.credit_holds (
  task_id uuid primary key,
  user_id uuid not null references public.credit_accounts (user_id),
  amount_microusd public.amount_microusd not null,
  state public.hold_state not null default 'held',
  charged_microusd public.amount_microusd not null default 0,
  -- Cost beyond what was held: our loss, never the customer's.
  written_off_microusd public.amount_microusd not null default 0,
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  constraint columns_fit_state check (
    (state = 'held') = (closed_at is null)
    and charged_microusd <= case state when 'settled' then amount_microusd else 0 end)
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
