-- The price row in force; null for a type without one.
create or replace function public.current_price(for_task_type text)
returns public.task_type_prices
language sql stable set search_path = '' as $$
  select price.* from public.task_type_prices as price
   where price.task_type = for_task_type and price.valid_from <= now()
   order by price.version desc limit 1
$$;
revoke all on function public.current_price from public, anon, authenticated;
