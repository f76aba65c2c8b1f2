/**
 * Who is served how often, and who waits how long: users with equal backlogs, 16 claimers, with and without warm
 * workers; then a model of which 1 % of the tasks are, while every worker is warm on another.
 *
 * `npm run bench -- fairness [--quick] [--claims 10000] [--users 200] [--affinity-seconds 5] [--rate 200]`
 */
import { parseArgs } from "node:util";
import { type ClaimedTask, makeWorkers, QueueClient, tendQueue, warmClaim } from "./queue/client.ts";
import { atSteadyRate } from "./queue/pace.ts";
import { models, runType, seedQueue, seedUsers, taskTypes } from "./queue/seed.ts";
import {
  type Bench,
  type BenchUser,
  measureCpu,
  onPostgres,
  percentile,
  printTable,
  showOthers,
} from "./support.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    claims: { type: "string" },
    users: { type: "string" },
    "affinity-seconds": { type: "string" },
    rate: { type: "string" },
  },
});
const claims = Number(values.claims ?? (values.quick ? 1000 : 10_000));
const userCount = Number(values.users ?? (values.quick ? 20 : 200));
const affinitySeconds = Number(values["affinity-seconds"] ?? (values.quick ? 2 : 5));
const perSecond = Number(values.rate ?? (values.quick ? 100 : 200));
const claimers = 16;
const rareModel = "rare";

await onPostgres({}, async (bench) => {
  const users = await seedUsers(bench.sql, userCount);
  await makeWorkers(bench.sql);
  const rows = [
    await countTurns(bench, "all cold", () => ({ for_worker: "cold", for_run_type: runType })),
    await countTurns(bench, "half warm", (worker) =>
      worker % 2 === 0 ? { for_worker: "cold", for_run_type: runType } : warmClaim(worker >> 1),
    ),
    await countTurns(bench, "all warm", warmClaim),
  ];
  console.log(`
### Turns

${userCount} users with equal backlogs of twice what is claimed, over ${models.length} models; ${claimers} claimers, each completing what it
claimed. Most and least: claims of one user. Others' CPU: of one core, meanwhile.`);
  printTable(rows);
  await measureRareModel(bench, users);
});

async function countTurns(
  { sql, url, postmaster }: Bench,
  name: string,
  request: (worker: number) => ReturnType<typeof warmClaim>,
): Promise<Record<string, string | number>> {
  await sql`update public.queue_settings set affinity_max_wait = '1 day'`;
  await seedQueue(sql, { depth: claims * 2, poisonedUsers: 0 });
  const turns = new Map<string, number>();
  let warm = 0;
  const client = new QueueClient(url, claimers);
  const stopTending = tendQueue(url);
  const cpuUsed = await measureCpu({ postmaster });
  try {
    let taken = 0;
    await atSteadyRate(
      { perSecond: 0, workers: claimers },
      () => taken < claims,
      async (_, worker) => {
        taken++;
        const args = request(worker);
        const [task] = await client.claim(args);
        if (!task) throw new Error("a claim found nothing");
        turns.set(task.params.owner, (turns.get(task.params.owner) ?? 0) + 1);
        if (args.for_worker === `warm on ${task.params.model}`) warm++;
        await client.storeOutput(task);
        await client.complete(task, args);
      },
    );
  } finally {
    await stopTending();
    await client.close();
  }
  const cpu = await cpuUsed();
  const counts = [...turns.values()];
  const [most, least] = [Math.max(...counts), counts.length === userCount ? Math.min(...counts) : 0];
  return {
    workers: name,
    claims: counts.reduce((sum, count) => sum + count, 0).toLocaleString("en"),
    most,
    least,
    "most : least": (most / least).toFixed(2),
    "at most 1.5": most / least <= 1.5 ? "yes" : "NO",
    "of the loaded model": `${((warm / claims) * 100).toFixed(0)} %`,
    seconds: cpu.seconds.toFixed(0),
    "others' CPU": showOthers(cpu),
  };
}

/** A queue that stays as long as it is: every claim is completed and replaced, one in a hundred by the rare model. */
async function measureRareModel({ sql, url, postmaster }: Bench, users: BenchUser[]): Promise<void> {
  await sql`update public.queue_settings set affinity_max_wait = make_interval(secs => ${affinitySeconds})`;
  // So short that what is not rare never waits long enough to be overdue.
  const depth = Math.max(models.length * claimers, Math.floor((perSecond * affinitySeconds) / 3));
  await seedQueue(sql, { depth, poisonedUsers: 0, ageSeconds: 1 });
  const created = new Map<string, number>();
  const rareTasks = new Set<string>();
  const waits: Record<"rare" | "other", number[]> = { rare: [], other: [] };
  const took = (task: Pick<ClaimedTask, "task_id">): void => {
    const at = created.get(task.task_id);
    if (at === undefined) return;
    created.delete(task.task_id);
    waits[rareTasks.has(task.task_id) ? "rare" : "other"].push((performance.now() - at) / 1000);
  };
  const client = new QueueClient(url, claimers);
  const stopTending = tendQueue(url);
  const cpuUsed = await measureCpu({ postmaster });
  let empty = 0;
  try {
    await atSteadyRate(
      { perSecond, workers: claimers },
      (round) => round < claims,
      async (round, worker) => {
        const args = warmClaim(worker);
        const [task] = await client.claim(args);
        if (!task) {
          empty++;
          return;
        }
        took(task);
        await client.storeOutput(task);
        await client.complete(task, args);
        const user = users[round % users.length] as BenchUser;
        const isRare = round % 100 === 0;
        const id = await client.create({
          type: taskTypes[0],
          owner: user.userId,
          project: user.projectId,
          model: isRare ? rareModel : (models[round % models.length] ?? ""),
        });
        created.set(id, performance.now());
        if (isRare) rareTasks.add(id);
      },
    );
  } finally {
    await stopTending();
    await client.close();
  }
  const cpu = await cpuUsed();
  // Whoever still waits has waited this long already.
  const unserved = { rare: 0, other: 0 };
  for (const [id, at] of created) {
    const kind = rareTasks.has(id) ? "rare" : "other";
    unserved[kind]++;
    waits[kind].push((performance.now() - at) / 1000);
  }
  console.log(`### A rare model

1 % of new tasks are for a model that no worker has loaded; ${claimers} claimers, all warm on others and staying so, at
${(claims / cpu.seconds).toFixed(0)} claims/s over ${depth} queued tasks; affinity_max_wait is ${affinitySeconds} s, and the queue is tended every 5 s. ${empty} claims were empty; others
used ${showOthers(cpu)} of a core meanwhile.
Waits in seconds, of those still queued at the end too.`);
  printTable(
    (["rare", "other"] as const).map((kind) => ({
      tasks: kind === "rare" ? "rare model" : "other models",
      n: waits[kind].length,
      "still queued": unserved[kind],
      "wait p50": percentile(waits[kind], 50).toFixed(2),
      "wait p99": percentile(waits[kind], 99).toFixed(2),
      "longest wait": percentile(waits[kind], 100).toFixed(2),
    })),
  );
}
