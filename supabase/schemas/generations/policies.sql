alter table public.generations enable row level security;
alter table public.generation_variants enable row level security;

revoke all on public.generations, public.generation_variants from anon, authenticated, service_role;
grant select, insert, update, delete on public.generations, public.generation_variants to service_role;

-- Files and lineage come from completed tasks; people name, star, look and throw away.
grant select, delete on public.generations, public.generation_variants to authenticated;
grant update (name, starred) on public.generations to authenticated;
grant update (name, viewed_at) on public.generation_variants to authenticated;
create policy generations_own on public.generations for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy generation_variants_own on public.generation_variants for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
