-- What these params make of a price: [{factor, value, multiplier}], one for each factor that the price has.
create or replace function public.price_factors(price public.task_type_prices, params jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  factors jsonb := '[]';
  factor record;
  named text;
  multiplier numeric;
begin
  for factor in select key as name, value as rule from jsonb_each(price.cost_factors) loop
    named := public.factor_value(factor.name, params);
    if factor.name in ('frames', 'images') then
      multiplier := 1 + greatest(coalesce(named::numeric, 0) - (factor.rule ->> 'included')::numeric, 0)
                        * (factor.rule ->> 'each')::numeric;
    else
      multiplier := coalesce((factor.rule ->> named)::numeric, 1);
    end if;
    factors := factors || jsonb_build_object('factor', factor.name, 'value', named, 'multiplier', multiplier);
  end loop;
  return factors;
end
$$;
revoke all on function public.price_factors from public, anon, authenticated;
