/**
 * What a claim costs at 1,000 to 1,000,000 queued tasks: with everybody's tasks claimable, and with the oldest 90 %
 * claimable by nobody (owners at the cap, with the cloud off, without cover, blocked by dependencies). Beside it,
 * on the same PostgreSQL: a claim of the predecessor's shape, and the bare SKIP LOCKED statement.
 *
 * `npm run bench -- claim [--quick] [--depths 1000,10000,100000,1000000] [--claims 2000] [--users 1000]
 *  [--seconds 10] [--reference-seconds 60]`
 */
import { parseArgs } from "node:util";
import { BareQueue } from "./queue/bare.ts";
import { type ClaimArguments, makeWorkers, QueueClient, serviceClaim, tendQueue } from "./queue/client.ts";
import { ReferenceQueue } from "./queue/reference.ts";
import { models, runType, seedQueue, seedUsers, taskTypes } from "./queue/seed.ts";
import {
  type Bench,
  type BenchUser,
  type CpuUse,
  measureCpu,
  onPostgres,
  percentile,
  printTable,
  showOthers,
  Stopwatch,
} from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    depths: { type: "string" },
    claims: { type: "string" },
    users: { type: "string", default: "1000" },
    seconds: { type: "string" },
    "reference-seconds": { type: "string" },
  },
});
const depths = (values.depths ?? (values.quick ? "1000,10000" : "1000,10000,100000,1000000"))
  .split(",")
  .map(Number);
const claims = Number(values.claims ?? (values.quick ? 200 : 2000));
const userCount = Number(values.users);
const seconds = Number(values.seconds ?? (values.quick ? 2 : 10));
const referenceSeconds = Number(values["reference-seconds"] ?? (values.quick ? 2 : 60));
const connections = 16;
const emptyClaim = "nothing to do";

const shapes = ["all claimable", "oldest 90 % not claimable"] as const;
type Shape = (typeof shapes)[number];

interface Measured {
  shape: Shape;
  depth: number;
  watch: Stopwatch;
  /** Whole cycles a second on 16 connections, and the claims in them. */
  cyclesPerSecond: number;
  loaded: number[];
  reference: number[];
  bare: Stopwatch;
  cpu: CpuUse;
}

await onPostgres({}, async (bench) => {
  const { sql } = bench;
  const users = await seedUsers(sql, userCount);
  await makeWorkers(sql);
  // The seed is an hour old; with the default of five minutes no claim would look at a worker's model.
  await sql`update public.queue_settings set affinity_max_wait = '1 day'`;

  const results: Measured[] = [];
  for (const shape of shapes) {
    for (const depth of depths) {
      results.push(await measureDepth(bench, users, shape, depth));
      console.log(`${shape}, ${depth.toLocaleString("en")} queued: measured`);
    }
  }
  show(results);
});

async function measureDepth(
  { sql, url, postmaster }: Bench,
  users: BenchUser[],
  shape: Shape,
  depth: number,
): Promise<Measured> {
  const poisonedUsers = shape === "all claimable" ? 0 : Math.floor(userCount * 0.9);
  await seedQueue(sql, { depth, poisonedUsers });
  const reference = await measureReference(url);
  const bare = await measureBare(url, depth);
  const watch = new Stopwatch();
  const stopTending = tendQueue(url);
  const cpuUsed = await measureCpu({ postmaster });
  const client = new QueueClient(url, 1);
  try {
    const free = users.slice(poisonedUsers, poisonedUsers + 20);
    // A tenth as warm-up.
    await claimInTurns(client, new Stopwatch(), "service", Math.ceil(claims / 10), serviceClaim);
    await claimInTurns(client, watch, "service", claims, serviceClaim);
    for (const [name, request] of Object.entries(variants(free))) {
      await claimInTurns(client, new Stopwatch(), name, free.length, request);
      await claimInTurns(client, watch, name, Math.ceil(claims / 5), request);
    }
  } finally {
    await client.close();
  }
  const loaded: number[] = [];
  const cyclesPerSecond = await claimAtOnce(url, loaded);
  const cpu = await cpuUsed();
  await stopTending();
  return { shape, depth, watch, cyclesPerSecond, loaded, reference, bare, cpu };
}

function variants(owners: BenchUser[]): Record<string, (round: number) => ClaimArguments> {
  const modelOf = (round: number) => models[round % models.length] ?? "";
  return {
    "one task type": (round) => ({ ...serviceClaim(round), only_task_types: [taskTypes[1]] }),
    "two models": (round) => ({ ...serviceClaim(round), only_models: [modelOf(round), modelOf(round + 1)] }),
    "owner's token": (round) => ({
      for_user: owners[round % owners.length]?.userId ?? "",
      for_worker: "own",
    }),
    "ten at once": (round) => ({ ...serviceClaim(round), max_tasks: 10 }),
    [emptyClaim]: () => ({ for_worker: "cold", for_run_type: "api" }),
  };
}

/** Claims on one connection. Each task is completed and replaced before the next claim; only the calls are timed. */
async function claimInTurns(
  client: QueueClient,
  watch: Stopwatch,
  name: string,
  rounds: number,
  request: (round: number) => ClaimArguments,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const args = request(round);
    const begun = performance.now();
    const tasks = await client.claim(args);
    const claimed = performance.now() - begun;
    const isEmpty = tasks.length === 0;
    // A short queue may run out of what a filter asks for; that is another measurement.
    if (isEmpty && name === "service") throw new Error("a claim found nothing");
    watch.add(isEmpty && name !== emptyClaim ? `${name}, empty` : name, claimed);
    if (name === "service") watch.add(args.for_worker === "cold" ? "cold" : "warm", claimed);
    for (const task of tasks) {
      await client.storeOutput(task);
      const finishing = performance.now();
      await client.complete(task, args);
      if (tasks.length === 1) watch.add(`${name}, and complete`, claimed + performance.now() - finishing);
      await client.replace(task);
    }
  }
}

/** Sixteen workers on as many connections: claim, note the output, complete, create another. */
async function claimAtOnce(url: string, loaded: number[]): Promise<number> {
  const client = new QueueClient(url, connections);
  try {
    const cycle = async (worker: number, times: number[]): Promise<void> => {
      const args = serviceClaim(worker);
      const begun = performance.now();
      const [task] = await client.claim(args);
      times.push(performance.now() - begun);
      if (!task) return;
      await client.storeOutput(task);
      await client.complete(task, args);
      await client.replace(task);
    };
    const workers = Array.from({ length: connections }, (_, worker) => worker);
    await Promise.all(workers.map((worker) => cycle(worker, [])));
    const begun = performance.now();
    await Promise.all(
      workers.map(async (worker) => {
        while (performance.now() - begun < seconds * 1000) await cycle(worker, loaded);
      }),
    );
    return loaded.length / ((performance.now() - begun) / 1000);
  } finally {
    await client.close();
  }
}

/** As many as fit into the time, but three at least. */
async function measureReference(url: string): Promise<number[]> {
  const queue = new ReferenceQueue(url);
  try {
    await queue.seed();
    const times: number[] = [];
    const started = performance.now();
    for (let round = 0; round < 100; round++) {
      if (round >= 3 && performance.now() - started > referenceSeconds * 1000) break;
      const begun = performance.now();
      const task = await queue.claim(serviceClaim(round).for_worker ?? "", runType);
      times.push(performance.now() - begun);
      if (task === undefined) throw new Error("a claim of the reference's shape found nothing");
      await queue.putBack(task);
    }
    await queue.drop();
    return times;
  } finally {
    await queue.close();
  }
}

async function measureBare(url: string, depth: number): Promise<Stopwatch> {
  const queue = new BareQueue(url, 1);
  const watch = new Stopwatch();
  try {
    await queue.seed(depth);
    for (let round = -Math.ceil(claims / 10); round < claims; round++) {
      const begun = performance.now();
      const task = await queue.claim();
      const claimed = performance.now();
      if (task === undefined) throw new Error("the bare queue is empty");
      await queue.complete(task);
      const completed = performance.now();
      await queue.create();
      if (round < 0) continue;
      watch.add("claim", claimed - begun);
      watch.add("claim and complete", completed - begun);
    }
    return watch;
  } finally {
    await queue.close();
  }
}

function show(results: Measured[]): void {
  console.log(`
### Claims, milliseconds as p50 / p99

${userCount.toLocaleString("en")} users, ${models.length} models, ${claims.toLocaleString("en")} claims on one connection, half of them by warm workers; then
${connections} connections for ${seconds} s, each in cycles of claim, output's row, complete and create. Others' CPU: of one core, meanwhile.`);
  printTable(
    results.map(({ shape, depth, watch, cyclesPerSecond, loaded, reference, bare, cpu }) => ({
      queue: shape,
      queued: depth.toLocaleString("en"),
      claim: times(watch.get("service")),
      "claim + complete": times(watch.get("service, and complete")),
      "cycles/s on 16": cyclesPerSecond.toFixed(0),
      "claim on 16": times(loaded),
      "reference's shape": `${times(reference)} (n = ${reference.length})`,
      "bare claim": times(bare.get("claim")),
      "bare claim + complete": times(bare.get("claim and complete")),
      "others' CPU": showOthers(cpu),
    })),
  );
  console.log(`### Kinds of claims, milliseconds as p50 / p99

The same claims by cold and by warm workers; then other claims, ${Math.ceil(claims / 5)} of each kind on one connection.`);
  printTable(
    results.map(({ shape, depth, watch }) => ({
      queue: shape,
      queued: depth.toLocaleString("en"),
      "cold worker": times(watch.get("cold")),
      "warm worker": times(watch.get("warm")),
      ...Object.fromEntries(Object.keys(variants([])).map((name) => [name, withEmpty(watch, name)])),
    })),
  );
  showGoals(results);
}

function showGoals(results: Measured[]): void {
  const [fewest, most] = [Math.min(...depths), Math.max(...depths)];
  const at = (shape: Shape, depth: number, percent: number): number =>
    percentile(
      results.find((one) => one.shape === shape && one.depth === depth)?.watch.get("service") ?? [],
      percent,
    );
  console.log(`### Goals, at ${most.toLocaleString("en")} queued`);
  printTable(
    shapes.flatMap((shape) => {
      const goals: [string, number, number][] = [
        ["p50, ms", at(shape, most, 50), 1],
        ["p99, ms", at(shape, most, 99), 5],
        [`p50 over p50 at ${fewest.toLocaleString("en")}`, at(shape, most, 50) / at(shape, fewest, 50), 2],
      ];
      return goals.map(([goal, measured, limit]) => ({
        queue: shape,
        goal,
        "at most": limit,
        measured: measured.toFixed(2),
        met: measured <= limit ? "yes" : "NO",
      }));
    }),
  );
}

function withEmpty(watch: Stopwatch, name: string): string {
  const empty = watch.get(`${name}, empty`).length;
  return times(watch.get(name)) + (empty > 0 ? ` (${empty} empty besides)` : "");
}

function times(milliseconds: number[]): string {
  if (milliseconds.length === 0) return "–";
  return `${percentile(milliseconds, 50).toFixed(2)} / ${percentile(milliseconds, 99).toFixed(2)}`;
}
