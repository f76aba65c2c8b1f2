-- A part of a whole: a new version of the child that params name, or of the child that stands at the same place; else a
-- new child of the parent. The only part of an orchestration is the whole too.
-- Without a parent it makes nothing.
create or replace function public.make_segment(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  details constant jsonb := coalesce(
    task.params -> 'orchestrator_details', task.params -> 'full_orchestrator_payload', '{}');
  is_join constant boolean := task.task_type in ('join_clips_segment', 'edit_video_segment');
  place constant integer := coalesce(
    public.integer_or_null(task.params ->> case when is_join then 'join_index' else 'segment_index' end),
    public.integer_or_null(task.params ->> 'index'), public.integer_or_null(task.params ->> 'sequence_index'));
  is_only_part constant boolean := case
    when is_join then task.params -> 'is_first_join' = 'true' and task.params -> 'is_last_join' = 'true'
    else task.task_type = 'travel_segment' and place = 0
      and '1' = coalesce(details ->> 'num_new_segments_to_generate', task.params ->> 'num_new_segments_to_generate') end;
  named_pair constant text := case when not is_join then public.pair_of_params(task.params, coalesce(place, 0)) end;
  new_params jsonb := public.output_params(
    task, type_row, 'child_generation_original',
    public.segment_params(task.params, coalesce(place, 0)) || jsonb_build_object('tool_type', type_row.tool_type));
  parent public.made_output;
  child public.generations;
  pair uuid;
  warnings jsonb := '[]';
  variant uuid := gen_random_uuid();
begin
  if named_pair is not null then
    select place_in_shot.id into pair
      from public.shot_generations as place_in_shot join public.shots as shot on shot.id = place_in_shot.shot_id
     where place_in_shot.id = public.uuid_or_null(named_pair) and shot.project_id = task.project_id
       for key share of place_in_shot;
    if not found then
      warnings := public.unknown_id('pair_shot_generation_id');
    end if;
  end if;

  if task.params ->> 'child_generation_id' is not null then
    child := public.find_generation(task.params ->> 'child_generation_id', task.project_id);
    if child.id is not null then
      return public.make_segment_version(task, type_row, child, output_location, output_thumbnail, new_params, true, warnings);
    end if;
    warnings := warnings || public.unknown_id('child_generation_id');
  end if;

  if task.orchestrator_task_id is not null then
    parent := public.parent_generation(task.orchestrator_task_id, task);
  else
    parent.generation_id := (public.find_generation(coalesce(
      task.params ->> 'parent_generation_id', details ->> 'parent_generation_id'), task.project_id)).id;
    parent.warnings := case
      when parent.generation_id is null
       and coalesce(task.params ->> 'parent_generation_id', details ->> 'parent_generation_id') is not null
      then public.unknown_id('parent_generation_id') else '[]' end;
  end if;
  warnings := warnings || parent.warnings;
  if parent.generation_id is null then
    return row(null, null, warnings)::public.made_output;
  end if;

  if is_only_part then
    -- Whoever shows something already goes on showing it.
    variant := public.add_variant(
      parent.generation_id, task, output_location, output_thumbnail,
      new_params || jsonb_strip_nulls(jsonb_build_object(
        'created_from', 'single_item_completion', 'is_single_item', true,
        'is_single_join', case when is_join then true end)),
      type_row.variant_type,
      not exists (select from public.generation_variants where generation_id = parent.generation_id and is_primary));
    update public.tasks set generation_created = true where id = task.orchestrator_task_id;
    if is_join then
      return row(parent.generation_id, variant, warnings)::public.made_output;
    end if;
  end if;

  if not is_join then
    -- Under the parent's lock, so that of two for one place the second finds the first.
    perform from public.generations where id = parent.generation_id for no key update;
    select * into child from public.generations as sibling
     where sibling.parent_generation_id = parent.generation_id
       and case when pair is not null then sibling.pair_shot_generation_id = pair else sibling.child_order = place end
     order by sibling.created_at desc, sibling.id limit 1;
    if found then
      return public.make_segment_version(task, type_row, child, output_location, output_thumbnail, new_params, false, warnings);
    end if;
  end if;

  variant := gen_random_uuid();
  if is_only_part then
    new_params := new_params || '{"created_from": "single_segment_child_original"}';
  end if;
  insert into public.generations
    (project_id, tasks, source_task_id, type, name, location, thumbnail_url, params, based_on, parent_generation_id,
     is_child, child_order, pair_shot_generation_id, primary_variant_id)
  values (task.project_id, jsonb_build_array(task.id), task.id, coalesce(type_row.content_type, 'video'),
          public.generation_name_of_params(task.params), output_location, output_thumbnail, new_params,
          coalesce((public.find_generation(public.based_on_of_params(task.params), task.project_id)).id,
                   public.source_of_image(task.params, task.project_id)),
          parent.generation_id, true, place, pair, variant)
  returning * into child;
  insert into public.generation_variants
    (id, generation_id, project_id, source_task_id, location, thumbnail_url, params, is_primary, variant_type, viewed_at)
  values (variant, child.id, task.project_id, task.id, output_location, output_thumbnail, new_params, true, 'original',
          case when is_only_part then now() end);
  return row(child.id, variant, warnings)::public.made_output;
end
$$;
revoke all on function public.make_segment from public, anon, authenticated;
