-- The product of the price's factors that these params name.
create or replace function public.price_multiplier(price public.task_type_prices, params jsonb)
returns numeric
language plpgsql stable set search_path = '' as $$
begin
  return coalesce((price.cost_factors -> 'resolution' ->> (params ->> 'resolution'))::numeric, 1)
       * coalesce((price.cost_factors -> 'model_type' ->> (params ->> 'model_type'))::numeric, 1);
end
$$;
revoke all on function public.price_multiplier from public, anon, authenticated;
