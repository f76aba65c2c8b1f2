import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
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

interface Beat {
  status: string;
  tasks: { task_id: string; state: string; attempt: number | null; lease_expires_at: string | null }[];
  logs_inserted: number;
  logs_dropped: number;
}

async function beat(
  sql: Sql,
  worker: string,
  report: Record<string, unknown> = {},
  { owner, logs }: { owner?: string; logs?: unknown } = {},
): Promise<Beat> {
  const [row] = await sql<{ answer: Beat }[]>`
    select worker_heartbeat(${owner ?? null}, ${worker}, ${sql.json(report as never)},
                            ${logs === undefined ? null : JSON.stringify(logs)}) as answer`;
  assert.ok(row);
  return row.answer;
}

/** Seconds that a running task's lease lasts from now on. */
async function leaseOf(sql: Sql, taskId: string): Promise<number> {
  const [row] = await sql<{ seconds: number }[]>`
    select extract(epoch from lease_expires_at - now())::float8 as seconds from tasks where id = ${taskId}`;
  return row?.seconds ?? Number.NaN;
}

async function taskOf(sql: Sql, taskId: string) {
  const [task] = await sql`select status, attempts, worker_id, error_message from tasks where id = ${taskId}`;
  return { ...task };
}

test("the first heartbeat registers a worker, and its claims have short leases from then on", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [early, late] = [await queueTask(sql, user), await queueTask(sql, user)];
    await claim(sql, "gpu-1");
    assert.ok((await leaseOf(sql, early)) > 100, "nobody knows yet that it heartbeats");

    assert.equal((await beat(sql, "gpu-1", { vram_total_mb: 24_000 })).status, "active");
    await claim(sql, "gpu-1");
    for (const taskId of [early, late]) {
      const seconds = await leaseOf(sql, taskId);
      assert.ok(seconds > 55 && seconds <= 60, `${seconds} s`);
    }
    const [worker] = await sql`select instance_type, heartbeats, metadata from workers where id = 'gpu-1'`;
    assert.deepEqual(
      { ...worker },
      { instance_type: "external", heartbeats: true, metadata: { vram_total_mb: 24_000 } },
    );
  }));

test("a heartbeat keeps its own worker's tasks: not another's, not an owner's of the same name", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const tasks: string[] = [];
    for (let task = 0; task < 3; task++) tasks.push(await queueTask(sql, user));
    await claim(sql, "same-name");
    await claim(sql, "other");
    await claim(sql, "same-name", user.userId);
    await sql`update tasks set lease_expires_at = now() + interval '5 seconds'`;

    await beat(sql, "same-name");
    const kept = async () => {
      const leases = await Promise.all(tasks.map((taskId) => leaseOf(sql, taskId)));
      return leases.map((seconds) => seconds > 50);
    };
    assert.deepEqual(await kept(), [true, false, false]);
    await beat(sql, "same-name", {}, { owner: user.userId });
    assert.deepEqual(await kept(), [true, false, true]);

    const ofName = await beat(sql, "same-name");
    assert.deepEqual(
      ofName.tasks.map(({ task_id, state }) => [task_id, state]),
      [[tasks[0], "running"]],
    );
    await beat(sql, "same-name", { status: "crashed" });
    const statuses = await Promise.all(tasks.map(async (taskId) => (await taskOf(sql, taskId))["status"]));
    assert.deepEqual(statuses, ["Queued", "In Progress", "In Progress"]);
  }));

test("a worker that names its runs keeps those alone: a claim whose answer it lost goes back to the queue", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [known, lost] = [await queueTask(sql, user), await queueTask(sql, user)];
    await claim(sql, "gpu-1");
    await claim(sql, "gpu-1");
    await sql`update tasks set lease_expires_at = now() + interval '5 seconds'`;
    await beat(sql, "gpu-1", { tasks: [{ task_id: known, attempt: 1 }] });
    assert.ok((await leaseOf(sql, known)) > 50);
    assert.ok((await leaseOf(sql, lost)) < 6);

    await sql`update tasks set lease_expires_at = now() + interval '5 seconds'`;
    const stale = await beat(sql, "gpu-1", { tasks: [{ task_id: known, attempt: 2 }] });
    assert.equal(stale.tasks[0]?.state, "stale");
    assert.ok((await leaseOf(sql, known)) < 6, "an attempt that it does not have is not kept");
  }));

test("a machine that only lives keeps a task no longer than such a task may run; an orchestrator it does", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const hung = await queueTask(sql, user);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
    });
    await claim(sql, "gpu-1");
    await claim(sql, "gpu-1");
    await sql`
      update tasks set generation_started_at = now() - interval '1 day', lease_expires_at = now() + interval '5 seconds'`;
    await beat(sql, "gpu-1");
    assert.ok((await leaseOf(sql, hung)) < 6);
    assert.ok((await leaseOf(sql, orchestrator)) > 50);
    await beat(sql, "gpu-1", { tasks: [{ task_id: hung, attempt: 1 }] });
    assert.ok((await leaseOf(sql, hung)) > 50, "whoever names a run says that it goes on");
  }));

test("a heartbeat waits for nobody who has a task of its worker locked", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const [locked, free] = [await queueTask(sql, user), await queueTask(sql, user)];
    await claim(sql, "gpu-1");
    await claim(sql, "gpu-1");
    await sql`update tasks set lease_expires_at = now() + interval '5 seconds'`;
    const [holder, beating] = [await database.session(), await database.session()];

    await holder.query("begin");
    await holder.query("select from tasks where id = $1 for update", [locked]);
    await beating.query("set lock_timeout = '1ms'");
    await beating.query("select worker_heartbeat(null, 'gpu-1')");
    await holder.query("commit");

    assert.ok((await leaseOf(sql, free)) > 50);
    assert.ok((await leaseOf(sql, locked)) < 6);
  }));

test("progress is not kept waiting by a heartbeat of its worker", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "gpu-1");
    const [beating, reporting] = [await database.session(), await database.session()];

    await beating.query("begin");
    await beating.query("update workers set last_heartbeat = null where id = 'gpu-1'");
    await reporting.query("set lock_timeout = '1ms'");
    const report = setStatus(reporting, taskId, "In Progress", {
      worker: "gpu-1",
      attempt: 1,
      changes: { progress: 0.5 },
    });
    assert.equal(await refusedWith(report), "none");
    await beating.query("commit");
  }));

for (const said of ["crashed", "terminated", "error"]) {
  test(`${said}: the worker's tasks are queued again at once, counted, and failed after the last attempt`, () =>
    withDatabase(async ({ sql }) => {
      const user = await createUser(sql, 1_000_000);
      const taskId = await queueTask(sql, user);
      const dependant = await queueTask(sql, user, { dependantOn: [taskId] });
      const reached = [];
      for (let run = 1; run <= 3; run++) {
        assert.equal((await claim(sql, "gpu-1"))?.attempt, run);
        const answer = await beat(sql, "gpu-1", { status: said, tasks: [{ task_id: taskId, attempt: run }] });
        reached.push([answer.status, answer.tasks[0]?.state]);
      }
      assert.deepEqual(reached, [
        [said, "stale"],
        [said, "stale"],
        [said, "ended"],
      ]);
      const { status, attempts, error_message } = await taskOf(sql, taskId);
      assert.deepEqual([status, attempts, error_message], ["Failed", 3, `worker_${said}`]);
      const failed = await taskOf(sql, dependant);
      assert.deepEqual([failed["status"], failed["error_message"]], ["Failed", "dependency_failed"]);
      assert.deepEqual(await accountOf(sql, user.userId), { balance: 1_000_000, held: 0 });
      assert.equal((await sql`select from task_slots where task_id is not null`).length, 0);
    }));
}

test("an autoscaler's PATCH to crashed, error or terminated gives the tasks back; to anything else does not", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    const autoscaler = await database.sessionAs("service_role");
    for (const [status, expected] of [
      ["spawning", "In Progress"],
      ["active", "In Progress"],
      ["terminating", "In Progress"],
      ["inactive", "In Progress"],
      ["error", "Queued"],
      ["crashed", "Queued"],
    ] as const) {
      if ((await taskOf(sql, taskId))["status"] === "Queued") {
        await autoscaler.query("update workers set status = 'active' where id = 'gpu-1'");
        await claim(sql, "gpu-1");
      }
      await autoscaler.query("update workers set status = $1 where id = 'gpu-1'", [status]);
      assert.equal((await taskOf(sql, taskId))["status"], expected, status);
    }
    await claim(sql, "gpu-1", user.userId);
    await autoscaler.query("update workers set status = 'terminated' where user_id = $1", [user.userId]);
    const { status, attempts } = await taskOf(sql, taskId);
    assert.deepEqual(
      [status, attempts],
      ["Failed", 3],
      "an owner's worker is found by its owner's name for it",
    );
  }));

test("a worker's own end can be taken back by it; an operator's word stays", () =>
  withDatabase(async ({ sql }) => {
    const statusOf = async () => (await sql`select status from workers where id = 'gpu-1'`)[0]?.["status"];
    for (const said of ["crashed", "terminating", "terminated", "error", "inactive"]) {
      assert.equal((await beat(sql, "gpu-1", { status: said })).status, said);
      assert.equal((await beat(sql, "gpu-1")).status, "active");
    }
    for (const status of ["error", "terminating", "terminated"]) {
      await beat(sql, "gpu-1");
      await sql`update workers set status = ${status} where id = 'gpu-1'`;
      assert.equal((await beat(sql, "gpu-1")).status, status);
      // Not even when the worker says the same in between.
      const ended = status === "error" ? "error" : "terminated";
      assert.equal((await beat(sql, "gpu-1", { status: "terminated" })).status, ended);
      await sql`select update_worker_model('gpu-1', 'flux')`;
      assert.equal((await beat(sql, "gpu-1")).status, ended);
      await sql`update workers set status = 'active' where id = 'gpu-1'`;
    }
    // The shipped worker's report of its own fatal error.
    await sql`update workers set status = 'error', metadata = '{"self_terminated": true}' where id = 'gpu-1'`;
    assert.equal((await beat(sql, "gpu-1")).status, "active");
    await sql`update workers set status = 'error' where id = 'gpu-1'`;
    await beat(sql, "gpu-1");
    assert.equal(await statusOf(), "error");
  }));

test("a lease that two sweeps and the worker's own end see at once is given back once", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "gpu-1");
    await sql`update tasks set lease_expires_at = now() - interval '1 second'`;
    const [sweeping, ending] = [await database.session(), await database.session()];

    await sweeping.query("begin");
    await sweeping.query("select sweep_expired_leases()");
    await ending.query("set lock_timeout = '1ms'");
    await ending.query(`select worker_heartbeat(null, 'gpu-1', '{"status": "crashed"}')`);
    await sweeping.query("commit");
    assert.equal((await taskOf(sql, taskId))["attempts"], 1);

    await claim(sql, "gpu-1");
    await sql`update tasks set lease_expires_at = now() - interval '1 second'`;
    await ending.query("begin");
    await ending.query(`select worker_heartbeat(null, 'gpu-1', '{"status": "crashed"}')`);
    const swept = await sweeping.query<{ rescued: number }>("select sweep_expired_leases() as rescued");
    await ending.query("commit");
    assert.equal(swept.rows[0]?.rescued, 0);
    assert.equal((await taskOf(sql, taskId))["attempts"], 2);
  }));

test("a task that completes while its worker is declared dead stays complete, and is paid once", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 1_000_000);
    const taskId = await queueTask(sql, user);
    await claim(sql, "gpu-1");
    const [completing, ending] = [await database.session(), await database.session()];

    await completing.query("begin");
    await complete(completing, taskId, { worker: "gpu-1", attempt: 1 });
    await ending.query("update workers set status = 'crashed' where id = 'gpu-1'");
    await completing.query("commit");

    assert.equal((await taskOf(sql, taskId))["status"], "Complete");
    assert.equal((await sql`select from credits_ledger where type = 'spend'`).length, 1);
    assert.deepEqual(await wrongAccounts(sql), []);
  }));

test("an orchestration whose orchestrator and children ran on one worker is rescued as a whole", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, 10_000_000);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 3 } },
    });
    await claim(sql, "gpu-1");
    for (let child = 0; child < 3; child++) {
      await queueTask(sql, user, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator },
      });
      await claim(sql, "gpu-1");
    }
    await sql`update tasks set attempts = 2 where id = (select id from tasks where is_orchestrator = false order by id limit 1)`;
    await beat(sql, "gpu-1", { status: "crashed" });

    // One child had its last attempt, and took all others with it, whichever were queued before it.
    const statuses = await sql`select distinct status from tasks`;
    assert.deepEqual(
      statuses.map((row) => row["status"]),
      ["Failed"],
    );
    assert.equal((await sql`select from task_slots where task_id is not null`).length, 0);
    assert.equal((await accountOf(sql, user.userId)).held, 0);
  }));

test("two ends of one orchestration that meet: one goes on, and nothing is counted twice", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 10_000_000);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 2 } },
    });
    await claim(sql, "gpu-0");
    const children: string[] = [];
    for (const worker of ["gpu-1", "gpu-2"]) {
      children.push(
        await queueTask(sql, user, {
          taskType: "travel_segment",
          params: { orchestrator_task_id_ref: orchestrator },
        }),
      );
      await claim(sql, worker);
    }
    await sql`update tasks set attempts = 2 where id = any (${children})`;
    const [first, second] = [await database.session(), await database.session()];

    // Each has its own child locked and needs the other's: the order in which a deadlock is made.
    await first.query("begin");
    await second.query("begin");
    await first.query("select from tasks where id = $1 for no key update", [children[0] ?? null]);
    await second.query("select from tasks where id = $1 for no key update", [children[1] ?? null]);
    const ends = [
      first.query("update workers set status = 'crashed' where id = 'gpu-1'"),
      second.query("update workers set status = 'crashed' where id = 'gpu-2'"),
    ];
    // Whichever gave way has left its task to the other, and commits what it has.
    const [winner, other] = await Promise.race(
      [ends[0]?.then(() => [first, second] as const), ends[1]?.then(() => [second, first] as const)].filter(
        (end) => end !== undefined,
      ),
    );
    await winner.query("commit");
    await Promise.all(ends);
    await other.query("commit");

    const statuses = await sql`select distinct status, attempts from tasks where not is_orchestrator`;
    assert.ok(
      statuses.every((row) => row["status"] === "Failed" && Number(row["attempts"]) <= 3),
      JSON.stringify(statuses),
    );
    assert.equal((await accountOf(sql, user.userId)).held, 0);
  }));

test("a worker that nobody manages is inactive after a long silence; an autoscaler's is left to it", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    for (const worker of ["silent", "alive", "managed", "old", "locked", "ended"]) await beat(sql, worker);
    await sql`update workers set last_heartbeat = now() - interval '6 minutes' where id <> 'alive'`;
    await sql`update workers set instance_type = 'runpod' where id = 'managed'`;
    await sql`update workers set heartbeats = false where id = 'old'`;
    await sql`update workers set status = 'terminated' where id = 'ended'`;
    const [holder, marking] = [await database.session(), await database.session()];

    await holder.query("begin");
    await holder.query("select from workers where id = 'locked' for update");
    await marking.query("set lock_timeout = '1ms'");
    const marked = await marking.query<{ marked: number }>("select mark_silent_workers() as marked");
    await holder.query("commit");
    assert.equal(marked.rows[0]?.marked, 1);
    const rows = await sql`select id, status from workers order by id`;
    assert.deepEqual(Object.fromEntries(rows.map((row) => [row["id"], row["status"]])), {
      alive: "active",
      ended: "terminated",
      locked: "active",
      managed: "active",
      old: "active",
      silent: "inactive",
    });
    assert.equal((await beat(sql, "silent")).status, "active");
  }));

test("times of workers have no fraction of a second, whoever writes them", () =>
  withDatabase(async ({ sql }) => {
    await beat(sql, "gpu-1");
    await sql`insert into workers (id, created_at, last_heartbeat) values ('gpu-2', '2026-01-01T00:00:00.123Z', '2026-01-01T00:00:00.1Z')`;
    const rows = await sql<
      { worker: Record<string, string> }[]
    >`select to_jsonb(workers) as worker from workers`;
    for (const { worker } of rows) {
      for (const name of ["created_at", "last_heartbeat"]) {
        assert.match(String(worker[name]), /T\d\d:\d\d:\d\d[+Z]/, name);
      }
    }
  }));

test("log lines are bounded: each, those of one heartbeat, and those of an owner's workers", () =>
  withDatabase(async ({ sql }) => {
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const [own, foreign] = [await queueTask(sql, user), await queueTask(sql, other)];
    const line = (number: number) => ({ message: `line ${number}` });

    const many = await beat(
      sql,
      "gpu-1",
      {},
      { logs: Array.from({ length: 130 }, (_, number) => line(number)) },
    );
    assert.deepEqual([many.logs_inserted, many.logs_dropped], [100, 30]);
    const odd = await beat(
      sql,
      "gpu-1",
      {},
      {
        logs: [
          {
            message: "x".repeat(100_000),
            metadata: { y: "y".repeat(10_000) },
            timestamp: "9999-12-31T00:00:00Z",
            level: { an: "object" },
            cycle_number: 1e300,
            task_id: foreign,
          },
        ],
      },
    );
    assert.equal(odd.logs_inserted, 1);
    const [written] = await sql`
      select length(message) as length, metadata, log_level, cycle_number, source_type, source_id, task_id,
             timestamp > now() - interval '1 minute' and timestamp <= now() as is_now
        from system_logs order by id desc limit 1`;
    assert.deepEqual(
      { ...written },
      {
        length: 4000,
        metadata: { truncated: true },
        log_level: "INFO",
        cycle_number: null,
        source_type: "worker",
        source_id: "gpu-1",
        task_id: foreign,
        is_now: true,
      },
    );
    for (const none of [{}, "text", 5, null]) {
      const answer = await beat(sql, "gpu-1", {}, { logs: none });
      assert.equal(answer.logs_inserted, 0, JSON.stringify(none));
    }

    await sql`
      insert into system_logs (message, user_id)
      select 'earlier', ${user.userId} from generate_series(1, 1995)`;
    const logs = [
      { message: "own", task_id: own },
      { message: "foreign", task_id: foreign },
      ...[1, 2, 3, 4].map(line),
    ];
    const answer = await beat(sql, "home", {}, { owner: user.userId, logs });
    assert.deepEqual([answer.logs_inserted, answer.logs_dropped], [5, 1]);
    const kept = await sql`
      select message, task_id from system_logs where worker_id = ${`${user.userId}:home`} order by id limit 2`;
    assert.deepEqual(
      kept.map((row) => row["task_id"]),
      [own, null],
    );
    assert.equal((await beat(sql, "home", {}, { owner: other.userId, logs })).logs_inserted, 6);
  }));

test("old log lines are forgotten after the time that operators set, by two hosts at once", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    await sql`insert into system_logs (message, received_at) values ('8 days', now() - interval '8 days')`;
    await sql`insert into system_logs (message, received_at) values ('2 days', now() - interval '2 days')`;
    await sql`insert into system_logs (message) values ('now')`;
    const [first, second] = [await database.session(), await database.session()];
    const forget = "select forget_old_logs()::int as lines";

    await first.query("begin");
    const one = await first.query(forget);
    await second.query("set lock_timeout = '1ms'");
    const two = await second.query(forget);
    await first.query("commit");
    assert.deepEqual([one.rows[0], two.rows[0]], [{ lines: 1 }, { lines: 0 }]);

    await sql`update queue_settings set log_retention = '1 day'`;
    await sql`select forget_old_logs()`;
    const rows = await sql`select message from system_logs`;
    assert.deepEqual(
      rows.map((row) => row["message"]),
      ["now"],
    );
    await sql`update queue_settings set log_retention = '0'`;
    await sql`select forget_old_logs()`;
    assert.equal((await sql`select from system_logs`).length, 0);
  }));
