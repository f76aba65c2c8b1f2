-- Which of a price's listed values a value is paid as: itself, or the smallest listed size or scale that is not smaller. Null
-- where there is none.
create or replace function public.listed_value(listed jsonb, value text)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  wanted_pixels constant bigint := public.pixels_of_size(value);
  wanted_scale constant numeric := (regexp_match(value, '^([0-9]{1,9}(\.[0-9]+)?)x$'))[1]::numeric;
begin
  if listed ? value then
    return value;
  end if;
  return (
    select key from (
      select key, public.pixels_of_size(key) as pixels,
             (regexp_match(key, '^([0-9]{1,9}(\.[0-9]+)?)x$'))[1]::numeric as scale
        from jsonb_object_keys(listed) as key) as option
     where option.pixels >= wanted_pixels or option.scale >= wanted_scale
     order by option.pixels, option.scale, key limit 1);
end
$$;
revoke all on function public.listed_value from public, anon, authenticated;
