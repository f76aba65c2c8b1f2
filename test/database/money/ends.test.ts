/** Checks 7 and 8: what did not come to an end with an output costs nothing, and holds nothing any more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DatabaseUnderTest, withDatabase } from "../../support/database.ts";
import {
  accountOf,
  claim,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
} from "../../support/factories.ts";
import { randomFrom } from "../../support/orders.ts";

const balance = 100_000_000;

/**
 * Everything that a task can end by without an output, before a run consumed anything or because something failed. Each makes such
 * tasks, and answers their ids; the holds are of the first. What a cancelled run costs: cancels.test.ts.
 */
const endings: Record<string, (scene: DatabaseUnderTest, user: TestUser) => Promise<string[]>> = {
  async "its worker says that it failed"({ sql }, user) {
    const id = await queueTask(sql, user);
    const { attempt } = await running({ sql }, id);
    await setStatus(sql, id, "Failed", {
      worker: "worker",
      attempt,
      changes: { error_details: "out of memory" },
    });
    return [id];
  },
  async "it is cancelled while it waits"({ sql }, user) {
    const id = await queueTask(sql, user);
    await sql`select update_task_status(${user.userId}, 'user', ${id}, 'Cancelled')`;
    return [id];
  },
  async "its leases end, one after the other"({ sql }, user) {
    const id = await queueTask(sql, user, { taskType: "travel_segment" });
    for (let attempt = 1; attempt <= 3; attempt++) {
      await running({ sql }, id);
      await endLease({ sql }, id);
      await sql`select sweep_expired_leases()`;
    }
    return [id];
  },
  async "its workers give it back until nobody is left to try"({ sql }, user) {
    const id = await queueTask(sql, user);
    for (let attempt = 1; attempt <= 3; attempt++) {
      await running({ sql }, id);
      await setStatus(sql, id, "Queued");
    }
    return [id];
  },
  async "its worker crashes at the last attempt"({ sql }, user) {
    const id = await queueTask(sql, user);
    await sql`update tasks set max_attempts = 1 where id = ${id}`;
    await running({ sql }, id);
    await sql`select worker_heartbeat(null, 'worker', '{"status": "crashed"}')`;
    return [id];
  },
  async "what it depends on fails"({ sql }, user) {
    const needed = await queueTask(sql, user);
    const id = await queueTask(sql, user, { taskType: "travel_segment", dependantOn: [needed] });
    const last = await queueTask(sql, user, { dependantOn: [id] });
    await running({ sql }, needed);
    await setStatus(sql, needed, "Failed");
    return [needed, id, last];
  },
  async "a part of its orchestration fails"({ sql }, user) {
    const { root, children } = await orchestration({ sql }, user);
    await setStatus(sql, children[0] ?? "", "Failed");
    return [root, ...children];
  },
  async "it has waited until its hold was over"({ sql }, user) {
    const id = await queueTask(sql, user);
    await sql`update credit_holds set expires_at = now() where task_id = ${id}`;
    await sql`select give_up_old_tasks()`;
    return [id];
  },
  async "its row is written by its owner, over REST"({ sql, sessionAs }, user) {
    const id = await queueTask(sql, user);
    const owner = await sessionAs("authenticated", { sub: user.userId });
    await owner.query("update tasks set status = 'Cancelled' where id = $1", [id]);
    await owner.close();
    return [id];
  },
  async "its row is written by a worker, over REST"({ sql, sessionAs }, user) {
    const id = await queueTask(sql, user);
    await running({ sql }, id);
    const worker = await sessionAs("service_role");
    await worker.query("update tasks set status = 'Failed', error_message = 'out of memory' where id = $1", [
      id,
    ]);
    await worker.close();
    return [id];
  },
};

type Scene = Pick<DatabaseUnderTest, "sql">;

async function running({ sql }: Scene, id: string): Promise<{ attempt: number }> {
  const claimed = await claim(sql, "worker");
  assert.equal(claimed?.task_id, id);
  return claimed;
}

async function endLease({ sql }: Scene, id: string): Promise<void> {
  await sql`
    update tasks set lease_expires_at = now() - interval '1 second' where id = ${id} and status = 'In Progress'`;
}

async function orchestration(scene: Scene, user: TestUser): Promise<{ root: string; children: string[] }> {
  const { sql } = scene;
  const root = await queueTask(sql, user, {
    taskType: "travel_orchestrator",
    params: { orchestrator_details: { num_new_segments_to_generate: 3 } },
  });
  await running(scene, root);
  const children: string[] = [];
  for (let place = 0; place < 2; place++) {
    const params = { orchestrator_task_id_ref: root, segment_index: place };
    children.push(await queueTask(sql, user, { taskType: "travel_segment", params }));
    await running(scene, children[place] ?? "");
  }
  return { root, children };
}

for (const [ending, end] of Object.entries(endings)) {
  test(`check 8: when ${ending}, the net charge is 0 and nothing is held, in the same moment; x20`, (context) =>
    withDatabase(async (database) => {
      const { sql } = database;
      let tasks = 0;
      let slowest = 0;
      for (let round = 0; round < 20; round++) {
        const user = await createUser(sql, balance);
        const ids = await end(database, user);
        const rows = await sql<{ status: string; state: string | null; seconds: number | null }[]>`
          select tasks.status, hold.state,
                 abs(extract(epoch from hold.closed_at - tasks.updated_at))::float8 as seconds
            from tasks left join credit_holds as hold on hold.task_id = tasks.id where tasks.id = any (${ids})`;
        assert.equal(rows.length, ids.length);
        for (const { status, state, seconds } of rows) {
          assert.ok(status === "Failed" || status === "Cancelled", status);
          assert.ok(state === "released" || state === null, String(state));
          slowest = Math.max(slowest, seconds ?? 0);
        }
        assert.equal(rows.filter(({ state }) => state !== null).length > 0, true);
        assert.deepEqual(await accountOf(sql, user.userId), { balance, held: 0 });
        tasks += ids.length;
      }
      assert.ok(slowest <= 1);
      const [charged] =
        await sql`select count(*)::int as entries from credits_ledger where task_id is not null`;
      assert.equal(charged?.["entries"], 0);
      assert.deepEqual([...(await sql`select rule, row_id from find_task_faults()`)], []);
      context.diagnostic(`${tasks} tasks: 0 charged, released after ${slowest} s`);
    }));
}

test("check 8: five attempts, of which the last completes, are billed as one; x40", (context) =>
  withDatabase(async ({ sql }) => {
    const random = randomFrom(8);
    let billed = 0;
    for (let round = 0; round < 40; round++) {
      const user = await createUser(sql, balance);
      const id = await queueTask(sql, user, { taskType: "travel_segment" });
      await sql`update tasks set max_attempts = 5 where id = ${id}`;
      // Half of them fail for good first, and are retried by their owner.
      const failures = random() < 0.5 ? 4 : 5 + 4;
      for (let failed = 1; failed <= failures; failed++) {
        const { attempt } = await running({ sql }, id);
        await sql`update tasks set generation_started_at = now() - interval '15 minutes' where id = ${id}`;
        const way = Math.floor(random() * 3);
        if (way === 0) {
          await endLease({ sql }, id);
          await sql`select sweep_expired_leases()`;
        } else if (way === 1) await setStatus(sql, id, "Queued");
        else await sql`select worker_heartbeat(null, 'worker', '{"status": "crashed"}')`;
        // The one that lost it has finished after all.
        assert.notEqual(
          await refusedWith(
            sql`select complete_task(null, ${id}, output_text => 'late', for_worker => 'worker', for_attempt => ${attempt})`,
          ),
          "none",
        );
        if (failed === 5) {
          const [row] = await sql`select status from tasks where id = ${id}`;
          assert.equal(row?.["status"], "Failed");
          await sql`select update_task_status(${user.userId}, 'user', ${id}, 'Queued')`;
        }
      }
      const { attempt } = await running({ sql }, id);
      assert.equal(attempt, failures + 1);
      await sql`update tasks set generation_started_at = now() - interval '2.5 seconds' where id = ${id}`;
      for (let repeat = 0; repeat < 2; repeat++)
        await sql`select complete_task(null, ${id}, output_text => 'done', for_worker => 'worker', for_attempt => ${attempt})`;

      const entries = await sql<{ charge: number; seconds: number }[]>`
        select -amount_microusd::int as charge,
               ceil(extract(epoch from generation_processed_at - generation_started_at))::int as seconds
          from credits_ledger join tasks on tasks.id = task_id where task_id = ${id}`;
      assert.equal(entries.length, 1);
      assert.ok(entries[0]);
      assert.ok(entries[0].seconds < 60, "the runs that failed are not in it");
      assert.equal(entries[0].charge, entries[0].seconds * 278);
      assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - entries[0].charge, held: 0 });
      billed += entries.length;
    }
    assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
    context.diagnostic(`40 tasks in five to ten attempts: ${billed} spends`);
  }));

test("check 7: 300 tasks whose workers vanished are released within a minute of their lease, and not before it ends", (context) =>
  withDatabase(async ({ sql }) => {
    const users = [];
    for (let number = 0; number < 60; number++) {
      const user = await createUser(sql, balance);
      const requests = Array.from({ length: 5 }, () => ({
        task_type: "z_image_turbo",
        params: { prompt: "a fox" },
        project_id: user.projectId,
        max_attempts: 1,
      }));
      await sql`select create_task(null, ${sql.json(requests)}, true)`;
      users.push(user);
    }
    for (const worker of ["silent", "heartbeating"]) {
      await sql`select worker_heartbeat(null, ${worker}, '{"status": "active"}')`;
      await sql`update workers set heartbeats = ${worker === "heartbeating"} where id = ${worker}`;
      for (let batch = 0; batch < 3; batch++)
        await sql`select claim_next_task(for_worker => ${worker}, max_tasks => 50)`;
    }
    const held = async () =>
      Number((await sql`select sum(held_microusd) as held from credit_accounts`)[0]?.["held"]);
    const leases = await sql<{ worker_id: string; seconds: number; count: number }[]>`
      select worker_id, round(extract(epoch from lease_expires_at - generation_started_at))::int as seconds, count(*)::int
        from tasks where status = 'In Progress' group by 1, 2 order by 2`;
    assert.deepEqual(
      leases.map(({ worker_id, seconds, count }) => [worker_id, seconds, count]),
      [
        ["heartbeating", 60, 150],
        ["silent", 600, 150],
      ],
    );
    assert.equal(await held(), 300 * 6_500);
    await sql`select tend_queue()`;
    assert.equal(await held(), 300 * 6_500, "a lease that goes on is left alone");

    // As much time passes as the longest lease has, and no more.
    await sql`update tasks set lease_expires_at = lease_expires_at - interval '10 minutes 1 second'`;
    // Every 5 s where a scheduler of the database does it, every 2 s where a host does.
    const slowestSeconds = 5;
    let sweeps = 0;
    while ((await held()) > 0) {
      await sql`select tend_queue()`;
      sweeps++;
      assert.ok(sweeps * slowestSeconds <= 60, "released within lease + 60 s");
    }
    for (const { userId } of users) assert.deepEqual(await accountOf(sql, userId), { balance, held: 0 });
    assert.deepEqual([...(await sql`select rule, row_id from find_task_faults()`)], []);
    context.diagnostic(
      `300 tasks released by ${sweeps} sweeps: at most ${sweeps * slowestSeconds} s after their lease`,
    );
  }));
