alter table public.personal_access_tokens enable row level security;
revoke all on public.personal_access_tokens from anon, authenticated, service_role;
grant select (id, user_id, last_four, label, scopes, expires_at, last_used_at, revoked_at, created_at)
  on public.personal_access_tokens to authenticated, service_role;
create policy personal_access_tokens_select_own on public.personal_access_tokens for select to authenticated
  using (user_id = (select auth.uid()));
