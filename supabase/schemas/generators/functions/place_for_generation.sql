-- Where something is to be generated: the project and, if named, a shot of it; foreign and unknown are the same 404.
-- Answers what the payload takes from them.
create or replace function public.place_for_generation(for_user uuid, for_project uuid, for_shot uuid default null)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  project public.projects;
begin
  select * into project from public.projects
   where id = for_project and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  if for_shot is not null
     and not exists (select from public.shots where id = for_shot and project_id = project.id) then
    perform public.refuse('shot_not_found', 404);
  end if;
  return jsonb_build_object('project_id', project.id, 'aspect_ratio', project.aspect_ratio);
end
$$;
revoke all on function public.place_for_generation from public, anon, authenticated;
grant execute on function public.place_for_generation to service_role;
