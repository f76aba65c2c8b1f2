alter table public.users enable row level security;
alter table public.projects enable row level security;

revoke all on public.users, public.projects from anon, authenticated, service_role;
grant select, insert, update, delete on public.users, public.projects to service_role;

-- What a person may change about themselves is granted by name: credits and flags are not theirs to write.
grant select on public.users to authenticated;
grant update (name, username, avatar_url, settings, onboarding, low_balance_threshold) on public.users to authenticated;
create policy users_select_own on public.users for select to authenticated
  using (id = (select auth.uid()));
create policy users_update_own on public.users for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));

grant select, delete on public.projects to authenticated;
grant insert (id, user_id, name, aspect_ratio, settings, max_running_tasks, reuses_results) on public.projects to authenticated;
grant update (name, aspect_ratio, settings, max_running_tasks, reuses_results) on public.projects to authenticated;
create policy projects_own on public.projects for all to authenticated
  using (user_id = (select auth.uid()) and deleted_at is null) with check (user_id = (select auth.uid()));
