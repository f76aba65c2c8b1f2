alter table public.rate_limits enable row level security;
revoke all on public.rate_limits from anon, authenticated, service_role;
