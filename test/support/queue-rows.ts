import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { QueueRows } from "./queue-model.ts";

/** The queue as its tables have it, in one look. */
export async function queueRows(sql: Sql): Promise<QueueRows> {
  const [row] = await sql<{ rows: QueueRows }[]>`
    select jsonb_build_object(
      'tasks', (select coalesce(jsonb_agg(jsonb_build_object(
          'id', task.id, 'status', status, 'attempt', attempt, 'attempts', attempts, 'worker', worker_id,
          'byOwner', claimed_by_owner, 'isScheduled', is_scheduled, 'unmet', unmet_dependencies,
          'cost', cost_microusd, 'childrenHeld', children_held_microusd, 'inCloud', in_cloud,
          'isEarly', coalesce(run_after > now(), false),
          'expired', case when lease_expires_at < now()
                       then round(extract(epoch from lease_expires_at - timestamptz '2000-01-01'))::integer end,
          'hasKey', result_key is not null, 'isFollowing', is_following, 'reused', reused_task_id, 'priority', priority,
          'namesFile', result_data ? 'storage_path',
          'isResult', exists (select from storage.objects where name = result_data ->> 'storage_path'),
          'hold', (select amount_microusd from credit_holds where task_id = task.id and state = 'held'),
          'wasCharged', exists (select from credits_ledger where task_id = task.id and type = 'spend'))
          order by created_at, id), '[]') from tasks as task),
      'users', (select jsonb_agg(jsonb_build_object(
          'id', user_id, 'balance', balance_microusd,
          'allowsCloud', allows_cloud, 'allowsLocal', allows_local,
          'turn', (select case when min(turn) < max(turn) then null else coalesce(max(turn), 0) end
                     from user_turns as mine where mine.user_id = task_tenants.user_id)))
          from task_tenants join credit_accounts using (user_id)),
      'projects', (select jsonb_agg(jsonb_build_object(
          'id', id, 'limit', max_running_tasks, 'reuses', reuses_results)) from projects),
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
    select rule as promise, row_id as what from find_queue_faults()
    union all
    -- Here time jumps, and the upkeep comes later.
    select rule, row_id from find_task_faults() where rule not in ('lease_not_swept', 'schedule_not_swept')
    union all
    select rule, row_id from find_ledger_faults()
    union all
    select 'no open lane is behind where claims begin', lane.id::text
      from task_lanes as lane,
           lateral (values (lane.run_type::text, lane.model), (lane.task_type, null), (lane.task_type, lane.model))
             as looked_at (kind, of_model)
     where is_open and turn < turn_mark(kind, of_model)
    union all
    select 'no user whose turn comes is behind where claims begin', user_id::text
      from user_turns where is_open and turn < turn_mark(run_type, null)`;
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
      ('rows of the outbox', (select count(*)::int from task_outbox)),
      ('counts of limits', (select count(*)::int from (
         select from limit_counts where subject <> 'children'
          group by subject, subject_id having sum(amount) <> 0) as counted)),
      ('noted results', (select count(*)::int from results_to_share)),
      ('open turns', (select count(*)::int from user_turns where is_open))) as left_over (what, count)
     where count > 0`;
}
