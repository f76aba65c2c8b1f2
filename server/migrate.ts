import { createHash } from "node:crypto";
import { access, readdir, readFile } from "node:fs/promises";
import type { Logger } from "pino";
import type { Pool, ReservedSql } from "../supabase/functions/_shared/database/pool.ts";
import type { Sql } from "../supabase/functions/_shared/database/sql.ts";
import { projectPath } from "./project-path.ts";
import type { Ask } from "./schema/catalog.ts";
import { describeFaults, findPlatformFaults } from "./schema/faults.ts";
import { ensureRoles } from "./schema/roles.ts";

export { projectPath };

/** Any number, as long as it stays the same: hosts that start at once take turns by it. */
export const migrationLock = 4_215_871_093;

/**
 * Brings a database up to date: the roles of its server, what Supabase would bring, then every migration it has not
 * seen, each in a transaction of its own, then the seed when there was anything new.
 */
export async function migrate(sql: Pool, { log }: { log: Logger }): Promise<void> {
  const connection = await sql.reserve();
  try {
    await connection`select pg_advisory_lock(${migrationLock})`;
    try {
      if (!(await isSupabase(connection))) {
        await ensureRoles(asker(connection), log);
        await applyPlatform(connection, log);
      }
      const applied = await applyMigrations(connection, log);
      if (applied > 0) {
        await applySeed(connection, log);
        // Whoever serves the schema, PostgREST or a host that runs already, reads it again.
        await connection`notify pgrst, 'reload schema'`;
      }
    } finally {
      // Migrations may change settings of the session, and the connection goes back to a pool.
      await connection`reset all`;
      await connection`select pg_advisory_unlock(${migrationLock})`;
    }
  } finally {
    connection.release();
  }
}

/** Names of migration files that this database has not seen; none means it is up to date. */
export async function pendingMigrations(sql: Pool): Promise<string[]> {
  const applied = await appliedVersions(sql);
  return (await migrationFiles()).filter((file) => !applied.has(versionOf(file)));
}

/** Versions that this database has and this program does not know: a newer release has migrated it. */
export async function unknownMigrations(sql: Sql): Promise<string[]> {
  const known = new Set((await migrationFiles()).map(versionOf));
  return [...(await appliedVersions(sql))].filter((version) => !known.has(version));
}

/** A database that Supabase runs has all of the platform already, and it is not ours to change. */
export async function isSupabase(sql: Sql): Promise<boolean> {
  const rows = await sql`select from pg_catalog.pg_roles where rolname = 'supabase_admin'`;
  return rows.length > 0;
}

/** The SQL that stands in for Supabase's own schemas, and how a database says that it has it. */
export async function platformSql(): Promise<{ files: string[]; fingerprint: string }> {
  const folder = projectPath("server/platform");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  const files = await Promise.all(names.map((name) => readFile(`${folder}/${name}`, "utf8")));
  return { files, fingerprint: `platform ${createHash("sha256").update(files.join("")).digest("hex")}` };
}

/** The text of a migration that this program has. */
export async function migrationText(version: string): Promise<string | undefined> {
  const file = (await migrationFiles()).find((name) => versionOf(name) === version);
  return file === undefined ? undefined : await readFile(projectPath(`supabase/migrations/${file}`), "utf8");
}

async function applyPlatform(sql: ReservedSql, log: Logger): Promise<void> {
  const { files, fingerprint } = await platformSql();
  // Applying it again locks tables that other hosts are using, so that is done only when something is missing.
  const [known] = await sql<{ comment: string | null }[]>`
    select obj_description(to_regnamespace('supabase_migrations'), 'pg_namespace') as comment`;
  if (known?.comment === fingerprint) {
    const faults = await inTransaction(sql, async () => await findPlatformFaults(asker(sql)));
    if (faults.length === 0) return;
    log.warn({ missing: describeFaults(faults) }, "parts of the platform SQL are missing");
  }
  await inTransaction(sql, async () => {
    for (const file of files) await sql.query(file);
    await sql.query(`comment on schema supabase_migrations is '${fingerprint}'`);
  });
  log.info({ files: files.length }, "platform SQL applied");
}

async function applyMigrations(sql: ReservedSql, log: Logger): Promise<number> {
  const applied = await appliedTexts(sql);
  let count = 0;
  for (const file of await migrationFiles()) {
    const version = versionOf(file);
    const text = await readFile(projectPath(`supabase/migrations/${file}`), "utf8");
    if (applied.has(version)) {
      const known = applied.get(version);
      // Released migrations never change; until then there is one, and it does.
      if (known !== undefined && known !== text) {
        throw new Error(
          `This database was made by another unreleased state of Darkroom (${file} differs). ` +
            "Start with an empty data folder (--data) or database.",
        );
      }
      continue;
    }
    const name = file.slice(version.length + 1, -".sql".length);
    await inTransaction(sql, async () => {
      await sql.query(text);
      await sql`
        insert into supabase_migrations.schema_migrations (version, statements, name)
        values (${version}, ${[text]}, ${name})`;
    });
    log.info({ migration: file }, "migration applied");
    count++;
  }
  return count;
}

async function applySeed(sql: ReservedSql, log: Logger): Promise<void> {
  const seed = projectPath("supabase/seed.sql");
  const exists = await access(seed).then(
    () => true,
    () => false,
  );
  if (!exists) return;
  await inTransaction(sql, async () => {
    await sql.query(await readFile(seed, "utf8"));
  });
  log.info({}, "seed applied");
}

async function appliedVersions(sql: Sql): Promise<Set<string>> {
  const rows = await sql<{ version: string }[]>`select version from supabase_migrations.schema_migrations`;
  return new Set(rows.map((row) => row.version));
}

/** Versions with the text that was applied; without it where another tool did, which keeps single statements. */
async function appliedTexts(sql: Sql): Promise<Map<string, string | undefined>> {
  const rows = await sql<{ version: string; statements: string[] | null }[]>`
    select version, statements from supabase_migrations.schema_migrations`;
  return new Map(
    rows.map(({ version, statements }) => [version, statements?.length === 1 ? statements[0] : undefined]),
  );
}

async function migrationFiles(): Promise<string[]> {
  const names = await readdir(projectPath("supabase/migrations")).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => /^\d+_.+\.sql$/.test(name)).sort();
}

function versionOf(file: string): string {
  return file.slice(0, file.indexOf("_"));
}

function asker(sql: ReservedSql): Ask {
  return async <Row extends object>(text: string) => [...(await sql.query<Row[]>(text))];
}

async function inTransaction<Result>(sql: ReservedSql, work: () => Promise<Result>): Promise<Result> {
  await sql`begin`;
  try {
    const result = await work();
    await sql`commit`;
    return result;
  } catch (error) {
    await sql`rollback`;
    throw error;
  }
}
