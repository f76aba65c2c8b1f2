-- Takes a running task back from a worker that is gone. An orchestrator that has created parts has done what it can do, and
-- the parts go on without it: the next worker goes on as well, and no run has failed. A provider's worker reports a progress message
-- when it has created all parts; then no worker is needed any more, and the orchestrator stays in progress until its last part ends.
create or replace function public.rescue_task(task public.tasks, reason text)
returns void
language plpgsql set search_path = '' as $$
begin
  if not task.is_orchestrator or not exists (select from public.tasks where orchestrator_task_id = task.id) then
    perform public.requeue_task(task, reason);
  elsif task.progress_message is not null and exists (
    select from public.workers
     where id = public.worker_row_id(task.worker_id, case when task.claimed_by_owner then task.user_id end)
       and provider is not null)
  then
    perform public.extend_lease(task);
  else
    perform public.give_task_back(task, reason);
  end if;
end
$$;
revoke all on function public.rescue_task from public, anon, authenticated;
