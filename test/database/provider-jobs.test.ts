import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { refusal } from "../../supabase/functions/_shared/database/database.ts";
import { json, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type Session, withDatabase } from "../support/database.ts";
import {
  accountOf,
  claim,
  complete,
  createUser,
  queueTask,
  refusedWith,
  setStatus,
  wrongAccounts,
  checkedFiles,
} from "../support/factories.ts";

const model = "fal-ai/z-image/turbo";
const intent = { provider: "fal", model };

function note(
  connection: Sql | Session,
  taskId: string,
  attempt: number,
  job: Record<string, unknown> | null,
) {
  return setStatus(connection, taskId, "In Progress", { attempt, changes: { provider_job: job } });
}

/** What a claim hands out of a task's job. */
async function claimedJob(connection: Sql | Session, worker: string, forUser?: string): Promise<unknown> {
  const claimed = (await claim(connection, worker, forUser)) as {
    provider_job?: { request_id: string | null };
  } | null;
  assert.ok(claimed, "there is a task");
  return claimed.provider_job?.request_id;
}

/** The job that a refusal names. */
async function jobNamedBy(call: Promise<unknown>): Promise<Record<string, unknown> | undefined> {
  const error = await call.then(() => undefined, refusal);
  assert.ok(error instanceof AppError && error.code === "provider_job_open", String(error));
  return error.details["provider_job"] as Record<string, unknown> | undefined;
}

async function running(
  sql: Sql,
  params: Record<string, unknown> = {},
): Promise<{ taskId: string; userId: string }> {
  const user = await createUser(sql);
  const taskId = await queueTask(sql, user, { params });
  await claim(sql, "worker");
  return { taskId, userId: user.userId };
}

test("a job is noted before and after it is submitted, and handed to the next run; a second is not begun meanwhile", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    const known = { ...intent, request_id: "job-1" };
    await note(sql, taskId, 1, intent);
    await note(sql, taskId, 1, intent);
    await note(sql, taskId, 1, known);
    await note(sql, taskId, 1, known);
    assert.equal(await refusedWith(note(sql, taskId, 1, intent)), "provider_job_open");
    assert.equal(
      await refusedWith(note(sql, taskId, 1, { ...intent, request_id: "job-2" })),
      "provider_job_open",
    );
    assert.equal(
      await refusedWith(note(sql, taskId, 1, { ...known, model: "fal-ai/other" })),
      "provider_job_open",
    );
    await setStatus(sql, taskId, "Queued", { attempt: 1 });
    assert.equal(await claimedJob(sql, "heir"), "job-1");
    // Ended by an error: the next run begins another.
    await setStatus(sql, taskId, "Queued", { attempt: 2, changes: { provider_job: null } });
    assert.equal(await claimedJob(sql, "heir"), undefined);
    await note(sql, taskId, 3, intent);
  }));

test("an intent whose job is not known is handed on as such, and taken over", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    await note(sql, taskId, 1, { ...intent, webhook_key: randomUUID() });
    await setStatus(sql, taskId, "Queued", { attempt: 1 });
    assert.equal(await claimedJob(sql, "heir"), null);
    assert.equal(await refusedWith(note(sql, taskId, 1, { ...intent, request_id: "late" })), "stale_attempt");
    await note(sql, taskId, 2, intent);
    await note(sql, taskId, 2, { ...intent, request_id: "job-2" });
  }));

test("of two runs at once, the one that has lost its task notes nothing: the order is the lock's", () =>
  withDatabase(async (database) => {
    const { taskId } = await running(database.sql);
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    await setStatus(first, taskId, "Queued", { attempt: 1 });
    const late = refusedWith(note(second, taskId, 1, intent));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await late, "stale_attempt");
    assert.deepEqual([...(await database.sql`select from provider_jobs`)], []);
  }));

test("one job is one task's, though two runs say so at once", () =>
  withDatabase(async (database) => {
    const [one, two] = [await running(database.sql), await running(database.sql)];
    for (const { taskId } of [one, two]) await note(database.sql, taskId, 1, intent);
    const [first, second] = [await database.session(), await database.session()];
    const known = { ...intent, request_id: "job-1" };
    await first.query("begin");
    await note(first, one.taskId, 1, known);
    const other = refusedWith(note(second, two.taskId, 1, known));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await other, "provider_job_open");
  }));

test("the webhook's key names a job whose id was not noted, once; whoever notes it first wins", () =>
  withDatabase(async (database) => {
    const { taskId } = await running(database.sql);
    const webhook_key = randomUUID();
    await note(database.sql, taskId, 1, { ...intent, webhook_key });
    const find = async (connection: Session, id: string, key: string | null) => {
      const { rows } = await connection.query<{ job: { task_id: string; attempt: number } | null }>(
        "select find_provider_job('fal', array[$1], $2) as job",
        [id, key],
      );
      return rows[0]?.job;
    };
    const [first, second] = [await database.session(), await database.session()];
    await first.query("begin");
    const found = await find(first, "job-1", webhook_key);
    assert.deepEqual([found?.task_id, found?.attempt], [taskId, 1]);
    const other = find(second, "job-2", webhook_key);
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await other, null);
    assert.equal((await find(second, "job-1", null))?.task_id, taskId);
    await note(database.sql, taskId, 1, { ...intent, request_id: "job-1" });
    assert.equal(
      await refusedWith(note(database.sql, taskId, 1, { ...intent, request_id: "job-2" })),
      "provider_job_open",
    );
  }));

test("an owner's job is not the cloud's, nor the other way round", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    await claim(sql, "home", user.userId);
    const byOwner = (status: string, changes: Record<string, unknown>) =>
      sql`select update_task_status(${user.userId}, 'personal-access-token', ${taskId}, ${status}::task_status, null, null, ${sql.json(changes as never)})`;
    await byOwner("In Progress", { provider_job: intent });
    await byOwner("In Progress", { provider_job: { ...intent, request_id: "theirs" } });
    await byOwner("Queued", {});
    assert.equal(await claimedJob(sql, "cloud"), undefined);
    const [row] = await sql`select find_provider_job('fal', array['theirs']) as job`;
    assert.equal(row?.["job"], null, "the webhook ends no run of theirs");
    await note(sql, taskId, 2, intent);
    await note(sql, taskId, 2, { ...intent, request_id: "ours" });
    await setStatus(sql, taskId, "Queued", { attempt: 2 });
    assert.equal(await claimedJob(sql, "home", user.userId), undefined);
  }));

test("constraints take no id and no model that would lead elsewhere at the provider", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    // Otherwise a model without a price is refused before.
    await sql`update queue_settings set allows_provider_loss = true`;
    for (const job of [
      { provider: "FAL", model },
      { provider: "fal", model: "fal-ai" },
      { provider: "fal", model: "fal-ai/../x" },
      { provider: "fal", model: "https://x/y" },
    ]) {
      await assert.rejects(note(sql, taskId, 1, job), /violates check constraint/, JSON.stringify(job));
    }
    await note(sql, taskId, 1, intent);
    for (const request_id of ["", "../x", "a/b", "a?b", "x".repeat(101)]) {
      await assert.rejects(
        note(sql, taskId, 1, { ...intent, request_id }),
        /violates check constraint/,
        request_id,
      );
    }
  }));

test("a task that is given back has not failed, twenty times at most; its job stays", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user);
    for (let attempt = 1; attempt <= 22; attempt++) {
      const claimed = await claim(sql, "worker");
      assert.equal(claimed?.attempt, attempt);
      assert.equal(claimed?.attempts, Math.max(0, attempt - 21));
      if (attempt === 1) {
        await note(sql, taskId, 1, intent);
        await note(sql, taskId, 1, { ...intent, request_id: "job-1" });
      }
      await setStatus(sql, taskId, "Queued", { attempt, changes: { given_back: true } });
    }
    const [row] = await sql`select status, attempts from tasks where id = ${taskId}`;
    assert.deepEqual([row?.["status"], row?.["attempts"]], ["Queued", 2]);
    assert.equal(await claimedJob(sql, "worker"), "job-1");
    // The last attempt is not lost by it either.
    await sql`update tasks set attempts = 2 where id = ${taskId}`;
    const other = await queueTask(sql, user);
    await sql`update tasks set attempts = 2 where id = ${other}`;
    await claim(sql, "worker");
    await setStatus(sql, other, "Queued", { changes: { given_back: true } });
    const [last] = await sql`select status, attempts from tasks where id = ${other}`;
    assert.deepEqual([last?.["status"], last?.["attempts"]], ["Queued", 2]);
  }));

test("a job goes with its task", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    await note(sql, taskId, 1, intent);
    await complete(sql, taskId, { worker: "worker", attempt: 1 });
    await sql`update tasks set updated_at = now() - interval '31 days' where id = ${taskId}`;
    const [row] = await sql`select archive_finished_tasks() as archived`;
    assert.equal(row?.["archived"], 1);
    assert.deepEqual([...(await sql`select from provider_jobs`)], []);
  }));

test("several outputs become variants of one generation, all or nothing; fewer than were asked for are paid as what they are", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = await queueTask(sql, user, { params: { prompt: "a", num_images: 4 } });
    await claim(sql, "worker");
    assert.equal((await accountOf(sql, user.userId)).held, 4 * 6500);
    const paths = [1, 2, 3].map((index) => `${user.userId}/tasks/${taskId}/1-${index}.png`);
    const [first, ...more] = paths;
    const outputs = more.map((path) => ({
      path,
      location: `https://media.example/${path}`,
      facts: { seed: 7 },
    }));
    const finish = () => sql<{ done: { more_outputs: unknown[]; cost_microusd: number } }[]>`
      select complete_task(null, ${taskId}, ${first ?? ""}, ${`https://media.example/${first}`}, for_attempt => 1,
                           output_facts => '{"seed": 5, "has_nsfw_concepts": false}', more_outputs => ${sql.json(outputs)},
                           checked_files => ${sql.json(checkedFiles(paths))}) as done`;
    await sql`insert into storage.objects (bucket_id, name) select 'image_uploads', unnest(${paths.slice(0, 2)}::text[])`;
    assert.equal(await refusedWith(finish()), "output_not_found");
    assert.equal((await sql`select from generation_variants`).length, 0);
    await sql`insert into storage.objects (bucket_id, name) values ('image_uploads', ${paths[2] ?? ""})`;
    const [row] = await finish();
    assert.equal(row?.done.more_outputs.length, 2);
    assert.equal(row?.done.cost_microusd, 3 * 6500);
    assert.deepEqual((await finish())[0]?.done, row?.done, "a repeat gets the same answer");
    const variants = await sql`
      select output_index, is_primary, params ->> 'seed' as seed, params -> 'has_nsfw_concepts' as flag
        from generation_variants order by output_index`;
    assert.deepEqual(
      variants.map((variant) => Object.values(variant)),
      [
        [0, true, "5", false],
        [1, false, "7", false],
        [2, false, "7", false],
      ],
    );
    const { balance, held } = await accountOf(sql, user.userId);
    assert.deepEqual([balance, held], [100_000_000 - 3 * 6500, 0]);
    assert.deepEqual(await wrongAccounts(sql), []);
    assert.deepEqual([...(await sql`select * from find_task_faults()`)], []);
    const [receipt] = await sql`select get_receipt(null, null, ${taskId}, null) as receipt`;
    assert.ok(receipt);
    const { lines } = receipt["receipt"] as { lines: { multiplier: number; total_microusd: number }[] };
    assert.deepEqual(
      lines.map(({ multiplier, total_microusd }) => [multiplier, total_microusd]),
      [[3, 3 * 6500]],
    );
  }));

test("outputs that a safety checker made black come last, are flagged, and are charged only where the price says so", () =>
  withDatabase(async ({ sql }) => {
    const price = 6500;
    const cases = [
      // Which outputs are flagged; the checker; the price's policy; what is charged, and which outputs are shown in order.
      {
        flags: [true, false, true],
        checker: undefined,
        policy: "free",
        charged: 1,
        order: [1, 0, 2],
        black: 2,
      },
      { flags: [false, true, false], checker: true, policy: "free", charged: 2, order: [0, 2, 1], black: 1 },
      {
        flags: [true, false, true],
        checker: undefined,
        policy: "charged",
        charged: 3,
        order: [1, 0, 2],
        black: 2,
      },
      {
        flags: [true, true, true],
        checker: undefined,
        policy: "charged",
        charged: 3,
        order: [0, 1, 2],
        black: 3,
      },
      { flags: [true, false, true], checker: false, policy: "free", charged: 3, order: [0, 1, 2], black: 0 },
      { flags: [true, true, true], checker: undefined, policy: "free", charged: 0, order: [], black: 3 },
    ];
    for (const { flags, checker, policy, charged, order, black } of cases) {
      await sql`select publish_price('z_image_turbo', 'per_unit', ${price}, '{"images": {"included": 1, "each": 1}}', null,
                                     'test', 'test', ${randomUUID()}, blacked_out_policy => ${policy})`;
      const user = await createUser(sql);
      const enable = checker === undefined ? {} : { enable_safety_checker: checker };
      const taskId = await queueTask(sql, user, { params: { prompt: "a", num_images: 3, ...enable } });
      const dependant = await queueTask(sql, user, { dependantOn: [taskId] });
      await claim(sql, "worker");
      const paths = flags.map((_, index) => `${user.userId}/tasks/${taskId}/1-${index}.png`);
      await sql`insert into storage.objects (bucket_id, name) select 'image_uploads', unnest(${paths}::text[])`;
      const [first, ...more] = flags.map((flag, index) => ({
        path: paths[index] ?? "",
        location: `https://media.example/${paths[index]}`,
        facts: { has_nsfw_concepts: flag },
      }));
      const [row] = await sql<{ done: Record<string, unknown> }[]>`
        select complete_task(null, ${taskId}, ${first?.path ?? ""}, ${first?.location ?? ""}, for_attempt => 1,
                             output_facts => ${sql.json(first?.facts ?? {})}, more_outputs => ${sql.json(more)},
                             checked_files => ${sql.json(checkedFiles(paths))}) as done`;
      const isShown = order.length > 0;
      assert.equal(row?.done["status"], isShown ? "Complete" : "Failed");
      assert.equal(row.done["cost_microusd"], charged * price);
      const variants = await sql<{ location: string; is_primary: boolean; black: boolean }[]>`
        select location, is_primary, params ? 'blacked_out' as black
          from generation_variants where source_task_id = ${taskId} order by output_index`;
      assert.deepEqual(
        variants.map(({ location }) => Number(/(\d)\.png$/.exec(location)?.[1])),
        order,
      );
      assert.deepEqual(
        variants.map(({ is_primary }) => is_primary),
        order.map((_, place) => place === 0),
      );
      assert.equal(variants.filter((variant) => variant.black).length, isShown ? black : 0);
      const [task] = await sql<{ told: { blacked_out: number; error_message: string | null } }[]>`
        select get_task_status(${user.userId}, ${taskId}) as told`;
      assert.equal(task?.told.blacked_out, black);
      assert.equal((task.told.error_message ?? "").startsWith("blacked_out"), !isShown);
      assert.equal(JSON.stringify(row.done["warnings"]).includes("made"), isShown && black > 0);
      const [waiting] = await sql`select status from tasks where id = ${dependant}`;
      assert.equal(
        waiting?.["status"],
        isShown ? "Queued" : "Failed",
        "nothing goes on with a black picture",
      );
      assert.equal((await accountOf(sql, user.userId)).balance, 100_000_000 - charged * price);
      assert.deepEqual(await wrongAccounts(sql), []);
      assert.deepEqual([...(await sql`select rule, row_id, details from find_task_faults()`)], []);
      await sql`select end_task(${dependant}, 'Cancelled', 'another case')`;
    }
  }));

test("another user's file is no further output", () =>
  withDatabase(async ({ sql }) => {
    const { taskId, userId } = await running(sql, { num_images: 2 });
    const stranger = await createUser(sql);
    const own = `${userId}/tasks/${taskId}/1-a.png`;
    const theirs = `${stranger.userId}/uploads/b.png`;
    await sql`insert into storage.objects (bucket_id, name) values ('image_uploads', ${own}), ('image_uploads', ${theirs})`;
    const outputs = [{ path: theirs, location: "https://media.example/b.png", facts: {} }];
    const finish = sql`select complete_task(null, ${taskId}, ${own}, 'https://media.example/a.png',
      more_outputs => ${sql.json(outputs)}, checked_files => ${sql.json(checkedFiles([own, theirs]))})`;
    assert.equal(await refusedWith(finish), "forbidden");
  }));

test("an owner's run that begins its own job, or forgets the job, leaves the cloud's job to be withdrawn", () =>
  withDatabase(async ({ sql }) => {
    for (const said of [{ ...intent }, null]) {
      const { taskId, userId } = await running(sql);
      const requestId = randomUUID();
      await note(sql, taskId, 1, intent);
      await note(sql, taskId, 1, { ...intent, request_id: requestId });
      await setStatus(sql, taskId, "Queued", { attempt: 1, changes: { given_back: true } });
      assert.equal((await claim(sql, "home", userId))?.task_id, taskId);
      await sql`select update_task_status(${userId}, 'personal-access-token', ${taskId}, 'In Progress',
        for_attempt => 2, changes => ${json({ provider_job: said })}::jsonb)`;
      const withdrawals = await sql<{ state: string; cost: number }[]>`
        select state, cost_microusd::int as cost from provider_withdrawals where request_id = ${requestId}`;
      assert.deepEqual([...withdrawals], [{ state: "open", cost: 0 }]);
    }
  }));

test("a task has a job for each step; a claim hands all of them out, and each is noted and forgotten by its step", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    const key = randomUUID();
    const steps: Record<string, unknown>[] = [
      { ...intent, step: 0, units: { images: 1, megapixels: 2 }, completes: false },
      { ...intent, step: 0, request_id: "job-0" },
      { ...intent, step: 2, model: "fal-ai/z-image/turbo/lora", units: { seconds: 4.5 }, webhook_key: key },
      { ...intent, step: 1 },
      { ...intent, step: 1, request_id: "job-1" },
    ];
    for (const job of steps) await note(sql, taskId, 1, job);
    assert.deepEqual(await jobNamedBy(note(sql, taskId, 1, { ...intent, step: 1 })), {
      step: 1,
      provider: "fal",
      model,
      request_id: "job-1",
    });
    assert.equal(
      await refusedWith(note(sql, taskId, 1, { ...intent, step: 3, request_id: "x" })),
      "provider_job_open",
    );
    assert.equal(
      await refusedWith(
        note(sql, taskId, 1, { ...intent, step: 2, model: "fal-ai/z-image/turbo/lora", request_id: "job-1" }),
      ),
      "provider_job_open",
    );

    await setStatus(sql, taskId, "Queued", { attempt: 1 });
    const claimed = (await claim(sql, "heir")) as unknown as {
      provider_job: Record<string, unknown>;
      provider_jobs: Record<string, unknown>[];
    };
    const known = claimed.provider_jobs.map(({ began_at, ...job }) => (assert.ok(began_at), job));
    assert.deepEqual(known, [
      { step: 0, provider: "fal", model, request_id: "job-0" },
      { step: 1, provider: "fal", model, request_id: "job-1" },
      { step: 2, provider: "fal", model: "fal-ai/z-image/turbo/lora", request_id: null, webhook_key: key },
    ]);
    assert.equal(claimed.provider_job["request_id"], "job-0");

    // One job failed: the next run begins it again, and goes on with the others.
    await setStatus(sql, taskId, "Queued", { attempt: 2, changes: { ended_provider_steps: [0, 2, 7] } });
    const next = (await claim(sql, "heir")) as unknown as typeof claimed;
    assert.deepEqual(
      next.provider_jobs.map(({ step, request_id }) => [step, request_id]),
      [[1, "job-1"]],
    );
    assert.equal(next.provider_job, undefined);
    await note(sql, taskId, 3, null);
    assert.deepEqual([...(await sql`select from provider_jobs`)], []);
  }));

test("an intent that is noted again with its key keeps its time and units, and is refused once the webhook has named its job", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    const webhook_key = randomUUID();
    const again = { ...intent, step: 4, webhook_key };
    await note(sql, taskId, 1, { ...again, units: { seconds: 5 }, completes: false });
    await sql`update provider_jobs set began_at = now() - interval '1 minute'`;
    await note(sql, taskId, 1, again);
    const kept = async () =>
      (
        await sql<{ is_old: boolean; units: unknown; completes: boolean }[]>`
          select began_at < now() - interval '30 seconds' as is_old, units, completes from provider_jobs`
      )[0];
    assert.deepEqual(await kept(), { is_old: true, units: { seconds: 5 }, completes: false });
    const [found] = await sql<{ job: Record<string, unknown> }[]>`
      select find_provider_job('fal', array['told'], ${webhook_key}) as job`;
    assert.deepEqual([found?.job["step"], found?.job["completes"]], [4, false]);
    assert.equal((await jobNamedBy(note(sql, taskId, 1, again)))?.["request_id"], "told");
    // Another key is another submission.
    await setStatus(sql, taskId, "In Progress", { attempt: 1, changes: { ended_provider_steps: [4] } });
    await note(sql, taskId, 1, again);
    await note(sql, taskId, 1, { ...again, webhook_key: randomUUID(), units: { seconds: 6 } });
    assert.deepEqual(await kept(), { is_old: false, units: { seconds: 6 }, completes: true });
  }));

test("constraints take no step and no units that there are not", () =>
  withDatabase(async ({ sql }) => {
    const { taskId } = await running(sql);
    for (const wrong of [
      { step: 64 },
      { step: -1 },
      { units: { hours: 1 } },
      { units: { seconds: -1 } },
      { units: { seconds: "1" } },
      { units: { seconds: 1e12 } },
      { units: [1] },
    ]) {
      await assert.rejects(
        note(sql, taskId, 1, { ...intent, ...wrong }),
        /violates check constraint/,
        JSON.stringify(wrong),
      );
    }
  }));

test("what a run could not do is stored with the task, shown by every read, and kept in the archive", () =>
  withDatabase(async ({ sql }) => {
    const { taskId, userId } = await running(sql);
    const path = `${userId}/tasks/${taskId}/1-a.png`;
    await sql`insert into storage.objects (bucket_id, name) values ('image_uploads', ${path})`;
    const warnings = ["the model has no negative prompt", "a frame shorter"];
    await sql`select complete_task(null, ${taskId}, ${path}, ${`https://media.example/${path}`}, for_attempt => 1,
      checked_files => ${sql.json(checkedFiles([path]))}, output_warnings => ${warnings}::text[])`;
    const read = async () =>
      (
        await sql<Record<string, unknown>[]>`
          select get_task_status(${userId}, ${taskId}) -> 'warnings' as status,
                 get_task_output(${userId}, ${taskId}) -> 'warnings' as output,
                 tasks_list(${userId}, project_id) -> 'tasks' -> 0 -> 'warnings' as list,
                 to_json(warnings) as row
            from all_tasks where id = ${taskId}`
      )[0];
    assert.deepEqual(Object.values((await read()) ?? {}), [warnings, warnings, warnings, warnings]);
    const [generation] = await sql`select params -> 'warnings' as said from generations`;
    assert.deepEqual(generation?.["said"], warnings);
    await sql`update tasks set updated_at = now() - interval '31 days' where id = ${taskId}`;
    await sql`select archive_finished_tasks()`;
    assert.deepEqual(Object.values((await read()) ?? {}), [warnings, warnings, warnings, warnings]);
  }));
