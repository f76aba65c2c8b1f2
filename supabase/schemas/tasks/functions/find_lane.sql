-- The lane for such tasks of a user, made when it is the first of its kind. Names of models come from clients:
-- beyond a user's first 300 lanes, tasks share the lane of no model, so nobody fills the queue with lanes.
-- The caller holds the tenant's lock.
create or replace function public.find_lane(
  for_project public.projects, for_task_type text, for_model text, lane_in_cloud boolean, lane_is_orchestrator boolean
) returns bigint
language plpgsql set search_path = '' as $$
declare
  -- A project shares its owner's lanes until it has a limit, which its tasks alone wait for.
  limited_project constant uuid := case when for_project.max_running_tasks is not null then for_project.id end;
  lane_id bigint;
begin
  select id into lane_id from public.task_lanes
   where user_id = for_project.user_id and task_type = for_task_type and model = for_model
     and in_cloud = lane_in_cloud and project_id is not distinct from limited_project;
  if found then
    return lane_id;
  end if;
  if for_model <> ''
     and (select count(*) from public.task_lanes where user_id = for_project.user_id) >= 300 then
    return public.find_lane(for_project, for_task_type, '', lane_in_cloud, lane_is_orchestrator);
  end if;
  insert into public.task_lanes
    (user_id, task_type, model, run_type, in_cloud, project_id, is_orchestrator, turn)
  select for_project.user_id, name, for_model, run_type, lane_in_cloud, limited_project, lane_is_orchestrator, 0
    from public.task_types where name = for_task_type
  returning id into lane_id;
  return lane_id;
end
$$;
revoke all on function public.find_lane from public, anon, authenticated;
