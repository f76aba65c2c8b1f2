-- A variant is of its generation's project, and stays with it. People's own images count as seen.
create or replace function public.keep_variant_with_generation()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' then
    if new.generation_id <> old.generation_id or new.project_id <> old.project_id then
      perform public.refuse('invalid_request', 400, '{"field": "generation_id"}');
    end if;
    return new;
  end if;
  -- Null where there is no such generation; the foreign key says so.
  new.project_id := (select project_id from public.generations where id = new.generation_id);
  if new.variant_type = 'original' and new.source_task_id is null and not new.params ? 'source_task_id' then
    new.viewed_at := coalesce(new.viewed_at, now());
  end if;
  return new;
end
$$;
revoke all on function public.keep_variant_with_generation from public, anon, authenticated;
