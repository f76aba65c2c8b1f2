-- How many whole seconds of work an amount pays for at a price; null where seconds cost nothing, so that any amount pays
-- for all of them.
create or replace function public.seconds_paid_by(amount_microusd bigint, price public.task_type_prices, billed jsonb)
returns integer
language plpgsql stable set search_path = '' as $$
declare
  second_microusd constant numeric := price.price_microusd * public.price_multiplier(price, billed);
begin
  return case when price.billing_type = 'per_second' and second_microusd > 0
    then least(floor(amount_microusd / second_microusd), 86400)::integer end;
end
$$;
revoke all on function public.seconds_paid_by from public, anon, authenticated;
