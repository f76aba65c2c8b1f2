-- Takes a running task back from a worker that is gone. An orchestrator that has created parts has done what it can do, and
-- the parts go on without it: whoever has it next goes on as well, and no run has failed.
create or replace function public.rescue_task(task public.tasks, reason text)
returns void
language plpgsql set search_path = '' as $$
begin
  if task.is_orchestrator and exists (select from public.tasks where orchestrator_task_id = task.id) then
    perform public.give_task_back(task, reason);
  else
    perform public.requeue_task(task, reason);
  end if;
end
$$;
revoke all on function public.rescue_task from public, anon, authenticated;
