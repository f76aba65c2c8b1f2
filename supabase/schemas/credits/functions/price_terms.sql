-- What work of a type comes to at a price before anything of its params counts: the estimate, the first hold and the most.
create or replace function public.price_terms(kind public.task_types, price public.task_type_prices)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  expected constant integer := public.expected_seconds(kind.name);
  first_hold constant integer := public.first_hold_seconds(expected, kind.max_runtime_seconds);
begin
  return jsonb_build_object('expected_seconds', expected, 'max_runtime_seconds', kind.max_runtime_seconds)
    || (public.amounts_of_quote(
          public.price_of_work(price, '{}', expected, kind.max_runtime_seconds),
          case price.billing_type when 'per_unit' then price.price_microusd else public.hold_for_seconds(price, '{}', first_hold) end,
          public.price_of_work(price, '{}', kind.max_runtime_seconds, kind.max_runtime_seconds))
        - '{cost,cost_microusd}'::text[]);
end
$$;
revoke all on function public.price_terms from public, anon, authenticated;
