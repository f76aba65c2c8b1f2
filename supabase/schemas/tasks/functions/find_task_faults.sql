-- Tasks that are lost, unpaid or paid for nothing, from the tables alone: one row for each fault.
create or replace function public.find_task_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with ended as (
    select task.*, price.billing_type, hold.state as hold_state, hold.amount_microusd as hold_amount,
           hold.charged_microusd, price as price_row
      from public.all_tasks as task
      join public.task_type_prices as price on price.id = task.price_id
      left join public.credit_holds as hold on hold.task_id = task.id
     where task.status in ('Complete', 'Failed', 'Cancelled')
  )
  -- Charged, and by what it cost.
  select 'charge_is_not_the_cost', ended.user_id, ended.id::text, jsonb_build_object(
         'cost_microusd', ended.cost_microusd, 'charged_microusd', ended.charged_microusd, 'hold_microusd', ended.hold_amount)
    from ended
   where ended.orchestrator_task_id is null and ended.in_cloud
     and coalesce(ended.charged_microusd, 0) <> least(coalesce(ended.cost_microusd, 0), coalesce(ended.hold_amount, 0))
     -- A job that is being withdrawn decides about the cost, for ten minutes at most.
     and not (ended.hold_state = 'held' and exists (
           select from public.provider_withdrawals as open where open.paid_by = ended.id and open.state = 'open'))
  union all
  select 'cost_is_not_the_price', ended.user_id, ended.id::text, jsonb_build_object('cost_microusd', ended.cost_microusd)
    from ended
   where ended.status = 'Complete' and not ended.is_orchestrator and coalesce(ended.cost_microusd, 0) <> case
           when ended.claimed_by_owner or not ended.in_cloud or ended.output_location is null then 0
           when ended.reused_task_id is not null
             then least((ended.price_row).reuse_price_microusd, ended.upper_bound_microusd::bigint)
           else public.price_of_work(
             ended.price_row, public.billed_of_run(ended.billed, ended.result_data),
             extract(epoch from ended.generation_processed_at - ended.generation_started_at),
             public.seconds_of_bound(ended.upper_bound_microusd, ended.price_row, ended.billed)) end
  union all
  -- What ended without an output costs what its run had consumed, by the rule of its price, when its owner ended it; else nothing.
  select 'cancel_is_not_its_rule', ended.user_id, ended.id::text, jsonb_build_object(
         'cost_microusd', ended.cost_microusd, 'cancellation', ended.result_data -> 'cancellation')
    from ended
   where ended.status <> 'Complete' and not ended.is_orchestrator
     and coalesce(ended.cost_microusd, 0) <> case
           when ended.claimed_by_owner or not ended.in_cloud
                or (ended.price_row).cancel_policy = 'free' and ended.error_message is distinct from 'credit_exhausted'
                or ended.result_data -> 'cancellation' is null and ended.error_message is distinct from 'credit_exhausted'
                or ended.result_data -> 'cancellation' ->> 'state' not in ('charged', 'ran', 'unanswered')
                   and (ended.result_data -> 'cancellation' ->> 'cost_microusd') = '0' then 0
           else public.price_of_work(
             ended.price_row, public.billed_of_run(ended.billed, ended.result_data),
             extract(epoch from ended.generation_processed_at - ended.generation_started_at),
             public.seconds_of_bound(ended.upper_bound_microusd, ended.price_row, ended.billed)) end
  union all
  select 'orchestration_is_not_its_parts', ended.user_id, ended.id::text, jsonb_build_object('cost_microusd', ended.cost_microusd)
    from ended
   where ended.is_orchestrator
     and coalesce(ended.cost_microusd, 0) <> (
       select coalesce(sum(part.cost_microusd), 0) from public.parts_of_task(ended.id) as part)
       + coalesce((select hold.consumed_microusd from public.credit_holds as hold where hold.task_id = ended.id), 0)
  union all
  select 'charged_without_output', ended.user_id, ended.id::text, jsonb_build_object('charged_microusd', ended.charged_microusd)
    from ended where ended.charged_microusd > 0 and ended.status = 'Failed' and not ended.is_orchestrator
     and ended.error_message is distinct from 'credit_exhausted'
  union all
  -- Covered while it is open, and only then.
  select 'open_without_cover', task.user_id, task.id::text, jsonb_build_object('status', task.status)
    from public.tasks as task
   where task.status in ('Queued', 'In Progress') and task.in_cloud and task.orchestrator_task_id is null
     and not exists (select from public.credit_holds as hold where hold.task_id = task.id and hold.state = 'held')
  union all
  select 'orchestration_without_cover', task.user_id, task.id::text, jsonb_build_object('held_microusd', hold.amount_microusd)
    from public.tasks as task
    join public.credit_holds as hold on hold.task_id = task.id and hold.state = 'held'
   where task.is_orchestrator
     and hold.amount_microusd < (
       select coalesce(sum(case part.status when 'Complete' then least(part.cost_microusd::bigint, part.held_microusd::bigint)
                             else part.held_microusd end), 0)
         from public.tasks as part
        where part.orchestrator_task_id = task.id and part.status in ('Queued', 'In Progress', 'Complete'))
  union all
  select 'held_for_nothing', hold.user_id, hold.task_id::text, jsonb_build_object('amount_microusd', hold.amount_microusd)
    from public.credit_holds as hold
   where hold.state = 'held'
     and not exists (select from public.tasks as task
                      where task.id = hold.task_id and task.status in ('Queued', 'In Progress'))
     and not exists (select from public.provider_withdrawals as open
                      where open.paid_by = hold.task_id and open.state = 'open' and open.cost_microusd > 0)
  union all
  select 'withdrawal_without_hold', withdrawal.user_id, withdrawal.id::text, jsonb_build_object('task_id', withdrawal.task_id)
    from public.provider_withdrawals as withdrawal
   where withdrawal.state = 'open' and withdrawal.cost_microusd > 0
     and not exists (select from public.credit_holds as hold where hold.task_id = withdrawal.paid_by and hold.state = 'held')
  union all
  select 'withdrawal_not_settled', withdrawal.user_id, withdrawal.id::text, jsonb_build_object('expires_at', withdrawal.expires_at)
    from public.provider_withdrawals as withdrawal
   where withdrawal.state = 'open' and withdrawal.expires_at < now() - interval '2 minutes'
  union all
  select 'job_of_ended_task', task.user_id, task.id::text, jsonb_build_object('request_id', job.request_id)
    from public.provider_jobs as job join public.tasks as task on task.id = job.task_id
   where task.status in ('Failed', 'Cancelled')
  union all
  select 'part_with_hold', task.user_id, task.id::text, '{}'
    from public.all_tasks as task join public.credit_holds as hold on hold.task_id = task.id
   where task.orchestrator_task_id is not null
  union all
  -- See keep_finished_files(): runs are completed with copies then, which costs a copy each.
  select 'finished_files_are_not_kept', null, 'storage.objects', '{}'
   where not public.keeps_finished_files()
  union all
  -- Lost: nobody runs it, and nobody would.
  select 'lease_not_swept', task.user_id, task.id::text, jsonb_build_object('lease_expires_at', task.lease_expires_at)
    from public.tasks as task
   where task.status = 'In Progress' and task.lease_expires_at < now() - interval '2 minutes'
  union all
  select 'schedule_not_swept', task.user_id, task.id::text, jsonb_build_object('run_after', task.run_after)
    from public.tasks as task where task.is_scheduled and task.run_after < now() - interval '2 minutes'
$$;
revoke all on function public.find_task_faults from public, anon, authenticated;
