import assert from "node:assert/strict";
import { test } from "node:test";
import { withDatabase } from "../support/database.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  wrongAccounts,
} from "../support/factories.ts";

/** Reports of a worker that ends its run, and where the task is then. */
const reports = [
  { status: "Failed", changes: { error_details: "out of memory" }, becomes: "Failed" },
  { status: "Cancelled", changes: { output_location: "stopped by its user" }, becomes: "Cancelled" },
  { status: "Queued", changes: { error_details: "flaky" }, becomes: "Queued" },
  { status: "Queued", changes: { given_back: true }, becomes: "Queued" },
  { status: "Complete", changes: {}, becomes: "Complete" },
  { status: "Complete", changes: { output_location: "https://media.example/a.png" }, becomes: "Complete" },
];
/** Workers name the run that they report on by one of these, or both. */
const names = [{ worker: "worker-1", attempt: 1 }, { worker: "worker-1" }, { attempt: 1 }];

for (const { status, changes, becomes } of reports) {
  const said = `${status} ${JSON.stringify(changes)}`;
  test(`a worker that repeats ${said} gets the first answer again, and nothing happens twice`, () =>
    withDatabase(async ({ sql }) => {
      for (const name of names) {
        const user = await createUser(sql);
        const taskId = await queueTask(sql, user);
        await claim(sql, "worker-1");
        const first = await setStatus(sql, taskId, status, { ...name, changes });
        assert.equal(first["status"], becomes);
        const before = await traces(taskId, user.userId);
        for (let again = 0; again < 3; again++) {
          assert.deepEqual(await setStatus(sql, taskId, status, { ...name, changes }), first);
        }
        assert.deepEqual(await traces(taskId, user.userId), before);

        // Another worker, or another report, is as late as ever.
        const others = [
          { status, by: { worker: "worker-2", attempt: 1 }, changes },
          { status, by: { attempt: 2 }, changes },
          { status, by: { ...name }, changes: { ...changes, progress_message: "other" } },
          { status: status === "Failed" ? "Cancelled" : "Failed", by: name, changes },
        ];
        for (const other of others) {
          // An output's text may be replaced by whoever made it: that is no end of a run.
          if (other.status === "Complete" && "output_location" in other.changes && other.by === others[2]?.by)
            continue;
          const code = await refusedWith(
            setStatus(sql, taskId, other.status, { ...other.by, changes: other.changes }),
          );
          assert.match(code, /^(stale_attempt|invalid_transition|task_cancelled)$/, JSON.stringify(other));
        }
        assert.deepEqual(await traces(taskId, user.userId), before);
        await sql`delete from auth.users where id = ${user.userId}`;
      }
      assert.deepEqual(await wrongAccounts(sql), []);

      async function traces(taskId: string, userId: string): Promise<unknown> {
        const [task] = await sql`select *, null as lane_id from tasks where id = ${taskId}`;
        const ledger = await sql`select * from credits_ledger where user_id = ${userId} order by id`;
        return { task: { ...task }, ledger: [...ledger], account: await accountOf(sql, userId) };
      }
    }));
}

test("a repeated Failed does not fail the task that its owner has queued again, nor its next run", () =>
  withDatabase(async ({ sql }) => {
    for (const name of names) {
      const user = await createUser(sql);
      const taskId = await queueTask(sql, user);
      await claim(sql, "worker-1");
      const first = await setStatus(sql, taskId, "Failed", name);
      await sql`select update_task_status(${user.userId}, 'user', ${taskId}, 'Queued')`;

      assert.deepEqual(await setStatus(sql, taskId, "Failed", name), first);
      assert.equal(await statusOf(taskId), "Queued");
      // Of the run that is over, another report is as late while the task waits.
      assert.equal(await refusedWith(setStatus(sql, taskId, "Cancelled", { attempt: 1 })), "stale_attempt");

      assert.equal((await claim(sql, "worker-2"))?.attempt, 2);
      assert.deepEqual(await setStatus(sql, taskId, "Failed", name), first);
      assert.equal(await statusOf(taskId), "In Progress");
      const second = await setStatus(sql, taskId, "Failed", { worker: "worker-2", attempt: 2 });
      assert.equal(second["attempt"], 2);
      assert.deepEqual(await setStatus(sql, taskId, "Failed", name), first);
      await sql`delete from auth.users where id = ${user.userId}`;
    }

    async function statusOf(taskId: string): Promise<unknown> {
      const [row] = await sql`select status from tasks where id = ${taskId}`;
      return row?.["status"];
    }
  }));

test("a worker that claims its task again and fails it again, without naming the attempt, reports a second failure", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    const report = () =>
      setStatus(sql, taskId, "Queued", { worker: "worker-1", changes: { error_details: "flaky" } });
    await claim(sql, "worker-1");
    assert.deepEqual([(await report())["attempts"], (await report())["attempts"]], [1, 1]);
    await claim(sql, "worker-1");
    const last = [await report(), await report()];
    assert.deepEqual(
      last.map(({ attempt, attempts }) => [attempt, attempts]),
      [
        [2, 2],
        [2, 2],
      ],
    );
  }));

test("the same report on two connections at once takes effect once, and both get its answer", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "worker-1");
    const [first, second] = [await database.session(), await database.session()];
    const text = `select update_task_status(null, 'service', $1, 'Queued', 'worker-1', 1, '{"error_details": "flaky"}') as answer`;
    await first.query("begin");
    const one = await first.query(text, [taskId]);
    const meanwhile = second.query(text, [taskId]);
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.deepEqual((await meanwhile).rows, one.rows);
    const [task] = await sql`select status, attempts, attempt from tasks where id = ${taskId}`;
    assert.deepEqual({ ...task }, { status: "Queued", attempts: 1, attempt: 1 });
  }));

test("two workers that report on one run at once: the first is heard, the other is refused", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "worker-1");
    const [first, second] = [await database.session(), await database.session()];
    const text = `select update_task_status(null, 'service', $1, 'Failed', $2, 1) as answer`;
    await first.query("begin");
    await first.query(text, [taskId, "worker-1"]);
    const meanwhile = refusedWith(second.query(text, [taskId, "worker-2"]));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await meanwhile, "stale_attempt");
  }));

test("a report that no run has ended is kept by nobody: completing, then failing, is refused", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "worker-1");
    await complete(sql, taskId, { worker: "worker-1", attempt: 1 });
    for (let again = 0; again < 2; again++) {
      assert.equal(
        await refusedWith(setStatus(sql, taskId, "Failed", { worker: "worker-1", attempt: 1 })),
        "invalid_transition",
      );
    }
    assert.deepEqual([...(await sql`select * from run_reports`)], []);
  }));

test("another kind of caller, or another user, gets no answer that was another's", () =>
  withDatabase(async ({ sql }) => {
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const taskId = await queueTask(sql, user);
    await claim(sql, "worker-1");
    await setStatus(sql, taskId, "Failed", { worker: "worker-1", attempt: 1 });
    const as = (userId: string, kind: string) =>
      refusedWith(
        sql`select update_task_status(${userId}, ${kind}, ${taskId}, 'Failed', 'worker-1', 1)`.then(
          () => undefined,
        ),
      );
    assert.equal(await as(other.userId, "personal-access-token"), "task_not_found");
    assert.equal(await as(user.userId, "personal-access-token"), "invalid_transition");
  }));

test("reports are forgotten after a day", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "worker-1");
    await setStatus(sql, taskId, "Failed", { attempt: 1 });
    await sql`select forget_old_requests()`;
    assert.equal((await sql`select from run_reports`).length, 1);
    await sql`update run_reports set created_at = now() - interval '25 hours'`;
    await sql`select forget_old_requests()`;
    assert.equal((await sql`select from run_reports`).length, 0);
  }));
