import { open, readdir, realpath, rm } from "node:fs/promises";
import path from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { from as copyFrom } from "pg-copy-streams";
import type { Logger } from "pino";
import { type FolderLock, lockFile, lockFolder } from "../folder-lock.ts";
import { codeOf } from "../postgres/error-code.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../postgres/embedded.ts";
import { ensureRoles } from "../schema/roles.ts";
import { type DatabaseConnection, openConnection, type TableRow, tablesQuery } from "./database.ts";
import * as format from "./format.ts";
import { markName, markUnfinished, unmarkUnfinished } from "./unfinished.ts";

export interface RestoreOptions {
  from: string;
  /** A data folder that does not exist yet, or is empty. */
  dataDirectory: string;
  /** An empty database; the embedded one of the data folder when undefined. */
  databaseUrl: string | undefined;
  log: Logger;
  signal?: AbortSignal;
}

const copiesAtOnce = 8;

/**
 * Makes an installation from a backup. The database comes in one transaction; the data folder is marked as unfinished
 * until everything is there, and a host refuses to start on it.
 */
export async function restoreBackup(options: RestoreOptions): Promise<format.Description> {
  const { log } = options;
  const from = path.resolve(options.from);
  const { folder: dataDirectory, isMade } = await realFolder(path.resolve(options.dataDirectory));
  const description = await format.readDescription(from);
  if (!(await format.isEmptyOrMissing(dataDirectory))) {
    throw new Error(`${dataDirectory} is not empty: restore into a new data folder (--data).`);
  }
  const made: { embedded?: EmbeddedPostgres } = {};
  // Of two restores into one folder the other ends here, and deletes nothing.
  const lock = await lockFolder(dataDirectory);
  try {
    await refuseFilled(dataDirectory);
    await markUnfinished(dataDirectory, from);
  } catch (error) {
    lock.release();
    throw error;
  }
  try {
    const databaseUrl = options.databaseUrl ?? (await startDatabase(lock, made, log));
    const database = await openConnection(databaseUrl, "darkroom-restore");
    try {
      await refuseUsed(database);
      await restoreFiles(from, dataDirectory, description, options.signal);
      await restoreDatabase(from, description, database, options);
    } finally {
      await database.close();
    }
    if (options.databaseUrl === undefined) await restoreSecret(from, dataDirectory, description);
    await made.embedded?.stop();
    await unmarkUnfinished(dataDirectory);
    await format.syncFolder(dataDirectory);
    return description;
  } catch (error) {
    await made.embedded?.stop();
    if (made.embedded) await rm(made.embedded.directory, { recursive: true, force: true });
    for (const name of ownNames) await rm(path.join(dataDirectory, name), { recursive: true, force: true });
    if (isMade) await format.removeIfEmpty(dataDirectory);
    throw error;
  } finally {
    lock.release();
  }
}

/** What a restore makes in a data folder. The mark and the lock are the last to go. */
const ownNames = ["postgres", "storage", "secret", "postgres.json", markName, lockFile];

/** Where a symbolic link leads, and whether the folder has yet to be made. */
async function realFolder(asked: string): Promise<{ folder: string; isMade: boolean }> {
  try {
    return { folder: await realpath(asked), isMade: false };
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return { folder: asked, isMade: true };
  }
}

/** Looked at again under the lock: another restore may have ended a moment before. */
async function refuseFilled(dataDirectory: string): Promise<void> {
  const names = (await readdir(dataDirectory)).filter((name) => name !== lockFile);
  if (names.length > 0)
    throw new Error(`${dataDirectory} is not empty: restore into a new data folder (--data).`);
}

async function startDatabase(
  lock: FolderLock,
  made: { embedded?: EmbeddedPostgres },
  log: Logger,
): Promise<string> {
  const directory = path.join(lock.directory, "postgres");
  made.embedded = await startEmbeddedPostgres({ directory, lock, log });
  return made.embedded.url;
}

async function refuseUsed({ ask }: DatabaseConnection): Promise<void> {
  const [version] = await ask<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  if ((version?.version ?? 0) < 150_000) throw new Error("Darkroom needs PostgreSQL 15 or newer.");
  const tables = await ask<TableRow>(tablesQuery);
  const [first] = tables;
  if (!first) return;
  throw new Error(
    `The database is not empty: it has ${tables.length} tables, such as ${first.quoted}. Restore into a new database.`,
  );
}

async function restoreDatabase(
  from: string,
  description: format.Description,
  database: DatabaseConnection,
  { databaseUrl, log, signal }: RestoreOptions,
): Promise<void> {
  const { ask } = database;
  await ask("begin");
  await ensureRoles(ask, log);
  await makeSchema(from, description, database);
  // Rows were checked when they were written. Nothing may change them now: neither triggers, which have done their
  // part, nor the order in which tables refer to each other. Both need no superuser this way.
  const foreignKeys = await dropForeignKeys(database);
  await makeOwnRoles(description.roles, database, log);
  await makeAdditions(description.additions, database);
  for (const [name, statement] of await dropForeignKeys(database)) foreignKeys.set(name, statement);
  const tables = await ask<TableRow>(tablesQuery);
  const triggers = await disableTriggers(database);
  await ask(`truncate table ${tables.map(({ quoted }) => quoted).join(", ")}`);
  for (const table of description.tables) {
    signal?.throwIfAborted();
    await loadTable(from, database, table, signal);
  }
  for (const { schema, name, last_value, is_called } of description.sequences) {
    const sequence = database.client.escapeLiteral(
      `${database.client.escapeIdentifier(schema)}.${database.client.escapeIdentifier(name)}`,
    );
    await ask(`select pg_catalog.setval(${sequence}::regclass, ${BigInt(last_value)}, ${is_called})`);
  }
  for (const statement of foreignKeys.values()) await ask(statement);
  for (const statement of triggers) await ask(statement);
  if (databaseUrl !== undefined && description.secret) {
    const secret = database.client.escapeLiteral((await format.readIntact(from, description.secret)).trim());
    await ask(
      `insert into darkroom_host.secrets (name, value) values ('jwt_secret', ${secret})` +
        " on conflict (name) do update set value = excluded.value",
    );
  }
  for (const { quoted } of await materializedViews(database))
    await ask(`refresh materialized view ${quoted}`);
  await ask("commit");
  await ask("analyze");
  log.info({ tables: description.tables.length }, "database restored");
}

/** By the SQL of the backup, which is that of its time: the next start brings it up to date. */
async function makeSchema(
  from: string,
  { schema, platform_fingerprint }: format.Description,
  { ask, client }: DatabaseConnection,
): Promise<void> {
  for (const file of schema) await ask(await format.readIntact(from, file));
  await ask(`comment on schema supabase_migrations is ${client.escapeLiteral(platform_fingerprint)}`);
}

async function makeOwnRoles(
  roles: readonly string[],
  { ask, client }: DatabaseConnection,
  log: Logger,
): Promise<void> {
  for (const role of roles) {
    const rows = await ask(
      `select 1 as one from pg_catalog.pg_roles where rolname = ${client.escapeLiteral(role)}`,
    );
    if (rows.length > 0) continue;
    await ask(`create role ${client.escapeIdentifier(role)} nologin`).catch((error: unknown) => {
      throw new Error(
        `The database user may not make the role "${role}", to which things of yours are granted: have it made first.`,
        { cause: error },
      );
    });
    log.warn({ role }, "a role of yours did not exist; it was made without login and attributes");
  }
}

/** There, or its parts are. */
const exists = new Set(["42710", "42P07", "42P06", "42701", "42723"]);

/** In several rounds, because things may rest on others that come later, such as a view in a function. */
async function makeAdditions(statements: readonly string[], { ask }: DatabaseConnection): Promise<void> {
  // Functions name each other, and tables that come later.
  await ask("set check_function_bodies = off");
  let remaining = [...statements];
  while (remaining.length > 0) {
    const refused: { statement: string; error: unknown }[] = [];
    for (const statement of remaining) {
      await ask("savepoint addition");
      try {
        await ask(statement);
      } catch (error) {
        await ask("rollback to savepoint addition");
        if (!exists.has(codeOf(error) ?? "")) refused.push({ statement, error });
      }
      await ask("release savepoint addition");
    }
    const [first] = refused;
    if (first && refused.length === remaining.length) {
      const reason = first.error instanceof Error ? first.error.message : String(first.error);
      throw new Error(`This part of the database cannot be made here (${reason}): ${first.statement}`, {
        cause: first.error,
      });
    }
    remaining = refused.map(({ statement }) => statement);
  }
}

/** Answers the statements that make them again, which also checks them; by the names of table and key. */
async function dropForeignKeys({ ask }: DatabaseConnection): Promise<Map<string, string>> {
  const keys = await ask<{ owner: string; name: string; definition: string }>(`
    select format('%I.%I', nspname, relname) as owner, quote_ident(conname) as name,
           pg_catalog.pg_get_constraintdef(con.oid) as definition
      from pg_catalog.pg_constraint as con
      join pg_catalog.pg_class on pg_class.oid = conrelid
      join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
     where contype = 'f' and nspname <> 'information_schema' and nspname not like 'pg\\_%'
     order by con.oid`);
  for (const { owner, name } of keys) await ask(`alter table ${owner} drop constraint ${name}`);
  return new Map(
    keys.map(({ owner, name, definition }) => [
      `${owner} ${name}`,
      `alter table ${owner} add constraint ${name} ${definition}`,
    ]),
  );
}

/** Answers the statements that make them as they were. */
async function disableTriggers({ ask }: DatabaseConnection): Promise<string[]> {
  const triggers = await ask<{ owner: string; name: string; enabled: "O" | "R" | "A" }>(`
    select format('%I.%I', nspname, relname) as owner, quote_ident(tgname) as name, tgenabled as enabled
      from pg_catalog.pg_trigger
      join pg_catalog.pg_class on pg_class.oid = tgrelid
      join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
     where not tgisinternal and tgenabled <> 'D' and relkind = 'r'
       and nspname <> 'information_schema' and nspname not like 'pg\\_%'
       and not exists (select from pg_catalog.pg_depend
                        where classid = 'pg_catalog.pg_trigger'::regclass and objid = pg_trigger.oid and deptype = 'e')
     order by pg_trigger.oid`);
  for (const { owner, name } of triggers) await ask(`alter table ${owner} disable trigger ${name}`);
  const enable = { O: "enable", R: "enable replica", A: "enable always" };
  return triggers.map(
    ({ owner, name, enabled }) => `alter table ${owner} ${enable[enabled]} trigger ${name}`,
  );
}

async function loadTable(
  from: string,
  { client }: DatabaseConnection,
  { schema, name, columns, rows, data }: format.Description["tables"][number],
  signal: AbortSignal | undefined,
): Promise<void> {
  const table = `${client.escapeIdentifier(schema)}.${client.escapeIdentifier(name)}`;
  const list =
    columns.length > 0 ? ` (${columns.map((column) => client.escapeIdentifier(column)).join(", ")})` : "";
  const checksum = new format.Checksum();
  const loading = client.query(copyFrom(`copy ${table}${list} from stdin`));
  const file = path.join(from, data.path);
  await pipeline(format.readFrom(from, data.path), checksum, createGunzip(), loading, {
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    if (!codeOf(error)?.startsWith("Z_")) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${file} is damaged: ${reason}`, { cause: error });
  });
  format.assertIntact(file, data, checksum);
  if (loading.rowCount !== rows) {
    throw new Error(`${table} has ${loading.rowCount} rows after the restore instead of ${rows}.`);
  }
}

async function materializedViews({ ask }: DatabaseConnection): Promise<{ quoted: string }[]> {
  return await ask(`
    select format('%I.%I', nspname, relname) as quoted
      from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
     where relkind = 'm' and nspname not like 'pg\\_%' order by pg_class.oid`);
}

async function restoreSecret(
  from: string,
  dataDirectory: string,
  { secret }: format.Description,
): Promise<void> {
  if (secret) await format.writePrivate(dataDirectory, "secret", await format.readIntact(from, secret));
}

async function restoreFiles(
  from: string,
  dataDirectory: string,
  { files }: format.Description,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!files.list) return;
  const storage = path.join(dataDirectory, "storage");
  const { list } = files;
  const lines = await open(path.join(from, list.path));
  await format.eachOf(lines.readLines(), copiesAtOnce, async (line) => {
    signal?.throwIfAborted();
    const file = format.readListedFile(path.join(from, list.path), line);
    const source = path.join(from, format.filesFolder, file.key);
    const copied = await format.copyFile(source, path.join(storage, file.key));
    if (!copied) throw new Error(`The backup is damaged: ${source} is missing.`);
    format.assertIntact(source, file, copied);
  });
  await verifyList(from, list);
}

/** That the list itself is whole: a line that is missing would be a file that is missing. */
async function verifyList(from: string, list: format.StoredFile): Promise<void> {
  const checksum = new format.Checksum();
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  await pipeline(format.readFrom(from, list.path), checksum, nowhere);
  format.assertIntact(path.join(from, list.path), list, checksum);
}
