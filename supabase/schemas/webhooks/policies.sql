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
