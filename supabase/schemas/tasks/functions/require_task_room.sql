-- Refuses an open task that would exceed a limit of queue_settings. The caller holds the tenant's lock, so of two creates at a
-- limit the second counts the first; ends that are not committed yet count as open.
create or replace function public.require_task_room(
  for_user uuid, dependencies uuid[], orchestrator uuid, is_orchestrator boolean, depth integer
) returns void
language plpgsql set search_path = '' as $$
declare
  settings public.queue_settings;
begin
  select * into settings from public.queue_settings;
  if public.limit_count('open_tasks', for_user) >= settings.max_open_tasks then
    perform public.refuse_limit('max_open_tasks', settings.max_open_tasks,
      'An account may have at most %s open tasks. Wait until tasks have ended, or cancel some, then send the request again.');
  end if;
  if orchestrator is not null then
    if public.limit_count('children', orchestrator) >= settings.max_children then
      perform public.refuse_limit('max_children', settings.max_children,
        'An orchestrator may have at most %s children. Create a second orchestrator for the others.');
    end if;
    if is_orchestrator and public.orchestration_depth(orchestrator) >= settings.max_orchestration_depth then
      perform public.refuse_limit('max_orchestration_depth', settings.max_orchestration_depth,
        'Orchestrators may be nested at most %s deep. Create this one as a child of an orchestrator further up.');
    end if;
  end if;
  if exists (select from public.tasks
              where id = any (dependencies) and status <> 'Complete'
                and public.limit_count('dependants', id) >= settings.max_dependants) then
    perform public.refuse_limit('max_dependants', settings.max_dependants,
      'For a task, at most %s others may wait. Create this task when the tasks of dependant_on are complete.');
  end if;
  if depth > settings.max_dependency_depth then
    perform public.refuse_limit('max_dependency_depth', settings.max_dependency_depth,
      'A chain of dependencies may have at most %s tasks before this one. Create it when the first of them are complete.');
  end if;
end
$$;
revoke all on function public.require_task_room from public, anon, authenticated;
