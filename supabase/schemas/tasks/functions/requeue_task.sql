-- Puts a running task back into the queue after a failed run; fails it when that was its last. A run that did not fail is not
-- counted: see give_task_back(). The hold stays: the task is still to be run and paid. Answers the new status.
create or replace function public.requeue_task(task public.tasks, error text, has_failed boolean default true)
returns public.task_status
language plpgsql set search_path = '' as $$
declare
  lane bigint;
begin
  if has_failed then
    update public.tasks set attempts = attempts + 1 where id = task.id;
    if task.attempts + 1 >= task.max_attempts then
      -- What fails on the owner's own worker may take parts with it that run in the cloud.
      perform public.end_task(
        task.id, 'Failed', coalesce(error, 'max_attempts_reached'), by_owner => coalesce(task.claimed_by_owner, false));
      return 'Failed';
    end if;
  end if;
  perform public.lock_tenant(task.user_id);
  lane := public.lane_of_task(task);
  update public.tasks
     set status = 'Queued', lane_id = lane, worker_id = null, claimed_by_owner = null, lease_expires_at = null,
         slot = null, project_slot = null, task_type_slot = null,
         generation_started_at = null, progress = null, progress_message = null,
         error_message = error, updated_at = now(), ready_at = now()
   where id = task.id;
  perform public.free_slots(array[task]);
  perform public.ready_lane(lane, greatest(task.created_at, task.run_after));
  perform public.let_provider_resume(task.id, lane);
  return 'Queued';
end
$$;
revoke all on function public.requeue_task from public, anon, authenticated;
