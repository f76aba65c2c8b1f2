/**
 * How soon a waiting worker has a task, and what waiting workers cost: idle workers on long polls of one host,
 * and a client that creates tasks at a steady pace.
 *
 * `npm run bench -- long-poll [--quick] [--workers 200] [--rate 20] [--seconds 30] [--poll]`
 *
 * `--poll` has the workers ask every second instead of waiting, for comparison.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Sql } from "../supabase/functions/_shared/database/sql.ts";
import {
  type Answer,
  expectOk,
  FunctionClient,
  makeUsers,
  measureCpu,
  onPostgres,
  percentile,
  printTable,
  settle,
  startHostProcess,
} from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    poll: { type: "boolean", default: false },
    workers: { type: "string", default: "200" },
    rate: { type: "string", default: "20" },
    seconds: { type: "string" },
  },
});
const workerCount = Number(values.workers);
const rate = Number(values.rate);
const seconds = Number(values.seconds ?? (values.quick ? 5 : 30));
/** Backends report their commits at most this late once they are idle. */
const reportSeconds = values.quick ? 3 : 11;

await onPostgres({}, async ({ sql, postmaster, ...bench }) => {
  // A user runs 5 tasks at once, and these are never completed: more users than that takes.
  const users = await makeUsers(sql, Math.max(500, Math.ceil(rate * seconds)));
  const host = await startHostProcess({ sql, postmaster, ...bench });
  const client = new FunctionClient(host.apiUrl, Number.POSITIVE_INFINITY);
  const [key = ""] = host.serviceKeys;
  await settle(sql);

  async function idleCost(label: string): Promise<Cost> {
    await pause(reportSeconds * 1000);
    const cpuUsed = await measureCpu({ host: host.pid, postmaster });
    const before = await commits(sql);
    await pause(seconds * 1000);
    const cpu = await cpuUsed();
    // Less our own two questions, of which the second is not counted yet.
    const perSecond = ((await commits(sql)) - before - 1) / cpu.seconds;
    return { label, perSecond, host: cpu.host / cpu.seconds, postgres: cpu.postgres / cpu.seconds };
  }

  const without = await idleCost("no workers");

  const claimedAt = new Map<string, number>();
  const problems: Answer[] = [];
  let answers = 0;
  const ending = new AbortController();
  const workers = Array.from({ length: workerCount }, async (_, number) => {
    const request = { worker_id: `idle-${number}`, ...(!values.poll && { wait_seconds: 50 }) };
    if (values.poll) await pause(Math.random() * 1000);
    while (!ending.signal.aborted) {
      const answer = await client.call("claim-next-task", key, request);
      const now = performance.now();
      answers++;
      if (answer.status === 200) claimedAt.set(String(answer.body?.["task_id"]), now);
      else if (answer.status !== 204) problems.push(answer);
      if (answer.status !== 200) await pause(values.poll || answer.status !== 204 ? 1000 : 0);
    }
  });
  const stopped = Promise.allSettled(workers);

  await pause(2000);
  const withWorkers = await idleCost(`${workerCount} idle workers`);
  console.log(`\n${workerCount} workers, ${values.poll ? "asking every second" : "wait_seconds: 50"}`);
  printTable([without, withWorkers, difference(withWorkers, without)].map(shown));

  const created: { taskId: string; asked: number; answered: number }[] = [];
  const cpuUsed = await measureCpu({ host: host.pid, postmaster });
  const begun = performance.now();
  const creates: Promise<void>[] = [];
  for (let number = 0; number < rate * seconds; number++) {
    await pause(Math.max(0, begun + (number * 1000) / rate - performance.now()));
    creates.push(create(number));
  }
  await Promise.all(creates);
  const cpu = await cpuUsed();
  await pause(2000);

  async function create(number: number): Promise<void> {
    const taskId = randomUUID();
    const asked = performance.now();
    const answer = await client.call("create-task", key, {
      task_id: taskId,
      task_type: "z_image_turbo",
      project_id: users[number % users.length]?.projectId,
      params: { prompt: "a fox" },
    });
    expectOk(answer);
    created.push({ taskId, asked, answered: performance.now() });
  }

  const arrived = created.flatMap(({ taskId, asked, answered }) => {
    const at = claimedAt.get(taskId);
    return at === undefined
      ? []
      : [{ fromAsked: at - asked, fromAnswered: at - answered, took: answered - asked }];
  });
  console.log(
    `${created.length} tasks created in ${cpu.seconds.toFixed(1)} s, ${arrived.length} of them claimed; ` +
      `${answers} answers to workers, ${problems.length} of them neither a task nor "none"`,
  );
  if (problems[0]) console.log("the first:", JSON.stringify(problems[0]));
  printTable(
    (
      [
        ["create, until answered", "took"],
        ["from create's answer to claim's (negative: the claim came first)", "fromAnswered"],
        ["from before the create to claim's answer", "fromAsked"],
      ] as const
    ).map(([label, name]) => {
      const times = arrived.map((times) => times[name]);
      const at = (percent: number) => percentile(times, percent).toFixed(1);
      return { milliseconds: label, p50: at(50), p90: at(90), p99: at(99), most: at(100) };
    }),
  );
  const perTask = (used: number) => ((used / created.length) * 1000).toFixed(1);
  console.log(
    `CPU per create and claim, milliseconds: host ${perTask(cpu.host)}, PostgreSQL ${perTask(cpu.postgres)}, client ${perTask(cpu.client)}; others used ${((cpu.others / cpu.seconds) * 100).toFixed(0)} % of a core meanwhile.`,
  );

  // Those that still wait are hung up on.
  ending.abort();
  client.close();
  await stopped;
});

interface Cost {
  label: string;
  perSecond: number;
  host: number;
  postgres: number;
}

function difference(cost: Cost, less: Cost): Cost {
  return {
    label: "the workers' part",
    perSecond: cost.perSecond - less.perSecond,
    host: cost.host - less.host,
    postgres: cost.postgres - less.postgres,
  };
}

function shown({ label, perSecond, host, postgres }: Cost): Record<string, string> {
  return {
    "": label,
    "commits/s": perSecond.toFixed(2),
    "host, ms of CPU a second": (host * 1000).toFixed(1),
    "PostgreSQL, ms of CPU a second": (postgres * 1000).toFixed(1),
  };
}

async function commits(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: string }[]>`
    select xact_commit::text as count from pg_stat_database where datname = current_database()`;
  return Number(row?.count);
}
