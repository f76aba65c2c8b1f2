import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, readFile, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { to as copyTo } from "pg-copy-streams";
import type { Logger } from "pino";
import { migrationLock, migrationText, platformSql } from "../migrate.ts";
import { codeOf } from "../postgres/error-code.ts";
import { beyondCatalog, readCatalog } from "../schema/catalog.ts";
import { readManifest } from "../schema/manifest.ts";
import { contentLock, placeOfRemoved } from "../storage/content-hold.ts";
import { deleteRemoved } from "../storage/disk-store.ts";
import { contentKey } from "../storage/object-store.ts";
import { findAdditions } from "./additions.ts";
import { type DatabaseConnection, openConnection, type TableRow, tablesQuery } from "./database.ts";
import * as format from "./format.ts";

export interface BackupOptions {
  databaseUrl: string;
  /** The file with the keys' secret; undefined where the database keeps it. */
  secretPath: string | undefined;
  /** Where the files are; undefined where they are in S3. */
  storageDirectory: string | undefined;
  /** A folder that does not exist yet, or is empty. */
  to: string;
  darkroom: string;
  log: Logger;
  signal?: AbortSignal;
}

const copiesAtOnce = 8;

/**
 * Copies a whole installation while it serves. The database is one snapshot. Files are copied after it: a file never
 * changes under its name, one that was stored later is in no row of the snapshot, and hosts keep what they delete until
 * the copy is made.
 */
export async function makeBackup(options: BackupOptions): Promise<format.Description> {
  const target = await claimTarget(options.to);
  const { folder, unfinished } = target;
  const published: string[] = [];
  try {
    const description = await fill(unfinished, options);
    await publish(target, published);
    return description;
  } catch (error) {
    // Only what this backup made: others may have put something beside it.
    for (const name of published) await rm(path.join(folder, name), { recursive: true, force: true });
    await rm(unfinished, { recursive: true, force: true });
    if (target.isMade) await format.removeIfEmpty(folder);
    throw error;
  }
}

interface Target {
  folder: string;
  /** In the folder: what a backup makes until it is whole. Who created it has the target. */
  unfinished: string;
  /** Whether the folder did not exist before. */
  isMade: boolean;
}

/** Takes the target for this backup alone, and works in it from the beginning: what cannot be written fails early. */
async function claimTarget(to: string): Promise<Target> {
  const asked = path.resolve(to);
  const isMade = await makeFolder(asked);
  // Where a symbolic link leads: the link stays.
  const folder = await realpath(asked);
  if (!(await format.isEmptyOrMissing(folder))) throw notEmpty(asked, await readdir(folder));
  const unfinished = path.join(folder, unfinishedFolder);
  await mkdir(unfinished, { mode: 0o700 }).catch((error: unknown) => {
    throw codeOf(error) === "EEXIST" ? notEmpty(asked, [unfinishedFolder]) : error;
  });
  // Another backup may have ended a moment before.
  const names = await readdir(folder);
  if (names.length === 1) return { folder, unfinished, isMade };
  await rmdir(unfinished);
  throw notEmpty(asked, names);
}

const unfinishedFolder = "unfinished-backup";

/** Answers whether it was made; false when it exists already. */
async function makeFolder(folder: string): Promise<boolean> {
  await mkdir(path.dirname(folder), { recursive: true });
  try {
    await mkdir(folder, { mode: 0o700 });
    return true;
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
  const found = await stat(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (!found?.isDirectory()) throw new Error(`${folder} is not a folder. Choose another path.`);
  return false;
}

function notEmpty(folder: string, names: readonly string[]): Error {
  const reason = names.includes(unfinishedFolder)
    ? `another backup works in it, or was killed and left ${unfinishedFolder}, which may be deleted then`
    : "choose a new folder";
  return new Error(`${folder} is not empty: ${reason}.`);
}

/** Renames the parts into place. The description comes last: without it a folder is not a backup. */
async function publish({ folder, unfinished }: Target, published: string[]): Promise<void> {
  const parts = (await readdir(unfinished)).filter((name) => name !== format.descriptionFile);
  const others = await readdir(folder);
  for (const name of [...parts, format.descriptionFile]) {
    if (others.includes(name))
      throw new Error(`${path.join(folder, name)} was made by somebody else meanwhile.`);
    await rename(path.join(unfinished, name), path.join(folder, name));
    published.push(name);
    if (published.length >= parts.length) await format.syncFolder(folder);
  }
  await rmdir(unfinished);
  await format.syncFolder(folder);
  await format.syncFolder(path.dirname(folder));
}

async function fill(folder: string, options: BackupOptions): Promise<format.Description> {
  const { databaseUrl, darkroom, log, signal } = options;
  const database = await openConnection(databaseUrl, "darkroom-backup");
  try {
    // Before the snapshot: what it names is deleted only when this lock is free again. Another backup is waited for.
    await database.ask(`select pg_advisory_lock(${contentLock})`);
    // While no host migrates, so that rows and schema are of one moment.
    await database.ask(`select pg_advisory_lock(${migrationLock})`);
    await database.ask("begin isolation level repeatable read, read only");
    await refuseSupabase(database);
    const tables = await database.ask<TableRow>(tablesQuery);
    if (!tables.some(({ quoted }) => quoted === "supabase_migrations.schema_migrations")) {
      throw new Error("The database is not one of Darkroom: it has no migrations.");
    }
    await database.ask(`lock table ${tables.map(({ quoted }) => quoted).join(", ")} in access share mode`);
    const structure = await describeStructure(database, log);
    await database.ask(`select pg_advisory_unlock(${migrationLock})`);
    const secret = await copySecret(folder, options, database);
    const copied: format.Description["tables"] = [];
    for (const table of tables) {
      signal?.throwIfAborted();
      copied.push(await copyTable(folder, database, table, signal));
    }
    // Sequences are read after the rows: they know no snapshot, so they are at or beyond every number in a row.
    const sequences = await readSequences(database);
    const schema = await writeSchema(folder, database);
    await writeObjectList(folder, database);
    await database.ask("commit");
    log.info({ tables: copied.length }, "database copied");
    const files = await copyFiles(folder, options);
    const description: format.Description = {
      format: 1,
      made_at: new Date().toISOString(),
      darkroom,
      ...structure,
      schema,
      tables: copied,
      sequences,
      secret,
      files,
    };
    await releaseContent(database, options);
    await format.writePrivate(folder, format.descriptionFile, JSON.stringify(description, null, 2));
    await format.syncFolder(folder);
    return description;
  } finally {
    await database.close();
  }
}

/** @throws when the connection was lost, and with it the lock: content may have been deleted before it was copied */
async function releaseContent(
  { ask }: DatabaseConnection,
  { storageDirectory, log }: BackupOptions,
): Promise<void> {
  await ask("select 1");
  if (storageDirectory !== undefined) {
    await deleteRemoved(storageDirectory).catch((error: unknown) =>
      log.warn({ err: error }, "files that were deleted meanwhile are deleted at the next start of a host"),
    );
  }
  await ask(`select pg_advisory_unlock(${contentLock})`);
}

async function refuseSupabase({ ask }: DatabaseConnection): Promise<void> {
  const rows = await ask("select 1 as one from pg_catalog.pg_roles where rolname = 'supabase_admin'");
  if (rows.length > 0) {
    throw new Error(
      "Supabase runs this database, and backs it up itself: use the backups of its dashboard or CLI.",
    );
  }
}

/** What the database has beyond the migrations. @throws when there is something that a restore could not make */
async function describeStructure({ ask }: DatabaseConnection, log: Logger) {
  const [version] = await ask<{ major: number }>(
    "select current_setting('server_version_num')::int / 10000 as major",
  );
  const postgres = version?.major ?? 0;
  const { statements, roles, impossible, missing } = findAdditions(
    await readCatalog(ask),
    await readManifest(),
  );
  const beyond = await beyondCatalog(ask);
  const refused = [...impossible, ...beyond.map(({ thing, reason }) => `${thing}: ${reason}`)];
  if (refused.length > 0) {
    throw new Error(
      `The database has things that a backup cannot hold:\n${refused.map((line) => `  ${line}\n`).join("")}` +
        "Move them to a database of their own, or back up this one by pg_dump (docs/backup.md).",
    );
  }
  if (statements.length > 0)
    log.info({ count: statements.length }, "own tables, policies and so on are included");
  if (missing.length > 0) {
    log.warn(
      { missing: missing.slice(0, 100), count: missing.length },
      "the database lacks what a restore makes again",
    );
  }
  const { fingerprint } = await platformSql();
  return { postgres, platform_fingerprint: fingerprint, additions: statements, roles };
}

async function copyTable(
  folder: string,
  { client }: DatabaseConnection,
  { schema, name, quoted, columns }: TableRow,
  signal: AbortSignal | undefined,
): Promise<format.Description["tables"][number]> {
  const file = `data/${encodeURIComponent(`${schema}.${name}`)}.copy.gz`;
  await mkdir(path.join(folder, "data"), { recursive: true, mode: 0o700 });
  const list =
    columns.length > 0 ? ` (${columns.map((column) => client.escapeIdentifier(column)).join(", ")})` : "";
  const rows = client.query(copyTo(`copy ${quoted}${list} to stdout`));
  const checksum = new format.Checksum();
  const target = createWriteStream(path.join(folder, file), format.privately);
  // Quick compression: rows are text that repeats itself, and the host needs the processor.
  await pipeline(rows, createGzip({ level: 1 }), checksum, target, { ...(signal && { signal }) });
  return { schema, name, columns, rows: rows.rowCount ?? 0, data: { path: file, ...checksum.result() } };
}

async function readSequences({ ask }: DatabaseConnection): Promise<format.Description["sequences"]> {
  const sequences = await ask<{ schema: string; name: string; quoted: string }>(`
    select nspname as schema, relname as name, format('%I.%I', nspname, relname) as quoted
      from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
     where relkind = 'S' and nspname <> 'information_schema' and nspname not like 'pg\\_%' and relpersistence <> 't'
       and not exists (select from pg_catalog.pg_depend where objid = pg_class.oid and deptype = 'e')
     order by nspname, relname`);
  const found: format.Description["sequences"] = [];
  for (const { schema, name, quoted } of sequences) {
    const [row] = await ask<{ last_value: string; is_called: boolean }>(
      `select last_value::text, is_called from ${quoted}`,
    );
    if (row) found.push({ schema, name, ...row });
  }
  return found;
}

/** The SQL that made the schema: the platform's of this program, and the migrations as they were applied. */
async function writeSchema(folder: string, { ask }: DatabaseConnection): Promise<format.StoredFile[]> {
  const { files } = await platformSql();
  const written = [await format.writePrivate(folder, "schema/platform.sql", files.join("\n"))];
  const migrations = await ask<{ version: string; name: string | null; statements: string[] | null }>(
    "select version, name, statements from supabase_migrations.schema_migrations order by version",
  );
  for (const { version, name, statements } of migrations) {
    const [text, ...others] = statements ?? [];
    // Another tool keeps single statements; the text is that of the file with this version then.
    const sql = text !== undefined && others.length === 0 ? text : await migrationText(version);
    if (sql === undefined)
      throw new Error(`The text of the migration ${version} is neither in the database nor here.`);
    written.push(await format.writePrivate(folder, `schema/${version}_${name ?? "migration"}.sql`, sql));
  }
  return written;
}

async function copySecret(
  folder: string,
  { secretPath }: BackupOptions,
  { ask }: DatabaseConnection,
): Promise<format.StoredFile | null> {
  const secret = secretPath === undefined ? await secretOfDatabase(ask) : await secretOfFile(secretPath);
  return secret === undefined ? null : await format.writePrivate(folder, format.secretFile, secret);
}

async function secretOfDatabase(ask: DatabaseConnection["ask"]): Promise<string | undefined> {
  const [row] = await ask<{ value: string }>(
    "select value from darkroom_host.secrets where name = 'jwt_secret'",
  );
  return row?.value;
}

async function secretOfFile(file: string): Promise<string | undefined> {
  return await readFile(file, "utf8").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
}

const objectList = "objects.tmp";

/** Which files the snapshot's rows name: a line each, so that millions need no memory. */
async function writeObjectList(folder: string, { client }: DatabaseConnection): Promise<void> {
  const query =
    "copy (select bucket_id || '/' || version from storage.objects where version is not null) to stdout";
  await pipeline(
    client.query(copyTo(query)),
    createWriteStream(path.join(folder, objectList), format.privately),
  );
}

async function copyFiles(
  folder: string,
  { storageDirectory, log, signal }: BackupOptions,
): Promise<format.Description["files"]> {
  const list = path.join(folder, objectList);
  try {
    if (storageDirectory === undefined) return { kept_in: "s3", count: 0, bytes: 0, list: null };
    let [count, bytes, missing] = [0, 0, 0];
    const target = path.join(folder, format.filesFolder);
    const checksum = new format.Checksum();
    const listing = pipeline(
      checksum,
      createWriteStream(path.join(folder, format.fileListFile), format.privately),
    );
    listing.catch(() => undefined); // Met below.
    const keys = await open(list);
    await format.eachOf(keys.readLines(), copiesAtOnce, async (line) => {
      signal?.throwIfAborted();
      const key = keyOf(line);
      const copied = key && (await copyContent(storageDirectory, key, path.join(target, key)));
      if (!key || !copied) {
        missing++;
        return;
      }
      const result = copied.result();
      count++;
      bytes += result.bytes;
      checksum.write(`${JSON.stringify({ key, ...result })}\n`);
    });
    checksum.end();
    await listing;
    if (missing > 0 && count === 0) {
      throw new Error(
        `None of the ${missing} files is in ${storageDirectory}: name the folder that has them by --data, or set DARKROOM_S3_BUCKET.`,
      );
    }
    if (missing > 0) log.warn({ missing }, "files that rows name are not there, and are not in this backup");
    log.info({ count, bytes }, "files copied");
    return { kept_in: "folder", count, bytes, list: { path: format.fileListFile, ...checksum.result() } };
  } finally {
    await rm(list, { force: true });
  }
}

/** Where it is, or where it was moved when it was deleted since the snapshot. */
async function copyContent(
  storageDirectory: string,
  key: string,
  target: string,
): Promise<format.Checksum | undefined> {
  return (
    (await format.copyFile(path.join(storageDirectory, key), target)) ??
    (await format.copyFile(placeOfRemoved(storageDirectory, key), target))
  );
}

/** Where the bytes of an object are; undefined where its row names none that a store can hold. */
function keyOf(line: string): string | undefined {
  const separator = line.lastIndexOf("/");
  try {
    return contentKey(line.slice(0, separator), line.slice(separator + 1));
  } catch {
    return undefined;
  }
}
