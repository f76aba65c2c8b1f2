-- Where the files of a running task go: `paths` for these names, secret until they are delivered (issue_output_paths()). The attempt
-- is part of each, so a late worker's file never replaces the file of the one after it. `media`: the kinds of file that the output may be.
-- For a task that this caller has completed already: the stored answer, so a repeat uploads nothing.
create or replace function public.prepare_output(
  for_user uuid, for_task uuid, for_worker text default null, for_attempt integer default null,
  file_names text[] default '{}', for_upload boolean default false
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  task constant public.tasks := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
begin
  if task.status = 'Complete' then
    return jsonb_build_object('completed', public.stored_completion(task));
  end if;
  perform public.extend_lease(task);
  return jsonb_build_object(
    'paths', to_jsonb(public.issue_output_paths(task, file_names, for_upload)), 'media', public.output_media(task.task_type));
end
$$;
revoke all on function public.prepare_output from public, anon, authenticated;
grant execute on function public.prepare_output to service_role;
