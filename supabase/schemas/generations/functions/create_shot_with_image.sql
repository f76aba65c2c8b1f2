-- A new shot behind the others, with an image at its beginning; both or none. For browsers, under the caller's policies.
create or replace function public.create_shot_with_image(p_project_id uuid, p_shot_name text, p_generation_id uuid)
returns table (shot_id uuid, shot_name text, shot_position integer, shot_generation_id uuid, success boolean)
language plpgsql set search_path = '' as $$
declare
  added public.shots;
begin
  perform public.project_to_arrange(p_project_id);
  insert into public.shots (project_id, name) values (p_project_id, p_shot_name) returning * into added;
  return query
    select added.id, added.name, added.position, (public.add_generation_to_shot(added.id, p_generation_id)).id, true;
end
$$;
revoke all on function public.create_shot_with_image from public, anon, authenticated;
grant execute on function public.create_shot_with_image to authenticated, service_role;
