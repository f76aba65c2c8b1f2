-- What a finished piece of work costs: one unit, or its begun seconds (at least one, at most so many; null: without a
-- limit), times the factors. Rounded half up to a whole micro-dollar, once, at the end. What counts drive beyond
-- a hundred million dollars stays there: nobody has that, and it is still a number to every reader.
create or replace function public.price_of_work(
  price public.task_type_prices, billed jsonb, work_seconds numeric, max_runtime_seconds integer
) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return least(round(price.price_microusd * public.price_multiplier(price, billed)
    * case price.billing_type
        when 'per_unit' then 1
        else least(greatest(ceil(work_seconds), 1), max_runtime_seconds)
      end), 1e14)::bigint;
end
$$;
revoke all on function public.price_of_work from public, anon, authenticated;
