/**
 * A steady rate of whole tasks (create, claim, complete by the SQL functions) while another connection holds an old
 * snapshot, so that nothing dead can be removed; then the same without. Beside it the bare one-row queue.
 *
 *   --minutes 10 (of each)   --rate 100 (tasks a second)   --connections 4   --quick
 */
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import postgres, { type Sql } from "postgres";
import { makePeople } from "./seed/queue.ts";
import { makeOtherQueues } from "./seed/reference.ts";
import { type Bench, type BenchUser, onPostgres, percentile, printTable, settle } from "./support.ts";

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string" },
    rate: { type: "string" },
    connections: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const minutes = Number(options.minutes ?? (options.quick ? 0.3 : 10));
const rate = Number(options.rate ?? 100);
const connections = Number(options.connections ?? 4);
const windowSeconds = options.quick ? 6 : 60;

type Work = (sql: Sql, index: number, claimTimes: number[]) => Promise<void>;

await onPostgres({ max_wal_size: "8GB" }, async (bench) => {
  const users = await makePeople(bench.sql);
  await makeOtherQueues(bench.sql);
  const kinds: [string, Work][] = [
    ["Darkroom", wholeTask(users)],
    ["bare skip locked", bareTask],
  ];
  for (const [name, work] of kinds) {
    for (const isHeld of [false, true]) {
      await settle(bench.sql);
      const release = isHeld ? await holdSnapshot(bench) : undefined;
      console.log(`\n## ${name}, ${isHeld ? "with an old snapshot held" : "without"}`);
      printTable(await steady(bench, work));
      printTable(await deadTuples(bench.sql));
      await release?.();
    }
  }
});

/** An open transaction that has seen everything as it is now. */
async function holdSnapshot({ url, atEnd }: Bench): Promise<() => Promise<void>> {
  const sql = postgres(url, { max: 1, idle_timeout: 0, max_lifetime: null, onnotice: () => undefined });
  atEnd(() => sql.end({ timeout: 1 }));
  await sql.unsafe("begin isolation level repeatable read");
  await sql`select count(*) from public.tasks`;
  return async () => {
    await sql.unsafe("rollback");
  };
}

/** Work at a fixed rate; a row for each minute. What is late is made up for as fast as it goes. */
async function steady({ url }: Bench, work: Work): Promise<Record<string, string | number>[]> {
  const sql = postgres(url, { max: connections, onnotice: () => undefined });
  const begun = performance.now();
  const total = Math.round(minutes * 60 * rate);
  const windows: { claims: number[]; done: number }[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (;;) {
        const index = next++;
        const due = begun + (index / rate) * 1000;
        if (index >= total || performance.now() > begun + minutes * 60_000 * 1.02) return;
        if (due > performance.now()) await pause(due - performance.now());
        const times: number[] = [];
        await work(sql, index, times);
        const window = Math.floor((performance.now() - begun) / 1000 / windowSeconds);
        const into = (windows[window] ??= { claims: [], done: 0 });
        into.claims.push(...times);
        into.done += 1;
      }
    }),
  );
  await sql.end({ timeout: 5 });
  return windows.slice(0, Math.ceil((minutes * 60) / windowSeconds)).map(({ claims, done }, index) => ({
    "from s": index * windowSeconds,
    "tasks/s": (done / windowSeconds).toFixed(1),
    "claim p50 ms": percentile(claims, 50).toFixed(2),
    "claim p99 ms": percentile(claims, 99).toFixed(2),
  }));
}

function wholeTask(users: BenchUser[]): Work {
  return async (sql, index, claimTimes) => {
    const user = users[index % users.length];
    if (!user) throw new Error("there are no users");
    const request = {
      task_type: "single_image",
      project_id: user.projectId,
      params: { prompt: "a hare in the snow", seed: index, model: `model-${index % 8}` },
    };
    await sql`select public.create_task(null, ${sql.json([request])}, false)`;
    const begun = performance.now();
    const [row] = await sql<{ claimed: { task_id: string; attempt: number } | null }[]>`
      select public.claim_next_task(for_worker => 'worker', for_run_type => 'gpu') as claimed`;
    claimTimes.push(performance.now() - begun);
    if (!row?.claimed) return;
    const { task_id, attempt } = row.claimed;
    await sql`
      with task as (select user_id from public.tasks where id = ${task_id}),
      file as (
        insert into storage.objects (bucket_id, name)
        select 'image_uploads', user_id || '/tasks/' || ${task_id} || '/1-output.png' from task returning name
      )
      select count(*) from file`;
    await sql`
      select public.complete_task(null, id, user_id || '/tasks/' || id || '/1-output.png', 'https://media.example/output.png',
                                  for_worker => 'worker', for_attempt => ${attempt})
        from public.tasks where id = ${task_id}`;
  };
}

async function bareTask(sql: Sql, index: number, claimTimes: number[]): Promise<void> {
  await sql`
    insert into bare.tasks (id, status, params, created_at)
    values (gen_random_uuid(), 'Queued', ${sql.json({ seed: index })}, now())`;
  const begun = performance.now();
  const [row] = await sql<{ id: string }[]>`
    update bare.tasks set status = 'In Progress'
     where id = (select id from bare.tasks where status = 'Queued' order by created_at limit 1 for update skip locked)
    returning id, params`;
  claimTimes.push(performance.now() - begun);
  if (row) await sql`update bare.tasks set status = 'Complete' where id = ${row.id}`;
}

async function deadTuples(sql: Sql): Promise<Record<string, string | number>[]> {
  // Statistics are reported with a delay.
  await pause(1500);
  return await sql<Record<string, string | number>[]>`
    select schemaname || '.' || relname as table, n_live_tup::integer as live, n_dead_tup::integer as dead,
           round(pg_total_relation_size(relid) / 1048576.0, 1)::text as "MiB with indexes"
      from pg_stat_user_tables where n_dead_tup > 0 order by n_dead_tup desc limit 8`;
}
