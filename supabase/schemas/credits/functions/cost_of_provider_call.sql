-- What a provider bills at most for one job, in micro-dollars: the price of its units, rounded up once, and the fee of each job.
-- `units` says how much of each unit the job has at most: {"images", "megapixels", "seconds", "training_steps"}, and the `variant`
-- that decides the price of one. Null where it cannot be known: the model has no price, or the job does not say what is counted and
-- no minimum counts instead.
create or replace function public.cost_of_provider_call(provider text, model text, units jsonb)
returns bigint
language plpgsql stable set search_path = '' as $$
declare
  price constant public.provider_prices :=
    public.current_provider_price(cost_of_provider_call.provider, cost_of_provider_call.model);
  counted jsonb;
  unit_microusd numeric;
begin
  if price.id is null then
    return null;
  end if;
  counted := case price.unit
    when 'job' then '1'::jsonb
    else units -> case price.unit when 'image' then 'images' when 'megapixel' then 'megapixels'
                                  when 'second' then 'seconds' else 'training_steps' end end;
  if counted is null and price.minimum_units > 0 then
    counted := to_jsonb(price.minimum_units);
  end if;
  if counted is null or jsonb_typeof(counted) <> 'number' or counted::numeric < 0 then
    return null;
  end if;
  unit_microusd := coalesce(
    (price.variant_prices -> (units ->> 'variant'))::numeric,
    (select max(listed.value::numeric) from jsonb_each(price.variant_prices) as listed where listed.value::numeric > price.price_microusd),
    price.price_microusd);
  -- No task costs more than that: see price_of_work().
  return least(ceil(unit_microusd * greatest(counted::numeric, price.minimum_units)) + price.job_fee_microusd, 1e14)::bigint;
end
$$;
revoke all on function public.cost_of_provider_call from public, anon, authenticated;
