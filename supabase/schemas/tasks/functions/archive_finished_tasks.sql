-- Moves finished tasks older than `queue_settings.keep_finished` to the archive; at most so many, but a family
-- (an orchestrator with all its children) always at once. Answers how many.
-- What stays: see family_may_leave().
-- Safe to run anywhere at once: one runs, the others go away; and it waits for nobody, for what somebody has
-- locked is skipped. No answer of a read changes.
create or replace function public.archive_finished_tasks(at_most integer default 1000)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  finished_before constant timestamptz := (select now() - keep_finished from public.queue_settings);
  roots uuid[];
  members uuid[];
  locked uuid[];
  projects uuid[];
  leaving uuid[];
begin
  -- Two would wait for each other where tasks of one depend on tasks of the other.
  if not pg_try_advisory_xact_lock(hashtextextended('archive_finished_tasks', 0)) then
    return 0;
  end if;
  -- Whoever adds a child locks the orchestrator first, so from here on a family does not grow. Those that may not
  -- leave are passed over here, lest many of them fill every batch.
  select array_agg(id) into roots
    from (select id from public.tasks
           where status in ('Complete', 'Failed', 'Cancelled') and orchestrator_task_id is null
             and updated_at < finished_before and public.family_may_leave(id, finished_before)
           order by updated_at, id limit at_most for update skip locked) as task;
  if roots is null then
    return 0;
  end if;
  select array_agg(member) into members
    from unnest(roots) as task_id, public.family_of_task(task_id) as member;
  select array_agg(id) into locked
    from (select id from public.tasks where id = any (members) order by id for update skip locked) as task;
  -- A project that is being deleted takes its tasks with it.
  select array_agg(id) into projects
    from (select id from public.projects
           where id in (select project_id from public.tasks where id = any (locked))
           for key share skip locked) as project;

  -- Looked at again under the locks: nobody can retry them, or begin to depend on them, before this commits.
  with family as (
    select task.id as root, task.updated_at, array_agg(member) as tasks
      from public.tasks as task, public.family_of_task(task.id) as member
     where task.id = any (roots) and task.project_id = any (projects)
       and public.family_may_leave(task.id, finished_before)
     group by task.id
    having array_agg(member) <@ locked
  ), counted as (
    select tasks, row_number() over by_age as place, sum(cardinality(tasks)) over by_age as so_far
      from family window by_age as (order by updated_at, root)
  )
  select array_agg(member) into leaving
    from counted, unnest(tasks) as member where so_far <= at_most or place = 1;
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
