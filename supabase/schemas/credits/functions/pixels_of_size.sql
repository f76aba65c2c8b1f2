-- How many pixels a size has: "1024x768", or one of the names that FAL gives to sizes. Null for others.
create or replace function public.pixels_of_size(size text)
returns bigint
language plpgsql immutable set search_path = '' as $$
declare
  sides constant text[] := regexp_match(case size
    when 'square_hd' then '1024x1024'
    when 'square' then '512x512'
    when 'portrait_4_3' then '768x1024'
    when 'portrait_16_9' then '576x1024'
    when 'landscape_4_3' then '1024x768'
    when 'landscape_16_9' then '1024x576'
    else size end, '^([0-9]{1,5})x([0-9]{1,5})$');
begin
  return sides[1]::bigint * sides[2]::bigint;
end
$$;
revoke all on function public.pixels_of_size from public, anon, authenticated;
