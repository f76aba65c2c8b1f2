-- The whole that an orchestration was for: what its parent shows from now on. A stitch by itself is for the parent that
-- its params name; without one it makes nothing here.
create or replace function public.make_stitch(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  named constant text := task.params ->> 'parent_generation_id';
  parent public.made_output;
begin
  if task.orchestrator_task_id is not null then
    parent := public.parent_generation(task.orchestrator_task_id, task);
  else
    parent.generation_id := (public.find_generation(named, task.project_id)).id;
    if parent.generation_id is null then
      return row(null, null, case when named is null then '[]' else public.unknown_id('parent_generation_id') end)::public.made_output;
    end if;
    parent.warnings := '[]';
  end if;
  return row(
    parent.generation_id,
    public.add_variant(
      parent.generation_id, task, output_location, output_thumbnail,
      public.output_params(task, type_row, task.task_type || '_completion',
                           jsonb_build_object('tool_type', type_row.tool_type)),
      type_row.variant_type, true),
    parent.warnings)::public.made_output;
end
$$;
revoke all on function public.make_stitch from public, anon, authenticated;
