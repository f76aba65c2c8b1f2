import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { randomBytes } from "node:crypto";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { schemaFiles } from "../../scripts/schema-files.ts";
import { projectPath } from "../../server/migrate.ts";
import { clusterUrlVariable, dropTestDatabase, withDatabase } from "../support/database.ts";
import { assertNone } from "./assert-none.ts";
import { catalog, differences } from "./catalog.ts";

test("schemas and migrations build the same database", () =>
  withDatabase((migrated) =>
    withSchemasApplied(async (built) => {
      const drift = differences("schemas", await catalog(built), "migrations", await catalog(migrated.sql));
      assertNone(drift, "Write a migration, or change the schemas:");
    }),
  ));

/** One change of each kind that a migration can forget. */
const forgotten: { change: string; reported: RegExp }[] = [
  {
    change: "alter table projects add column forgotten text",
    reported: /^column public\.projects\.forgotten/,
  },
  { change: "alter table projects alter name drop not null", reported: /^column public\.projects\.name/ },
  {
    change: "alter table projects alter settings set default '[]'",
    reported: /^column public\.projects\.settings/,
  },
  { change: "alter table projects alter name type varchar(9)", reported: /^column public\.projects\.name/ },
  {
    change: "alter table credits_ledger alter amount drop expression",
    reported: /^column public\.credits_ledger\.amount/,
  },
  { change: "create table forgotten ()", reported: /^table public\.forgotten/ },
  { change: "alter table tasks disable row level security", reported: /^table public\.tasks/ },
  { change: "alter table tasks replica identity full", reported: /^table public\.tasks/ },
  {
    change: "alter table credit_accounts drop constraint held_is_covered",
    reported: /^constraint .*held_is_covered/,
  },
  { change: "drop index one_charge_per_task", reported: /^index public\.one_charge_per_task/ },
  { change: "alter sequence task_turns cycle", reported: /^sequence public\.task_turns/ },
  { change: "alter type task_status add value 'Paused'", reported: /^type public\.task_status/ },
  { change: "create view forgotten as select 1 as one", reported: /^view public\.forgotten/ },
  {
    change:
      "create or replace function allows_cloud(settings jsonb) returns boolean language sql as 'select true'",
    reported: /^function public\.allows_cloud/,
  },
  { change: "alter function refuse set search_path = public", reported: /^function public\.refuse/ },
  { change: "drop trigger broadcast_balance on credit_accounts", reported: /^trigger .*broadcast_balance/ },
  { change: "alter table tasks disable trigger tasks_leave_queue", reported: /^trigger .*tasks_leave_queue/ },
  {
    change: "alter policy tasks_select_own on tasks using (true)",
    reported: /^policy public\.tasks tasks_select_own/,
  },
  {
    change: "drop policy media_select_own on storage.objects",
    reported: /^policy storage\.objects media_select_own/,
  },
  {
    change: "grant update on tasks to authenticated",
    reported: /^grant table public\.tasks to authenticated/,
  },
  {
    change: "grant update (credits) on users to authenticated",
    reported: /^grant column public\.users\.credits/,
  },
  {
    change: "grant usage on sequence task_turns to anon",
    reported: /^grant sequence public\.task_turns to anon/,
  },
  {
    change: "grant execute on function refuse to anon",
    reported: /^grant function public\.refuse\(.*\) to anon/,
  },
  { change: "alter default privileges grant select on tables to anon", reported: /^default privileges/ },
  {
    change: "alter publication supabase_realtime add table credit_holds",
    reported: /^published .*credit_holds/,
  },
  {
    change: "update storage.buckets set public = true where id = 'training-data'",
    reported: /^bucket training-data/,
  },
];

test("a change that a migration forgot is reported, whatever it changes", () =>
  withDatabase(async ({ sql }) => {
    const before = await catalog(sql);
    assert.ok(before.size > 500, "the catalog of the whole schema was read");
    for (const { change, reported } of forgotten) {
      const after = await changed(sql, change);
      const drift = differences("schemas", before, "migrations", after);
      assert.ok(
        drift.some((line) => reported.test(line)),
        `"${change}" was reported as ${JSON.stringify(drift)}`,
      );
    }
    assert.deepEqual(differences("schemas", before, "migrations", await catalog(sql)), []);
  }));

/** The catalog as it would be after a change, which is rolled back. */
async function changed(sql: Pool, change: string): Promise<Map<string, string>> {
  const connection = await sql.reserve();
  try {
    await connection`begin`;
    try {
      await connection.query(change);
      return await catalog(connection);
    } finally {
      await connection`rollback`;
    }
  } finally {
    connection.release();
  }
}

/** A database of the platform and `supabase/schemas`, in the order of `supabase/config.toml`. */
async function withSchemasApplied(compare: (sql: Pool) => Promise<void>): Promise<void> {
  const clusterUrl = process.env[clusterUrlVariable];
  assert.ok(clusterUrl, `${clusterUrlVariable} is set by "npm test"`);
  const name = `test_${randomBytes(8).toString("hex")}`;
  const admin = openPool({ url: clusterUrl, name: "test", connections: 1 });
  const url = new URL(clusterUrl);
  url.pathname = `/${name}`;
  const sql = openPool({ url: url.href, name: "test", connections: 1 });
  try {
    await admin.query(`create database ${name} template template0`);
    for (const file of await platformFiles()) await sql.query(await readFile(file, "utf8"));
    // As in a migration: functions name tables and functions that come later.
    await sql`set check_function_bodies = off`;
    for (const file of await schemaFiles()) await sql.query(await readFile(file, "utf8"));
    await compare(sql);
  } finally {
    await sql.end({ timeoutMilliseconds: 0 });
    await admin.end();
    await dropTestDatabase({ name });
  }
}

async function platformFiles(): Promise<string[]> {
  const folder = projectPath("server/platform");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return names.map((name) => `${folder}/${name}`);
}
