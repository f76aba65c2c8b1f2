-- The factor of a resolution: the listed one; else, of those listed as width and height, that of the smallest with at
-- least as many pixels, or of the largest.
create or replace function public.resolution_multiplier(rule jsonb, resolution text)
returns numeric
language plpgsql immutable set search_path = '' as $$
declare
  listed numeric := (rule ->> resolution)::numeric;
  asked bigint;
begin
  if listed is not null or resolution is null or resolution !~ '^\d{1,5}x\d{1,5}$' then
    return coalesce(listed, 1);
  end if;
  asked := split_part(resolution, 'x', 1)::bigint * split_part(resolution, 'x', 2)::bigint;
  select size.multiplier into listed
    from (select split_part(key, 'x', 1)::bigint * split_part(key, 'x', 2)::bigint as pixels,
                 value::numeric as multiplier
            from jsonb_each_text(rule) where key ~ '^\d{1,5}x\d{1,5}$') as size
   order by size.pixels < asked, abs(size.pixels - asked) limit 1;
  return coalesce(listed, 1);
end
$$;
revoke all on function public.resolution_multiplier from public, anon, authenticated;
