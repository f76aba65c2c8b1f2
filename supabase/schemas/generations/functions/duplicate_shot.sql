-- A copy of a shot behind it, with its images at their places. The images themselves are not copied. Answers the
-- copy's id. For browsers, under the caller's policies.
create or replace function public.duplicate_shot(original_shot_id uuid, project_id uuid default null)
returns uuid
language plpgsql set search_path = '' as $$
declare
  original public.shots;
  copy uuid;
begin
  select * into original from public.shots as shot
   where shot.id = original_shot_id and shot.project_id = coalesce(duplicate_shot.project_id, shot.project_id);
  if not found then
    perform public.refuse('shot_not_found', 404);
  end if;
  perform public.project_to_arrange(original.project_id);
  original := public.shot_to_change(original_shot_id);
  update public.shots as later set position = later.position + 1
   where later.project_id = original.project_id and later.position > original.position;
  insert into public.shots (project_id, name, position, aspect_ratio, settings)
  values (original.project_id, left(original.name, 293) || ' (copy)', original.position + 1, original.aspect_ratio,
          original.settings)
  returning id into copy;
  insert into public.shot_generations (shot_id, generation_id, timeline_frame, metadata)
  select copy, place.generation_id, place.timeline_frame, place.metadata
    from public.shot_generations as place where place.shot_id = original_shot_id order by place.created_at, place.id;
  return copy;
end
$$;
revoke all on function public.duplicate_shot from public, anon, authenticated;
grant execute on function public.duplicate_shot to authenticated, service_role;
