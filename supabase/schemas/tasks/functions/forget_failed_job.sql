-- A job failed at its provider while an own worker runs the task: the job is forgotten and not billed, and the run goes on.
create or replace function public.forget_failed_job(for_task uuid, for_provider text, for_step smallint)
returns void
language plpgsql security definer set search_path = '' as $$
declare
  job public.provider_jobs;
begin
  perform from public.tasks where id = for_task for no key update;
  delete from public.provider_jobs
   where task_id = for_task and provider = for_provider and step = for_step and request_id is not null and not by_owner
  returning * into job;
  perform public.release_provider_call(job.provider, job.request_id);
end
$$;
revoke all on function public.forget_failed_job from public, anon, authenticated;
grant execute on function public.forget_failed_job to service_role;
