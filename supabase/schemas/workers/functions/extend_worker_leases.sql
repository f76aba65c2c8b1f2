-- Keeps a worker's running tasks with it, in one statement: those it names (`[{task_id, attempt?}]`), and no
-- others, for it may have lost the answer of a claim; or, when it names none at all (null), all of them.
-- A machine that lives is no proof of a run: without being named, a task is kept no longer than such a task may
-- run. An orchestrator is; it waits for others.
-- Rows that somebody has locked are skipped: whoever reports on a task extends its lease as well.
create or replace function public.extend_worker_leases(for_worker text, for_owner uuid, named jsonb)
returns void
language sql set search_path = '' as $$
  with kept as (
    select task.id from public.tasks as task
     where task.status = 'In Progress' and task.worker_id = for_worker
       and task.claimed_by_owner = (for_owner is not null) and (for_owner is null or task.user_id = for_owner)
       and case when named is null
         then task.is_orchestrator or now() < task.generation_started_at + (
           select make_interval(secs => max_runtime_seconds) from public.task_types where name = task.task_type)
         else exists (select from jsonb_to_recordset(named) as run (task_id uuid, attempt integer)
                       where run.task_id = task.id and (run.attempt is null or run.attempt = task.attempt)) end
     order by task.id for no key update skip locked
  )
  update public.tasks as task
     set lease_expires_at = now() + (select heartbeat_lease from public.queue_settings)
    from kept where task.id = kept.id and task.status = 'In Progress';

  -- What the cloud runs is covered for as long again.
  select public.grow_hold(task.id) from public.tasks as task
   where for_owner is null and task.status = 'In Progress' and task.worker_id = for_worker
     and task.covered_until < now() + public.hold_check_ahead()
   order by task.id limit 64
$$;
revoke all on function public.extend_worker_leases from public, anon, authenticated;
