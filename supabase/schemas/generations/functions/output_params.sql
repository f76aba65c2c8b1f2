-- The params of what a task made: the task's own, and where it comes from.
create or replace function public.output_params(task public.tasks, type_row public.task_types, made_by text, more jsonb default '{}')
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return task.params || jsonb_strip_nulls(jsonb_build_object(
    'source_task_id', task.id, 'created_from', made_by, 'content_type', type_row.content_type,
    'tool_type', coalesce(task.params ->> 'tool_type', type_row.tool_type))) || more;
end
$$;
revoke all on function public.output_params from public, anon, authenticated;
