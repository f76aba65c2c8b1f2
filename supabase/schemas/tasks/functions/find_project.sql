-- Refuses a project that is not this caller's like one that does not exist.
create or replace function public.find_project(for_user uuid, for_project uuid)
returns public.projects
language plpgsql stable set search_path = '' as $$
declare
  project public.projects;
begin
  select * into project from public.projects
   where id = for_project and deleted_at is null and (for_user is null or user_id = for_user);
  if not found then
    perform public.refuse('project_not_found', 404);
  end if;
  return project;
end
$$;
revoke all on function public.find_project from public, anon, authenticated;
