-- The whole that an orchestration was for: what its parent shows from now on.
create or replace function public.make_stitch(
  task public.tasks, type_row public.task_types, output_location text, output_thumbnail text
) returns public.made_output
language plpgsql set search_path = '' as $$
declare
  parent constant public.made_output := public.parent_generation(task.orchestrator_task_id, task);
begin
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
