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
