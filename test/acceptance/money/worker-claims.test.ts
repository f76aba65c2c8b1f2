/** Check 17: what a worker says about time and money is not money. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pool } from "../../../supabase/functions/_shared/database/pool.ts";
import { completeTaskEndpoint } from "../../../supabase/functions/complete_task/endpoint.ts";
import { updateTaskStatusEndpoint } from "../../../supabase/functions/update-task-status/endpoint.ts";
import { asker } from "../../support/ask.ts";
import { withClockOff } from "../../support/clock.ts";
import { startEnvironment } from "../../support/environment.ts";
import { claim, queueTask } from "../../support/factories.ts";

const pricePerSecond = 278;
const longestRun = 600;

/** As JSON text, for some of them are no values of JavaScript's. */
const values = [
  "-1",
  "-1e308",
  "0",
  "1e308",
  "1e999",
  '"NaN"',
  '"Infinity"',
  '"-Infinity"',
  "null",
  "[]",
  '"1970-01-01T00:00:00Z"',
  '"9999-12-31T23:59:59Z"',
  '"infinity"',
];
const fields = [
  "duration",
  "duration_seconds",
  "generation_duration",
  "generation_started_at",
  "generation_processed_at",
  "started_at",
  "completed_at",
  "cost",
  "cost_microusd",
  "price",
  "upper_bound_microusd",
  "billing_type",
  "runtime_seconds",
];

test("check 17: whatever a worker reports, the charge is that of the database's clock, from the least to the bound", async (context) => {
  const under = await startEnvironment();
  try {
    const { sql, service } = under;
    const [update, finish] = [asker(under, updateTaskStatusEndpoint), asker(under, completeTaskEndpoint)];
    const owner = await under.person({ balanceMicrousd: 1_000_000_000 });
    const words = fields.flatMap((field) => values.map((value) => `"${field}": ${value}`));
    let charged = 0;
    for (const [index, word] of words.entries()) {
      // As an hour's work, half a second's, that of a second, and one that begins in an hour.
      const seconds = [3_600, 0, 7.25, -3_600][index % 4] ?? 0;
      const taskId = await started(sql, owner, seconds);
      const said = `"task_id": "${taskId}", "worker_id": "worker-17", ${word}`;
      const off = [0, 3_600_000, -3_600_000][index % 3] ?? 0;
      await withClockOff(off, async () => {
        const report = `{${said}, "status": "In Progress", "progress": 0.5, "params": {${word}}, "metadata": {${word}}}`;
        assertTaken(await update(report, service), word);
        const output = `"output_location": "https://media.example/${index}.png", "skip_generation": true`;
        if (index % 2 === 0)
          assertTaken(await finish(`{${said}, ${output}, "result_data": {${word}}}`, service), word);
        else assertTaken(await update(`{${said}, ${output}, "status": "Complete"}`, service), word);
      });
      const task = await chargeOf(sql, taskId);
      const least = Math.min(Math.max(Math.ceil(seconds), 1), longestRun) * pricePerSecond;
      assert.ok(task.charged >= least, `${word}: ${task.charged} for ${seconds} s`);
      assert.deepEqual([task.charged, task.cost], [task.byTheClock, task.byTheClock], word);
      assert.ok(task.charged >= pricePerSecond && task.charged <= task.bound, word);
      charged++;
    }

    // Over REST too, where workers write into the table itself.
    for (const change of [
      "generation_started_at = 'epoch'",
      "generation_processed_at = 'infinity'",
      "cost_microusd = 0",
      "upper_bound_microusd = 0, price_id = 1",
      `params = '{"num_frames": -5}'`,
    ]) {
      const taskId = await started(sql, owner, 7.25);
      const before = await rowOf(sql, taskId);
      await sql.transaction(async (transaction) => {
        await transaction`set local role service_role`;
        // Without the right to that column it is refused, with it nothing comes of it.
        await transaction`savepoint before`;
        try {
          await transaction.query(`update tasks set ${change} where id = '${taskId}'`);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "42501", change);
          await transaction`rollback to before`;
        }
      });
      assert.deepEqual(await rowOf(sql, taskId), before, change);
      const end = { task_id: taskId, worker_id: "worker-17", output_location: "made", skip_generation: true };
      assertTaken(await finish(end, service), change);
      const task = await chargeOf(sql, taskId);
      assert.equal(task.charged, task.byTheClock, change);
    }

    // What costs so much apiece costs that.
    const perUnit = await started(sql, owner, 3_600, "qwen_image");
    const said = `{"task_id": "${perUnit}", "worker_id": "worker-17", "cost": 1e308, "duration": -1, "output_location": "made"}`;
    assertTaken(await finish(said, service), said);
    assert.equal((await chargeOf(sql, perUnit)).charged, 39_000);

    const [row] = await sql<{ diagnosis: { faults: unknown[] } }[]>`select doctor() as diagnosis`;
    assert.deepEqual(row?.diagnosis.faults, []);
    context.diagnostic(
      `${charged} tasks with ${fields.length} fields of ${values.length} values: each charged by the database's clock`,
    );
  } finally {
    await under.close();
  }
});

function assertTaken({ status, body }: { status: number; body: unknown }, word: string): void {
  assert.equal(status, 200, `${word}: ${JSON.stringify(body)}`);
}

/** A task that runs, since so many seconds ago by the database's clock. */
async function started(
  sql: Pool,
  owner: Parameters<typeof queueTask>[1],
  seconds: number,
  taskType = "wan_2_2_t2i",
): Promise<string> {
  const taskId = await queueTask(sql, owner, { taskType });
  assert.equal((await claim(sql, "worker-17"))?.task_id, taskId);
  await sql`
    update tasks set generation_started_at = clock_timestamp() - make_interval(secs => ${seconds}) where id = ${taskId}`;
  return taskId;
}

async function rowOf(sql: Pool, taskId: string) {
  const [row] = await sql`
    select params, price_id, upper_bound_microusd, cost_microusd, generation_started_at, generation_processed_at
      from tasks where id = ${taskId}`;
  return row;
}

async function chargeOf(sql: Pool, taskId: string) {
  const [row] = await sql<{ charged: number; cost: number; bound: number; seconds: number }[]>`
    select -entry.amount_microusd::int as charged, task.cost_microusd::int as cost, task.upper_bound_microusd::int as bound,
           ceil(extract(epoch from task.generation_processed_at - task.generation_started_at))::int as seconds
      from tasks as task join credits_ledger as entry on entry.task_id = task.id where task.id = ${taskId}`;
  assert.ok(row, `${taskId} was not charged`);
  return { ...row, byTheClock: Math.min(Math.max(row.seconds, 1), longestRun) * pricePerSecond };
}
