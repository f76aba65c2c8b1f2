/**
 * What a task's end costs with many tasks behind it: completing a paid task with up to as many free dependants as a task may have,
 * cancelling it, and cancelling an orchestrator with as many children. Then how long the outbox takes with the rest.
 *
 * `npm run bench -- cascade [--quick] [--sizes 0,1,20,100,1000] [--runs 20]`
 */
import { parseArgs } from "node:util";
import { connect, type Database, json } from "../supabase/functions/_shared/database/database.ts";
import { type Sql } from "../supabase/functions/_shared/database/sql.ts";
import { checkedOutput, outputPath, storeOutputs } from "./peers/darkroom.ts";
import {
  type Bench,
  type BenchUser,
  cpuSeconds,
  makeUsers,
  measureCpu,
  onPostgres,
  printTable,
  settle,
  showOthers,
  Stopwatch,
} from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    sizes: { type: "string" },
    runs: { type: "string" },
  },
});
const sizes = (values.sizes ?? (values.quick ? "0,20,100" : "0,1,20,100,1000")).split(",").map(Number);
const runs = Number(values.runs ?? (values.quick ? 3 : 20));
const goalMilliseconds = 50;

/** Seconds of PostgreSQL's CPU in the completions of one size: what a busy machine does not change. */
let completionCpu = 0;

interface Claimed {
  task_id: string;
  attempt: number;
}

await onPostgres({}, async (bench) => {
  const users = await makeUsers(bench.sql, sizes.length * runs * 3);
  const database = connect({ url: bench.url });
  bench.atEnd(async () => await database.close());
  const rows: Record<string, string | number>[] = [];
  const atMost: number[] = [];
  for (const size of sizes) {
    const watch = new Stopwatch();
    await settle(bench.sql);
    const cpuUsed = await measureCpu({ postmaster: bench.postmaster });
    completionCpu = 0;
    for (let run = 0; run < runs; run++) {
      await completeWith(bench, database, nextOf(users), size, watch);
      await cancelWith(bench, database, nextOf(users), size, watch);
      await cancelOrchestrator(bench, database, nextOf(users), size, watch);
    }
    const cpu = await cpuUsed();
    const completions = watch.get("complete");
    atMost.push(Math.max(...completions));
    rows.push({
      "behind it": size,
      "complete the task": watch.show("complete"),
      longest: Math.max(...completions).toFixed(1),
      "PostgreSQL's CPU for it": ((completionCpu / runs) * 1000).toFixed(1),
      "cancel the task": watch.show("cancel"),
      "cancel an orchestrator": watch.show("cancel orchestrator"),
      "one batch of the outbox": watch.get("batch").length > 0 ? watch.show("batch") : "–",
      "all batches": watch.get("outbox").length > 0 ? watch.show("outbox") : "–",
      "others' CPU": showOthers(cpu),
    });
  }
  console.log(`\n### Ends with tasks behind them, milliseconds as p50 / p99 of ${runs}`);
  console.log(
    "\nFree dependants (created with the cloud off) of one paid task; an orchestrator's children. The outbox is run when the call is over.",
  );
  printTable(rows);
  const longest = Math.max(...atMost);
  console.log(
    `\nGoal: no completion takes longer than ${goalMilliseconds} ms. Longest: ${longest.toFixed(1)} ms: ${longest < goalMilliseconds ? "met" : "NOT met"}.`,
  );
});

function nextOf(users: BenchUser[]): BenchUser {
  const user = users.pop();
  if (!user) throw new Error("more runs than users");
  return user;
}

async function create(database: Database, requests: object[]): Promise<void> {
  await database.call("create_task", { for_user: null, requests: json(requests), is_batch: true });
}

async function createMany(database: Database, count: number, request: object): Promise<void> {
  for (let left = count; left > 0; left -= 100) {
    await create(
      database,
      Array.from({ length: Math.min(100, left) }, () => request),
    );
  }
}

async function setCloud(sql: Sql, { userId }: BenchUser, isOn: boolean): Promise<void> {
  await sql`
    update public.users
       set settings = jsonb_build_object('ui', jsonb_build_object(
             'generationMethods', jsonb_build_object('inCloud', ${isOn}::boolean, 'onComputer', true)))
     where id = ${userId}`;
}

/** Makes a paid task that runs, and free tasks that wait for it. */
async function taskWith(
  { sql }: Bench,
  database: Database,
  user: BenchUser,
  dependants: number,
): Promise<Claimed> {
  const params = { prompt: "a fox" };
  const task = { task_type: "z_image_turbo", project_id: user.projectId, params };
  await create(database, [task]);
  const claimed = await database.call<Claimed | null>("claim_next_task", { for_worker: "bench" });
  if (!claimed) throw new Error("nothing to claim");
  await setCloud(sql, user, false);
  await createMany(database, dependants, { ...task, dependant_on: [claimed.task_id] });
  await setCloud(sql, user, true);
  return claimed;
}

async function completeWith(
  bench: Bench,
  database: Database,
  user: BenchUser,
  dependants: number,
  watch: Stopwatch,
): Promise<void> {
  const { task_id, attempt } = await taskWith(bench, database, user, dependants);
  const path = outputPath(user.userId, task_id);
  await storeOutputs(bench.sql, [path]);
  const before = await cpuSeconds(bench.postmaster);
  await watch.time("complete", () =>
    database.call("complete_task", {
      for_user: null,
      for_task: task_id,
      output_path: path,
      output_location: `https://media.example/${path}`,
      checked_files: json(checkedOutput(path)),
      for_worker: "bench",
      for_attempt: attempt,
    }),
  );
  completionCpu += (await cpuSeconds(bench.postmaster)) - before;
  await runOutbox(bench.sql, watch);
  await endAll(bench.sql, user);
}

async function cancelWith(
  bench: Bench,
  database: Database,
  user: BenchUser,
  dependants: number,
  watch: Stopwatch,
): Promise<void> {
  const { task_id } = await taskWith(bench, database, user, dependants);
  await watch.time("cancel", () => cancel(database, user, task_id));
  await runOutbox(bench.sql, watch);
}

async function cancelOrchestrator(
  bench: Bench,
  database: Database,
  user: BenchUser,
  children: number,
  watch: Stopwatch,
): Promise<void> {
  await create(database, [
    {
      task_type: "travel_orchestrator",
      project_id: user.projectId,
      params: { orchestrator_details: { num_new_segments_to_generate: children } },
    },
  ]);
  const claimed = await database.call<Claimed | null>("claim_next_task", { for_worker: "bench" });
  if (!claimed) throw new Error("nothing to claim");
  await createMany(database, children, {
    task_type: "travel_segment",
    project_id: user.projectId,
    params: { orchestrator_task_id_ref: claimed.task_id },
  });
  await watch.time("cancel orchestrator", () => cancel(database, user, claimed.task_id));
  await runOutbox(bench.sql, watch);
}

async function cancel(database: Database, { userId }: BenchUser, task: string): Promise<void> {
  await database.call("update_task_status", {
    for_user: userId,
    caller_kind: "user",
    for_task: task,
    new_status: "Cancelled",
  });
}

async function runOutbox(sql: Sql, watch: Stopwatch): Promise<void> {
  const begun = performance.now();
  let batches = 0;
  for (; ; batches++) {
    const batchBegun = performance.now();
    const [row] = await sql<{ did: number }[]>`select public.run_task_outbox() as did`;
    if (row?.did === 0) break;
    watch.add("batch", performance.now() - batchBegun);
  }
  if (batches > 0) watch.add("outbox", performance.now() - begun);
}

/** Cancels the queued tasks, which the next run does not need. */
async function endAll(sql: Sql, { userId }: BenchUser): Promise<void> {
  await sql`
    select public.end_task(id, 'Cancelled', 'bench') from public.tasks
     where user_id = ${userId} and status = 'Queued'`;
}
