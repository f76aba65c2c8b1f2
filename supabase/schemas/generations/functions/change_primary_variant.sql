-- What is changed of a generation that its primary variant has too is changed there as well.
create or replace function public.change_primary_variant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- A generation without a file has lost its last variant, or waits for its first.
  update public.generation_variants
     set location = coalesce(new.location, location), thumbnail_url = new.thumbnail_url,
         name = case when new.name is distinct from old.name then new.name else name end
   where id = new.primary_variant_id and generation_id = new.id
     and (location, thumbnail_url, name) is distinct from
         (coalesce(new.location, location), new.thumbnail_url,
          case when new.name is distinct from old.name then new.name else name end);
  return null;
end
$$;
revoke all on function public.change_primary_variant from public, anon, authenticated;
