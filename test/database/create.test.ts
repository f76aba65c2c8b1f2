import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../support/database.ts";
import {
  accountOf,
  claim,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../support/factories.ts";

const price = 6500; // z_image_turbo, one output

async function create(
  sql: Sql,
  user: TestUser,
  requests: object[],
  key?: string,
): Promise<Record<string, unknown>> {
  const [row] = await sql`
    select create_task(${user.userId}, ${sql.json(requests as never)}, ${requests.length > 1}, ${key ?? null}) as created`;
  return row?.["created"] as Record<string, unknown>;
}

function request(user: TestUser, more: object = {}): object {
  return { task_type: "z_image_turbo", params: { prompt: "a" }, project_id: user.projectId, ...more };
}

test("200 concurrent creates on credit for 20: exactly 20 tasks and holds, 180 refusals, nothing below zero", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 20 * price + price / 2);
    const sessions = await Promise.all(Array.from({ length: 50 }, () => database.session()));

    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        refusedWith(queueTask(sessions[index % sessions.length] ?? database.sql, user)),
      ),
    );

    assert.equal(answers.filter((code) => code === "none").length, 20);
    assert.equal(answers.filter((code) => code === "insufficient_credits").length, 180);
    const [counts] = await database.sql`
      select (select count(*)::int from tasks) as tasks,
             (select count(*)::int from credit_holds where state = 'held') as holds`;
    assert.deepEqual({ ...counts }, { tasks: 20, holds: 20 });
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 20.5 * price, held: 20 * price });
    assert.deepEqual(await wrongAccounts(database.sql), []);
  }));

test("no statement, not even the owner's, brings an account below zero or below its holds", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, price);
    await queueTask(database.sql, user);
    const change = (assignment: string) =>
      database.sql.query(`update credit_accounts set ${assignment} where user_id = $1`, [user.userId]);

    await assert.rejects(change("balance_microusd = -1"), { code: "23514" });
    await assert.rejects(change("balance_microusd = balance_microusd - 1"), { code: "23514" });
    await assert.rejects(change("held_microusd = held_microusd + 1"), { code: "23514" });
    await assert.rejects(change("held_microusd = -1"), { code: "23514" });
  }));

test("a batch is all or nothing", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 2 * price);
    const three = [request(user), request(user), request(user)];

    assert.equal(await refusedWith(create(database.sql, user, three)), "insufficient_credits");
    const unknown = [request(user), request(user, { task_type: "no_such_type" })];
    assert.equal(await refusedWith(create(database.sql, user, unknown)), "unknown_task_type");
    assert.equal((await database.sql`select from tasks`).length, 0);
    assert.deepEqual(await accountOf(database.sql, user.userId), { balance: 2 * price, held: 0 });

    const created = await create(database.sql, user, three.slice(1));
    assert.equal((created["task_ids"] as string[]).length, 2);
  }));

test("one idempotency key from 20 racers: one task, one hold, one answer", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => create(database.sql, user, [request(user)], "key-1")),
    );

    assert.equal(new Set(answers.map((answer) => answer["task_id"])).size, 1);
    assert.equal(answers.filter((answer) => answer["deduplicated"] === false).length, 1);
    assert.equal((await accountOf(database.sql, user.userId)).held, price);
    assert.equal(
      await refusedWith(create(database.sql, user, [request(user, { params: { prompt: "b" } })], "key-1")),
      "idempotency_key_reused",
    );
  }));

test("the key of a refused request can be used again, and another user's key is another key", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql, 0), await createUser(database.sql)];
    assert.equal(
      await refusedWith(create(database.sql, user, [request(user)], "key")),
      "insufficient_credits",
    );
    await database.sql`select add_credit(${user.userId}, 'manual', ${price})`;

    assert.equal((await create(database.sql, user, [request(user)], "key"))["deduplicated"], false);
    assert.equal((await create(database.sql, other, [request(other)], "key"))["deduplicated"], false);
  }));

test("one task id from two connections: one row, one hold, the same answer; another body is refused", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = randomUUID();
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await queueTask(first, user, { taskId });
    const waiting = queueTask(second, user, { taskId });
    await first.query("commit");

    assert.equal(await waiting, taskId);
    assert.equal((await accountOf(database.sql, user.userId)).held, price);
    assert.equal(
      await refusedWith(queueTask(database.sql, user, { taskId, params: { prompt: "other" } })),
      "task_id_conflict",
    );
    const other = await createUser(database.sql);
    assert.equal(await refusedWith(queueTask(database.sql, other, { taskId })), "task_id_conflict");
  }));

test("a foreign project and an unknown one are the same refusal", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql), await createUser(database.sql)];
    for (const projectId of [other.projectId, randomUUID()]) {
      const foreign = [request(user, { project_id: projectId })];
      assert.equal(await refusedWith(create(database.sql, user, foreign)), "project_not_found");
    }
  }));

test("dependencies must exist in the project and not have failed", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql), await createUser(database.sql)];
    const foreign = await queueTask(database.sql, other);
    const failed = await queueTask(database.sql, user);
    await setStatus(database.sql, failed, "Failed");
    const own = randomUUID();

    for (const dependency of [randomUUID(), foreign, failed, own]) {
      assert.equal(
        await refusedWith(queueTask(database.sql, user, { taskId: own, dependantOn: [dependency] })),
        "invalid_dependency",
      );
    }
    assert.equal((await accountOf(database.sql, user.userId)).held, 0);
  }));

test("a batch may depend on its own earlier tasks, not on its later ones", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const [one, two] = [randomUUID(), randomUUID()];
    const forward = [request(user, { task_id: one }), request(user, { task_id: two, dependant_on: [one] })];
    const backward = [request(user, { dependant_on: [two] }), request(user)];

    await create(database.sql, user, forward);
    const [row] = await database.sql`select unmet_dependencies from tasks where id = ${two}`;
    assert.equal(row?.["unmet_dependencies"], 1);
    await create(database.sql, user, backward);
    const circular = randomUUID();
    const circle = [
      request(user, { task_id: circular, dependant_on: [randomUUID()] }),
      request(user, { dependant_on: [circular] }),
    ];
    assert.equal(await refusedWith(create(database.sql, user, circle)), "invalid_dependency");
  }));

test("a worker's child without a project gets its orchestrator's, and its uuid from any known place", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const orchestrator = await queueTask(database.sql, user, {
      taskType: "join_clips_orchestrator",
      params: { orchestrator_details: { orchestrator_task_id: "join_readable", clip_list: [{}, {}] } },
    });
    const places = [
      { orchestrator_task_id_ref: orchestrator },
      { orchestrator_details: { orchestrator_task_id: orchestrator } },
      { orchestrator_task_id: "readable", full_orchestrator_payload: { orchestrator_task_id: orchestrator } },
    ];
    for (const params of places) {
      const child = await queueTask(
        database.sql,
        { ...user, projectId: "default_project_id" },
        { taskType: "join_clips_segment", params },
      );
      const [row] =
        await database.sql`select orchestrator_task_id, project_id from tasks where id = ${child}`;
      assert.deepEqual({ ...row }, { orchestrator_task_id: orchestrator, project_id: user.projectId });
    }
  }));

test("an orchestrator that is over takes no more children", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const orchestrator = await queueTask(database.sql, user, { taskType: "travel_orchestrator", params: {} });
    const [canceller, worker] = [await database.session(), await database.session()];

    await canceller.query("begin");
    await setStatus(canceller, orchestrator, "Cancelled");
    const creating = refusedWith(
      queueTask(worker, user, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator },
      }),
    );
    await canceller.query("commit");

    assert.equal(await creating, "orchestrator_finished");
  }));

test("an orchestrator's children cannot outgrow what the account covers", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 3 * 33_360);
    const orchestrator = await queueTask(database.sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
    });
    const child = () =>
      refusedWith(
        queueTask(database.sql, user, {
          taskType: "travel_segment",
          params: { orchestrator_task_id_ref: orchestrator },
        }),
      );

    assert.deepEqual(
      [await child(), await child(), await child(), await child()],
      ["none", "none", "none", "insufficient_credits"],
    );
    assert.equal((await accountOf(database.sql, user.userId)).held, 3 * 33_360);
  }));

test("a price changed after a task was quoted is not its price", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 1_000_000);
    const taskId = await queueTask(database.sql, user);
    await database.sql`
      insert into task_type_prices (task_type, version, billing_type, price_microusd)
      values ('z_image_turbo', 2, 'per_unit', 9000)`;
    const later = await queueTask(database.sql, user);

    const prices = await database.sql`
      select task.id, price.price_microusd from tasks as task join task_type_prices as price on price.id = task.price_id`;
    assert.equal(Number(prices.find((row) => row["id"] === taskId)?.["price_microusd"]), price);
    assert.equal(Number(prices.find((row) => row["id"] === later)?.["price_microusd"]), 9000);
    assert.equal((await accountOf(database.sql, user.userId)).held, price + 9000);
    assert.ok(await claim(database.sql, "worker"));
  }));

test("another spelling of a task type is stored under its name", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const taskId = await queueTask(database.sql, user, { taskType: "image-upscale" });
    const [row] = await database.sql`select task_type from tasks where id = ${taskId}`;
    assert.equal(row?.["task_type"], "image_upscale");
  }));
