-- The run that a provider's news is about, by the id of its job; null when there is none. Where the run ended between
-- submitting the job and noting its id, the key in the news' address tells which one it is, and the id is noted now.
-- `completes`: the job's result is the task's output; else the run goes on with it by itself. `is_running`: with a worker of the cloud at this moment; `attempt` fences whatever is done about it.
-- `is_left_behind`: the run is an own worker's, which took the task after the provider's run had begun the job.
create or replace function public.find_provider_job(
  for_provider text, for_request_ids text[], for_webhook_key uuid default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  job public.provider_jobs;
begin
  select * into job from public.provider_jobs
   where provider = for_provider and request_id = any (for_request_ids) and not by_owner limit 1;
  if not found then
    update public.provider_jobs set request_id = for_request_ids[1], submitted_at = now()
     where webhook_key = for_webhook_key and provider = for_provider and request_id is null and not by_owner
    returning * into job;
    if not found then
      return null;
    end if;
    perform public.count_provider_call(job, task.user_id, task.task_type)
       from public.tasks as task where task.id = job.task_id;
  end if;
  return (
    select jsonb_build_object(
        'task_id', task.id, 'task_type', task.task_type, 'model', job.model, 'attempt', task.attempt,
        'step', job.step, 'completes', job.completes, 'paid_outputs', task.billed -> 'images',
        'is_running', task.status = 'In Progress' and not task.claimed_by_owner,
        'is_left_behind', job.attempt <> task.attempt and exists (
          select from public.workers as worker
           where worker.id = task.worker_id and worker.user_id is null and worker.provider is distinct from for_provider))
      from public.tasks as task where task.id = job.task_id);
end
$$;
revoke all on function public.find_provider_job from public, anon, authenticated;
grant execute on function public.find_provider_job to service_role;
