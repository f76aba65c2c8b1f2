import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
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
  type TestUser,
  wrongAccounts,
} from "../support/factories.ts";
import { brokenPromises } from "../support/queue-rows.ts";

/** What clients write into `tasks` themselves, over REST and so as these roles. */
const price = 6500; // z_image_turbo, one output

async function browserOf(database: DatabaseUnderTest, { userId }: TestUser): Promise<Session> {
  return await database.sessionAs("authenticated", { sub: userId });
}

async function write(
  session: Session,
  text: string,
  params: unknown[] = [],
): Promise<Record<string, unknown>[]> {
  return (await session.query(text, params)).rows as Record<string, unknown>[];
}

async function taskRow(sql: Sql, id: string) {
  const [row] = await sql`select * from tasks where id = ${id}`;
  assert.ok(row);
  return row;
}

async function assertSound(sql: Sql): Promise<void> {
  assert.deepEqual([...(await brokenPromises(sql))], []);
  assert.deepEqual([...(await wrongAccounts(sql))], []);
}

test("a row that a browser inserts is a task like any other: priced, covered, queued, told of", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 1_000_000);
    const browser = await browserOf(database, user);
    const id = randomUUID();
    const [row] = await write(
      browser,
      `insert into tasks (id, project_id, task_type, params, status, created_at)
       values ($1, $2, 'z_image_turbo', '{"prompt": "a fox", "model": "z"}', 'Queued', '2020-01-01') returning *`,
      [id, user.projectId],
    );
    assert.equal(row?.["id"], id);
    assert.equal(row["user_id"], user.userId);
    assert.equal(row["model"], "z");
    assert.equal(Number(row["upper_bound_microusd"]), price);
    assert.ok((row["created_at"] as Date).getFullYear() > 2020, "nobody gets ahead by an older date");
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 1_000_000, held: price });
    assert.equal((await sql`select from realtime.messages where event = 'task-update'`).length, 1);
    await assertSound(sql);
    assert.equal((await claim(sql, "worker"))?.task_id, id);
    await complete(sql, id);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 1_000_000 - price, held: 0 });
    await assertSound(sql);
  }));

test("an inserted row waits for its dependencies and belongs to its orchestrator", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await browserOf(database, user);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 2 } },
    });
    const insert = async (params: unknown, dependantOn: string[] | null) => {
      const [row] = await write(
        browser,
        "insert into tasks (project_id, task_type, params, dependant_on) values ($1, 'travel_segment', $2::jsonb, $3) returning id",
        [user.projectId, params, dependantOn],
      );
      return row?.["id"] as string;
    };
    const first = await insert({ orchestrator_task_id_ref: orchestrator }, null);
    const second = await insert({ orchestrator_details: { orchestrator_task_id: orchestrator } }, [first]);
    for (const id of [first, second]) {
      assert.equal((await taskRow(sql, id))["orchestrator_task_id"], orchestrator);
    }
    assert.equal((await taskRow(sql, second))["unmet_dependencies"], 1);
    await assertSound(sql);
  }));

test("an inserted row is refused as create-task refuses it, and leaves nothing behind", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [user, other, poor] = [await createUser(sql), await createUser(sql), await createUser(sql, 10)];
    const browser = await browserOf(database, user);
    const insert = "insert into tasks (project_id, task_type, params, status) values ($1, $2, $3::jsonb, $4)";
    const cases: [string, Session, unknown[]][] = [
      ["project_not_found", browser, [other.projectId, "z_image_turbo", {}, "Queued"]],
      ["unknown_task_type", browser, [user.projectId, "no such type", {}, "Queued"]],
      ["invalid_request", browser, [user.projectId, "z_image_turbo", {}, "Complete"]],
      [
        "insufficient_credits",
        await browserOf(database, poor),
        [poor.projectId, "z_image_turbo", {}, "Queued"],
      ],
    ];
    for (const [code, session, params] of cases) {
      assert.equal(await refusedWith(write(session, insert, params)), code);
    }
    const many = Array.from({ length: 201 }, () => randomUUID());
    assert.equal(
      await refusedWith(
        write(
          browser,
          "insert into tasks (project_id, task_type, params, dependant_on) values ($1, 'z_image_turbo', '{}', $2)",
          [user.projectId, many],
        ),
      ),
      "invalid_request",
    );
    for (const column of [
      "user_id",
      "cost_microusd",
      "price_id",
      "worker_id",
      "in_cloud",
      "upper_bound_microusd",
    ]) {
      await assert.rejects(
        write(
          browser,
          `insert into tasks (project_id, task_type, params, ${column}) values ($1, 'z_image_turbo', '{}', null)`,
          [user.projectId],
        ),
        /permission denied/,
      );
    }
    assert.equal((await sql`select from tasks`).length, 0);
    await assertSound(sql);
  }));

test("rows that a browser inserts count like requests to create-task", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const browser = await browserOf(database, user);
    const many = (count: number) =>
      write(
        browser,
        `insert into tasks (project_id, task_type, params)
         select $1, 'z_image_turbo', '{}' from generate_series(1, $2::integer)`,
        [user.projectId, count],
      );
    assert.equal(await refusedWith(many(601)), "rate_limited");
    assert.equal((await database.sql`select from tasks`).length, 0);
    await many(2);
    const [counted] = await database.sql<{ key: string; counts: number[] }[]>`
      select key, counts from rate_limits where key like 'create-task:%'`;
    assert.equal(counted?.key, `create-task:${user.userId}`);
    assert.equal(
      counted.counts.reduce((sum, count) => sum + count, 0),
      2,
    );
  }));

test("a browser cancels by writing so: an orchestration with all its parts, credits given back", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await browserOf(database, user);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 2 } },
    });
    await claim(sql, "conductor");
    const child = () =>
      queueTask(sql, user, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator },
      });
    const [running, waiting] = [await child(), await child()];
    await claim(sql, "worker");
    const rows = await write(
      browser,
      "update tasks set status = 'Cancelled', updated_at = now() where id = $1 returning id, status",
      [orchestrator],
    );
    assert.deepEqual(rows, [{ id: orchestrator, status: "Cancelled" }]);
    for (const id of [running, waiting]) {
      const row = await taskRow(sql, id);
      assert.equal(row["status"], "Cancelled");
      assert.equal(row["slot"], null);
    }
    assert.equal((await accountOf(sql, user.userId)).held, 0);
    assert.equal(await refusedWith(complete(sql, running)), "task_cancelled");
    await assertSound(sql);
  }));

test("a browser writes no other status, and nobody else's tasks", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const browser = await browserOf(database, user);
    const task = await queueTask(sql, user);
    const theirs = await queueTask(sql, other);
    await claim(sql, "worker");
    for (const status of ["Queued", "Failed", "Complete", "In Progress"]) {
      const current = (await taskRow(sql, task))["status"] as string;
      const change = write(browser, "update tasks set status = $2::task_status where id = $1", [
        task,
        status,
      ]);
      assert.equal(await refusedWith(change), status === current ? "none" : "invalid_transition", status);
    }
    const foreign = await write(browser, "update tasks set status = 'Cancelled' where id = $1 returning id", [
      theirs,
    ]);
    assert.deepEqual(foreign, []);
    assert.equal((await taskRow(sql, theirs))["status"] === "Cancelled", false);
    await assertSound(sql);
  }));

test("a shipped worker puts its task back over REST; the attempt is counted here, and the last one fails it", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const service = await database.sessionAs("service_role");
    const task = await queueTask(sql, user);
    for (let attempt = 1; attempt <= 3; attempt++) {
      await claim(sql, "gpu-1");
      const [row] = await write(
        service,
        `update tasks set status = 'Queued', worker_id = null, attempts = 0, generation_started_at = null,
                          error_details = 'WORKER_ERROR' where id = $1 and worker_id = 'gpu-1' and status = 'In Progress'
         returning status, attempts, worker_id, error_message, generation_started_at`,
        [task],
      );
      assert.deepEqual(row, {
        status: attempt < 3 ? "Queued" : "Failed",
        attempts: attempt,
        worker_id: attempt < 3 ? null : "gpu-1",
        error_message: "WORKER_ERROR",
        generation_started_at: attempt < 3 ? null : row?.["generation_started_at"],
      });
      await assertSound(sql);
    }
    assert.equal((await accountOf(sql, user.userId)).held, 0);
    assert.equal((await sql`select from task_slots where task_id is not null`).length, 0);
  }));

test("an autoscaler's reset hits what runs and nothing that has ended; it completes and revives nothing", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const service = await database.sessionAs("service_role");
    const [done, running] = [await queueTask(sql, user), await queueTask(sql, user)];
    await claim(sql, "gpu-1");
    await claim(sql, "gpu-1");
    await complete(sql, done);
    const reset = `status = 'Queued', worker_id = null, generation_started_at = null, generation_processed_at = null,
                   error_message = 'worker died'`;
    assert.equal(
      await refusedWith(write(service, `update tasks set ${reset} where id = $1`, [done])),
      "invalid_transition",
    );
    assert.equal(
      await refusedWith(write(service, "update tasks set status = 'Complete' where id = $1", [running])),
      "invalid_transition",
    );
    const rows = await write(
      service,
      `update tasks set ${reset} where worker_id = 'gpu-1' and status = 'In Progress' returning id`,
    );
    assert.deepEqual(rows, [{ id: running }]);
    assert.equal((await taskRow(sql, running))["attempts"], 1);
    assert.ok((await taskRow(sql, done))["generation_processed_at"]);
    await write(service, "update tasks set status = 'Failed', error_message = 'gave up' where id = $1", [
      running,
    ]);
    assert.equal((await taskRow(sql, running))["error_message"], "gave up");
    assert.equal(
      await refusedWith(write(service, "update tasks set status = 'Queued' where id = $1", [running])),
      "invalid_transition",
    );
    await assertSound(sql);
  }));

test("a direct write and a completion at once: one of them counts", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql, 1_000_000);
    const task = await queueTask(sql, user);
    await claim(sql, "gpu-1");
    const [service, worker] = [await database.sessionAs("service_role"), await database.session()];
    await worker.query("begin");
    await complete(worker, task);
    const reset = refusedWith(
      write(
        service,
        "update tasks set status = 'Queued', worker_id = null where id = $1 and status = 'In Progress' returning id",
        [task],
      ),
    );
    await database.lockIsWaitedFor();
    await worker.query("commit");
    assert.equal(await reset, "none");
    assert.equal((await taskRow(sql, task))["status"], "Complete");
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 1_000_000 - price, held: 0 });
    await assertSound(sql);
  }));

/** Everything that writing a task may leave behind, counted. */
async function traces(sql: Sql): Promise<Record<string, unknown>> {
  const [row] = await sql`
    select (select count(*)::int from tasks) as tasks, (select count(*)::int from generations) as generations,
           (select count(*)::int from generation_variants) as variants, (select count(*)::int from shot_generations) as placed,
           (select count(*)::int from credit_holds) as holds, (select count(*)::int from credits_ledger) as entries,
           (select count(*)::int from task_dependencies) as dependencies, (select count(*)::int from task_requests) as requests,
           (select count(*)::int from task_slots where task_id is not null) as slots,
           (select count(*)::int from task_lanes where is_ready) as ready_lanes,
           (select coalesce(sum(ready + blocked + scheduled + running), 0)::int from task_counts) as counted,
           (select coalesce(sum(amount), 0)::int from limit_counts) as limited,
           (select count(*)::int from realtime.messages) as messages, (select count(*)::int from webhook_deliveries) as deliveries`;
  return row ?? {};
}

test("check 84: a row that conflicts with a task that there is leaves nothing behind, whether it is ignored, merged or refused", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    await sql`update projects set reuses_results = true where id = ${user.projectId}`;
    await sql`select publish_price('z_image_turbo', 'per_unit', 6500, '{}', null, 'test', 'reuse', 'reuse', 400)`;
    const params = { prompt: "a fox", seed: 7 };
    const ran = await queueTask(sql, user, { params });
    await claim(sql, "worker");
    await complete(sql, ran);
    const cancelled = await queueTask(sql, user, { params: { prompt: "another" } });
    const leader = await queueTask(sql, user, { params: { prompt: "a wolf", seed: 1 } });
    await sql`select update_task_status(${user.userId}, 'user', ${cancelled}, 'Cancelled')`;
    const before = await traces(sql);

    for (const role of ["authenticated", "service_role"] as const) {
      const session = await database.sessionAs(role, role === "authenticated" ? { sub: user.userId } : {});
      for (const [id, written, dependencies] of [
        [cancelled, params, null],
        [ran, params, null],
        [cancelled, { prompt: "a wolf", seed: 1 }, null],
        [cancelled, { prompt: "a dependant" }, [leader]],
      ] as const) {
        const insert = `insert into tasks (id, project_id, task_type, params, dependant_on)
                        values ($1, $2, 'z_image_turbo', $3::jsonb, $4)`;
        const values = [id, user.projectId, json(written), dependencies];
        assert.deepEqual(
          await write(session, `${insert} on conflict (id) do nothing returning id`, values),
          [],
        );
        assert.deepEqual(await traces(sql), before);
        await assert.rejects(
          write(session, `${insert} on conflict (id) do update set params = excluded.params`, values),
          { code: "42501" },
        );
        await assert.rejects(write(session, insert, values), { code: "23505" });
        assert.deepEqual(await traces(sql), before);
      }
    }
    await assertSound(sql);

    // The same row under an id of its own is a reuse: made, charged and told of once.
    const browser = await browserOf(database, user);
    const id = randomUUID();
    const [row] = await write(
      browser,
      `insert into tasks (id, project_id, task_type, params) values ($1, $2, 'z_image_turbo', $3::jsonb)
       on conflict (id) do nothing returning status, output_location`,
      [id, user.projectId, json(params)],
    );
    assert.equal(row?.["status"], "Complete");
    const reused = await taskRow(sql, id);
    assert.equal(reused["reused_task_id"], ran);
    assert.equal(Number(reused["cost_microusd"]), 400);
    assert.equal(reused["generation_created"], true);
    const [generation] = await sql`
      select id from generations where id = ${(reused["result_data"] as { generation_id: string }).generation_id}`;
    assert.ok(generation);
    const after = await traces(sql);
    assert.equal(after["entries"], Number(before["entries"]) + 1);
    await assertSound(sql);
  }));

test("check 84: a row whose id is committed by another while it is written leaves nothing behind", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    await sql`update projects set reuses_results = true where id = ${user.projectId}`;
    const params = { prompt: "a fox", seed: 7 };
    const ran = await queueTask(sql, user, { params });
    await claim(sql, "worker");
    await complete(sql, ran);
    const [first, second] = [await browserOf(database, user), await browserOf(database, user)];
    const insert = `insert into tasks (id, project_id, task_type, params) values ($1, $2, 'z_image_turbo', $3::jsonb)
                    on conflict (id) do nothing returning id`;
    const values = [randomUUID(), user.projectId, json(params)];
    await first.query("begin");
    await write(first, insert, values);
    const meanwhile = write(second, insert, values);
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.deepEqual(await meanwhile, []);
    const generations = await sql`select from generations`;
    assert.equal(generations.length, 2, "one of the run, one of the reuse");
    await assertSound(sql);
  }));

test("check 84: a variant that conflicts with one that there is takes the place of no primary variant", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await browserOf(database, user);
    const generationOf = async (name: string) => {
      const [row] = await sql<{ id: string }[]>`
        insert into generations (project_id, location) values (${user.projectId}, ${`https://media.example/${name}.png`})
        returning id`;
      const [variant] = await sql<{ id: string }[]>`
        insert into generation_variants (generation_id, location, is_primary, variant_type)
        values (${row?.id ?? ""}, ${`https://media.example/${name}.png`}, true, 'original') returning id`;
      return { id: row?.id ?? "", variant: variant?.id ?? "" };
    };
    const [one, other] = [await generationOf("a"), await generationOf("b")];
    const insert = `insert into generation_variants (id, generation_id, location, is_primary, variant_type)
                    values ($1, $2, 'https://media.example/c.png', true, 'edit') on conflict (id) do nothing returning id`;
    for (const generation of [one, other]) {
      assert.deepEqual(await write(browser, insert, [one.variant, generation.id]), []);
    }

    // Of two at once, for two generations, one is written.
    const second = await browserOf(database, user);
    const id = randomUUID();
    await browser.query("begin");
    await write(browser, insert, [id, one.id]);
    const meanwhile = write(second, insert, [id, other.id]);
    await database.lockIsWaitedFor();
    await browser.query("commit");
    assert.deepEqual(await meanwhile, []);
    const primaries =
      await sql`select id, generation_id from generation_variants where is_primary order by generation_id = ${other.id}`;
    assert.deepEqual(
      primaries.map((row) => row["id"]),
      [id, other.variant],
    );
  }));
