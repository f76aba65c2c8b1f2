-- Counts what tasks cost at providers beyond their charge with their user, in the transaction that ends them or that changes their
-- cost or their charge afterwards; require_unpaid_allowance() reads it.
-- Guarantee: however often a task is counted, what it was counted with last is what counts.
-- Takes the lock of the account, which holds of the same user take as well, and only where something changes.
create or replace function public.count_unpaid_cost(for_tasks uuid[], deleted_charge bigint default null)
returns void
language plpgsql set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  cost public.task_provider_costs;
  unpaid bigint;
begin
  for cost in select * from public.task_provider_costs where task_id = any (for_tasks) order by user_id, task_id loop
    unpaid := public.unpaid_cost_of_task(cost, deleted_charge);
    continue when unpaid is null or unpaid = cost.unpaid_microusd;
    perform from public.credit_accounts where user_id = cost.user_id for no key update;
    -- Another transaction may have counted it while this one waited.
    select * into cost from public.task_provider_costs where task_id = cost.task_id;
    unpaid := public.unpaid_cost_of_task(cost, deleted_charge);
    if unpaid > cost.unpaid_microusd then
      insert into public.unpaid_provider_costs as counted (user_id, day, unpaid_microusd)
      values (cost.user_id, today, unpaid - cost.unpaid_microusd)
      on conflict (user_id, day) do update set unpaid_microusd = counted.unpaid_microusd + excluded.unpaid_microusd;
    else
      update public.unpaid_provider_costs
         set unpaid_microusd = greatest(unpaid_microusd - (cost.unpaid_microusd - unpaid), 0)
       where user_id = cost.user_id and day = cost.unpaid_on;
    end if;
    update public.task_provider_costs
       set unpaid_microusd = unpaid, unpaid_on = case when unpaid > cost.unpaid_microusd then today else cost.unpaid_on end
     where task_id = cost.task_id;
  end loop;
end
$$;
revoke all on function public.count_unpaid_cost from public, anon, authenticated;
