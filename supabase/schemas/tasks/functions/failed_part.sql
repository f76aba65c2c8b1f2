-- What an orchestrator says of the part that made it fail: which task it is, its position among the parts, and its error.
create or replace function public.failed_part(part public.tasks)
returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object(
    'task_id', part.id, 'task_type', part.task_type,
    'index', coalesce(public.integer_or_null(part.params ->> 'segment_index'), public.integer_or_null(part.params ->> 'join_index')),
    'error_message', part.error_message);
end
$$;
revoke all on function public.failed_part from public, anon, authenticated;
