/**
 * Whole lives of tasks, unbatched: create (with a hold), claim, complete (with generation and settlement), over
 * HTTP against the standalone host; beside it the same SQL functions without HTTP, pg-boss and graphile-worker,
 * on the same PostgreSQL with the same durability.
 *
 * `npm run bench -- lifecycle [--quick] [--profile] [--tasks 4000] [--concurrency 16,64] [--users 600]`
 */
import path from "node:path";
import { parseArgs } from "node:util";
import { type Sql } from "../supabase/functions/_shared/database/sql.ts";
import type { Contender } from "./peers/contender.ts";
import { overHttp, overSql } from "./peers/darkroom.ts";
import { startGraphileWorker } from "./peers/graphile-worker.ts";
import { startPgBoss } from "./peers/pg-boss.ts";
import { findPgbench } from "./peers/pgbench.ts";
import { prepareProfile, showProfile } from "./profile.ts";
import {
  type Bench,
  type CpuUse,
  makeUsers,
  measureCpu,
  onPostgres,
  printTable,
  settle,
  startHostProcess,
  Stopwatch,
} from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    tasks: { type: "string" },
    concurrency: { type: "string", default: "16,64" },
    users: { type: "string", default: "600" },
  },
});
const tasks = Number(values.tasks ?? (values.quick ? 400 : 4000));
const concurrencies = values.concurrency.split(",").map(Number);

interface Result {
  name: string;
  perSecond: number;
  watch: Stopwatch;
  cpu: CpuUse;
  walBytes: number;
}

await onPostgres(values.profile ? { track_functions: "all" } : {}, async (bench) => {
  const users = await makeUsers(bench.sql, Number(values.users));
  const profileFolder = path.join(bench.folder, "profile");
  const host = await startHostProcess(bench, values.profile ? prepareProfile(profileFolder) : []);
  const http = overHttp(host, bench.sql, users);
  if (values.profile) {
    await runOne(bench, http, concurrencies[0] ?? 16, host.pid);
    http.close();
    await host.stop();
    await showProfile(profileFolder, bench.sql);
    return;
  }

  const pgbench = await findPgbench(bench, users);
  if (!pgbench) console.log("\npgbench is not installed: SQL is measured by the host's driver alone.");
  for (const concurrency of concurrencies) {
    const results: Result[] = [];
    results.push(await runOne(bench, http, concurrency, host.pid));
    for (const start of [
      async () => pgbench,
      async () => overSql(bench.url, bench.sql, users),
      async () => await startPgBoss(bench.url),
      async () => await startGraphileWorker(bench.url),
    ]) {
      const contender = await start();
      if (!contender) continue;
      results.push(await runOne(bench, contender, concurrency, host.pid));
      await contender.close();
    }
    show(results, concurrency);
  }
  http.close();
});

/** Warm-up, then the measured run. */
async function runOne(
  { sql, postmaster }: Bench,
  contender: Contender,
  concurrency: number,
  host: number,
): Promise<Result> {
  // Enough for Node to compile what is hot.
  const warmUp = Math.max(300, Math.ceil(tasks / 10));
  await contender.prepare?.(warmUp, concurrency);
  await contender.run(warmUp, concurrency, new Stopwatch());

  await contender.prepare?.(tasks, concurrency);
  await settle(sql);
  if (values.profile) await sql`select pg_stat_reset()`;
  const watch = new Stopwatch();
  const walBefore = await walPosition(sql);
  const cpuUsed = await measureCpu({ host, postmaster });
  const seconds = await contender.run(tasks, concurrency, watch);
  const cpu = await cpuUsed();
  const walBytes = (await walPosition(sql)) - walBefore;
  console.log(`${contender.name}, ${concurrency} at a time: ${tasks} tasks in ${seconds.toFixed(1)} s`);
  return { name: contender.name, perSecond: tasks / seconds, watch, cpu, walBytes };
}

/** Bytes of write-ahead log so far: what a durable commit waits for. */
async function walPosition(sql: Sql): Promise<number> {
  const [row] = await sql<{ bytes: string }[]>`select (pg_current_wal_insert_lsn() - '0/0')::text as bytes`;
  return Number(row?.bytes);
}

function show(results: Result[], concurrency: number): void {
  const [ours] = results;
  const rate = (matches: (name: string) => boolean): number =>
    Math.max(...results.filter(({ name }) => matches(name)).map(({ perSecond }) => perSecond));
  const straight = rate((name) => name.includes("SQL"));
  const peer = rate((name) => !name.startsWith("Darkroom"));
  console.log(`\n### ${concurrency} at a time, ${tasks} tasks each`);
  console.log(
    "\nCalls: milliseconds, p50 / p99 (pgbench: mean). CPU: seconds for 1,000 tasks; others': of one core, meanwhile.",
  );
  printTable(
    results.map(({ name, perSecond, watch, cpu, walBytes }) => {
      const perThousand = (seconds: number) => ((seconds / tasks) * 1000).toFixed(2);
      return {
        "": name,
        "tasks/s": perSecond.toFixed(0),
        create: timesOf(watch, "create"),
        claim: timesOf(watch, "claim"),
        complete: timesOf(watch, "complete"),
        "empty claims": watch.get("empty claim").length,
        "CPU host": perThousand(cpu.host),
        "CPU PostgreSQL": perThousand(cpu.postgres),
        "CPU client": perThousand(cpu.client),
        "WAL kB a task": (walBytes / tasks / 1000).toFixed(1),
        "others' CPU": `${((cpu.others / cpu.seconds) * 100).toFixed(0)} %`,
        "of the fastest peer": `${((perSecond / peer) * 100).toFixed(0)} %`,
        "of SQL straight": name.startsWith("Darkroom")
          ? `${((perSecond / straight) * 100).toFixed(0)} %`
          : "–",
      };
    }),
  );
  if (!ours) return;
  const total = ours.cpu.host + ours.cpu.postgres + ours.cpu.client;
  const share = (part: number) => `${((part / total) * 100).toFixed(0)} %`;
  console.log(
    `Over HTTP, of all CPU: host ${share(ours.cpu.host)}, PostgreSQL ${share(ours.cpu.postgres)}, client ${share(ours.cpu.client)}.`,
  );
}

function timesOf(watch: Stopwatch, call: string): string {
  const [mean] = watch.get(`mean ${call}`);
  return mean === undefined ? watch.show(call) : mean.toFixed(1);
}
