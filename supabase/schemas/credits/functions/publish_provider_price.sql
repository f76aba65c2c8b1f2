-- A new version of what a provider bills for a model, from a time on that is not past. `price` has the columns of provider_prices
-- that say what it costs. The same key again answers the first version; with other content 422. Jobs that were submitted before keep
-- their cost.
create or replace function public.publish_provider_price(price jsonb, actor text, reason text, idempotency_key text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  wanted public.provider_prices := jsonb_populate_record(null::public.provider_prices, price);
  known public.provider_prices;
  published public.provider_prices;
begin
  wanted.variant_prices := coalesce(wanted.variant_prices, '{}');
  wanted.minimum_units := coalesce(wanted.minimum_units, 0);
  wanted.job_fee_microusd := coalesce(wanted.job_fee_microusd, 0);
  if not public.are_variant_prices(wanted.variant_prices) then
    perform public.refuse('invalid_variant_prices', 422);
  end if;
  -- One publisher at a time.
  perform pg_advisory_xact_lock(hashtextextended('publish_provider_price', 0));
  select * into known from public.provider_prices as one where one.idempotency_key = publish_provider_price.idempotency_key;
  if found then
    if (known.provider, known.model, known.unit, known.price_microusd, known.variant_prices, known.minimum_units,
        known.job_fee_microusd, known.note, known.source_url, known.reason, known.published_by)
       is distinct from (wanted.provider, wanted.model, wanted.unit, wanted.price_microusd, wanted.variant_prices,
                         wanted.minimum_units, wanted.job_fee_microusd, wanted.note, wanted.source_url,
                         publish_provider_price.reason, publish_provider_price.actor)
       or wanted.valid_from is not null and known.valid_from <> greatest(wanted.valid_from, known.created_at) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
    return public.provider_price_summary(known) || '{"deduplicated": true}';
  end if;
  if wanted.valid_from < now() - interval '1 minute' then
    perform public.refuse('price_in_the_past', 422);
  end if;
  insert into public.provider_prices
    (provider, model, version, unit, price_microusd, variant_prices, minimum_units, job_fee_microusd, note, source_url,
     valid_from, published_by, reason, idempotency_key)
  values (wanted.provider, wanted.model,
          1 + coalesce((select max(version) from public.provider_prices as earlier
                         where earlier.provider = wanted.provider and earlier.model = wanted.model), 0),
          wanted.unit, wanted.price_microusd, wanted.variant_prices, wanted.minimum_units, wanted.job_fee_microusd,
          wanted.note, wanted.source_url, greatest(wanted.valid_from, now()), publish_provider_price.actor,
          publish_provider_price.reason, publish_provider_price.idempotency_key)
  returning * into published;
  return public.provider_price_summary(published) || '{"deduplicated": false}';
end
$$;
revoke all on function public.publish_provider_price from public, anon, authenticated;
grant execute on function public.publish_provider_price to service_role;
