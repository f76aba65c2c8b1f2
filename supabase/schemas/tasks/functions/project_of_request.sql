-- The project a new task belongs to: the named one, or, where a worker knows none, its orchestrator's.
-- Foreign and unknown are the same 404.
create or replace function public.project_of_request(for_user uuid, request jsonb)
returns public.projects
language plpgsql stable set search_path = '' as $$
declare
  project public.projects;
begin
  if coalesce(request ->> 'project_id', 'default_project_id') = 'default_project_id' then
    select owner_project.* into project
      from public.all_tasks as orchestrator
      join public.projects as owner_project on owner_project.id = orchestrator.project_id
     where orchestrator.id = public.orchestrator_of_params(request -> 'params');
  else
    select * into project from public.projects where id = (request ->> 'project_id')::uuid;
  end if;
  if project.id is null or project.deleted_at is not null or (for_user is not null and project.user_id <> for_user) then
    perform public.refuse('project_not_found', 404);
  end if;
  return project;
end
$$;
revoke all on function public.project_of_request from public, anon, authenticated;
