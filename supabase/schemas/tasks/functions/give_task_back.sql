-- Puts a running task back into the queue though no run failed: its worker stops, or cannot reach what it works with, or had
-- done its part. It is not counted, up to 20 times a task. `attempt` stays, for numbers are not given out twice.
-- Where a job at a provider goes on, a run of ten seconds or longer is never counted: a function that runs tasks gives them back
-- whenever its time is over, and jobs have an end of their own.
create or replace function public.give_task_back(task public.tasks, error text)
returns void
language plpgsql set search_path = '' as $$
declare
  goes_on constant boolean := task.generation_started_at < now() - interval '10 seconds'
    and exists (select from public.provider_jobs where task_id = task.id);
begin
  perform public.requeue_task(task, error, has_failed => task.attempt - task.attempts > 20 and not goes_on);
end
$$;
revoke all on function public.give_task_back from public, anon, authenticated;
