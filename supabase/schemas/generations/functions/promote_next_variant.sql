-- The primary variant was deleted: the newest of the others takes its place; without one the generation is empty.
create or replace function public.promote_next_variant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Gone itself, when it took its variants with it.
  perform from public.generations where id = old.generation_id for no key update;
  if not found or exists (
       select from public.generation_variants where generation_id = old.generation_id and is_primary) then
    return null;
  end if;
  update public.generation_variants set is_primary = true
   where id = (select id from public.generation_variants
                where generation_id = old.generation_id order by created_at desc, id limit 1);
  if not found then
    update public.generations
       set location = null, thumbnail_url = null, primary_variant_id = null
     where id = old.generation_id;
  end if;
  return null;
end
$$;
revoke all on function public.promote_next_variant from public, anon, authenticated;
