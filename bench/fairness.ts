/**
 * How evenly claims are shared: users with equal backlogs over 10,000 claims by 16 claimers, cold and warm, and how
 * long tasks of a model wait that nobody has loaded.
 *
 *   --claims 10000   --users 100   --quick
 */
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import postgres from "postgres";
import { fillQueue, makePeople, models } from "./seed/queue.ts";
import { type Bench, onPostgres, percentile, printTable } from "./support.ts";

const { values: options } = parseArgs({
  options: {
    claims: { type: "string" },
    users: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const claims = Number(options.claims ?? (options.quick ? 1000 : 10_000));
const people = Number(options.users ?? 100);
const claimers = 16;

await onPostgres({}, async (bench) => {
  const { sql } = bench;
  await makePeople(sql, people);
  const rows: Record<string, string | number>[] = [];
  for (const isWarm of [false, true]) {
    await fillQueue(sql, { depth: claims * 2, isPoisoned: false });
    await workers(bench, isWarm);
    const served = await serve(bench);
    const counts = [...served.values()].sort((a, b) => a - b);
    rows.push({
      workers: isWarm ? "warm, 8 models" : "cold",
      users: people,
      claims,
      claimers,
      "least served": counts[0] ?? 0,
      "most served": counts.at(-1) ?? 0,
      "most : least": ((counts.at(-1) ?? 0) / (counts[0] ?? Number.NaN)).toFixed(2),
      "users served": served.size,
    });
  }
  printTable(rows);
  await minority(bench);
});

async function workers({ sql }: Bench, isWarm: boolean): Promise<void> {
  await sql`delete from public.workers`;
  for (let claimer = 0; claimer < claimers; claimer++) {
    const model = isWarm ? (models[claimer % models.length] ?? null) : null;
    await sql`insert into public.workers (id, current_model) values (${`worker-${claimer}`}, ${model})`;
  }
}

/** Claims and ends tasks, and counts by user. */
async function serve({ url }: Bench): Promise<Map<string, number>> {
  const sql = postgres(url, { max: claimers, onnotice: () => undefined });
  const served = new Map<string, number>();
  let left = claims;
  await Promise.all(
    Array.from({ length: claimers }, async (_, claimer) => {
      while (left-- > 0) {
        const [row] = await sql<{ claimed: { task_id: string } | null }[]>`
          select public.claim_next_task(for_worker => ${`worker-${claimer}`}, for_run_type => 'gpu') as claimed`;
        if (!row?.claimed) throw new Error("a claim found nothing");
        const [task] = await sql<{ user_id: string }[]>`
          select user_id from public.tasks where id = ${row.claimed.task_id}`;
        if (task) served.set(task.user_id, (served.get(task.user_id) ?? 0) + 1);
        await sql`select public.end_task(${row.claimed.task_id}, 'Cancelled', 'bench')`;
      }
    }),
  );
  await sql.end({ timeout: 5 });
  return served;
}

/** One task in a hundred is of a model that no worker has loaded, while there is always enough of theirs. */
async function minority(bench: Bench): Promise<void> {
  const { sql, url } = bench;
  const wait = 5;
  await sql`update public.queue_settings set affinity_max_wait = make_interval(secs => ${wait})`;
  await fillQueue(sql, { depth: claims * 4, isPoisoned: false });
  // All of the queue is as young as if it were just created; only so does the wait mean anything.
  await sql`update public.tasks set created_at = now() + interval '1 hour'`;
  await sql`update public.task_lanes set oldest_ready_at = now() + interval '1 hour'`;
  await workers(bench, true);
  const rare = await sql<{ id: string }[]>`
    select (public.create_task(null, jsonb_build_array(jsonb_build_object(
             'task_type', 'image_edit', 'project_id', project_id, 'params', '{"model": "rare"}'::jsonb)), false)
           ->> 'task_id')::uuid as id
      from bench_people where number % 10 = 0`;
  const queued = performance.now();
  const waited = new Map<string, number>();
  const pool = postgres(url, { max: claimers, onnotice: () => undefined });
  let common = 0;
  const deadline = queued + 60_000;
  const upkeep = (async () => {
    // As every host does.
    while (waited.size < rare.length && performance.now() < deadline) {
      await sql`select public.tend_queue()`;
      await pause(2000);
    }
  })();
  await Promise.all(
    Array.from({ length: claimers }, async (_, claimer) => {
      while (waited.size < rare.length && performance.now() < deadline) {
        const [row] = await pool<{ claimed: { task_id: string; params: { model?: string } } | null }[]>`
          select public.claim_next_task(for_worker => ${`worker-${claimer}`}, for_run_type => 'gpu') as claimed`;
        if (!row?.claimed) throw new Error("a claim found nothing");
        if (row.claimed.params.model === "rare") waited.set(row.claimed.task_id, performance.now() - queued);
        else common += 1;
        await pool`select public.end_task(${row.claimed.task_id}, 'Cancelled', 'bench')`;
      }
    }),
  );
  await upkeep;
  await pool.end({ timeout: 5 });
  const seconds = [...waited.values()].map((milliseconds) => milliseconds / 1000);
  printTable([
    {
      "rare tasks": rare.length,
      served: waited.size,
      "affinity_max_wait s": wait,
      "shortest wait s": Math.min(...seconds).toFixed(1),
      "p50 s": percentile(seconds, 50).toFixed(1),
      "longest wait s": Math.max(...seconds).toFixed(1),
      "other claims meanwhile": common,
    },
  ]);
}
