import type { Sql } from "postgres";
import type { QueueRows } from "./queue-model.ts";

/** The queue as its tables have it, in one look. */
export async function queueRows(sql: Sql): Promise<QueueRows> {
  const [row] = await sql<{ rows: QueueRows }[]>`
    select jsonb_build_object(
      'tasks', (select coalesce(jsonb_agg(jsonb_build_object(
          'id', task.id, 'status', status, 'attempt', attempt, 'attempts', attempts, 'worker', worker_id,
          'byOwner', claimed_by_owner, 'isScheduled', is_scheduled, 'unmet', unmet_dependencies,
          'cost', cost_microusd, 'childrenBound', children_bound_microusd, 'inCloud', in_cloud,
          'isEarly', coalesce(run_after > now(), false),
          'expired', case when lease_expires_at < now()
                       then round(extract(epoch from lease_expires_at - timestamptz '2000-01-01'))::integer end,
          'hold', (select amount_microusd from credit_holds where task_id = task.id and state = 'held'),
          'wasCharged', exists (select from credits_ledger where task_id = task.id and type = 'spend'))
          order by created_at, id), '[]') from tasks as task),
      'users', (select jsonb_agg(jsonb_build_object(
          'id', user_id, 'balance', balance_microusd,
          'allowsCloud', allows_cloud, 'allowsLocal', allows_local,
          'turn', (select case when min(turn) < max(turn) then null else coalesce(max(turn), 0) end
                     from user_turns as mine where mine.user_id = task_tenants.user_id)))
          from task_tenants join credit_accounts using (user_id)),
      'projects', (select jsonb_agg(jsonb_build_object('id', id, 'limit', max_running_tasks)) from projects),
      'types', (select jsonb_agg(jsonb_build_object('name', name, 'limit', max_running_tasks)) from task_types),
      'workers', (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'model', current_model)), '[]') from workers),
      'hasMarks', exists (select from turn_marks),
      'hasOverdueLanes', exists (select from task_lanes, queue_settings
                                  where is_overdue or oldest_ready_at < now() - affinity_max_wait)) as rows`;
  if (!row) throw new Error("no rows");
  return row.rows;
}

/** Promises of the queue that its tables break at this moment, where no transaction is open; none is as it must be. */
export async function brokenPromises(sql: Sql): Promise<{ promise: string; what: string }[]> {
  return await sql<{ promise: string; what: string }[]>`
    with ready as (
      select * from tasks where status = 'Queued' and unmet_dependencies = 0 and not is_scheduled
    ), running as (
      select * from tasks where status = 'In Progress'
    ), lane as (
      select task_lanes.*, exists (select from ready where lane_id = task_lanes.id) as has_task,
             in_cloud and tenant.allows_cloud and (
               is_orchestrator
               or exists (select from task_slots as slot where slot.user_id = task_lanes.user_id and task_id is null)
                  and (project_id is null
                       or exists (select from project_slots as slot
                                   where slot.project_id = task_lanes.project_id and task_id is null))) as may_open
        from task_lanes join task_tenants as tenant using (user_id)
    )
    select 'a user has five slots, and no more tasks run than that' as promise, user_id::text as what
      from task_tenants
     where (select count(*) from task_slots as slot where slot.user_id = task_tenants.user_id) <> 5
        or (select count(*) from running where running.user_id = task_tenants.user_id and not is_orchestrator) > 5
    union all
    select 'who runs has a slot, and the slot says so', coalesce(running.id::text, slot.user_id || ' ' || slot.slot)
      from (select * from running where not is_orchestrator) as running
      full join (select * from task_slots where task_id is not null) as slot
        on slot.task_id = running.id and slot.user_id = running.user_id and slot.slot = running.slot
     where running.id is null or slot.task_id is null
    union all
    select 'who runs in a limited project has a slot of it, and the slot says so', coalesce(running.id, slot.task_id)::text
      from (select running.* from running join projects on projects.id = project_id
             where not is_orchestrator and max_running_tasks is not null) as running
      full join (select * from project_slots where task_id is not null) as slot
        on slot.task_id = running.id and slot.project_id = running.project_id and slot.slot = running.project_slot
     where running.id is null or slot.task_id is null
    union all
    select 'a project has as many slots as its limit, or as run beyond it', projects.id::text
      from projects left join project_slots as slot on slot.project_id = projects.id
     group by projects.id
    having count(slot.slot) <> coalesce(greatest(max_running_tasks, count(slot.task_id)), 0)
    union all
    select 'who runs as a limited type has a slot of it, and the slot says so', coalesce(running.id, slot.task_id)::text
      from (select running.* from running join task_types on task_types.name = task_type
             where max_running_tasks is not null) as running
      full join (select * from task_type_slots where task_id is not null) as slot
        on slot.task_id = running.id and slot.task_type = running.task_type and slot.slot = running.task_type_slot
     where running.id is null or slot.task_id is null
    union all
    select 'a type has as many slots as its limit, or as run beyond it', name
      from task_types left join task_type_slots as slot on slot.task_type = name
     group by name
    having count(slot.slot) <> coalesce(greatest(max_running_tasks, count(slot.task_id)), 0)
    union all
    select 'who runs has a worker and a lease', id::text
      from running where worker_id is null or claimed_by_owner is null or lease_expires_at is null
    union all
    select 'who waits has no worker', id::text from tasks where status = 'Queued' and worker_id is not null
    union all
    select 'attempts that failed are fewer than those allowed, and than those made', id::text
      from tasks where status in ('Queued', 'In Progress') and attempts >= max_attempts or attempts > attempt
    union all
    select 'a lane with a task that may run is ready, and open when the cloud may take it', id::text
      from lane where has_task and (not is_ready or may_open and not is_open)
    union all
    select 'who waits, waits in the lane of their kind', task.id::text
      from tasks as task join task_lanes as lane on lane.id = lane_id join projects on projects.id = task.project_id
     where status = 'Queued'
       and (lane.user_id, lane.task_type, lane.run_type, lane.model, lane.in_cloud, lane.is_orchestrator)
           <> (task.user_id, task.task_type, task.run_type, coalesce(task.model, ''), task.in_cloud, task.is_orchestrator)
        or status = 'Queued'
       and lane.project_id is distinct from case when max_running_tasks is not null then projects.id end
    union all
    select 'no open lane is behind where claims begin', lane.id::text
      from task_lanes as lane,
           lateral (values (lane.run_type::text, lane.model), (lane.task_type, null), (lane.task_type, lane.model))
             as looked_at (kind, of_model)
     where is_open and turn < turn_mark(kind, of_model)
    union all
    select 'no user whose turn comes is behind where claims begin', user_id::text
      from user_turns where is_open and turn < turn_mark(run_type, null)
    union all
    select 'a user with an open lane has a turn that comes', lane.user_id::text
      from task_lanes as lane
      left join user_turns as mine on mine.user_id = lane.user_id and mine.run_type = lane.run_type and mine.is_open
     where lane.is_open and mine.user_id is null
    union all
    select 'who waits knows for how many', task.id::text
      from tasks as task
     where status = 'Queued'
       and unmet_dependencies <> (select count(*) from task_dependencies as needed
                                    join tasks as dependency on dependency.id = dependency_id
                                   where needed.task_id = task.id and dependency.status <> 'Complete')
    union all
    select 'nobody waits for what will not come', task.id::text
      from tasks as task
     where status in ('Queued', 'In Progress')
       and (exists (select from task_dependencies as needed join tasks as dependency on dependency.id = dependency_id
                     where needed.task_id = task.id and dependency.status in ('Failed', 'Cancelled'))
            or exists (select from tasks as orchestrator
                        where orchestrator.id = task.orchestrator_task_id
                          and orchestrator.status in ('Complete', 'Failed', 'Cancelled')))
    union all
    select 'an account is the sum of its ledger and of its open holds', user_id::text
      from credit_accounts as account
     where balance_microusd <> (select coalesce(sum(amount_microusd), 0) from credits_ledger as entry
                                 where entry.user_id = account.user_id)
        or held_microusd <> (select coalesce(sum(amount_microusd), 0) from credit_holds as hold
                              where hold.user_id = account.user_id and state = 'held')
    union all
    select 'a hold is open while its task is, and only then', task.id::text
      from tasks as task left join credit_holds as hold on hold.task_id = task.id and state = 'held'
     where (hold.task_id is not null)
           <> (status in ('Queued', 'In Progress') and in_cloud and orchestrator_task_id is null)
    union all
    select 'what is charged was held, and is in the ledger once', hold.task_id::text
      from credit_holds as hold
     where charged_microusd > amount_microusd or written_off_microusd <> 0
        or charged_microusd <> (select coalesce(-sum(amount_microusd), 0) from credits_ledger as entry
                                 where entry.task_id = hold.task_id and type = 'spend')
        or 1 < (select count(*) from credits_ledger as entry where entry.task_id = hold.task_id and type = 'spend')
    union all
    select 'an orchestrator covers its children', task.id::text
      from tasks as task join credit_holds as hold on hold.task_id = task.id and state = 'held'
     where hold.amount_microusd < (select coalesce(sum(case status when 'Complete' then cost_microusd
                                                         else upper_bound_microusd end), 0)
                                     from tasks as child
                                    where orchestrator_task_id = task.id
                                      and status in ('Queued', 'In Progress', 'Complete'))
    union all
    select 'counters are what a recount says', lane.id::text
      from task_lanes as lane, lane_count(lane.id) as counted
     where (counted.ready, counted.running) <> ((select count(*) from ready where lane_id = lane.id),
                                                (select count(*) from running where lane_id = lane.id))
        or counted.blocked <> (select count(*) from tasks
                                where lane_id = lane.id and status = 'Queued' and unmet_dependencies > 0)
        or counted.scheduled <> (select count(*) from tasks
                                  where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0
                                    and is_scheduled)`;
}

/** What is left in a queue in which everything has ended, and claims have found that out; nothing may be. */
export async function leftovers(sql: Sql): Promise<{ what: string; count: number }[]> {
  return await sql<{ what: string; count: number }[]>`
    select what, count from (values
      ('tasks that have not ended', (select count(*)::int from tasks where status in ('Queued', 'In Progress'))),
      ('open holds', (select count(*)::int from credit_holds where state = 'held')),
      ('taken slots', (select count(*)::int from task_slots where task_id is not null)),
      ('taken slots of projects', (select count(*)::int from project_slots where task_id is not null)),
      ('taken slots of types', (select count(*)::int from task_type_slots where task_id is not null)),
      ('open lanes', (select count(*)::int from task_lanes where is_open)),
      ('open turns', (select count(*)::int from user_turns where is_open))) as left_over (what, count)
     where count > 0`;
}
