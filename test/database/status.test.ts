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
  stopTending,
} from "../support/factories.ts";

const statuses = ["Queued", "In Progress", "Complete", "Failed", "Cancelled"] as const;

/** What the service's request for a status (across) does to a task in another (down). */
const transitions: Record<string, Record<(typeof statuses)[number], string>> = {
  Queued: {
    Queued: "invalid_transition",
    "In Progress": "invalid_transition",
    Complete: "invalid_transition",
    Failed: "none",
    Cancelled: "none",
  },
  "In Progress": {
    Queued: "none",
    "In Progress": "none",
    Complete: "none",
    Failed: "none",
    Cancelled: "none",
  },
  Complete: {
    Queued: "invalid_transition",
    "In Progress": "invalid_transition",
    Complete: "invalid_transition",
    Failed: "invalid_transition",
    Cancelled: "invalid_transition",
  },
  Failed: {
    Queued: "none",
    "In Progress": "invalid_transition",
    Complete: "invalid_transition",
    Failed: "invalid_transition",
    Cancelled: "invalid_transition",
  },
  Cancelled: {
    Queued: "task_cancelled",
    "In Progress": "task_cancelled",
    Complete: "task_cancelled",
    Failed: "task_cancelled",
    Cancelled: "task_cancelled",
  },
};

for (const [from, row] of Object.entries(transitions)) {
  test(`update_task_status() moves a ${from} task by the transition table`, () =>
    withDatabase(async (database) => {
      for (const to of statuses) {
        const user = await createUser(database.sql);
        const taskId = await queueTask(database.sql, user);
        if (from !== "Queued") await claim(database.sql, "worker");
        if (from === "Complete") await complete(database.sql, taskId);
        if (from === "Failed" || from === "Cancelled") await setStatus(database.sql, taskId, from);

        assert.equal(await refusedWith(setStatus(database.sql, taskId, to)), row[to], `${from} → ${to}`);
        const [stored] = await database.sql`select status from tasks where id = ${taskId}`;
        assert.equal(stored?.["status"], row[to] === "none" ? to : from);
        await database.sql`delete from auth.users where id = ${user.userId}`;
      }
      assert.deepEqual(await wrongAccounts(database.sql), []);
    }));
}

test("failed, cancelled and requeued past the limit: net charge 0", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const failed = await queueTask(database.sql, user);
    const cancelled = await queueTask(database.sql, user);
    const exhausted = await queueTask(database.sql, user);
    for (let task = 0; task < 3; task++) await claim(database.sql, "worker");

    await setStatus(database.sql, failed, "Failed", { changes: { error_details: "out of memory" } });
    await setStatus(database.sql, cancelled, "Cancelled");
    const reached: unknown[] = [];
    for (let run = 1; run <= 3; run++) {
      const answer = await setStatus(database.sql, exhausted, "Queued", {
        changes: { error_details: "flaky" },
      });
      reached.push([answer["status"], answer["attempts"]]);
      await claim(database.sql, "worker");
    }

    assert.deepEqual(reached, [
      ["Queued", 1],
      ["Queued", 2],
      ["Failed", 3],
    ]);
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
    assert.equal((await database.sql`select from credits_ledger where type = 'spend'`).length, 0);
    assert.equal((await database.sql`select from task_slots where task_id is not null`).length, 0);
  }));

test("a retried task is covered again, and refused without cover", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 6500);
    const taskId = await queueTask(database.sql, user);
    await setStatus(database.sql, taskId, "Failed");
    const other = await queueTask(database.sql, user);

    assert.equal(await refusedWith(setStatus(database.sql, taskId, "Queued")), "insufficient_credits");
    await setStatus(database.sql, other, "Cancelled");
    await setStatus(database.sql, taskId, "Queued");
    assert.equal((await accountOf(database.sql, user.userId)).held, 6500);
    assert.equal((await claim(database.sql, "worker"))?.attempt, 1);
  }));

test("a worker that lost its run is told so", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker-1");
    const report = (worker: string, attempt: number) =>
      refusedWith(
        setStatus(database.sql, taskId, "In Progress", { worker, attempt, changes: { progress: 0.5 } }),
      );

    assert.equal(await report("worker-1", 1), "none");
    assert.equal(await report("worker-2", 1), "stale_attempt");
    await setStatus(database.sql, taskId, "Queued");
    await claim(database.sql, "worker-2");
    assert.equal(await report("worker-1", 1), "stale_attempt");
    assert.equal(await report("worker-2", 2), "none");
    await setStatus(database.sql, taskId, "Cancelled");
    assert.equal(await report("worker-2", 2), "task_cancelled");
  }));

test("failing a child fails its orchestration and its dependants, and frees everything", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 10_000_000);
    const orchestrator = await queueTask(database.sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 3 } },
    });
    await claim(database.sql, "worker");
    const child = (dependantOn?: string[]) =>
      queueTask(database.sql, user, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator },
        ...(dependantOn && { dependantOn }),
      });
    const [done, failing] = [await child(), await child()];
    const waiting = await child([failing]);
    const outside = await queueTask(database.sql, user, { dependantOn: [failing] });
    await claim(database.sql, "worker");
    await claim(database.sql, "worker");
    await database.sql`update tasks set generation_started_at = now() - interval '4.5 seconds' where id = ${done}`;
    await complete(database.sql, done);

    await setStatus(database.sql, failing, "Failed", { changes: { error_details: "boom" } });

    const rows = await database.sql`select id, status, error_message from tasks`;
    const byId = new Map(rows.map((row) => [row["id"] as string, [row["status"], row["error_message"]]]));
    assert.deepEqual(byId.get(done)?.[0], "Complete");
    assert.deepEqual(byId.get(failing), ["Failed", "boom"]);
    assert.deepEqual(byId.get(orchestrator)?.[0], "Failed");
    assert.deepEqual(byId.get(waiting)?.[0], "Failed");
    assert.deepEqual(byId.get(outside), ["Failed", "dependency_failed"]);
    // What was finished is paid, no more.
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 10_000_000 - 5 * 278, held: 0 });
    assert.equal((await database.sql`select from task_slots where task_id is not null`).length, 0);
  }));

test("an expired lease is rescued once by two sweeps, and failed after the last attempt without a charge", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    const expire = () =>
      database.sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${taskId}`;
    await claim(database.sql, "worker");
    await expire();
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    const one = await first.query<{ rescued: number }>("select sweep_expired_leases() as rescued");
    const two = await second.query<{ rescued: number }>("select sweep_expired_leases() as rescued");
    await first.query("commit");
    assert.deepEqual([one.rows[0]?.rescued, two.rows[0]?.rescued], [1, 0]);

    for (let run = 0; run < 2; run++) {
      assert.ok(await claim(database.sql, "worker"));
      await expire();
      await database.sql`select sweep_expired_leases()`;
    }
    const [task] = await database.sql`select status, attempts, error_message from tasks where id = ${taskId}`;
    assert.deepEqual({ ...task }, { status: "Failed", attempts: 3, error_message: "lease_expired" });
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
  }));

test("where no timer tends the queue, a claim rescues what has expired and takes it", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker-1");
    await database.sql`update tasks set lease_expires_at = now() - interval '1 second'`;
    await stopTending(database.sql);

    const claimed = await claim(database.sql, "worker-2");
    assert.equal(claimed?.task_id, taskId);
    assert.equal(claimed?.attempts, 1);
  }));

test("a worker that heartbeats gets a short lease, one that does not the type's longest run", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const lease = async (taskId: string) => {
      const [row] = await database.sql`
        select round(extract(epoch from lease_expires_at - now()))::int as seconds from tasks where id = ${taskId}`;
      return row?.["seconds"] as number;
    };
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    assert.equal(await lease(taskId), 600);

    await setStatus(database.sql, taskId, "In Progress", {
      worker: "worker",
      attempt: 1,
      changes: { progress: 0.1 },
    });
    assert.equal(await lease(taskId), 60);
    const next = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    assert.equal(await lease(next), 60);
  }));

test("progress within half a second is stored and not broadcast", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    for (const progress of [0.1, 0.2, 0.3])
      await setStatus(database.sql, taskId, "In Progress", { changes: { progress } });

    const events = await database.sql`
      select payload ->> 'progress' as progress from realtime.messages
       where topic = ${`task-updates:${user.projectId}`} and payload ->> 'status' = 'In Progress' order by inserted_at`;
    assert.deepEqual(
      events.map((row) => row["progress"]),
      [null, "0.1"],
    );
    const [task] = await database.sql`select progress from tasks where id = ${taskId}`;
    assert.equal(Math.round((task?.["progress"] as number) * 10), 3);
  }));

test("whoever completed a task may replace its output text, and nothing else about it", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    await complete(database.sql, taskId);
    const before = await accountOf(database.sql, user.userId);

    await setStatus(database.sql, taskId, "Complete", {
      changes: { output_location: '{"transition_url": "x"}' },
    });
    const [task] = await database.sql`select status, output_location from tasks where id = ${taskId}`;
    assert.deepEqual({ ...task }, { status: "Complete", output_location: '{"transition_url": "x"}' });
    assert.deepEqual(await accountOf(database.sql, user.userId), before);
  }));

test("a completion and a sweep of its expired lease at once: whoever comes first counts, the other changes nothing", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const [worker, sweeper] = [await database.session(), await database.session()];
    const expired = async () => {
      const taskId = await queueTask(database.sql, user);
      await claim(database.sql, "worker");
      await database.sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${taskId}`;
      return taskId;
    };
    const statusOf = async (taskId: string) => {
      const [row] = await database.sql`select status from tasks where id = ${taskId}`;
      return row?.["status"] as string;
    };

    const first = await expired();
    await worker.query("begin");
    await complete(worker, first);
    const { rows } = await sweeper.query<{ rescued: number }>("select sweep_expired_leases() as rescued");
    await worker.query("commit");
    assert.deepEqual([rows[0]?.rescued, await statusOf(first)], [0, "Complete"]);

    const second = await expired();
    await sweeper.query("begin");
    await sweeper.query("select sweep_expired_leases()");
    const completing = refusedWith(complete(worker, second, { worker: "worker", attempt: 1 }));
    await sweeper.query("commit");
    assert.deepEqual([await completing, await statusOf(second)], ["stale_attempt", "Queued"]);
    assert.deepEqual(await wrongAccounts(database.sql), []);
  }));

test("a requeue and a cancel at once: the task ends cancelled, and its slot is free", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const [worker, owner] = [await database.session(), await database.session()];

    await worker.query("begin");
    await setStatus(worker, taskId, "Queued", { worker: "worker", attempt: 1 });
    const cancelling = setStatus(owner, taskId, "Cancelled");
    await worker.query("commit");

    assert.equal((await cancelling)["status"], "Cancelled");
    assert.equal(await claim(database.sql, "worker"), null);
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
    assert.equal((await database.sql`select from task_slots where task_id is not null`).length, 0);
  }));

test("a run that completes without an output costs nothing, whatever its progress text said", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const finish = async (changes: Record<string, unknown>) => {
      const taskId = await queueTask(database.sql, user);
      await claim(database.sql, "worker");
      await setStatus(database.sql, taskId, "In Progress", { changes: { output_location: "Step 1 of 2" } });
      await setStatus(database.sql, taskId, "Complete", { changes });
      const [task] = await database.sql`select output_location from tasks where id = ${taskId}`;
      return task?.["output_location"] as string | null;
    };

    assert.deepEqual([await finish({}), await finish({ output_location: "" })], [null, null]);
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
    assert.equal(await finish({ output_location: "https://x.example/a.png" }), "https://x.example/a.png");
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000 - 6500, held: 0 });
  }));
