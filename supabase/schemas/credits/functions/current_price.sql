-- The price row in force at a time; null for a type without one.
create or replace function public.current_price(for_task_type text, as_of timestamptz default now())
returns public.task_type_prices
language plpgsql stable set search_path = '' as $$
declare
  price public.task_type_prices;
begin
  select * into price from public.task_type_prices
   where task_type = for_task_type and valid_from <= as_of
   order by valid_from desc, version desc limit 1;
  return price;
end
$$;
revoke all on function public.current_price from public, anon, authenticated;
