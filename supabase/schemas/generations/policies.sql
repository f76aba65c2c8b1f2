alter table public.generations enable row level security;
alter table public.generation_variants enable row level security;
alter table public.shots enable row level security;
alter table public.shot_generations enable row level security;

revoke all on public.generations, public.generation_variants, public.shots, public.shot_generations
  from anon, authenticated, service_role;
grant select, insert, update, delete
  on public.generations, public.generation_variants, public.shots, public.shot_generations to service_role;

-- People bring their own images, name, star, arrange and throw away; which task made what is the server's to say.
grant select, delete on public.generations, public.generation_variants, public.shots, public.shot_generations
  to authenticated;
grant insert (id, project_id, type, name, location, thumbnail_url, params, based_on, parent_generation_id, is_child,
              child_order, pair_shot_generation_id, starred) on public.generations to authenticated;
grant update (type, name, location, thumbnail_url, params, based_on, parent_generation_id, is_child, child_order,
              pair_shot_generation_id, starred) on public.generations to authenticated;
grant insert (id, generation_id, location, thumbnail_url, params, is_primary, variant_type, name, viewed_at)
  on public.generation_variants to authenticated;
grant update (location, thumbnail_url, params, is_primary, variant_type, name, viewed_at)
  on public.generation_variants to authenticated;
grant insert (id, project_id, name, position, aspect_ratio, settings) on public.shots to authenticated;
grant update (name, position, aspect_ratio, settings) on public.shots to authenticated;
grant insert (id, shot_id, generation_id, timeline_frame, metadata) on public.shot_generations to authenticated;
grant update (timeline_frame, metadata) on public.shot_generations to authenticated;

create policy generations_own on public.generations for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy generation_variants_own on public.generation_variants for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy shots_own on public.shots for all to authenticated
  using (project_id in (select id from public.projects where user_id = (select auth.uid())))
  with check (project_id in (select id from public.projects where user_id = (select auth.uid())));
create policy shot_generations_own on public.shot_generations for all to authenticated
  using (shot_id in (select id from public.shots))
  with check (shot_id in (select id from public.shots));
