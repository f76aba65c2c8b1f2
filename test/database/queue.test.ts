import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type Session, withDatabase } from "../support/database.ts";
import {
  claim,
  type Claimed,
  complete,
  createUser,
  queueTask,
  setStatus,
  stopTending,
  type TestUser,
} from "../support/factories.ts";

interface ClaimOptions {
  forUser?: string;
  worker?: string;
  runType?: string;
  taskTypes?: string[];
  models?: string[];
  maxTasks?: number;
  debug?: boolean;
}

async function claimWith(sql: Sql, options: ClaimOptions): Promise<Record<string, unknown> | null> {
  const [row] = await sql<{ claimed: Record<string, unknown> | null }[]>`
    select claim_next_task(
      for_user => ${options.forUser ?? null}, for_worker => ${options.worker ?? "worker"},
      for_run_type => ${options.runType ?? null}, only_task_types => ${options.taskTypes ?? null},
      only_models => ${options.models ?? null}, max_tasks => ${options.maxTasks ?? null},
      debug => ${options.debug ?? false}) as claimed`;
  return row?.claimed ?? null;
}

async function reasons(sql: Sql, options: ClaimOptions = {}): Promise<Record<string, number>> {
  const answer = await claimWith(sql, { ...options, debug: true });
  assert.ok(answer?.["debug"], "the claim got nothing");
  const counts = Object.entries(answer["debug"] as Record<string, number>);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

async function secondProject(sql: Sql, { userId }: TestUser, limit: number | null = null): Promise<TestUser> {
  const [row] = await sql<{ id: string }[]>`
    insert into projects (user_id, name, max_running_tasks) values (${userId}, 'second', ${limit}) returning id`;
  return { userId, projectId: row?.id ?? "" };
}

test("a scheduled task is not claimed before its time, and is at once when it comes", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const later = await queueTask(sql, user, { runAfter: new Date(Date.now() + 3_600_000) });
    const past = await queueTask(sql, user, { runAfter: new Date(Date.now() - 1000) });
    assert.equal((await claim(sql, "w"))?.task_id, past);
    assert.equal(await claim(sql, "w"), null);
    assert.deepEqual(await reasons(sql), { queued: 1, scheduled: 1 });

    await sql`update tasks set run_after = now() - interval '1 second' where id = ${later}`;
    await stopTending(sql);
    assert.equal((await claim(sql, "w"))?.task_id, later);
  }));

test("a scheduled task that waits for another waits for both", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const dependency = await queueTask(sql, user);
    const runAfter = new Date(Date.now() + 3_600_000);
    const [first, second] = [
      await queueTask(sql, user, { dependantOn: [dependency], runAfter }),
      await queueTask(sql, user, { dependantOn: [dependency], runAfter }),
    ];
    // The first's time comes before the dependency is complete, the second's after.
    await sql`update tasks set run_after = now() where id = ${first}`;
    await sql`select tend_queue()`;
    await claim(sql, "w");
    assert.equal(await claim(sql, "w"), null);
    await complete(sql, dependency, { worker: "w" });
    assert.equal((await claim(sql, "w"))?.task_id, first);
    assert.equal(await claim(sql, "w"), null);
    await sql`update tasks set run_after = now() where id = ${second}`;
    await sql`select tend_queue()`;
    assert.equal((await claim(sql, "w"))?.task_id, second);
  }));

test("two releases of scheduled tasks at once let each go once, and neither waits", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    await queueTask(database.sql, user, { runAfter: new Date(Date.now() + 1000) });
    await database.sql`update tasks set run_after = now()`;
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    await first.query("select tend_queue()");
    await second.query("set lock_timeout = '1ms'");
    await second.query("select tend_queue()");
    await first.query("commit");
    const { rows } = await second.query("select count(*)::int as count from tasks where is_scheduled");
    assert.deepEqual(rows, [{ count: 0 }]);
    assert.ok(await claim(second, "w"));
    assert.equal(await claim(second, "w"), null);
  }));

test("max_tasks gives up to so many at once, of different users in turn, and never more than their slots", () =>
  withDatabase(async ({ sql }) => {
    const users = [await createUser(sql), await createUser(sql)];
    for (const user of users) for (let task = 0; task < 7; task++) await queueTask(sql, user);
    const owners = async (answer: Record<string, unknown> | null) => {
      assert.ok(answer, "the claim got tasks");
      const ids = (answer["tasks"] as Claimed[]).map(({ task_id }) => task_id);
      const rows = await sql<{ user_id: string }[]>`
        select user_id from unnest(${ids}::uuid[]) with ordinality as given (id, position)
          join tasks using (id) order by position`;
      return rows.map(({ user_id }) => users.findIndex(({ userId }) => userId === user_id));
    };
    const four = await owners(await claimWith(sql, { maxTasks: 4 }));
    assert.ok(four[0] !== four[1] && four[2] !== four[3], `in turn: ${four.join()}`);
    assert.equal((await owners(await claimWith(sql, { maxTasks: 50 }))).length, 6);
    assert.equal(await claimWith(sql, { maxTasks: 50 }), null);
    const single = await claimWith(sql, { maxTasks: 1, forUser: users[0]?.userId ?? "" });
    assert.equal(single, null);
  }));

test("within a user, priority and age decide across models and types", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const low = await queueTask(sql, user, { params: { model: "a" }, priority: -1 });
    const old = await queueTask(sql, user, { params: { model: "b" } });
    const young = await queueTask(sql, user, { taskType: "qwen_image", params: { model: "c" } });
    const urgent = await queueTask(sql, user, {
      taskType: "qwen_image",
      params: { model: "a" },
      priority: 5,
    });
    const order = [];
    for (let task = 0; task < 4; task++) order.push((await claim(sql, "w"))?.task_id);
    assert.deepEqual(order, [urgent, old, young, low]);
  }));

test("a token's claim takes its owner's best task, its loaded model first", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const other = await queueTask(sql, user, { params: { model: "a" } });
    const warm = await queueTask(sql, user, { params: { model: "b" } });
    await sql`insert into workers (id, user_id, current_model) values (${`${user.userId}:mine`}, ${user.userId}, 'b')`;
    assert.equal((await claim(sql, "mine", user.userId))?.task_id, warm);
    assert.equal((await claim(sql, "mine", user.userId))?.task_id, other);
  }));

test("a project's limit holds, and holds up no other project of its owner", () =>
  withDatabase(async ({ sql }) => {
    const free = await createUser(sql);
    const limited = await secondProject(sql, free, 2);
    const first = await queueTask(sql, limited);
    for (let task = 0; task < 3; task++) await queueTask(sql, limited);
    for (let task = 0; task < 2; task++) await queueTask(sql, free);
    const projects = [];
    for (let task = 0; task < 4; task++) {
      const [row] =
        await sql`select project_id from tasks where id = ${(await claim(sql, "w"))?.task_id ?? ""}`;
      projects.push(row?.["project_id"]);
    }
    assert.equal(projects.filter((id) => id === limited.projectId).length, 2);
    assert.equal(projects.filter((id) => id === free.projectId).length, 2);
    assert.equal(await claim(sql, "w"), null);
    assert.deepEqual(await reasons(sql), { queued: 2, at_project_limit: 2 });

    await complete(sql, first, { worker: "w" });
    assert.ok(await claim(sql, "w"));
    assert.equal(await claim(sql, "w"), null);
  }));

test("a project's limit can be set, lowered, raised and lifted while its tasks wait and run", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const tasks = [];
    for (let task = 0; task < 6; task++) tasks.push(await queueTask(sql, user));
    const limit = (count: number | null) =>
      sql`update projects set max_running_tasks = ${count} where id = ${user.projectId}`;
    await claim(sql, "w");
    await claim(sql, "w");

    await limit(1);
    assert.equal(await claim(sql, "w"), null, "two run, one may");
    await complete(sql, tasks[0] ?? "", { worker: "w" });
    assert.equal(await claim(sql, "w"), null, "one runs");
    await limit(2);
    assert.ok(await claim(sql, "w"));
    assert.equal(await claim(sql, "w"), null);
    await limit(null);
    assert.ok(await claim(sql, "w"));
    assert.ok(await claim(sql, "w"));
    const lanes = await sql`select from task_lanes where project_id is not null and is_ready`;
    assert.equal(lanes.length, 0);
    const slots = await sql`select from project_slots`;
    assert.equal(slots.length, 0);
  }));

test("two claims at once share a project's last slot: one gets it, the other nothing, without waiting", () =>
  withDatabase(async (database) => {
    const user = await secondProject(database.sql, await createUser(database.sql), 1);
    await queueTask(database.sql, user);
    await queueTask(database.sql, user);
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    assert.ok(await claim(first, "one"));
    await second.query("set lock_timeout = '1ms'");
    assert.equal(await claim(second, "two"), null);
    await first.query("commit");
    assert.equal(await claim(second, "two"), null);
  }));

test("a task that is created while its project is being limited waits for the limit like the others", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    await queueTask(database.sql, user);
    const [limiting, creating] = [await database.session(), await database.session()];
    await limiting.query("begin");
    await limiting.query("update projects set max_running_tasks = 1 where id = $1", [user.projectId]);
    const created = queueTask(creating, user);
    await database.lockIsWaitedFor();
    await limiting.query("commit");
    await created;
    assert.ok(await claim(database.sql, "w"));
    assert.equal(await claim(database.sql, "w"), null);
  }));

test("a task type's limit holds over all users, and other types go on", () =>
  withDatabase(async ({ sql }) => {
    const users = [await createUser(sql), await createUser(sql)];
    for (const user of users) for (let task = 0; task < 2; task++) await queueTask(sql, user);
    const other = await queueTask(sql, users[0] as TestUser, { taskType: "qwen_image" });
    await sql`update task_types set max_running_tasks = 1 where name = 'z_image_turbo'`;
    const claimed = [await claim(sql, "w"), await claim(sql, "w")].map((task) => task?.task_id);
    assert.ok(claimed.includes(other));
    assert.equal(await claim(sql, "w"), null);
    assert.deepEqual(await reasons(sql), { queued: 3, at_task_type_limit: 3 });

    const running = claimed.find((id) => id !== other) ?? "";
    await setStatus(sql, running, "Failed", { worker: "w" });
    assert.ok(await claim(sql, "w"));
    await sql`update task_types set max_running_tasks = null where name = 'z_image_turbo'`;
    assert.ok(await claim(sql, "w"));
    assert.ok(await claim(sql, "w"));
    const [row] = await sql`select count(*)::int as slots from task_type_slots`;
    assert.equal(row?.["slots"], 0);
  }));

test("an empty claim is explained under the first reason that holds each task back", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const other = await createUser(sql);
    await queueTask(sql, other, { dependantOn: [await queueTask(sql, other, { params: { model: "a" } })] });
    assert.deepEqual(await reasons(sql, { runType: "gpu" }), { queued: 2, other_run_type: 2 });
    assert.deepEqual(await reasons(sql, { taskTypes: ["qwen_image"] }), { queued: 2, other_task_type: 2 });
    assert.deepEqual(await reasons(sql, { models: ["b"] }), { queued: 2, other_model: 2 });
    assert.deepEqual(await reasons(sql, { forUser: user.userId }), {});

    for (let task = 0; task < 6; task++) await queueTask(sql, user);
    for (let task = 0; task < 6; task++) await claim(sql, "w");
    assert.deepEqual(await reasons(sql), { queued: 2, blocked_by_dependency: 1, at_capacity: 1 });
    await sql`update users set settings = '{"ui":{"generationMethods":{"inCloud":false}}}' where id = ${user.userId}`;
    await queueTask(sql, user);
    assert.deepEqual(await reasons(sql), { queued: 3, blocked_by_dependency: 1, cloud_off: 2 });
    await sql`update users set settings = '{}' where id = ${user.userId}`;
    assert.deepEqual(await reasons(sql), {
      queued: 3,
      blocked_by_dependency: 1,
      at_capacity: 1,
      no_credits: 1,
    });
  }));

test("a lane that a claim empties is closed with it, so the next claim does not visit it", () =>
  withDatabase(async ({ sql }) => {
    for (let user = 0; user < 20; user++) await queueTask(sql, await createUser(sql));
    for (let task = 0; task < 20; task++) assert.ok(await claim(sql, "w"));
    assert.equal((await sql`select from task_lanes where is_open or is_ready`).length, 0);
  }));

test("the lanes of a user whose last slot is taken are closed with that claim, and opened when one is free", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const tasks = [];
    for (let task = 0; task < 12; task++)
      tasks.push(await queueTask(sql, user, { params: { model: `m${task % 3}` } }));
    for (let task = 0; task < 5; task++) await claim(sql, "w");
    const open = () => sql`select from task_lanes where is_open`;
    assert.equal((await open()).length, 0);
    await complete(sql, tasks[0] ?? "", { worker: "w" });
    assert.equal((await open()).length, 3);
  }));

test("turns behind the mark are skipped, and a user who comes new enters at the mark, not before or after all", () =>
  withDatabase(async ({ sql }) => {
    const users = [];
    for (let user = 0; user < 4; user++) users.push(await createUser(sql));
    const params = (model: string) => ({ params: { model } });
    for (const user of users) for (let task = 0; task < 40; task++) await queueTask(sql, user, params("a"));
    // As after a long time of claims elsewhere.
    await sql`select setval('task_turns', 100000)`;
    await sql`select setval('task_turns', 100000 + 16 - 100000 % 16)`;
    const drain = async (count: number) => {
      for (let task = 0; task < count; task++) {
        const claimed = await claim(sql, "w");
        await complete(sql, claimed?.task_id ?? "", { worker: "w" });
      }
    };
    await drain(40);
    const [mark] = await sql<
      { turn: string }[]
    >`select max(turn) as turn from turn_marks where model is null`;
    assert.ok(Number(mark?.turn) > 100_000, "the mark follows the turns");
    const newcomer = await createUser(sql);
    const theirs = await queueTask(sql, newcomer, params("b"));
    const [entered] = await sql<
      { turn: string }[]
    >`select turn from user_turns where user_id = ${newcomer.userId}`;
    assert.ok(Number(entered?.turn) >= Number(mark?.turn));
    const next = [];
    for (let task = 0; task < 5; task++) next.push((await claim(sql, "w"))?.task_id);
    assert.ok(next.includes(theirs), "served within one round");
  }));

test("a user whose turn is behind the mark all the same is brought back by the queue's upkeep", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await queueTask(sql, user);
    await sql`insert into turn_marks (kind, model, turn, created_at) values ('api', null, 500, now() - interval '5 seconds')`;
    await sql`update queue_settings set tended_at = now()`;
    assert.equal(await claim(sql, "w"), null);
    await sql`select tend_queue()`;
    assert.equal((await claim(sql, "w"))?.task_id, task);
  }));

test("a warm worker leaves its model for a task that waited too long, and overdue users take turns", () =>
  withDatabase(async ({ sql }) => {
    const [early, late] = [await createUser(sql), await createUser(sql)];
    for (let task = 0; task < 3; task++) await queueTask(sql, early, { params: { model: "flux" } });
    for (let task = 0; task < 3; task++) await queueTask(sql, late, { params: { model: "flux" } });
    await queueTask(sql, late, { params: { model: "warm" } });
    await sql`select update_worker_model('warm-worker', 'warm')`;
    await sql`update tasks set created_at = created_at - interval '10 minutes' where model = 'flux'`;
    await sql`update task_lanes set oldest_ready_at = oldest_ready_at - interval '10 minutes' where model = 'flux'`;
    await sql`select tend_queue()`;
    const served = [];
    for (let task = 0; task < 4; task++) {
      const claimed = await claim(sql, "warm-worker");
      assert.equal(claimed?.params["model"], "flux");
      const [row] = await sql`select user_id from tasks where id = ${claimed?.task_id ?? ""}`;
      served.push(row?.["user_id"] === early.userId ? "early" : "late");
    }
    assert.deepEqual([...served].sort(), ["early", "early", "late", "late"]);
    assert.notEqual(served[0], served[1]);
  }));

test("a user who turned their own computer off gets nothing by a token until they turn it on", () =>
  withDatabase(async ({ sql }) => {
    const { userId, ...user } = await createUser(sql);
    const task = await queueTask(sql, { userId, ...user });
    const choose = (methods: Record<string, boolean>) =>
      sql`update users set settings = ${sql.json({ ui: { generationMethods: methods } })} where id = ${userId}`;
    await choose({ onComputer: false, inCloud: true });
    assert.equal(await claim(sql, "mine", userId), null);
    assert.deepEqual(await reasons(sql, { forUser: userId }), { queued: 1, local_off: 1 });
    await choose({ onComputer: true, inCloud: false });
    assert.equal((await claim(sql, "mine", userId))?.task_id, task);
  }));

test("a task that is requeued or retried waits for the limit that its project got, or lost, since its run began", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const tasks = [await queueTask(sql, user), await queueTask(sql, user), await queueTask(sql, user)];
    const limit = (count: number | null) =>
      sql`update projects set max_running_tasks = ${count} where id = ${user.projectId}`;
    for (let task = 0; task < 3; task++) await claim(sql, "w");
    await limit(1);
    await setStatus(sql, tasks[1] ?? "", "Queued");
    await setStatus(sql, tasks[2] ?? "", "Failed");
    await setStatus(sql, tasks[2] ?? "", "Queued");
    assert.equal(await claim(sql, "w"), null, "one runs, one may");
    await complete(sql, tasks[0] ?? "", { worker: "w" });
    assert.ok(await claim(sql, "w"));
    assert.equal(await claim(sql, "w"), null);

    await limit(null);
    await setStatus(sql, tasks[1] ?? "", "Queued");
    assert.ok(await claim(sql, "w"), "nothing holds them back any more");
    assert.ok(await claim(sql, "w"));
  }));

test("a scheduled task that failed and is retried waits for its time all the same", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await queueTask(sql, user, { runAfter: new Date(Date.now() + 3_600_000) });
    await setStatus(sql, task, "Failed");
    await setStatus(sql, task, "Queued");
    assert.equal(await claim(sql, "w"), null);
    await sql`update tasks set run_after = now()`;
    await sql`select tend_queue()`;
    assert.equal((await claim(sql, "w"))?.task_id, task);
  }));

test("a task that is being claimed while its project is limited counts against the limit", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    for (let task = 0; task < 2; task++) await queueTask(database.sql, user);
    const [claimer, owner] = [await database.session(), await database.session()];
    await claimer.query("begin");
    assert.ok(await claim(claimer, "w"));
    const limited = owner.query("update projects set max_running_tasks = 1");
    await database.lockIsWaitedFor();
    await claimer.query("commit");
    await limited;
    assert.equal(await claim(database.sql, "w"), null);
  }));

test("a task that is being claimed while its type is limited counts against the limit", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    for (let task = 0; task < 2; task++) await queueTask(database.sql, user);
    const [claimer, operator] = [await database.session(), await database.session()];
    await claimer.query("begin");
    assert.ok(await claim(claimer, "w"));
    const limited = operator.query(
      "update task_types set max_running_tasks = 1 where name = 'z_image_turbo'",
    );
    await database.lockIsWaitedFor();
    await claimer.query("commit");
    await limited;
    assert.equal(await claim(database.sql, "w"), null);
  }));

test("a claim that is under way keeps others from all lanes of its user, not from the next user", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [many, few] = [await createUser(sql), await createUser(sql)];
    for (const model of ["a", "b", "c"]) await queueTask(sql, many, { params: { model } });
    const theirs = await queueTask(sql, few);
    // Holds the first claim where it has chosen its task and has not passed the turn.
    await sql.query(`
      create function hold_claim() returns trigger language plpgsql as $$
      begin
        if current_setting('application_name') = 'held' then perform pg_advisory_xact_lock(4711); end if;
        return new;
      end $$;
      create trigger hold_claim before update on tasks for each row execute function hold_claim()`);
    const [gate, first, second] = [
      await database.session(),
      await database.session(),
      await database.session(),
    ];
    await gate.query("select pg_advisory_lock(4711)");
    await first.query("set application_name = 'held'");
    // As nearly every worker asks: by run type alone.
    const claimOf = async (session: Session, worker: string): Promise<Claimed | null> => {
      const { rows } = await session.query(
        "select claim_next_task(for_worker => $1, for_run_type => 'api') as claimed",
        [worker],
      );
      return (rows[0] as { claimed: Claimed | null } | undefined)?.claimed ?? null;
    };
    const held = claimOf(first, "worker-1");
    await database.lockIsWaitedFor();
    await second.query("set lock_timeout = '1ms'");
    const meanwhile = await claimOf(second, "worker-2");
    await gate.query("select pg_advisory_unlock(4711)");
    assert.equal(meanwhile?.task_id, theirs);
    assert.ok((await held)?.params["model"]);
  }));

test("claims at the same moment serve different users, and one user's further slots only after them", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [many, few] = [await createUser(sql), await createUser(sql)];
    for (const model of ["a", "b", "c"]) await queueTask(sql, many, { params: { model } });
    await queueTask(sql, few);
    const ownerOf = async (taskId: string | undefined) =>
      (await sql<{ user_id: string }[]>`select user_id from tasks where id = ${taskId ?? ""}`)[0]?.user_id;
    const sessions = [await database.session(), await database.session(), await database.session()];
    const owners = [];
    const claimed = [];
    for (const [index, session] of sessions.entries()) {
      await session.query("begin");
      await session.query("set local lock_timeout = '1ms'");
      claimed.push(await claim(session, `worker-${index}`));
    }
    for (const session of sessions) await session.query("commit");
    for (const task of claimed) owners.push(await ownerOf(task?.task_id));
    assert.deepEqual(new Set(owners.slice(0, 2)), new Set([many.userId, few.userId]));
    assert.equal(owners[2], many.userId);
  }));
