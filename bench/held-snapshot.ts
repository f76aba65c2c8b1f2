/**
 * What an old snapshot costs (a forgotten transaction, a long report, a backup): while one is held open nothing that
 * was updated can be cleaned up. A steady rate of claim, complete and create for some minutes, with and without it;
 * the same on the bare SKIP LOCKED queue.
 *
 * `npm run bench -- held-snapshot [--quick] [--minutes 10] [--rate 150] [--depth 10000] [--users 1000]
 *  [--connections 4]`
 */
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openPool } from "../supabase/functions/_shared/database/pool.ts";
import type { Pool } from "../supabase/functions/_shared/database/pool.ts";
import { BareQueue } from "./queue/bare.ts";
import { makeWorkers, QueueClient, serviceClaim, tendQueue } from "./queue/client.ts";
import { atSteadyRate } from "./queue/pace.ts";
import { seedQueue, seedUsers } from "./queue/seed.ts";
import {
  type Bench,
  type CpuUse,
  measureCpu,
  onPostgres,
  percentile,
  printTable,
  showOthers,
} from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    minutes: { type: "string" },
    rate: { type: "string", default: "150" },
    depth: { type: "string" },
    users: { type: "string" },
    connections: { type: "string", default: "4" },
  },
});
const minutes = Number(values.minutes ?? (values.quick ? 0.1 : 10));
const perSecond = Number(values.rate);
const depth = Number(values.depth ?? (values.quick ? 1000 : 10_000));
const userCount = Number(values.users ?? (values.quick ? 100 : 1000));
const connections = Number(values.connections);
/** A minute, or a part of a shorter run. */
const intervalMilliseconds = Math.min(60_000, (minutes * 60_000) / 3);

interface Queue {
  name: string;
  /** Tables that its work writes, by schema. */
  schemas: string[];
  seed(): Promise<void>;
  claim(round: number): Promise<(() => Promise<void>) | undefined>;
  close(): Promise<void>;
}

interface Run {
  name: string;
  isHeld: boolean;
  intervals: { cycles: number; claims: number[]; wholes: number[] }[];
  cpu: CpuUse;
  dead: Map<string, number>;
  grown: Map<string, number>;
}

await onPostgres({}, async (bench) => {
  await seedUsers(bench.sql, userCount);
  await makeWorkers(bench.sql);
  await bench.sql`update public.queue_settings set affinity_max_wait = '1 day'`;
  const runs: Run[] = [];
  for (const open of [openDarkroom, openBare]) {
    for (const isHeld of [false, true]) {
      const queue = open(bench);
      try {
        runs.push(await measure(bench, queue, isHeld));
        console.log(`${queue.name}, ${isHeld ? "snapshot held" : "no snapshot"}: measured`);
      } finally {
        await queue.close();
      }
    }
  }
  show(runs);
});

function openDarkroom({ sql, url }: Bench): Queue {
  const client = new QueueClient(url, connections);
  let stopTending: (() => Promise<void>) | undefined;
  return {
    name: "Darkroom",
    schemas: ["public", "realtime"],
    async seed() {
      await seedQueue(sql, { depth, poisonedUsers: 0 });
      stopTending = tendQueue(url);
    },
    async claim(round) {
      const args = serviceClaim(round);
      const [task] = await client.claim(args);
      if (!task) return undefined;
      return async () => {
        await client.storeOutput(task);
        await client.complete(task, args);
        await client.replace(task);
      };
    },
    async close() {
      await stopTending?.();
      await client.close();
    },
  };
}

function openBare({ url }: Bench): Queue {
  const queue = new BareQueue(url, connections);
  return {
    name: "bare SKIP LOCKED",
    schemas: ["bare"],
    seed: () => queue.seed(depth),
    async claim() {
      const id = await queue.claim();
      if (id === undefined) return undefined;
      return async () => {
        await queue.complete(id);
        await queue.create();
      };
    },
    close: () => queue.close(),
  };
}

async function measure({ sql, url, postmaster }: Bench, queue: Queue, isHeld: boolean): Promise<Run> {
  await queue.seed();
  await atSteadyRate({ perSecond, workers: connections }, (_, elapsed) => elapsed < 2000, cycleOf(queue));
  await sql`vacuum analyze`;
  await sql`select pg_stat_reset()`;
  const sizes = await indexSizes(sql, queue);
  const release = isHeld ? await holdSnapshot(url) : undefined;
  const intervals: Run["intervals"] = [];
  const cpuUsed = await measureCpu({ postmaster });
  const begun = performance.now();
  const cycle = cycleOf(queue, (claimed, whole) => {
    const index = Math.floor((performance.now() - begun) / intervalMilliseconds);
    const interval = (intervals[index] ??= { cycles: 0, claims: [], wholes: [] });
    interval.cycles++;
    interval.claims.push(claimed);
    interval.wholes.push(whole);
  });
  try {
    const end = minutes * 60_000;
    await atSteadyRate({ perSecond, workers: connections }, (_, elapsed) => elapsed < end, cycle);
    const cpu = await cpuUsed();
    // Sessions report what they did a second later at most.
    await pause(1500);
    const grown = new Map<string, number>();
    for (const [name, size] of await indexSizes(sql, queue)) grown.set(name, size - (sizes.get(name) ?? 0));
    const whole = Math.round((minutes * 60_000) / intervalMilliseconds);
    const dead = await deadRows(sql, queue);
    return { name: queue.name, isHeld, intervals: intervals.slice(0, whole), cpu, dead, grown };
  } finally {
    await release?.();
  }
}

function cycleOf(
  queue: Queue,
  note: (claimed: number, whole: number) => void = () => undefined,
): (round: number) => Promise<void> {
  return async (round) => {
    const begun = performance.now();
    const finish = await queue.claim(round);
    if (!finish) throw new Error(`${queue.name}: a claim found nothing`);
    const claimed = performance.now() - begun;
    await finish();
    note(claimed, performance.now() - begun);
  };
}

/** @returns what ends it */
async function holdSnapshot(url: string): Promise<() => Promise<void>> {
  const sql = openPool({ url, name: "darkroom", connections: 1 });
  const connection = await sql.reserve();
  await connection`begin isolation level repeatable read`;
  const snapshot = async () => {
    const [row] = await connection<{ snapshot: string }[]>`select pg_current_snapshot()::text as snapshot`;
    return row?.snapshot;
  };
  const held = await snapshot();
  return async () => {
    const still = await snapshot();
    await connection`rollback`;
    connection.release();
    await sql.end();
    if (still !== held) throw new Error("the snapshot was lost, so nothing was measured");
  };
}

async function deadRows(sql: Pool, { schemas }: Queue): Promise<Map<string, number>> {
  const rows = await sql<{ name: string; dead: number }[]>`
    select schemaname || '.' || relname as name, n_dead_tup::int as dead from pg_stat_user_tables
     where schemaname = any(${schemas}::text[]) and n_dead_tup > 0 order by n_dead_tup desc`;
  return new Map(rows.map((row) => [row.name, row.dead]));
}

async function indexSizes(sql: Pool, { schemas }: Queue): Promise<Map<string, number>> {
  const rows = await sql<{ name: string; size: number }[]>`
    select relname || '.' || indexrelname as name, pg_relation_size(indexrelid)::float8 as size
      from pg_stat_user_indexes where schemaname = any(${schemas}::text[])`;
  return new Map(rows.map((row) => [row.name, row.size]));
}

function show(runs: Run[]): void {
  const label = ({ name, isHeld }: Run) => `${name}, ${isHeld ? "snapshot held" : "no snapshot"}`;
  const seconds = intervalMilliseconds / 1000;
  console.log(`
### Over time

${perSecond === 0 ? "As fast as it goes" : `${perSecond} cycles/s wanted`} on ${connections} connections, ${depth.toLocaleString("en")} queued, ${userCount.toLocaleString("en")} users; each row ${seconds.toFixed(0)} s. Milliseconds as
p50 / p99; a cycle is claim, output's row (Darkroom alone), complete and create.`);
  printTable(
    runs.flatMap((run) =>
      run.intervals.map(({ cycles, claims, wholes }, index) => ({
        queue: label(run),
        "until, s": ((index + 1) * seconds).toFixed(0),
        "cycles/s": (cycles / seconds).toFixed(1),
        claim: times(claims),
        cycle: times(wholes),
      })),
    ),
  );
  console.log("### In the last interval, with the snapshot over without");
  printTable(pairsOf(runs));
  for (const name of new Set(runs.map((run) => run.name))) {
    const mine = runs.filter((run) => run.name === name);
    console.log(`### ${name}: dead rows at the end, by table`);
    printTable(
      sideBySide(
        mine,
        "table",
        (run) => run.dead,
        (rows) => rows.toLocaleString("en"),
      ),
    );
    console.log(`### ${name}: what indexes grew by, MB`);
    printTable(
      sideBySide(
        mine,
        "index",
        (run) => run.grown,
        (bytes) => (bytes / 2 ** 20).toFixed(2),
      ),
    );
  }
}

/** A column a run; a row for each of the ten largest of either. */
function sideBySide(
  runs: Run[],
  head: string,
  amounts: (run: Run) => Map<string, number>,
  show: (amount: number) => string,
): Record<string, string>[] {
  const largest = new Map<string, number>();
  for (const run of runs) {
    for (const [name, amount] of amounts(run)) largest.set(name, Math.max(amount, largest.get(name) ?? 0));
  }
  const rows = [...largest]
    .filter(([, amount]) => amount > 0)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 10);
  if (rows.length === 0) return [{ [head]: "none" }];
  return rows.map(([name]) => ({
    [head]: name,
    ...Object.fromEntries(
      runs.map((run) => [run.isHeld ? "snapshot held" : "no snapshot", show(amounts(run).get(name) ?? 0)]),
    ),
  }));
}

/** What is lost: rate by rate, claim by claim. */
function pairsOf(runs: Run[]): Record<string, string>[] {
  return runs
    .filter(({ isHeld }) => isHeld)
    .map((held) => {
      const free = runs.find((run) => run.name === held.name && !run.isHeld);
      const [after, before] = [held.intervals.at(-1), free?.intervals.at(-1)];
      const ratio = (a = Number.NaN, b = Number.NaN) => (a / b).toFixed(2);
      const part = (percent: number) =>
        ratio(percentile(after?.claims ?? [], percent), percentile(before?.claims ?? [], percent));
      return {
        queue: held.name,
        "others' CPU": `${free ? showOthers(free.cpu) : "–"}, then ${showOthers(held.cpu)}`,
        "rate lost": `${((1 - (after?.cycles ?? 0) / (before?.cycles ?? 0)) * 100).toFixed(1)} %`,
        "claim p50": `× ${part(50)}`,
        "claim p99": `× ${part(99)}`,
        "cycle p50": `× ${ratio(percentile(after?.wholes ?? [], 50), percentile(before?.wholes ?? [], 50))}`,
      };
    });
}

function times(milliseconds: number[]): string {
  return `${percentile(milliseconds, 50).toFixed(2)} / ${percentile(milliseconds, 99).toFixed(2)}`;
}
