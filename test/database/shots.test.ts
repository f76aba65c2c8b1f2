import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import { createUser, refusedWith, type TestUser } from "../support/factories.ts";

/** A call of a function as a signed-in browser makes it over REST. */
async function rpc(session: Session, text: string, params: unknown[]): Promise<Record<string, unknown>[]> {
  return (await session.query(text, params)).rows as Record<string, unknown>[];
}

async function asUser(database: DatabaseUnderTest, { userId }: TestUser): Promise<Session> {
  return await database.sessionAs("authenticated", { sub: userId });
}

async function image(sql: Sql, { projectId }: TestUser): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    insert into generations (project_id, type, location)
    values (${projectId}, 'image', ${`https://media.example/${randomUUID()}.png`}) returning id`;
  return row?.id ?? "";
}

async function names(sql: Sql, { projectId }: TestUser): Promise<string[]> {
  const rows = await sql`select name, position from shots where project_id = ${projectId} order by position`;
  assert.deepEqual(
    rows.map((row) => row["position"]),
    rows.map((_row, index) => index + 1),
  );
  return rows.map((row) => row["name"] as string);
}

async function frames(sql: Sql, shot: unknown): Promise<unknown[]> {
  const rows = await sql`
    select timeline_frame from shot_generations where shot_id = ${shot as string} order by created_at, id`;
  return rows.map((row) => row["timeline_frame"]);
}

test("a shot is made with its image, or not at all", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await asUser(database, user);
    const generation = await image(sql, user);
    const [made] = await rpc(browser, "select * from create_shot_with_image($1, 'First', $2)", [
      user.projectId,
      generation,
    ]);
    assert.equal(made?.["success"], true);
    assert.equal(made["shot_name"], "First");
    assert.deepEqual(await frames(sql, made["shot_id"]), [0]);
    const unknown = rpc(browser, "select * from create_shot_with_image($1, 'Second', $2)", [
      user.projectId,
      randomUUID(),
    ]);
    assert.equal(await refusedWith(unknown), "generation_not_found");
    assert.deepEqual(await names(sql, user), ["First"]);
  }));

test("shots are inserted, copied with their images, and brought into an order", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await asUser(database, user);
    const [first] = await rpc(browser, "select * from create_shot_with_image($1, 'A', $2)", [
      user.projectId,
      await image(sql, user),
    ]);
    await rpc(browser, "select add_generation_to_shot($1, $2)", [first?.["shot_id"], await image(sql, user)]);
    await rpc(browser, "select * from insert_shot_at_position($1, 'C', null)", [user.projectId]);
    await rpc(browser, "select * from insert_shot_at_position($1, 'B', 2)", [user.projectId]);
    assert.deepEqual(await names(sql, user), ["A", "B", "C"]);

    await sql`update shots set settings = '{"fps": 24}', aspect_ratio = '16:9' where name = 'A'`;
    await sql`update shot_generations set metadata = '{"pair_prompt": "p"}' where timeline_frame = 0`;
    const [copied] = await rpc(
      browser,
      "select duplicate_shot(original_shot_id => $1, project_id => $2) as id",
      [first?.["shot_id"], user.projectId],
    );
    assert.deepEqual(await names(sql, user), ["A", "A (copy)", "B", "C"]);
    assert.deepEqual((await frames(sql, copied?.["id"])).toSorted(), [0, 81]);
    const [copy] = await sql`
      select shots.settings, aspect_ratio, metadata from shots join shot_generations on shot_id = shots.id
       where shots.id = ${copied?.["id"] as string} and timeline_frame = 0`;
    assert.deepEqual(
      { ...copy },
      { settings: { fps: 24 }, aspect_ratio: "16:9", metadata: { pair_prompt: "p" } },
    );

    const ids = await sql<{ id: string; name: string }[]>`select id, name from shots`;
    const idOf = (name: string) => ids.find((row) => row.name === name)?.id;
    const [moved] = await rpc(browser, "select reorder_shots($1, $2) as moved", [
      user.projectId,
      [idOf("C"), idOf("A")],
    ]);
    assert.equal(moved?.["moved"], 4);
    assert.deepEqual(await names(sql, user), ["C", "A", "A (copy)", "B"]);
    const unknown = rpc(browser, "select reorder_shots($1, $2)", [user.projectId, [randomUUID()]]);
    assert.equal(await refusedWith(unknown), "shot_not_found");
  }));

test("images move on the timeline: all that are named or none; two change places; one gets a place", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const browser = await asUser(database, user);
    const [shot] = await rpc(browser, "select shot_id as id from create_shot_with_image($1, 'A', $2)", [
      user.projectId,
      await image(sql, user),
    ]);
    const loose = await image(sql, user);
    await rpc(browser, "select add_generation_to_shot($1, $2)", [shot?.["id"], await image(sql, user)]);
    await rpc(browser, "select add_generation_to_shot($1, $2, false)", [shot?.["id"], loose]);
    const places = await sql<{ id: string }[]>`select id from shot_generations order by created_at, id`;
    const [one, two, three] = places.map((row) => row.id);
    assert.deepEqual(await frames(sql, shot?.["id"]), [0, 81, null]);

    const moved = await rpc(browser, "select * from batch_update_timeline_frames($1)", [
      [
        { shot_generation_id: one, timeline_frame: 10, metadata: { user_positioned: true } },
        { shot_generation_id: two, timeline_frame: 20 },
      ],
    ]);
    assert.equal(moved.length, 2);
    assert.deepEqual(await frames(sql, shot?.["id"]), [10, 20, null]);
    const [first] = await sql`select metadata from shot_generations where id = ${one ?? ""}`;
    assert.deepEqual(first?.["metadata"], { auto_positioned: true, user_positioned: true });
    const halfKnown = rpc(browser, "select * from batch_update_timeline_frames($1)", [
      [
        { shot_generation_id: one, timeline_frame: 99 },
        { shot_generation_id: randomUUID(), timeline_frame: 1 },
      ],
    ]);
    assert.equal(await refusedWith(halfKnown), "generation_not_found");

    await rpc(browser, "select exchange_timeline_frames($1, $2, $3)", [shot?.["id"], one, two]);
    assert.deepEqual(await frames(sql, shot?.["id"]), [20, 10, null]);
    await rpc(browser, "select position_existing_generation_in_shot($1, $2)", [shot?.["id"], loose]);
    assert.deepEqual(await frames(sql, shot?.["id"]), [20, 10, 30]);
    await rpc(browser, "select position_existing_generation_in_shot($1, $2)", [
      shot?.["id"],
      await image(sql, user),
    ]);
    assert.deepEqual(await frames(sql, shot?.["id"]), [20, 10, 30, 40]);
    await rpc(browser, "select exchange_timeline_frames($1, $2, $3)", [shot?.["id"], two, three]);
    assert.deepEqual(await frames(sql, shot?.["id"]), [20, 30, 10, 40]);
  }));

test("nobody arranges another's shots, and is told no more than that there are none", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const theirs = await asUser(database, other);
    const [shot] = await rpc(theirs, "select * from create_shot_with_image($1, 'A', $2)", [
      other.projectId,
      await image(sql, other),
    ]);
    const { shot_id, shot_generation_id } = shot ?? {};
    const before = await sql`select * from shot_generations`;
    const browser = await asUser(database, user);
    const mine = await image(sql, user);
    const cases: [string, string, unknown[]][] = [
      ["project_not_found", "select create_shot_with_image($1, 'B', $2)", [other.projectId, mine]],
      ["project_not_found", "select insert_shot_at_position($1, 'B', 1)", [other.projectId]],
      ["project_not_found", "select reorder_shots($1, $2)", [other.projectId, [shot_id]]],
      ["shot_not_found", "select duplicate_shot($1)", [shot_id]],
      ["shot_not_found", "select add_generation_to_shot($1, $2)", [shot_id, mine]],
      ["shot_not_found", "select position_existing_generation_in_shot($1, $2)", [shot_id, mine]],
      ["shot_not_found", "select exchange_timeline_frames($1, $2, $2)", [shot_id, shot_generation_id]],
      [
        "generation_not_found",
        "select batch_update_timeline_frames($1)",
        [[{ shot_generation_id, timeline_frame: 5 }]],
      ],
    ];
    for (const [code, text, params] of cases) {
      assert.equal(await refusedWith(rpc(browser, text, params)), code, text);
    }
    const [own] = await rpc(browser, "select shot_id as id from create_shot_with_image($1, 'Own', $2)", [
      user.projectId,
      mine,
    ]);
    const [foreign] = await sql<
      { id: string }[]
    >`select id from generations where project_id = ${other.projectId}`;
    assert.equal(
      await refusedWith(rpc(browser, "select add_generation_to_shot($1, $2)", [own?.["id"], foreign?.id])),
      "generation_not_found",
    );
    assert.deepEqual(await sql`select * from shot_generations where shot_id = ${shot_id as string}`, before);
  }));

test("two who add to a shot, or insert shots, at once take two places", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const [one, two] = [await asUser(database, user), await asUser(database, user)];
    const [shot] = await rpc(one, "select shot_id as id from create_shot_with_image($1, 'A', $2)", [
      user.projectId,
      await image(sql, user),
    ]);
    for (const [text, params] of [
      ["select add_generation_to_shot($1, $2)", [shot?.["id"], await image(sql, user)]],
      ["select insert_shot_at_position($1, 'B', 2)", [user.projectId]],
    ] as const) {
      await one.query("begin");
      await rpc(one, text, [...params]);
      const waiting = rpc(two, text, [...params]);
      await database.lockIsWaitedFor();
      await one.query("commit");
      await waiting;
    }
    assert.deepEqual(await frames(sql, shot?.["id"]), [0, 81, 162]);
    assert.deepEqual(await names(sql, user), ["A", "B", "B"]);
  }));
