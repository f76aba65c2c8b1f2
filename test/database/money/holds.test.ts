/** Checks 1 to 3, 5 and 6 on connections: whoever meets whom on an account, a hold ends once, and books agree. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { refusal } from "../../../supabase/functions/_shared/database/database.ts";
import { AppError } from "../../../supabase/functions/_shared/errors/app-error.ts";
import { type Session, withDatabase } from "../../support/database.ts";
import {
  accountOf,
  claim,
  createUser,
  queueTask,
  type TestUser,
  wrongAccounts,
} from "../../support/factories.ts";
import { randomFrom } from "../../support/orders.ts";

const price = 6_500;

async function bookFaults(sql: Sql): Promise<unknown[]> {
  return [
    ...(await sql`select rule, row_id from find_ledger_faults() union all select rule, row_id from find_task_faults()`),
  ];
}

/** The code of a refusal, `done` without one. Whatever else goes wrong is a failure of the test. */
async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "done";
  } catch (error) {
    const refused = refusal(error);
    if (refused instanceof AppError && refused.code !== "database_unavailable") return refused.code;
    throw error;
  }
}

test("check 1: 64 connections that complete one task at once are one spend; x100", (context) =>
  withDatabase(async ({ sql, session }) => {
    const workers = await Promise.all(Array.from({ length: 64 }, session));
    const { userId, projectId } = await createUser(sql, 100 * price);
    const outcomes = new Map<string, number>();
    for (let round = 1; round <= 100; round++) {
      const taskId = await queueTask(sql, { userId, projectId });
      const claimed = await claim(sql, "worker");
      assert.equal(claimed?.task_id, taskId);
      // Every fourth says that it is somebody else.
      const completing = workers.map((worker, number) =>
        outcomeOf(
          worker.query(
            "select complete_task(null, $1, output_text => $2, for_worker => $3, for_attempt => $4)",
            [taskId, `output ${number}`, number % 4 === 0 ? "another" : "worker", claimed.attempt],
          ),
        ),
      );
      for (const outcome of await Promise.all(completing))
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const spends =
        await sql`select amount_microusd::int as amount from credits_ledger where task_id = ${taskId}`;
      assert.deepEqual(
        spends.map((spend) => spend["amount"]),
        [-price],
      );
      assert.deepEqual(await accountOf(sql, userId), { balance: (100 - round) * price, held: 0 });
    }
    assert.deepEqual(Object.fromEntries(outcomes), { done: 4_800, stale_attempt: 1_600 });
    assert.deepEqual(await bookFaults(sql), []);
    context.diagnostic("6,400 completes of 100 tasks: 100 spends");
  }));

test("check 2: a balance below what is held, and a hold below nothing, are refused by the table itself", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, 20 * price);
    await queueTask(sql, user);
    for (const change of [
      "balance_microusd = -1, held_microusd = 0",
      "balance_microusd = held_microusd - 1",
      "held_microusd = balance_microusd + 1",
      "held_microusd = -1",
      "debt_microusd = -1",
    ]) {
      await assert.rejects(sql.query(`update credit_accounts set ${change}`), { code: "23514" }, change);
    }
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 20 * price, held: price });
  }));

test("check 3: after each of 40 x 100 writes of 20 clients, every stored balance is the sum of its rows", (context) =>
  withDatabase(async ({ sql, session }) => {
    const random = randomFrom(3);
    const users = await Promise.all(Array.from({ length: 5 }, () => createUser(sql, 200_000)));
    const clients = await Promise.all(Array.from({ length: 20 }, session));
    const payment = randomUUID();
    const holds: string[] = [];
    const write = (on: Session): Promise<unknown> => {
      const user = users[Math.floor(random() * users.length)] as TestUser;
      const amount = 1 + Math.floor(random() * 9_000);
      const open = holds[Math.floor(random() * holds.length)] ?? randomUUID();
      switch (Math.floor(random() * 7)) {
        case 0:
          return on.query("select add_credit($1, 'stripe', $2, null, '{}', $3)", [
            user.userId,
            amount,
            payment,
          ]);
        case 1:
          return on.query("select take_back_credit($1, 'refund', $2, null, '{}', $3)", [
            user.userId,
            Math.ceil(amount / 4),
            payment,
          ]);
        case 2:
        case 3: {
          const taskId = randomUUID();
          holds.push(taskId);
          return on.query("select open_hold($1, $2, $3, null)", [user.userId, taskId, amount]);
        }
        case 4:
          return on.query("select close_hold($1, 0)", [open]);
        default:
          return on.query("select close_hold($1, $2)", [open, amount]);
      }
    };
    const outcomes = new Map<string, number>();
    let drifts = 0;
    for (let round = 0; round < 40; round++) {
      await Promise.all(
        clients.map(async (client) => {
          for (let step = 0; step < 5; step++) {
            const outcome = await outcomeOf(write(client));
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          }
        }),
      );
      drifts += (await wrongAccounts(sql)).length;
    }
    assert.equal(drifts, 0);
    assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
    const [rows] = await sql`select count(*)::int as entries from credits_ledger`;
    context.diagnostic(
      `${[...outcomes].map(([name, count]) => `${count} ${name}`).join(", ")}; ${rows?.["entries"]} entries, ${drifts} drifts`,
    );
  }));

/** Ways to meet on one hold. Each racer's call answers whether it was the one that ended it. */
const meetings = ["charge and release", "complete, cancel and lease", "cancel and expiry"] as const;

async function readyFor(sql: Sql, meeting: (typeof meetings)[number], user: TestUser): Promise<string> {
  const taskId = await queueTask(sql, user);
  if (meeting === "complete, cancel and lease") {
    const claimed = await claim(sql, `worker-of-${taskId}`);
    assert.equal(claimed?.task_id, taskId);
    await sql`
      update tasks set lease_expires_at = now() - interval '1 second', max_attempts = 1 where id = ${taskId}`;
  } else if (meeting === "cancel and expiry") {
    await sql`update credit_holds set expires_at = now() - interval '1 second' where task_id = ${taskId}`;
  }
  return taskId;
}

function endOf(
  meeting: (typeof meetings)[number],
  racer: number,
  taskId: string,
  on: Session,
): Promise<unknown> {
  switch (meeting) {
    case "charge and release":
      return on.query("select close_hold($1, $2)", [taskId, racer % 2 === 0 ? price : 0]);
    case "complete, cancel and lease":
      if (racer % 3 === 0)
        return on.query("select complete_task(for_user => null, for_task => $1, output_text => 'done')", [
          taskId,
        ]);
      if (racer % 3 === 1) return on.query("select sweep_expired_leases()");
      return on.query("select update_task_status(null, 'service', $1, 'Cancelled')", [taskId]);
    case "cancel and expiry":
      return racer % 2 === 0
        ? on.query("select give_up_old_tasks()")
        : on.query("select update_task_status(null, 'service', $1, 'Cancelled')", [taskId]);
  }
}

/** Whether this racer waits for a task, or its hold, that somebody has; upkeep passes over it. */
function waits(meeting: (typeof meetings)[number], racer: number): boolean {
  if (meeting === "complete, cancel and lease") return racer % 3 !== 1;
  return meeting === "charge and release" || racer % 2 === 1;
}

test("check 5: 64 that settle, release or expire one hold at once end it once; x100", (context) =>
  withDatabase(async ({ sql, session, lockIsWaitedFor }) => {
    const random = randomFrom(5);
    const racers = await Promise.all(Array.from({ length: 64 }, session));
    const gate = await session();
    const user = await createUser(sql, 100 * price);
    const ends = new Map<string, number>();
    let spent = 0;
    for (let round = 0; round < 100; round++) {
      const meeting = meetings[round % meetings.length] as (typeof meetings)[number];
      const taskId = await readyFor(sql, meeting, user);
      // One of them, by the seed, comes to the task first: where somebody has it, that one is first in the line.
      const first = Math.floor(random() * racers.length);
      const isInLine = random() < 0.5;
      if (isInLine) {
        await gate.query("begin");
        await gate.query("select from tasks where id = $1 for update", [taskId]);
        await gate.query("select from credit_holds where task_id = $1 for update", [taskId]);
      }
      const racing = [outcomeOf(endOf(meeting, first, taskId, racers[first] as Session))];
      if (isInLine && waits(meeting, first)) await lockIsWaitedFor();
      for (const [at, racer] of racers.entries())
        if (at !== first) racing.push(outcomeOf(endOf(meeting, at, taskId, racer)));
      if (isInLine) await gate.query("commit");
      await Promise.all(racing);
      const [hold] = await sql<{ state: string; charged: number; entries: number; status: string }[]>`
        select state, charged_microusd::int as charged, tasks.status,
               (select count(*)::int from credits_ledger where credits_ledger.task_id = tasks.id) as entries
          from credit_holds join tasks on tasks.id = credit_holds.task_id where tasks.id = ${taskId}`;
      assert.ok(hold);
      assert.ok(
        (hold.state === "settled" && hold.charged === price && hold.entries === 1) ||
          (hold.state === "released" && hold.charged === 0 && hold.entries === 0),
        JSON.stringify(hold),
      );
      spent += hold.charged;
      assert.deepEqual(await accountOf(sql, user.userId), { balance: 100 * price - spent, held: 0 });
      const end = `${hold.state} by ${meeting}`;
      ends.set(end, (ends.get(end) ?? 0) + 1);
      // Where the hold was met alone, the task is still there.
      await sql`select end_task(${taskId}, 'Cancelled', 'another round')`;
    }
    assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
    context.diagnostic(
      `${100 * racers.length} calls: ${[...ends].map(([end, count]) => `${count} ${end}`).join(", ")}`,
    );
  }));

test("check 6: 300 runs that took longer than was held for them cost what the account has and what was quoted at most, and the rest is written off", (context) =>
  withDatabase(async ({ sql }) => {
    const random = randomFrom(6);
    const perSecond = 278;
    const upperBound = 150 * perSecond;
    await sql`update task_types set max_runtime_seconds = 150 where name = 'travel_segment'`;
    let beyond = 0;
    let charged = 0;
    let writtenOff = 0;
    for (let run = 0; run < 300; run++) {
      const held = (60 + Math.floor(random() * 60)) * perSecond;
      await sql`update task_types set expected_seconds = ${held / perSecond} where name = 'travel_segment'`;
      // Nothing beside the hold that a charge could be taken from; for every other run something.
      const means = held + (run % 2) * 5_000;
      const { userId, projectId } = await createUser(sql, means);
      const params = sql.json({ prompt: "a fox" });
      const [quoted] = await sql<{ quote: { hold_microusd: number; upper_bound_microusd: number } }[]>`
        select calculate_task_cost(${userId}, 'travel_segment', ${params}) as quote`;
      const taskId = await queueTask(
        sql,
        { userId, projectId },
        { taskType: "travel_segment", params: { prompt: "a fox" } },
      );
      assert.equal((await claim(sql, "worker"))?.task_id, taskId);
      const seconds = 1 + Math.floor(random() * 240);
      await sql`
        update tasks set generation_started_at = now() - make_interval(secs => ${seconds - 0.5}) where id = ${taskId}`;
      await sql`select complete_task(for_user => null, for_task => ${taskId}, output_text => 'done')`;

      const [paid] = await sql<{ charge: number; write_off: number; took: number }[]>`
        select -amount_microusd::int as charge, -write_off_microusd::int as write_off,
               ceil(extract(epoch from generation_processed_at - generation_started_at))::int as took
          from credits_ledger join tasks on tasks.id = task_id where task_id = ${taskId}`;
      assert.ok(paid && quoted);
      const cost = Math.min(paid.took * perSecond, upperBound);
      assert.deepEqual([quoted.quote.hold_microusd, quoted.quote.upper_bound_microusd], [held, upperBound]);
      assert.deepEqual(
        { charge: paid.charge, write_off: paid.write_off },
        { charge: Math.min(cost, means), write_off: Math.max(cost - means, 0) },
      );
      assert.deepEqual(await accountOf(sql, userId), { balance: means - paid.charge, held: 0 });
      if (paid.write_off > 0) beyond++;
      charged += paid.charge;
      writtenOff += paid.write_off;
    }
    assert.deepEqual(await bookFaults(sql), []);
    context.diagnostic(
      `${beyond} of 300 beyond the account's means; charged ${charged}, written off ${writtenOff} micro-dollars`,
    );
  }));
