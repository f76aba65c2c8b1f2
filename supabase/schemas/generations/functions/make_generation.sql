-- A generation of its own, with the output as its primary variant, in the shot that params name. Where this task has
-- made a generation before, the output is a new version of that; where one was made for it to fill, its first.
create or replace function public.make_generation(
  task public.tasks, type_row public.task_types, base_id uuid, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  variant_id uuid := gen_random_uuid();
  generation_id uuid;
  new_params constant jsonb := public.output_params(task, type_row, task.task_type);
begin
  insert into public.generations
    (project_id, tasks, source_task_id, type, name, location, thumbnail_url, params, based_on, primary_variant_id)
  values (task.project_id, jsonb_build_array(task.id), task.id, coalesce(type_row.content_type, 'image'),
          public.generation_name_of_params(task.params), output_location, output_thumbnail, new_params,
          coalesce(base_id, public.source_of_image(task.params, task.project_id)), variant_id)
  on conflict (source_task_id) do nothing
  returning id into generation_id;
  if found then
    insert into public.generation_variants
      (id, generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type)
    values (variant_id, generation_id, task.project_id, task.id, output_location, output_thumbnail, new_params, true,
            'original');
  else
    select id into generation_id from public.generations where source_task_id = task.id;
    variant_id := public.add_variant(
      generation_id, task, output_location, output_thumbnail, new_params,
      case when (select location from public.generations where id = generation_id) is null
           then 'original' else 'regenerated' end, true);
  end if;
  return row(generation_id, variant_id, public.link_to_shot(task, generation_id, '[]'))::public.made_output;
end
$$;
revoke all on function public.make_generation from public, anon, authenticated;
