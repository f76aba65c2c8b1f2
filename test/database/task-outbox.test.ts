import assert from "node:assert/strict";
import { test } from "node:test";
import { json, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../support/factories.ts";
import { brokenPromises } from "../support/queue-rows.ts";

/** Creates tasks in batches, as a client would. @returns their ids */
async function createMany(
  sql: Sql,
  { projectId }: TestUser,
  count: number,
  more: object,
  params: object = {},
): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < count) {
    const tasks = Array.from({ length: Math.min(100, count - ids.length) }, () => ({
      task_type: "z_image_turbo",
      project_id: projectId,
      params: { prompt: "a fox", ...params },
      ...more,
    }));
    const [row] = await sql.query<{ created: { task_ids: string[] } }[]>(
      "select create_task(null, $1::jsonb, true) as created",
      [json(tasks)],
    );
    ids.push(...(row?.created.task_ids ?? []));
  }
  return ids;
}

/** @returns how many calls did something */
async function drain(sql: Sql): Promise<number> {
  for (let calls = 0; ; calls++) {
    const [row] = await sql<{ did: number }[]>`select run_task_outbox() as did`;
    if (row?.did === 0) return calls;
    assert.ok(calls < 1000, "the outbox does not empty");
  }
}

async function assertSound(sql: Sql): Promise<void> {
  assert.deepEqual([...(await brokenPromises(sql))], []);
  assert.deepEqual([...(await wrongAccounts(sql))], []);
}

async function countOf(sql: Sql, condition: string): Promise<number> {
  const [row] = await sql.query<{ count: number }[]>(
    `select count(*)::int as count from tasks where ${condition}`,
  );
  return row?.count ?? -1;
}

async function setCloud(sql: Sql, { userId }: TestUser, inCloud: boolean): Promise<void> {
  await sql`update users set settings = ${json({ ui: { generationMethods: { inCloud, onComputer: true } } })}
             where id = ${userId}`;
}

async function hold(session: Session, user: TestUser): Promise<void> {
  await session.query("begin");
  await session.query("select lock_tenant($1)", [user.userId]);
}

test("check 81: of 4,000 free dependants of one paid task a thousand are created; its completion changes twenty of them, the outbox the rest in batches", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const paid = await queueTask(sql, user);
    await setCloud(sql, user, false);
    let created = 0;
    let refused = "none";
    while (created < 4000 && refused === "none") {
      refused = await refusedWith(createMany(sql, user, 100, { dependant_on: [paid] }));
      if (refused === "none") created += 100;
    }
    assert.equal(refused, "task_limit_reached");
    assert.equal(created, 1000);
    await setCloud(sql, user, true);

    assert.equal((await claim(sql, "worker"))?.task_id, paid);
    await complete(sql, paid);
    const changed = await sql`
      select from tasks where xmin = (select xmin from tasks where id = ${paid})`;
    assert.equal(changed.length, 21, "the task and twenty dependants");
    assert.equal(await countOf(sql, "unmet_dependencies = 1"), 980);
    await assertSound(sql);

    const [first] = await sql<{ did: number }[]>`select run_task_outbox(at_most => 50) as did`;
    assert.equal(first?.did, 50);
    assert.equal(await countOf(sql, "unmet_dependencies = 1"), 930);
    await assertSound(sql);
    assert.ok((await drain(sql)) > 1);
    assert.equal(await countOf(sql, "unmet_dependencies = 1"), 0);
    assert.equal((await sql`select from task_outbox`).length, 0);
    await assertSound(sql);
  }));

test("check 81: dependants of a failed task that wait for the outbox are not claimed, and then fail, each with a live event and its hold released", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const parent = await queueTask(sql, user);
    const ids = await createMany(sql, user, 60, { dependant_on: [parent] });
    const further = await queueTask(sql, user, { dependantOn: [ids[59] ?? ""] });
    await setStatus(sql, parent, "Failed");
    assert.equal(await countOf(sql, "status = 'Failed'"), 21);
    assert.equal(await claim(sql, "worker"), null);
    assert.equal(await claim(sql, "own", user.userId), null);
    await assertSound(sql);

    await drain(sql);
    assert.equal(await countOf(sql, "error_message = 'dependency_failed'"), 61);
    assert.equal(await countOf(sql, `id = '${further}' and status = 'Failed'`), 1);
    assert.equal((await accountOf(sql, user.userId)).held, 0);
    const events = await sql`
      select from realtime.messages where event = 'task-update' and payload ->> 'status' = 'Failed'`;
    assert.equal(events.length, 62);
    await assertSound(sql);
  }));

/** An orchestrator with so many children, of which one runs and one is complete. */
async function orchestration(sql: Sql, user: TestUser, children: number) {
  const orchestrator = await queueTask(sql, user, {
    taskType: "travel_orchestrator",
    params: { orchestrator_details: { num_new_segments_to_generate: children + 10 } },
  });
  assert.equal((await claim(sql, "planner"))?.task_id, orchestrator);
  const parts = await createMany(
    sql,
    user,
    children,
    { task_type: "travel_segment" },
    { orchestrator_task_id_ref: orchestrator },
  );
  // The last by id, which the outbox would reach last.
  await sql`
    update tasks set priority = 1
     where id in (select id from tasks where orchestrator_task_id = ${orchestrator} order by id desc limit 2)`;
  const done = await claim(sql, "worker");
  assert.ok(done);
  await complete(sql, done.task_id);
  const running = await claim(sql, "worker");
  assert.ok(running);
  return { orchestrator, parts, done: done.task_id, running: running.task_id };
}

for (const status of ["Cancelled", "Complete"] as const) {
  test(`check 81: parts of an orchestration that is ${status} neither run nor complete while they wait for the outbox, and it is charged once`, () =>
    withDatabase(async ({ sql }) => {
      const user = await createUser(sql, 1_000_000_000);
      const { orchestrator, running, parts } = await orchestration(sql, user, 80);
      await sql`update queue_settings set direct_cascade = 2`;
      if (status === "Complete") await complete(sql, orchestrator);
      else await setStatus(sql, orchestrator, status);
      const ended = await countOf(sql, "status = 'Cancelled'");
      assert.ok(ended <= 5, `${ended} ended at once`);
      assert.equal(await refusedWith(complete(sql, running)), "task_cancelled");
      const before = await accountOf(sql, user.userId);
      assert.equal(before.held, 0);
      assert.ok(before.balance < 1_000_000_000, "the complete part is charged");
      await assertSound(sql);

      // A claim meets parts that wait, and ends those that it meets.
      const open = await countOf(sql, "status = 'Queued'");
      assert.equal(await claim(sql, "worker"), null);
      assert.equal(await claim(sql, "own", user.userId), null);
      assert.equal(await countOf(sql, "status = 'In Progress'"), 0);
      const left = await countOf(sql, "status = 'Queued'");
      assert.ok(left < open && left > 0, `${left} of ${open} left`);
      await assertSound(sql);
      assert.equal(
        await refusedWith(
          queueTask(sql, user, {
            taskType: "travel_segment",
            params: { orchestrator_task_id_ref: orchestrator },
          }),
        ),
        "orchestrator_finished",
      );

      await drain(sql);
      assert.equal(await countOf(sql, "status in ('Queued', 'In Progress')"), 0);
      assert.equal(
        await countOf(sql, "status = 'Cancelled' and orchestrator_task_id is not null"),
        parts.length - 1,
      );
      assert.deepEqual(await accountOf(sql, user.userId), before);
      await assertSound(sql);
    }));
}

test("check 81: parts of an orchestration within one that is cancelled do not run while the outer one's end is under way", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, 1_000_000_000);
    const outer = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 9 } },
    });
    // The one that is left to the outbox, with the only parts that could run.
    await createMany(
      sql,
      user,
      4,
      { run_after: new Date(Date.now() + 3_600_000) },
      {
        orchestrator_task_id_ref: outer,
      },
    );
    const inner = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: {
        orchestrator_details: { num_new_segments_to_generate: 2 },
        orchestrator_task_id_ref: outer,
      },
    });
    assert.equal((await claim(sql, "planner"))?.task_id, outer);
    assert.equal((await claim(sql, "planner"))?.task_id, inner);
    await createMany(sql, user, 3, { task_type: "travel_segment" }, { orchestrator_task_id_ref: inner });
    await sql`update queue_settings set direct_cascade = 2`;
    await setStatus(sql, outer, "Cancelled");
    assert.equal(await countOf(sql, `id = '${inner}' and status = 'In Progress'`), 1, "the outbox has it");
    assert.equal(await claim(sql, "worker"), null);
    assert.equal(await countOf(sql, "task_type = 'travel_segment' and status = 'Cancelled'"), 3);
    assert.equal(
      await refusedWith(
        queueTask(sql, user, { taskType: "travel_segment", params: { orchestrator_task_id_ref: inner } }),
      ),
      "orchestrator_finished",
    );
    await assertSound(sql);
    await drain(sql);
    assert.equal(await countOf(sql, "status in ('Queued', 'In Progress')"), 0);
    await assertSound(sql);
  }));

test("check 81: a batch that is rolled back is done again, one that runs twice changes nothing more, and of two at once one passes over the user", () =>
  withDatabase(async ({ sql, session }) => {
    const user = await createUser(sql);
    const parent = await queueTask(sql, user);
    await createMany(sql, user, 50, { dependant_on: [parent] });
    await claim(sql, "worker");
    await complete(sql, parent);
    const [first, second] = [await session(), await session()];

    await first.query("begin");
    await first.query("select run_task_outbox(10)");
    const { rows } = await second.query<{ did: number }>("select run_task_outbox(10) as did");
    assert.equal(rows[0]?.did, 0);
    await first.query("rollback");
    assert.equal(await countOf(sql, "unmet_dependencies = 1"), 30);

    // The same note twice, as after a crash between two completions of it.
    await sql`insert into task_outbox (kind, subject_id, user_id) select kind, subject_id, user_id from task_outbox`;
    await drain(sql);
    assert.equal(await countOf(sql, "unmet_dependencies = 0 and status = 'Queued'"), 50);
    await assertSound(sql);
  }));

test("check 81: a task that is queued again before the outbox has ended its dependants leaves those that are left waiting for it", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const parent = await queueTask(sql, user);
    await createMany(sql, user, 30, { dependant_on: [parent] });
    await setStatus(sql, parent, "Failed");
    await setStatus(sql, parent, "Queued");
    await drain(sql);
    assert.equal(await countOf(sql, "status = 'Queued' and unmet_dependencies = 1"), 10);
    await claim(sql, "worker");
    await complete(sql, parent);
    assert.equal(await countOf(sql, "status = 'Queued' and unmet_dependencies = 0"), 10);
    await assertSound(sql);
  }));

test("a complete task that is deleted before the outbox has released its dependants releases them, and a failed orchestrator ends its parts", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, 1_000_000_000);
    const parent = await queueTask(sql, user);
    await createMany(sql, user, 30, { dependant_on: [parent] });
    await claim(sql, "worker");
    await complete(sql, parent);
    await sql`delete from tasks where id = ${parent}`;
    assert.equal(await countOf(sql, "status = 'Queued' and unmet_dependencies = 0"), 30);
    await drain(sql);
    await assertSound(sql);

    const { orchestrator } = await orchestration(sql, await createUser(sql, 1_000_000_000), 40);
    await setStatus(sql, orchestrator, "Cancelled");
    await sql`delete from tasks where id = ${orchestrator}`;
    assert.equal(
      await countOf(sql, "task_type = 'travel_segment' and status in ('Queued', 'In Progress')"),
      0,
    );
    await drain(sql);
    await assertSound(sql);
  }));

/** Work of every kind that maintenance does, for one user: a schedule that is due, a lease that is over, a row of the outbox, a noted result. */
async function overdueWork({ sql }: DatabaseUnderTest, user: TestUser): Promise<void> {
  await sql`update projects set reuses_results = true where id = ${user.projectId}`;
  const own = async (worker: string, expected: string) =>
    assert.equal((await claim(sql, worker, user.userId))?.task_id, expected);
  const parent = await queueTask(sql, user);
  await createMany(sql, user, 25, { dependant_on: [parent] });
  await own("parents", parent);
  await complete(sql, parent, { forUser: user.userId });
  const leader = await queueTask(sql, user, { params: { prompt: "a fox", seed: 7 }, priority: 9 });
  await createMany(sql, user, 22, {}, { seed: 7 });
  await own("leaders", leader);
  await complete(sql, leader, { forUser: user.userId });
  const silent = await queueTask(sql, user, { priority: 9 });
  await own("silent", silent);
  await sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${silent}`;
  const due = await queueTask(sql, user, { runAfter: new Date(Date.now() + 3_600_000) });
  await sql`update tasks set run_after = now() - interval '1 hour' where id = ${due}`;
}

const overdue = (user: TestUser) => `user_id = '${user.userId}' and (is_scheduled or is_following
  or unmet_dependencies > 0 or status = 'In Progress' and lease_expires_at < now())`;

test("check 82: while one user's tenant is locked, claims and every kind of maintenance serve the others and wait for nothing", () =>
  withDatabase(async (database) => {
    const { sql, session } = database;
    const users = [];
    for (let count = 0; count < 3; count++) {
      const user = await createUser(sql);
      await overdueWork(database, user);
      users.push(user);
    }
    const [busy, ...others] = users as [TestUser, TestUser, TestUser];
    const holder = await session();
    await hold(holder, busy);
    const waiting = await countOf(sql, overdue(busy));
    assert.ok(waiting > 0);

    // A connection whose statements may not wait for a lock at all.
    const upkeep = await session();
    await upkeep.query("set lock_timeout = '50ms'");
    for (let round = 0; round < 20; round++) {
      await upkeep.query("select tend_queue()");
      await upkeep.query("select settle_followers()");
      await upkeep.query("select run_task_outbox()");
      await upkeep.query("select give_up_old_tasks()");
      await upkeep.query("select rescue_worker_tasks('silent', $1, 'worker_crashed')", [busy.userId]);
    }
    for (const other of others) assert.equal(await countOf(sql, overdue(other)), 0);
    assert.equal(await countOf(sql, overdue(busy)), waiting);

    // Claims serve the others; where nobody tends the queue they do it themselves, and wait no more for it.
    const claimer = await session();
    await claimer.query("set lock_timeout = '50ms'");
    for (const tendedAt of ["now", "-infinity"]) {
      await sql.query("update queue_settings set tended_at = $1::text::timestamptz", [tendedAt]);
      const claimed = await claim(claimer, "worker");
      assert.ok(claimed);
    }
    await holder.query("commit");
    for (let round = 0; round < 20; round++) {
      await upkeep.query("select tend_queue()");
      await upkeep.query("select settle_followers()");
      await upkeep.query("select run_task_outbox()");
    }
    assert.equal(await countOf(sql, overdue(busy)), 0);
    await assertSound(sql);
  }));

test("check 82: a row that is locked longer than 200 ms is left for another time, and the users after it are served", () =>
  withDatabase(async ({ sql, session }) => {
    const users = [await createUser(sql), await createUser(sql)].sort((one, other) =>
      one.userId < other.userId ? -1 : 1,
    ) as [TestUser, TestUser];
    const dependants: string[][] = [];
    for (const user of users) {
      const parent = await queueTask(sql, user);
      dependants.push(await createMany(sql, user, 30, { dependant_on: [parent] }));
      await claim(sql, "worker", user.userId);
      await complete(sql, parent, { forUser: user.userId });
    }
    const holder = await session();
    await holder.query("begin");
    await holder.query("select from tasks where id = any($1) for no key update", [dependants[0]]);
    const [row] = await sql<{ did: number }[]>`
      select run_task_outbox(start_at => '00000000-0000-0000-0000-000000000000') as did`;
    assert.equal(row?.did, 11, "ten dependants of the second user, and their row");
    assert.equal(await countOf(sql, `user_id = '${users[1].userId}' and unmet_dependencies > 0`), 0);
    await holder.query("commit");
    await drain(sql);
    await assertSound(sql);
  }));

test("a claim does no maintenance while a timer tends the queue", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const due = await queueTask(sql, user, { runAfter: new Date(Date.now() + 3_600_000) });
    await sql`update tasks set run_after = now() - interval '1 hour' where id = ${due}`;
    await sql`update queue_settings set tended_at = now()`;
    assert.equal(await claim(sql, "worker"), null);
    await sql`update queue_settings set tended_at = now() - interval '16 seconds'`;
    assert.equal((await claim(sql, "worker"))?.task_id, due);
  }));

test("one user's due schedules and silent runs are a bounded part of each pass, so others' pass with them", () =>
  withDatabase(async ({ sql }) => {
    const [many, one] = [await createUser(sql), await createUser(sql)];
    await createMany(sql, many, 120, { run_after: new Date(Date.now() + 3_600_000) });
    const last = await queueTask(sql, one, { runAfter: new Date(Date.now() + 3_600_000) });
    await sql`update tasks set run_after = now() - interval '2 hours' where user_id = ${many.userId}`;
    await sql`update tasks set run_after = now() - interval '1 hour' where id = ${last}`;
    await sql`select release_scheduled_tasks(100)`;
    assert.equal(await countOf(sql, "not is_scheduled"), 51);
    assert.equal(await countOf(sql, `not is_scheduled and id = '${last}'`), 1);
    await assertSound(sql);
  }));

test("check 83: a project with much in it is hidden when its owner deletes it, and goes in batches; a small one goes at once", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 1_000_000_000);
    const [second] = await sql<{ id: string }[]>`
      insert into projects (user_id, name) values (${user.userId}, 'small') returning id`;
    const small = { userId: user.userId, projectId: second?.id ?? "" };
    await orchestration(sql, user, 60);
    await queueTask(sql, small);
    await sql`insert into generations (project_id, location)
              select ${user.projectId}, 'https://media.example/' || n || '.png' from generate_series(1, 150) as n`;
    const browser = await database.sessionAs("authenticated", { sub: user.userId });
    const remove = (id: string) => browser.query("delete from projects where id = $1", [id]);

    await remove(small.projectId);
    assert.equal((await sql`select from projects where id = ${small.projectId}`).length, 0);
    await remove(user.projectId);
    const { rows } = await browser.query("select id from projects");
    assert.deepEqual(rows, []);
    assert.equal(await refusedWith(queueTask(sql, user)), "project_not_found");
    await remove(user.projectId);
    assert.equal((await sql`select from task_outbox where kind = 'delete_project'`).length, 1);
    await assertSound(sql);

    assert.ok((await drain(sql)) > 1);
    assert.equal((await sql`select from projects`).length, 0);
    assert.equal((await sql`select from tasks`).length, 0);
    assert.equal((await accountOf(sql, user.userId)).held, 0);
    const [charged] = await sql`select count(*)::int as count from credits_ledger where type = 'spend'`;
    assert.equal(charged?.["count"], 1, "the part that was complete is paid");
    await assertSound(sql);
  }));

test("an account with much in it is emptied in batches before it is deleted, and a small one goes at once", () =>
  withDatabase(async ({ sql }) => {
    const [small, large] = [await createUser(sql), await createUser(sql, 1_000_000_000)];
    const empty = async (userId: string) =>
      (await sql<{ did: number | null }[]>`select empty_account(${userId}) as did`)[0]?.did ?? null;
    await orchestration(sql, large, 60);
    await queueTask(sql, small);
    assert.equal(await empty(small.userId), null);
    assert.equal((await sql`select from projects where id = ${small.projectId}`).length, 1, "left as it is");
    await sql`insert into generations (project_id, location)
              select ${large.projectId}, 'https://media.example/' || n || '.png' from generate_series(1, 450) as n`;
    let batches = 0;
    for (let did = await empty(large.userId); did !== null; did = await empty(large.userId)) {
      assert.ok(did > 0 && did <= 200, `${did} rows in a batch`);
      batches++;
      await assertSound(sql);
    }
    assert.ok(batches > 3, `${batches} batches`);
    await sql`delete from auth.users where id = ${large.userId}`;
    assert.equal((await accountOf(sql, large.userId)).held, 0);
    const [charged] = await sql`select count(*)::int as count from credits_ledger where type = 'spend'`;
    assert.equal(charged?.["count"], 1, "the part that was complete is paid");
    await drain(sql);
    assert.deepEqual([...(await sql`select from task_outbox`)], []);
    await assertSound(sql);
  }));

test("doctor() names rows of the outbox that nobody works off", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await sql`insert into task_outbox (kind, subject_id, user_id, created_at)
              values ('release_dependants', ${user.userId}, ${user.userId}, now() - interval '6 minutes')`;
    const [report] = await sql<{ report: { faults: { rule: string }[] } }[]>`select doctor() as report`;
    assert.deepEqual(
      report?.report.faults.map(({ rule }) => rule),
      ["outbox_is_not_worked_off"],
    );
    await drain(sql);
    await assertSound(sql);
  }));
