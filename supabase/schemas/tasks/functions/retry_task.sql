-- Queues a failed task again, with a new hold and all its attempts, on account of the token that created it, whoever
-- retries. Refused when the orchestration it belongs to is over, or when it was charged or written off: that is done once; and
-- while the withdrawal of a job may still charge it.
-- Where an equal task is under way, it follows that one.
create or replace function public.retry_task(task public.tasks)
returns void
language plpgsql set search_path = '' as $$
declare
  unmet integer;
  is_early constant boolean := coalesce(task.run_after > now(), false);
  lane bigint;
  key bytea;
  follows boolean := false;
begin
  if exists (select from public.credits_ledger where task_id = task.id and type in ('spend', 'write_off'))
     or exists (select from public.credit_holds where task_id = task.id and state = 'held')
     or task.orchestrator_task_id is not null and public.ended_orchestrator(task.orchestrator_task_id) is not null then
    perform public.refuse('invalid_transition', 409, public.status_details(task));
  end if;
  perform from public.tasks
    where id in (select dependency_id from public.task_dependencies where task_id = task.id) order by id for share;
  if exists (select from public.task_dependencies as needed
               join public.tasks as dependency on dependency.id = needed.dependency_id
              where needed.task_id = task.id and dependency.status in ('Failed', 'Cancelled'))
     or exists (select from public.archived_tasks
                 where id = any (task.dependant_on) and status in ('Failed', 'Cancelled')) then
    perform public.refuse('invalid_dependency', 422);
  end if;
  perform public.lock_tenant(task.user_id);
  -- Its orchestrator has counted it as a child since it was created, and its place in a chain is the same.
  perform public.require_task_room(
    task.user_id, array(select dependency_id from public.task_dependencies where task_id = task.id), null, false, 0);
  update public.task_dependencies as needed set is_waiting = dependency.status <> 'Complete'
    from public.tasks as dependency
   where needed.task_id = task.id and dependency.id = needed.dependency_id
     and needed.is_waiting <> (dependency.status <> 'Complete');
  select count(*) into unmet from public.task_dependencies where task_id = task.id and is_waiting;
  lane := public.lane_of_task(task);
  if task.result_key is not null then
    key := (select task.result_key from public.projects where id = task.project_id and reuses_results);
    follows := key is not null and public.run_is_under_way(task.project_id, key);
    unmet := unmet + follows::integer;
  end if;
  update public.tasks
     set status = 'Queued', lane_id = lane, is_scheduled = is_early, attempts = 0, worker_id = null,
         claimed_by_owner = null, generation_started_at = null,
         generation_processed_at = null, progress = null, progress_message = null, error_message = null,
         output_location = null, cost_microusd = null,
         result_data = result_data - array['cancellation', 'blacked_out', 'failed_part'], unmet_dependencies = unmet,
         result_key = key, is_following = follows, updated_at = now(), ready_at = now()
   where id = task.id;
  if task.in_cloud and task.orchestrator_task_id is null then
    perform public.open_hold(
      task.user_id, task.id, task.held_microusd, task.project_id,
      (select token_id from public.credit_holds where task_id = task.id), task.run_after);
  end if;
  if unmet = 0 and not is_early then
    perform public.ready_lane(lane, now());
  end if;
end
$$;
revoke all on function public.retry_task from public, anon, authenticated;
