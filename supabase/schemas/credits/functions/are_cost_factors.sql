-- Whether this says how params change a price: known names, and numbers from 0 to 1000.
create or replace function public.are_cost_factors(factors jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  factor record;
begin
  for factor in select key as name, value as rule from jsonb_each(factors) loop
    if jsonb_typeof(factor.rule) <> 'object'
       or factor.name <> all (public.cost_factor_names())
       or exists (select from jsonb_each(factor.rule) as given
                   where jsonb_typeof(given.value) <> 'number'
                      or case when jsonb_typeof(given.value) = 'number' then given.value::numeric not between 0 and
                              case given.key when 'included' then 100000 else 1000 end end)
       or factor.name = any (public.counted_factor_names())
          and (not factor.rule ?& array['included', 'each']
               or (select count(*) from jsonb_object_keys(factor.rule)) > 2)
       or factor.rule = '{}'
       -- A size that is spelled otherwise than it is read would never be met.
       or factor.name = 'resolution' and exists (
            select from jsonb_object_keys(factor.rule) as size
             where public.read_quantity('resolution', to_jsonb(size), '{}') <> to_jsonb(size)) then
      return false;
    end if;
  end loop;
  return true;
end
$$;
revoke all on function public.are_cost_factors from public, anon, authenticated;
