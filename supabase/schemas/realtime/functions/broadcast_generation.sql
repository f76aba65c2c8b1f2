-- One event a change that people see: a generation, or a variant of it, with its file.
create or replace function public.broadcast_generation()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object(
      'generation_id', new.generation_id, 'variant_id', new.id, 'project_id', new.project_id,
      'task_id', new.source_task_id, 'variant_type', new.variant_type, 'is_primary', new.is_primary,
      'location', new.location, 'thumbnail_url', new.thumbnail_url, 'created_at', new.created_at),
    'generation', 'generations:' || new.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_generation from public, anon, authenticated;
