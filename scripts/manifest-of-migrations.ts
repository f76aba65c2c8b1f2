import { readdir, readFile } from "node:fs/promises";
import { openPool, type Pool } from "../supabase/functions/_shared/database/pool.ts";
import { platformSql, projectPath } from "../server/migrate.ts";
import { type Ask, type Catalog, readCatalog } from "../server/schema/catalog.ts";
import { makeManifest, type Manifest } from "../server/schema/manifest.ts";

/** Makes an empty database by the platform's SQL and the migrations, and describes it. */
export async function manifestOfMigrations(url: string): Promise<Manifest> {
  const sql = openPool({ url, name: "darkroom-generate", connections: 1, deadlineMilliseconds: Infinity });
  try {
    for (const file of (await platformSql()).files) await sql.query(file);
    const before = await catalogOf(sql);
    const folder = projectPath("supabase/migrations");
    for (const name of (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort()) {
      await sql.query(await readFile(`${folder}/${name}`, "utf8"));
      await sql`reset all`;
    }
    return makeManifest(before, await catalogOf(sql));
  } finally {
    await sql.end();
  }
}

async function catalogOf(sql: Pool): Promise<Catalog> {
  return (await sql.transaction(async (transaction) => {
    const ask: Ask = async <Row extends object>(text: string) =>
      [...(await transaction.query<Row[]>(text))] as Row[];
    return await readCatalog(ask);
  })) as Catalog;
}
