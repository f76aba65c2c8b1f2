-- The quote of a task that waits or runs, the final charge of one that ended. Settles nothing.
create or replace function public.calculate_cost_of_task(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
  price public.task_type_prices;
  hold public.credit_holds;
  is_final boolean;
  final_microusd bigint;
  each_microusd numeric;
  promised jsonb;
begin
  select * into price from public.task_type_prices where id = task.price_id;
  select * into hold from public.credit_holds where task_id = task.id;
  if task.is_orchestrator then
    select part_prices into promised from public.tasks where id = task.id;
  else
    each_microusd := nullif(price.price_microusd * public.price_multiplier(price, task.billed), 0);
    promised := jsonb_build_object(task.task_type, jsonb_build_object(
      'price_id', price.id, 'expected_seconds', coalesce(round(task.expected_microusd / each_microusd), 1),
      'upper_bound_seconds', coalesce(round(task.upper_bound_microusd / each_microusd), 1)));
  end if;
  -- A hold that is still open after the end waits for the withdrawal of a job.
  is_final := task.status in ('Complete', 'Failed', 'Cancelled') and hold.state is distinct from 'held';
  -- A child is not charged by itself: its cost is part of its orchestrator's.
  final_microusd := case
    when is_final and task.orchestrator_task_id is not null then coalesce(task.cost_microusd, 0)
    when is_final then coalesce(hold.charged_microusd, 0)
    else task.expected_microusd end;
  return public.amounts_of_quote(task.expected_microusd, task.held_microusd, task.upper_bound_microusd) || jsonb_build_object(
    'success', true, 'task_id', task.id, 'task_type', task.task_type, 'status', task.status,
    'final', is_final, 'exact', is_final or (price.billing_type = 'per_unit' and not task.is_orchestrator),
    'cost', final_microusd / 10000.0, 'cost_microusd', final_microusd,
    'held_microusd', case when hold.state = 'held' then hold.amount_microusd else 0 end,
    'billing_type', price.billing_type, 'price_version', price.version,
    'charged_with', task.orchestrator_task_id,
    'cancellation', public.cancel_terms(price, task.is_orchestrator, task.upper_bound_microusd) || jsonb_build_object(
      'now_microusd', case when task.status in ('Queued', 'In Progress') then public.cost_of_cancel_now(task.id) else 0 end),
    'breakdown', case
      when is_final then public.cost_lines(task)
      else (public.quote_task(task.task_type, task.params, promised, true)).breakdown end);
end
$$;
revoke all on function public.calculate_cost_of_task from public, anon, authenticated;
grant execute on function public.calculate_cost_of_task to service_role;
