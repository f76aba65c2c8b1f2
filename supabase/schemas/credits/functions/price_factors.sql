-- What billed values make of a price: [{factor, value, multiplier}], one for each factor that the price has.
create or replace function public.price_factors(price public.task_type_prices, billed jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  factors jsonb := '[]';
  factor record;
  named text;
  multiplier numeric;
begin
  for factor in select key as name, value as rule from jsonb_each(price.cost_factors) loop
    named := coalesce(billed ->> factor.name, case factor.name when 'resolution' then (billed ->> 'scale') || 'x' end);
    if factor.name = any (public.counted_factor_names()) then
      multiplier := 1 + greatest(coalesce(named::numeric, 0) - (factor.rule ->> 'included')::numeric, 0)
                        * (factor.rule ->> 'each')::numeric;
    else
      multiplier := coalesce((factor.rule ->> public.listed_value(factor.rule, named))::numeric, 1);
    end if;
    factors := factors || jsonb_build_object('factor', factor.name, 'value', named, 'multiplier', multiplier);
  end loop;
  return factors;
end
$$;
revoke all on function public.price_factors from public, anon, authenticated;
