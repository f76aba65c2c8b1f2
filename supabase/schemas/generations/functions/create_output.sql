-- Makes what a finished task's output becomes: a generation, or a variant of one; nothing for utilities and what has
-- no file. See docs/generations.md. Every id in params must be of the task's project; another is left out and
-- named in `warnings`.
create or replace function public.create_output(task public.tasks, output_location text, output_thumbnail text)
returns public.made_output
language plpgsql set search_path = '' as $$
declare
  type_row public.task_types;
  is_child constant boolean := task.orchestrator_task_id is not null;
  base public.generations;
  warnings jsonb := '[]';
  made public.made_output;
begin
  select * into type_row from public.task_types where name = task.task_type;
  if output_location is null or type_row.category = 'utility' then
    return row(null, null, warnings)::public.made_output;
  end if;
  if type_row.category = 'orchestration' then
    return public.make_joined_clip(task, type_row, output_location, output_thumbnail);
  end if;

  if not is_child and public.based_on_of_params(task.params) is not null then
    base := public.find_generation(public.based_on_of_params(task.params), task.project_id);
    if base.id is null then
      warnings := public.unknown_id('based_on');
    elsif task.params -> 'create_as_generation' is distinct from 'true' then
      return public.make_edit(task, type_row, base.id, output_location, output_thumbnail);
    end if;
  end if;
  if type_row.category = 'upscale' then
    return public.make_upscale(task, type_row, output_location, output_thumbnail);
  end if;
  if type_row.category = 'processing' and not is_child and type_row.content_type is distinct from 'image'
     and not (task.task_type = 'travel_stitch' and jsonb_typeof(task.params -> 'clip_urls') = 'array') then
    return row(null, null, warnings)::public.made_output;
  end if;

  made := case
    when task.task_type in ('travel_stitch', 'join_final_stitch') and (is_child or task.params ? 'clip_urls')
      then public.make_stitch(task, type_row, output_location, output_thumbnail)
    when task.task_type = 'individual_travel_segment'
      or task.task_type in ('travel_segment', 'join_clips_segment', 'edit_video_segment') and is_child
      then public.make_segment(task, type_row, output_location, output_thumbnail)
    end;
  if made.generation_id is null then
    warnings := warnings || coalesce(made.warnings, '[]');
    made := public.make_generation(task, type_row, base.id, output_location, output_thumbnail);
  end if;
  made.warnings := warnings || made.warnings;
  return made;
end
$$;
revoke all on function public.create_output from public, anon, authenticated;
