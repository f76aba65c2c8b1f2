-- The price of a provider's model that is in force at a time; null where the model has none.
create or replace function public.current_provider_price(for_provider text, for_model text, as_of timestamptz default now())
returns public.provider_prices
language plpgsql stable set search_path = '' as $$
declare
  price public.provider_prices;
begin
  select * into price from public.provider_prices
   where provider = for_provider and model = for_model and valid_from <= as_of
   order by valid_from desc, version desc limit 1;
  return price;
end
$$;
revoke all on function public.current_provider_price from public, anon, authenticated;
