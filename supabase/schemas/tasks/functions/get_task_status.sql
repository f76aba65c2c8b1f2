create or replace function public.get_task_status(for_user uuid, for_task uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  task constant public.all_tasks := public.find_task(for_user, for_task);
begin
  return jsonb_build_object(
    'task_id', task.id, 'status', task.status, 'task_type', task.task_type, 'project_id', task.project_id,
    'progress', task.progress, 'progress_message', task.progress_message,
    'attempt', task.attempt, 'attempts', task.attempts, 'worker_id', task.worker_id,
    'output_location', task.output_location, 'thumbnail_url', task.thumbnail_url,
    'error_message', task.error_message, 'failed_part', task.result_data -> 'failed_part',
    'cancellation', task.result_data -> 'cancellation',
    'blacked_out', coalesce((task.result_data ->> 'blacked_out')::integer, 0), 'warnings', task.warnings,
    'lease_expires_at', task.lease_expires_at,
    'generation_id', task.result_data -> 'generation_id',
    'reused', task.reused_task_id is not null, 'reused_task_id', task.reused_task_id,
    'created_at', task.created_at, 'generation_started_at', task.generation_started_at,
    'generation_processed_at', task.generation_processed_at);
end
$$;
revoke all on function public.get_task_status from public, anon, authenticated;
grant execute on function public.get_task_status to service_role;
