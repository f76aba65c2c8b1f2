-- What became of the runs that a worker names, in its order: `running` with it · `cancelled` · `ended` (complete
-- or failed) · `stale`, given back to the queue or to another · `unknown`, which is another user's task as well as
-- none. When it names none at all (null): what runs with it.
create or replace function public.runs_of_worker(for_worker text, for_owner uuid, named jsonb)
returns jsonb
language sql stable set search_path = '' as $$
  with run as (
    select (entry.run ->> 'task_id')::uuid as task_id, (entry.run ->> 'attempt')::integer as attempt, entry.position
      from jsonb_array_elements(named) with ordinality as entry (run, position)
    union all
    select running.id, null, row_number() over (order by running.generation_started_at, running.id)
      from (select * from public.tasks as task
             where named is null and task.status = 'In Progress' and task.worker_id = for_worker
               and public.is_run_of_worker(task, for_worker, for_owner)
             order by task.generation_started_at, task.id limit 50) as running
  ), found as (
    select run.task_id, run.position, task.attempt, task.lease_expires_at,
           case
             when task.id is null then 'unknown'
             when task.status = 'Cancelled' then 'cancelled'
             when run.attempt is not null and run.attempt <> task.attempt then 'stale'
             when public.is_run_of_worker(task, for_worker, for_owner) then 'running'
             when task.status in ('Complete', 'Failed') then 'ended'
             else 'stale' end as state
      from run
      left join public.tasks as task
        on task.id = run.task_id and (for_owner is null or task.user_id = for_owner)
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'task_id', task_id, 'state', state, 'attempt', attempt,
           'lease_expires_at', case when state = 'running' then lease_expires_at end) order by position), '[]')
    from found
$$;
revoke all on function public.runs_of_worker from public, anon, authenticated;
