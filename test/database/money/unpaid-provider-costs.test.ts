/** What a user's tasks cost at providers without a charge, and that this has a limit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { type Session, withDatabase } from "../../support/database.ts";
import { useDefaultPrices } from "../../support/default-prices.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../../support/factories.ts";

const model = "fal-ai/z-image/turbo";
const price = 24_000;
const jobCost = 12_500;
const intent = { provider: "fal", model, units: { images: 1, megapixels: 2 } };

async function running(sql: Sql, user: TestUser, more: Record<string, unknown> = {}): Promise<string> {
  const taskId = await queueTask(sql, user, { params: { prompt: "a fox" }, ...more });
  assert.equal((await claim(sql, "worker"))?.task_id, taskId);
  return taskId;
}

async function noteIntent(connection: Sql | Session, taskId: string, step = 0, attempt = 1) {
  return setStatus(connection, taskId, "In Progress", {
    attempt,
    changes: { provider_job: { ...intent, step } },
  });
}

async function begin(connection: Sql | Session, taskId: string, step = 0, attempt = 1): Promise<void> {
  assert.equal((await noteIntent(connection, taskId, step, attempt))["refused"], undefined);
  const job = { provider: "fal", model, step, request_id: `${taskId}-${attempt}-${step}` };
  await setStatus(connection, taskId, "In Progress", { attempt, changes: { provider_job: job } });
}

async function failed(sql: Sql, user: TestUser): Promise<string> {
  const taskId = await running(sql, user);
  await begin(sql, taskId);
  await setStatus(sql, taskId, "Failed", { attempt: 1, changes: { error_details: "flagged" } });
  return taskId;
}

async function unpaidOf(sql: Sql, { userId }: TestUser): Promise<number> {
  const [row] = await sql<{ unpaid: number }[]>`
    select coalesce(sum(unpaid_microusd), 0)::int as unpaid from unpaid_provider_costs where user_id = ${userId}`;
  return row?.unpaid ?? 0;
}

async function allow(sql: Sql, amount: number | null): Promise<void> {
  await sql`update credit_settings set unpaid_provider_cost_per_day_microusd = ${amount}`;
}

async function withdrawalOf(sql: Sql, taskId: string): Promise<string> {
  const [row] = await sql<{ id: string }[]>`select id from provider_withdrawals where task_id = ${taskId}`;
  return row?.id ?? "";
}

test("beyond the allowance a user's next task is not begun at a provider: it fails, nothing is charged, the operator is alerted once; other users and the next day are not concerned", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    await allow(sql, jobCost);
    const user = await createUser(sql);
    await failed(sql, user);
    assert.equal(await unpaidOf(sql, user), jobCost);
    // At the allowance, not beyond it.
    await failed(sql, user);
    assert.equal(await unpaidOf(sql, user), 2 * jobCost);
    for (let repeat = 0; repeat < 2; repeat++) {
      const taskId = await running(sql, user);
      const answer = await noteIntent(sql, taskId);
      assert.equal(answer["refused"], "unpaid_provider_limit");
      assert.deepEqual(answer["details"], {
        task_id: taskId,
        user_id: user.userId,
        unpaid_microusd: 2 * jobCost,
        allowance_microusd: jobCost,
      });
      const [row] = await sql<{ status: string; error_message: string }[]>`
        select status, error_message from tasks where id = ${taskId}`;
      assert.equal(row?.status, "Failed");
      assert.match(row.error_message, /^unpaid_provider_limit: .*Nothing is charged/);
      assert.equal((await sql`select from provider_jobs where task_id = ${taskId}`).length, 0);
    }
    assert.equal((await accountOf(sql, user.userId)).held, 0);
    const alerts =
      await sql`select from billing_alerts where reason = 'unpaid_provider_limit' and subject = ${user.userId}`;
    assert.equal(alerts.length, 1);
    const other = await createUser(sql);
    await begin(sql, await running(sql, other));
    await sql`update unpaid_provider_costs set day = day - 1`;
    await begin(sql, await running(sql, user));
    // No limit.
    await sql`update unpaid_provider_costs set day = day + 1`;
    await allow(sql, null);
    await begin(sql, await running(sql, user));
    assert.deepEqual(await wrongAccounts(sql), []);
  }));

test("a task that a provider has begun goes on beyond the allowance; one that is retried after it ended unpaid does not", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    await sql`update queue_settings set allows_provider_loss = true`;
    await allow(sql, 0);
    const user = await createUser(sql);
    const begun = await running(sql, user);
    await begin(sql, begun);
    const lost = await failed(sql, user);
    await begin(sql, begun, 1);
    // Its next run goes on as well.
    await setStatus(sql, begun, "Queued", { attempt: 1, changes: { provider_job: null, given_back: true } });
    assert.equal((await claim(sql, "heir"))?.task_id, begun);
    await begin(sql, begun, 2, 2);
    await complete(sql, begun, { attempt: 2 });
    // A loss that the operator allows is not the user's.
    assert.equal(await unpaidOf(sql, user), jobCost);
    await setStatus(sql, lost, "Queued");
    assert.equal((await claim(sql, "heir"))?.task_id, lost);
    assert.equal((await noteIntent(sql, lost, 0, 2))["refused"], "unpaid_provider_limit");
    assert.equal(await unpaidOf(sql, user), jobCost, "a task that ends again is counted once");
  }));

test("a cancelled run counts until it is charged, or is not billed", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    for (const [outcome, unpaid] of [
      ["ran", 0],
      ["withdrawn", 0],
      ["failed", 0],
    ] as const) {
      const user = await createUser(sql);
      const taskId = await running(sql, user);
      await begin(sql, taskId);
      await setStatus(sql, taskId, "Cancelled");
      assert.equal(await unpaidOf(sql, user), jobCost);
      await sql`select settle_withdrawal(${await withdrawalOf(sql, taskId)}, ${outcome})`;
      assert.equal(await unpaidOf(sql, user), unpaid, outcome);
    }
  }));

test("a task that waits between two runs counts when its owner cancels or deletes it, and so does a job that is heard of later", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const user = await createUser(sql);
    const given = async () => {
      const taskId = await running(sql, user);
      await begin(sql, taskId);
      await setStatus(sql, taskId, "Queued", { attempt: 1, changes: { given_back: true } });
      return taskId;
    };
    await setStatus(sql, await given(), "Cancelled");
    assert.equal(await unpaidOf(sql, user), jobCost);
    const deleted = await given();
    await sql`delete from tasks where id = ${deleted}`;
    assert.equal(await unpaidOf(sql, user), 2 * jobCost);
    // It had not begun there.
    await sql`select settle_withdrawal(${await withdrawalOf(sql, deleted)}, 'withdrawn')`;
    assert.equal(await unpaidOf(sql, user), jobCost);
    const late = await running(sql, user);
    await noteIntent(sql, late);
    await setStatus(sql, late, "Failed", { attempt: 1 });
    assert.equal(await unpaidOf(sql, user), jobCost);
    await sql`select note_unwanted_job(null, 'fal', ${late}, 1, 0::smallint, 'late')`;
    assert.equal(await unpaidOf(sql, user), 2 * jobCost);
    // A run that is deleted is charged by its withdrawal.
    const runs = await running(sql, user);
    await begin(sql, runs);
    await sql`delete from tasks where id = ${runs}`;
    await sql`select settle_withdrawal(${await withdrawalOf(sql, runs)}, 'ran')`;
    assert.equal(await unpaidOf(sql, user), 2 * jobCost);
    await complete(sql, await running(sql, user), { attempt: 1 });
    assert.deepEqual(await wrongAccounts(sql), []);
    assert.ok(price > jobCost);
  }));

test("tasks of a user that end at the same time are both counted, and another user's end waits for neither", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    await useDefaultPrices(sql);
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const tasks = [await running(sql, user), await running(sql, user), await running(sql, other)];
    for (const taskId of tasks) await begin(sql, taskId);
    const [first, second] = [await database.session(), await database.session()];
    const end = (connection: Sql | Session, index: number) =>
      setStatus(connection, tasks[index] ?? "", "Failed", { attempt: 1 });
    await first.query("begin");
    await end(first, 0);
    const waiting = end(second, 1);
    await database.lockIsWaitedFor();
    await end(sql, 2);
    await first.query("commit");
    await waiting;
    assert.deepEqual([await unpaidOf(sql, user), await unpaidOf(sql, other)], [2 * jobCost, jobCost]);
  }));

test("a part that waits between two runs when its orchestration ends is counted by the outbox, and a claim that meets it leaves it", () =>
  withDatabase(async ({ sql }) => {
    await useDefaultPrices(sql);
    const user = await createUser(sql, 1_000_000_000);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: {
        orchestrator_details: {
          num_new_segments_to_generate: 5,
          segment_frames_expanded: [81, 81, 81, 81, 81],
        },
      },
    });
    assert.equal((await claim(sql, "planner"))?.task_id, orchestrator);
    const params = { orchestrator_task_id_ref: orchestrator, segment_frames_target: 81 };
    const parts: string[] = [];
    for (let index = 0; index < 5; index++) {
      parts.push(await queueTask(sql, user, { taskType: "travel_segment", params: { ...params, index } }));
    }
    for (const part of parts) {
      assert.equal((await claim(sql, "worker"))?.task_id, part);
      await begin(sql, part);
    }
    for (const part of parts) {
      const ended = { provider_job: null, error_details: "no" };
      await setStatus(sql, part, "Queued", { attempt: 1, changes: ended });
    }
    await sql`update tasks set run_after = null, is_scheduled = false where status = 'Queued'`;
    await sql`update queue_settings set direct_cascade = 1`;
    await setStatus(sql, orchestrator, "Cancelled");
    assert.equal(await claim(sql, "worker"), null);
    for (let batch = 0; batch < 20; batch++) await sql`select run_task_outbox()`;
    const left = await sql`select from tasks where status in ('Queued', 'In Progress')`;
    assert.deepEqual([left.length, await unpaidOf(sql, user)], [0, 5 * jobCost]);
    assert.deepEqual(await wrongAccounts(sql), []);
  }));
