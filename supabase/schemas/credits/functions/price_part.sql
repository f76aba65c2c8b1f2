-- What one piece of work is expected to cost, and at most: by what was promised for its type, else by the price in force
-- and what runs of its kind took.
create or replace function public.price_part(
  for_task_type text, model text, params jsonb, promised jsonb,
  out price public.task_type_prices, out expected_seconds integer, out upper_bound_seconds integer,
  out expected_microusd bigint, out upper_bound_microusd bigint, out billed jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  promise constant jsonb := promised -> for_task_type;
begin
  if promise is not null then
    select * into price from public.task_type_prices where id = (promise ->> 'price_id')::bigint;
    expected_seconds := (promise ->> 'expected_seconds')::integer;
    upper_bound_seconds := (promise ->> 'upper_bound_seconds')::integer;
  else
    price := public.current_price(for_task_type);
    if price.billing_type = 'per_unit' then
      expected_seconds := 1;
      upper_bound_seconds := 1;
    else
      select estimate.expected_seconds, estimate.upper_bound_seconds into expected_seconds, upper_bound_seconds
        from public.run_estimate(for_task_type, model) as estimate;
    end if;
  end if;
  billed := public.read_billed_values(price, params);
  upper_bound_microusd := public.price_of_work(price, billed, upper_bound_seconds, upper_bound_seconds);
  expected_microusd := case
    when price.billing_type = 'per_unit' then upper_bound_microusd
    else public.price_of_work(price, billed, expected_seconds, upper_bound_seconds) end;
end
$$;
revoke all on function public.price_part from public, anon, authenticated;
