-- One variant is primary; the one that was is so no longer. The generation's lock keeps two from becoming it at once.
create or replace function public.make_variant_primary()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Not in vain: this row will not be written, for its task has added one here already.
  if tg_op = 'INSERT' and exists (
       select from public.generation_variants
        where generation_id = new.generation_id and source_task_id = new.source_task_id) then
    return new;
  end if;
  perform from public.generations where id = new.generation_id for no key update;
  update public.generation_variants set is_primary = false
   where generation_id = new.generation_id and is_primary and id <> new.id;
  return new;
end
$$;
revoke all on function public.make_variant_primary from public, anon, authenticated;
