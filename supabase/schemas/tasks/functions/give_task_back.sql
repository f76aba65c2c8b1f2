-- Puts a running task back into the queue though no run failed: its worker stops, or cannot reach what it works with. It is
-- not counted, up to 20 times a task. `attempt` stays, for numbers are not given out twice.
create or replace function public.give_task_back(task public.tasks, error text)
returns void
language plpgsql set search_path = '' as $$
begin
  if task.attempt - task.attempts > 20 then
    perform public.requeue_task(task, error);
    return;
  end if;
  -- Requeueing counts a failed run and ends the task with its last: it is shown one less, or one more to come.
  task.attempts := greatest(task.attempts - 1, 0);
  task.max_attempts := greatest(task.max_attempts, 2);
  perform public.requeue_task(task, error);
  update public.tasks set attempts = attempts - 1 where id = task.id;
end
$$;
revoke all on function public.give_task_back from public, anon, authenticated;
