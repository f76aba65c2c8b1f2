-- The lane in which a task waits now: while it ran or was over, its project may have got a limit or lost it.
-- The caller holds the tenant's lock.
create or replace function public.lane_of_task(task public.tasks)
returns bigint
language plpgsql set search_path = '' as $$
declare
  project public.projects;
begin
  select * into project from public.projects where id = task.project_id;
  return public.find_lane(project, task.task_type, coalesce(task.model, ''), task.in_cloud, task.is_orchestrator);
end
$$;
revoke all on function public.lane_of_task from public, anon, authenticated;
