-- A quote for a task that does not exist yet. For a user it is kept for ten minutes: who creates the task with its id
-- gets this price.
create or replace function public.calculate_task_cost(for_user uuid, for_task_type text, params jsonb)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  type_name constant text := (public.canonical_task_type(for_task_type)).name;
  quote record;
  kept public.task_quotes;
begin
  select * into quote from public.quote_task(type_name, calculate_task_cost.params, with_breakdown => true);
  if for_user is not null then
    insert into public.task_quotes (user_id, task_type, params_hash, price_id, exact, expected_microusd, upper_bound_microusd,
                                    part_prices)
    values (for_user, type_name, public.hash_of_params(calculate_task_cost.params), (quote.price).id, quote.exact,
            quote.expected_microusd, quote.upper_bound_microusd, quote.part_prices)
    returning * into kept;
  end if;
  return jsonb_build_object(
    'success', true, 'task_type', type_name, 'quote_id', kept.id, 'quote_expires_at', kept.expires_at,
    'cost', quote.expected_microusd / 10000.0, 'cost_microusd', quote.expected_microusd,
    'upper_bound', quote.upper_bound_microusd / 10000.0, 'upper_bound_microusd', quote.upper_bound_microusd,
    'exact', quote.exact, 'billing_type', (quote.price).billing_type,
    'price_version', (quote.price).version, 'breakdown', quote.breakdown);
end
$$;
revoke all on function public.calculate_task_cost from public, anon, authenticated;
grant execute on function public.calculate_task_cost to service_role;
