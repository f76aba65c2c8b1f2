-- Whether this says what a unit costs by variant: names of 1 to 100 characters, and whole micro-dollars up to 1,000 dollars.
create or replace function public.are_variant_prices(variant_prices jsonb)
returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_typeof(variant_prices) = 'object' and pg_column_size(variant_prices) <= 4096 and not exists (
    select from jsonb_each(variant_prices) as given
     where length(given.key) not between 1 and 100
        or jsonb_typeof(given.value) <> 'number'
        or case when jsonb_typeof(given.value) = 'number'
             then given.value::numeric <> trunc(given.value::numeric) or given.value::numeric not between 0 and 1000000000 end);
end
$$;
revoke all on function public.are_variant_prices from public, anon, authenticated;
