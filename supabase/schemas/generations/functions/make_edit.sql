-- A version of an existing generation beside its primary one; a larger version that is asked for as the primary one is shown.
create or replace function public.make_edit(
  task public.tasks, type_row public.task_types, base_id uuid, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  named_source constant text := task.params ->> 'source_variant_id';
  source_variant uuid;
  warnings jsonb := '[]';
begin
  if named_source is not null then
    select id into source_variant from public.generation_variants
     where id = public.uuid_or_null(named_source) and project_id = task.project_id;
    if not found then
      warnings := public.unknown_id('source_variant_id');
    end if;
  end if;
  return row(
    base_id,
    public.add_variant(
      base_id, task, output_location, output_thumbnail,
      public.output_params(task, type_row, task.task_type, jsonb_build_object('source_variant_id', source_variant)),
      coalesce(type_row.variant_type, 'edit'),
      coalesce(type_row.variant_type = 'upscaled' and task.params -> 'is_primary' = 'true', false)),
    warnings)::public.made_output;
end
$$;
revoke all on function public.make_edit from public, anon, authenticated;
