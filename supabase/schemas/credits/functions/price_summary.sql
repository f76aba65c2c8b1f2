-- A version of a price as APIs show it.
create or replace function public.price_summary(price public.task_type_prices)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'task_type', price.task_type, 'version', price.version, 'billing_type', price.billing_type,
    'unit', case price.billing_type when 'per_unit' then 'output' else 'second' end,
    'price', price.price_microusd / 10000.0, 'price_microusd', price.price_microusd,
    'cost_factors', price.cost_factors,
    'cancellation', public.cancel_terms(price), 'blacked_out_policy', price.blacked_out_policy,
    'reuse_price', price.reuse_price_microusd / 10000.0, 'reuse_price_microusd', price.reuse_price_microusd,
    'valid_from', price.valid_from);
end
$$;
revoke all on function public.price_summary from public, anon, authenticated;
