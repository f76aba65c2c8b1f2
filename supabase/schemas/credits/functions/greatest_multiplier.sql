-- What the dearest params make of a price with these factors.
create or replace function public.greatest_multiplier(factors jsonb)
returns numeric
language plpgsql immutable set search_path = '' as $$
declare
  product numeric := 1;
  factor record;
begin
  for factor in select key as name, value as rule from jsonb_each(factors) loop
    product := product * case
      when factor.name in ('frames', 'images') then
        -- factor_value() reads no larger numbers.
        1 + greatest(100000 - (factor.rule ->> 'included')::numeric, 0) * (factor.rule ->> 'each')::numeric
      else (select greatest(max(given.value::numeric), 1) from jsonb_each(factor.rule) as given) end;
  end loop;
  return product;
end
$$;
revoke all on function public.greatest_multiplier from public, anon, authenticated;
