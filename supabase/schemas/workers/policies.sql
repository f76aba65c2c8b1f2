alter table public.workers enable row level security;
revoke all on public.workers from anon, authenticated, service_role;
grant select, insert, update, delete on public.workers to service_role;
grant select on public.workers to authenticated;
create policy workers_select_own on public.workers for select to authenticated
  using (user_id = (select auth.uid()));

-- What machines say is for operators; an owner's own lines too, for they stand beside everybody's.
alter table public.system_logs enable row level security;
revoke all on public.system_logs from anon, authenticated, service_role;
grant select, insert, delete on public.system_logs to service_role;

-- Read and written by functions alone.
alter table public.provider_runners enable row level security;
revoke all on public.provider_runners from anon, authenticated, service_role;
