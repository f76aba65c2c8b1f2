-- Makes what a finished task's output becomes: a variant of the generation it is based on, or a generation
-- of its own with this file as its primary variant; nothing for orchestration and utility tasks.
-- An id in params that is no generation of the same project is left out and named in `warnings`.
create or replace function public.create_output(
  task public.tasks, output_location text, output_thumbnail text,
  out generation_id uuid, out variant_id uuid, out warnings jsonb
)
language plpgsql set search_path = '' as $$
declare
  type_row public.task_types;
  based_on_text text;
  base public.generations;
  wants_own boolean;
  output_params jsonb;
begin
  warnings := '[]';
  select * into type_row from public.task_types where name = task.task_type;
  if task.orchestrator_task_id is not null
     or not (type_row.category = 'generation'
             or (type_row.category = 'processing' and type_row.content_type = 'image')) then
    return;
  end if;

  based_on_text := coalesce(
    task.params ->> 'based_on',
    task.params -> 'originalParams' -> 'orchestrator_details' ->> 'based_on',
    task.params -> 'orchestrator_details' ->> 'based_on',
    task.params -> 'full_orchestrator_payload' ->> 'based_on',
    task.params -> 'originalParams' ->> 'based_on');
  wants_own := coalesce(task.params -> 'create_as_generation' = 'true', false);
  if based_on_text is not null then
    if based_on_text ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
      -- Locked against being deleted before this commits.
      select * into base from public.generations
       where id = based_on_text::uuid and project_id = task.project_id for key share;
    end if;
    if base.id is null then
      warnings := warnings || jsonb_build_object(
        'field', 'based_on', 'message', 'There is no such generation in this project; it was ignored.');
    end if;
  end if;

  output_params := task.params || jsonb_strip_nulls(jsonb_build_object(
    'source_task_id', task.id, 'created_from', task.task_type, 'content_type', type_row.content_type,
    'tool_type', coalesce(task.params ->> 'tool_type', type_row.tool_type)));

  if base.id is not null and not wants_own then
    insert into public.generation_variants
      (generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type)
    values (base.id, task.project_id, task.id, output_location, output_thumbnail, output_params, false,
            coalesce(type_row.variant_type, 'edit'))
    returning id into variant_id;
    generation_id := base.id;
    return;
  end if;

  variant_id := gen_random_uuid();
  insert into public.generations
    (project_id, tasks, source_task_id, type, name, location, thumbnail_url, params, based_on, primary_variant_id)
  values (task.project_id, jsonb_build_array(task.id), task.id, coalesce(type_row.content_type, 'image'),
          left(coalesce(task.params ->> 'generation_name', task.params -> 'orchestrator_details' ->> 'generation_name'), 300),
          output_location, output_thumbnail, output_params, base.id, variant_id)
  returning id into generation_id;
  insert into public.generation_variants
    (id, generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type)
  values (variant_id, generation_id, task.project_id, task.id, output_location, output_thumbnail, output_params, true,
          'original');
end
$$;
revoke all on function public.create_output from public, anon, authenticated;
