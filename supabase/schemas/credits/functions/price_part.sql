-- What one piece of work is expected to cost, what is held for it first, and what it costs at most: by what was promised for its
-- type, else by the price in force and the operator's figures. Work that is paid by the second costs at most its longest run.
-- Nothing that a payer can influence is read but the params themselves.
create or replace function public.price_part(
  for_task_type text, params jsonb, promised jsonb,
  out price public.task_type_prices, out expected_seconds integer, out upper_bound_seconds integer,
  out expected_microusd bigint, out held_microusd bigint, out upper_bound_microusd bigint, out billed jsonb
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
      expected_seconds := public.expected_seconds(for_task_type);
      upper_bound_seconds := (select max_runtime_seconds from public.task_types where name = for_task_type);
    end if;
  end if;
  billed := public.read_billed_values(price, params);
  upper_bound_microusd := public.price_of_work(price, billed, upper_bound_seconds, upper_bound_seconds);
  if price.billing_type = 'per_unit' then
    expected_microusd := upper_bound_microusd;
    held_microusd := upper_bound_microusd;
  else
    expected_microusd := public.price_of_work(price, billed, expected_seconds, upper_bound_seconds);
    held_microusd := least(upper_bound_microusd, public.hold_for_seconds(
      price, billed, public.first_hold_seconds(expected_seconds, upper_bound_seconds)));
  end if;
end
$$;
revoke all on function public.price_part from public, anon, authenticated;
