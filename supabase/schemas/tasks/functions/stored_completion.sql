-- What completing a task answers, the first time and every time after.
create or replace function public.stored_completion(task public.tasks, warnings jsonb default '[]')
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'success', true, 'task_id', task.id, 'public_url', task.output_location, 'thumbnail_url', task.thumbnail_url,
    'message', 'Task completed and file uploaded successfully', 'attempt', task.attempt,
    'generation_id', task.result_data -> 'generation_id', 'variant_id', task.result_data -> 'variant_id',
    'cost_microusd', coalesce(task.cost_microusd, 0), 'warnings', stored_completion.warnings);
end
$$;
revoke all on function public.stored_completion from public, anon, authenticated;
