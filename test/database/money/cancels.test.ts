/** Check 8: a run that its owner ends costs what it has consumed, by the rule of its price; one that fails costs nothing. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { refusal } from "../../../supabase/functions/_shared/database/database.ts";
import { json, type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import { AppError } from "../../../supabase/functions/_shared/errors/app-error.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../../support/database.ts";
import {
  accountOf,
  claim,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../../support/factories.ts";

const balance = 100_000_000;
const perSecond = 278; // travel_segment
const perUnit = 6_500; // z_image_turbo
const model = "fal-ai/z-image/turbo";
const tenth = "9.2 seconds";

/** The ways by which an owner ends a run. */
const ways: Record<string, (scene: DatabaseUnderTest, user: TestUser, id: string) => Promise<void>> = {
  async "update-task-status of a session"({ sql }, { userId }, id) {
    await sql`select update_task_status(${userId}, 'user', ${id}, 'Cancelled')`;
  },
  async "update-task-status of a token, which forgets the job in the same call"({ sql }, { userId }, id) {
    const [task] = await sql<{ attempt: number }[]>`select attempt from tasks where id = ${id}`;
    await sql`select update_task_status(${userId}, 'personal-access-token', ${id}, 'Cancelled',
      for_attempt => ${task && task.attempt > 0 && (await isRunning(sql, id)) ? task.attempt : null},
      changes => '{"provider_job": null}')`;
  },
  async "update-task-status of the service, for its owner"({ sql }, _, id) {
    await sql`select update_task_status(null, 'service', ${id}, 'Cancelled')`;
  },
  async "PATCH over REST by its owner"({ sessionAs }, { userId }, id) {
    const owner = await sessionAs("authenticated", { sub: userId });
    await owner.query("update tasks set status = 'Cancelled' where id = $1", [id]);
    await owner.close();
  },
  async "PATCH over REST of all tasks by the service"({ sessionAs }, { projectId }) {
    const service = await sessionAs("service_role");
    await service.query("update tasks set status = 'Cancelled' where project_id = $1", [projectId]);
    await service.close();
  },
  async "deletion of the task"({ sessionAs }, _, id) {
    const service = await sessionAs("service_role");
    await service.query("delete from tasks where id = $1", [id]);
    await service.close();
  },
  async "deletion of the project"({ sql }, { projectId }) {
    await sql`delete from projects where id = ${projectId}`;
  },
  async "deletion of the account"({ sql }, { userId }) {
    await sql`delete from auth.users where id = ${userId}`;
  },
};

async function isRunning(sql: Sql, id: string): Promise<boolean> {
  return (await sql`select from tasks where id = ${id} and status = 'In Progress'`).length > 0;
}

interface Run {
  id: string;
  attempt: number;
}

async function running(sql: Sql, user: TestUser, taskType: string, since = tenth): Promise<Run> {
  const id = await queueTask(sql, user, { taskType });
  const claimed = await claim(sql, "worker");
  assert.equal(claimed?.task_id, id);
  await sql`update tasks set generation_started_at = clock_timestamp() - ${since}::interval where id = ${id}`;
  return { id, attempt: claimed.attempt };
}

async function submitted(
  sql: Sql,
  { id, attempt }: Run,
  requestId: string | null = randomUUID(),
): Promise<string | null> {
  const note = (job: Record<string, unknown>) =>
    setStatus(sql, id, "In Progress", {
      attempt,
      changes: { provider_job: { provider: "fal", model, ...job } },
    });
  await note({ webhook_key: randomUUID() });
  if (requestId !== null) await note({ request_id: requestId });
  return requestId;
}

interface Exchange {
  noted: boolean;
  settled: number;
  withdrawals: { withdrawal_id: string; task_id: string; request_id: string; tries: number }[];
}

async function exchange(
  sql: Sql | Session,
  request: Record<string, unknown>,
  forUser: string | null = null,
): Promise<Exchange> {
  const text = "select exchange_provider_withdrawals($1, $2::jsonb) as answer";
  const params = [forUser, json({ provider: "fal", ...request })];
  const answered = typeof sql === "function" ? await sql.query(text, params) : await sql.query(text, params);
  const rows = ("rows" in answered ? answered.rows : answered) as unknown as { answer: Exchange }[];
  assert.ok(rows[0]);
  return rows[0].answer;
}

async function settleAs(sql: Sql, outcome: string): Promise<number> {
  const { withdrawals } = await exchange(sql, { at_most: 20 });
  const reports = withdrawals.map(({ withdrawal_id }) => ({ withdrawal_id, outcome }));
  return (await exchange(sql, { reports })).settled;
}

async function timeIsOver(sql: Sql): Promise<void> {
  await sql`update provider_withdrawals set expires_at = now() where state = 'open'`;
  await sql`select settle_overdue_withdrawals()`;
}

async function faults(sql: Sql): Promise<unknown[]> {
  return [
    ...(await sql`select rule, row_id, details from find_ledger_faults()
                  union all select rule, row_id, details from find_task_faults()`),
    ...(await wrongAccounts(sql)),
  ];
}

async function chargesOf(sql: Sql, userId: string): Promise<{ amount: number; reason: string | null }[]> {
  return [
    ...(await sql<{ amount: number; reason: string | null }[]>`
      select -amount_microusd::int as amount, metadata ->> 'reason' as reason
        from credits_ledger where user_id = ${userId} and type = 'spend'`),
  ];
}

async function costs(sql: Sql, userId: string, expected: number): Promise<void> {
  const charges = await chargesOf(sql, userId);
  assert.deepEqual(
    charges.map(({ amount }) => amount),
    expected === 0 ? [] : [expected],
  );
  if (expected > 0) assert.match(charges[0]?.reason ?? "", /^(cancelled|deleted)$/);
  assert.deepEqual(await accountOf(sql, userId), { balance: balance - expected, held: 0 });
  assert.deepEqual(await faults(sql), []);
}

const isDeletion = (way: string) => way.startsWith("deletion");

for (const [way, end] of Object.entries(ways)) {
  test(`check 8: ${way} charges a waiting task nothing and a run by the second its begun seconds`, () =>
    withDatabase(async (database) => {
      const { sql } = database;
      const waits = await createUser(sql, balance);
      await end(database, waits, await queueTask(sql, waits, { taskType: "travel_segment" }));
      await costs(sql, waits.userId, 0);

      const user = await createUser(sql, balance);
      const { id } = await running(sql, user, "travel_segment");
      await end(database, user, id);
      const [charge] = await chargesOf(sql, user.userId);
      const [row] = await sql<{ seconds: number; cost: number }[]>`
        select ceil(extract(epoch from generation_processed_at - generation_started_at))::int as seconds,
               cost_microusd::int as cost from tasks where id = ${id}`;
      assert.equal(row === undefined, isDeletion(way));
      const seconds = row?.seconds ?? (charge?.amount ?? 0) / perSecond;
      assert.ok(seconds >= 10 && seconds <= 20, String(seconds));
      if (row) assert.equal(row.cost, seconds * perSecond);
      await costs(sql, user.userId, seconds * perSecond);
    }));

  test(`check 8: ${way} charges a run by the unit its price if its job ran at the provider, and nothing if it was withdrawn, failed or was never submitted`, () =>
    withDatabase(async (database) => {
      const { sql } = database;
      const cases: [string, number][] = [
        ["no job", 0],
        ["withdrawn", 0],
        ["failed", 0],
        ["ran", perUnit],
        ["no answer", perUnit],
        ["intent alone", 0],
        ["intent, then its id, ran", perUnit],
        ["intent, then news of its end", perUnit],
      ];
      for (const [outcome, expected] of cases) {
        const user = await createUser(sql, balance);
        const run = await running(sql, user, "z_image_turbo");
        const isIntent = outcome.startsWith("intent");
        if (outcome !== "no job") await submitted(sql, run, isIntent ? null : randomUUID());
        const [job] = await sql<{ webhook_key: string }[]>`select webhook_key from provider_jobs`;
        await end(database, user, run.id);
        assert.deepEqual([...(await sql`select from provider_jobs`)], []);
        if (outcome !== "no job") {
          assert.equal((await accountOf(sql, user.userId)).held, perUnit, "held until it is known");
          assert.deepEqual(await faults(sql), [], `${outcome}, while it is open`);
        }
        const request_id = randomUUID();
        if (outcome === "no answer" || outcome === "intent alone") await timeIsOver(sql);
        else if (outcome === "intent, then its id, ran") {
          assert.deepEqual((await exchange(sql, { at_most: 20 })).withdrawals, []);
          const { noted } = await exchange(sql, { submitted: { task_id: run.id, attempt: 1, request_id } });
          assert.equal(noted, true);
          assert.equal(await settleAs(sql, "ran"), 1);
        } else if (outcome === "intent, then news of its end") {
          assert.ok(job);
          await sql`select settle_withdrawal_by_news('fal', ${[request_id]}::text[], false, ${job.webhook_key})`;
        } else if (outcome !== "no job") assert.equal(await settleAs(sql, outcome), 1);
        await costs(sql, user.userId, expected);
        // Nothing that comes later changes it.
        await timeIsOver(sql);
        assert.equal(await settleAs(sql, "ran"), 0);
        await costs(sql, user.userId, expected);
        const [row] = await sql<{ state: string | null; cost: number | null }[]>`
          select result_data -> 'cancellation' ->> 'state' as state, cost_microusd::int as cost from tasks where id = ${run.id}`;
        assert.equal(row === undefined, isDeletion(way));
        if (row) assert.equal(row.cost ?? 0, expected);
      }
    }));
}

test("check 8: a cancel is free under a price that says so, on the owner's own worker, with the cloud off, and while a task waits with the job of an earlier run", () =>
  withDatabase(async ({ sql }) => {
    const cancel = (user: TestUser, id: string) =>
      sql`select update_task_status(${user.userId}, 'user', ${id}, 'Cancelled')`;
    const own = await createUser(sql, balance);
    const ownTask = await queueTask(sql, own, { taskType: "travel_segment" });
    assert.ok(await claim(sql, "home", own.userId));
    await cancel(own, ownTask);
    await costs(sql, own.userId, 0);

    const off = await createUser(sql, balance);
    await sql`update users set settings = '{"ui": {"generationMethods": {"inCloud": false}}}' where id = ${off.userId}`;
    const offTask = await queueTask(sql, off, { taskType: "travel_segment" });
    assert.ok(await claim(sql, "home", off.userId));
    await cancel(off, offTask);
    await costs(sql, off.userId, 0);

    const requeued = await createUser(sql, balance);
    const run = await running(sql, requeued, "z_image_turbo");
    const requestId = await submitted(sql, run);
    await setStatus(sql, run.id, "Queued", { attempt: 1, changes: { given_back: true } });
    await cancel(requeued, run.id);
    await costs(sql, requeued.userId, 0);
    const { withdrawals } = await exchange(sql, { at_most: 20 });
    assert.deepEqual(
      withdrawals.map(({ request_id }) => request_id),
      [requestId],
      "and is withdrawn all the same",
    );
    await exchange(sql, {
      reports: withdrawals.map(({ withdrawal_id }) => ({ withdrawal_id, outcome: "ran" })),
    });
    await costs(sql, requeued.userId, 0);

    for (const [type, billing] of [
      ["travel_segment", "per_second"],
      ["z_image_turbo", "per_unit"],
    ]) {
      await sql`select publish_price(${type ?? ""}, ${billing ?? ""}::billing_type, 500, '{}', null, 'test', 'free cancels', ${randomUUID()},
                                     cancel_policy => 'free')`;
      const free = await createUser(sql, balance);
      const run = await running(sql, free, type ?? "");
      await submitted(sql, run);
      await cancel(free, run.id);
      assert.equal((await accountOf(sql, free.userId)).held, 0);
      assert.equal(await settleAs(sql, "ran"), 1, "the job is withdrawn all the same");
      await costs(sql, free.userId, 0);
    }
  }));

test("check 8: what fails costs nothing though its job ran, and its job is withdrawn", () =>
  withDatabase(async ({ sql, sessionAs }) => {
    const failures: Record<string, (run: Run) => Promise<unknown>> = {
      "its worker says so": ({ id, attempt }) => setStatus(sql, id, "Failed", { worker: "worker", attempt }),
      "its worker says that it was cancelled": ({ id, attempt }) =>
        setStatus(sql, id, "Cancelled", { worker: "worker", attempt }),
      "its lease ends for the last time": async ({ id }) => {
        await sql`update tasks set max_attempts = 1, lease_expires_at = now() - interval '1 second' where id = ${id}`;
        await sql`select sweep_expired_leases()`;
      },
      "the service writes it over REST": async ({ id }) => {
        const service = await sessionAs("service_role");
        await service.query("update tasks set status = 'Failed' where id = $1", [id]);
        await service.close();
      },
    };
    for (const [failure, fail] of Object.entries(failures)) {
      for (const type of ["travel_segment", "z_image_turbo"]) {
        const user = await createUser(sql, balance);
        const run = await running(sql, user, type);
        await submitted(sql, run);
        await fail(run);
        await costs(sql, user.userId, 0);
        assert.equal(await settleAs(sql, "ran"), 1, failure);
        await costs(sql, user.userId, 0);
      }
    }
  }));

interface Orchestration {
  user: TestUser;
  root: string;
  done: string;
  seconds: Run;
  job: Run;
  waiting: string;
}

/** An orchestration with a finished part, one that runs by the second, one that runs at a provider, and one that waits. */
async function orchestration({ sql }: DatabaseUnderTest, byOwner = false): Promise<Orchestration> {
  const user = await createUser(sql, balance);
  const root = await queueTask(sql, user, {
    taskType: "travel_orchestrator",
    params: { orchestrator_details: { num_new_segments_to_generate: 3 } },
  });
  const worker = byOwner ? await claim(sql, "home", user.userId) : await claim(sql, "worker");
  assert.equal(worker?.task_id, root);
  const part = async (taskType: string, index: number) => {
    const params = { orchestrator_task_id_ref: root, segment_index: index };
    const id = await queueTask(sql, user, { taskType, params });
    const claimed = await claim(sql, "worker");
    assert.equal(claimed?.task_id, id);
    await sql`update tasks set generation_started_at = clock_timestamp() - ${tenth}::interval where id = ${id}`;
    return { id, attempt: claimed.attempt };
  };
  const done = await part("travel_segment", 0);
  await sql`select complete_task(null, ${done.id}, output_text => 'done', for_worker => 'worker', for_attempt => 1)`;
  const seconds = await part("travel_segment", 1);
  const job = await part("z_image_turbo", 2);
  await submitted(sql, job);
  const waiting = await queueTask(sql, user, {
    taskType: "travel_segment",
    params: { orchestrator_task_id_ref: root, segment_index: 3 },
  });
  return { user, root, done: done.id, seconds, job, waiting };
}

const orchestrationEnds: Record<
  string,
  (database: DatabaseUnderTest, parts: Orchestration) => Promise<unknown>
> = {
  "the orchestrator is cancelled": ({ sql }, { user, root }) =>
    sql`select update_task_status(${user.userId}, 'user', ${root}, 'Cancelled')`,
  "a part that runs is cancelled": ({ sql }, { user, job }) =>
    sql`select update_task_status(${user.userId}, 'user', ${job.id}, 'Cancelled')`,
  "a waiting part is failed by its owner's token": ({ sql }, { user, waiting }) =>
    sql`select update_task_status(${user.userId}, 'personal-access-token', ${waiting}, 'Failed')`,
  "the orchestrator is deleted": ({ sql }, { root }) => sql`delete from tasks where id = ${root}`,
  "all of it is deleted in one statement": ({ sql }, { user }) =>
    sql`delete from tasks where project_id = ${user.projectId}`,
  "the project is deleted": ({ sql }, { user }) => sql`delete from projects where id = ${user.projectId}`,
};

for (const [way, end] of Object.entries(orchestrationEnds)) {
  test(`check 8: when ${way}, the orchestration is charged once, for finished parts and for what running ones consumed`, () =>
    withDatabase(async (database) => {
      const { sql } = database;
      for (const outcome of ["ran", "withdrawn"]) {
        const parts = await orchestration(database);
        const [done] = await sql<
          { cost: number }[]
        >`select cost_microusd::int as cost from tasks where id = ${parts.done}`;
        await end(database, parts);
        assert.ok(
          (await accountOf(sql, parts.user.userId)).held > 0,
          "held until the job's outcome is known",
        );
        assert.deepEqual(await chargesOf(sql, parts.user.userId), []);
        assert.equal(await settleAs(sql, outcome), 1);
        const [charge] = await chargesOf(sql, parts.user.userId);
        const consumed = (charge?.amount ?? 0) - (done?.cost ?? 0) - (outcome === "ran" ? perUnit : 0);
        assert.equal(consumed % perSecond, 0);
        assert.ok(consumed >= 10 * perSecond && consumed <= 20 * perSecond, `${consumed}`);
        assert.equal((await chargesOf(sql, parts.user.userId)).length, 1);
        assert.deepEqual(await accountOf(sql, parts.user.userId), {
          balance: balance - (charge?.amount ?? 0),
          held: 0,
        });
        assert.deepEqual(await faults(sql), []);
      }
    }));
}

test("check 8: an orchestration whose own worker fails or finishes it pays what its parts consumed in the cloud; a failure in the cloud is free", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const byToken = (parts: Orchestration, status: string) =>
      sql`select update_task_status(${parts.user.userId}, 'personal-access-token', ${parts.root}, ${status}::task_status,
                                    changes => '{"output_location": "done"}')`;
    for (const status of ["Failed", "Complete", "Cancelled"]) {
      const parts = await orchestration(database, true);
      await byToken(parts, status);
      assert.equal(await settleAs(sql, "ran"), 1);
      const [charge] = await chargesOf(sql, parts.user.userId);
      assert.ok((charge?.amount ?? 0) >= 20 * perSecond + perUnit, `${status}: ${charge?.amount}`);
      assert.deepEqual(await faults(sql), []);
    }
    // Its lease ends for the last time, because its owner's worker left it alone.
    const left = await orchestration(database, true);
    await sql`update tasks set max_attempts = 1, lease_expires_at = now() - interval '1 second' where id = ${left.root}`;
    await sql`update tasks set attempts = max_attempts where id = ${left.root}`;
    const [task] = await sql`select requeue_task(tasks, 'lease_expired') from tasks where id = ${left.root}`;
    assert.ok(task);
    assert.equal(await settleAs(sql, "ran"), 1);
    assert.ok(((await chargesOf(sql, left.user.userId))[0]?.amount ?? 0) >= 20 * perSecond + perUnit);

    const failed = await orchestration(database);
    await setStatus(sql, failed.seconds.id, "Failed", { worker: "worker", attempt: 1 });
    await settleAs(sql, "ran");
    const [charge] = await chargesOf(sql, failed.user.userId);
    const [done] = await sql<
      { cost: number }[]
    >`select cost_microusd::int as cost from tasks where id = ${failed.done}`;
    assert.equal(charge?.amount, done?.cost, "only what was finished");
    assert.deepEqual(await faults(sql), []);
  }));

test("check 8: jobs withdrawn before they began are free up to the allowance of an hour, and cost their price beyond it", () =>
  withDatabase(async ({ sql }) => {
    await sql`update credit_settings set free_withdrawals_per_hour = 3`;
    const user = await createUser(sql, balance);
    const withdraw = async () => {
      const run = await running(sql, user, "z_image_turbo");
      await submitted(sql, run);
      await sql`select update_task_status(${user.userId}, 'user', ${run.id}, 'Cancelled')`;
      assert.equal(await settleAs(sql, "withdrawn"), 1);
    };
    for (let time = 1; time <= 3; time++) await withdraw();
    assert.deepEqual(await chargesOf(sql, user.userId), []);
    await withdraw();
    await costs(sql, user.userId, perUnit);
    await sql`update provider_withdrawals set settled_at = settled_at - interval '1 hour'`;
    await withdraw();
    await costs(sql, user.userId, perUnit);
  }));

test("check 8: a job is given to one party at a time, to its own account's, and comes again later and later", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [user, stranger] = [await createUser(sql, balance), await createUser(sql, balance)];
    const run = await running(sql, user, "z_image_turbo");
    await submitted(sql, run);
    await sql`select update_task_status(${user.userId}, 'user', ${run.id}, 'Cancelled')`;
    for (const owner of [user, stranger]) {
      assert.deepEqual((await exchange(sql, { at_most: 20 }, owner.userId)).withdrawals, []);
    }
    const sessions = await Promise.all(Array.from({ length: 8 }, () => database.session()));
    const given = await Promise.all(sessions.map((session) => exchange(session, { at_most: 20 })));
    const [withdrawal] = given.flatMap(({ withdrawals }) => withdrawals);
    assert.equal(given.flatMap(({ withdrawals }) => withdrawals).length, 1);
    const { withdrawal_id } = withdrawal ?? {};
    for (const owner of [user, stranger]) {
      const reports = [{ withdrawal_id, outcome: "withdrawn" }];
      assert.equal(
        (await exchange(sql, { reports }, owner.userId)).settled,
        0,
        "a user settles nothing of the cloud's",
      );
      const submission = { task_id: run.id, attempt: 1, request_id: randomUUID() };
      assert.equal((await exchange(sql, { submitted: submission }, owner.userId)).noted, false);
    }
    let pauseBefore = 0;
    for (let tries = 1; tries <= 6; tries++) {
      await exchange(sql, { reports: [{ withdrawal_id, outcome: "retry" }] });
      const [row] = await sql<{ pause: number }[]>`
        select extract(epoch from next_try_at - now())::float8 as pause from provider_withdrawals`;
      assert.ok(row && row.pause > pauseBefore, `${row?.pause}`);
      pauseBefore = row.pause;
      assert.deepEqual((await exchange(sql, { at_most: 20 })).withdrawals, []);
      await sql`update provider_withdrawals set next_try_at = now()`;
      const [again] = (await exchange(sql, { at_most: 20 })).withdrawals;
      assert.equal(again?.tries, tries + 1);
    }
    // 64 that settle it at once, in every way, settle it once.
    const outcomes = ["ran", "withdrawn", "failed"];
    const settled = await Promise.all(
      Array.from({ length: 64 }, (_, number) =>
        exchange(sql, { reports: [{ withdrawal_id, outcome: outcomes[number % 3] }] }),
      ),
    );
    assert.equal(
      settled.reduce((total, { settled: count }) => total + count, 0),
      1,
    );
    assert.ok((await chargesOf(sql, user.userId)).length <= 1);
    assert.deepEqual(await faults(sql), []);
  }));

test("check 8: a tenant who holds the lock of a cancelled task delays nobody, and does not make its job free", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [user, other] = [await createUser(sql, balance), await createUser(sql, balance)];
    const runs = [await running(sql, user, "z_image_turbo"), await running(sql, other, "z_image_turbo")];
    for (const run of runs) await submitted(sql, run);
    for (const owner of [user, other])
      await sql`select update_task_status(${owner.userId}, 'user', id, 'Cancelled') from tasks where user_id = ${owner.userId}`;
    const holder = await database.sessionAs("authenticated", { sub: user.userId });
    await holder.query("begin");
    await holder.query("update tasks set updated_at = now() where user_id = $1", [user.userId]);
    const { withdrawals } = await exchange(sql, { at_most: 20 });
    const reports = withdrawals.map(({ withdrawal_id }) => ({ withdrawal_id, outcome: "ran" }));
    assert.equal((await exchange(sql, { reports })).settled, 1);
    await costs(sql, other.userId, perUnit);
    await holder.query("commit");
    // It was told to stop, and looks like one that failed.
    await sql`update provider_withdrawals set next_try_at = now() where state = 'open'`;
    assert.equal(await settleAs(sql, "failed"), 1);
    await costs(sql, user.userId, perUnit);
  }));

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

const completing = (session: Session, id: string) =>
  session.query(
    "select complete_task(null, $1, output_text => 'done', for_worker => 'worker', for_attempt => 1)",
    [id],
  );
const cancelling = (session: Session, { userId }: TestUser, id: string) =>
  session.query("select update_task_status($1, 'user', $2, 'Cancelled')", [userId, id]);

test("check 8: of a completion and a cancel that meet, the one that has the task first decides, and the other is refused", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [first, second] = [await database.session(), await database.session()];
    for (const type of ["travel_segment", "z_image_turbo"]) {
      const completed = await createUser(sql, balance);
      let run = await running(sql, completed, type);
      if (type === "z_image_turbo") await submitted(sql, run);
      await first.query("begin");
      await completing(first, run.id);
      const late = outcomeOf(cancelling(second, completed, run.id));
      await database.lockIsWaitedFor();
      await first.query("commit");
      assert.equal(await late, "invalid_transition");
      assert.equal((await chargesOf(sql, completed.userId)).length, 1);
      assert.deepEqual(await faults(sql), []);

      const cancelled = await createUser(sql, balance);
      run = await running(sql, cancelled, type);
      if (type === "z_image_turbo") await submitted(sql, run);
      await first.query("begin");
      await cancelling(first, cancelled, run.id);
      const tooLate = outcomeOf(completing(second, run.id));
      await database.lockIsWaitedFor();
      await first.query("commit");
      assert.equal(await tooLate, "task_cancelled");
      await settleAs(sql, "ran");
      const [charge] = await chargesOf(sql, cancelled.userId);
      assert.equal(charge?.reason, "cancelled");
      assert.deepEqual(await faults(sql), []);
    }
  }));

test("check 8: 1,000 completions that race a cancel have one outcome and one charge each", (context) =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [worker, owner] = [await database.session(), await database.session()];
    const user = await createUser(sql, 10 * balance);
    const seen = { completed: 0, cancelled: 0 };
    let charged = 0;
    for (let race = 0; race < 1_000; race++) {
      const type = race % 2 === 0 ? "travel_segment" : "z_image_turbo";
      const run = await running(sql, user, type, `${(race % 7) * 0.3} seconds`);
      if (type === "z_image_turbo") await submitted(sql, run);
      const calls = [
        () => outcomeOf(completing(worker, run.id)),
        () => outcomeOf(cancelling(owner, user, run.id)),
      ];
      if (race % 4 >= 2) calls.reverse();
      const outcomes = await Promise.all(calls.map((call) => call()));
      if (race % 4 >= 2) outcomes.reverse();
      const isComplete = outcomes[0] === "done";
      assert.deepEqual(outcomes, isComplete ? ["done", "invalid_transition"] : ["task_cancelled", "done"]);
      seen[isComplete ? "completed" : "cancelled"]++;
      if (!isComplete && type === "z_image_turbo")
        assert.equal(await settleAs(sql, race % 8 < 4 ? "ran" : "withdrawn"), 1);
      const entries = await sql<{ amount: number }[]>`
        select -amount_microusd::int as amount from credits_ledger where task_id = ${run.id}`;
      const isFree = !isComplete && type === "z_image_turbo" && race % 8 >= 4;
      // Beyond the allowance of an hour it costs its price.
      assert.ok(
        entries.length === 1 || (isFree && entries.length === 0),
        `race ${race}: ${entries.length} entries`,
      );
      charged += entries[0]?.amount ?? 0;
    }
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 10 * balance - charged, held: 0 });
    assert.deepEqual(await faults(sql), []);
    context.diagnostic(
      `1,000 races: ${seen.completed} completed, ${seen.cancelled} cancelled, each charged as its outcome says`,
    );
  }));

test("check 8: quotes and the price list say what a cancel costs, and the receipt what was cancelled", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, balance);
    const quoted = async (type: string) =>
      (
        await sql<{ quote: { cancellation: Record<string, unknown> } }[]>`
        select calculate_task_cost(${user.userId}, ${type}, '{}') as quote`
      )[0]?.quote.cancellation;
    const [segment, picture] = [await quoted("travel_segment"), await quoted("z_image_turbo")];
    assert.deepEqual([segment?.["policy"], segment?.["while_queued_microusd"]], ["consumed", 0]);
    assert.equal(picture?.["while_running_at_most_microusd"], perUnit);
    assert.match(String(segment?.["terms"]), /seconds that it has run/);
    assert.match(String(picture?.["terms"]), /full price once a job was submitted/);

    const run = await running(sql, user, "z_image_turbo");
    const now = async () =>
      (
        await sql<
          { cost: { final: boolean; cost_microusd: number; cancellation: { now_microusd: number } } }[]
        >`
        select calculate_cost_of_task(${user.userId}, ${run.id}) as cost`
      )[0]?.cost;
    assert.equal((await now())?.cancellation.now_microusd, 0);
    await submitted(sql, run);
    assert.equal((await now())?.cancellation.now_microusd, perUnit);
    await sql`select update_task_status(${user.userId}, 'user', ${run.id}, 'Cancelled')`;
    assert.equal((await now())?.final, false);
    await settleAs(sql, "ran");
    const done = await now();
    assert.deepEqual([done?.final, done?.cost_microusd, done?.cancellation.now_microusd], [true, perUnit, 0]);
    const [row] = await sql<{ receipt: { lines: Record<string, unknown>[]; total_microusd: number } }[]>`
      select get_receipt(${user.userId}, null, ${run.id}, null) as receipt`;
    assert.deepEqual(
      row?.receipt.lines.map(({ item, reason, total_microusd }) => [item, reason, total_microusd]),
      [["z_image_turbo", "cancelled", perUnit]],
    );
    const [status] = await sql<{ told: { cancellation: unknown } }[]>`
      select get_task_status(${user.userId}, ${run.id}) as told`;
    assert.deepEqual(status?.told.cancellation, {
      state: "ran",
      basis: "provider_job",
      cost_microusd: perUnit,
    });
  }));

test("check 8: a part whose row is deleted before its job's outcome is known is charged with its orchestration", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    for (const outcome of ["ran", "withdrawn"]) {
      const { user, root, done, job, seconds } = await orchestration(database);
      await sql`select update_task_status(${user.userId}, 'user', ${root}, 'Cancelled')`;
      await sql`delete from tasks where id = ${job.id}`;
      assert.equal(await settleAs(sql, outcome), 1);
      const [known] = await sql<{ cost: number }[]>`
        select sum(cost_microusd)::int as cost from tasks where id in (${done}, ${seconds.id})`;
      const expected = (known?.cost ?? 0) + (outcome === "ran" ? perUnit : 0);
      assert.deepEqual(await chargesOf(sql, user.userId), [{ amount: expected, reason: "cancelled" }]);
      assert.deepEqual(await faults(sql), []);
    }
  }));

test("check 8: a failed orchestration is not queued again while the outcome of a part's job is not known", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    for (const outcome of ["ran", "failed"]) {
      const { user, root } = await orchestration(database, true);
      await sql`select update_task_status(${user.userId}, 'personal-access-token', ${root}, 'Failed')`;
      const retry = () => sql`select update_task_status(${user.userId}, 'user', ${root}, 'Queued')`;
      assert.equal(await refusedWith(retry()), "invalid_transition");
      assert.equal(await settleAs(sql, outcome), 1);
      assert.equal(await refusedWith(retry()), "invalid_transition", "it was charged");
      assert.equal((await chargesOf(sql, user.userId)).length, 1);
      assert.deepEqual(await faults(sql), []);
    }
  }));

test("check 8: the id of a deleted task is free again unless the task was charged, or may still be", () =>
  withDatabase(async ({ sql, sessionAs }) => {
    const user = await createUser(sql, balance);
    const again = async (taskId: string): Promise<string[]> => {
      const owner = await sessionAs("authenticated", { sub: user.userId });
      const overRest = owner.query(
        "insert into tasks (id, project_id, task_type, params) values ($1, $2, 'z_image_turbo', '{}')",
        [taskId, user.projectId],
      );
      const answers = [await refusedWith(overRest), await refusedWith(queueTask(sql, user, { taskId }))];
      await owner.close();
      return answers;
    };
    const cancelAndDelete = async (id: string) => {
      await sql`select update_task_status(${user.userId}, 'user', ${id}, 'Cancelled')`;
      await sql`delete from tasks where id = ${id}`;
    };
    const charged = await running(sql, user, "travel_segment");
    await cancelAndDelete(charged.id);
    assert.deepEqual(await again(charged.id), ["task_id_conflict", "task_id_conflict"]);

    const open = await running(sql, user, "z_image_turbo");
    await submitted(sql, open);
    await cancelAndDelete(open.id);
    assert.deepEqual(await again(open.id), ["task_id_conflict", "task_id_conflict"]);
    assert.equal(await settleAs(sql, "ran"), 1);
    assert.deepEqual(await again(open.id), ["task_id_conflict", "task_id_conflict"]);

    const free = await running(sql, user, "z_image_turbo");
    await cancelAndDelete(free.id);
    const other = await createUser(sql, balance);
    assert.equal(await refusedWith(queueTask(sql, other, { taskId: free.id })), "task_id_conflict");
    assert.deepEqual(await accountOf(sql, other.userId), { balance, held: 0 });
    assert.equal(await queueTask(sql, user, { taskId: free.id }), free.id);
    assert.deepEqual(await faults(sql), []);
  }));

test("check 8: a part that is deleted after its orchestration was charged leaves the books as they are", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const { user, root, done, seconds } = await orchestration(database);
    await sql`select update_task_status(${user.userId}, 'user', ${root}, 'Cancelled')`;
    assert.equal(await settleAs(sql, "ran"), 1);
    const charges = await chargesOf(sql, user.userId);
    for (const id of [done, seconds.id, root]) {
      await sql`delete from tasks where id = ${id}`;
      assert.deepEqual(await chargesOf(sql, user.userId), charges);
      assert.deepEqual(await faults(sql), [], id);
    }
  }));

/** A run with so many jobs at the provider. */
async function severalJobs(sql: Sql, user: TestUser, jobs: number): Promise<Run> {
  const run = await running(sql, user, "z_image_turbo");
  for (let step = 0; step < jobs; step++) {
    for (const fields of [{}, { request_id: `${run.id}-${step}` }]) {
      await setStatus(sql, run.id, "In Progress", {
        attempt: run.attempt,
        changes: { provider_job: { provider: "fal", model, step, completes: false, ...fields } },
      });
    }
  }
  return run;
}

/** The open withdrawals of a run, by the steps of their jobs. */
async function withdrawalsOf(sql: Sql, { id }: Run): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from provider_withdrawals where task_id = ${id} and state = 'open' order by step`;
  return rows.map((row) => row.id);
}

test("check 8: a run of several jobs is charged once, by the first that ran; if none ran it is free and its hold stays open until the last outcome", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    // The outcomes in their order; after which of them the run is charged; what the task says at the end.
    const cases: { outcomes: string[]; chargedBy: number | undefined; state: string }[] = [
      { outcomes: ["withdrawn", "withdrawn", "withdrawn"], chargedBy: undefined, state: "withdrawn" },
      { outcomes: ["ran", "ran", "ran"], chargedBy: 0, state: "ran" },
      { outcomes: ["withdrawn", "ran", "withdrawn"], chargedBy: 1, state: "ran" },
      { outcomes: ["failed", "withdrawn", "ran"], chargedBy: 2, state: "ran" },
      { outcomes: ["withdrawn", "failed", "failed"], chargedBy: undefined, state: "withdrawn" },
      { outcomes: ["failed", "failed", "failed"], chargedBy: undefined, state: "failed" },
      { outcomes: ["withdrawn", "no answer", "no answer"], chargedBy: 1, state: "unanswered" },
    ];
    for (const way of ["update-task-status of a session", "deletion of the task"]) {
      for (const { outcomes, chargedBy, state } of cases) {
        const user = await createUser(sql, balance);
        const run = await severalJobs(sql, user, outcomes.length);
        await ways[way]?.(database, user, run.id);
        const ids = await withdrawalsOf(sql, run);
        assert.equal(ids.length, outcomes.length, "all jobs are to be withdrawn");
        for (const [index, outcome] of outcomes.entries()) {
          const isCharged = chargedBy !== undefined && index > chargedBy;
          assert.equal(
            (await accountOf(sql, user.userId)).held,
            isCharged ? 0 : perUnit,
            `${outcomes} ${index}`,
          );
          assert.deepEqual(await faults(sql), [], `${outcomes}, ${index} settled`);
          if (outcome === "no answer") await timeIsOver(sql);
          else await sql`select settle_withdrawal(${ids[index] ?? ""}, ${outcome})`;
        }
        await costs(sql, user.userId, chargedBy === undefined ? 0 : perUnit);
        const [task] = await sql<{ told: { cancellation: unknown } }[]>`
          select get_task_status(${user.userId}, id) as told from tasks where id = ${run.id}`;
        assert.equal(task === undefined, isDeletion(way));
        const cost_microusd = chargedBy === undefined ? 0 : perUnit;
        if (task) assert.deepEqual(task.told.cancellation, { state, basis: "provider_job", cost_microusd });
      }
    }
  }));

test("check 8: of two jobs of a deleted task that both ran, settled by two parties at once, one charges the run", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, balance);
    const run = await severalJobs(sql, user, 2);
    await sql`delete from tasks where id = ${run.id}`;
    const [one = "", two = ""] = await withdrawalsOf(sql, run);
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    // In either order of their ids.
    await first.query("select settle_withdrawal($1, 'ran')", [two]);
    const other = second.query<{ charged: string }>("select settle_withdrawal($1, 'ran') as charged", [one]);
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.deepEqual(
      (await other).rows.map(({ charged }) => Number(charged)),
      [0],
    );
    await costs(sql, user.userId, perUnit);
  }));

test("check 8: the free allowance counts tasks whose jobs were withdrawn, not their jobs", () =>
  withDatabase(async ({ sql }) => {
    await sql`update credit_settings set free_withdrawals_per_hour = 1`;
    const user = await createUser(sql, balance);
    for (const expected of [0, perUnit]) {
      const run = await severalJobs(sql, user, 3);
      await sql`select update_task_status(${user.userId}, 'user', ${run.id}, 'Cancelled')`;
      for (const id of await withdrawalsOf(sql, run)) await sql`select settle_withdrawal(${id}, 'withdrawn')`;
      await costs(sql, user.userId, expected);
    }
  }));

test("check 8: ids of jobs that were submitted while their task ended are noted by their steps", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, balance);
    const run = await running(sql, user, "z_image_turbo");
    for (const step of [0, 1]) {
      const provider_job = { provider: "fal", model, step };
      await setStatus(sql, run.id, "In Progress", { attempt: 1, changes: { provider_job } });
    }
    await sql`select update_task_status(${user.userId}, 'user', ${run.id}, 'Cancelled')`;
    const submit = (step: number, request_id: string) =>
      exchange(sql, { submitted: { task_id: run.id, attempt: 1, step, request_id } });
    assert.deepEqual(
      [(await submit(1, "one")).noted, (await submit(0, "zero")).noted, (await submit(2, "two")).noted],
      [true, true, false],
    );
    const rows = await sql<{ step: number; request_id: string }[]>`
      select step, request_id from provider_withdrawals where task_id = ${run.id} order by step`;
    assert.deepEqual(
      rows.map(({ step, request_id }) => [step, request_id]),
      [
        [0, "zero"],
        [1, "one"],
      ],
    );
    assert.equal(await settleAs(sql, "withdrawn"), 2);
    await costs(sql, user.userId, 0);
  }));
