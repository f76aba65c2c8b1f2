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
