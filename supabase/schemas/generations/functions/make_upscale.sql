-- The larger version of a generation, which it shows from now on; its params stay those of the source.
create or replace function public.make_upscale(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  named constant text := task.params ->> 'generation_id';
  source public.generations;
begin
  if named is null then
    return row(null, null, '[]')::public.made_output;
  end if;
  source := public.find_generation(named, task.project_id);
  if source.id is null then
    return row(null, null, public.unknown_id('generation_id'))::public.made_output;
  end if;
  return row(
    source.id,
    public.add_variant(
      source.id, task, output_location, coalesce(output_thumbnail, source.thumbnail_url),
      source.params || jsonb_build_object(
        'source_task_id', task.id, 'upscale_task_id', task.id, 'upscaled_from', task.params -> 'image',
        'upscale_model', coalesce(task.params ->> 'model', 'unknown'),
        'tool_type', coalesce(source.params ->> 'tool_type', 'image-generation')),
      coalesce(type_row.variant_type, 'upscaled'), true),
    '[]')::public.made_output;
end
$$;
revoke all on function public.make_upscale from public, anon, authenticated;
