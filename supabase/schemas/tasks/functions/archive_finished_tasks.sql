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
  root uuid;
  family uuid[];
  roots uuid[] := '{}';
  members uuid[] := '{}';
  locked uuid[];
  project_ids uuid[];
  leaving uuid[];
begin
  -- Two would wait for each other where tasks of one depend on tasks of the other.
  if not pg_try_advisory_xact_lock(hashtextextended('archive_finished_tasks', 0)) then
    return 0;
  end if;
  -- Whoever adds a child locks the orchestrator first, so from here on a family does not grow. Those that may not
  -- leave are passed over here, lest many of them fill every batch.
  for root in
    select id from public.tasks
     where status in ('Complete', 'Failed', 'Cancelled') and orchestrator_task_id is null
       and updated_at < finished_before and public.family_may_leave(id, finished_before)
     order by updated_at, id limit at_most for update skip locked
  loop
    family := array(select public.family_of_task(root));
    exit when roots <> '{}' and cardinality(members) + cardinality(family) > at_most;
    roots := roots || root;
    members := members || family;
  end loop;
  if roots = '{}' then
    return 0;
  end if;
  select array_agg(id), array_agg(distinct project_id) into locked, project_ids
    from (select id, project_id from public.tasks where id = any (members) order by id
             for update skip locked) as task;
  -- A project that is being deleted takes its tasks with it.
  select array_agg(id) into project_ids
    from (select id from public.projects where id = any (project_ids) for key share skip locked) as project;

  -- Looked at again under the locks: nobody can retry them, or begin to depend on them, before this commits.
  with ready as materialized (
    select id from public.tasks
     where id = any (roots) and project_id = any (project_ids) and public.family_may_leave(id, finished_before)
  ), whole as (
    select array_agg(member) as tasks
      from ready
     cross join public.family_of_task(ready.id) as member
      left join unnest(locked) as ours on ours = member
     group by ready.id
    having bool_and(ours is not null)
  )
  select array_agg(member) into leaving from whole, unnest(whole.tasks) as member;
  if leaving is null then
    return 0;
  end if;

  insert into public.archived_tasks (
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, result_key, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, warnings, reused_task_id, in_cloud, price_id, billed,
    expected_microusd, upper_bound_microusd, held_microusd, children_held_microusd, cost_microusd, copied_from_share, created_at, updated_at)
  select
    id, project_id, user_id, task_type, params, status, run_type, model, is_orchestrator, orchestrator_task_id,
    dependant_on, unmet_dependencies, priority, run_after, request_hash, result_key, attempt, attempts, max_attempts, worker_id,
    claimed_by_owner, progress, progress_message, generation_started_at, generation_processed_at, output_location,
    thumbnail_url, error_message, generation_created, result_data, warnings, reused_task_id, in_cloud, price_id, billed,
    expected_microusd, upper_bound_microusd, held_microusd, children_held_microusd, cost_microusd, copied_from_share, created_at, updated_at
    from public.tasks where id = any (leaving);
  delete from public.tasks where id = any (leaving);
  return cardinality(leaving);
end
$$;
revoke all on function public.archive_finished_tasks from public, anon, authenticated;
grant execute on function public.archive_finished_tasks to service_role;
