-- Notes a job that a run has at a provider: the intent, before it is submitted, then the id that the provider gave it; or,
-- by a JSON null, that the task has none any more. `step` says which job of the task it is; default: 0. Refuses what would begin a
-- second job of the step while the first may still end well, and names that job in the refusal; and an id that is another task's.
-- An intent that is noted again with the same webhook's key is the same intent, and keeps its time, units and cost.
-- Of a worker of the cloud, an intent is refused by which the task would cost more than it is charged (require_provider_margin()), and
-- the first of a task by require_unpaid_allowance(); the id adds the job to what the task costs, once.
-- The caller holds the running task's lock.
create or replace function public.note_provider_job(task public.tasks, job jsonb)
returns void
language plpgsql set search_path = '' as $$
declare
  for_step constant smallint := coalesce((job ->> 'step')::smallint, 0::smallint);
  known public.provider_jobs;
  noted public.provider_jobs;
  cost bigint;
begin
  -- Jobs of the other kind of run, at another account, are not this run's to forget: the party that began them withdraws them.
  with left_behind as (
    delete from public.provider_jobs as begun
     where begun.task_id = task.id and begun.by_owner <> task.claimed_by_owner
       and (job = 'null' or job ->> 'request_id' is null)
    returning *
  )
  insert into public.provider_withdrawals
    (task_id, step, attempt, user_id, provider, model, request_id, webhook_key, by_owner, paid_by, cost_microusd, charge_metadata,
     provider_cost_microusd)
  select task.id, begun.step, begun.attempt, task.user_id, begun.provider, begun.model, begun.request_id, begun.webhook_key,
         begun.by_owner, public.payer_of_task(task), 0, '{}', begun.cost_microusd
    from left_behind as begun;
  if job = 'null' then
    delete from public.provider_jobs where task_id = task.id;
    return;
  end if;
  if job ->> 'request_id' is null then
    if not task.claimed_by_owner then
      select * into known from public.provider_jobs where task_id = task.id and step = for_step;
      -- A step whose job is known is refused below.
      cost := case
        when known.webhook_key = (job ->> 'webhook_key')::uuid and known.model = job ->> 'model' then known.cost_microusd
        when known.request_id is null then public.cost_with_margin(task, job) end;
      if known.task_id is null then
        perform public.require_unpaid_allowance(task);
      end if;
    end if;
    insert into public.provider_jobs as begun
      (task_id, step, provider, model, attempt, by_owner, webhook_key, completes, units, cost_microusd)
    values (task.id, for_step, job ->> 'provider', job ->> 'model', task.attempt, task.claimed_by_owner,
            (job ->> 'webhook_key')::uuid, coalesce((job ->> 'completes')::boolean, true),
            coalesce(nullif(job -> 'units', 'null'), '{}'), cost)
    on conflict (task_id, step) do update
       set provider = excluded.provider, model = excluded.model, attempt = excluded.attempt,
           by_owner = excluded.by_owner, webhook_key = excluded.webhook_key, request_id = null, submitted_at = null,
           began_at = case when begun.webhook_key = excluded.webhook_key then begun.began_at else now() end,
           completes = case when begun.webhook_key = excluded.webhook_key then begun.completes else excluded.completes end,
           units = case when begun.webhook_key = excluded.webhook_key then begun.units else excluded.units end,
           cost_microusd = excluded.cost_microusd
     where begun.request_id is null or begun.by_owner <> excluded.by_owner
    returning * into noted;
  else
    update public.provider_jobs
       set request_id = job ->> 'request_id', submitted_at = coalesce(submitted_at, now())
     where task_id = task.id and step = for_step and by_owner = task.claimed_by_owner and provider = job ->> 'provider'
       and model = job ->> 'model' and coalesce(request_id, job ->> 'request_id') = job ->> 'request_id'
    returning * into noted;
    if not noted.by_owner then
      perform public.count_provider_call(noted, task.user_id, task.task_type);
    end if;
  end if;
  if noted.task_id is null then
    select * into noted from public.provider_jobs where task_id = task.id and step = for_step;
    perform public.refuse('provider_job_open', 409, jsonb_build_object(
      'provider_job', jsonb_build_object(
        'step', for_step, 'provider', noted.provider, 'model', noted.model, 'request_id', noted.request_id)));
  end if;
exception when unique_violation then
  perform public.refuse('provider_job_open', 409, jsonb_build_object('provider_job', job - array['webhook_key', 'request_id']));
end
$$;
revoke all on function public.note_provider_job from public, anon, authenticated;
