import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { refusal } from "../../supabase/functions/_shared/database/database.ts";
import { json, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { type Session, withDatabase } from "../support/database.ts";
import {
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
} from "../support/factories.ts";
import { brokenPromises } from "../support/queue-rows.ts";

type Limit =
  "max_open_tasks" | "max_dependants" | "max_dependency_depth" | "max_children" | "max_orchestration_depth";

async function setLimits(sql: Sql, limits: Partial<Record<Limit, number>>): Promise<void> {
  for (const [name, value] of Object.entries(limits)) {
    await sql.query(`update queue_settings set ${name} = $1`, [value]);
  }
}

/** The limit that refused a call; `none` when it passed. */
async function limitOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error) {
    const refused = refusal(error);
    assert.ok(refused instanceof AppError, String(error));
    assert.equal(refused.code, "task_limit_reached");
    assert.equal(refused.status, 422);
    assert.match(refused.message, /\d+/);
    assert.equal(typeof refused.details["limit"], "number");
    return String(refused.details["limit_name"]);
  }
}

async function batch(
  connection: Sql,
  { projectId }: TestUser,
  count: number,
  more: object = {},
): Promise<void> {
  const tasks = Array.from({ length: count }, () => ({
    task_type: "z_image_turbo",
    params: { prompt: "a fox" },
    project_id: projectId,
    ...more,
  }));
  await connection.query("select create_task(null, $1::jsonb, true)", [json(tasks)]);
}

async function openTasks(sql: Sql): Promise<number> {
  const rows = await sql`select from tasks where status in ('Queued', 'In Progress')`;
  return rows.length;
}

async function assertSound(sql: Sql): Promise<void> {
  assert.deepEqual([...(await brokenPromises(sql))], []);
}

test("check 66: a user's open tasks stop at the limit, and each task that ends gives room for one", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const other = await createUser(sql);
    await setLimits(sql, { max_open_tasks: 5 });
    const first = await queueTask(sql, user);
    for (let count = 2; count <= 5; count++) await queueTask(sql, user);
    assert.equal(await limitOf(queueTask(sql, user)), "max_open_tasks");
    await queueTask(sql, other);

    await setStatus(sql, first, "Cancelled");
    await queueTask(sql, user);
    assert.equal(await limitOf(queueTask(sql, user)), "max_open_tasks");

    const claimed = await claim(sql, "worker");
    assert.ok(claimed);
    assert.equal(await limitOf(queueTask(sql, user)), "max_open_tasks");
    await sql`update queue_settings set max_open_tasks = 5`;
    for (const { id } of await sql<{ id: string }[]>`
      select id from tasks where status = 'In Progress'`)
      await complete(sql, id);
    await sql`select claim_next_task(for_worker => 'worker', max_tasks => 3)`;
    for (const { id } of await sql<{ id: string }[]>`
      select id from tasks where status = 'In Progress'`)
      await complete(sql, id);
    await queueTask(sql, user);
    await assertSound(sql);
  }));

test("check 66: every way to an open task counts: batches, browsers' rows, children, schedules, cloud off, followers, retries", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await database.sessionAs("authenticated", { sub: user.userId });
    const service = await database.sessionAs("service_role");
    await sql`update projects set reuses_results = true where id = ${user.projectId}`;
    const failed = await queueTask(sql, user, { params: { prompt: "a failure" } });
    await setStatus(sql, failed, "Failed");
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 2 } },
    });
    const leader = await queueTask(sql, user, { params: { prompt: "a fox", seed: 7 } });
    await setLimits(sql, { max_open_tasks: 3 });

    const insert = (session: Session) =>
      session.query(
        `insert into tasks (id, project_id, task_type, params, status) values ($1, $2, 'z_image_turbo', '{}', 'Queued')`,
        [randomUUID(), user.projectId],
      );
    const waysIn: Record<string, () => Promise<unknown>> = {
      "a batch": () => batch(sql, user, 2),
      "a child": () =>
        queueTask(sql, user, {
          taskType: "travel_segment",
          params: { orchestrator_task_id_ref: orchestrator },
        }),
      "a schedule": () => queueTask(sql, user, { runAfter: new Date(Date.now() + 3_600_000) }),
      "a follower": () => queueTask(sql, user, { params: { prompt: "a fox", seed: 7 } }),
      "a dependant": () => queueTask(sql, user, { dependantOn: [leader] }),
      "a browser's row": () => insert(browser),
      "a row of the service": () => insert(service),
      "a retry": () => setStatus(sql, failed, "Queued"),
    };
    await batch(sql, user, 1);
    for (const [way, create] of Object.entries(waysIn)) {
      assert.equal(await limitOf(create()), "max_open_tasks", way);
      assert.equal(await openTasks(sql), 3, way);
    }
    await sql`update users set settings = ${json({ ui: { generationMethods: { inCloud: false, onComputer: true } } })}
               where id = ${user.userId}`;
    assert.equal(await limitOf(queueTask(sql, user)), "max_open_tasks", "with the cloud off");
    await sql`update users set settings = '{}' where id = ${user.userId}`;
    await assertSound(sql);

    await setLimits(sql, { max_open_tasks: 4 });
    assert.equal(await limitOf(batch(sql, user, 2)), "max_open_tasks", "a batch of which one would fit");
    assert.equal(await openTasks(sql), 3, "all of it or none");
    for (const [way, create] of Object.entries(waysIn)) {
      if (way === "a batch") continue;
      await create();
      assert.equal(await limitOf(queueTask(sql, user)), "max_open_tasks", way);
      const [last] = await sql<{ id: string }[]>`
        select id from tasks where status = 'Queued' and id <> all(${[orchestrator, leader]})
         order by updated_at desc limit 1`;
      await setStatus(sql, last?.id ?? "", "Cancelled");
      // A cancelled part takes its orchestration with it.
      if (way === "a child") {
        await batch(sql, user, 1);
      }
      await assertSound(sql);
    }
  }));

const orchestrator = {
  taskType: "travel_orchestrator",
  params: { orchestrator_details: { num_new_segments_to_generate: 9 } },
};
for (const [name, limit, first, more] of [
  ["open tasks", "max_open_tasks", {}, () => ({})],
  ["dependants", "max_dependants", {}, (leader: string) => ({ dependantOn: [leader] })],
  [
    "children",
    "max_children",
    orchestrator,
    (leader: string) => ({ taskType: "travel_segment", params: { orchestrator_task_id_ref: leader } }),
  ],
] as const) {
  test(`check 66: two creates at once at the limit of ${name}: one passes, and the other when the first is rolled back`, () =>
    withDatabase(async ({ sql, session, lockIsWaitedFor }) => {
      const user = await createUser(sql, 1_000_000_000);
      const leader = await queueTask(sql, user, first);
      await queueTask(sql, user, more(leader));
      let allowed = limit === "max_open_tasks" ? 3 : 2;
      const [one, other] = [await session(), await session()];
      for (const [end, outcome] of [
        ["rollback", "none"],
        ["commit", "task_limit_reached"],
      ] as const) {
        await setLimits(sql, { [limit]: allowed++ });
        await one.query("begin");
        await queueTask(one, user, more(leader));
        const meanwhile = refusedWith(queueTask(other, user, more(leader)));
        await lockIsWaitedFor();
        await one.query(end);
        assert.equal(await meanwhile, outcome);
      }
      await assertSound(sql);
    }));
}

test("check 66: a task's dependants stop at the limit; dependants that end, and the task's completion, give room", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const leader = await queueTask(sql, user, { taskId: "00000000-0000-4000-8000-000000000001" });
    await setLimits(sql, { max_dependants: 2 });
    const waiting = await queueTask(sql, user, { dependantOn: [leader] });
    await queueTask(sql, user, { dependantOn: [leader] });
    assert.equal(await limitOf(queueTask(sql, user, { dependantOn: [leader] })), "max_dependants");
    await setStatus(sql, waiting, "Failed");
    await queueTask(sql, user, { dependantOn: [leader] });
    assert.equal(
      await limitOf(setStatus(sql, waiting, "Queued")),
      "max_dependants",
      "a retry needs room too",
    );
    await assertSound(sql);

    assert.equal((await claim(sql, "worker"))?.task_id, leader);
    await complete(sql, leader);
    for (let count = 0; count < 3; count++) await queueTask(sql, user, { dependantOn: [leader] });
    await setStatus(sql, waiting, "Queued");
    await assertSound(sql);
  }));

test("check 66: a chain stops at the limit, counted from its first task that is not complete", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await setLimits(sql, { max_dependency_depth: 3 });
    const chain = [await queueTask(sql, user)];
    for (let count = 0; count < 3; count++) {
      chain.push(await queueTask(sql, user, { dependantOn: [chain.at(-1) ?? ""] }));
    }
    const last = chain.at(-1) ?? "";
    assert.equal(await limitOf(queueTask(sql, user, { dependantOn: [last] })), "max_dependency_depth");
    // Whatever else it depends on.
    assert.equal(
      await limitOf(queueTask(sql, user, { dependantOn: [chain[0] ?? "", last] })),
      "max_dependency_depth",
    );
    await claim(sql, "worker");
    await complete(sql, chain[0] ?? "");
    const next = await queueTask(sql, user, { dependantOn: [last] });
    assert.equal(await limitOf(queueTask(sql, user, { dependantOn: [next] })), "max_dependency_depth");
    await assertSound(sql);
  }));

test("check 66: an orchestrator's children and the nesting of orchestrators stop at their limits", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const orchestrate = (parent?: string) =>
      queueTask(sql, user, {
        taskType: "travel_orchestrator",
        params: {
          orchestrator_details: { num_new_segments_to_generate: 1 },
          ...(parent && { orchestrator_task_id_ref: parent }),
        },
      });
    const segment = (parent: string) =>
      queueTask(sql, user, { taskType: "travel_segment", params: { orchestrator_task_id_ref: parent } });
    await setLimits(sql, { max_children: 2, max_orchestration_depth: 2 });
    const outer = await orchestrate();
    const inner = await orchestrate(outer);
    assert.equal(await limitOf(orchestrate(inner)), "max_orchestration_depth");
    await segment(outer);
    assert.equal(await limitOf(segment(outer)), "max_children");
    await segment(inner);
    await segment(inner);
    assert.equal(await limitOf(segment(inner)), "max_children");
    await assertSound(sql);
  }));

test("a travel of 150 segments, each behind the one before, with its stitch behind all fits the default limits", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql, 1_000_000_000);
    const orchestrator = await queueTask(sql, user, {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 150 } },
    });
    let before: string | undefined;
    for (let index = 0; index < 150; index++) {
      before = await queueTask(sql, user, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator, segment_index: index },
        ...(before && { dependantOn: [before] }),
      });
    }
    await queueTask(sql, user, {
      taskType: "travel_stitch",
      params: { orchestrator_task_id_ref: orchestrator },
      dependantOn: [before ?? ""],
    });
    await assertSound(sql);
  }));

test("tidy_counts() merges the counts of limits and removes those of tasks that are gone, and changes no sum", () =>
  withDatabase(async ({ sql, session }) => {
    const user = await createUser(sql);
    const leader = await queueTask(sql, user);
    const [first, second] = [await session(), await session()];
    await queueTask(sql, user, { dependantOn: [leader] });
    await first.query("begin");
    await first.query("select add_to_limit_count('open_tasks', $1, 2)", [user.userId]);
    await second.query("select add_to_limit_count('open_tasks', $1, -2)", [user.userId]);
    await first.query("commit");
    await sql`select add_to_limit_count('children', ${randomUUID()}, 3)`;
    assert.ok((await sql`select from limit_counts where subject = 'open_tasks'`).length > 1);
    await sql`select tidy_counts()`;
    const rows = await sql`select subject, amount from limit_counts order by subject`;
    assert.deepEqual(
      rows.map(({ subject, amount }) => [subject, amount]),
      [
        ["dependants", 1],
        ["open_tasks", 2],
      ],
    );
    await assertSound(sql);
  }));

test("a new orchestrator with the id of a deleted one has room for all its children", () =>
  withDatabase(async ({ sql }) => {
    await setLimits(sql, { max_children: 1 });
    const user = await createUser(sql);
    const travel = {
      taskType: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
    };
    const taskId = await queueTask(sql, user, travel);
    const child = () =>
      queueTask(sql, user, { taskType: "travel_segment", params: { orchestrator_task_id_ref: taskId } });
    await child();
    await sql`delete from tasks where id = ${taskId}`;
    await queueTask(sql, user, { ...travel, taskId });
    assert.deepEqual([...(await sql`select rule, row_id, details from find_queue_faults()`)], []);
    assert.equal(await limitOf(child()), "none");
    assert.equal(await limitOf(child()), "max_children");
  }));
