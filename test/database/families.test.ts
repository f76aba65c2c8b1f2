import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { json, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { familyOf } from "../../supabase/functions/_shared/generators/families.ts";
import type { BuiltTask } from "../../supabase/functions/_shared/generators/generate.ts";
import { type Session, withDatabase } from "../support/database.ts";
import { claim, complete, createUser, refusedWith, type TestUser } from "../support/factories.ts";
import { familyCases, makeRows, type RowIds, withRows } from "../support/family-fixtures.ts";

/** The tasks that a family builds of an input, as create-task asks for them. */
function requestsOf(
  family: string,
  input: object,
  { projectId }: TestUser,
): (BuiltTask & { project_id: string })[] {
  const read = familyOf(family)?.family.read(input);
  assert.ok(read?.success, JSON.stringify(read?.error?.issues));
  const { tasks } = read.data.build({ project_id: projectId, aspect_ratio: null });
  return tasks.map((task) => ({ ...task, project_id: projectId }));
}

const travelInput = {
  image_urls: ["https://media.example/1.png", "https://media.example/2.png"],
  base_prompts: ["a walk"],
  segment_frames: [61],
};

async function create(
  connection: Sql | Session,
  user: TestUser,
  requests: object[],
  key?: string,
): Promise<{ task_ids: string[]; deduplicated: boolean }> {
  const text = `select create_task(for_user => $1, requests => $2::jsonb, is_batch => true, idempotency_key => $3,
                                   sent => $4::jsonb) as created`;
  const values = [user.userId, json(requests), key ?? null, json({ the: "same" })];
  const rows =
    typeof connection === "function"
      ? await connection.query(text, values)
      : (await connection.query(text, values)).rows;
  return rows[0]?.["created"] as { task_ids: string[]; deduplicated: boolean };
}

async function newShot(sql: Sql, { projectId }: TestUser): Promise<string> {
  const [shot] = await sql<
    { id: string }[]
  >`insert into shots (project_id) values (${projectId}) returning id`;
  return shot?.id ?? "";
}

test("two creates with one key at once make one travel and one placeholder; the second has the first's answer", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const input = { ...travelInput, shot_id: await newShot(sql, user) };
    const [first, second] = [await database.session(), await database.session()];
    const key = randomUUID();

    await first.query("begin");
    const created = await create(first, user, requestsOf("travel_between_images", input, user), key);
    const meanwhile = create(second, user, requestsOf("travel_between_images", input, user), key);
    await database.lockIsWaitedFor();
    await first.query("commit");

    assert.deepEqual(await meanwhile, { ...created, deduplicated: true });
    const [counts] = await sql`
      select (select count(*)::int from tasks) as tasks, (select count(*)::int from generations) as placeholders,
             (select count(*)::int from shot_generations) as places,
             (select count(*)::int from credit_holds) as holds`;
    assert.deepEqual({ ...counts }, { tasks: 1, placeholders: 1, places: 1, holds: 1 });
  }));

test("a shot that goes while a travel is created: no travel without its placeholder, nothing is held", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const shot = await newShot(sql, user);
    const requests = requestsOf("travel_between_images", { ...travelInput, shot_id: shot }, user);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await first.query("delete from shots where id = $1", [shot]);
    const meanwhile = refusedWith(create(second, user, requests));
    await database.lockIsWaitedFor();
    await first.query("commit");
    assert.equal(await meanwhile, "shot_not_found");
    const [counts] = await sql`
      select (select count(*)::int from tasks) as tasks, (select count(*)::int from generations) as generations,
             (select count(*)::int from credit_holds) as holds`;
    assert.deepEqual({ ...counts }, { tasks: 0, generations: 0, holds: 0 });
  }));

test("a travel that is created while its shot goes keeps its placeholder, in no shot", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const shot = await newShot(sql, user);
    const requests = requestsOf("travel_between_images", { ...travelInput, shot_id: shot }, user);
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    const { task_ids } = await create(first, user, requests);
    const deleted = second.query("delete from shots where id = $1", [shot]);
    await database.lockIsWaitedFor();
    await first.query("commit");
    await deleted;
    const rows = await sql`select source_task_id, shot_data from generations`;
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [{ source_task_id: task_ids[0], shot_data: {} }],
    );
    assert.equal((await sql`select from shot_generations`).length, 0);
  }));

test("completing into a shot and creating a travel in it at once lock in one order: neither fails", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const shot = await newShot(sql, user);
    const image = { prompts: ["a fox"], model_name: "z-image", shot_id: shot };
    const { task_ids } = await create(sql, user, requestsOf("image_generation", image, user));
    const running = await claim(sql, "worker-1");
    assert.equal(running?.task_id, task_ids[0]);
    const travel = requestsOf("travel_between_images", { ...travelInput, shot_id: shot }, user);
    const [first, second] = [await database.session(), await database.session()];

    // Completed, with the shot and the account locked; the other needs both.
    await first.query("begin");
    await complete(first, running?.task_id ?? "", { worker: "worker-1", attempt: 1 });
    const creating = create(second, user, travel);
    await database.lockIsWaitedFor();
    await first.query("commit");
    await creating;

    // The other way round.
    const again = await create(sql, user, requestsOf("image_generation", image, user));
    await sql`select end_task(id, 'Cancelled', 'another') from tasks where is_orchestrator`;
    const next = await claim(sql, "worker-1");
    assert.equal(next?.task_id, again.task_ids[0]);
    await second.query("begin");
    await create(second, user, requestsOf("travel_between_images", { ...travelInput, shot_id: shot }, user));
    const completing = complete(first, next?.task_id ?? "", { worker: "worker-1", attempt: 1 });
    await database.lockIsWaitedFor();
    await second.query("commit");
    await completing;
    const places = await sql`select from shot_generations where shot_id = ${shot}`;
    assert.equal(places.length, 4);
  }));

test("a turbo travel fills its placeholder: one generation, its first variant, still once in the shot", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const shot = await newShot(sql, user);
    const input = { ...travelInput, shot_id: shot, turbo_mode: true, generation_name: "Quick" };
    const [request] = requestsOf("travel_between_images", input, user);
    const { task_ids } = await create(sql, user, [request ?? {}]);
    await claim(sql, "worker-1");
    const done = await complete(sql, task_ids[0] ?? "", { worker: "worker-1", attempt: 1 });
    assert.equal(done["generation_id"], request?.placeholder?.id);
    const rows = await sql`
      select generation.id, generation.name, generation.location is not null as is_filled, shot_data, variant_type, is_primary
        from generations as generation join generation_variants as variant on variant.generation_id = generation.id`;
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [
        {
          id: request?.placeholder?.id,
          name: "Quick",
          is_filled: true,
          shot_data: { [shot]: [null] },
          variant_type: "original",
          is_primary: true,
        },
      ],
    );
  }));

test("a segment by itself in a shot stands under its placeholder", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const shot = await newShot(sql, user);
    const input = { segment_index: 0, start_image_url: "https://media.example/1.png", shot_id: shot };
    const [request] = requestsOf("individual_travel_segment", input, user);
    const { task_ids } = await create(sql, user, [request ?? {}]);
    await claim(sql, "worker-1");
    const done = await complete(sql, task_ids[0] ?? "", { worker: "worker-1", attempt: 1 });
    const rows = await sql`
      select id, parent_generation_id, source_task_id, shot_data from generations order by is_child`;
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [
        {
          id: request?.placeholder?.id,
          parent_generation_id: null,
          source_task_id: null,
          shot_data: { [shot]: [null] },
        },
        {
          id: done["generation_id"],
          parent_generation_id: request?.placeholder?.id,
          source_task_id: task_ids[0],
          shot_data: {},
        },
      ],
    );
  }));

test("a crossfade is a variant of the parent that it names, which shows it; else a generation in its shot", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const rows = await makeRows(sql, user.projectId);
    await sql`select end_task(id, 'Cancelled', 'another') from tasks`;
    const clips = {
      clip_urls: ["https://media.example/a.mp4", "https://media.example/b.mp4"],
      frame_overlap_settings_expanded: [8],
    };
    const run = async (input: object) => {
      const { task_ids } = await create(sql, user, requestsOf("crossfade_join", input, user));
      await claim(sql, "worker-1");
      return await complete(sql, task_ids[0] ?? "", { worker: "worker-1", attempt: 1 });
    };
    const named = await run({ ...clips, parent_generation_id: rows.parent });
    assert.equal(named["generation_id"], rows.parent);
    const [shown] = await sql`
      select variant_type, is_primary from generation_variants where id = ${String(named["variant_id"])}`;
    assert.deepEqual({ ...shown }, { variant_type: "travel_stitch", is_primary: true });
    const own = await run({ ...clips, shot_id: rows.shot });
    const [generation] = await sql`
      select type, parent_generation_id, shot_data ? ${rows.shot} as is_in_shot, location is not null as has_file
        from generations where id = ${String(own["generation_id"])}`;
    assert.deepEqual(
      { ...generation },
      { type: "video", parent_generation_id: null, is_in_shot: true, has_file: true },
    );
    assert.deepEqual([named["warnings"], own["warnings"]], [[], []]);
  }));

test("all tasks of a family's request have one price, and no id, seed or word changes it", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const ids = Object.fromEntries(
      Object.entries(await makeRows(sql, user.projectId)).map(([name]) => [name, randomUUID()]),
    ) as RowIds;
    const basisOf = async ({ task_type, params }: BuiltTask) => {
      const [row] = await sql`
        select (quote_task((canonical_task_type(${task_type})).name, ${sql.json(params as never)})).billed as basis`;
      return JSON.stringify(row?.["basis"]);
    };
    for (const { family, title, input } of await familyCases()) {
      const bases = await Promise.all(
        [1, 2].flatMap(() => requestsOf(family, withRows(input, ids), user).map(basisOf)),
      );
      assert.equal(new Set(bases).size, 1, `${family}: ${title}`);
      const words = JSON.stringify(withRows(input, ids)).replaceAll(
        /a (fox|walk|run|boat|bridge|dance)/g,
        "another",
      );
      const [other] = requestsOf(family, JSON.parse(words) as object, user);
      assert.ok(other);
      assert.equal(await basisOf(other), bases[0], `${family}: ${title}`);
    }
  }));
