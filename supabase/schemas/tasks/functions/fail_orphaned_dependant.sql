-- A task that waited for one that was deleted can never run. What was complete when it was deleted is not
-- waited for: then the counter and the dependencies that are left agree.
create or replace function public.fail_orphaned_dependant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.end_task(task.id, 'Failed', 'dependency_failed', by_owner => true)
     from public.tasks as task
    where task.id = old.task_id and task.status = 'Queued'
      and task.unmet_dependencies > (
        select count(*) from public.task_dependencies as needed
          join public.tasks as dependency on dependency.id = needed.dependency_id
         where needed.task_id = task.id and dependency.status <> 'Complete');
  return null;
end
$$;
revoke all on function public.fail_orphaned_dependant from public, anon, authenticated;
