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
  setStatus,
  stopTending,
  type TaskOptions,
  type TestUser,
  checkedFiles,
} from "../support/factories.ts";
import { brokenPromises } from "../support/queue-rows.ts";

const price = 6500; // z_image_turbo, one output
const balance = 1_000_000;
const fox = { prompt: "a fox", seed: 7, resolution: "902x508" };

/** A user whose project reuses results; after the test the whole queue and all books have to be sound. */
async function reusing(
  run: (database: DatabaseUnderTest & { user: TestUser }) => Promise<void>,
): Promise<void> {
  await withDatabase(async (database) => {
    const user = await createUser(database.sql, balance);
    await database.sql`update projects set reuses_results = true where id = ${user.projectId}`;
    await run({ ...database, user });
    assert.deepEqual([...(await brokenPromises(database.sql))], []);
  });
}

interface Created {
  task_id: string;
  status: string;
  reused: boolean;
  shares_run: boolean;
  held_microusd: number;
  upper_bound_microusd: number;
  deduplicated: boolean;
}

/** `create-task`, and its answer. */
async function create(
  connection: Sql | Session,
  { projectId }: TestUser,
  { taskType = "z_image_turbo", params = fox, taskId, dependantOn, runAfter }: TaskOptions = {},
): Promise<Created> {
  const request = {
    task_type: taskType,
    params,
    project_id: projectId,
    ...(taskId && { task_id: taskId }),
    ...(dependantOn && { dependant_on: dependantOn }),
    ...(runAfter && { run_after: runAfter.toISOString() }),
  };
  const text = "select create_task(null, $1::jsonb, false) as created";
  const rows =
    typeof connection === "function"
      ? await connection.query<{ created: Created }[]>(text, [json([request])])
      : (await connection.query<{ created: Created }>(text, [json([request])])).rows;
  assert.ok(rows[0]);
  return rows[0].created;
}

/** A run that has ended with a file, by the cloud's worker. @returns its id */
async function made(sql: Sql, user: TestUser, options: TaskOptions = {}): Promise<string> {
  const { task_id: id } = await create(sql, user, options);
  await run(sql, id);
  return id;
}

async function run(sql: Sql, id: string): Promise<void> {
  const claimed = await claim(sql, "worker");
  assert.equal(claimed?.task_id, id, "the task that is to run is the next");
  await complete(sql, id, { worker: "worker" });
}

async function stateOf(sql: Sql, ...ids: string[]): Promise<Record<string, unknown>[]> {
  const rows = await sql<Record<string, unknown>[]>`
    select id, status, is_following, unmet_dependencies as unmet, reused_task_id, cost_microusd::int as cost
      from tasks where id = any(${ids})`;
  return ids.map((id) => {
    const { id: _, ...state } = rows.find((row) => row["id"] === id) ?? {};
    return state;
  });
}

const following = { status: "Queued", is_following: true, unmet: 1, reused_task_id: null, cost: null };
const waiting = { ...following, is_following: false, unmet: 0 };
const reusedOf = (id: string, cost = 0) => ({
  status: "Complete",
  is_following: false,
  unmet: 0,
  reused_task_id: id,
  cost,
});

test("the same task again is complete at once, with the first one's file as its own generation, for nothing", () =>
  reusing(async ({ sql, user }) => {
    const [shot] = await sql<{ id: string }[]>`
      insert into shots (project_id) values (${user.projectId}) returning id`;
    await sql`
      insert into webhook_endpoints (project_id, user_id, url, events)
      values (${user.projectId}, ${user.userId}, 'https://hooks.example/', '{task.complete}')`;
    const first = await made(sql, user);
    const before = await accountOf(sql, user.userId);
    const again = await create(sql, user, {
      params: { ...fox, task_id: "another", shot_id: shot?.id, generation_name: "Again" },
    });
    const second = again.task_id;

    assert.deepEqual(
      { ...again, task_id: null },
      {
        task_id: null,
        status: "Task complete",
        task_type: "z_image_turbo",
        project_id: user.projectId,
        cost: 0,
        cost_microusd: 0,
        estimated_cost: 0,
        estimated_cost_microusd: 0,
        hold: 0,
        hold_microusd: 0,
        upper_bound: 0,
        upper_bound_microusd: 0,
        exact: true,
        price_version: 1,
        held_microusd: 0,
        reused: true,
        shares_run: false,
        deduplicated: false,
      },
    );
    assert.deepEqual(await stateOf(sql, second), [reusedOf(first)]);
    assert.deepEqual(await accountOf(sql, user.userId), before);
    const [one, other] = await sql`
      select generation.location, generation.tasks, generation.name, generation.params ->> 'source_task_id' as source,
             variant.location = generation.location as same_file, variant.is_primary,
             (task.result_data ->> 'generation_id')::uuid = generation.id as is_named, task.output_location,
             (select count(*)::int from shot_generations where generation_id = generation.id) as shots
        from generations as generation
        join generation_variants as variant on variant.id = generation.primary_variant_id
        join tasks as task on task.id = generation.source_task_id order by generation.created_at`;
    assert.ok(one && other);
    assert.deepEqual(
      { ...other },
      { ...one, tasks: [second], source: second, name: "Again", shots: 1 },
      "its own record of the same file, in its own shot",
    );
    const [status] = await sql<
      { answer: { status: string; reused: boolean; reused_task_id: string } }[]
    >`select get_task_status(${user.userId}, ${second}) as answer`;
    assert.deepEqual(
      [status?.answer.status, status?.answer.reused, status?.answer.reused_task_id],
      ["Complete", true, first],
    );
    const messages = await sql`
      select (payload::jsonb -> 'data' ->> 'task_id') as id, (payload::jsonb -> 'data' ->> 'reused')::boolean as reused
        from webhook_deliveries where type = 'task.complete' order by seq`;
    assert.deepEqual(
      [...messages].map((row) => ({ ...row })),
      [
        { id: first, reused: false },
        { id: second, reused: true },
      ],
    );
    const events = await sql<{ reused: boolean; status: string }[]>`
      select (payload ->> 'reused')::boolean as reused, payload ->> 'status' as status from realtime.messages
       where event = 'task-update' and payload ->> 'task_id' = ${second}`;
    assert.deepEqual(
      [...events].map((row) => ({ ...row })),
      [{ reused: true, status: "Complete" }],
    );
    assert.equal(await claim(sql, "worker"), null, "nothing is left to run");
  }));

test("a project that did not choose it, another project and another user get a run of their own", () =>
  reusing(async ({ sql, user }) => {
    const plain = await createUser(sql, balance);
    const first = await made(sql, plain);
    const second = await create(sql, plain);
    assert.deepEqual([second.reused, second.shares_run], [false, false]);
    const keys =
      await sql`select from tasks where id in (${first}, ${second.task_id}) and result_key is not null`;
    assert.equal(keys.length, 0, "nor is anything computed");
    await setStatus(sql, second.task_id, "Cancelled");

    await made(sql, user);
    const [sibling] = await sql<{ id: string }[]>`
      insert into projects (user_id, name, reuses_results) values (${user.userId}, 'second', true) returning id`;
    const stranger = await createUser(sql, balance);
    await sql`update projects set reuses_results = true where id = ${stranger.projectId}`;
    for (const other of [{ ...user, projectId: sibling?.id ?? "" }, stranger]) {
      assert.equal((await create(sql, other)).reused, false);
      assert.equal((await create(sql, other)).shares_run, true, "with each other they share");
    }
  }));

test("only who owns a project chooses, over REST", () =>
  withDatabase(async ({ sql, sessionAs }) => {
    const [owner, stranger] = [await createUser(sql), await createUser(sql)];
    const change = async (by: TestUser) => {
      const session = await sessionAs("authenticated", { sub: by.userId });
      const { rows } = await session.query(
        "update projects set reuses_results = true where id = $1 returning id",
        [owner.projectId],
      );
      return rows.length;
    };
    assert.equal(await change(stranger), 0);
    assert.equal(await change(owner), 1);
  }));

// ---- What is the same

const host = "https://studio.example/storage/v1/object/public/image_uploads";

async function storeFile(sql: Sql, name: string, content: string): Promise<void> {
  await sql`
    insert into storage.objects (bucket_id, name, version, metadata)
    values ('image_uploads', ${name}, ${randomUUID()}, ${sql.json({ eTag: `"${content}"`, size: content.length })})
    on conflict (bucket_id, name) do update set version = excluded.version, metadata = excluded.metadata`;
}

test("what is beside the point may differ; what decides the output may not", () =>
  reusing(async ({ sql, user }) => {
    const file = `${host}/${user.userId}/uploads`;
    for (const [name, content] of [
      ["a.png", "red"],
      ["a copy.png", "red"],
      ["b.png", "blue"],
      ["b copy.png", "blue"],
    ] as const) {
      await storeFile(sql, `${user.userId}/uploads/${name}`, content);
    }
    const first = { ...fox, image: `${file}/a.png`, loras: { [`${file}/b.png`]: 0.5 }, cut: null };
    await made(sql, user, { params: first });
    const shot = randomUUID();
    const many = Array.from({ length: 101 }, (_, number) => `${file}/a.png?${number}`);
    const same: [string, Record<string, unknown>][] = [
      ["the same", first],
      ["another order of fields", Object.fromEntries(Object.entries(first).toReversed())],
      ["ids and places", { ...first, task_id: "t", run_id: "r", shotId: shot, add_in_position: true }],
      ["lineage", { ...first, based_on: randomUUID(), create_as_generation: true, tool_type: "x" }],
      ["a field without a value", { ...first, negative_prompt: null }],
      ["the same file elsewhere", { ...first, image: `${file}/a%20copy.png?download=` }],
      ["the same file, signed", { ...first, image: `${file.replace("public", "sign")}/a.png?token=x` }],
      ["the same LoRA elsewhere", { ...first, loras: { [`${file}/b%20copy.png`]: 0.5 } }],
    ];
    for (const [name, params] of same) {
      const answer = await create(sql, user, { params });
      assert.deepEqual([answer.reused, answer.shares_run], [true, false], name);
    }
    // Reusable, but not for what was made.
    const other: [string, Record<string, unknown>, TaskOptions?][] = [
      ["another file", { ...first, image: `${file}/b.png` }],
      ["the name of a file on another host", { ...first, image: `${file.replace("studio", "x")}/a.png` }],
      ["another LoRA", { ...first, loras: { [`${file}/a.png`]: 0.5 } }],
      ["another strength", { ...first, loras: { [`${file}/b.png`]: 0.6 } }],
      ["another seed", { ...first, seed: 8 }],
      ["another prompt", { ...first, prompt: "a wolf" }],
      ["another model", { ...first, model: "b" }],
      ["a field that nobody knows", { ...first, wings: 2 }],
      ["another type", first, { taskType: "qwen_image" }],
    ];
    const never: [string, Record<string, unknown>, TaskOptions?][] = [
      ["a file that is not there", { ...first, image: `${file}/c.png` }],
      ["a file from elsewhere", { ...first, mask: "https://elsewhere.example/a.png" }],
      ["a file from elsewhere, behind a space", { ...first, mask: " //elsewhere.example/a.png" }],
      ["a LoRA from elsewhere", { ...first, loras: { "https://elsewhere.example/a.safetensors": 1 } }],
      ["no seed", { ...first, seed: undefined }],
      ["any seed", { ...first, seed: -1 }],
      ["one of two seeds", { ...first, orchestrator_details: { seed_base: -1 } }],
      ["a seed by chance", { ...first, random_seed: true }],
      ["more than is looked at", { ...first, prompt: "x".repeat(70_000) }],
      ["more files than are looked at", { ...first, frames: many }],
      ["a type whose output is not decided", { ...first, resolution: "2x" }, { taskType: "image_upscale" }],
      ["a time of its own", first, { runAfter: new Date(Date.now() + 3_600_000) }],
    ];
    for (const [cases, shares] of [
      [other, true],
      [never, false],
    ] as const) {
      for (const [name, params, options] of cases) {
        const once = await create(sql, user, { ...options, params });
        const twice = await create(sql, user, { ...options, params });
        assert.deepEqual([once.reused, once.shares_run], [false, false], name);
        assert.deepEqual([twice.reused, twice.shares_run], [false, shares], `${name}, twice`);
        for (const { task_id: id } of [once, twice]) await setStatus(sql, id, "Cancelled");
      }
    }

    await storeFile(sql, `${user.userId}/uploads/a.png`, "green");
    assert.equal((await create(sql, user, { params: first })).reused, false, "a file that was replaced");
  }));

test("a file that its owner alone may read is nobody else's input, not even to compare", () =>
  reusing(async ({ sql, user }) => {
    const stranger = await createUser(sql);
    for (const { userId } of [user, stranger]) {
      await sql`
        insert into storage.objects (bucket_id, name, version, metadata)
        values ('training-data', ${`${userId}/a.png`}, 'v', ${sql.json({ eTag: '"same"', size: 4 })})`;
    }
    const keyOf = async (owner: string, file: string) => {
      const { task_id: id } = await create(sql, user, {
        params: {
          ...fox,
          image: `https://studio.example/storage/v1/object/sign/training-data/${owner}/${file}`,
        },
      });
      const [row] = await sql<{ has_key: boolean }[]>`
        select result_key is not null as has_key from tasks where id = ${id}`;
      return row?.has_key;
    };
    assert.equal(await keyOf(user.userId, "a.png"), true);
    assert.equal(await keyOf(stranger.userId, "a.png"), false);
    assert.equal(await keyOf(stranger.userId, "b.png"), false);
  }));

test("parts of a whole, tasks that wait for others and tasks that only their owner's machine runs are not reused", () =>
  reusing(async ({ sql, user }) => {
    const first = await made(sql, user);
    assert.equal((await create(sql, user, { dependantOn: [first] })).reused, false);
    const orchestrator = await queueTask(sql, user, { taskType: "travel_orchestrator" });
    const part = await create(sql, user, { params: { ...fox, orchestrator_task_id_ref: orchestrator } });
    assert.equal(part.reused, false);
    await sql`update users set settings = '{"ui": {"generationMethods": {"inCloud": false}}}' where id = ${user.userId}`;
    assert.deepEqual(
      [(await create(sql, user)).reused, (await create(sql, user)).shares_run],
      [false, false],
    );
  }));

test("a result counts while its file is there and it is not too old; in the archive as well", () =>
  reusing(async ({ sql, user }) => {
    const first = await made(sql, user);
    await sql`update queue_settings set reuse_results_for = '0'`;
    const early = await create(sql, user);
    assert.equal(early.reused, false);
    await setStatus(sql, early.task_id, "Cancelled");
    await sql`update queue_settings set reuse_results_for = '90 days'`;
    await sql`update tasks set updated_at = now() - interval '1 year' where id = ${first}`;
    assert.equal((await sql`select archive_finished_tasks() as moved`)[0]?.["moved"], 1);
    const second = await create(sql, user);
    assert.deepEqual(await stateOf(sql, second.task_id), [reusedOf(first)]);
    await sql`update tasks set updated_at = now() - interval '1 year' where id = ${second.task_id}`;
    await sql`select archive_finished_tasks()`;
    const [kept] = await sql`select reused_task_id from all_tasks where id = ${second.task_id}`;
    assert.equal(kept?.["reused_task_id"], first);

    await sql`update queue_settings set reuse_results_for = '0'`;
    const late = await create(sql, user);
    assert.equal(late.reused, false);
    await setStatus(sql, late.task_id, "Cancelled");
    await sql`update queue_settings set reuse_results_for = '90 days'`;
    assert.equal((await create(sql, user)).reused, true);

    await sql`delete from storage.objects where name like ${`${user.userId}/tasks/${first}/%`}`;
    assert.equal((await create(sql, user)).reused, false);
  }));

test("deleting the first task and its generation leaves the second as it is, and ends reuse", () =>
  reusing(async ({ sql, user }) => {
    const first = await made(sql, user);
    const { task_id: second } = await create(sql, user);
    await sql`delete from generations where source_task_id = ${first}`;
    await sql`delete from tasks where id = ${first}`;
    const [left] = await sql`
      select generation.location is not null as shown, generation.location = task.output_location as same,
             (select count(*)::int from generation_variants where generation_id = generation.id) as variants
        from generations as generation join tasks as task on task.id = generation.source_task_id
       where task.id = ${second}`;
    assert.deepEqual({ ...left }, { shown: true, same: true, variants: 1 });
    assert.equal((await create(sql, user)).reused, false);
  }));

test("what is no lasting file is no result: text, a URL from elsewhere, an upload, a run without a record", () =>
  reusing(async ({ sql, user }) => {
    const upload = `${user.userId}/uploads/mine.png`;
    await storeFile(sql, upload, "mine");
    const endings: Record<string, (id: string) => Promise<unknown>> = {
      text: (id) => sql`select complete_task(null, ${id}, output_text => 'done')`,
      foreign: (id) =>
        sql`select complete_task(null, ${id}, output_text => 'https://elsewhere.example/a.png')`,
      upload: (id) =>
        sql`select complete_task(null, ${id}, output_path => ${upload}, output_location => ${`${host}/${upload}`},
                                 checked_files => ${sql.json(checkedFiles([upload]))})`,
      status: (id) => setStatus(sql, id, "Complete", { changes: { output_location: `${host}/x.png` } }),
    };
    for (const [name, end] of Object.entries(endings)) {
      const { task_id: id } = await create(sql, user);
      const { task_id: follower } = await create(sql, user);
      assert.equal((await claim(sql, "worker"))?.task_id, id);
      await end(id);
      assert.deepEqual(await stateOf(sql, follower), [waiting], `after ${name} the follower runs itself`);
      await setStatus(sql, follower, "Cancelled");
    }
  }));

test("a run whose files were replaced before it ended is no result", () =>
  reusing(async ({ sql, user }) => {
    const name = `${user.userId}/uploads/a.png`;
    const params = { ...fox, image: `${host}/${name}` };
    await storeFile(sql, name, "red");
    const { task_id: first } = await create(sql, user, { params });
    const { task_id: follower } = await create(sql, user, { params });
    await storeFile(sql, name, "blue");
    await run(sql, first);
    assert.deepEqual(await stateOf(sql, follower), [waiting]);
    await setStatus(sql, follower, "Cancelled");
    await storeFile(sql, name, "red");
    assert.equal((await create(sql, user, { params })).reused, false);
  }));

// ---- In flight

test("of equal tasks in flight one runs; all end with it, one is charged, and who depends on them goes on", () =>
  reusing(async ({ sql, user }) => {
    const leader = (await create(sql, user)).task_id;
    const second = await create(sql, user, { params: { ...fox, generation_name: "second" } });
    assert.deepEqual([second.shares_run, second.held_microusd, second.status], [true, price, "Task queued"]);
    const third = (await create(sql, user)).task_id;
    const dependant = await queueTask(sql, user, { dependantOn: [third], params: { prompt: "after" } });
    assert.deepEqual(await stateOf(sql, leader, second.task_id, third), [waiting, following, following]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance, held: 4 * price });

    const [counts] = await sql<
      { totals: { queued_only: number; blocked_by_deps: number } }[]
    >`select task_counts_for(null) -> 'totals' as totals`;
    assert.deepEqual(
      [counts?.totals.queued_only, counts?.totals.blocked_by_deps],
      [1, 3],
      "a follower is blocked, not ready",
    );
    const [position] = await sql`select queue_position(${user.userId}, ${third}) ->> 'reason' as reason`;
    assert.equal(position?.["reason"], "shares_run");
    assert.equal((await claim(sql, "worker"))?.task_id, leader);
    const [empty] = await sql<
      { answer: { debug: { shares_run: number } } }[]
    >`select claim_next_task(for_worker => 'other', debug => true) as answer`;
    assert.equal(empty?.answer.debug.shares_run, 2);
    const late = await create(sql, user);
    assert.equal(late.shares_run, true, "also while it runs");

    await complete(sql, leader, { worker: "worker", attempt: 1 });
    assert.deepEqual(await stateOf(sql, second.task_id, third, late.task_id, dependant), [
      reusedOf(leader),
      reusedOf(leader),
      reusedOf(leader),
      waiting,
    ]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - price, held: price });
    const [records] = await sql`
      select count(*)::int as generations, count(distinct location)::int as files,
             count(*) filter (where name = 'second')::int as named from generations`;
    assert.deepEqual({ ...records }, { generations: 4, files: 1, named: 1 });
    const spent = await sql`select task_id from credits_ledger where type = 'spend'`;
    assert.deepEqual(
      [...spent].map((row) => row["task_id"]),
      [leader],
    );
  }));

for (const ending of ["Failed", "Cancelled", "deleted", "hold over"] as const) {
  test(`when the run is ${ending}, the oldest follower runs and the others follow it; nobody is charged`, () =>
    reusing(async ({ sql, user }) => {
      const leader = (await create(sql, user)).task_id;
      const second = (await create(sql, user)).task_id;
      const third = (await create(sql, user)).task_id;
      if (ending === "deleted") await sql`delete from tasks where id = ${leader}`;
      else if (ending === "hold over") {
        await sql`update credit_holds set expires_at = now() where task_id = ${leader}`;
        await sql`select give_up_old_tasks()`;
      } else {
        await claim(sql, "worker");
        await setStatus(sql, leader, ending);
      }
      assert.deepEqual(await stateOf(sql, second, third), [waiting, following]);
      assert.deepEqual(await accountOf(sql, user.userId), { balance, held: 2 * price });
      await run(sql, second);
      assert.deepEqual(await stateOf(sql, third), [reusedOf(second)]);
      assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - price, held: 0 });
    }));
}

test("a run that waits is as urgent as the most urgent of those who follow it", () =>
  reusing(async ({ sql, user }) => {
    const leader = (await create(sql, user)).task_id;
    const other = await queueTask(sql, user, { priority: 3 });
    const urgent = await queueTask(sql, user, { params: fox, priority: 5 });
    const patient = await queueTask(sql, user, { params: fox, priority: -5 });
    assert.equal((await claim(sql, "worker"))?.task_id, leader);
    await setStatus(sql, leader, "Cancelled");
    assert.deepEqual(
      await stateOf(sql, urgent, patient),
      [waiting, following],
      "the most urgent takes its place",
    );
    assert.deepEqual(
      [(await claim(sql, "worker"))?.task_id, (await claim(sql, "worker"))?.task_id],
      [urgent, other],
    );
  }));

test("a run that is put back is still followed; a follower is cancelled alone", () =>
  reusing(async ({ sql, user }) => {
    const leader = (await create(sql, user)).task_id;
    const second = (await create(sql, user)).task_id;
    const third = (await create(sql, user)).task_id;
    await claim(sql, "worker");
    await setStatus(sql, leader, "Queued");
    await setStatus(sql, second, "Cancelled");
    assert.deepEqual(
      (await stateOf(sql, leader, second, third)).map((state) => [state["status"], state["is_following"]]),
      [
        ["Queued", false],
        ["Cancelled", false],
        ["Queued", true],
      ],
    );
    assert.deepEqual(await accountOf(sql, user.userId), { balance, held: 2 * price });
    await run(sql, leader);
    assert.deepEqual(await stateOf(sql, third), [reusedOf(leader)]);
  }));

test("a failed task that is retried follows the run that is under way, or is the run", () =>
  reusing(async ({ sql, user }) => {
    const first = (await create(sql, user)).task_id;
    const second = (await create(sql, user)).task_id;
    await setStatus(sql, first, "Failed");
    await setStatus(sql, first, "Queued");
    assert.deepEqual(await stateOf(sql, second, first), [waiting, following]);
    await setStatus(sql, first, "Failed");
    await setStatus(sql, second, "Failed");
    await setStatus(sql, first, "Queued");
    await setStatus(sql, second, "Queued");
    assert.deepEqual(await stateOf(sql, first, second), [waiting, following]);
    await setStatus(sql, second, "Failed");
    await sql`update projects set reuses_results = false where id = ${user.projectId}`;
    await setStatus(sql, second, "Queued");
    assert.deepEqual(
      await stateOf(sql, second),
      [waiting],
      "not where the project does not want it any more",
    );
  }));

test("of many followers twenty end with the run, the rest by the upkeep, so many at a time", () =>
  reusing(async ({ sql, user }) => {
    const leader = (await create(sql, user)).task_id;
    for (let more = 0; more < 50; more++) await create(sql, user);
    const left = async () => (await sql`select from tasks where is_following`).length;
    await run(sql, leader);
    assert.equal(await left(), 30);
    assert.equal((await create(sql, user)).reused, true, "who comes now need not wait");
    assert.equal((await sql`select settle_followers(25) as moved`)[0]?.["moved"], 25);
    assert.equal(await left(), 5);
    await stopTending(sql);
    assert.equal(await claim(sql, "worker"), null);
    assert.equal(await left(), 0, "a claim does it too where no timer does");
    assert.equal((await sql`select settle_followers() as moved`)[0]?.["moved"], 0);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - price, held: 0 });
    assert.equal((await sql`select from results_to_share`).length, 0);
  }));

test("when the file is gone before all followers have it, they run", () =>
  reusing(async ({ sql, user }) => {
    const leader = (await create(sql, user)).task_id;
    for (let more = 0; more < 22; more++) await create(sql, user);
    await run(sql, leader);
    await sql`delete from storage.objects where name like ${`${user.userId}/tasks/${leader}/%`}`;
    assert.equal((await sql`select settle_followers() as moved`)[0]?.["moved"], 1);
    const rows = await sql<{ id: string; is_following: boolean }[]>`
      select id, is_following from tasks where status = 'Queued' order by is_following`;
    assert.deepEqual(
      [...rows].map((row) => row.is_following),
      [false, true],
    );
    await run(sql, rows[0]?.id ?? "");
    assert.equal((await sql`select from tasks where status = 'Queued'`).length, 0);
  }));

// ---- At once

/** Two calls on two connections: the first keeps its locks until the second waits for them, or is done. */
async function atOnce<First, Second>(
  { session, lockIsWaitedFor }: DatabaseUnderTest,
  first: (on: Session) => Promise<First>,
  second: (on: Session) => Promise<Second>,
  { waits = true } = {},
): Promise<[First, Second]> {
  const [one, other] = [await session(), await session()];
  await one.query("begin");
  const begun = await first(one);
  const later = second(other);
  if (waits) await lockIsWaitedFor();
  else await later;
  await one.query("commit");
  return [begun, await later];
}

test("two equal creates at once: one runs, the other follows", () =>
  reusing(async (database) => {
    const { sql, user } = database;
    const [one, other] = await atOnce(
      database,
      (on) => create(on, user),
      (on) => create(on, user),
    );
    assert.deepEqual([one.shares_run, other.shares_run], [false, true]);
    assert.deepEqual(await stateOf(sql, one.task_id, other.task_id), [waiting, following]);
  }));

test("two equal creates with the same id at once, of which one is answered by a result: one task, one output", () =>
  reusing(async (database) => {
    const { sql, user, session } = database;
    await made(sql, user);
    const taskId = randomUUID();
    const [one, other] = [await session(), await session()];
    await one.query("begin");
    const first = await create(one, user, { taskId });
    // As the functions do, which call again after such a failure.
    const again = create(other, user, { taskId }).catch((error: { code?: string }) => error.code);
    await database.lockIsWaitedFor();
    await one.query("commit");
    assert.equal(await again, "40001");
    const repeated = await create(other, user, { taskId });
    assert.deepEqual([first.deduplicated, repeated.deduplicated, repeated.reused], [false, true, true]);
    assert.equal((await sql`select from generation_variants where source_task_id = ${taskId}`).length, 1);
  }));

test("a create that meets the completion of its equal: follows and is noted, or is complete", () =>
  reusing(async (database) => {
    const { sql, user } = database;
    const leader = (await create(sql, user)).task_id;
    await claim(sql, "worker");
    const [, meanwhile] = await atOnce(
      database,
      (on) => complete(on, leader, { worker: "worker" }),
      (on) => create(on, user),
    );
    assert.deepEqual([meanwhile.reused, meanwhile.shares_run], [false, true]);
    assert.equal((await sql`select settle_followers() as moved`)[0]?.["moved"], 1);
    assert.deepEqual(await stateOf(sql, meanwhile.task_id), [reusedOf(leader)]);

    const other = { ...fox, seed: 8 };
    const second = (await create(sql, user, { params: other })).task_id;
    await claim(sql, "worker");
    const [before] = await atOnce(
      database,
      (on) => create(on, user, { params: other }),
      (on) => complete(on, second, { worker: "worker" }),
    );
    assert.equal(before.shares_run, true);
    assert.equal((await sql`select settle_followers() as moved`)[0]?.["moved"], 1);
    assert.deepEqual(await stateOf(sql, before.task_id), [reusedOf(second)]);
  }));

test("a create that meets the failure of its equal: runs itself, in either order", () =>
  reusing(async (database) => {
    const { sql, user } = database;
    const leader = (await create(sql, user)).task_id;
    await claim(sql, "worker");
    const [, after] = await atOnce(
      database,
      (on) => setStatus(on, leader, "Failed"),
      (on) => create(on, user),
    );
    assert.deepEqual(await stateOf(sql, after.task_id), [waiting]);

    const [follower] = await atOnce(
      database,
      (on) => create(on, user),
      (on) => setStatus(on, after.task_id, "Failed"),
    );
    assert.equal(follower.shares_run, true);
    assert.deepEqual(await stateOf(sql, follower.task_id), [waiting]);
  }));

test("a cancel of the run that meets its completion: whoever is first decides for all who follow", () =>
  reusing(async (database) => {
    const { sql, user } = database;
    for (const first of ["cancel", "complete"]) {
      const params = { ...fox, prompt: first };
      const leader = (await create(sql, user, { params })).task_id;
      const follower = (await create(sql, user, { params })).task_id;
      await claim(sql, "worker");
      const cancel = (on: Session) => refusedWith(setStatus(on, leader, "Cancelled"));
      const finish = (on: Session) => refusedWith(complete(on, leader, { worker: "worker" }));
      const codes =
        first === "cancel" ? await atOnce(database, cancel, finish) : await atOnce(database, finish, cancel);
      assert.deepEqual(codes, ["none", first === "cancel" ? "task_cancelled" : "invalid_transition"]);
      assert.deepEqual(await stateOf(sql, follower), [first === "cancel" ? waiting : reusedOf(leader)]);
      await setStatus(sql, follower, "Cancelled").catch(() => undefined);
    }
  }));

test("a follower that is being cancelled holds up nobody: the run ends, and what becomes of it is seen to later", () =>
  reusing(async (database) => {
    const { sql, user, session } = database;
    const leader = (await create(sql, user)).task_id;
    const follower = (await create(sql, user)).task_id;
    await claim(sql, "worker");
    await atOnce(
      database,
      (on) => setStatus(on, follower, "Cancelled"),
      (on) => complete(on, leader, { worker: "worker" }),
    );
    assert.equal((await stateOf(sql, follower))[0]?.["status"], "Cancelled");
    await sql`select settle_followers()`;
    assert.equal((await sql`select from results_to_share`).length, 0);

    // A cancel that is given up: the follower still gets its result.
    const params = { ...fox, seed: 9 };
    const run2 = (await create(sql, user, { params })).task_id;
    const held = (await create(sql, user, { params })).task_id;
    await claim(sql, "worker");
    const holder = await session();
    await holder.query("begin");
    await holder.query("select from tasks where id = $1 for update", [held]);
    await complete(sql, run2, { worker: "worker" });
    assert.deepEqual(await stateOf(sql, held), [following]);
    await sql`select settle_followers()`;
    assert.deepEqual(await stateOf(sql, held), [following], "nor does the upkeep wait");
    await holder.query("rollback");
    await sql`select settle_followers()`;
    assert.deepEqual(await stateOf(sql, held), [reusedOf(run2)]);
  }));

test("a follower is let go by two upkeeps at once to run once", () =>
  reusing(async (database) => {
    const { sql, user, session } = database;
    const leader = (await create(sql, user)).task_id;
    const follower = (await create(sql, user)).task_id;
    const holder = await session();
    await holder.query("begin");
    await holder.query("select from tasks where id = $1 for update", [follower]);
    await setStatus(sql, leader, "Failed");
    assert.deepEqual(await stateOf(sql, follower), [following], "somebody has it");
    await holder.query("rollback");
    const moved = await atOnce(
      database,
      async (on) => (await on.query("select settle_followers() as moved")).rows[0],
      async (on) => (await on.query("select settle_followers() as moved")).rows[0],
      { waits: false },
    );
    assert.deepEqual(moved, [{ moved: 1 }, { moved: 0 }]);
    assert.deepEqual(await stateOf(sql, follower), [waiting]);
  }));

// ---- Money

async function publishReusePrice(sql: Sql, microusd: number): Promise<void> {
  await sql`
    select publish_price('z_image_turbo', 'per_unit', ${price}, '{}', null, 'test', 'reuse', ${randomUUID()}, ${microusd})`;
}

test("a reuse costs its price, by the version it was created under, never more than a run; the receipt says so", () =>
  reusing(async ({ sql, user }) => {
    const first = await made(sql, user);
    await publishReusePrice(sql, 400);
    const second = await create(sql, user);
    assert.equal(second.upper_bound_microusd, 400);
    assert.deepEqual(await stateOf(sql, second.task_id), [reusedOf(first, 400)]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - price - 400, held: 0 });
    const [receipt] = await sql<
      { of_reuse: { total_microusd: number; lines: unknown[] } }[]
    >`select get_receipt(for_user => ${user.userId}, for_entry => null, for_task => ${second.task_id}, for_call => null) as of_reuse`;
    assert.deepEqual(
      { total: receipt?.of_reuse.total_microusd, lines: receipt?.of_reuse.lines },
      {
        total: 400,
        lines: [
          {
            item: "z_image_turbo",
            count: 1,
            unit: "reuse",
            quantity: 1,
            each_microusd: 400,
            price_version: 2,
            factors: [],
            multiplier: 1,
            total_microusd: 400,
          },
        ],
      },
    );

    // A follower keeps the price of its creation.
    const params = { ...fox, seed: 8 };
    const leader = (await create(sql, user, { params })).task_id;
    const follower = (await create(sql, user, { params })).task_id;
    await publishReusePrice(sql, 1_000_000);
    await run(sql, leader);
    assert.deepEqual(await stateOf(sql, follower), [reusedOf(leader, 400)]);
    const dear = await create(sql, user, { params });
    assert.deepEqual(await stateOf(sql, dear.task_id), [reusedOf(leader, price)]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - 3 * price - 800, held: 0 });
  }));

test("without cover for its price a reuse is refused and leaves nothing; at no price it needs none", () =>
  reusing(async ({ sql }) => {
    const poor = await createUser(sql, price);
    await sql`update projects set reuses_results = true where id = ${poor.projectId}`;
    await made(sql, poor);
    assert.deepEqual(await accountOf(sql, poor.userId), { balance: 0, held: 0 });
    assert.equal((await create(sql, poor)).reused, true);
    await publishReusePrice(sql, price);
    const generations = (await sql`select from generations`).length;
    assert.equal(await refusedWith(create(sql, poor)), "insufficient_credits");
    assert.equal((await sql`select from generations`).length, generations);
    assert.equal((await sql`select from tasks`).length, 2);
  }));

test("what the owner's own machine made is reused for nothing", () =>
  reusing(async ({ sql, user }) => {
    await publishReusePrice(sql, 400);
    const leader = (await create(sql, user)).task_id;
    const follower = (await create(sql, user)).task_id;
    assert.equal((await claim(sql, "mine", user.userId))?.task_id, leader);
    await complete(sql, leader, { forUser: user.userId });
    const { task_id: later } = await create(sql, user);
    assert.deepEqual(await stateOf(sql, follower, later), [reusedOf(leader), reusedOf(leader)]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance, held: 0 });
  }));

test("a key and an id that are sent again answer what they answered", () =>
  reusing(async ({ sql, user }) => {
    await made(sql, user);
    const taskId = randomUUID();
    const body = [{ task_type: "z_image_turbo", params: fox, project_id: user.projectId, task_id: taskId }];
    const send = async (key: string | null) =>
      (
        await sql<
          { answer: Record<string, unknown> }[]
        >`select create_task(null, ${sql.json(body)}, false, ${key}) as answer`
      )[0]?.answer;
    const first = await send("a key");
    assert.ok(first);
    assert.deepEqual([first["status"], first["deduplicated"]], ["Task complete", false]);
    assert.deepEqual(await send("a key"), { ...first, deduplicated: true });
    assert.deepEqual(await send(null), { ...first, deduplicated: true });
    assert.equal((await sql`select from generations where source_task_id = ${taskId}`).length, 1);
  }));

// ---- Other ways in

test("rows that a browser writes itself are reused and follow too", () =>
  reusing(async ({ sql, user, sessionAs }) => {
    await publishReusePrice(sql, 400);
    const browser = await sessionAs("authenticated", { sub: user.userId });
    const insert = async () => {
      const { rows } = await browser.query<{ id: string; status: string }>(
        "insert into tasks (project_id, task_type, params) values ($1, 'z_image_turbo', $2::jsonb) returning id, status",
        [user.projectId, json(fox)],
      );
      assert.ok(rows[0]);
      return rows[0];
    };
    const leader = await insert();
    const follower = await insert();
    assert.deepEqual(await stateOf(sql, leader.id, follower.id), [waiting, following]);
    await run(sql, leader.id);
    const later = await insert();
    assert.equal(later.status, "Complete");
    assert.deepEqual(await stateOf(sql, follower.id, later.id), [
      reusedOf(leader.id, 400),
      reusedOf(leader.id, 400),
    ]);
    assert.deepEqual(await accountOf(sql, user.userId), { balance: balance - price - 800, held: 0 });

    const params = { ...fox, seed: 8 };
    const open = (await create(sql, user, { params })).task_id;
    const next = (await create(sql, user, { params })).task_id;
    await browser.query("update tasks set status = 'Cancelled' where id = $1", [open]);
    assert.deepEqual(await stateOf(sql, next), [waiting]);
    const last = (await create(sql, user, { params })).task_id;
    await browser.query("update tasks set status = 'Cancelled' where id = $1", [last]);
    assert.equal((await stateOf(sql, last))[0]?.["status"], "Cancelled");
  }));

test("in a batch each task is reused, runs, or follows its equal", () =>
  reusing(async ({ sql, user }) => {
    const [shot] = await sql<
      { id: string }[]
    >`insert into shots (project_id) values (${user.projectId}) returning id`;
    const first = await made(sql, user);
    const batch = [
      { ...fox, seed: 8 },
      { ...fox, shot_id: shot?.id },
      { ...fox, seed: 8 },
    ].map((params) => ({ task_type: "z_image_turbo", params, project_id: user.projectId }));
    const [row] = await sql<{ answer: { task_ids: string[]; tasks: Created[] } }[]>`
      select create_task(null, ${sql.json(batch as never)}, true) as answer`;
    assert.ok(row);
    assert.deepEqual(
      row.answer.tasks.map(({ reused, shares_run: shares }) => [reused, shares]),
      [
        [false, false],
        [true, false],
        [false, true],
      ],
    );
    assert.deepEqual(await stateOf(sql, ...row.answer.task_ids), [waiting, reusedOf(first), following]);
  }));

test("a project that is deleted takes runs and followers with it, and gives back what they held", () =>
  reusing(async ({ sql, user }) => {
    for (let more = 0; more < 4; more++) await create(sql, user);
    await claim(sql, "worker");
    await sql`delete from projects where id = ${user.projectId}`;
    assert.deepEqual(await accountOf(sql, user.userId), { balance, held: 0 });
    assert.equal((await sql`select from results_to_share`).length, 0);
  }));

test("a batch and a completion in the same shot at once do not wait for each other in a circle", () =>
  reusing(async (database) => {
    const { sql, user } = database;
    const [shot] = await sql<
      { id: string }[]
    >`insert into shots (project_id) values (${user.projectId}) returning id`;
    await made(sql, user);
    const running = (await create(sql, user, { params: { ...fox, seed: 9, shot_id: shot?.id } })).task_id;
    await claim(sql, "worker");
    const batch = [
      { ...fox, seed: 8 },
      { ...fox, shot_id: shot?.id },
    ].map((params) => ({
      task_type: "z_image_turbo",
      params,
      project_id: user.projectId,
    }));
    // The completion has its shot when the batch begins; with the tenant locked first, each would have what the other waits for.
    const [completer, creator] = [await database.session(), await database.session()];
    await completer.query("begin");
    await completer.query("select from shots where id = $1 for no key update", [shot?.id ?? null]);
    const created = creator.query("select create_task(null, $1::jsonb, true)", [json(batch)]);
    await database.lockIsWaitedFor();
    await complete(completer, running, { worker: "worker" });
    await completer.query("commit");
    await created;
    assert.equal((await sql`select from shot_generations`).length, 2);
  }));
