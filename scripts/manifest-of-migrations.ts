import { readdir, readFile } from "node:fs/promises";
import postgres, { type Sql } from "postgres";
import { platformSql, projectPath } from "../server/migrate.ts";
import { type Ask, type Catalog, readCatalog } from "../server/schema/catalog.ts";
import { makeManifest, type Manifest } from "../server/schema/manifest.ts";

/** Makes an empty database by the platform's SQL and the migrations, and describes it. */
export async function manifestOfMigrations(url: string): Promise<Manifest> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    for (const file of (await platformSql()).files) await sql.unsafe(file);
    const before = await catalogOf(sql);
    const folder = projectPath("supabase/migrations");
    for (const name of (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort()) {
      await sql.unsafe(await readFile(`${folder}/${name}`, "utf8"));
      await sql`reset all`;
    }
    return makeManifest(before, await catalogOf(sql));
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function catalogOf(sql: Sql): Promise<Catalog> {
  return (await sql.begin(async (transaction) => {
    const ask: Ask = async <Row extends object>(text: string) =>
      [...(await transaction.unsafe<Row[]>(text))] as Row[];
    return await readCatalog(ask);
  })) as Catalog;
}
