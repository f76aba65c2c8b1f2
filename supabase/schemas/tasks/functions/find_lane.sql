-- The lane for such tasks of a user, made when it is the first of its kind. Names of models come from clients:
-- beyond a user's first 300 lanes, tasks share the lane of no model, so nobody fills the queue with lanes.
create or replace function public.find_lane(
  for_user uuid, for_task_type text, for_model text, lane_in_cloud boolean, lane_is_orchestrator boolean
) returns bigint
language plpgsql set search_path = '' as $$
declare
  lane_id bigint;
begin
  select id into lane_id from public.task_lanes
   where user_id = for_user and task_type = for_task_type and model = for_model and in_cloud = lane_in_cloud;
  if not found and for_model <> ''
     and (select count(*) from public.task_lanes where user_id = for_user) >= 300 then
    return public.find_lane(for_user, for_task_type, '', lane_in_cloud, lane_is_orchestrator);
  end if;
  if lane_id is null then
    insert into public.task_models (task_type, model) values (for_task_type, for_model) on conflict do nothing;
    insert into public.task_lanes (user_id, task_type, model, run_type, in_cloud, is_orchestrator, turn)
    select for_user, for_task_type, for_model, run_type, lane_in_cloud, lane_is_orchestrator,
           nextval('public.task_turns')
      from public.task_types where name = for_task_type
    on conflict (user_id, task_type, model, in_cloud) do update set turn = task_lanes.turn
    returning id into lane_id;
  end if;
  return lane_id;
end
$$;
revoke all on function public.find_lane from public, anon, authenticated;
