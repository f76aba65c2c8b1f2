-- Takes a free slot of the lane's user and the lane's first task, skipping what others have locked.
-- Null when there is no such pair; then the lane is closed if nothing is left in it.
create or replace function public.claim_from_lane(
  for_lane bigint, for_worker text, by_owner boolean, worker_heartbeats boolean
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  lane public.task_lanes;
  free_slot smallint;
  task public.tasks;
begin
  select * into lane from public.task_lanes where id = for_lane;
  if not lane.is_orchestrator then
    select slot into free_slot from public.task_slots
     where user_id = lane.user_id and task_id is null
     order by slot limit 1 for update skip locked;
    if not found then
      perform public.close_lane_if_idle(for_lane);
      return null;
    end if;
  end if;

  select * into task from public.tasks
   where lane_id = for_lane and status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
   order by priority desc, created_at, id limit 1 for update skip locked;
  if not found then
    perform public.close_lane_if_idle(for_lane);
    return null;
  end if;

  update public.tasks
     set status = 'In Progress', attempt = attempt + 1, worker_id = coalesce(for_worker, 'edge_' || gen_random_uuid()), claimed_by_owner = by_owner,
         slot = free_slot, generation_started_at = now(), updated_at = now(),
         progress = null, progress_message = null, error_message = null,
         lease_expires_at = now() + public.lease_duration(task_type, worker_heartbeats)
   where id = task.id
  returning * into task;
  if free_slot is not null then
    update public.task_slots set task_id = task.id where user_id = lane.user_id and slot = free_slot;
  end if;
  perform public.pass_turn(lane.user_id, for_lane);

  return jsonb_build_object(
    'task_id', task.id, 'params', task.params, 'task_type', task.task_type, 'project_id', task.project_id,
    'attempt', task.attempt, 'attempts', task.attempts, 'lease_expires_at', task.lease_expires_at);
end
$$;
revoke all on function public.claim_from_lane from public, anon, authenticated;
