/** Check 9: an orchestration costs what the written rule says, however it goes; docs/credits.md, "Orchestrations". */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../../support/database.ts";
import {
  accountOf,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
} from "../../support/factories.ts";
import { inParallel, permutations, randomFrom, shuffled } from "../../support/orders.ts";

const pricePerSecond = 278n;
const longestRun = 1_200n;

/** How an orchestration ends: by its parts, or before some of them. */
const endings = [
  "all finish",
  "one fails",
  "it is cancelled",
  "its worker fails it",
  "its worker ends it",
] as const;

interface Plan {
  /** The places of its children, in the order in which they end. */
  order: number[];
  ending: (typeof endings)[number];
  /** So many children finish before the ending. */
  finishing: number;
  seed: number;
  /** An account with nothing beside the hold, and longer runs: their cost passes what it covers. */
  isPoor: boolean;
}

/** All orders of one to five children, each with an ending by its turn; then more by the seed. */
function plansFrom(seed: number, count: number): Plan[] {
  const random = randomFrom(seed);
  const orders = [1, 2, 3, 4, 5].flatMap((children) =>
    permutations(Array.from({ length: children }, (_, at) => at)),
  );
  while (orders.length < count) {
    const children = 1 + Math.floor(random() * 5);
    orders.push(
      shuffled(
        Array.from({ length: children }, (_, at) => at),
        random,
      ),
    );
  }
  return orders.map((order, at) => {
    const ending = endings[at % endings.length] as (typeof endings)[number];
    return {
      order,
      ending,
      finishing: ending === "all finish" ? order.length : Math.floor(random() * order.length),
      seed: Math.floor(random() * 2 ** 31),
      isPoor: random() < 0.3,
    };
  });
}

interface Child {
  id: string;
  attempt: number;
  byOwner: boolean;
}

/** One orchestration and its children, apart from all others by its model. */
class Orchestration {
  /** Children that the cloud finished in time, with an output, or ran when their owner cancelled: those that are paid. */
  readonly paid: string[] = [];

  constructor(
    readonly sql: Sql,
    readonly user: TestUser,
    readonly model: string,
  ) {}

  async claim(byOwner: boolean): Promise<{ task_id: string; attempt: number }> {
    const [row] = await this.sql<{ claimed: { task_id: string; attempt: number } | null }[]>`
      select claim_next_task(for_user => ${byOwner ? this.user.userId : null}, for_worker => 'worker',
                             only_models => ${[this.model]}) as claimed`;
    assert.ok(row?.claimed);
    return row.claimed;
  }

  /** @returns the refusal, or `none` */
  async complete({ id, attempt, byOwner }: Child, worker = "worker"): Promise<string> {
    return await refusedWith(
      this.sql`
        select complete_task(for_user => ${byOwner ? this.user.userId : null}, for_task => ${id}, output_text => 'done',
                             for_worker => ${worker}, for_attempt => ${attempt})`,
    );
  }

  async ranFor({ id }: Child, seconds: number): Promise<void> {
    await this.sql`
      update tasks set generation_started_at = clock_timestamp() - make_interval(secs => ${seconds - 0.5}) where id = ${id}`;
  }
}

/** Runs a plan. @returns what was charged, and what the rule says, in micro-dollars */
async function carryOut(
  sql: Sql,
  plan: Plan,
  model: string,
): Promise<{ charged: bigint; cost: bigint; held: bigint }> {
  const random = randomFrom(plan.seed);
  // What is held first: two minutes of each segment. Segments that stand for themselves are not stitched.
  const user = await createUser(
    sql,
    plan.isPoor ? plan.order.length * 120 * Number(pricePerSecond) : undefined,
  );
  const orchestration = new Orchestration(sql, user, model);
  const details = { num_new_segments_to_generate: plan.order.length, independent_segments: true };
  const root = await queueTask(sql, user, {
    taskType: "travel_orchestrator",
    params: { model, orchestrator_details: details },
  });
  const held = (await accountOf(sql, user.userId)).held;
  const conducting = await orchestration.claim(false);
  assert.equal(conducting.task_id, root);

  const children: Child[] = [];
  for (const place of plan.order.toSorted()) {
    const id = await queueTask(sql, user, {
      taskType: "travel_segment",
      params: { model, orchestrator_task_id_ref: root, segment_index: place },
    });
    const byOwner = random() < 0.25;
    const claimed = await orchestration.claim(byOwner);
    assert.equal(claimed.task_id, id);
    children.push({ id, attempt: claimed.attempt, byOwner });
  }
  assert.equal((await accountOf(sql, user.userId)).held, held, "children hold nothing");

  const inOrder = plan.order.map((place) => children[place] as Child);
  for (const child of inOrder.slice(0, plan.finishing)) {
    await orchestration.ranFor(child, 1 + Math.floor(random() * (plan.isPoor ? 400 : 30)));
    if (random() < 0.15) {
      // Without an output, which is free.
      await sql`
        select update_task_status(${child.byOwner ? user.userId : null},
                                  ${child.byOwner ? "personal-access-token" : "service"}, ${child.id}, 'Complete')`;
    } else {
      assert.equal(await orchestration.complete(child), "none");
      if (!child.byOwner) orchestration.paid.push(child.id);
    }
    // Some say it again: the same worker, or one that is late.
    while (random() < 0.3) assert.equal(await orchestration.complete(child), "none");
    if (random() < 0.3) assert.equal(await orchestration.complete(child, "another"), "stale_attempt");
  }
  const [next] = inOrder.slice(plan.finishing);
  if (plan.ending === "one fails" && next) {
    await sql`select end_task(${next.id}, 'Failed', 'out of memory')`;
  } else if (plan.ending === "it is cancelled") {
    await sql`select update_task_status(${user.userId}, 'user', ${root}, 'Cancelled')`;
    // What the cloud's children have consumed until then.
    for (const child of inOrder.slice(plan.finishing)) if (!child.byOwner) orchestration.paid.push(child.id);
  } else if (plan.ending === "its worker fails it") {
    await setStatus(sql, root, "Failed");
  } else if (plan.ending === "its worker ends it") {
    await sql`select complete_task(null, ${root}, output_text => 'done')`;
  }
  // Who comes after the end comes too late, also with the work that was done.
  for (const child of inOrder.slice(plan.finishing)) {
    assert.notEqual(await orchestration.complete(child), "none");
  }
  for (const child of inOrder.slice(0, plan.finishing))
    assert.equal(await orchestration.complete(child), "none");

  const [ended] = await sql`select status from tasks where id = ${root}`;
  assert.equal(
    ended?.["status"],
    { "it is cancelled": "Cancelled", "all finish": "Complete", "its worker ends it": "Complete" }[
      plan.ending as string
    ] ?? "Failed",
  );
  const entries = await sql<{ task_id: string; charged: string }[]>`
    select task_id, -amount_microusd as charged from credits_ledger
     where user_id = ${user.userId} and type in ('spend', 'write_off')`;
  assert.ok(entries.length <= 1 && entries.every(({ task_id }) => task_id === root));
  assert.equal((await accountOf(sql, user.userId)).held, 0);
  return {
    charged: BigInt(entries[0]?.charged ?? 0),
    cost: await costOf(sql, orchestration.paid),
    held: BigInt(held),
  };
}

/** The rule, by the times in the rows: begun seconds whole, at least one, at most the longest run; each child once. */
async function costOf(sql: Sql, paid: readonly string[]): Promise<bigint> {
  const runs = await sql<{ micros: string }[]>`
    select round(extract(epoch from generation_processed_at - generation_started_at) * 1000000)::bigint as micros
      from tasks where id = any (${[...paid]})`;
  assert.equal(runs.length, paid.length);
  return runs.reduce((sum, { micros }) => {
    const begun = (BigInt(micros) + 999_999n) / 1_000_000n;
    const seconds = begun < 1n ? 1n : begun > longestRun ? longestRun : begun;
    return sum + seconds * pricePerSecond;
  }, 0n);
}

test("check 9: 400 orchestrations, all orders of up to five children, cost what the written rule says", (context) =>
  withDatabase(async ({ sql }) => {
    const counts = new Map<string, number>();
    let capped = 0;
    await inParallel(plansFrom(9, 400), 4, async (plan, at) => {
      const { charged, cost, held } = await carryOut(sql, plan, `model-${at}`);
      assert.equal(charged, cost < held ? cost : held, JSON.stringify(plan));
      if (cost > held) capped++;
      counts.set(plan.ending, (counts.get(plan.ending) ?? 0) + 1);
    });
    assert.deepEqual(
      [
        ...(await sql`
          select rule, row_id from find_ledger_faults() union all select rule, row_id from find_task_faults()`),
      ],
      [],
    );
    const [spends] = await sql`select count(*)::int as spends from credits_ledger where type = 'spend'`;
    context.diagnostic(
      `${[...counts].map(([ending, count]) => `${count}: ${ending}`).join(", ")}; ${spends?.["spends"]} spends, ${capped} at their hold`,
    );
  }));

for (const ending of ["finishes", "fails", "is cut off by the end of the outer one"] as const) {
  test(`check 9: what was finished within an inner orchestration that ${ending} is paid, once, and on the receipt`, () =>
    withDatabase(async ({ sql }) => {
      const user = await createUser(sql);
      const orchestration = new Orchestration(sql, user, "inner");
      const model = orchestration.model;
      const outer = await queueTask(sql, user, {
        taskType: "travel_orchestrator",
        params: { model, orchestrator_details: { num_new_segments_to_generate: 1, stitch_config: {} } },
      });
      await orchestration.claim(false);
      const create = async (
        taskType: string,
        orchestrator: string,
        details: Record<string, unknown> = {},
      ) => {
        const id = await queueTask(sql, user, {
          taskType,
          params: { model, orchestrator_task_id_ref: orchestrator, ...details },
        });
        const { attempt } = await orchestration.claim(false);
        return { id, attempt, byOwner: false };
      };
      const segment = await create("travel_segment", outer);
      await orchestration.ranFor(segment, 7);
      assert.equal(await orchestration.complete(segment), "none");
      const clips = { orchestrator_details: { clip_list: [1, 2, 3], use_parallel_joins: false } };
      const inner = await create("join_clips_orchestrator", outer, clips);
      const joins = [
        await create("join_clips_segment", inner.id),
        await create("join_clips_segment", inner.id),
      ];
      const [done, other] = joins as [Child, Child];
      await orchestration.ranFor(done, 5);
      assert.equal(await orchestration.complete(done), "none");
      if (ending === "finishes") {
        await orchestration.ranFor(other, 3);
        assert.equal(await orchestration.complete(other), "none");
        const [closed] = await sql`select status from tasks where id = ${inner.id}`;
        assert.equal(closed?.["status"], "Complete");
      }
      if (ending === "fails") await setStatus(sql, other.id, "Failed");
      else await sql`select complete_task(null, ${outer}, output_text => 'done')`;

      const parts = [segment.id, done.id, ...(ending === "finishes" ? [other.id] : [])];
      const cost = await costOf(sql, parts);
      const entries =
        await sql`select task_id, -amount_microusd as charged from credits_ledger where type = 'spend'`;
      assert.deepEqual(
        entries.map((entry) => [entry["task_id"], BigInt(entry["charged"] as string)]),
        [[outer, cost]],
      );
      const [receipt] = await sql<{ lines: { total_microusd: number }[] }[]>`
        select get_receipt(null, null, ${outer}, null) -> 'lines' as lines`;
      assert.equal(
        receipt?.lines.reduce((sum, line) => sum + line.total_microusd, 0),
        Number(cost),
      );
      assert.deepEqual([...(await sql`select rule, row_id from find_task_faults()`)], []);
      assert.equal((await accountOf(sql, user.userId)).held, 0);
    }));
}

for (const also of ["alone", "with one of its parts"] as const) {
  test(`an orchestration whose row is deleted ${also} pays what was finished and what its running parts consumed, and leaves nobody that runs without cover`, () =>
    withDatabase(async ({ sql, sessionAs }) => {
      const user = await createUser(sql);
      const orchestration = new Orchestration(sql, user, "deleted");
      const { model } = orchestration;
      const root = await queueTask(sql, user, {
        taskType: "travel_orchestrator",
        params: { model, orchestrator_details: { num_new_segments_to_generate: 3 } },
      });
      await orchestration.claim(false);
      const children: Child[] = [];
      for (let place = 0; place < 3; place++) {
        const params = { model, orchestrator_task_id_ref: root, segment_index: place };
        const id = await queueTask(sql, user, { taskType: "travel_segment", params });
        children.push({ id, attempt: 1, byOwner: false });
        // The last one waits.
        if (place < 2) await orchestration.claim(false);
      }
      const [done, running, waiting] = children as [Child, Child, Child];
      await orchestration.ranFor(done, 4);
      assert.equal(await orchestration.complete(done), "none");
      const cost = await costOf(sql, [done.id]);

      const service = await sessionAs("service_role");
      await service.query("delete from tasks where id = any ($1)", [
        also === "alone" ? [root] : [waiting.id, root],
      ]);
      assert.equal(await orchestration.complete(running), "task_cancelled");
      const [open] =
        await sql`select count(*)::int as tasks from tasks where status in ('Queued', 'In Progress')`;
      assert.equal(open?.["tasks"], 0);
      const consumed = await costOf(sql, [running.id]);
      assert.deepEqual(await accountOf(sql, user.userId), {
        balance: 100_000_000 - Number(cost + consumed),
        held: 0,
      });
      const faults = await sql`
      select rule from find_task_faults() union all select rule from find_ledger_faults()
      union all select rule from find_queue_faults()`;
      assert.deepEqual([...faults], []);
    }));
}
