-- A version of a provider's price as APIs show it.
create or replace function public.provider_price_summary(price public.provider_prices)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'provider', price.provider, 'model', price.model, 'version', price.version, 'unit', price.unit,
    'price_microusd', price.price_microusd, 'variant_prices', price.variant_prices,
    'minimum_units', price.minimum_units, 'job_fee_microusd', price.job_fee_microusd,
    'note', price.note, 'source_url', price.source_url, 'valid_from', price.valid_from,
    'published_by', price.published_by, 'reason', price.reason)
$$;
revoke all on function public.provider_price_summary from public, anon, authenticated;
