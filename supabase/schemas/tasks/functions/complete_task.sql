-- Ends a run with its output, in one transaction: the row, the generation or variant, the charge, the
-- dependants. Guarantees: one output and one charge, for the status is checked under the row's lock;
-- the same worker and attempt get the first answer again; everybody else 409, and nothing changes.
-- `output_path` and `thumbnail_path` name files in storage, which must be there and be this task's.
create or replace function public.complete_task(
  for_user uuid, for_task uuid, output_path text, output_location text,
  thumbnail_path text default null, thumbnail_location text default null,
  for_worker text default null, for_attempt integer default null
) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  task public.tasks;
  made public.made_output;
begin
  perform public.lock_orchestrators(for_task);
  task := public.task_of_worker(for_task, for_user, for_worker, for_attempt);
  if task.status = 'Complete' then
    return public.stored_completion(task);
  end if;
  perform public.check_output_path(task, output_path);
  if thumbnail_path is not null then
    perform public.check_output_path(task, thumbnail_path);
  end if;

  made := public.create_output(task, complete_task.output_location, complete_task.thumbnail_location);
  task := public.finish_task(task, complete_task.output_location, complete_task.thumbnail_location,
                             made.generation_id, made.variant_id);
  return public.stored_completion(task, made.warnings);
end
$$;
revoke all on function public.complete_task from public, anon, authenticated;
grant execute on function public.complete_task to service_role;
