-- Notes the job that a run has at a provider: the intent, before it is submitted, then the id that the provider gave it; or,
-- by a JSON null, that there is none any more. Refuses what would begin a second one while the first may still end
-- well, and an id that is another task's. The caller holds the running task's lock.
create or replace function public.note_provider_job(task public.tasks, job jsonb)
returns void
language plpgsql set search_path = '' as $$
declare
  known public.provider_jobs;
begin
  if job = 'null' then
    delete from public.provider_jobs where task_id = task.id;
    return;
  end if;
  if job ->> 'request_id' is null then
    insert into public.provider_jobs as begun (task_id, provider, model, attempt, by_owner, webhook_key)
    values (task.id, job ->> 'provider', job ->> 'model', task.attempt, task.claimed_by_owner,
            (job ->> 'webhook_key')::uuid)
    on conflict (task_id) do update
       set provider = excluded.provider, model = excluded.model, attempt = excluded.attempt,
           by_owner = excluded.by_owner, webhook_key = excluded.webhook_key, began_at = now(),
           request_id = null, submitted_at = null
     where begun.request_id is null or begun.by_owner <> excluded.by_owner;
  else
    update public.provider_jobs
       set request_id = job ->> 'request_id', submitted_at = coalesce(submitted_at, now())
     where task_id = task.id and by_owner = task.claimed_by_owner and provider = job ->> 'provider'
       and model = job ->> 'model' and coalesce(request_id, job ->> 'request_id') = job ->> 'request_id';
  end if;
  if not found then
    select * into known from public.provider_jobs where task_id = task.id;
    perform public.refuse('provider_job_open', 409, jsonb_build_object(
      'provider_job', jsonb_build_object(
        'provider', known.provider, 'model', known.model, 'request_id', known.request_id)));
  end if;
exception when unique_violation then
  perform public.refuse('provider_job_open', 409, jsonb_build_object('provider_job', job));
end
$$;
revoke all on function public.note_provider_job from public, anon, authenticated;
