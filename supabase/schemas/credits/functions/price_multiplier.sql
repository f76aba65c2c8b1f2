-- The product of a price's factors for what is billed.
create or replace function public.price_multiplier(price public.task_type_prices, billed jsonb)
returns numeric
language plpgsql stable set search_path = '' as $$
declare
  product numeric := 1;
  factor jsonb;
begin
  if price.cost_factors <> '{}' then
    for factor in select value from jsonb_array_elements(public.price_factors(price, billed)) loop
      product := product * (factor ->> 'multiplier')::numeric;
    end loop;
  end if;
  return product;
end
$$;
revoke all on function public.price_multiplier from public, anon, authenticated;
