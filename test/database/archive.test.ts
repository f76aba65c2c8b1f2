import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type Session, withDatabase } from "../support/database.ts";
import {
  accountOf,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  type TestUser,
  wrongAccounts,
} from "../support/factories.ts";

test("archiving changes no answer of a read", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const { orchestrator, segments, stitch, ...others } = await finishedTravel(sql, user);
    const ids = [orchestrator, ...segments, stitch, ...Object.values(others)];
    const before = await everyAnswer(sql, user, ids);

    await age(sql, ids);
    assert.equal(await archive(sql), ids.length);
    const [left] = await sql`select count(*)::int as count from tasks`;
    assert.equal(left?.["count"], 0);
    const after = await everyAnswer(sql, user, ids, { updatedAtIsOf: before });
    assert.deepEqual(after, before);
    assert.deepEqual(await wrongAccounts(sql), []);
  }));

test("generations and their variants stay as they are, and name their task", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await finished(sql, user);
    const before = await made(sql);
    assert.equal(before[0]?.["source_task_id"], task);
    await age(sql, [task]);
    assert.equal(await archive(sql), 1);
    assert.deepEqual(await made(sql), before);
  }));

test("what is deleted, not archived, frees its id for another output", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await finished(sql, user);
    await sql`delete from tasks where id = ${task}`;
    for (const row of await made(sql)) assert.equal(row["source_task_id"], null);
  }));

test("what is young, open or needed stays; families and chains go together or in order", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const young = await finished(sql, user);
    const dependency = await finished(sql, user);
    const open = await queueTask(sql, user);
    const dependant = await queueTask(sql, user, { dependantOn: [dependency] });
    const orchestrator = await queueTask(sql, user, { taskType: "travel_orchestrator" });
    const child = await queueTask(sql, user, {
      taskType: "travel_segment",
      params: { orchestrator_task_id_ref: orchestrator },
    });
    await setStatus(sql, orchestrator, "Cancelled");
    await age(sql, [open, dependency, dependant, orchestrator]);
    assert.equal(await archive(sql), 0, "the child is too young, the dependant open");

    await age(sql, [child]);
    assert.equal(await archive(sql), 2);
    assert.deepEqual(await archived(sql), [orchestrator, child].toSorted());

    await setStatus(sql, dependant, "Failed");
    assert.equal(await archive(sql), 1, "a dependency goes when nobody waits for it");
    await age(sql, [dependant]);
    assert.equal(await archive(sql), 1);
    const rest = await sql<{ id: string }[]>`select id from tasks`;
    assert.deepEqual(rest.map(({ id }) => id).toSorted(), [young, open].toSorted());

    await sql`update queue_settings set keep_finished = null`;
    await age(sql, [young]);
    assert.equal(await archive(sql), 0, "null keeps everything");
    await assert.rejects(
      sql`update queue_settings set keep_finished = '59 minutes'`,
      /queue_settings_keep_finished_check/,
    );
  }));

test("a task that holds credits stays, whatever its status says", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await finished(sql, user);
    await sql`update credit_holds set state = 'held', closed_at = null, charged_microusd = 0 where task_id = ${task}`;
    await age(sql, [task]);
    assert.equal(await archive(sql), 0);
  }));

test("one call moves at most so many, the oldest first, but never half a family", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const tasks: string[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const task = await queueTask(sql, user);
      await setStatus(sql, task, "Cancelled");
      tasks.push(task);
    }
    const { orchestrator, segments, stitch } = await finishedTravel(sql, user);
    await age(sql, [orchestrator, ...segments, stitch], 380);
    for (const [index, days] of [370, 390, 400].entries()) await age(sql, [tasks[index] ?? ""], days);

    assert.equal(await archive(sql, 2), 2);
    assert.deepEqual(await archived(sql), tasks.slice(1).toSorted());
    assert.equal(await archive(sql, 2), 2 + segments.length, "a family beyond the limit, alone");
    assert.equal(await archive(sql, 2), 1);
  }));

test("families that may not leave do not stand in the way of younger ones", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [needed, alsoNeeded, free] = [
      await finished(sql, user),
      await finished(sql, user),
      await finished(sql, user),
    ];
    await queueTask(sql, user, { dependantOn: [needed, alsoNeeded] });
    await age(sql, [needed, alsoNeeded], 500);
    await age(sql, [free]);
    assert.equal(await archive(sql, 1), 1);
    assert.deepEqual(await archived(sql), [free]);
  }));

test("an id in the archive is taken: the same request is answered again, another is refused", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = randomUUID();
    const request = { taskId, params: { prompt: "a fox" } };
    await queueTask(sql, user, request);
    await setStatus(sql, taskId, "Cancelled");
    await age(sql, [taskId]);
    assert.equal(await archive(sql), 1);

    assert.equal(await queueTask(sql, user, request), taskId);
    assert.equal(
      await refusedWith(queueTask(sql, user, { taskId, params: { prompt: "another" } })),
      "task_id_conflict",
    );
    const [count] = await sql`select count(*)::int as tasks from tasks`;
    assert.equal(count?.["tasks"], 0);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 100_000_000, held: 0 });
  }));

test("an archived task is over: reports and retries are 409, a repeated completion is answered again", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const done = await queueTask(sql, user);
    const { attempt, worker } = await claimed(sql, done);
    const first = await complete(sql, done, { worker, attempt });
    const failed = await queueTask(sql, user);
    const cancelled = await queueTask(sql, user);
    await setStatus(sql, failed, "Failed");
    await setStatus(sql, cancelled, "Cancelled");
    await age(sql, [done, failed, cancelled]);
    assert.equal(await archive(sql), 3);

    const completion = (caller: string | null, byWorker: string, byAttempt: number) =>
      sql`select complete_task(${caller}, ${done}, 'anything', 'https://media.example/other.png',
                               for_worker => ${byWorker}, for_attempt => ${byAttempt}) as answer`;
    const [again] = await completion(null, worker, attempt);
    assert.deepEqual(again?.["answer"], first);
    assert.equal(await refusedWith(completion(null, "somebody else", attempt)), "stale_attempt");
    assert.equal(await refusedWith(completion(null, worker, attempt + 1)), "stale_attempt");
    assert.equal(await refusedWith(completion(user.userId, worker, attempt)), "stale_attempt");
    assert.equal(await refusedWith(completion(randomUUID(), worker, attempt)), "task_not_found");
    const [prepared] = await sql<{ answer: { completed: unknown } }[]>`
      select prepare_output(null, ${done}, ${worker}, ${attempt}) as answer`;
    assert.deepEqual(prepared?.answer.completed, first);
    for (const [task, code] of [
      [failed, "task_not_running"],
      [cancelled, "task_cancelled"],
    ] as const) {
      assert.equal(await refusedWith(sql`select prepare_output(null, ${task})`), code);
    }

    const report = (kind: string, task: string, status: string, asWorker?: string) =>
      sql`select update_task_status(${kind === "service" ? null : user.userId}, ${kind}, ${task},
                                    ${status}::text::task_status, ${asWorker ?? null},
                                    changes => '{"output_location": "other"}')`;
    for (const [kind, task, status, code] of [
      ["service", failed, "Queued", "invalid_transition"],
      ["user", failed, "Queued", "invalid_transition"],
      ["user", failed, "In Progress", "forbidden"],
      ["service", done, "Complete", "invalid_transition"],
      ["service", cancelled, "In Progress", "task_cancelled"],
      ["user", cancelled, "Cancelled", "invalid_transition"],
      ["service", randomUUID(), "Cancelled", "task_not_found"],
    ] as const) {
      assert.equal(await refusedWith(report(kind, task, status)), code, `${kind} ${status}`);
    }
    assert.equal(await refusedWith(report("service", done, "Failed", "somebody else")), "stale_attempt");
    const uncompleted = await sql`select prepare_output(null, ${failed})`.catch((error: unknown) => error);
    assert.deepEqual(transitionsOf(uncompleted), ["Failed", []]);
    const refused = await report("service", failed, "Queued").catch((error: unknown) => error);
    assert.deepEqual(transitionsOf(refused), ["Failed", []]);
    const [row] = await sql`select output_location from archived_tasks where id = ${done}`;
    assert.equal(row?.["output_location"], first["public_url"]);
  }));

test("archived relatives count as what they were: dependencies, orchestrators, retried dependants", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [complete1, failed] = [await finished(sql, user), await queueTask(sql, user)];
    const dependant = await queueTask(sql, user, { dependantOn: [failed] });
    await setStatus(sql, failed, "Failed");
    const orchestrator = await queueTask(sql, user, { taskType: "travel_orchestrator" });
    await setStatus(sql, orchestrator, "Cancelled");
    await age(sql, [complete1, failed, orchestrator]);
    assert.equal(await archive(sql), 3);

    const open = await queueTask(sql, user);
    const later = await queueTask(sql, user, { dependantOn: [complete1, open] });
    const [row] = await sql`select dependant_on, unmet_dependencies from tasks where id = ${later}`;
    assert.deepEqual([row?.["dependant_on"], row?.["unmet_dependencies"]], [[complete1, open], 1]);
    assert.equal(await refusedWith(queueTask(sql, user, { dependantOn: [failed] })), "invalid_dependency");
    const stranger = await createUser(sql);
    assert.equal(
      await refusedWith(queueTask(sql, stranger, { dependantOn: [complete1] })),
      "invalid_dependency",
    );

    assert.equal(await refusedWith(setStatus(sql, dependant, "Queued")), "invalid_dependency");
    for (const project of [user, { ...user, projectId: "default_project_id" }]) {
      const params = { orchestrator_details: { orchestrator_task_id_ref: orchestrator } };
      const child = queueTask(sql, project, { taskType: "travel_segment", params });
      assert.equal(await refusedWith(child), "orchestrator_finished");
    }
    const late = `${user.userId}/tasks/${complete1}/1-late.png`;
    await assert.rejects(
      sql`insert into storage.objects (bucket_id, name) values ('image_uploads', ${late})`,
      { constraint: "keep_finished_files" },
      "the folder of a finished task stays closed",
    );
  }));

test("deleting a project or its person deletes the archive too; the ledger keeps its rows", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await queueTask(sql, user);
    const { worker } = await claimed(sql, task);
    await complete(sql, task, { worker });
    await age(sql, [task]);
    assert.equal(await archive(sql), 1);
    const ledger = () => sql`select * from credits_ledger order by sequence`;
    const before = await ledger();
    assert.ok(before.some(({ type, task_id }) => type === "spend" && task_id === task));

    await sql`delete from auth.users where id = ${user.userId}`;
    const [rows] = await sql`select count(*)::int as count from archived_tasks`;
    assert.equal(rows?.["count"], 0);
    assert.deepEqual(await ledger(), before);
    assert.deepEqual(await wrongAccounts(sql), []);
  }));

test("two archivers at once: the second goes away, and nothing is moved twice or lost", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const { orchestrator, segments, stitch, ...others } = await finishedTravel(sql, user);
    const ids = [orchestrator, ...segments, stitch, ...Object.values(others)];
    await age(sql, ids);
    await age(sql, [others.single, others.failed], 400);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    assert.equal(await archiveBy(first, 2), 2);
    assert.equal(await archiveBy(second), 0);
    await first.query("rollback");
    assert.deepEqual(await archived(sql), []);
    await first.query("begin");
    assert.equal(await archiveBy(first, 2), 2);
    assert.equal(await archiveBy(second), 0);
    await first.query("commit");
    assert.equal(await archiveBy(second), ids.length - 2);
    assert.deepEqual(await archived(sql), ids.toSorted());
  }));

test("an archiver waits for nobody: neither a task, a child nor a project that somebody has locked", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const { orchestrator, segments, stitch, ...others } = await finishedTravel(sql, user);
    await age(sql, [orchestrator, ...segments, stitch, ...Object.values(others)]);
    const [archiver, holder] = [await database.session(), await database.session()];
    await archiver.query("set lock_timeout = '1ms'");

    await holder.query("begin");
    await holder.query("select from tasks where id = $1 for share", [segments[1] ?? null]);
    assert.equal(await archiveBy(archiver), Object.keys(others).length, "the family stays whole");
    await holder.query("commit");
    await holder.query("begin");
    await holder.query("delete from projects where id = $1", [user.projectId]);
    assert.equal(await archiveBy(archiver), 0);
    await holder.query("rollback");
    await holder.query("begin");
    await holder.query("select from projects where id = $1 for update", [user.projectId]);
    assert.equal(await archiveBy(archiver), 0);
    await holder.query("rollback");
    assert.equal(await archiveBy(archiver), segments.length + 2);
  }));

test("archiving and retrying one failed task: whoever comes first wins, in both orders", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const [archiver, retrier] = [await database.session(), await database.session()];
    const task = await failedLongAgo(sql, user);

    await retrier.query("begin");
    await setStatus(retrier, task, "Queued");
    assert.equal(await archiveBy(archiver), 0, "skipped while the retry has it");
    await retrier.query("commit");
    assert.equal(await archiveBy(archiver), 0, "and queued afterwards");
    assert.deepEqual(await archived(sql), []);

    await setStatus(sql, task, "Failed");
    await age(sql, [task]);
    await archiver.query("begin");
    assert.equal(await archiveBy(archiver), 1);
    const retried = refusedWith(setStatus(retrier, task, "Queued"));
    await lockIsAwaited(sql);
    await archiver.query("commit");
    assert.equal(await retried, "invalid_transition");
    assert.deepEqual(await archived(sql), [task]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: 100_000_000, held: 0 });
  }));

test("archiving a dependency while a task is created that needs it: in both orders it is found", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const [archiver, creator] = [await database.session(), await database.session()];
    const [dependency, other] = [await finished(sql, user), await finished(sql, user)];
    await age(sql, [dependency]);

    await archiver.query("begin");
    assert.equal(await archiveBy(archiver), 1);
    const created = queueTask(creator, user, { dependantOn: [dependency] });
    await lockIsAwaited(sql);
    await archiver.query("commit");
    const [row] = await sql`select unmet_dependencies as unmet from tasks where id = ${await created}`;
    assert.equal(row?.["unmet"], 0);

    await age(sql, [other]);
    await creator.query("begin");
    await queueTask(creator, user, { dependantOn: [other] });
    assert.equal(await archiveBy(archiver), 0);
    await creator.query("commit");
    assert.equal(await archiveBy(archiver), 0, "an open task depends on it now");
  }));

test("archived tasks have the columns of tasks, but for those of the queue; the view has those for readers", () =>
  withDatabase(async ({ sql }) => {
    const queueOnly = [
      // Of a run that is under way.
      "covered_seconds",
      "covered_until",
      "dependency_depth",
      // A copy of `error_message` for clients that write it so.
      "error_details",
      "is_following",
      "is_scheduled",
      "lane_id",
      "lease_expires_at",
      "progress_shown_at",
      "project_slot",
      // What its children are priced by; they come while it is open.
      "part_prices",
      // Since when it waits for a worker.
      "ready_at",
      "slot",
      "task_type_slot",
    ];
    const columns = async (relation: string) =>
      new Map(
        (
          await sql<{ name: string; type: string }[]>`
            select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
             where attrelid = ${relation}::regclass and attnum > 0 and not attisdropped`
        ).map(({ name, type }) => [name, type]),
      );
    const [hot, archive, view] = await Promise.all(["tasks", "archived_tasks", "all_tasks"].map(columns));
    assert.ok(hot && archive && view);
    for (const name of queueOnly) assert.ok(hot.delete(name), name);
    assert.ok(archive.delete("archived_at"));
    assert.deepEqual([...archive].toSorted(), [...hot].toSorted());
    for (const name of ["request_hash", "result_key"]) assert.ok(hot.delete(name), name);
    assert.ok(view.delete("lease_expires_at"));
    assert.deepEqual([...view].toSorted(), [...hot].toSorted());
  }));

/** A task of the kinds that orchestrations are made of, all ended: complete, failed, cancelled, dependent. */
async function finishedTravel(sql: Sql, user: TestUser) {
  const single = await finished(sql, user);
  const orchestrator = await queueTask(sql, user, {
    taskType: "travel_orchestrator",
    params: {
      orchestrator_details: { run_id: "run-1", num_new_segments_to_generate: 3, independent_segments: false },
    },
  });
  const conductor = await claimed(sql, orchestrator);
  const segments: string[] = [];
  for (const index of [0, 1, 2]) {
    const before = segments.at(-1);
    const segment = await queueTask(sql, user, {
      taskType: "travel_segment",
      params: {
        orchestrator_task_id_ref: orchestrator,
        orchestrator_run_id: "run-1",
        segment_index: index,
        prompt: `segment ${index}`,
      },
      ...(before && { dependantOn: [before] }),
    });
    const { worker } = await claimed(sql, segment);
    await complete(sql, segment, { worker });
    segments.push(segment);
  }
  const stitch = await queueTask(sql, user, {
    taskType: "travel_stitch",
    params: { orchestrator_details: { orchestrator_task_id: orchestrator } },
    dependantOn: segments.toReversed(),
  });
  const stitcher = await claimed(sql, stitch);
  await complete(sql, stitch, stitcher);
  await complete(sql, orchestrator, conductor);

  const failed = await queueTask(sql, user, { params: { prompt: "too hard" } });
  const dependant = await queueTask(sql, user, { dependantOn: [single, failed] });
  await setStatus(sql, failed, "Failed", { changes: { error_details: "out of memory" } });
  const cancelled = await queueTask(sql, user);
  await setStatus(sql, cancelled, "Cancelled");
  return { orchestrator, segments, stitch, single, failed, dependant, cancelled };
}

/** What every read endpoint answers about these tasks, to the service and to their user. */
async function everyAnswer(
  sql: Sql,
  { userId, projectId }: TestUser,
  ids: string[],
  { updatedAtIsOf }: { updatedAtIsOf?: Answers } = {},
): Promise<Answers> {
  const answers: Answers = {};
  for (const user of [null, userId]) {
    const of = user ? "user" : "service";
    for (const id of ids) {
      for (const name of [
        "get_task_status",
        "get_task_output",
        "get_predecessor_output",
        "get_orchestrator_children",
        "calculate_cost_of_task",
      ]) {
        const [row] = await sql.query<{ answer: unknown }[]>(`select ${name}($1, $2) as answer`, [user, id]);
        answers[`${of} ${name} ${id}`] = row?.answer;
      }
    }
    const [segments] = await sql<{ answer: unknown[] }[]>`
      select get_completed_segments(${user}, 'run-1', ${projectId}) as answer`;
    assert.equal(segments?.answer.length, 3);
    answers[`${of} segments`] = segments?.answer;
    for (const statuses of [null, ["Complete"], ["Failed", "Cancelled"], ["Queued", "In Progress"]]) {
      for (const types of [null, ["travel_segment"]]) {
        let cursor: string | null = null;
        const pages: unknown[] = [];
        do {
          const [row] = (await sql`
            select tasks_list(${user}, ${projectId}, ${statuses}::text[]::task_status[], ${types}::text[],
                              page_limit => 2, after_cursor => ${cursor}) as page`) as [{ page: Page }];
          pages.push(row.page);
          cursor = row.page.next_cursor;
        } while (cursor !== null);
        answers[`${of} list ${String(statuses)} ${String(types)}`] = pages;
      }
    }
  }
  // The test turned this clock back, so that there was something to archive.
  return JSON.parse(
    JSON.stringify(answers, (key, value: unknown) =>
      key === "updated_at" && updatedAtIsOf !== undefined ? "turned back" : value,
    ).replaceAll(/"updated_at":"[^"]*"/g, '"updated_at":"turned back"'),
  ) as Answers;
}

type Answers = Record<string, unknown>;
interface Page {
  tasks: Record<string, unknown>[];
  next_cursor: string | null;
}

/** What a refusal says of the task's status and what could follow it. */
function transitionsOf(refusal: unknown): unknown[] {
  const { detail } = refusal as { detail: string };
  const { current_status, allowed_transitions } = JSON.parse(detail) as Record<string, unknown>;
  return [current_status, allowed_transitions];
}

async function finished(sql: Sql, user: TestUser): Promise<string> {
  const task = await queueTask(sql, user);
  const { worker } = await claimed(sql, task);
  await complete(sql, task, { worker });
  return task;
}

async function failedLongAgo(sql: Sql, user: TestUser): Promise<string> {
  const task = await queueTask(sql, user);
  await setStatus(sql, task, "Failed");
  await age(sql, [task]);
  return task;
}

/** This task's run; nothing else is ready in these tests. */
async function claimed(sql: Sql, task: string): Promise<{ worker: string; attempt: number }> {
  const worker = `worker-of-${task}`;
  const [row] = await sql<{ claim: { task_id: string; attempt: number } | null }[]>`
    select claim_next_task(for_user => null, for_worker => ${worker}) as claim`;
  assert.equal(row?.claim?.task_id, task);
  return { worker, attempt: row.claim.attempt };
}

async function age(sql: Sql, ids: string[], days = 365): Promise<void> {
  await sql`update tasks set updated_at = now() - make_interval(days => ${days}) where id = any(${ids}::uuid[])`;
}

/** Until a connection of this database waits for a lock, which only the other of two can hold. */
async function lockIsAwaited(sql: Sql): Promise<void> {
  for (;;) {
    const waiting = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (waiting.length > 0) return;
  }
}

async function archive(sql: Sql, atMost = 1000): Promise<number> {
  const [row] = await sql<{ moved: number }[]>`select archive_finished_tasks(${atMost}) as moved`;
  return row?.moved ?? -1;
}

async function archiveBy(session: Session, atMost = 1000): Promise<number> {
  const { rows } = await session.query<{ moved: number }>(
    `select archive_finished_tasks(${atMost}) as moved`,
  );
  return rows[0]?.moved ?? -1;
}

async function archived(sql: Sql): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`select id from archived_tasks`;
  return rows.map(({ id }) => id).toSorted();
}

async function made(sql: Sql): Promise<Record<string, unknown>[]> {
  return [
    ...(await sql`select 'generation' as kind, id, source_task_id, tasks::text as tasks, location, params::text as params, updated_at
                    from generations
                  union all
                  select 'variant', id, source_task_id, null, location, params::text, created_at from generation_variants
                  order by kind`),
  ];
}
