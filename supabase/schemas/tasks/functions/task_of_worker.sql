-- The task, locked (or archived, and then it is over), if this caller may report on its run; else the refusal that says why not.
-- A null user is the service. Old workers name neither attempt nor worker: status and the kind of caller
-- that claimed are their fence. `Complete` passes for whoever completed it, so that a repeat is a success.
create or replace function public.task_of_worker(
  for_task uuid, for_user uuid, for_worker text, for_attempt integer
) returns public.tasks
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  -- What differs from status_details() when the task is archived.
  changed_details jsonb := '{}';
begin
  select * into task from public.tasks
   where id = for_task and (for_user is null or user_id = for_user) for no key update;
  if not found then
    select * into task from public.archived_task(for_task) where for_user is null or user_id = for_user;
    if not found then
      perform public.refuse('task_not_found', 404);
    end if;
    changed_details := '{"allowed_transitions": []}';
  end if;
  if (for_attempt is not null and for_attempt <> task.attempt)
     or (for_worker is not null and for_worker is distinct from task.worker_id)
     or (task.status in ('In Progress', 'Complete') and task.claimed_by_owner is distinct from (for_user is not null)) then
    perform public.refuse('stale_attempt', 409, public.status_details(task) || changed_details);
  end if;
  if task.status = 'Cancelled' then
    perform public.refuse('task_cancelled', 409, public.status_details(task) || changed_details);
  end if;
  if task.status not in ('In Progress', 'Complete') then
    perform public.refuse('task_not_running', 409, public.status_details(task) || changed_details);
  end if;
  return task;
end
$$;
revoke all on function public.task_of_worker from public, anon, authenticated;
