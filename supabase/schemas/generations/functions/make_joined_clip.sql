-- The clip that a join was for, where no final stitch has made it: what the parent that its params name shows from
-- now on. Nothing for other orchestrations: their children have made it all.
create or replace function public.make_joined_clip(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  parent public.made_output;
begin
  if task.task_type not in ('join_clips_orchestrator', 'edit_video_orchestrator')
     or not exists (select from public.tasks where orchestrator_task_id = task.id and status = 'Complete')
     or exists (select from public.tasks
                 where orchestrator_task_id = task.id and task_type = 'join_final_stitch' and status = 'Complete') then
    return row(null, null, '[]')::public.made_output;
  end if;
  parent := public.parent_generation(task.id, task);
  return row(
    parent.generation_id,
    public.add_variant(
      parent.generation_id, task, output_location, output_thumbnail,
      public.output_params(task, type_row, 'join_clips_complete'), 'clip_join', true),
    parent.warnings)::public.made_output;
end
$$;
revoke all on function public.make_joined_clip from public, anon, authenticated;
