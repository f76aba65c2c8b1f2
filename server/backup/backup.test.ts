import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import {
  clusterUrlVariable,
  type DatabaseUnderTest,
  dropTestDatabase,
  withDatabase,
} from "../../test/support/database.ts";
import { claim, complete, createUser, queueTask } from "../../test/support/factories.ts";
import { examine } from "../doctor.ts";
import { startHost } from "../host.ts";
import { deriveKeys } from "../keys.ts";
import { projectPath } from "../project-path.ts";
import { contentLock, isContentHeld } from "../storage/content-hold.ts";
import { createDiskStore } from "../storage/disk-store.ts";
import { createStorage } from "../storage/storage.ts";
import { makeBackup } from "./backup.ts";
import { type Description, readDescription } from "./format.ts";
import { restoreBackup } from "./restore.ts";

const log = pino({ level: "silent" });

test("a backup under many writers is one moment: the books of the restored database add up", () =>
  withSource(async (source) => {
    const owners = await Promise.all(Array.from({ length: 4 }, () => createUser(source.sql)));
    const load = { isOver: false };
    const writers = owners.map(async (owner) => {
      let written = 0;
      while (!load.isOver) {
        const taskId = await queueTask(source.sql, owner);
        if (await claim(source.sql, "cloud-1")) written++;
        await complete(source.sql, taskId).catch(() => undefined);
      }
      return written;
    });
    await pause(300);
    const made = await source.backUp();
    load.isOver = true;
    const written = (await Promise.all(writers)).reduce((sum, one) => sum + one, 0);
    assert.ok(written > 20, `only ${written} tasks ran meanwhile`);
    await withEmptyDatabase(async (databaseUrl) => {
      await source.restore({ databaseUrl });
      const { healthy, faults, entries } = await examine(databaseUrl, "doctor");
      assert.ok(healthy, JSON.stringify(faults));
      assert.ok(entries > 0);
      const rows = made.tables.find(({ name }) => name === "credits_ledger")?.rows;
      assert.equal(entries, rows);
    });
  }));

test("a file of storage that is stored during the backup is left out, one that is gone is counted, and none is half", () =>
  withSource(async (source) => {
    const kept = await source.store(300_000);
    const gone = await source.store(10);
    await rm(gone.file);
    const orphan = path.join(path.dirname(kept.file), randomUUID());
    await writeFile(orphan, "no row names this");
    const { files } = await source.backUp();
    assert.deepEqual([files.kept_in, files.count, files.bytes], ["folder", 1, 300_000]);
    const { data } = await withEmptyDatabase((databaseUrl) => source.restore({ databaseUrl }));
    const restored = path.join(data, "storage", kept.key);
    assert.deepEqual(await readFile(restored), await readFile(kept.file));
    assert.equal((await stat(restored)).mode & 0o777, 0o600);
    assert.equal(
      (await readdir(path.join(data, "storage"), { recursive: true })).filter((name) => name.includes(orphan))
        .length,
      0,
    );
  }));

test("a file that a host deletes between a backup's snapshot and its copy of the files is in the backup", () =>
  withSource(async (source) => {
    const deleted = await source.store(300_000);
    const bytes = await readFile(deleted.file);
    const storageDirectory = path.join(source.folder, "storage");
    const store = createDiskStore(storageDirectory, () => isContentHeld(source.sql));
    const [bucket, , version] = deleted.key.split("/");
    assert.ok(bucket && version);
    // The snapshot is taken before the tables are locked: there the backup stands until it is let go on.
    let backup: Promise<Description> | undefined;
    await source.sql.transaction(async (transaction) => {
      await transaction`lock table storage.buckets in access exclusive mode`;
      backup = source.backUp();
      await waitUntil(async () => {
        const waiting = await source.sql`
          select from pg_stat_activity where application_name = 'darkroom-backup' and wait_event = 'relation'
            and datname = current_database()`;
        return waiting.length > 0;
      });
      await source.sql`delete from storage.objects where version = ${version}`;
      await store.remove(bucket, version);
      assert.ok(!(await readdir(path.dirname(deleted.file))).includes(version));
    });
    const made = await backup;
    assert.equal(made?.files.count, 1);
    const { data } = await withEmptyDatabase((databaseUrl) => source.restore({ databaseUrl }));
    assert.deepEqual(await readFile(path.join(data, "storage", deleted.key)), bytes);
    // The backup deletes the content that hosts kept for it; later deletions take effect at once.
    const later = await source.store(10);
    await store.remove(bucket, path.basename(later.file));
    const left = await readdir(storageDirectory, { recursive: true, withFileTypes: true });
    assert.deepEqual(
      left.filter((entry) => entry.isFile()),
      [],
    );
  }));

test("content that a killed backup left behind is deleted when a host starts, and not while another backup runs", () =>
  withSource(async (source) => {
    const { key, file } = await source.store(10);
    const removed = path.join(source.folder, "storage", ".removed", key);
    await mkdir(path.dirname(removed), { recursive: true });
    await rename(file, removed);
    const startStorage = async () => {
      const storage = createStorage({
        apiUrl: "http://127.0.0.1",
        keys: await deriveKeys("a secret for tests, of 32 bytes and more", {}),
        sql: source.sql,
        databaseUrl: source.url,
        storageDirectory: path.join(source.folder, "storage"),
        s3: undefined,
        log,
        checkAnswers: false,
      });
      await storage.stop();
    };
    await asOwner(source.url, async (other) => {
      await other`select pg_advisory_lock(${contentLock})`;
      await startStorage();
      assert.equal((await readFile(removed)).byteLength, 10);
      // A session that ends gives its locks back a moment later.
      await other`select pg_advisory_unlock(${contentLock})`;
    });
    await startStorage();
    await assert.rejects(readFile(removed), { code: "ENOENT" });
  }));

test("a backup fails, and leaves nothing, when none of the files is where it looks", () =>
  withSource(async (source) => {
    const { file } = await source.store(10);
    await rm(file);
    await assert.rejects(
      source.backUp(),
      /None of the 1 files is in .*: name the folder that has them by --data/,
    );
    assert.deepEqual(await readdir(source.folder), ["storage"]);
  }));

test("with files in S3, the backup has their rows and says so", () =>
  withSource(async (source) => {
    await source.store(10);
    const { files, tables } = await source.backUp({ storageDirectory: undefined });
    assert.deepEqual(files, { kept_in: "s3", count: 0, bytes: 0, list: null });
    assert.equal(tables.find(({ schema, name }) => schema === "storage" && name === "objects")?.rows, 1);
  }));

/** What a restore must not take for a backup. */
const damages: {
  damage: string;
  inflict(folder: string, made: Description): Promise<void>;
  refusal: RegExp;
}[] = [
  {
    damage: "a table's rows are cut off",
    inflict: async (folder, { tables }) => {
      const { data } = tables.find(({ name }) => name === "task_types") ?? assert.fail();
      await truncate(path.join(folder, data.path), data.bytes - 20);
    },
    refusal: /task_types.copy.gz is damaged/,
  },
  {
    damage: "one byte of a table's rows is another",
    inflict: async (folder, { tables }) => {
      const { data } = tables.find(({ name }) => name === "task_types") ?? assert.fail();
      const bytes = await readFile(path.join(folder, data.path));
      // The name in the header of the compression: it unpacks to the same rows.
      bytes[9] = (bytes[9] ?? 0) ^ 1;
      await writeFile(path.join(folder, data.path), bytes);
    },
    refusal: /task_types.copy.gz is damaged/,
  },
  {
    damage: "a file of storage is another",
    inflict: async (folder) => await writeFile(await firstFile(folder), "0123456789"),
    refusal: /is damaged/,
  },
  {
    damage: "a file of storage is missing",
    inflict: async (folder) => await rm(await firstFile(folder)),
    refusal: /The backup is damaged: .* is missing/,
  },
  {
    damage: "the list of files is cut off",
    inflict: async (folder) => await truncate(path.join(folder, "files.ndjson"), 0),
    refusal: /files.ndjson is damaged/,
  },
  {
    damage: "the secret is another",
    inflict: async (folder) => await writeFile(path.join(folder, "secret"), "another secret"),
    refusal: /secret is damaged/,
  },
  {
    damage: "the schema is another",
    inflict: async (folder) => await writeFile(path.join(folder, "schema/platform.sql"), "select 1"),
    refusal: /platform.sql is damaged/,
  },
  {
    damage: "the description is cut off",
    inflict: async (folder) => await truncate(path.join(folder, "backup.json"), 100),
    refusal: /backup.json is damaged/,
  },
  {
    damage: "the description leads out of the backup",
    inflict: async (folder, made) => {
      for (const table of made.tables) table.data.path = "../elsewhere";
      await writeFile(path.join(folder, "backup.json"), JSON.stringify(made));
    },
    refusal: /is damaged, or a backup of another format .*backup.json/,
  },
  {
    damage: "the description is missing",
    inflict: async (folder) => await rm(path.join(folder, "backup.json")),
    refusal: /is not a backup: it has no backup.json/,
  },
];

test("a restore of a damaged backup fails and leaves neither a row nor a file", () =>
  withSource(async (source) => {
    await source.store(10);
    await source.sql`insert into darkroom_host.secrets (name, value) values ('jwt_secret', 'a secret')`;
    await withEmptyDatabase(async (databaseUrl) => {
      for (const { damage, inflict, refusal } of damages) {
        const made = await source.backUp();
        await inflict(source.backup, made);
        await assert.rejects(source.restore({ databaseUrl }), refusal, damage);
        assert.ok(!(await readdir(source.folder)).includes("restored"), damage);
        const tables = await asOwner(
          databaseUrl,
          (sql) => sql`select from pg_namespace where nspname in ('auth', 'storage', 'supabase_migrations')`,
        );
        assert.equal(tables.length, 0, damage);
        await rm(source.backup, { recursive: true });
      }
      await source.backUp();
      await source.restore({ databaseUrl });
    });
  }));

test("a backup that is interrupted leaves nothing under its name", () =>
  withSource(async (source) => {
    await source.store(10);
    const aborting = new AbortController();
    const backup = source.backUp({ signal: aborting.signal });
    await waitUntil(async () =>
      (await readdir(source.backup).catch((): string[] => [])).includes("unfinished-backup"),
    );
    aborting.abort(new Error("Interrupted"));
    await assert.rejects(backup, /Interrupted|aborted/);
    assert.deepEqual(await readdir(source.folder), ["storage"]);
  }));

test("a backup keeps what others put into its target meanwhile, when it succeeds and when it fails", () =>
  withSource(async (source) => {
    for (const outcome of ["succeeds", "fails"]) {
      await mkdir(source.backup);
      const aborting = new AbortController();
      const backup = source.backUp({ signal: aborting.signal });
      await waitUntil(async () => (await readdir(source.backup)).includes("unfinished-backup"));
      await writeFile(path.join(source.backup, "mine"), "42");
      if (outcome === "fails") {
        aborting.abort(new Error("Interrupted"));
        await assert.rejects(backup, /Interrupted|aborted/);
        assert.deepEqual(await readdir(source.backup), ["mine"]);
      } else {
        await backup;
        await readDescription(source.backup);
        assert.ok(!(await readdir(source.backup)).includes("unfinished-backup"));
      }
      assert.equal(await readFile(path.join(source.backup, "mine"), "utf8"), "42", outcome);
      await rm(source.backup, { recursive: true });
    }
  }));

test("of two backups at once into one target one is made, and the other is refused", () =>
  withSource(async (source) => {
    await source.store(10);
    for (const exists of [false, true]) {
      if (exists) await mkdir(source.backup);
      const outcomes = await Promise.allSettled([source.backUp(), source.backUp()]);
      const refused = outcomes.flatMap((outcome) =>
        outcome.status === "rejected" ? [String(outcome.reason)] : [],
      );
      assert.equal(refused.length, 1, refused.join("\n"));
      assert.match(refused[0] ?? "", /backup is not empty: another backup works in it/);
      await withEmptyDatabase((databaseUrl) => source.restore({ databaseUrl }));
      await rm(source.backup, { recursive: true });
      await rm(path.join(source.folder, "restored"), { recursive: true });
    }
  }));

test("a backup goes where a link leads, and keeps the empty folder that it was given", () =>
  withSource(async (source) => {
    const disk = path.join(source.folder, "disk");
    await mkdir(disk);
    const { ino } = await stat(disk);
    await symlink(disk, source.backup);
    const failing = source.backUp({ signal: AbortSignal.abort(new Error("Interrupted")) });
    await assert.rejects(failing, /Interrupted/);
    assert.deepEqual(await readdir(disk), []);
    await source.backUp();
    assert.ok((await lstat(source.backup)).isSymbolicLink());
    // A mount point could not be replaced.
    assert.equal((await stat(disk)).ino, ino);
    await readDescription(disk);
    assert.deepEqual((await readdir(source.folder)).sort(), ["backup", "disk", "storage"]);
  }));

test("a restore that fails empties the folder that a link leads to, and keeps folder and link", () =>
  withSource(async (source) => {
    await source.store(10);
    await source.backUp();
    await rm(await firstFile(source.backup));
    const disk = path.join(source.folder, "disk");
    const data = path.join(source.folder, "restored");
    await mkdir(disk);
    await symlink(disk, data);
    await assert.rejects(source.restore({ databaseUrl: undefined }), /The backup is damaged: .* is missing/);
    assert.ok((await lstat(data)).isSymbolicLink());
    assert.deepEqual(await readdir(disk), []);
  }));

for (const key of [
  "../../escaped.txt",
  "/escaped.txt",
  "image_uploads/../../escaped.txt",
  "image_uploads/no",
]) {
  test(`a restore refuses a list of files with the key ${key}, and writes nothing elsewhere`, () =>
    withSource(async (source) => {
      await source.store(10);
      const made = await source.backUp();
      const bytes = await readFile(await firstFile(source.backup));
      const planted = path.join(source.backup, "files", key);
      await mkdir(path.dirname(planted), { recursive: true });
      await writeFile(planted, bytes);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const list = `${JSON.stringify({ key, bytes: bytes.byteLength, sha256 })}\n`;
      await writeFile(path.join(source.backup, "files.ndjson"), list);
      made.files.list = {
        path: "files.ndjson",
        bytes: list.length,
        sha256: createHash("sha256").update(list).digest("hex"),
      };
      await writeFile(path.join(source.backup, "backup.json"), JSON.stringify(made));
      await withEmptyDatabase(async (databaseUrl) => {
        await assert.rejects(
          source.restore({ databaseUrl }),
          /files.ndjson is damaged: this line names no file of storage/,
        );
      });
      await rm(planted);
      const names = await readdir(source.folder, { recursive: true });
      assert.ok(!names.some((name) => name.includes("escaped")), names.join("\n"));
    }));
}

test("a data folder whose restore was killed is refused by every start, and says what to do", () =>
  withSource(async (source) => {
    // Enough rows to be killed among them.
    await source.sql`
      insert into realtime.messages (topic, extension, payload)
      select 'topic', 'broadcast', jsonb_build_object('text', repeat(md5(n::text), 30)) from generate_series(1, 60000) as n`;
    await source.backUp();
    const data = path.join(source.folder, "killed");
    const restore = cli(["restore", "--from", source.backup, "--data", data]);
    let databaseUrl: string | undefined;
    for (let attempt = 0; databaseUrl === undefined; attempt++) {
      assert.ok(attempt < 3000 && restore.exitCode === null, "the restore was not seen at work");
      await pause(20);
      databaseUrl = await restoringDatabase(data);
    }
    const died = once(restore, "exit");
    restore.kill("SIGKILL");
    await died;
    await assert.rejects(
      startHost({ port: 0, dataDirectory: data }),
      /A restore into .* did not end: delete that folder/,
    );
    assert.ok((await readdir(data)).includes("restore-in-progress"));
    // Its server was left behind; it holds no row of the backup.
    await asOwner(databaseUrl, async (sql) => {
      const tables = await sql`select from pg_tables where schemaname in ('public', 'auth')`;
      assert.equal(tables.length, 0);
    });
    const pid = Number.parseInt(await readFile(path.join(data, "postgres", "postmaster.pid"), "utf8"), 10);
    process.kill(pid, "SIGQUIT");
  }));

test("a database with things that a backup cannot hold is refused, and each is named", () =>
  withSource(async (source) => {
    await source.sql.query(`
      create table public.measures (day date) partition by range (day);
      create table public.january partition of public.measures for values from ('2026-01-01') to ('2026-02-01');
      create aggregate public.longest(text) (sfunc = text_larger, stype = text);
      alter table public.projects alter column name type varchar(300)`);
    await assert.rejects(source.backUp(), (error: Error) => {
      for (const line of [
        "table public.measures: is partitioned",
        "table public.january: inherits from another table",
        "function public.longest: is an aggregate or window function",
        "column public.projects.name: its type is character varying(300) instead of",
      ]) {
        assert.ok(error.message.includes(line), error.message);
      }
      return true;
    });
  }));

test("a backup of an empty database, and a restore into a used folder or database, are refused", () =>
  withSource(async (source) => {
    await withEmptyDatabase(async (databaseUrl) => {
      await assert.rejects(source.backUp({ databaseUrl }), /The database is not one of Darkroom/);
    });
    await source.backUp();
    await assert.rejects(
      source.restore({ databaseUrl: source.url }),
      /The database is not empty: it has \d+ tables/,
    );
    await mkdir(path.join(source.folder, "restored"));
    await writeFile(path.join(source.folder, "restored", "mine"), "");
    await assert.rejects(
      source.restore({ databaseUrl: source.url }),
      /is not empty: restore into a new data folder/,
    );
    assert.deepEqual(await readdir(path.join(source.folder, "restored")), ["mine"]);
  }));

test("the secret goes from a shared database into a data folder, and from a data folder into a shared database", () =>
  withSource(async (source) => {
    await source.sql`insert into darkroom_host.secrets (name, value) values ('jwt_secret', 'the secret of the database, of 32 bytes')`;
    await source.backUp();
    const { data } = await source.restore({ databaseUrl: undefined });
    assert.equal(
      await readFile(path.join(data, "secret"), "utf8"),
      "the secret of the database, of 32 bytes",
    );
    assert.equal((await stat(path.join(data, "secret"))).mode & 0o777, 0o600);
    const host = await startHost({ port: 0, dataDirectory: data });
    assert.equal(host.keys.jwtSecret, "the secret of the database, of 32 bytes");
    await host.stop();

    // The command starts the database of a stopped host for the time, and ends it.
    const stopped = path.join(source.folder, "of-a-stopped-host");
    const [exitCode] = (await once(cli(["backup", "--data", data, "--to", stopped]), "exit")) as [number];
    assert.equal(exitCode, 0);
    assert.equal(
      await readFile(path.join(stopped, "secret"), "utf8"),
      "the secret of the database, of 32 bytes",
    );
    assert.ok(!(await readdir(path.join(data, "postgres"))).includes("postmaster.pid"));

    await rm(source.backup, { recursive: true });
    await rm(data, { recursive: true });
    const secretPath = path.join(source.folder, "secret-of-folder");
    await writeFile(secretPath, "the secret of the folder, of 32 bytes");
    await source.backUp({ secretPath });
    await withEmptyDatabase(async (databaseUrl) => {
      await source.restore({ databaseUrl });
      const [row] = await asOwner(
        databaseUrl,
        (sql) => sql<{ value: string }[]>`select value from darkroom_host.secrets where name = 'jwt_secret'`,
      );
      assert.equal(row?.value, "the secret of the folder, of 32 bytes");
    });
  }));

async function waitUntil(isSo: () => Promise<boolean>): Promise<void> {
  for (let look = 0; !(await isSo()); look++) {
    assert.ok(look < 1_000, "it did not come about within 20 s");
    await pause(20);
  }
}

interface Source extends DatabaseUnderTest {
  folder: string;
  /** Where `backUp` puts it. */
  backup: string;
  /** A file of storage with its row. */
  store(bytes: number): Promise<{ key: string; file: string }>;
  backUp(others?: Partial<Parameters<typeof makeBackup>[0]>): Promise<Description>;
  restore(to: { databaseUrl: string | undefined }): Promise<{ data: string }>;
}

/** A database and a storage folder to back up, and room for what is made of them. */
async function withSource(run: (source: Source) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-backup-test-"));
  // As root, PostgreSQL runs as another system user, who must be able to enter.
  await chmod(folder, 0o755);
  const backup = path.join(folder, "backup");
  const storageDirectory = path.join(folder, "storage");
  await mkdir(storageDirectory);
  try {
    await withDatabase(async (database) => {
      await run({
        ...database,
        folder,
        backup,
        async store(bytes) {
          const version = randomUUID();
          const key = `image_uploads/${version.slice(0, 2)}/${version}`;
          const file = path.join(storageDirectory, key);
          await mkdir(path.dirname(file), { recursive: true });
          await writeFile(file, randomBytes(bytes));
          await database.sql`
            insert into storage.objects (bucket_id, name, version) values ('image_uploads', ${`a/${version}.png`}, ${version})`;
          return { key, file };
        },
        backUp: (others) =>
          makeBackup({
            databaseUrl: database.url,
            secretPath: undefined,
            storageDirectory,
            to: backup,
            darkroom: "test",
            log,
            ...others,
          }),
        async restore({ databaseUrl }) {
          const data = path.join(folder, "restored");
          await restoreBackup({ from: backup, dataDirectory: data, databaseUrl, log });
          await readDescription(backup);
          return { data };
        },
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

async function withEmptyDatabase<Result>(run: (url: string) => Promise<Result>): Promise<Result> {
  const url = new URL(process.env[clusterUrlVariable] ?? "");
  const name = `test_${randomBytes(8).toString("hex")}`;
  await asOwner(url.href, (sql) => sql.query(`create database ${name} template template0`));
  url.pathname = `/${name}`;
  try {
    return await run(url.href);
  } finally {
    await dropTestDatabase({ name });
  }
}

async function asOwner<Result>(url: string, work: (sql: Sql) => PromiseLike<Result>): Promise<Result> {
  const sql = openPool({ url, name: "test", connections: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

async function firstFile(backup: string): Promise<string> {
  const names = await readdir(path.join(backup, "files"), { recursive: true, withFileTypes: true });
  const file = names.find((entry) => entry.isFile()) ?? assert.fail();
  return path.join(file.parentPath, file.name);
}

/** The database of a restore that loads rows at this moment; undefined before. */
async function restoringDatabase(data: string): Promise<string | undefined> {
  const memory = await readFile(path.join(data, "postgres.json"), "utf8").catch(() => undefined);
  if (memory === undefined) return undefined;
  const { password, port } = JSON.parse(memory) as { password: string; port?: number };
  if (port === undefined) return undefined;
  const url = `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
  const isLoading = await asOwner(
    url,
    (sql) =>
      sql`select from pg_stat_activity where application_name = 'darkroom-restore' and query like 'copy "realtime"%'`,
  ).then(
    (rows) => rows.length > 0,
    () => false, // It does not serve yet.
  );
  return isLoading ? url : undefined;
}

function cli(words: string[]): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", projectPath("server/cli.ts"), ...words], {
    cwd: projectPath("test"),
    env: { PATH: process.env["PATH"] },
    stdio: "ignore",
  });
}
