import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { withDatabase } from "../test/support/database.ts";
import { migrate, pendingMigrations } from "./migrate.ts";

const log = pino({ level: "silent" });

test("migrate() can be repeated, platform and seed included, and changes nothing then", () =>
  withDatabase(async ({ sql }) => {
    const before =
      await sql`select version, name from supabase_migrations.schema_migrations order by version`;
    await sql`comment on schema supabase_migrations is 'forgotten'`;
    await migrate(sql, { log });
    const after = await sql`select version, name from supabase_migrations.schema_migrations order by version`;
    assert.deepEqual([...after], [...before]);
    assert.deepEqual(await pendingMigrations(sql), []);
  }));

test("migrate() by many hosts at once happens once", () =>
  withDatabase(async ({ sql }) => {
    await sql.query("comment on schema supabase_migrations is 'forgotten'");
    await Promise.all(Array.from({ length: 5 }, () => migrate(sql, { log })));
    assert.deepEqual(await pendingMigrations(sql), []);
  }));

test("migrate() refuses a database that an earlier text of the same migration made, and leaves it alone", () =>
  withDatabase(async ({ sql }) => {
    await sql`update supabase_migrations.schema_migrations set statements = array['select 1']`;
    await assert.rejects(migrate(sql, { log }), /another unreleased state of Darkroom/);
    // As the Supabase CLI records it: statement by statement, which says nothing about the text.
    await sql`update supabase_migrations.schema_migrations set statements = array['select 1', 'select 2']`;
    await migrate(sql, { log });
  }));
