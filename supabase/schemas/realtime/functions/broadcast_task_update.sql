-- One event a change of status, and the shown ones of progress; never params.
create or replace function public.broadcast_task_update()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Here and not as the trigger's condition, which would be read from its text at every statement.
  if tg_op = 'UPDATE' and old.status = new.status and old.progress_shown_at is not distinct from new.progress_shown_at
     and (new.status <> 'Complete' or old.output_location is not distinct from new.output_location) then
    return null;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'task_id', new.id, 'project_id', new.project_id, 'task_type', new.task_type, 'status', new.status,
      'previous_status', case when tg_op = 'UPDATE' then old.status end,
      'progress', new.progress, 'progress_message', new.progress_message,
      'attempt', new.attempt, 'error_message', new.error_message,
      'output_location', new.output_location, 'thumbnail_url', new.thumbnail_url,
      'reused', new.reused_task_id is not null,
      'created_at', new.created_at, 'updated_at', new.updated_at,
      'generation_started_at', new.generation_started_at, 'generation_processed_at', new.generation_processed_at,
      'seq', nextval('public.task_update_sequence')),
    'task-update', 'task-updates:' || new.project_id, true);
  return null;
end
$$;
revoke all on function public.broadcast_task_update from public, anon, authenticated;
