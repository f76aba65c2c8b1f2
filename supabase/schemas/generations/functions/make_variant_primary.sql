-- One variant is primary; the one that was is so no longer. The generation's lock keeps two from becoming it at once.
create or replace function public.make_variant_primary()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    -- Of two inserts of one id the second waits here, and then sees the first.
    perform pg_advisory_xact_lock(hashtextextended(new.id::text, 0));
  end if;
  perform from public.generations where id = new.generation_id for no key update;
  -- Not in vain: with `on conflict`, this row will not be written where there is one of its id, or one that its task has added here.
  if tg_op = 'INSERT' and exists (
       select from public.generation_variants
        where id = new.id or generation_id = new.generation_id and source_task_id = new.source_task_id) then
    return new;
  end if;
  update public.generation_variants set is_primary = false
   where generation_id = new.generation_id and is_primary and id <> new.id;
  return new;
end
$$;
revoke all on function public.make_variant_primary from public, anon, authenticated;
