import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
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
  type TestUser,
  wrongAccounts,
} from "../support/factories.ts";

const price = 6500; // z_image_turbo, one output

test("complete_task() makes a generation with a primary variant, charges once and frees the slot", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const completed = await complete(database.sql, taskId, { worker: "worker", attempt: 1 });

    const [row] = await database.sql`
      select task.status, task.slot, task.generation_created, generation.location, generation.tasks,
             variant.is_primary, variant.variant_type, variant.id = generation.primary_variant_id as linked
        from tasks as task
        join generations as generation on generation.source_task_id = task.id
        join generation_variants as variant on variant.generation_id = generation.id
       where task.id = ${taskId}`;
    assert.deepEqual(
      { ...row },
      {
        status: "Complete",
        slot: null,
        generation_created: true,
        location: completed["public_url"],
        tasks: [taskId],
        is_primary: true,
        variant_type: "original",
        linked: true,
      },
    );
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000 - price, held: 0 });
    assert.deepEqual(await wrongAccounts(database.sql), []);
  }));

test("64 concurrent completes of one task, same and other workers: one output, one charge, one answer", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const sessions = await Promise.all(Array.from({ length: 64 }, () => database.session()));

    const answers = await Promise.all(
      sessions.map(async (session, index) => {
        if (index % 2 === 0) {
          return JSON.stringify(await complete(session, taskId, { worker: "worker", attempt: 1 }));
        }
        return await refusedWith(complete(session, taskId, { worker: `other-${index}`, attempt: 1 }));
      }),
    );

    assert.equal(new Set(answers.filter((_answer, index) => index % 2 === 0)).size, 1);
    assert.deepEqual(
      new Set(answers.filter((_answer, index) => index % 2 === 1)),
      new Set(["stale_attempt"]),
    );
    const [counts] = await database.sql`
      select (select count(*)::int from generations) as generations,
             (select count(*)::int from generation_variants) as variants,
             (select count(*)::int from credits_ledger where type = 'spend') as spends`;
    assert.deepEqual({ ...counts }, { generations: 1, variants: 1, spends: 1 });
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000 - price, held: 0 });
  }));

test("the attempt before is fenced off: its completion changes nothing", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    await setStatus(database.sql, taskId, "Queued");
    await claim(database.sql, "worker");

    assert.equal(
      await refusedWith(complete(database.sql, taskId, { worker: "worker", attempt: 1 })),
      "stale_attempt",
    );
    await complete(database.sql, taskId, { worker: "worker", attempt: 2 });
    assert.equal(
      await refusedWith(complete(database.sql, taskId, { worker: "worker", attempt: 1 })),
      "stale_attempt",
    );
    assert.equal((await accountOf(database.sql, user.userId)).balance, 1_000_000 - price);
  }));

for (const [status, code] of [
  ["Failed", "task_not_running"],
  ["Cancelled", "task_cancelled"],
]) {
  test(`completing a ${status} task is refused with ${code} and makes nothing`, () =>
    withDatabase(async (database) => {
      const user = await createUser(database.sql, 1_000_000);
      const taskId = await queueTask(database.sql, user);
      await claim(database.sql, "worker");
      await setStatus(database.sql, taskId, status ?? "");

      assert.equal(await refusedWith(complete(database.sql, taskId)), code);
      assert.equal((await database.sql`select from generations`).length, 0);
      assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
    }));
}

test("a cancel and a completion at once: one of them counts, the charge follows it", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const [canceller, worker] = [await database.session(), await database.session()];

    await canceller.query("begin");
    await setStatus(canceller, taskId, "Cancelled");
    const completing = refusedWith(complete(worker, taskId));
    await canceller.query("commit");

    assert.equal(await completing, "task_cancelled");
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
  }));

test("an owner cannot complete the cloud's run of their task, nor the cloud the owner's", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const cloud = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const own = await queueTask(database.sql, user);
    await claim(database.sql, "local", user.userId);

    assert.equal(await refusedWith(complete(database.sql, cloud, { forUser: user.userId })), "stale_attempt");
    assert.equal(await refusedWith(complete(database.sql, own)), "stale_attempt");
  }));

test("a task finished by its owner's worker is free", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "local", user.userId);
    await complete(database.sql, taskId, { forUser: user.userId });

    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
    assert.equal((await database.sql`select from generations`).length, 1);
  }));

test("somebody else's task is not found", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql), await createUser(database.sql)];
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "local", user.userId);

    assert.equal(
      await refusedWith(complete(database.sql, taskId, { forUser: other.userId })),
      "task_not_found",
    );
    assert.equal(
      await refusedWith(complete(database.sql, randomUUID(), { forUser: other.userId })),
      "task_not_found",
    );
  }));

test("a file outside the task's folder, or that is not there, completes nothing", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    const completeWith = (path: string) =>
      refusedWith(
        database.sql`select complete_task(null, ${taskId}, ${path}, 'https://media.example/x.png')`,
      );

    assert.equal(await completeWith(`${randomUUID()}/tasks/${taskId}/x.png`), "forbidden");
    assert.equal(await completeWith(`${user.userId}/tasks/${randomUUID()}/x.png`), "forbidden");
    assert.equal(await completeWith(`${user.userId}/tasks/${taskId}/missing.png`), "output_not_found");
  }));

test("based_on makes a variant of that generation; create_as_generation a generation with lineage", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const run = async (params: Record<string, unknown>, taskType = "z_image_turbo_i2i") => {
      const taskId = await queueTask(database.sql, user, { taskType, params });
      await claim(database.sql, "worker");
      return await complete(database.sql, taskId);
    };
    const source = await run({ prompt: "a" }, "z_image_turbo");

    const edit = await run({ prompt: "b", based_on: source["generation_id"] });
    const inpaint = await run({ prompt: "c", based_on: source["generation_id"] }, "image_inpaint");
    const own = await run({ prompt: "d", based_on: source["generation_id"], create_as_generation: true });

    assert.equal(edit["generation_id"], source["generation_id"]);
    const variants = await database.sql`
      select variant_type, is_primary from generation_variants
       where generation_id = ${source["generation_id"] as string} order by created_at`;
    assert.deepEqual(
      variants.map((row) => [row["variant_type"], row["is_primary"]]),
      [
        ["original", true],
        ["edit", false],
        ["inpaint", false],
      ],
    );
    assert.notEqual(own["generation_id"], source["generation_id"]);
    assert.equal(inpaint["generation_id"], source["generation_id"]);
    const [lineage] =
      await database.sql`select based_on from generations where id = ${own["generation_id"] as string}`;
    assert.equal(lineage?.["based_on"], source["generation_id"]);
  }));

test("based_on of another project is ignored and reported", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql), await createUser(database.sql)];
    const foreign = await queueTask(database.sql, other);
    await claim(database.sql, "worker");
    const source = await complete(database.sql, foreign);
    for (const basedOn of [source["generation_id"], "not a uuid"]) {
      const taskId = await queueTask(database.sql, user, {
        taskType: "z_image_turbo_i2i",
        params: { prompt: "b", based_on: basedOn },
      });
      await claim(database.sql, "worker");
      const completed = await complete(database.sql, taskId);

      assert.equal((completed["warnings"] as { field: string }[])[0]?.field, "based_on");
      assert.notEqual(completed["generation_id"], source["generation_id"]);
    }
    const [count] = await database.sql`
      select count(*)::int as variants from generation_variants where generation_id = ${source["generation_id"] as string}`;
    assert.equal(count?.["variants"], 1);
  }));

test("a per-second task is charged its begun seconds by the database's clock, never above its hold", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const run = async (secondsAgo: number) => {
      const taskId = await queueTask(database.sql, user, { taskType: "wan_2_2_t2i" });
      await claim(database.sql, "worker");
      await database.sql`
        update tasks set generation_started_at = now() - make_interval(secs => ${secondsAgo}) where id = ${taskId}`;
      const before = await accountOf(database.sql, user.userId);
      await complete(database.sql, taskId);
      return before.balance - (await accountOf(database.sql, user.userId)).balance;
    };

    assert.equal(await run(9.5), 10 * 278);
    assert.equal(await run(-5), 278);
    assert.equal(await run(100_000), 600 * 278);
    assert.deepEqual(await wrongAccounts(database.sql), []);
  }));

test("an orchestrator is charged once, as the sum of its finished children; children hold nothing", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 10_000_000);
    const orchestrator = await queueTask(database.sql, user, {
      taskType: "travel_orchestrator",
      params: {
        orchestrator_details: { num_new_segments_to_generate: 2, orchestrator_task_id: "sm_readable_id" },
      },
    });
    await claim(database.sql, "worker");
    const { held } = await accountOf(database.sql, user.userId);
    const child = (segment: number) =>
      queueTask(database.sql, user, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator, segment_index: segment },
      });
    const children = [await child(0), await child(1)];
    assert.equal((await accountOf(database.sql, user.userId)).held, held);
    for (const taskId of children) {
      await claim(database.sql, "worker");
      await database.sql`update tasks set generation_started_at = now() - interval '9.5 seconds' where id = ${taskId}`;
      await complete(database.sql, taskId);
    }
    await setStatus(database.sql, orchestrator, "Complete", {
      changes: { output_location: "https://x.example/v.mp4" },
    });

    assert.deepEqual(await accountOf(database.sql, user.userId), {
      balance: 10_000_000 - 2 * 10 * 278,
      held: 0,
    });
    const spends = await database.sql`select task_id from credits_ledger where type = 'spend'`;
    assert.deepEqual(
      spends.map((row) => row["task_id"]),
      [orchestrator],
    );
  }));

test("deleting a running task gives back its slot and its hold", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await claim(database.sql, "worker");
    await database.sql`delete from tasks where id = ${taskId}`;

    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000, held: 0 });
    assert.equal((await database.sql`select from task_slots where task_id is not null`).length, 0);
  }));

/** An orchestrator with one finished child (10 s) and one that waits. */
async function halfDone(sql: Sql): Promise<{ user: TestUser; orchestrator: string; waiting: string }> {
  const user = await createUser(sql, 10_000_000);
  const orchestrator = await queueTask(sql, user, {
    taskType: "travel_orchestrator",
    params: { orchestrator_details: { num_new_segments_to_generate: 2 } },
  });
  const child = () =>
    queueTask(sql, user, { taskType: "travel_segment", params: { orchestrator_task_id_ref: orchestrator } });
  await claim(sql, "worker");
  const done = await child();
  await claim(sql, "worker");
  await sql`update tasks set generation_started_at = now() - interval '9.5 seconds' where id = ${done}`;
  await complete(sql, done);
  return { user, orchestrator, waiting: await child() };
}

test("an orchestrator that completes cancels the children it leaves, so that none runs without cover", () =>
  withDatabase(async (database) => {
    const { user, orchestrator, waiting } = await halfDone(database.sql);
    await setStatus(database.sql, orchestrator, "Complete", {
      changes: { output_location: "https://x.example/v" },
    });

    const [child] = await database.sql`select status, error_message from tasks where id = ${waiting}`;
    assert.deepEqual({ ...child }, { status: "Cancelled", error_message: "orchestrator_finished" });
    assert.equal(await claim(database.sql, "worker"), null);
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 10_000_000 - 10 * 278, held: 0 });
  }));

test("deleting a project, or its owner, does not undo the charge for finished children", () =>
  withDatabase(async (database) => {
    for (const deletion of [
      "delete from projects where user_id = $1",
      "delete from auth.users where id = $1",
    ]) {
      const { user } = await halfDone(database.sql);
      await database.sql.query(deletion, [user.userId]);
      assert.deepEqual(await accountOf(database.sql, user.userId), {
        balance: 10_000_000 - 10 * 278,
        held: 0,
      });
    }
    assert.deepEqual(await wrongAccounts(database.sql), []);
  }));

test("deleting a task fails who waited for it, and deleting both at once is no trouble", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const [running, done] = [await queueTask(database.sql, user), await queueTask(database.sql, user)];
    await claim(database.sql, "worker");
    await claim(database.sql, "worker");
    await complete(database.sql, done);
    const waiting = await queueTask(database.sql, user, { dependantOn: [running] });
    const free = await queueTask(database.sql, user, { dependantOn: [done] });
    const last = await queueTask(database.sql, user, { dependantOn: [waiting] });

    await database.sql`delete from tasks where id in (${running}, ${done})`;
    const rows = await database.sql`select id, status from tasks`;
    assert.deepEqual(
      new Map(rows.map((row) => [row["id"], row["status"]])),
      new Map([
        [waiting, "Failed"],
        [free, "Queued"],
        [last, "Failed"],
      ]),
    );
    await database.sql`delete from tasks where id in (${waiting}, ${last}, ${free})`;
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 1_000_000 - price, held: 0 });
  }));
