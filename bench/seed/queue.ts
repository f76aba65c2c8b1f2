/** A queue of any depth, as creating its tasks one by one would leave it, by a few statements. */
import type { Sql } from "postgres";
import { type BenchUser, makeUsers } from "../support.ts";

export const models = Array.from({ length: 8 }, (_, index) => `model-${index}`);
const taskTypes = ["single_image", "image_edit", "travel_segment"];

export interface QueueOptions {
  depth: number;
  /**
   * The oldest nine tenths cannot be claimed: a quarter of those users are at their cap, a quarter have the cloud
   * off, a quarter have no cover, and a quarter's tasks wait for another task.
   */
  isPoisoned: boolean;
}

/** People without tasks, once; the same for every queue. */
export async function makePeople(sql: Sql, count = 1000): Promise<BenchUser[]> {
  const users = await makeUsers(sql, count);
  await sql`create table bench_people (number integer primary key, user_id uuid not null, project_id uuid not null)`;
  await sql`
    insert into bench_people
    select number - 1, user_id, project_id
      from unnest(${users.map(({ userId }) => userId)}::uuid[], ${users.map(({ projectId }) => projectId)}::uuid[])
           with ordinality as person (user_id, project_id, number)`;
  return users;
}

/** Empties the queue and fills it again. Holds are left out: no claim reads them. */
export async function fillQueue(sql: Sql, { depth, isPoisoned }: QueueOptions): Promise<void> {
  await sql.unsafe(`
    truncate public.tasks, public.task_dependencies, public.task_counts, public.task_lanes, public.turn_marks cascade;
    update public.task_slots set task_id = null;
    update public.task_tenants set allows_cloud = true;
    delete from realtime.messages;
    alter table public.tasks disable trigger user;
    alter table public.task_lanes disable trigger user`);
  // Who is poisoned, and how: the first nine tenths of people, in four groups.
  await sql.unsafe(`
    drop table if exists bench_plan;
    create temp table bench_plan as
    select person.*, (select count(*) from bench_people) as people,
           case when ${String(isPoisoned)} and number < (select count(*) from bench_people) * 9 / 10
                then (array['capacity', 'cloud_off', 'no_cover', 'blocked'])[1 + number % 4] end as poison
      from bench_people as person;
    update public.task_tenants as tenant set allows_cloud = false
      from bench_plan where bench_plan.user_id = tenant.user_id and poison = 'cloud_off'`);
  // Two models a person, of one type each.
  await sql`
    insert into public.task_lanes (user_id, task_type, model, run_type, in_cloud, is_orchestrator, turn)
    select distinct plan.user_id, (${taskTypes}::text[])[1 + model % 3], 'model-' || model, 'gpu',
           plan.poison is distinct from 'no_cover', false, 0
      from bench_plan as plan, lateral (values (plan.number % 8), (plan.number / 8 % 8)) as two (model)`;
  await sql`
    insert into public.tasks (
      project_id, user_id, task_type, params, lane_id, run_type, model, request_hash, in_cloud, price_id,
      upper_bound_microusd, unmet_dependencies, created_at)
    select plan.project_id, plan.user_id, lane.task_type,
           jsonb_build_object('prompt', 'a hare in the snow, seen from far above', 'seed', place, 'resolution', '902x508',
                              'model', lane.model, 'negative_prompt', repeat('blurry, ', 20)),
           lane.id, lane.run_type, lane.model, sha256('bench'), lane.in_cloud, price.id, 25000,
           case when plan.poison = 'blocked' then 1 else 0 end,
           -- The poisoned ones are the oldest. All within the wait that a warm worker's model is worth.
           now() - interval '2 minutes' + place * interval '60 seconds' / ${depth}::integer
      from (
        select place, case
                 when not ${isPoisoned}::boolean then place % people
                 when place < ${depth}::integer * 0.9 then place % (people * 9 / 10)
                 else people * 9 / 10 + place % (people / 10) end as number,
               place / people % 2 as which
          from generate_series(0, ${depth - 1}::integer) as place, (select count(*)::integer as people from bench_people) as count
      ) as task
      join bench_plan as plan on plan.number = task.number
      join public.task_lanes as lane
        on lane.user_id = plan.user_id
       and lane.model = 'model-' || case task.which when 0 then plan.number % 8 else plan.number / 8 % 8 end
      join lateral (select id from public.task_type_prices where task_type = lane.task_type
                     order by version desc limit 1) as price on true`;
  if (isPoisoned) await poison(sql);
  await sql.unsafe(`
    alter table public.tasks enable trigger user;
    alter table public.task_lanes enable trigger user;
    insert into public.task_counts (lane_id, ready, blocked, running)
    select lane_id, count(*) filter (where status = 'Queued' and unmet_dependencies = 0),
           count(*) filter (where status = 'Queued' and unmet_dependencies > 0),
           count(*) filter (where status = 'In Progress')
      from public.tasks group by lane_id;
    update public.task_lanes as lane
       set is_ready = true, oldest_ready_at = waiting.oldest, is_open = public.lane_may_open(lane)
      from (select lane_id, min(created_at) as oldest from public.tasks
             where status = 'Queued' and unmet_dependencies = 0 group by lane_id) as waiting
     where waiting.lane_id = lane.id`);
  await sql.unsafe("vacuum analyze");
  await sql.unsafe("checkpoint");
  await assertFilled(sql, depth);
}

async function poison(sql: Sql): Promise<void> {
  await sql.unsafe(`
    insert into public.task_dependencies (dependency_id, task_id)
    select (select id from public.tasks where user_id = plan.user_id and unmet_dependencies = 1 limit 1), task.id
      from bench_plan as plan
      join public.tasks as task on task.user_id = plan.user_id
     where plan.poison = 'blocked'
       and task.id <> (select id from public.tasks where user_id = plan.user_id and unmet_dependencies = 1 limit 1);
    with running as (
      select task.id, task.user_id, row_number() over (partition by task.user_id order by task.created_at, task.id) as slot
        from bench_plan as plan join public.tasks as task on task.user_id = plan.user_id
       where plan.poison = 'capacity'
    )
    update public.tasks as task
       set status = 'In Progress', attempt = 1, worker_id = 'busy', claimed_by_owner = false, slot = running.slot,
           generation_started_at = now(), lease_expires_at = now() + interval '1 day'
      from running where running.id = task.id and running.slot <= 5;
    update public.task_slots as slot set task_id = task.id
      from public.tasks as task
     where task.status = 'In Progress' and task.user_id = slot.user_id and task.slot = slot.slot`);
}

async function assertFilled(sql: Sql, depth: number): Promise<void> {
  const [row] = await sql<{ tasks: number; open: number; wrong: number }[]>`
    select (select count(*)::integer from public.tasks) as tasks,
           (select count(*)::integer from public.task_lanes where is_open) as open,
           (select count(*)::integer from public.task_lanes as lane
             where lane.is_open and not exists (
               select from public.tasks where lane_id = lane.id and status = 'Queued' and unmet_dependencies = 0)) as wrong`;
  if (row?.tasks !== depth || row.open === 0 || row.wrong > 0) {
    throw new Error(`the queue was not filled as meant: ${JSON.stringify(row)}`);
  }
}
