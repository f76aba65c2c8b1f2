-- A line of a quote: so many pieces of work, each of one output or of so many seconds, and what they come to.
create or replace function public.price_line(
  price public.task_type_prices, billed jsonb, pieces integer, expected_seconds integer, upper_bound_seconds integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  each_expected constant bigint := public.price_of_work(price, billed, expected_seconds, upper_bound_seconds);
  each_bound constant bigint := public.price_of_work(price, billed, upper_bound_seconds, upper_bound_seconds);
begin
  return jsonb_build_object(
    'item', price.task_type, 'count', pieces, 'price_version', price.version,
    'unit', case price.billing_type when 'per_unit' then 'output' else 'second' end,
    'quantity', case price.billing_type when 'per_unit' then 1 else expected_seconds end,
    'upper_bound_quantity', case price.billing_type when 'per_unit' then 1 else upper_bound_seconds end,
    'each_microusd', price.price_microusd, 'factors', public.price_factors(price, billed),
    'multiplier', public.price_multiplier(price, billed),
    'total_microusd', pieces * each_expected, 'upper_bound_microusd', pieces * each_bound);
end
$$;
revoke all on function public.price_line from public, anon, authenticated;
