-- A quote for a task that does not exist yet, or for so many of one price. For a user it is kept for ten minutes: who creates
-- the task with its id gets this price. A family's is for any payload whose price depends on the same.
create or replace function public.calculate_task_cost(
  for_user uuid, for_task_type text, params jsonb, is_of_family boolean default false, task_count integer default 1
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  type_name constant text := (public.canonical_task_type(for_task_type)).name;
  quote record;
  kept public.task_quotes;
begin
  select * into quote
    from public.quote_task(type_name, calculate_task_cost.params, with_breakdown => true, task_count => calculate_task_cost.task_count);
  if for_user is not null then
    insert into public.task_quotes (user_id, task_type, is_of_family, params_hash, price_id, exact, expected_microusd,
                                    held_microusd, upper_bound_microusd, part_prices, billed)
    values (for_user, type_name, calculate_task_cost.is_of_family,
            public.hash_of_quoted(calculate_task_cost.params, calculate_task_cost.is_of_family),
            (quote.price).id, quote.exact, quote.expected_microusd, quote.held_microusd,
            quote.upper_bound_microusd, quote.part_prices, quote.billed)
    returning * into kept;
  end if;
  return jsonb_build_object(
    'success', true, 'task_type', type_name, 'quote_id', kept.id, 'quote_expires_at', kept.expires_at,
    'exact', quote.exact, 'billing_type', (quote.price).billing_type,
    'price_version', (quote.price).version, 'billed', quote.billed, 'breakdown', quote.breakdown,
    'cancellation', public.cancel_terms(
      quote.price, quote.part_prices is not null, quote.upper_bound_microusd * task_count))
    || public.amounts_of_quote(
         quote.expected_microusd * task_count, quote.held_microusd * task_count, quote.upper_bound_microusd * task_count)
    || case when calculate_task_cost.is_of_family then jsonb_build_object('task_count', task_count) else '{}' end;
end
$$;
revoke all on function public.calculate_task_cost from public, anon, authenticated;
grant execute on function public.calculate_task_cost to service_role;
