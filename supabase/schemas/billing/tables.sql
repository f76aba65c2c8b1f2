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
