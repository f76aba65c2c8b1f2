-- Gives the running tasks of a worker that has ended back to the queue, or fails them after the last attempt.
-- Answers how many. Whatever somebody has locked is left to them: it is being ended, reported on or rescued just
-- now. A user whose tenant's lock is held is passed over, so that the worker's report waits for no user. What it leaves behind is rescued when the lease expires.
create or replace function public.rescue_worker_tasks(for_worker text, for_owner uuid, reason text)
returns integer
language plpgsql set search_path = '' as $$
declare
  candidate record;
  task public.tasks;
  rescued integer := 0;
begin
  for candidate in
    select running.id, running.user_id from public.tasks as running
     where running.status = 'In Progress' and running.worker_id = for_worker
       and public.is_run_of_worker(running, for_worker, for_owner)
     order by running.id
  loop
    perform from public.task_tenants where user_id = candidate.user_id for no key update skip locked;
    continue when not found;
    begin
      -- Asked again under the lock: an earlier rescue of this loop may have ended it with its orchestration.
      select * into task from public.tasks as running
       where running.id = candidate.id and public.is_run_of_worker(running, for_worker, for_owner)
         for no key update skip locked;
      if found then
        perform public.rescue_task(task, reason);
        rescued := rescued + 1;
      end if;
    exception when deadlock_detected then
      -- Two ends of one orchestration met; the other goes on, and the lease sees to this task.
      continue;
    end;
  end loop;
  return rescued;
end
$$;
revoke all on function public.rescue_worker_tasks from public, anon, authenticated;
