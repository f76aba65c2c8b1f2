import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../support/database.ts";
import { claim, complete, createUser, queueTask, refusedWith, type TestUser } from "../support/factories.ts";

interface Made {
  generation_id: string | null;
  variant_id: string | null;
  public_url: string;
  warnings: { field: string }[];
}

/** Creates, claims and completes a task. */
async function run(
  sql: Sql,
  user: TestUser,
  taskType: string,
  params: Record<string, unknown>,
): Promise<Made> {
  const taskId = await queueTask(sql, user, { taskType, params: { prompt: "a fox", ...params } });
  const claimed = await claim(sql, "worker");
  assert.equal(claimed?.task_id, taskId);
  return (await complete(sql, taskId)) as unknown as Made;
}

interface RowWithParams extends Record<string, unknown> {
  params: Record<string, unknown>;
}

async function generation(sql: Sql, id: string | null) {
  const [row] = await sql<RowWithParams[]>`select * from generations where id = ${id}`;
  assert.ok(row, "there is such a generation");
  return row;
}

async function variant(sql: Sql, id: string | null) {
  const [row] = await sql<RowWithParams[]>`select * from generation_variants where id = ${id}`;
  assert.ok(row, "there is such a variant");
  return row;
}

async function variantsOf(sql: Sql, generationId: string | null) {
  return await sql`
    select variant_type, is_primary, location, name from generation_variants
     where generation_id = ${generationId} order by created_at, id`;
}

async function newShot(sql: Sql, { projectId }: TestUser): Promise<string> {
  const [row] = await sql<
    { id: string }[]
  >`insert into shots (project_id) values (${projectId}) returning id`;
  return row?.id ?? "";
}

test("an image becomes a generation with its lineage, name and tool", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const first = await run(sql, user, "qwen_image", { generation_name: "Fox", tool_type: "my-tool" });
    const second = await run(sql, user, "qwen_image_edit", {
      based_on: first.generation_id,
      create_as_generation: true,
      image: "https://elsewhere.example/x.png",
    });
    const third = await run(sql, user, "z_image_turbo", { image: first.public_url });

    const made = await generation(sql, first.generation_id);
    assert.equal(made["name"], "Fox");
    assert.equal(made["type"], "image");
    assert.equal(made["location"], first.public_url);
    assert.equal(made.params["tool_type"], "my-tool");
    assert.equal((await generation(sql, second.generation_id))["based_on"], first.generation_id);
    assert.equal((await generation(sql, third.generation_id))["based_on"], first.generation_id);
  }));

for (const [taskType, variantType] of [
  ["image_inpaint", "inpaint"],
  ["annotated_image_edit", "annotated_edit"],
  ["qwen_image_edit", "magic_edit"],
  ["magic_edit", "magic_edit"],
  ["image_edit", "magic_edit"],
  ["z_image_turbo_i2i", "edit"],
] as const) {
  test(`${taskType} of a generation becomes its variant ${variantType}, which is not shown`, () =>
    withDatabase(async ({ sql }) => {
      const user = await createUser(sql);
      const source = await run(sql, user, "qwen_image", {});
      const edit = await run(sql, user, taskType, {
        based_on: source.generation_id,
        source_variant_id: source.variant_id,
      });
      assert.equal(edit.generation_id, source.generation_id);
      const made = await variant(sql, edit.variant_id);
      assert.equal(made["variant_type"], variantType);
      assert.equal(made["is_primary"], false);
      assert.equal(made.params["source_variant_id"], source.variant_id);
      assert.equal(made.params["created_from"], taskType);
      assert.equal((await generation(sql, source.generation_id))["location"], source.public_url);
      assert.deepEqual(edit.warnings, []);
    }));
}

test("an upscaled image is shown, with the params and the preview of its source", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const source = await run(sql, user, "qwen_image", { prompt: "a hare" });
    await sql`update generations set thumbnail_url = 'https://media.example/thumb.jpg' where id = ${source.generation_id}`;
    const larger = await run(sql, user, "image-upscale", {
      generation_id: source.generation_id,
      image: source.public_url,
      scale_factor: 2,
    });
    const shown = await generation(sql, source.generation_id);
    assert.equal(shown["location"], larger.public_url);
    assert.equal(shown["thumbnail_url"], "https://media.example/thumb.jpg");
    assert.equal(shown.params["prompt"], "a hare");
    assert.equal(shown.params["upscaled_from"], source.public_url);
    assert.equal(shown["primary_variant_id"], larger.variant_id);
    assert.equal((await variant(sql, larger.variant_id))["variant_type"], "upscaled");

    const loose = await run(sql, user, "image-upscale", { image: source.public_url });
    assert.equal(loose.generation_id, null);
  }));

test("an enhanced film is a version of its source, shown where the app asks for it, and by itself a generation", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const source = await run(sql, user, "individual_travel_segment", {});
    const enhance = (params: Record<string, unknown>) =>
      run(sql, user, "video_enhance", { video_url: source.public_url, enable_upscale: true, ...params });
    const beside = await enhance({ based_on: source.generation_id });
    assert.equal(
      (await generation(sql, source.generation_id))["primary_variant_id"],
      source.variant_id,
      "a version that is not asked for as the primary one",
    );
    const shown = await enhance({ based_on: source.generation_id, is_primary: true });
    const film = await generation(sql, source.generation_id);
    assert.equal(film["location"], shown.public_url);
    assert.equal(film["primary_variant_id"], shown.variant_id);
    for (const made of [beside, shown]) {
      assert.equal(made.generation_id, source.generation_id);
      assert.equal((await variant(sql, made.variant_id))["variant_type"], "upscaled");
    }
    const edit = await run(sql, user, "qwen_image_edit", {
      image: source.public_url,
      based_on: source.generation_id,
      is_primary: true,
    });
    assert.equal((await variant(sql, edit.variant_id))["is_primary"], false);

    const loose = await enhance({});
    const own = await generation(sql, loose.generation_id);
    assert.equal(own["type"], "video");
    assert.equal(own.params["tool_type"], "video-enhance");
  }));

test("ids of another user's rows are left out and named, whatever field they are in", () =>
  withDatabase(async ({ sql }) => {
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const theirs = await run(sql, other, "qwen_image", {});
    const theirShot = await newShot(sql, other);
    const [theirPlace] = await sql<
      { id: string }[]
    >`select id from add_generation_to_shot(${theirShot}, ${theirs.generation_id})`;
    const before = await sql`select * from generations where project_id = ${other.projectId}`;

    const cases: [string, Record<string, unknown>, string][] = [
      ["qwen_image_edit", { based_on: theirs.generation_id }, "based_on"],
      ["image-upscale", { generation_id: theirs.generation_id }, "generation_id"],
      ["qwen_image", { shot_id: theirShot }, "shot_id"],
      ["individual_travel_segment", { parent_generation_id: theirs.generation_id }, "parent_generation_id"],
      ["individual_travel_segment", { child_generation_id: theirs.generation_id }, "child_generation_id"],
      ["individual_travel_segment", { pair_shot_generation_id: theirPlace?.id }, "pair_shot_generation_id"],
    ];
    for (const [taskType, params, field] of cases) {
      const made = await run(sql, user, taskType, params);
      assert.deepEqual(
        made.warnings.map((warning) => warning.field),
        [field],
        taskType,
      );
    }
    const own = await run(sql, user, "qwen_image", {});
    const edit = await run(sql, user, "qwen_image_edit", {
      based_on: own.generation_id,
      source_variant_id: theirs.variant_id,
    });
    assert.deepEqual(
      edit.warnings.map(({ field }) => field),
      ["source_variant_id"],
    );
    assert.deepEqual(await sql`select * from generations where project_id = ${other.projectId}`, before);
    assert.equal((await sql`select from shot_generations where shot_id = ${theirShot}`).length, 1);
    assert.equal(
      (await sql`select from generation_variants where project_id = ${other.projectId}`).length,
      1,
    );
  }));

test("an output goes into its shot: unplaced, or behind the last as far as images are apart", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const shot = await newShot(sql, user);
    const loose = await run(sql, user, "qwen_image", { shot_id: { id: shot } });
    for (let image = 0; image < 2; image++) {
      await run(sql, user, "qwen_image", { shot_id: shot, add_in_position: true });
    }
    await sql`update shot_generations set timeline_frame = 30 where timeline_frame = 81`;
    await run(sql, user, "qwen_image", { orchestrator_details: { shot_id: shot, add_in_position: "1" } });
    await sql`update shot_generations set timeline_frame = 500 where timeline_frame = 60`;
    await run(sql, user, "qwen_image", { shotId: shot, add_in_position: 1 });

    const places = await sql`
      select timeline_frame, metadata from shot_generations where shot_id = ${shot} order by timeline_frame nulls first`;
    assert.deepEqual(
      places.map((place) => place["timeline_frame"]),
      [null, 0, 30, 500, 581],
    );
    assert.deepEqual(places[0]?.["metadata"], {});
    assert.deepEqual(places[1]?.["metadata"], { auto_positioned: true });
    assert.deepEqual((await generation(sql, loose.generation_id))["shot_data"], { [shot]: [null] });
  }));

test("a generation shows its primary variant; a new one takes the old one's place, a name stays", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const made = await run(sql, user, "qwen_image", { generation_name: "Fox" });
    const [added] = await sql<{ id: string }[]>`
      insert into generation_variants (generation_id, location, thumbnail_url, params, variant_type, is_primary)
      values (${made.generation_id}, 'https://media.example/2.png', 'https://media.example/2t.png', '{"seed": 2}', 'edit', true)
      returning id`;
    const shown = await generation(sql, made.generation_id);
    assert.equal(shown["location"], "https://media.example/2.png");
    assert.equal(shown["thumbnail_url"], "https://media.example/2t.png");
    assert.deepEqual(shown["params"], { seed: 2 });
    assert.equal(shown["primary_variant_id"], added?.id);
    assert.equal(shown["name"], "Fox");
    assert.equal((await sql`select from generation_variants where is_primary`).length, 1);

    await sql`update generations set name = 'Hare', location = 'https://media.example/3.png' where id = ${made.generation_id}`;
    const changed = await variant(sql, added?.id ?? null);
    assert.equal(changed["location"], "https://media.example/3.png");
    assert.equal(changed["name"], "Hare");
    assert.equal((await variant(sql, made.variant_id))["location"], made.public_url);

    await sql`delete from generation_variants where id = ${added?.id ?? ""}`;
    const promoted = await generation(sql, made.generation_id);
    assert.equal(promoted["primary_variant_id"], made.variant_id);
    assert.equal(promoted["location"], made.public_url);
    assert.equal(promoted["name"], "Hare");

    await sql`delete from generation_variants where generation_id = ${made.generation_id}`;
    const empty = await generation(sql, made.generation_id);
    assert.deepEqual(
      [empty["location"], empty["thumbnail_url"], empty["primary_variant_id"]],
      [null, null, null],
    );
  }));

test("of two variants that become primary at once one is, and the generation shows it", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const made = await run(sql, user, "qwen_image", {});
    const add = async (name: string) => {
      const [row] = await sql<{ id: string }[]>`
        insert into generation_variants (generation_id, location, variant_type)
        values (${made.generation_id}, ${`https://media.example/${name}.png`}, 'edit') returning id`;
      return row?.id ?? "";
    };
    const [first, second] = [await add("first"), await add("second")];
    const [one, two] = [await database.session(), await database.session()];
    await one.query("begin");
    await one.query("update generation_variants set is_primary = true where id = $1", [first]);
    const waiting = two.query("update generation_variants set is_primary = true where id = $1", [second]);
    await database.lockIsWaitedFor();
    await one.query("commit");
    await waiting;

    const primaries = await sql`select id from generation_variants where is_primary`;
    assert.deepEqual(
      primaries.map((row) => row["id"]),
      [second],
    );
    assert.equal((await generation(sql, made.generation_id))["primary_variant_id"], second);
  }));

test("a variant stays with its generation, and a generation's relatives in its project", () =>
  withDatabase(async ({ sql }) => {
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const [mine, theirs] = [await run(sql, user, "qwen_image", {}), await run(sql, other, "qwen_image", {})];
    const shot = await newShot(sql, user);
    const refused = [
      () =>
        sql`update generation_variants set generation_id = ${theirs.generation_id} where id = ${mine.variant_id}`,
      () => sql`update generations set project_id = ${other.projectId} where id = ${mine.generation_id}`,
      () => sql`update generations set based_on = ${theirs.generation_id} where id = ${mine.generation_id}`,
      () =>
        sql`update generations set parent_generation_id = ${theirs.generation_id} where id = ${mine.generation_id}`,
      () => sql`update generations set parent_generation_id = id where id = ${mine.generation_id}`,
      () =>
        sql`insert into shot_generations (shot_id, generation_id) values (${shot}, ${theirs.generation_id})`,
    ];
    for (const change of refused) assert.equal(await refusedWith(change()), "invalid_request");
    const [added] = await sql`
      insert into generation_variants (generation_id, project_id, location, variant_type)
      values (${mine.generation_id}, ${other.projectId}, 'https://media.example/x.png', 'edit') returning project_id`;
    assert.equal(added?.["project_id"], user.projectId);
  }));

test("two shots made at once without a position come one after the other", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const [one, two] = [await database.session(), await database.session()];
    await one.query("begin");
    await one.query("insert into shots (project_id) values ($1)", [user.projectId]);
    const waiting = two.query("insert into shots (project_id) values ($1)", [user.projectId]);
    await database.lockIsWaitedFor();
    await one.query("commit");
    await waiting;
    const positions = await database.sql`select position from shots order by position`;
    assert.deepEqual(
      positions.map((row) => row["position"]),
      [1, 2],
    );
  }));

test("where a generation stands is kept with it, also when two put it somewhere at once", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const made = await run(sql, user, "qwen_image", {});
    const [first, second] = [await newShot(sql, user), await newShot(sql, user)];
    const [one, two] = [await database.session(), await database.session()];
    await one.query("begin");
    await one.query("select add_generation_to_shot($1, $2)", [first, made.generation_id]);
    const waiting = two.query("select add_generation_to_shot($1, $2)", [second, made.generation_id]);
    await database.lockIsWaitedFor();
    await one.query("commit");
    await waiting;
    const where = async () => (await generation(sql, made.generation_id))["shot_data"] as unknown;
    assert.deepEqual(await where(), { [first]: [0], [second]: [0] });
    await sql`update shot_generations set timeline_frame = 9 where shot_id = ${first}`;
    await sql`delete from shots where id = ${second}`;
    assert.deepEqual(await where(), { [first]: [9] });
    assert.equal(
      await refusedWith(sql`select add_generation_to_shot(${randomUUID()}, ${made.generation_id})`),
      "shot_not_found",
    );
  }));

test("an output for a generation that this task has made before is a new version of it", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const taskId = randomUUID();
    const [before] = await sql<{ id: string }[]>`
      insert into generations (project_id, source_task_id, tasks, location)
      values (${user.projectId}, ${taskId}, ${sql.json([taskId])}, 'https://media.example/before.png') returning id`;
    await queueTask(sql, user, { taskId, taskType: "qwen_image" });
    await claim(sql, "worker");
    const made = (await complete(sql, taskId)) as unknown as Made;
    assert.equal(made.generation_id, before?.id);
    assert.deepEqual(
      (await variantsOf(sql, made.generation_id)).map((row) => [row["variant_type"], row["is_primary"]]),
      [["regenerated", true]],
    );
    assert.equal((await generation(sql, made.generation_id))["location"], made.public_url);
  }));

test("a variant that is not written, because its task has added one, takes nothing from the primary one", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const made = await run(sql, user, "qwen_image", {});
    const [edit] = await sql<{ id: string }[]>`
      insert into generation_variants (generation_id, location, variant_type, source_task_id)
      values (${made.generation_id}, 'https://media.example/edit.png', 'edit', ${randomUUID()}) returning source_task_id as id`;
    await sql`
      insert into generation_variants (generation_id, location, variant_type, source_task_id, is_primary)
      values (${made.generation_id}, 'https://media.example/again.png', 'edit', ${edit?.id ?? ""}, true)
      on conflict do nothing`;
    const primaries = await sql`select id from generation_variants where is_primary`;
    assert.deepEqual(
      primaries.map((row) => row["id"]),
      [made.variant_id],
    );
  }));
