-- One event a change of status, and the shown ones of progress; never params.
create or replace function public.broadcast_task_update()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object(
      'task_id', new.id, 'project_id', new.project_id, 'task_type', new.task_type, 'status', new.status,
      'previous_status', case when tg_op = 'UPDATE' then old.status end,
      'progress', new.progress, 'progress_message', new.progress_message,
      'attempt', new.attempt, 'error_message', new.error_message,
      'output_location', new.output_location, 'thumbnail_url', new.thumbnail_url,
      'created_at', new.created_at, 'updated_at', new.updated_at,
      'generation_started_at', new.generation_started_at, 'generation_processed_at', new.generation_processed_at,
      'seq', nextval('public.task_update_sequence')),
    'task-update', 'task-updates:' || new.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_task_update from public, anon, authenticated;
