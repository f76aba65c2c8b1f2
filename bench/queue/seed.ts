/** A queue of any depth, made in a few statements and consistent with what `create_task` would have left. */
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type BenchUser, makeUsers, settle } from "../support.ts";

export const models = Array.from({ length: 8 }, (_, index) => `model-${index}`);
export const taskTypes = ["image_edit", "qwen_image_edit"] as const;
export const runType = "gpu";

export interface Seed {
  depth: number;
  /** How many of the users' tasks the cloud cannot have; they own the oldest 90 % of the queue. */
  poisonedUsers: number;
  /** Age of the oldest task; the others are evenly younger. */
  ageSeconds?: number;
}

/** Makes the users of a benchmark once; `seedQueue` gives and takes their tasks. */
export async function seedUsers(sql: Sql, count: number): Promise<BenchUser[]> {
  const users = await makeUsers(sql, count);
  await sql`
    create unlogged table bench_users as
    select number - 1 as number, id, project_id
      from unnest(${users.map((user) => user.userId)}::uuid[], ${users.map((user) => user.projectId)}::uuid[])
           with ordinality as pair (id, project_id, number)`;
  await sql`alter table bench_users add primary key (number)`;
  return users;
}

/** Replaces everything that is queued by a queue of this depth. The users keep their accounts. */
export async function seedQueue(sql: Pool, { depth, poisonedUsers, ageSeconds = 3600 }: Seed): Promise<void> {
  await clearQueue(sql);
  await sql.transaction(async (transaction) => {
    await planTasks(transaction, depth, poisonedUsers, ageSeconds);
    // Neither checked row by row nor announced: a million events are not what is measured. `checkSeed` checks.
    await transaction`set local session_replication_role = replica`;
    await makeLanes(transaction);
    await makeRunningTasks(transaction);
    await makeQueuedTasks(transaction);
    await makeCounts(transaction);
    await makeHolds(transaction);
  });
  await applyChoices(sql);
  await openSeededLanes(sql);
  await checkSeed(sql, depth);
  await sql`drop table bench_plan, bench_running`;
  await settle(sql);
}

async function clearQueue(sql: Sql): Promise<void> {
  await sql`
    truncate public.tasks, public.task_lanes, public.task_counts, public.task_run_times, public.turn_marks,
             public.credit_holds, storage.objects, realtime.messages cascade`;
  await sql`update public.task_slots set task_id = null where task_id is not null`;
  await sql`update public.credit_accounts set held_microusd = 0 where held_microusd > 0`;
  await sql`update public.users set settings = settings #- '{ui,generationMethods}'`;
}

/** Who has which task in which situation, oldest first. */
async function planTasks(sql: Sql, depth: number, poisonedUsers: number, ageSeconds: number): Promise<void> {
  await sql`
    create unlogged table bench_plan as
    select drawn.number, gen_random_uuid() as id, owner.id as user_id, owner.project_id,
           case when owner.number >= ${poisonedUsers} then 'free'
                else (array['at cap', 'cloud off', 'without cover', 'blocked'])[owner.number % 4 + 1] end as situation,
           (${[...taskTypes]}::text[])[case when hash / 8 % 4 = 0 then 2 else 1 end] as task_type,
           'model-' || hash % 8 as model,
           now() - make_interval(secs => ${ageSeconds} * (1 - drawn.number::float8 / ${depth})) as created_at
      from (select number, hashint8(number)::bigint & 2147483647 as hash
              from generate_series(0, ${depth - 1}::bigint) as number) as drawn
      join bench_users as owner
        on owner.number = case
             when ${poisonedUsers} > 0 and drawn.number < ${Math.floor(depth * 0.9)} then drawn.number % ${Math.max(1, poisonedUsers)}
             else ${poisonedUsers} + drawn.number % ((select count(*) from bench_users) - ${poisonedUsers}) end`;
  // Five runs of whoever is at the cap, and the one that the blocked wait for.
  await sql`
    create unlogged table bench_running as
    select gen_random_uuid() as id, first.*, slot
      from (select distinct on (user_id) user_id, project_id, situation, task_type, model
              from bench_plan where situation in ('at cap', 'blocked') order by user_id, number) as first,
           lateral generate_series(1, case first.situation when 'at cap' then 5 else 1 end) as slot`;
  await sql`analyze bench_plan`;
  await sql`analyze bench_running`;
}

/** As find_lane() makes them. */
async function makeLanes(sql: Sql): Promise<void> {
  await sql`
    insert into public.task_lanes (user_id, task_type, model, run_type, in_cloud, is_orchestrator, turn)
    select distinct plan.user_id, plan.task_type, plan.model, kind.run_type, plan.situation <> 'without cover',
           false, 0
      from bench_plan as plan join public.task_types as kind on kind.name = plan.task_type`;
  await sql`analyze public.task_lanes`;
}

/** As create_one_task() inserts them. What a task without cover lacks: it was made while its owner stayed local. */
async function makeQueuedTasks(sql: Sql): Promise<void> {
  await sql`
    insert into public.tasks
      (id, project_id, user_id, task_type, params, lane_id, run_type, model, dependant_on, unmet_dependencies,
       request_hash, in_cloud, price_id, billed, upper_bound_microusd, created_at, updated_at)
    select plan.id, plan.project_id, plan.user_id, plan.task_type,
           jsonb_build_object(
             'prompt', repeat('a red fox in deep snow at dawn, ', 12), 'negative_prompt', 'blurred, text',
             'model', plan.model, 'seed', plan.number, 'steps', 12,
             'owner', plan.user_id, 'project', plan.project_id),
           lane.id, lane.run_type, plan.model,
           case when dependency.id is not null then array[dependency.id] end,
           case when dependency.id is not null then 1 else 0 end,
           sha256(plan.id::text::bytea), lane.in_cloud, price.id,
           public.read_billed_values(price, '{}'), price.price_microusd, plan.created_at, plan.created_at
      from bench_plan as plan
      join public.task_lanes as lane
        on lane.user_id = plan.user_id and lane.task_type = plan.task_type and lane.model = plan.model
      join public.task_type_prices as price on price.task_type = plan.task_type
      left join bench_running as dependency
        on plan.situation = 'blocked' and dependency.user_id = plan.user_id
     order by plan.number`;
  await sql`
    insert into public.task_dependencies (dependency_id, task_id, is_waiting)
    select dependant_on[1], id, true from public.tasks where unmet_dependencies > 0`;
}

/** As claim_from_lane() leaves them, with a lease that outlasts the benchmark. */
async function makeRunningTasks(sql: Sql): Promise<void> {
  await sql`
    insert into public.tasks
      (id, project_id, user_id, task_type, params, status, lane_id, run_type, model, request_hash, in_cloud, price_id,
       billed, upper_bound_microusd, attempt, worker_id, claimed_by_owner, slot, lease_expires_at, generation_started_at)
    select running.id, running.project_id, running.user_id, running.task_type,
           jsonb_build_object('model', running.model), 'In Progress', lane.id, lane.run_type, running.model,
           sha256(running.id::text::bytea), lane.in_cloud, price.id,
           public.read_billed_values(price, '{}'), price.price_microusd, 1, 'bench-elsewhere', false,
           running.slot, now() + interval '1 day', now()
      from bench_running as running
      join public.task_lanes as lane
        on lane.user_id = running.user_id and lane.task_type = running.task_type and lane.model = running.model
      join public.task_type_prices as price on price.task_type = running.task_type`;
  await sql`
    update public.task_slots as taken set task_id = running.id
      from bench_running as running where taken.user_id = running.user_id and taken.slot = running.slot`;
}

/** As the trigger count_task() would have counted. */
async function makeCounts(sql: Sql): Promise<void> {
  await sql`
    insert into public.task_counts (lane_id, ready, blocked, running)
    select lane_id, count(*) filter (where status = 'Queued' and unmet_dependencies = 0),
           count(*) filter (where status = 'Queued' and unmet_dependencies > 0),
           count(*) filter (where status = 'In Progress')
      from public.tasks group by lane_id`;
  await sql`
    insert into public.limit_counts (subject, subject_id, amount)
    select 'open_tasks', user_id, count(*) from public.tasks group by user_id
    union all
    select 'dependants', dependency_id, count(*) from public.task_dependencies group by dependency_id`;
}

/** As open_hold() reserves. */
async function makeHolds(sql: Sql): Promise<void> {
  await sql`
    insert into public.credit_holds (task_id, user_id, project_id, amount_microusd, expires_at)
    select id, user_id, project_id, upper_bound_microusd, now() + interval '30 days' from public.tasks where in_cloud`;
  await sql`
    update public.credit_accounts as account set held_microusd = hold.amount
      from (select user_id, sum(amount_microusd) as amount from public.credit_holds group by user_id) as hold
     where account.user_id = hold.user_id`;
}

async function applyChoices(sql: Sql): Promise<void> {
  await sql`
    update public.users
       set settings = jsonb_set(settings, '{ui}', coalesce(settings -> 'ui', '{}')
                                || '{"generationMethods": {"inCloud": false, "onComputer": true}}')
     where id in (select user_id from bench_plan where situation = 'cloud off')`;
}

/** The one place that knows how a lane with tasks becomes ready, and open where the cloud may take one. */
async function openSeededLanes(sql: Sql): Promise<void> {
  await sql`
    select public.ready_lane(lane_id, oldest)
      from (select lane_id, min(created_at) as oldest from public.tasks
             where status = 'Queued' and unmet_dependencies = 0 group by lane_id) as head`;
}

/** A seed that differs from what the functions would have made measures something else. */
async function checkSeed(sql: Sql, depth: number): Promise<void> {
  const [found] = await sql<Record<string, number>[]>`
    select (select count(*)::int - ${depth} from public.tasks where status = 'Queued') as missing_tasks,
           (select count(*)::int from public.task_lanes as lane
              join public.task_tenants as tenant on tenant.user_id = lane.user_id
              join (select lane_id, bool_or(status = 'Queued' and unmet_dependencies = 0) as is_ready
                      from public.tasks group by lane_id) as mine on mine.lane_id = lane.id
             where lane.is_ready <> mine.is_ready
                or lane.is_open <> (mine.is_ready and lane.in_cloud and tenant.allows_cloud
                                    and exists (select from public.task_slots
                                                 where user_id = lane.user_id and task_id is null))) as wrong_lanes,
           (select count(*)::int from public.task_lanes as lane
              join (select user_id, bool_or(situation = 'free') as is_free from bench_plan group by user_id) as owner
                on owner.user_id = lane.user_id
             where lane.is_open <> owner.is_free) as lanes_against_plan,
           (select count(*)::int from public.tasks as task
              left join public.task_slots as taken on taken.user_id = task.user_id and taken.slot = task.slot
             where task.status = 'In Progress' and taken.task_id is distinct from task.id) as wrong_slots,
           (select count(*)::int from public.credit_accounts as account
             where held_microusd <> (select coalesce(sum(amount_microusd), 0) from public.credit_holds
                                      where user_id = account.user_id and state = 'held')) as wrong_accounts,
           (select count(*)::int from public.tasks as task
             where task.in_cloud and not exists (select from public.credit_holds
                                                  where task_id = task.id and state = 'held')) as uncovered_tasks,
           (select count(*)::int from public.tasks
             where upper_bound_microusd <> (public.quote_task(task_type, params)).upper_bound_microusd
               and id in (select id from public.tasks limit 100)) as wrong_prices,
           (select count(*)::int
              from (select lane_id, count(*) filter (where status = 'Queued') as queued from public.tasks
                     group by lane_id) as real
              join lateral public.lane_count(real.lane_id) as kept on true
             where real.queued <> kept.ready + kept.blocked) as wrong_counts`;
  const faults = Object.entries(found ?? { nothing: 1 }).filter(([, count]) => count !== 0);
  if (faults.length > 0) throw new Error(`the seed is not consistent: ${JSON.stringify(faults)}`);
}
