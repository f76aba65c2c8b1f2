-- Moves finished tasks older than `queue_settings.keep_finished` to the archive; at most so many, but a family
-- (an orchestrator with all its children) always at once. Answers how many.
-- Stays: a family of which one runs, waits or is younger; what an open task depends on; what holds credits.
-- Safe to run anywhere at once: one runs, the others go away; and it waits for nobody, for what somebody has
-- locked is skipped. No answer of a read changes.
create or replace function public.archive_finished_tasks(at_most integer default 1000)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  finished_before constant timestamptz := (select now() - keep_finished from public.queue_settings);
  members uuid[];
  locked uuid[];
  projects uuid[];
  leaving uuid[];
begin
  -- Two would wait for each other where tasks of one depend on tasks of the other.
  if not pg_try_advisory_xact_lock(hashtextextended('archive_finished_tasks', 0)) then
    return 0;
  end if;
  -- Whoever adds a child locks the orchestrator first, so from here on a family does not grow.
  with recursive eldest as materialized (
    select task.id from public.tasks as task
     where task.status in ('Complete', 'Failed', 'Cancelled') and task.orchestrator_task_id is null
       and task.updated_at < finished_before
       and not exists (select from public.task_dependencies as needed
                         join public.tasks as dependant on dependant.id = needed.task_id
                        where needed.dependency_id = task.id and dependant.status in ('Queued', 'In Progress'))
     order by task.updated_at, task.id limit at_most for update skip locked
  ), family (id) as (
    select id from eldest
    union
    select child.id from family join public.tasks as child on child.orchestrator_task_id = family.id
  )
  select array_agg(id) into members from family;
  if members is null then
    return 0;
  end if;
  select array_agg(id) into locked
    from (select id from public.tasks where id = any (members) order by id for update skip locked) as task;
  -- A project that is being deleted takes its tasks with it.
  select array_agg(id) into projects
    from (select id from public.projects
           where id in (select project_id from public.tasks where id = any (locked))
           for key share skip locked) as project;

  -- Looked at again under the locks: nobody can retry them, or begin to depend on them, before this commits.
  with recursive family (eldest, id) as (
    select id, id from public.tasks where id = any (locked) and orchestrator_task_id is null
    union
    select family.eldest, child.id
      from family join public.tasks as child on child.orchestrator_task_id = family.id
  ), ready as (
    select family.eldest, count(*) as size
      from family join public.tasks as task on task.id = family.id
     group by family.eldest
    having bool_and(
      task.id = any (locked) and task.project_id = any (projects)
      and task.status in ('Complete', 'Failed', 'Cancelled')
      and task.updated_at < finished_before
      and not exists (select from public.credit_holds as hold where hold.task_id = task.id and hold.state = 'held')
      and not exists (select from public.task_dependencies as needed
                        join public.tasks as dependant on dependant.id = needed.task_id
                       where needed.dependency_id = task.id and dependant.status in ('Queued', 'In Progress')))
  ), counted as (
    select eldest, sum(size) over by_age as so_far, row_number() over by_age as place
      from ready join public.tasks as task on task.id = ready.eldest
    window by_age as (order by task.updated_at, task.id)
  )
  select array_agg(family.id) into leaving
    from family join counted using (eldest) where so_far <= at_most or place = 1;
  if leaving is null then
    return 0;
  end if;

  insert into public.archived_tasks (
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, in_cloud, price_id, upper_bound_microusd,
    children_bound_microusd, cost_microusd, copied_from_share, created_at, updated_at)
  select
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, in_cloud, price_id, upper_bound_microusd,
    children_bound_microusd, cost_microusd, copied_from_share, created_at, updated_at
    from public.tasks where id = any (leaving);
  delete from public.tasks where id = any (leaving);
  return cardinality(leaving);
end
$$;
revoke all on function public.archive_finished_tasks from public, anon, authenticated;
grant execute on function public.archive_finished_tasks to service_role;
