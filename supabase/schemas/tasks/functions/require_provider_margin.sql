-- Refuses with 409 `sold_below_cost` that a task costs the operator more at providers than it is charged. `cost_microusd` is what all
-- its jobs cost, with the one that is about to be submitted; null where a price is not known, which is refused as well: an unknown
-- price may be any. The operator may allow losses for all tasks (queue_settings) or for a type (task_types).
-- The caller holds the running task's lock, so that two jobs of a task are compared one after the other.
create or replace function public.require_provider_margin(task public.tasks, cost_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
declare
  charge constant bigint := public.charge_of_provider_run(task);
begin
  if cost_microusd <= charge
     or (select allows_provider_loss from public.queue_settings)
     or (select allows_provider_loss from public.task_types where name = task.task_type) then
    return;
  end if;
  perform public.refuse('sold_below_cost', 409, jsonb_build_object(
    'task_id', task.id, 'task_type', task.task_type, 'charge_microusd', charge, 'provider_cost_microusd', cost_microusd,
    'reason', case when cost_microusd is null then 'provider_price_unknown' else 'cost_exceeds_charge' end));
end
$$;
revoke all on function public.require_provider_margin from public, anon, authenticated;
