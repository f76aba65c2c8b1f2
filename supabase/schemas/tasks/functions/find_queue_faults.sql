-- What is wrong with the queue, from the tables alone: tasks that are never offered, wrong places, slots and counters.
-- One row for each fault. What the queue's upkeep mends by itself is none.
create or replace function public.find_queue_faults()
returns table (rule text, user_id uuid, row_id text, details jsonb)
language sql stable set search_path = '' as $$
  with running as (
    select * from public.tasks where status = 'In Progress'
  ), limited as (
    select running.*, project.max_running_tasks as project_limit, kind.max_running_tasks as type_limit
      from running join public.projects as project on project.id = running.project_id
      join public.task_types as kind on kind.name = running.task_type
  ), lane as (
    select lane.*, exists (select from public.tasks as task
                            where task.lane_id = lane.id and task.status = 'Queued' and task.unmet_dependencies = 0
                              and not task.is_scheduled) as has_task,
           lane.in_cloud and tenant.allows_cloud and (
             lane.is_orchestrator
             or exists (select from public.task_slots as slot where slot.user_id = lane.user_id and slot.task_id is null)
                and (lane.project_id is null
                     or exists (select from public.project_slots as slot
                                 where slot.project_id = lane.project_id and slot.task_id is null))) as may_open
      from public.task_lanes as lane join public.task_tenants as tenant on tenant.user_id = lane.user_id
  )
  select 'waits_in_no_lane', task.user_id, task.id::text, jsonb_build_object('lane_id', task.lane_id)
    from public.tasks as task
   where task.status = 'Queued' and not exists (select from public.task_lanes as place where place.id = task.lane_id)
  union all
  select 'waits_for_wrong_number', task.user_id, task.id::text, jsonb_build_object('unmet_dependencies', task.unmet_dependencies)
    from public.tasks as task
   where task.status = 'Queued' and (task.dependant_on is not null or task.unmet_dependencies > 0)
     and task.unmet_dependencies <> task.is_following::integer + (
       select count(*) from public.task_dependencies as needed where needed.task_id = task.id and needed.is_waiting)
  union all
  select 'dependency_mark_differs', task.user_id, task.id::text, jsonb_build_object('dependency_id', needed.dependency_id)
    from public.task_dependencies as needed
    join public.tasks as task on task.id = needed.task_id
    join public.tasks as dependency on dependency.id = needed.dependency_id
   where case when task.status <> 'Queued' then needed.is_waiting
              when dependency.status <> 'Complete' then not needed.is_waiting
              else needed.is_waiting and not exists (
                select from public.task_outbox as noted
                 where noted.subject_id = dependency.id and noted.kind = 'release_dependants') end
  union all
  select 'outbox_is_not_worked_off', noted.user_id, noted.id::text,
         jsonb_build_object('kind', noted.kind, 'subject_id', noted.subject_id, 'created_at', noted.created_at)
    from public.task_outbox as noted where noted.created_at < now() - interval '5 minutes'
  union all
  select 'waits_for_what_will_not_come', task.user_id, task.id::text, '{}'
    from public.tasks as task
   where task.status in ('Queued', 'In Progress')
     and (exists (select from public.task_dependencies as needed
                    join public.tasks as dependency on dependency.id = needed.dependency_id
                   where needed.task_id = task.id and dependency.status in ('Failed', 'Cancelled')
                     and not exists (select from public.task_outbox as noted
                                      where noted.subject_id = dependency.id and noted.kind = 'end_relatives'))
          or exists (select from public.tasks as orchestrator
                      where orchestrator.id = task.orchestrator_task_id
                        and orchestrator.status in ('Complete', 'Failed', 'Cancelled')
                        and not exists (select from public.task_outbox as noted
                                         where noted.subject_id = orchestrator.id and noted.kind = 'end_relatives')))
  union all
  select 'follows_nobody', task.user_id, task.id::text, '{}'
    from public.tasks as task
   where task.is_following and not public.run_is_under_way(task.project_id, task.result_key)
     and not exists (select from public.results_to_share as noted
                      where noted.project_id = task.project_id and noted.result_key = task.result_key)
  union all
  select 'ready_lane_is_closed', lane.user_id, lane.id::text, jsonb_build_object('is_ready', lane.is_ready, 'is_open', lane.is_open)
    from lane where lane.has_task and (not lane.is_ready or lane.may_open and not lane.is_open)
  union all
  select 'open_lane_without_turn', lane.user_id, lane.id::text, '{}'
    from public.task_lanes as lane
    left join public.user_turns as mine on mine.user_id = lane.user_id and mine.run_type = lane.run_type and mine.is_open
   where lane.is_open and mine.user_id is null
  union all
  select 'waits_in_foreign_lane', task.user_id, task.id::text, jsonb_build_object('lane_id', task.lane_id)
    from public.tasks as task join public.task_lanes as place on place.id = task.lane_id
    join public.projects as project on project.id = task.project_id
   where task.status = 'Queued'
     and ((place.user_id, place.task_type, place.run_type, place.in_cloud, place.is_orchestrator)
          <> (task.user_id, task.task_type, task.run_type, task.in_cloud, task.is_orchestrator)
          or place.model not in (coalesce(task.model, ''), '')
          or place.project_id is distinct from case when project.max_running_tasks is not null then project.id end)
  union all
  select 'waits_with_worker', task.user_id, task.id::text, jsonb_build_object('worker_id', task.worker_id)
    from public.tasks as task where task.status = 'Queued' and task.worker_id is not null
  union all
  select 'runs_without_worker', running.user_id, running.id::text, '{}'
    from running
   where running.worker_id is null or running.claimed_by_owner is null or running.lease_expires_at is null
  union all
  select 'too_many_attempts', task.user_id, task.id::text, jsonb_build_object('attempt', task.attempt, 'attempts', task.attempts)
    from public.tasks as task
   where task.status in ('Queued', 'In Progress') and task.attempts >= task.max_attempts or task.attempts > task.attempt
  union all
  select 'user_has_not_five_slots', tenant.user_id, tenant.user_id::text, '{}'
    from public.task_tenants as tenant
   where (select count(*) from public.task_slots as slot where slot.user_id = tenant.user_id) <> 5
      or (select count(*) from running where running.user_id = tenant.user_id and not running.is_orchestrator) > 5
  union all
  select 'slot_is_not_its_task', coalesce(task.user_id, slot.user_id), coalesce(task.id, slot.task_id)::text, '{}'
    from (select * from running where not is_orchestrator) as task
    full join (select * from public.task_slots where task_id is not null) as slot
      on slot.task_id = task.id and slot.user_id = task.user_id and slot.slot = task.slot
   where task.id is null or slot.task_id is null
  union all
  select 'project_slot_is_not_its_task', task.user_id, coalesce(task.id, slot.task_id)::text, '{}'
    from (select * from limited where not is_orchestrator and project_limit is not null) as task
    full join (select * from public.project_slots where task_id is not null) as slot
      on slot.task_id = task.id and slot.project_id = task.project_id and slot.slot = task.project_slot
   where task.id is null or slot.task_id is null
  union all
  select 'type_slot_is_not_its_task', task.user_id, coalesce(task.id, slot.task_id)::text, '{}'
    from (select * from limited where type_limit is not null) as task
    full join (select * from public.task_type_slots where task_id is not null) as slot
      on slot.task_id = task.id and slot.task_type = task.task_type and slot.slot = task.task_type_slot
   where task.id is null or slot.task_id is null
  union all
  select 'project_slots_are_not_its_limit', project.user_id, project.id::text, jsonb_build_object('slots', count(slot.slot))
    from public.projects as project left join public.project_slots as slot on slot.project_id = project.id
   group by project.id
  having count(slot.slot) <> coalesce(greatest(project.max_running_tasks, count(slot.task_id)), 0)
  union all
  select 'type_slots_are_not_its_limit', null, kind.name, jsonb_build_object('slots', count(slot.slot))
    from public.task_types as kind left join public.task_type_slots as slot on slot.task_type = kind.name
   group by kind.name
  having count(slot.slot) <> coalesce(greatest(kind.max_running_tasks, count(slot.task_id)), 0)
  union all
  select 'limit_count_differs', null, coalesce(counted.subject_id, real.subject_id)::text,
         jsonb_build_object('subject', coalesce(counted.subject, real.subject), 'counted', counted.amount, 'real', real.amount)
    from (select subject, subject_id, sum(amount) as amount from public.limit_counts
           where subject = 'open_tasks' or exists (select from public.tasks where tasks.id = subject_id)
           group by subject, subject_id having sum(amount) <> 0) as counted
    full join (
      select 'open_tasks' as subject, task.user_id as subject_id, count(*) as amount
        from public.tasks as task where task.status in ('Queued', 'In Progress') group by task.user_id
      union all
      select 'dependants', needed.dependency_id, count(*)
        from public.task_dependencies as needed where needed.is_waiting group by needed.dependency_id
      union all
      select 'children', task.orchestrator_task_id, count(*)
        from public.tasks as task where task.orchestrator_task_id is not null group by task.orchestrator_task_id) as real
      on real.subject = counted.subject and real.subject_id = counted.subject_id
   where counted.amount is distinct from real.amount
  union all
  select 'counter_differs', lane.user_id, lane.id::text, jsonb_build_object(
         'ready', counted.ready, 'running', counted.running, 'blocked', counted.blocked, 'scheduled', counted.scheduled)
    from public.task_lanes as lane
    cross join lateral public.lane_count(lane.id) as counted
    left join (select lane_id, count(*) filter (where status = 'Queued' and unmet_dependencies = 0 and not is_scheduled) as ready,
                      count(*) filter (where status = 'In Progress') as running,
                      count(*) filter (where status = 'Queued' and unmet_dependencies > 0) as blocked,
                      count(*) filter (where status = 'Queued' and unmet_dependencies = 0 and is_scheduled) as scheduled
                 from public.tasks where status in ('Queued', 'In Progress') group by lane_id) as real
      on real.lane_id = lane.id
   where (counted.ready, counted.running, counted.blocked, counted.scheduled)
         is distinct from (coalesce(real.ready, 0), coalesce(real.running, 0), coalesce(real.blocked, 0), coalesce(real.scheduled, 0))
$$;
revoke all on function public.find_queue_faults from public, anon, authenticated;
