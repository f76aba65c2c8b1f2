-- How many seconds of work a task's upper bound is of: the longest run that its type allowed when it was quoted, whatever the
-- operator allows since. A day, the longest of all, where seconds cost nothing; null where they cost so much that price_of_work()
-- stops counting.
create or replace function public.seconds_of_bound(upper_bound_microusd bigint, price public.task_type_prices, billed jsonb)
returns integer
language plpgsql stable set search_path = '' as $$
begin
  return case when price.billing_type = 'per_second' and upper_bound_microusd < 1e14 then
    least(round(upper_bound_microusd / nullif(price.price_microusd * public.price_multiplier(price, billed), 0)), 86400) end;
end
$$;
revoke all on function public.seconds_of_bound from public, anon, authenticated;
