-- What a claim hands to the new run of the jobs that earlier runs began at a provider: {provider_jobs, provider_job}, the second of the
-- first step alone, for workers that know one job a task. Null without any. A job that may have been submitted has its webhook's
-- key, by which the run learns of it.
create or replace function public.known_provider_jobs(task public.tasks)
returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('provider_jobs', jsonb_agg(
           known.job || jsonb_build_object('step', known.step) || known.key order by known.step))
         || case when min(known.step) = 0
              then jsonb_build_object('provider_job', (jsonb_agg(known.job order by known.step)) -> 0) else '{}' end
    from (select step,
                 jsonb_build_object('provider', provider, 'model', model, 'request_id', request_id, 'began_at', began_at) as job,
                 case when request_id is null and webhook_key is not null
                   then jsonb_build_object('webhook_key', webhook_key) else '{}' end as key
            from public.provider_jobs
           where task_id = task.id and by_owner = task.claimed_by_owner) as known
  having count(*) > 0
$$;
revoke all on function public.known_provider_jobs from public, anon, authenticated;
