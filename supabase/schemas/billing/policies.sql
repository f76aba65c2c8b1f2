alter table public.stripe_customers enable row level security;
alter table public.checkout_sessions enable row level security;
alter table public.auto_topup_requests enable row level security;

revoke all on public.stripe_customers, public.checkout_sessions, public.auto_topup_requests
  from anon, authenticated, service_role;
-- Written by functions alone, for the service too.
grant select on public.stripe_customers, public.checkout_sessions, public.auto_topup_requests to service_role;
