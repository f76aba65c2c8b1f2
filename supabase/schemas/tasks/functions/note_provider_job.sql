-- Notes the job that a run has at a provider: the intent, before it is submitted, then the id that the provider gave it; or,
-- by a JSON null, that there is none any more. Refuses what would begin a second one while the first may still end
-- well, and an id that is another task's. The caller holds the running task's lock.
create or replace function public.note_provider_job(task public.tasks, job jsonb)
returns void
language plpgsql set search_path = '' as $$
declare
  known public.provider_jobs;
begin
  -- The job of the other kind of run, at another account, is not this run's to forget: whoever began it withdraws it.
  with left_behind as (
    delete from public.provider_jobs as begun
     where begun.task_id = task.id and begun.by_owner <> task.claimed_by_owner
       and (job = 'null' or job ->> 'request_id' is null)
    returning *
  )
  insert into public.provider_withdrawals
    (task_id, attempt, user_id, provider, model, request_id, webhook_key, by_owner, paid_by, cost_microusd, charge_metadata)
  select task.id, begun.attempt, task.user_id, begun.provider, begun.model, begun.request_id, begun.webhook_key, begun.by_owner,
         public.payer_of_task(task), 0, '{}'
    from left_behind as begun;
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
