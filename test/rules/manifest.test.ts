import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { manifestOfMigrations } from "../../scripts/manifest-of-migrations.ts";
import { manifestFile, manifestText } from "../../server/schema/manifest.ts";
import { clusterUrlVariable, dropTestDatabase } from "../support/database.ts";

test("the manifest describes the database that the platform's SQL and the migrations make", async () => {
  const clusterUrl = process.env[clusterUrlVariable];
  assert.ok(clusterUrl, `${clusterUrlVariable} is set by "npm test"`);
  const name = `test_${randomBytes(8).toString("hex")}`;
  const admin = openPool({ url: clusterUrl, name: "test", connections: 1 });
  try {
    await admin.query(`create database ${name} template template0`);
    const url = new URL(clusterUrl);
    url.pathname = `/${name}`;
    const made = await manifestOfMigrations(url.href);
    const isCurrent = (await readFile(manifestFile(), "utf8")) === manifestText(made);
    assert.ok(isCurrent, "server/schema/manifest.json is out of date: npm run generate");
    for (const kind of ["policy", "grant", "trigger", "function", "table"]) {
      const things = Object.keys(made.migrations).filter((thing) => thing.startsWith(`${kind} `));
      assert.ok(things.length > 20, `${things.length} things of the kind ${kind}`);
    }
  } finally {
    await admin.end();
    await dropTestDatabase({ name });
  }
});
