-- One more file of a generation. A task adds one: asked again, it is the same, and shown if either call wants that.
create or replace function public.add_variant(
  to_generation uuid, task public.tasks, output_location text, output_thumbnail text, variant_params jsonb,
  new_variant_type text, primary_variant boolean, seen boolean default false
) returns uuid
language plpgsql set search_path = '' as $$
declare
  variant_id uuid;
begin
  insert into public.generation_variants as variant
    (generation_id, project_id, source_task_id, location, thumbnail_url, params, variant_type, is_primary, viewed_at)
  values (to_generation, task.project_id, task.id, output_location, output_thumbnail, variant_params, new_variant_type,
          primary_variant, case when seen then now() end)
  on conflict (generation_id, source_task_id, output_index) do update set is_primary = variant.is_primary or excluded.is_primary
  returning id into variant_id;
  return variant_id;
end
$$;
revoke all on function public.add_variant from public, anon, authenticated;
