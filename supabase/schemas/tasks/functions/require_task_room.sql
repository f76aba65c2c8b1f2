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
      'The account has %s open tasks, the most allowed. Wait until tasks have ended, or cancel some, and send the request again.');
  end if;
  if orchestrator is not null then
    if public.limit_count('children', orchestrator) >= settings.max_children then
      perform public.refuse_limit('max_children', settings.max_children,
        'The orchestrator has %s children, the most allowed. Create a second orchestrator for the others.');
    end if;
    if is_orchestrator and public.orchestration_depth(orchestrator) >= settings.max_orchestration_depth then
      perform public.refuse_limit('max_orchestration_depth', settings.max_orchestration_depth,
        'Orchestrators are nested %s deep, the most allowed. Create this one as a child of an orchestrator further up.');
    end if;
  end if;
  if exists (select from public.tasks
              where id = any (dependencies) and status <> 'Complete'
                and public.limit_count('dependants', id) >= settings.max_dependants) then
    perform public.refuse_limit('max_dependants', settings.max_dependants,
      'A task of dependant_on has %s tasks that wait for it, the most allowed. Create this task when it is complete.');
  end if;
  if depth > settings.max_dependency_depth then
    perform public.refuse_limit('max_dependency_depth', settings.max_dependency_depth,
      'The chain of dependencies before this task is longer than %s. Create this task when the first of them are complete.');
  end if;
end
$$;
revoke all on function public.require_task_room from public, anon, authenticated;
