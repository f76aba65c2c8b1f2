-- A quote for a task that does not exist yet.
create or replace function public.calculate_task_cost(for_task_type text, params jsonb)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  type_name constant text := (public.canonical_task_type(for_task_type)).name;
  quote record;
begin
  select * into quote from public.quote_task(type_name, calculate_task_cost.params);
  return jsonb_build_object(
    'success', true, 'task_type', type_name,
    'cost', quote.upper_bound_microusd / 10000.0, 'cost_microusd', quote.upper_bound_microusd,
    'upper_bound', quote.upper_bound_microusd / 10000.0, 'upper_bound_microusd', quote.upper_bound_microusd,
    'exact', quote.exact, 'billing_type', (quote.price).billing_type,
    'price_version', (quote.price).version, 'breakdown', quote.breakdown);
end
$$;
revoke all on function public.calculate_task_cost from public, anon, authenticated;
grant execute on function public.calculate_task_cost to service_role;
