import assert from "node:assert/strict";
import { test } from "node:test";
import { withDatabase } from "../support/database.ts";
import { claim, type Claimed, complete, createUser, queueTask, setStatus } from "../support/factories.ts";

test("claim_next_task() gives a task to one worker when two claim at once, and the other does not wait", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    const claimed = await claim(first, "worker-1");
    await second.query("set lock_timeout = '1ms'");
    const meanwhile = await claim(second, "worker-2");
    await first.query("commit");
    const after = await claim(second, "worker-2");

    assert.equal(claimed?.task_id, taskId);
    assert.equal(meanwhile, null);
    assert.equal(after, null);
  }));

test("claim_next_task() gives the second of two tasks of one user while the first is being claimed", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const tasks = [await queueTask(database.sql, user), await queueTask(database.sql, user)];
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    const one = await claim(first, "worker-1");
    const other = await claim(second, "worker-2");
    await first.query("commit");

    assert.deepEqual([one?.task_id, other?.task_id], tasks);
  }));

test("a claim that is rolled back leaves its task for the next", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await claim(first, "worker-1");
    assert.equal(await claim(second, "worker-2"), null);
    await first.query("rollback");

    const claimed = await claim(second, "worker-2");
    assert.equal(claimed?.task_id, taskId);
    assert.equal(claimed?.attempt, 1);
  }));

test("64 claimers on 200 tasks: every task is claimed exactly once, and no user has more than five running", () =>
  withDatabase(async (database) => {
    const users = await Promise.all(Array.from({ length: 50 }, () => createUser(database.sql)));
    for (const user of users) for (let task = 0; task < 4; task++) await queueTask(database.sql, user);
    // One more with a backlog deeper than the cap, so that the cap has something to hold back.
    const greedy = await createUser(database.sql);
    for (let task = 0; task < 12; task++) await queueTask(database.sql, greedy);

    const sessions = await Promise.all(Array.from({ length: 64 }, () => database.session()));
    const claimed: Claimed[] = [];
    await Promise.all(
      sessions.map(async (session, index) => {
        for (let empty = 0; empty < 3;) {
          const task = await claim(session, `worker-${index}`);
          if (task) claimed.push(task);
          else empty++;
        }
      }),
    );

    assert.equal(claimed.length, 205);
    assert.equal(new Set(claimed.map((task) => task.task_id)).size, 205);
    const running = await database.sql`
      select user_id, count(*)::int as tasks from tasks where status = 'In Progress' group by user_id`;
    assert.equal(Math.max(...running.map((row) => row["tasks"] as number)), 5);
    assert.equal(running.find((row) => row["user_id"] === greedy.userId)?.["tasks"], 5);
  }));

test("a user at the cap gets the next task when one of the five ends", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    for (let task = 0; task < 6; task++) await queueTask(database.sql, user);
    const running = [];
    for (let task = 0; task < 5; task++) running.push(await claim(database.sql, "worker"));

    assert.equal(await claim(database.sql, "worker"), null);
    await complete(database.sql, running[2]?.task_id ?? "");
    const sixth = await claim(database.sql, "worker");

    assert.ok(sixth);
    assert.equal(await claim(database.sql, "worker"), null);
  }));

test("a slot freed while a claim closes the lane leaves the lane open", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    for (let task = 0; task < 6; task++) await queueTask(database.sql, user);
    const running = [];
    for (let task = 0; task < 5; task++) running.push(await claim(database.sql, "worker"));
    const [finisher, claimer] = [await database.session(), await database.session()];

    await finisher.query("begin");
    await complete(finisher, running[0]?.task_id ?? "");
    const meanwhile = await claim(claimer, "worker-2");
    await finisher.query("commit");

    assert.equal(meanwhile, null);
    assert.ok(await claim(claimer, "worker-2"));
  }));

test("a task queued while a claim finds its lane empty is found by the next claim", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const [creator, claimer] = [await database.session(), await database.session()];
    await queueTask(database.sql, user);
    await claim(claimer, "worker");

    await creator.query("begin");
    const taskId = await queueTask(creator, user);
    const meanwhile = await claim(claimer, "worker");
    await creator.query("commit");

    assert.equal(meanwhile, null);
    assert.equal((await claim(claimer, "worker"))?.task_id, taskId);
  }));

test("orchestrators are claimed beside a user's five running tasks", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    for (let task = 0; task < 5; task++) await queueTask(database.sql, user);
    for (let task = 0; task < 5; task++) await claim(database.sql, "worker");
    const orchestrator = await queueTask(database.sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
    });

    assert.equal((await claim(database.sql, "worker"))?.task_id, orchestrator);
  }));

test("claims rotate over users, whoever came first with how much", () =>
  withDatabase(async (database) => {
    const users = await Promise.all(Array.from({ length: 4 }, () => createUser(database.sql)));
    for (const user of users) for (let task = 0; task < 5; task++) await queueTask(database.sql, user);

    const owners: string[] = [];
    for (let turn = 0; turn < 8; turn++) {
      const task = await claim(database.sql, "worker");
      const [row] = await database.sql`select user_id from tasks where id = ${task?.task_id ?? ""}`;
      owners.push(row?.["user_id"] as string);
    }

    const expected = users.map((user) => user.userId).sort();
    assert.deepEqual(owners.slice(0, 4).sort(), expected);
    assert.deepEqual(owners.slice(4).sort(), expected);
  }));

test("within a user, priority comes before age", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const older = await queueTask(database.sql, user);
    const urgent = await queueTask(database.sql, user, { priority: 10 });

    assert.equal((await claim(database.sql, "worker"))?.task_id, urgent);
    assert.equal((await claim(database.sql, "worker"))?.task_id, older);
  }));

test("a warm worker stays with its model until another model's task has waited too long", () =>
  withDatabase(async (database) => {
    const [first, second] = [await createUser(database.sql), await createUser(database.sql)];
    const waiting = await queueTask(database.sql, first, { params: { prompt: "a", model: "flux" } });
    for (let task = 0; task < 3; task++) {
      await queueTask(database.sql, second, { params: { prompt: "b", model: "z_image" } });
    }
    await database.sql`select update_worker_model('warm', 'z_image')`;

    const warm = await claim(database.sql, "warm");
    assert.equal(warm?.params["model"], "z_image");

    await database.sql`update tasks set created_at = now() - interval '6 minutes' where id = ${waiting}`;
    await database.sql`update task_lanes set oldest_ready_at = now() - interval '6 minutes' where model = 'flux'`;
    await database.sql`select tend_queue()`;
    assert.equal((await claim(database.sql, "warm"))?.task_id, waiting);
    assert.equal((await claim(database.sql, "warm"))?.params["model"], "z_image");
  }));

test("same_model_only gives a warm worker nothing of another model", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    await queueTask(database.sql, user, { params: { prompt: "a", model: "flux" } });
    await database.sql`select update_worker_model('warm', 'z_image')`;

    const [row] = await database.sql`
      select claim_next_task(for_worker => 'warm', same_model_only => true) as claimed`;
    assert.equal(row?.["claimed"], null);
    assert.ok(await claim(database.sql, "warm"));
  }));

test("run_type and task_types limit a claim", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    await queueTask(database.sql, user, { taskType: "qwen_image" });
    const claimed = async (runType: string | null, types: string[] | null) => {
      const [row] = await database.sql`
        select claim_next_task(for_worker => 'w', for_run_type => ${runType}, only_task_types => ${types}) as claimed`;
      return row?.["claimed"] as Claimed | null;
    };

    assert.equal(await claimed("gpu", null), null);
    assert.equal(await claimed(null, ["z_image_turbo"]), null);
    assert.ok(await claimed("api", ["qwen_image", "z_image_turbo"]));
  }));

test("a task waits for its dependencies and is claimed when the last is complete", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const [one, two] = [await queueTask(database.sql, user), await queueTask(database.sql, user)];
    const last = await queueTask(database.sql, user, { dependantOn: [one, two] });

    await claim(database.sql, "worker");
    await claim(database.sql, "worker");
    assert.equal(await claim(database.sql, "worker"), null);
    await complete(database.sql, one);
    assert.equal(await claim(database.sql, "worker"), null);
    await complete(database.sql, two);
    assert.equal((await claim(database.sql, "worker"))?.task_id, last);
  }));

test("two dependencies that complete at once release their dependant once", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const [one, two] = [await queueTask(database.sql, user), await queueTask(database.sql, user)];
    const last = await queueTask(database.sql, user, { dependantOn: [one, two] });
    await claim(database.sql, "worker");
    await claim(database.sql, "worker");
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await complete(first, one);
    const waiting = complete(second, two);
    await first.query("commit");
    await waiting;

    const [row] = await database.sql`select unmet_dependencies from tasks where id = ${last}`;
    assert.equal(row?.["unmet_dependencies"], 0);
    assert.equal((await claim(database.sql, "worker"))?.task_id, last);
  }));

test("a dependency that completes while its dependant is being created is not waited for", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const dependency = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const [finisher, creator] = [await database.session(), await database.session()];

    await finisher.query("begin");
    await complete(finisher, dependency);
    const creating = queueTask(creator, user, { dependantOn: [dependency] });
    await finisher.query("commit");
    const created = await creating;

    assert.equal((await claim(database.sql, "worker"))?.task_id, created);
  }));

test("tasks that were created with the cloud off are claimed by their owner's worker alone", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const other = await createUser(database.sql);
    await database.sql`
      update users set settings = '{"ui": {"generationMethods": {"inCloud": false}}}' where id = ${user.userId}`;
    const taskId = await queueTask(database.sql, user);

    assert.equal(await claim(database.sql, "cloud"), null);
    assert.equal(await claim(database.sql, "local", other.userId), null);
    assert.equal((await claim(database.sql, "local", user.userId))?.task_id, taskId);
  }));

test("turning the cloud off withdraws tasks that wait, turning it on offers them again", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    const choose = async (inCloud: boolean) => {
      await database.sql`
        update users set settings = ${database.sql.json({ ui: { generationMethods: { inCloud } } })}
         where id = ${user.userId}`;
    };

    await choose(false);
    assert.equal(await claim(database.sql, "cloud"), null);
    await choose(true);
    assert.equal((await claim(database.sql, "cloud"))?.task_id, taskId);
  }));

test("two first claims of one new worker register it once", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    await queueTask(database.sql, user);
    await queueTask(database.sql, user);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await claim(first, "newcomer");
    const waiting = claim(second, "newcomer");
    await first.query("commit");

    assert.ok(await waiting);
    assert.equal((await database.sql`select from workers where id = 'newcomer'`).length, 1);
  }));

test("16 claimers over 1,600 claims serve users with equal backlogs within 1.5 of each other", () =>
  withDatabase(async (database) => {
    const users = await Promise.all(
      Array.from({ length: 20 }, () => createUser(database.sql, 10_000_000_000)),
    );
    // Made in bulk by the same rows that create_task() makes: 200 each would take most of the test's time.
    for (const user of users) {
      const first = await queueTask(database.sql, user);
      await database.sql`
        insert into tasks (project_id, user_id, task_type, params, lane_id, run_type, model, request_hash,
                           in_cloud, price_id, billed, upper_bound_microusd)
        select project_id, user_id, task_type, params, lane_id, run_type, model, request_hash,
               in_cloud, price_id, billed, upper_bound_microusd
          from tasks, generate_series(1, 159) where id = ${first}`;
    }
    const served = new Map<string, number>();
    let claims = 0;
    const sessions = await Promise.all(Array.from({ length: 16 }, () => database.session()));
    await Promise.all(
      sessions.map(async (session, index) => {
        while (claims < 1600) {
          const task = await claim(session, `worker-${index}`);
          if (!task) continue;
          claims++;
          const { rows } = await session.query<{ user_id: string }>(
            "select user_id from tasks where id = $1",
            [task.task_id],
          );
          const owner = rows[0]?.user_id ?? "";
          served.set(owner, (served.get(owner) ?? 0) + 1);
          await setStatus(session, task.task_id, "Cancelled");
        }
      }),
    );

    const counts = [...served.values()];
    assert.equal(counts.length, 20);
    const ratio = Math.max(...counts) / Math.min(...counts);
    assert.ok(ratio <= 1.5, `most to least served is ${ratio}`);
  }));
