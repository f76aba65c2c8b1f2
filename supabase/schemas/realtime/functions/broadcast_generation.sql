-- One event a change that people see of a file: it came, became the one that its generation shows, or went.
create or replace function public.broadcast_generation()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  variant public.generation_variants;
begin
  if tg_op = 'DELETE' then
    -- With its generation, which says so itself.
    if not exists (select from public.generations where id = old.generation_id) then
      return null;
    end if;
    variant := old;
  else
    variant := new;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'change', case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end,
      'generation_id', variant.generation_id, 'variant_id', variant.id, 'project_id', variant.project_id,
      'task_id', variant.source_task_id, 'variant_type', variant.variant_type, 'is_primary', variant.is_primary,
      'location', variant.location, 'thumbnail_url', variant.thumbnail_url, 'created_at', variant.created_at),
    'generation', 'generations:' || variant.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_generation from public, anon, authenticated;
