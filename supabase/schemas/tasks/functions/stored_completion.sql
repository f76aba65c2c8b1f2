-- What completing a task answers, the first time and every time after. `public_url` is where the output can be
-- fetched, also after its text was replaced; null where the output is text.
create or replace function public.stored_completion(task public.tasks)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'success', true, 'task_id', task.id, 'status', task.status,
    'public_url', coalesce(task.result_data ->> 'public_url',
                           case when task.output_location ~* '^https?://[^[:space:]]+$' then task.output_location end),
    'output_location', task.output_location, 'thumbnail_url', task.thumbnail_url,
    'message', 'Task completed and file uploaded successfully', 'attempt', task.attempt,
    'generation_id', task.result_data -> 'generation_id', 'variant_id', task.result_data -> 'variant_id',
    'cost_microusd', coalesce(task.cost_microusd, 0), 'warnings', coalesce(task.result_data -> 'warnings', '[]'),
    'more_outputs', coalesce(task.result_data -> 'more_outputs', '[]'));
end
$$;
revoke all on function public.stored_completion from public, anon, authenticated;
