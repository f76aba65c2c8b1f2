-- A new version of a type's price, from a time on that is not past. Tasks and quotes keep theirs. The same key again
-- answers the first version; with other content 422.
create or replace function public.publish_price(
  for_task_type text, billing_type public.billing_type, price_microusd bigint, cost_factors jsonb,
  valid_from timestamptz, actor text, reason text, idempotency_key text, reuse_price_microusd bigint default 0,
  cancel_policy text default 'consumed', blacked_out_policy text default 'free'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  kind constant public.task_types := public.canonical_task_type(for_task_type, or_call => true);
  type_name constant text := kind.name;
  known public.task_type_prices;
  published public.task_type_prices;
begin
  if pg_column_size(publish_price.cost_factors) > 16384 or not public.are_cost_factors(publish_price.cost_factors) then
    perform public.refuse('invalid_cost_factors', 422);
  end if;
  -- Nothing about a call is multiplied or measured.
  if kind.category = 'call' and (publish_price.billing_type, publish_price.cost_factors) <> ('per_unit', '{}') then
    perform public.refuse('invalid_cost_factors', 422, jsonb_build_object('task_type', type_name));
  end if;
  -- One publisher at a time.
  perform pg_advisory_xact_lock(hashtextextended('publish_price', 0));
  select * into known from public.task_type_prices as price
   where price.idempotency_key = publish_price.idempotency_key;
  if found then
    if (known.task_type, known.billing_type, known.price_microusd, known.cost_factors::jsonb, known.reuse_price_microusd,
        known.cancel_policy, known.blacked_out_policy, known.reason, known.published_by)
       is distinct from (type_name, publish_price.billing_type, publish_price.price_microusd,
                         publish_price.cost_factors, publish_price.reuse_price_microusd, publish_price.cancel_policy,
                         publish_price.blacked_out_policy, publish_price.reason, actor)
       or publish_price.valid_from is not null
          and known.valid_from <> greatest(publish_price.valid_from, known.created_at) then
      perform public.refuse('idempotency_key_reused', 422);
    end if;
    return public.price_summary(known) || '{"deduplicated": true}';
  end if;
  if publish_price.valid_from < now() - interval '1 minute' then
    perform public.refuse('price_in_the_past', 422);
  end if;
  insert into public.task_type_prices
    (task_type, version, billing_type, price_microusd, cost_factors, reuse_price_microusd, cancel_policy, blacked_out_policy,
     valid_from, published_by, reason, idempotency_key)
  values (type_name,
          1 + coalesce((select max(version) from public.task_type_prices where task_type = type_name), 0),
          publish_price.billing_type, publish_price.price_microusd, publish_price.cost_factors,
          publish_price.reuse_price_microusd, publish_price.cancel_policy, publish_price.blacked_out_policy, greatest(publish_price.valid_from, now()), actor, publish_price.reason, publish_price.idempotency_key)
  returning * into published;
  return public.price_summary(published) || '{"deduplicated": false}';
exception
  -- The same key for another type, committed between our look and our insert.
  when unique_violation then
    perform public.refuse('idempotency_key_reused', 422);
end
$$;
revoke all on function public.publish_price from public, anon, authenticated;
grant execute on function public.publish_price to service_role;
