import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, withDatabase } from "../../support/database.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
} from "../../support/factories.ts";
import { randomFrom } from "../../support/orders.ts";

/** Of the seed: micro-dollars a second, and the first hold in seconds. */
const perSecond = 278;
const firstHold = 60;
const longest = { extract_frame: 600, travel_segment: 1200 };

interface Quote {
  cost_microusd: number;
  hold_microusd: number;
  upper_bound_microusd: number;
}

async function bookFaults(sql: Sql): Promise<unknown[]> {
  return [
    ...(await sql`select rule, row_id from find_ledger_faults() union all select rule, row_id from find_task_faults()`),
  ];
}

async function assertHealthy(sql: Sql): Promise<void> {
  const [row] = await sql<{ report: { healthy: boolean; faults: unknown[] } }[]>`select doctor() as report`;
  assert.deepEqual(row?.report.faults, []);
}

async function quote(sql: Sql, taskType: string, params: Record<string, unknown> = {}): Promise<Quote> {
  const [row] = await sql<{ quote: Quote }[]>`
    select calculate_task_cost(null, ${taskType}, ${sql.json(params as never)}) as quote`;
  assert.ok(row);
  const { cost_microusd, hold_microusd, upper_bound_microusd } = row.quote;
  return { cost_microusd, hold_microusd, upper_bound_microusd };
}

/** As if the run had begun so many seconds earlier. */
async function letRun(sql: Sql, taskId: string, seconds: number): Promise<void> {
  await sql`
    update tasks set generation_started_at = generation_started_at - make_interval(secs => ${seconds}),
                     covered_until = covered_until - make_interval(secs => ${seconds})
     where id = ${taskId} and status = 'In Progress'`;
}

async function taskOf(sql: Sql, taskId: string) {
  const [task] = await sql<
    { status: string; error: string | null; held: number; cost: number | null; covered: number | null }[]
  >`select status, error_message as error, held_microusd::int as held, cost_microusd::int as cost,
           extract(epoch from covered_until - generation_started_at)::int as covered
      from tasks where id = ${taskId}`;
  assert.ok(task);
  return task;
}

/** What the begun seconds of a run come to, by the times in its row: a busy machine adds to what a test lets it run. */
async function consumedBy(sql: Sql, taskId: string): Promise<number> {
  const [run] = await sql<{ seconds: number; longest: number }[]>`
    select ceil(extract(epoch from generation_processed_at - generation_started_at))::int as seconds,
           max_runtime_seconds as longest
      from tasks join task_types on task_types.name = task_type where tasks.id = ${taskId}`;
  assert.ok(run);
  return Math.min(run.seconds, run.longest) * perSecond;
}

/** A task that a cloud worker has claimed. */
async function runningTask(
  sql: Sql,
  user: TestUser,
  {
    taskType = "extract_frame",
    worker = "gpu-1",
    params = { prompt: "a fox" } as Record<string, unknown>,
  } = {},
): Promise<string> {
  const taskId = await queueTask(sql, user, { taskType, params });
  assert.equal((await claim(sql, worker))?.task_id, taskId);
  return taskId;
}

/** Rounds of maintenance while a run goes on for so many seconds, one in every ten. */
async function runUnderMaintenance(sql: Sql, taskId: string, seconds: number): Promise<void> {
  for (let passed = 0; passed < seconds; passed += 10) {
    await letRun(sql, taskId, Math.min(10, seconds - passed));
    await sql`select grow_due_holds()`;
    await sql`select end_uncovered_runs()`;
  }
}

test("check 63: after 60 one-second runs of extract_frame under an invented model, the quote is what it was and a run of 500 seconds is charged every second, 139,000 micro-dollars", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const params = { model: "zz-mine" };
    const before = await quote(sql, "extract_frame", params);
    assert.deepEqual(before, await quote(sql, "extract_frame"));
    for (let run = 0; run < 60; run++) {
      const taskId = await runningTask(sql, user, { params });
      await complete(sql, taskId);
    }
    await sql`select tidy_counts()`;
    assert.deepEqual(await quote(sql, "extract_frame", params), before);
    assert.equal(before.upper_bound_microusd, longest.extract_frame * perSecond);
    assert.deepEqual([...(await sql`select model from task_run_times group by model`)], [{ model: "" }]);

    const balance = (await accountOf(sql, user.userId)).balance;
    const taskId = await runningTask(sql, user, { params });
    await runUnderMaintenance(sql, taskId, 499.5);
    await complete(sql, taskId);
    const consumed = await consumedBy(sql, taskId);
    assert.ok(consumed >= 139_000 && consumed < 145_000, String(consumed));
    assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - consumed, held: 0 });
    await assertHealthy(database.sql);
  }));

test("check 63: 200 invented model names leave no row in the statistics, and a known model has its own", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    for (let name = 0; name < 200; name++) {
      const taskId = await runningTask(sql, user, { params: { model: `zz-${name}` } });
      await complete(sql, taskId);
    }
    const known = await runningTask(sql, user, { params: { model: "vace_14B" } });
    await complete(sql, known);
    const models =
      await sql`select model, sum(runs)::int as runs from task_run_times group by model order by model`;
    assert.deepEqual(
      [...models],
      [
        { model: "", runs: 200 },
        { model: "vace_14B", runs: 1 },
      ],
    );
  }));

test("check 63: runs of the sandbox and of owners' workers enter no statistics", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await complete(sql, await runningTask(sql, user, { worker: "sandbox-here" }));
    const own = await queueTask(sql, user, { taskType: "extract_frame" });
    assert.equal((await claim(sql, "mine", user.userId))?.task_id, own);
    await complete(sql, own, { forUser: user.userId });
    assert.equal((await sql`select from task_run_times`).length, 0);
    await complete(sql, await runningTask(sql, user));
    assert.equal((await sql`select from task_run_times`).length, 1);
  }));

test("check 63: 200 sequences of a payer's own calls lower no quote, and every run is charged the seconds that it took, within the account's means", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const random = randomFrom(63);
    const below = (limit: number) => Math.floor(random() * limit);
    const pick = <Item>(items: readonly Item[]) => items[below(items.length)] as Item;
    const types = [
      "extract_frame",
      "travel_segment",
      "travel_stitch",
      "wgp",
      "wan_2_2_t2i",
      "travel_orchestrator",
    ];
    const models = [undefined, "zz-mine", "vace_14B", "frames", "", "qwen-image", randomUUID()];
    const paramsOf = () => {
      const model = pick(models);
      return { prompt: "a fox", ...(model !== undefined && { [pick(["model", "model_name"])]: model }) };
    };
    // The sandbox stands aside for an own worker, and here both take turns.
    await sql`update queue_settings set sandbox_waits_for = '0'`;
    const asked = types.flatMap((taskType) => models.map((model) => [taskType, model && { model }] as const));
    const quotes = () => Promise.all(asked.map(([taskType, params]) => quote(sql, taskType, params || {})));
    const before = await quotes();
    const counts: Record<string, number> = {};
    const count = (what: string) => (counts[what] = (counts[what] ?? 0) + 1);
    for (let round = 0; round < 200; round++) {
      const means = pick([20_000, 100_000, 5_000_000]);
      const user = await createUser(sql, means);
      const way = pick(["cloud", "cloud", "cloud", "own", "sandbox", "orchestration", "cancel", "requeue"]);
      const seconds = pick([1, 1, 30, 59, 200, 700, 1_300]) - 0.5;
      if (way === "orchestration") {
        const details = { num_new_segments_to_generate: 1 };
        const root = await refusedOr(() =>
          queueTask(sql, user, {
            taskType: "travel_orchestrator",
            params: { ...paramsOf(), orchestrator_details: details },
          }),
        );
        if (root === undefined) continue;
        assert.equal((await claim(sql, "gpu-1"))?.task_id, root);
        const child = await queueTask(sql, user, {
          taskType: "travel_segment",
          params: { ...paramsOf(), orchestrator_task_id_ref: root },
        });
        assert.equal((await claim(sql, "gpu-1"))?.task_id, child);
        await runUnderMaintenance(sql, child, seconds);
        const { status } = await taskOf(sql, child);
        if (status === "In Progress") await complete(sql, child, { worker: "gpu-1" });
        await sql`select end_task(${root}, 'Cancelled', 'enough')`;
        const { balance, held } = await accountOf(sql, user.userId);
        const cost = means - balance;
        assert.equal(held, 0);
        // A run that its account paid to the end is charged in full; one that it could not, what was held.
        const full = await consumedBy(sql, child);
        assert.ok(
          status === "Failed" || full >= Math.min(Math.ceil(seconds), longest.travel_segment) * perSecond,
        );
        assert.ok(
          cost === full || (status === "Failed" && cost !== null && means - cost < 61 * perSecond),
          JSON.stringify({ cost, full, means, status }),
        );
        count(`${way} ${status === "Failed" ? "exhausted" : "complete"}`);
        continue;
      }
      const taskType = pick(["extract_frame", "travel_segment"] as const);
      const taskId = await refusedOr(() => queueTask(sql, user, { taskType, params: paramsOf() }));
      if (taskId === undefined) continue;
      const worker = way === "sandbox" ? "sandbox-1" : "gpu-1";
      assert.equal((await claim(sql, worker, way === "own" ? user.userId : undefined))?.task_id, taskId);
      if (way === "cancel") {
        await setStatus(sql, taskId, "Cancelled");
      } else if (way === "own") {
        await letRun(sql, taskId, seconds);
        await complete(sql, taskId, { forUser: user.userId });
        assert.deepEqual(await accountOf(sql, user.userId), { balance: means, held: 0 });
      } else {
        if (way === "requeue") {
          await runUnderMaintenance(sql, taskId, 30);
          await setStatus(sql, taskId, "Queued");
          assert.equal((await claim(sql, worker))?.task_id, taskId);
        }
        await runUnderMaintenance(sql, taskId, seconds);
        const { status, cost, error } = await taskOf(sql, taskId);
        if (status === "In Progress") {
          await complete(sql, taskId);
          const full = await consumedBy(sql, taskId);
          assert.ok(full >= Math.min(Math.ceil(seconds), longest[taskType]) * perSecond);
          assert.deepEqual(await accountOf(sql, user.userId), { balance: means - full, held: 0 });
        } else {
          assert.deepEqual([status, error], ["Failed", "credit_exhausted"]);
          const { balance, held } = await accountOf(sql, user.userId);
          assert.ok(cost !== null && cost >= means - balance && cost <= means - balance + 11 * perSecond);
          assert.equal(held, 0);
          // All that the account had, to less than a second.
          assert.ok(
            (await consumedBy(sql, taskId)) > means - perSecond && balance < perSecond,
            JSON.stringify({ balance, means }),
          );
        }
        count(`${way} ${status === "Failed" ? "exhausted" : "complete"}`);
        continue;
      }
      count(way);
    }
    await sql`select tidy_counts()`;
    assert.deepEqual(await quotes(), before);
    await assertHealthy(database.sql);
    context.diagnostic(
      Object.entries(counts)
        .map(([what, times]) => `${times} ${what}`)
        .join(", "),
    );
  }));

/** What a call makes, or undefined where the account does not cover it. */
async function refusedOr<Made>(call: () => Promise<Made>): Promise<Made | undefined> {
  let made: Made | undefined;
  const code = await refusedWith(call().then((value) => (made = value)));
  assert.ok(code === "none" || code === "insufficient_credits", code);
  return made;
}

test("the first hold of a run is what the operator expects, and at least the floor; the bound is the longest run", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    assert.deepEqual(await quote(sql, "extract_frame"), {
      cost_microusd: 5 * perSecond,
      hold_microusd: firstHold * perSecond,
      upper_bound_microusd: 600 * perSecond,
    });
    await sql`update task_types set expected_seconds = 200 where name = 'extract_frame'`;
    assert.deepEqual(await quote(sql, "extract_frame"), {
      cost_microusd: 200 * perSecond,
      hold_microusd: 200 * perSecond,
      upper_bound_microusd: 600 * perSecond,
    });
    await queueTask(sql, user, { taskType: "extract_frame" });
    assert.equal((await accountOf(sql, user.userId)).held, 200 * perSecond);
    // A travel of three pictures.
    const travel = await quote(sql, "travel_orchestrator", {
      orchestrator_details: { num_new_segments_to_generate: 2 },
    });
    assert.deepEqual(travel, {
      cost_microusd: (2 * 120 + 30) * perSecond,
      hold_microusd: (2 * 120 + firstHold) * perSecond,
      upper_bound_microusd: 3 * 1200 * perSecond,
    });
  }));

test("a quoted task has the estimate, the first hold and the bound of its quote, whatever the operator expects by then", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [promised] = await sql<{ quote: { quote_id: string } }[]>`
      select calculate_task_cost(${user.userId}, 'extract_frame', '{}') as quote`;
    await sql`update task_types set expected_seconds = 400, max_runtime_seconds = 500 where name = 'extract_frame'`;
    const [row] = await sql<{ created: Record<string, number> }[]>`
      select create_task(null, jsonb_build_array(jsonb_build_object(
        'task_type', 'extract_frame', 'params', '{}'::jsonb, 'project_id', ${user.projectId}::text,
        'quote_id', ${promised?.quote.quote_id ?? ""}::text)), false) as created`;
    const { created } = row ?? {};
    assert.deepEqual(
      [created?.["estimated_cost_microusd"], created?.["hold_microusd"], created?.["upper_bound_microusd"]],
      [5 * perSecond, firstHold * perSecond, 600 * perSecond],
    );
    assert.equal(created?.["held_microusd"], firstHold * perSecond);
    assert.deepEqual([created?.["cost"], created?.["upper_bound"]], [0.139, 16.68]);
  }));

test("a hold grows by a step before it is used up, at most to the bound, and the charge is what was consumed", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await runningTask(sql, user);
    await letRun(sql, taskId, 30);
    await sql`select grow_due_holds()`;
    assert.equal((await taskOf(sql, taskId)).held, firstHold * perSecond);
    await letRun(sql, taskId, 15);
    await sql`select grow_due_holds()`;
    assert.equal((await taskOf(sql, taskId)).held, 2 * firstHold * perSecond);
    assert.equal((await accountOf(sql, user.userId)).held, 2 * firstHold * perSecond);
    // Nobody looked for a long while.
    await letRun(sql, taskId, 500);
    await sql`select grow_due_holds()`;
    assert.deepEqual(
      [(await taskOf(sql, taskId)).held, (await taskOf(sql, taskId)).covered],
      [600 * perSecond, null],
    );
    await complete(sql, taskId);
    assert.deepEqual(await accountOf(sql, user.userId), {
      balance: 100_000_000 - (await consumedBy(sql, taskId)),
      held: 0,
    });
    assert.deepEqual(await bookFaults(sql), []);
  }));

test("a heartbeat and a report of progress raise the hold of a run, in the same call", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await runningTask(sql, user);
    await letRun(sql, taskId, 50);
    await sql`select worker_heartbeat(null, 'gpu-1')`;
    assert.equal((await taskOf(sql, taskId)).held, 2 * firstHold * perSecond);
    await letRun(sql, taskId, 60);
    await setStatus(sql, taskId, "In Progress", { changes: { progress: 0.5 } });
    assert.equal((await taskOf(sql, taskId)).held, 3 * firstHold * perSecond);
  }));

test("check 63: a run whose worker never heartbeats takes from the available credit what its hold is short of, and the rest is written off", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    for (const means of [1_000_000, 100 * perSecond]) {
      const user = await createUser(sql, means);
      const taskId = await runningTask(sql, user);
      await letRun(sql, taskId, 299.5);
      await complete(sql, taskId);
      const consumed = await consumedBy(sql, taskId);
      assert.ok(consumed >= 300 * perSecond);
      const charged = Math.min(consumed, means);
      assert.deepEqual(await accountOf(sql, user.userId), { balance: means - charged, held: 0 });
      const [hold] = await sql`
        select charged_microusd::int as charged, written_off_microusd::int as written_off from credit_holds where task_id = ${taskId}`;
      assert.deepEqual({ ...hold }, { charged, written_off: consumed - charged });
    }
    await assertHealthy(database.sql);
  }));

test("a run that its account can pay no further ends with credit_exhausted, charged what it consumed, and is not run again", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 100 * perSecond + 100);
    const taskId = await runningTask(sql, user);
    await runUnderMaintenance(sql, taskId, 90);
    assert.deepEqual(
      [(await taskOf(sql, taskId)).status, (await taskOf(sql, taskId)).covered],
      ["In Progress", 100],
    );
    await runUnderMaintenance(sql, taskId, 10);
    // The second that had begun is written off, but for what was held of it.
    assert.deepEqual(await taskOf(sql, taskId), {
      status: "Failed",
      error: "credit_exhausted",
      held: 100 * perSecond + 100,
      cost: await consumedBy(sql, taskId),
      covered: 100,
    });
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 0, held: 0 });
    assert.equal(await claim(sql, "gpu-1"), null);
    assert.equal(await refusedWith(complete(sql, taskId)), "task_not_running");
    await sql`select add_credit(${user.userId}, 'manual', 1000000)`;
    assert.equal(await refusedWith(setStatus(sql, taskId, "Queued")), "invalid_transition");
    const [receipt] = await sql<{ receipt: { lines: { total_microusd: number }[] } }[]>`
      select get_receipt(for_user => ${user.userId}, for_entry => null, for_task => ${taskId}, for_call => null) as receipt`;
    assert.ok(JSON.stringify(receipt).includes(String(100 * perSecond + 100)), JSON.stringify(receipt));
    await assertHealthy(database.sql);
  }));

test("check 16: a run is charged at most the bound that it was created with, although the operator allows longer runs since", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const bound = longest.extract_frame * perSecond;
    const [first, second] = [await runningTask(sql, user), await runningTask(sql, user)];
    await sql`update task_types set max_runtime_seconds = 1000 where name = 'extract_frame'`;
    // One whose hold has grown, and one that nobody has looked at.
    await runUnderMaintenance(sql, first, 900);
    await letRun(sql, second, 900);
    for (const taskId of [first, second]) {
      const { status, held } = await taskOf(sql, taskId);
      assert.ok(status === "In Progress" && held <= bound);
      await complete(sql, taskId);
      const [hold] = await sql`
        select charged_microusd::int as charged, written_off_microusd::int as written_off from credit_holds where task_id = ${taskId}`;
      assert.deepEqual({ ...hold }, { charged: bound, written_off: 0 });
    }
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 100_000_000 - 2 * bound, held: 0 });
    assert.deepEqual(await bookFaults(sql), []);
  }));

test("runs keep their cost, and the books their order, whatever longest run the operator allows since", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    // One that completed, one that was cancelled, and one that runs while the limit falls.
    const ended = await runningTask(sql, user);
    await runUnderMaintenance(sql, ended, 300);
    await complete(sql, ended);
    const cancelled = await runningTask(sql, user);
    await runUnderMaintenance(sql, cancelled, 300);
    await setStatus(sql, cancelled, "Cancelled");
    const running = await runningTask(sql, user);
    await runUnderMaintenance(sql, running, 300);
    const costs = [await consumedBy(sql, ended), await consumedBy(sql, cancelled)];

    await sql`update task_types set max_runtime_seconds = 60 where name = 'extract_frame'`;
    await complete(sql, running);
    assert.deepEqual(await bookFaults(sql), []);
    await sql`update task_types set max_runtime_seconds = 1200 where name = 'extract_frame'`;
    assert.deepEqual(await bookFaults(sql), []);

    costs.push(await consumedBy(sql, running));
    for (const [place, taskId] of [ended, cancelled, running].entries()) {
      const [row] = await sql<{ receipt: { lines: { quantity: number }[]; total_microusd: number } }[]>`
        select get_receipt(null, null, ${taskId}, null) as receipt`;
      assert.equal(row?.receipt.total_microusd, costs[place]);
      assert.equal((row?.receipt.lines[0]?.quantity ?? 0) * perSecond, costs[place]);
    }
  }));

test("credit that comes while a run is under way keeps it alive", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, firstHold * perSecond);
    const taskId = await runningTask(sql, user);
    await letRun(sql, taskId, 55);
    await sql`select grow_due_holds()`;
    await sql`select add_credit(${user.userId}, 'manual', ${300 * perSecond})`;
    await letRun(sql, taskId, 10);
    await sql`select end_uncovered_runs()`;
    const { status, covered } = await taskOf(sql, taskId);
    assert.equal(status, "In Progress");
    assert.ok(covered !== null && covered >= 125 && covered < 130, String(covered));
  }));

test("check 63: a spend cap ends a run as an empty account does; a hold never grows beyond it", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    await sql`
      select set_spend_cap(for_user => ${user.userId}, for_project => ${user.projectId}, for_token => null,
                           new_cap_microusd => ${150 * perSecond})`;
    const taskId = await runningTask(sql, user);
    await runUnderMaintenance(sql, taskId, 160);
    assert.equal((await taskOf(sql, taskId)).error, "credit_exhausted");
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 100_000_000 - 150 * perSecond, held: 0 });
    await assertHealthy(database.sql);
  }));

test("the hold of an orchestration grows with its children, and what a child did not use serves the others", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    // Both segments and the stitch as they are expected, and 30 seconds more.
    const expected = (2 * 120 + firstHold) * perSecond;
    const user = await createUser(sql, expected + 30 * perSecond);
    const root = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 2, independent_segments: false } },
    });
    assert.equal((await claim(sql, "gpu-1"))?.task_id, root);
    assert.equal((await accountOf(sql, user.userId)).held, expected);
    const segments: string[] = [];
    for (const segment_index of [0, 1]) {
      const params = { orchestrator_task_id_ref: root, segment_index };
      segments.push(await runningTask(sql, user, { taskType: "travel_segment", params }));
    }
    const [first, second] = segments as [string, string];
    // 90 seconds of its 120: 30 are left for the other, and the 60 of the stitch, which is not created yet.
    await letRun(sql, first, 89.5);
    await complete(sql, first, { worker: "gpu-1" });
    await runUnderMaintenance(sql, second, 150);
    assert.equal((await taskOf(sql, second)).covered, 180);
    assert.equal((await accountOf(sql, user.userId)).held, expected);
    // Then the 30 of the account.
    await runUnderMaintenance(sql, second, 85);
    assert.deepEqual(
      [(await taskOf(sql, second)).status, (await taskOf(sql, second)).covered],
      ["In Progress", 240],
    );
    assert.equal((await accountOf(sql, user.userId)).held, expected + 30 * perSecond);
    assert.deepEqual(await bookFaults(sql), []);
    await runUnderMaintenance(sql, second, 10);
    assert.equal((await taskOf(sql, second)).error, "credit_exhausted");
    assert.equal((await taskOf(sql, root)).status, "Failed");
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 0, held: 0 });
    await assertHealthy(database.sql);
  }));

test("when an orchestration can be paid no further, all its running children end and are charged what they consumed", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const means = 4 * 120 * perSecond;
    const user = await createUser(sql, means);
    const root = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 3 } },
    });
    assert.equal((await claim(sql, "gpu-1"))?.task_id, root);
    const children: string[] = [];
    for (const segment_index of [0, 1, 2]) {
      const params = { orchestrator_task_id_ref: root, segment_index };
      children.push(await runningTask(sql, user, { taskType: "travel_segment", params }));
    }
    const [first = "", second = "", third = ""] = children;
    await letRun(sql, second, 79.5);
    await letRun(sql, third, 19.5);
    // Nothing is left: what the account had beside is given back to its card.
    const { balance, held } = await accountOf(sql, user.userId);
    await sql`select take_back_credit(${user.userId}, 'refund', ${balance - held}, null)`;
    await runUnderMaintenance(sql, first, 240);
    assert.equal((await taskOf(sql, first)).error, "credit_exhausted");
    for (const child of [second, third]) assert.equal((await taskOf(sql, child)).status, "Failed");
    assert.equal(((await taskOf(sql, second)).cost ?? 0) % perSecond, 0);
    assert.ok(((await taskOf(sql, second)).cost ?? 0) >= 80 * perSecond);
    assert.ok(((await taskOf(sql, third)).cost ?? 0) >= 20 * perSecond);
    // The first consumed what was held for the stitch too.
    const [spent] = await sql<{ charged: number }[]>`
      select charged_microusd::int as charged from credit_holds where task_id = ${root}`;
    assert.ok((spent?.charged ?? 0) >= (180 + 80 + 20) * perSecond, String(spent?.charged));
    assert.deepEqual(await bookFaults(sql), []);
  }));

test("holds grow without waiting for an account that somebody has locked, and other accounts' holds grow meanwhile", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [blocked, free] = [await createUser(sql), await createUser(sql)];
    const [first, second] = [await runningTask(sql, blocked), await runningTask(sql, free)];
    for (const task of [first, second]) await letRun(sql, task, 50);
    const locker = await database.session();
    await locker.query("begin");
    await locker.query("select from credit_accounts where user_id = $1 for update", [blocked.userId]);
    const session = await database.session();
    await session.query("set statement_timeout = '1s'");
    await session.query("select grow_due_holds()");
    assert.equal((await taskOf(sql, first)).held, firstHold * perSecond);
    assert.equal((await taskOf(sql, second)).held, 2 * firstHold * perSecond);
    await locker.query("rollback");
    await session.query("select grow_due_holds()");
    assert.equal((await taskOf(sql, first)).held, 2 * firstHold * perSecond);
  }));

test("an uncovered run whose account is locked holds up the end of others' runs for half a second at most", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const users = [
      await createUser(sql, firstHold * perSecond),
      await createUser(sql, firstHold * perSecond),
    ];
    const tasks: string[] = [];
    for (const user of users) tasks.push(await runningTask(sql, user));
    for (const task of tasks) await letRun(sql, task, 70);
    const locker = await database.session();
    await locker.query("begin");
    await locker.query("select from credit_accounts where user_id = $1 for update", [users[0]?.userId ?? ""]);
    const session = await database.session();
    await session.query("set statement_timeout = '3s'");
    await session.query("select end_uncovered_runs()");
    assert.equal((await taskOf(sql, tasks[0] ?? "")).status, "In Progress");
    assert.equal((await taskOf(sql, tasks[1] ?? "")).error, "credit_exhausted");
    // A claim does not wait at all.
    await session.query("set statement_timeout = '200ms'");
    await session.query("select claim_next_task(for_worker => 'gpu-2')");
    await locker.query("rollback");
    await session.query("select end_uncovered_runs()");
    assert.equal((await taskOf(sql, tasks[0] ?? "")).error, "credit_exhausted");
  }));

test("a completion and the end of an uncovered run that meet have one outcome and one charge, whichever is first", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    for (const isEndFirst of [true, false]) {
      const user = await createUser(sql, firstHold * perSecond);
      const taskId = await runningTask(sql, user);
      await letRun(sql, taskId, 70);
      const [first, second] = await raceOf(database);
      const end = "select end_uncovered_runs()";
      const finish = `select complete_task(for_user => null, for_task => '${taskId}', output_text => 'done')`;
      await first.query("begin");
      await first.query(isEndFirst ? end : finish);
      const waiting = refusedWith(second.query(isEndFirst ? finish : end));
      await database.lockIsWaitedFor();
      await first.query("commit");
      assert.equal(await waiting, isEndFirst ? "task_not_running" : "none");
      assert.equal((await taskOf(sql, taskId)).status, isEndFirst ? "Failed" : "Complete");
      assert.deepEqual(await accountOf(sql, user.userId), { balance: 0, held: 0 });
      const entries = await sql`select from credits_ledger where task_id = ${taskId}`;
      assert.equal(entries.length, 1);
    }
    await assertHealthy(database.sql);
  }));

async function raceOf(database: DatabaseUnderTest) {
  return [await database.session(), await database.session()] as const;
}
