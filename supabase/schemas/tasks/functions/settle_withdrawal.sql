-- Ends the withdrawal of a job, once, with what became of the job, and charges the run by it: what ran costs its price, what was
-- withdrawn before it began, or failed, nothing. A provider that does not answer in time counts as one that ran it.
-- A run of several jobs is charged once: the first of them that ran decides, and the others are withdrawn without a cost. Where
-- none ran, the last one that is settled closes the hold.
-- Beyond `credit_settings.free_withdrawals_per_hour` tasks a withdrawn job costs its price too, so that submitting and withdrawing
-- cannot keep a provider busy. Answers what was charged; null when it was settled before.
-- Locks: orchestrations from the outermost, the task, its open withdrawals, the account.
create or replace function public.settle_withdrawal(for_withdrawal uuid, said_state text)
returns bigint
language plpgsql set search_path = '' as $$
declare
  named public.provider_withdrawals;
  withdrawal public.provider_withdrawals;
  ancestor uuid;
  is_linked boolean;
  new_state text;
  charge bigint;
begin
  select * into named from public.provider_withdrawals where id = for_withdrawal;
  perform from public.tasks where id = named.paid_by for no key update;
  perform public.lock_orchestrators(named.task_id);
  perform from public.tasks where id = named.task_id for no key update;
  -- All of the task's, in one order: a task that was deleted has no row by which two calls would wait for each other.
  perform from public.provider_withdrawals where task_id = named.task_id and state = 'open' order by id for no key update;
  select * into withdrawal from public.provider_withdrawals where id = for_withdrawal and state = 'open';
  if not found then
    return null;
  end if;
  new_state := case when withdrawal.has_run then 'ran' else said_state end;
  -- One at a time for a user, so that the allowance is exact.
  perform from public.credit_accounts where user_id = withdrawal.user_id for no key update;
  charge := case
    when new_state in ('ran', 'unanswered') then withdrawal.cost_microusd
    when new_state = 'withdrawn' and withdrawal.cost_microusd > 0 and (
           select count(distinct earlier.task_id) from public.provider_withdrawals as earlier
            where earlier.user_id = withdrawal.user_id and earlier.state = 'withdrawn' and earlier.cost_microusd > 0
              and earlier.task_id <> withdrawal.task_id
              and earlier.settled_at > now() - interval '1 hour')
         >= (select free_withdrawals_per_hour from public.credit_settings) then withdrawal.cost_microusd
    else 0 end;
  update public.provider_withdrawals
     set state = new_state, charged_microusd = charge, settled_at = clock_timestamp()
   where id = withdrawal.id;
  if new_state in ('withdrawn', 'failed') then
    perform public.release_provider_call(withdrawal.provider, withdrawal.request_id);
  end if;
  if withdrawal.cost_microusd = 0 then
    return 0;
  end if;
  if charge > 0 then
    update public.provider_withdrawals set cost_microusd = 0 where task_id = withdrawal.task_id and state = 'open';
  elsif exists (select from public.provider_withdrawals
                 where task_id = withdrawal.task_id and state = 'open' and cost_microusd > 0) then
    return 0;
  else
    -- Of all jobs together: what was withdrawn comes before what failed, and that before what was never submitted.
    new_state := (
      select state from public.provider_withdrawals
       where task_id = withdrawal.task_id and created_at = withdrawal.created_at and cost_microusd > 0
       order by array_position(array['withdrawn', 'failed', 'unknown'], state) limit 1);
  end if;

  update public.tasks
     set cost_microusd = charge, updated_at = now(),
         result_data = result_data || jsonb_build_object('cancellation', jsonb_build_object(
           'state', new_state, 'basis', result_data -> 'cancellation' -> 'basis', 'cost_microusd', charge))
   where id = withdrawal.task_id
  returning orchestrator_task_id into ancestor;
  is_linked := found and (ancestor is not null or withdrawal.paid_by = withdrawal.task_id);
  if not is_linked then
    update public.credit_holds set consumed_microusd = consumed_microusd + charge
     where task_id = withdrawal.paid_by and state = 'held';
    -- Its part was deleted, and the orchestration is still there.
    update public.tasks as orchestrator set cost_microusd = public.cost_of_run(orchestrator, true)
     where orchestrator.id = withdrawal.paid_by and orchestrator.is_orchestrator
       and orchestrator.status in ('Complete', 'Failed', 'Cancelled');
  end if;
  while ancestor is not null loop
    update public.tasks as orchestrator set cost_microusd = public.cost_of_run(orchestrator, true)
     where orchestrator.id = ancestor and orchestrator.status in ('Complete', 'Failed', 'Cancelled')
    returning orchestrator.orchestrator_task_id into ancestor;
    exit when not found;
  end loop;
  perform public.settle_hold(withdrawal.paid_by, metadata => withdrawal.charge_metadata);
  perform public.count_unpaid_cost(array[withdrawal.task_id, withdrawal.paid_by]);
  return charge;
end
$$;
revoke all on function public.settle_withdrawal from public, anon, authenticated;
