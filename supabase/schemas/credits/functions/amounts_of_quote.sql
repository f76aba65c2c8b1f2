-- The amounts of a quote or of a task as APIs show them: what it is expected to cost (`cost` is another name of that), what is
-- held for it first, and the most that it can cost.
create or replace function public.amounts_of_quote(expected_microusd bigint, held_microusd bigint, upper_bound_microusd bigint)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'cost', expected_microusd / 10000.0, 'cost_microusd', expected_microusd,
    'estimated_cost', expected_microusd / 10000.0, 'estimated_cost_microusd', expected_microusd,
    'hold', held_microusd / 10000.0, 'hold_microusd', held_microusd,
    'upper_bound', upper_bound_microusd / 10000.0, 'upper_bound_microusd', upper_bound_microusd)
$$;
revoke all on function public.amounts_of_quote from public, anon, authenticated;
