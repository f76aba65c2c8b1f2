alter table public.workers enable row level security;
revoke all on public.workers from anon, authenticated, service_role;
grant select, insert, update, delete on public.workers to service_role;
grant select on public.workers to authenticated;
create policy workers_select_own on public.workers for select to authenticated
  using (user_id = (select auth.uid()));
