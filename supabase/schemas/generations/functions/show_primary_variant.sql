-- A generation shows what its primary variant is. A variant without a name leaves the generation's as it is.
create or replace function public.show_primary_variant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.generations
     set location = new.location, thumbnail_url = new.thumbnail_url, params = new.params,
         name = coalesce(new.name, name), primary_variant_id = new.id
   where id = new.generation_id
     and (location, thumbnail_url, params, primary_variant_id, coalesce(new.name, name))
         is distinct from (new.location, new.thumbnail_url, new.params, new.id, name);
  return null;
end
$$;
revoke all on function public.show_primary_variant from public, anon, authenticated;
