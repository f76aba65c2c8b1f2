-- One event a change that people see of a generation and not of its files: a parent that waits for its parts was made;
-- it was renamed, starred or moved; it was deleted.
create or replace function public.broadcast_generation_change()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  generation public.generations;
begin
  if tg_op = 'DELETE' then
    -- With its project: nobody listens there any more.
    if not exists (select from public.projects where id = old.project_id) then
      return null;
    end if;
    generation := old;
  else
    generation := new;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'change', case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end,
      'generation_id', generation.id, 'variant_id', null, 'project_id', generation.project_id,
      'task_id', generation.source_task_id, 'variant_type', null, 'is_primary', null,
      'location', generation.location, 'thumbnail_url', generation.thumbnail_url, 'created_at', generation.created_at,
      'name', generation.name, 'starred', generation.starred,
      'parent_generation_id', generation.parent_generation_id),
    'generation', 'generations:' || generation.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_generation_change from public, anon, authenticated;
