-- Whether a file that completes a run is a result for others: one that nobody can replace any more, made of the files that the
-- key speaks of; those may have been replaced since the task was created.
create or replace function public.is_result(task public.tasks, path text)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return coalesce(split_part(path, '/', 2) = 'tasks', false)
    and public.result_key(task.user_id, task.task_type, task.params) is not distinct from task.result_key;
end
$$;
revoke all on function public.is_result from public, anon, authenticated;
