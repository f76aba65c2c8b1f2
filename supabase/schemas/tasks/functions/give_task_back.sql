-- Puts a running task back into the queue though no run failed: its worker stops, or cannot reach what it works with, or had
-- done its part. It is not counted, up to 20 times a task. `attempt` stays, for numbers are not given out twice.
create or replace function public.give_task_back(task public.tasks, error text)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.requeue_task(task, error, has_failed => task.attempt - task.attempts > 20);
end
$$;
revoke all on function public.give_task_back from public, anon, authenticated;
