/**
 * What a claim costs by the depth of the queue, over 1,000 users and 8 models, with and without a poisoned head;
 * beside it, on the same tasks, a claim of the older implementation's shape and the bare one-row statement.
 *
 *   --depths 1000,10000,100000,1000000   --claims 2000   --seconds 5 (of 16 connections)   --quick
 */
import { parseArgs } from "node:util";
import postgres, { type Sql } from "postgres";
import { fillQueue, makePeople, models } from "./seed/queue.ts";
import { fillOtherQueues, makeOtherQueues } from "./seed/reference.ts";
import { onPostgres, percentile, printTable, Stopwatch } from "./support.ts";

const { values: options } = parseArgs({
  options: {
    depths: { type: "string" },
    claims: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const depths = (options.depths ?? (options.quick ? "1000,10000" : "1000,10000,100000,1000000"))
  .split(",")
  .map(Number);
const claims = Number(options.claims ?? (options.quick ? 200 : 2000));
const seconds = Number(options.seconds ?? (options.quick ? 1 : 5));
const connections = 16;

interface Contender {
  name: string;
  /** Claims, and answers what puts it back. */
  claim(sql: Sql, round: number): Promise<(() => Promise<unknown>) | undefined>;
}

type Claimed = { task_id: string; attempt: number } | null;

const ours: Contender = {
  name: "claim_next_task",
  async claim(sql, round) {
    // Every second claim by a worker that has one of the models loaded.
    const worker = round % 2 === 0 ? "cold" : `warm-${round % 16}`;
    const [row] = await sql<{ claimed: Claimed }[]>`
      select public.claim_next_task(for_worker => ${worker}, for_run_type => 'gpu') as claimed`;
    const claimed = row?.claimed;
    if (!claimed) return undefined;
    return () => sql`select public.unclaim_task(null, ${claimed.task_id}, ${claimed.attempt})`;
  },
};

const reference: Contender = {
  name: "reference's shape",
  async claim(sql, round) {
    const worker = round % 2 === 0 ? "cold" : `warm-${round % 16}`;
    const [row] = await sql<{ id: string | null }[]>`select reference.claim(${worker}, 'gpu') as id`;
    const id = row?.id;
    if (!id) return undefined;
    return () => sql`update reference.tasks set status = 'Queued', worker_id = null where id = ${id}`;
  },
};

const bare: Contender = {
  name: "bare skip locked",
  async claim(sql) {
    const [row] = await sql<{ id: string }[]>`
      update bare.tasks set status = 'In Progress'
       where id = (select id from bare.tasks where status = 'Queued' order by created_at limit 1 for update skip locked)
      returning id, params`;
    const id = row?.id;
    if (!id) return undefined;
    return () => sql`update bare.tasks set status = 'Queued' where id = ${id}`;
  },
};

await onPostgres({}, async ({ sql, url, atEnd }) => {
  await makePeople(sql);
  await makeOtherQueues(sql);
  for (const [index, model] of models.entries()) {
    const worker = `warm-${index * 2 + 1}`;
    await sql`insert into public.workers (id, current_model, last_heartbeat) values (${worker}, ${model}, now())`;
    await sql`insert into reference.workers (id, current_model, status) values (${worker}, ${model}, 'active')`;
  }
  const one = postgres(url, { max: 1, onnotice: () => undefined });
  atEnd(() => one.end({ timeout: 5 }));
  const many = postgres(url, { max: connections, onnotice: () => undefined });
  atEnd(() => many.end({ timeout: 5 }));

  const rows: Record<string, string | number>[] = [];
  const medians = new Map<string, number[]>();
  for (const isPoisoned of [false, true]) {
    for (const depth of depths) {
      await fillQueue(sql, { depth, isPoisoned });
      await fillOtherQueues(sql);
      for (const contender of [ours, bare, reference]) {
        const times = await latency(one, contender);
        const head = isPoisoned ? "poisoned" : "plain";
        const p50 = percentile(times, 50);
        medians.set(`${contender.name}, ${head}`, [
          ...(medians.get(`${contender.name}, ${head}`) ?? []),
          p50,
        ]);
        rows.push({
          head,
          queued: depth,
          claim: contender.name,
          n: times.length,
          "p50 ms": p50.toFixed(2),
          "p99 ms": percentile(times, 99).toFixed(2),
          [`claims/s on ${connections}`]: contender === reference ? "–" : await throughput(many, contender),
        });
      }
      if (depth === depths.at(-1) && !isPoisoned) await variants(one, sql, depth);
    }
  }
  printTable(rows);
  printTable(
    [...medians].map(([name, [first = Number.NaN, ...rest]]) => ({
      claim: name,
      [`p50 at ${depths.at(-1)} : at ${depths[0]}`]: ((rest.at(-1) ?? first) / first).toFixed(2),
    })),
  );
});

/** Milliseconds of each claim on one connection. Each is put back before the next, so the depth stays. */
async function latency(sql: Sql, contender: Contender): Promise<number[]> {
  const watch = new Stopwatch();
  const deadline = performance.now() + 20_000;
  for (let round = 0; round < claims + 50; round++) {
    const begun = performance.now();
    const putBack = await contender.claim(sql, round);
    const took = performance.now() - begun;
    if (!putBack) throw new Error(`${contender.name} found nothing`);
    // The first ones make plans and fill caches; of slow ones a few must do.
    if (round >= 50 || took > 200) watch.add("claim", took);
    await putBack();
    if (performance.now() > deadline) break;
  }
  return watch.get("claim");
}

/** Claims a second, each with its putting back, on several connections. */
async function throughput(sql: Sql, contender: Contender): Promise<string> {
  const end = performance.now() + seconds * 1000;
  let done = 0;
  await Promise.all(
    Array.from({ length: connections }, async (_, lane) => {
      for (let round = lane; performance.now() < end; round++) {
        const putBack = await contender.claim(sql, round);
        if (!putBack) continue;
        await putBack();
        done += 1;
      }
    }),
  );
  return (done / seconds).toFixed(0);
}

/** Other kinds of claims, on the deepest queue. */
async function variants(one: Sql, sql: Sql, depth: number): Promise<void> {
  const [owner] = await sql<{ user_id: string }[]>`select user_id from bench_people where number = 500`;
  const kinds: Record<string, string> = {
    "task_types named": "for_worker => 'cold', only_task_types => array['image_edit', 'single_image']",
    "models named": "for_worker => 'cold', for_run_type => 'gpu', only_models => array['model-3', 'model-5']",
    "same_model_only, warm": "for_worker => 'warm-3', for_run_type => 'gpu', same_model_only => true",
    "an owner's token": `for_user => '${owner?.user_id}', for_worker => 'mine'`,
    "max_tasks: 10": "for_worker => 'cold', for_run_type => 'gpu', max_tasks => 10",
    "nothing there (other run type)": "for_worker => 'cold', for_run_type => 'api'",
  };
  const rows: Record<string, string | number>[] = [];
  for (const [name, args] of Object.entries(kinds)) {
    const times: number[] = [];
    for (let round = 0; round < Math.min(claims, 500) + 20; round++) {
      const begun = performance.now();
      const [row] = await one.unsafe<{ claimed: (Claimed & { tasks?: Claimed[] }) | null }[]>(
        `select public.claim_next_task(${args}) as claimed where $1 = $1`,
        [1],
        { prepare: true },
      );
      if (round >= 20) times.push(performance.now() - begun);
      for (const claimed of row?.claimed?.tasks ?? (row?.claimed ? [row.claimed] : [])) {
        if (claimed) await one`select public.unclaim_task(null, ${claimed.task_id}, ${claimed.attempt})`;
      }
    }
    rows.push({
      [`claims at ${depth} queued`]: name,
      n: times.length,
      "p50 ms": percentile(times, 50).toFixed(2),
      "p99 ms": percentile(times, 99).toFixed(2),
    });
  }
  printTable(rows);
}
