import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import type { Row, Rows } from "../../supabase/functions/_shared/database/sql.ts";
import { lockFolder } from "../folder-lock.ts";
import { type EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from "./embedded.ts";

const log = pino({ level: "silent" });
const settings = { fsync: "off" };

test("startEmbeddedPostgres() makes a cluster in a fresh folder, logical and UTF-8, for its password alone", () =>
  inFolder(async (directory) => {
    const server = await start(directory);
    try {
      const [row] = await ask(
        server.url,
        "select current_setting('wal_level') as wal, current_setting('server_encoding') as encoding, upper('é') as upper",
      );
      assert.deepEqual({ ...row }, { wal: "logical", encoding: "UTF8", upper: "É" });
      assert.equal((await stat(`${directory}.json`)).mode & 0o777, 0o600);
      const stranger = new URL(server.url);
      stranger.password = "wrong";
      await assert.rejects(ask(stranger.href, "select 1"), /password authentication failed/);
    } finally {
      await server.stop();
    }
  }));

test("startEmbeddedPostgres() keeps data and port over a restart, and takes another port when that one is taken", () =>
  inFolder(async (directory) => {
    const first = await start(directory);
    await ask(first.url, "create table kept as select 42 as answer");
    await first.stop();
    await assert.rejects(connectTo(first.port));

    const second = await start(directory);
    assert.equal(second.port, first.port);
    assert.deepEqual([...(await ask(second.url, "select answer from kept"))], [{ answer: 42 }]);
    await second.stop();

    const intruder = createServer().listen(first.port, "127.0.0.1");
    const third = await start(directory);
    assert.notEqual(third.port, first.port);
    await third.stop();
    await assert.rejects(start(directory, { port: first.port }), /is taken/);
    intruder.close();
  }));

test("the server comes back on its port, with its data, after kill -9 of the postmaster", () =>
  inFolder(async (directory) => {
    const server = await start(directory, { settings: {} });
    try {
      await ask(server.url, "create table kept as select 42 as answer");
      process.kill(await postmaster(server.directory), "SIGKILL");
      await until(async () => (await ask(server.url, "select answer from kept"))[0]?.["answer"] === 42);
    } finally {
      await server.stop();
    }
  }));

test("startEmbeddedPostgres() ends the server that a process left behind when it was killed, and keeps its data", () =>
  inFolder(async (directory) => {
    const url = await startAndBeKilled(directory);
    const pid = await postmaster(directory);
    await ask(url, "create table kept as select 42 as answer");

    const server = await start(directory);
    try {
      assert.notEqual(await postmaster(server.directory), pid);
      assert.deepEqual([...(await ask(server.url, "select answer from kept"))], [{ answer: 42 }]);
    } finally {
      await server.stop();
    }
  }));

test("startEmbeddedPostgres() refuses the lock of another folder", () =>
  inFolder(async (directory) => {
    const lock = await lockFolder(path.join(path.dirname(directory), "other"));
    await assert.rejects(startEmbeddedPostgres({ directory, lock, settings, log }), /The lock is on /);
    lock.release();
  }));

test("startEmbeddedPostgres() is not held up by a pid file whose number belongs to a stranger now", () =>
  inFolder(async (directory) => {
    const first = await start(directory);
    await first.stop();
    await writeFile(path.join(first.directory, "postmaster.pid"), `${process.pid}\n`);
    const second = await start(directory);
    await ask(second.url, "select 1");
    await second.stop();
  }));

test("startEmbeddedPostgres() leaves another server alone that has the number in an old pid file", () =>
  inFolder((directory) =>
    inFolder(async (otherDirectory) => {
      const other = await start(otherDirectory);
      try {
        await (await start(directory)).stop();
        const pid = await postmaster(other.directory);
        await writeFile(path.join(directory, "postmaster.pid"), `${pid}\n${directory}\n`);
        const server = await start(directory);
        await ask(server.url, "select 1");
        await server.stop();
        assert.equal(await postmaster(other.directory), pid);
        await ask(other.url, "select 1");
      } finally {
        await other.stop();
      }
    }),
  ));

test("startEmbeddedPostgres() refuses a cluster without PG_VERSION and changes nothing in it", () =>
  inFolder(async (directory) => {
    const first = await start(directory);
    await ask(first.url, "create table kept as select 42 as answer");
    await first.stop();
    await rename(path.join(directory, "PG_VERSION"), path.join(path.dirname(directory), "PG_VERSION"));
    const before = await readdir(directory);

    await assert.rejects(start(directory), (error: Error) => {
      assert.ok(error.message.includes(directory));
      assert.match(error.message, /PG_VERSION is missing\. Nothing was changed\. Restore the folder/);
      return true;
    });
    assert.deepEqual(await readdir(directory), before);

    await rename(path.join(path.dirname(directory), "PG_VERSION"), path.join(directory, "PG_VERSION"));
    const again = await start(directory);
    assert.deepEqual([...(await ask(again.url, "select answer from kept"))], [{ answer: 42 }]);
    await again.stop();
  }));

test("startEmbeddedPostgres() keeps a folder of another start, and takes an empty folder of the cluster's name", () =>
  inFolder(async (directory) => {
    const left = `${directory}.new-killed`;
    await mkdir(left);
    await writeFile(path.join(left, "precious"), "42");
    await mkdir(directory);
    const lines: string[] = [];
    const server = await start(directory, {
      log: pino({ level: "warn" }, { write: (line: string) => void lines.push(line) }),
    });
    await server.stop();
    assert.equal(await readFile(path.join(left, "precious"), "utf8"), "42");
    assert.ok(lines.join("").includes(left));
    const parent = await readdir(path.dirname(directory));
    assert.deepEqual(parent.sort(), ["lock", "postgres", "postgres.json", "postgres.new-killed"]);
  }));

test("startEmbeddedPostgres() writes postgres.json once, and not again while nothing in it changes", () =>
  inFolder(async (directory) => {
    await (await start(directory)).stop();
    const before = await stat(`${directory}.json`);
    await (await start(directory)).stop();
    const after = await stat(`${directory}.json`);
    assert.deepEqual([after.ino, after.mtimeMs], [before.ino, before.mtimeMs]);
  }));

for (const damaged of ['{ "password": "1234', "{}", ""]) {
  test(`startEmbeddedPostgres() names postgres.json when it holds ${JSON.stringify(damaged)}, and says what to do`, () =>
    inFolder(async (directory) => {
      await writeFile(`${directory}.json`, damaged);
      await assert.rejects(start(directory), (error: Error) => {
        assert.ok(error.message.startsWith(`${directory}.json is damaged.`), error.message);
        assert.match(
          error.message,
          /Restore the file from a backup, or set a new password: docs\/operations.md/,
        );
        return true;
      });
      assert.equal(await readFile(`${directory}.json`, "utf8"), damaged);
    }));
}

test("startEmbeddedPostgres() names a missing postgres.json beside a cluster, and makes no new password", () =>
  inFolder(async (directory) => {
    await (await start(directory)).stop();
    await rm(`${directory}.json`);
    await assert.rejects(start(directory), new RegExp(`its password is lost: ${directory}.json is missing`));
    await assert.rejects(stat(`${directory}.json`), /ENOENT/);
  }));

test("startEmbeddedPostgres() names an empty postmaster.pid, and starts when it was deleted", () =>
  inFolder(async (directory) => {
    await (await start(directory)).stop();
    const pidFile = path.join(directory, "postmaster.pid");
    await writeFile(pidFile, "");
    await assert.rejects(start(directory), (error: Error) => {
      assert.ok(error.message.includes(`${pidFile} is empty or damaged`), error.message);
      assert.match(error.message, /delete that file, and start again/);
      return true;
    });
    await rm(pidFile);
    const server = await start(directory);
    await ask(server.url, "select 1");
    await server.stop();
  }));

test("stop() ends a server that does not react within half a second of its signal, and the data is kept", () =>
  inFolder(async (directory) => {
    const server = await start(directory, { settings: {} });
    await ask(server.url, "create table kept as select 42 as answer");
    const pid = await postmaster(directory);
    process.kill(pid, "SIGSTOP");
    const begun = performance.now();
    await server.stop(AbortSignal.timeout(300));
    assert.ok(performance.now() - begun < 2_000);
    await until(() => Promise.resolve(!isAlive(pid)));

    const again = await start(directory);
    assert.deepEqual([...(await ask(again.url, "select answer from kept"))], [{ answer: 42 }]);
    await again.stop();
  }));

for (const milliseconds of [100, 700, 1_500, 2_200]) {
  test(`a first start that is cut short after ${milliseconds} ms leaves neither a server nor half a cluster`, () =>
    inFolder(async (directory) => {
      const signal = AbortSignal.timeout(milliseconds);
      const server = await start(directory, { signal }).catch((error: unknown) => {
        assert.ok(signal.aborted, String(error));
      });
      await server?.stop();
      const names = (await readdir(path.dirname(directory))).filter((name) => name.includes(".new-"));
      assert.deepEqual(names, []);
      await assert.rejects(stat(path.join(directory, "postmaster.pid")), /ENOENT/);
      const again = await start(directory);
      await ask(again.url, "select 1");
      await again.stop();
    }));
}

test(
  "startEmbeddedPostgres() as root finds another place for a folder that only root can reach, and says where",
  { skip: process.getuid?.() !== 0 },
  () =>
    inFolder(async (directory) => {
      await chmod(path.dirname(directory), 0o700);
      const server = await start(directory);
      try {
        assert.notEqual(server.directory, directory);
        const note = await readFile(path.join(directory, "WHERE-IS-THE-DATA.txt"), "utf8");
        assert.ok(note.includes(server.directory));
        await ask(server.url, "create table kept as select 42 as answer");
      } finally {
        await server.stop();
        await rm(server.directory, { recursive: true, force: true });
      }
    }),
);

test(
  "as root, a data folder that was renamed, linked or lost its postgres.json keeps its database and its note",
  { skip: process.getuid?.() !== 0 },
  () =>
    inHiddenFolder(async (directory, cluster) => {
      const parent = path.dirname(directory);
      const note = await readFile(path.join(directory, "WHERE-IS-THE-DATA.txt"), "utf8");
      const moved = `${parent}-moved`;
      await rename(parent, moved);
      try {
        for (const step of ["renamed", "linked"]) {
          if (step === "linked") await symlink(moved, parent);
          const asked = path.join(step === "linked" ? parent : moved, "postgres");
          const server = await start(asked);
          try {
            assert.equal(server.directory, cluster, step);
            assert.deepEqual([...(await ask(server.url, "select answer from kept"))], [{ answer: 42 }], step);
          } finally {
            await server.stop();
          }
          assert.equal(await readFile(path.join(asked, "WHERE-IS-THE-DATA.txt"), "utf8"), note, step);
        }
      } finally {
        await rm(parent, { force: true });
        await rename(moved, parent);
      }
      const memory = await readFile(`${directory}.json`);
      await rm(`${directory}.json`);
      await assert.rejects(
        start(directory),
        new RegExp(`its password is lost: ${directory}.json is missing`),
      );
      await writeFile(`${directory}.json`, memory);
      const again = await start(directory);
      assert.deepEqual([...(await ask(again.url, "select answer from kept"))], [{ answer: 42 }]);
      await again.stop();
    }),
);

test(
  "as root, a copy of a data folder does not take the database of its original",
  { skip: process.getuid?.() !== 0 },
  () =>
    inHiddenFolder((directory) =>
      inFolder(async (copy) => {
        await cp(directory, copy, { recursive: true });
        await cp(`${directory}.json`, `${copy}.json`);
        await assert.rejects(start(copy), new RegExp(`belongs to ${directory}, and ${copy} is a copy`));
      }),
    ),
);

test(
  "as root, a database that a note names and that is gone is never replaced by an empty one",
  { skip: process.getuid?.() !== 0 },
  () =>
    inHiddenFolder(async (directory, cluster) => {
      const note = path.join(directory, "WHERE-IS-THE-DATA.txt");
      const text = await readFile(note, "utf8");
      await rename(cluster, `${cluster}-away`);
      try {
        await assert.rejects(
          start(directory),
          new RegExp(`${note} names ${cluster}, and that folder is missing`),
        );
        await rm(note);
        await assert.rejects(start(directory), /it cannot be found: .* which says where root put a database/);
        await writeFile(note, "somewhere");
        await assert.rejects(start(directory), new RegExp(`${note} is damaged`));
        await assert.rejects(stat(cluster), { code: "ENOENT" });
      } finally {
        await writeFile(note, text);
        await rename(`${cluster}-away`, cluster);
      }
      const again = await start(directory);
      assert.deepEqual([...(await ask(again.url, "select answer from kept"))], [{ answer: 42 }]);
      await again.stop();
    }),
);

test("startEmbeddedPostgres() makes no empty database where one has run and its folder is missing", () =>
  inFolder(async (directory) => {
    await (await start(directory)).stop();
    await rename(directory, `${directory}-away`);
    await assert.rejects(
      start(directory),
      new RegExp(`it cannot be found: ${directory} is missing or empty`),
    );
    await assert.rejects(stat(directory), { code: "ENOENT" });
    await rename(`${directory}-away`, directory);
    await (await start(directory)).stop();
  }));

const failures: [what: string, spoil: (directory: string) => Promise<void>, refusal: RegExp][] = [
  [
    "with a wrong password",
    async (directory) => await writeFile(`${directory}.json`, '{ "password": "wrong" }'),
    /postgres\.json does not hold the password of the database in .*“A lost password”/,
  ],
  [
    "of a cluster without its databases",
    async (directory) => await rename(path.join(directory, "base"), path.join(directory, "base-away")),
    /postgres( and does not serve)?: /,
  ],
];
for (const [what, spoil, refusal] of failures) {
  test(`a start ${what} fails soon with the reason, and leaves no server`, () =>
    inFolder(async (directory) => {
      await (await start(directory)).stop();
      await spoil(directory);
      const begun = performance.now();
      await assert.rejects(start(directory), refusal);
      assert.ok(performance.now() - begun < 8_000);
      await assert.rejects(stat(path.join(directory, "postmaster.pid")), { code: "ENOENT" });
    }));
}

test("startEmbeddedPostgres() names the file where a folder is in its place, and says a damaged one at once", () =>
  inFolder(async (directory) => {
    await (await start(directory)).stop();
    for (const file of [
      `${directory}.json`,
      path.join(directory, "darkroom.conf"),
      path.join(directory, "postmaster.pid"),
    ]) {
      if (!file.endsWith(".pid")) await rename(file, `${file}-away`);
      await mkdir(file);
      await assert.rejects(start(directory), (error: Error) =>
        error.message.startsWith(`${file} is a folder`),
      );
      await rmdir(file);
      if (!file.endsWith(".pid")) await rename(`${file}-away`, file);
    }
    const begun = performance.now();
    await truncate(path.join(directory, "global", "pg_control"), 10);
    await assert.rejects(start(directory), /pg_control|control file/);
    assert.ok(performance.now() - begun < 4_000);
  }));

/** With a stopped database in a folder that only root can reach; its table `kept` has 42. */
async function inHiddenFolder(work: (directory: string, cluster: string) => Promise<void>): Promise<void> {
  await inFolder(async (directory) => {
    await chmod(path.dirname(directory), 0o700);
    const server = await start(directory);
    try {
      await ask(server.url, "create table kept as select 42 as answer").finally(() => server.stop());
      await work(directory, server.directory);
    } finally {
      await rm(server.directory, { recursive: true, force: true });
    }
  });
}

/** Starts it under the lock of its folder; `stop()` or a failure releases the lock. */
async function start(
  directory: string,
  options: Partial<EmbeddedPostgresOptions> = {},
): Promise<EmbeddedPostgres> {
  const lock = await lockFolder(path.dirname(directory));
  try {
    const server = await startEmbeddedPostgres({ directory, lock, settings, log, ...options });
    return {
      ...server,
      async stop(signal) {
        await server.stop(signal);
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function inFolder(work: (directory: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-embedded-"));
  await chmod(folder, 0o755);
  try {
    await work(path.join(folder, "postgres"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Starts the server from another process, and kills that one. */
function startAndBeKilled(directory: string): Promise<string> {
  const program = `
    import { pino } from "pino";
    import path from "node:path";
    import { lockFolder } from ${JSON.stringify(new URL("../folder-lock.ts", import.meta.url).href)};
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL("embedded.ts", import.meta.url).href)};
    const directory = process.argv[1];
    const lock = await lockFolder(path.dirname(directory));
    const server = await startEmbeddedPostgres({ directory, lock, log: pino({ level: "silent" }) });
    console.log(server.url);`;
  const host = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let url = "";
    host.stdout.on("data", (chunk: Buffer) => {
      url = chunk.toString().trim();
      host.kill("SIGKILL");
    });
    host.once("error", reject);
    host.once("exit", () => (url ? resolve(url) : reject(new Error("The server did not start."))));
  });
}

async function ask(url: string, text: string): Promise<Rows<Row[]>> {
  const sql = openPool({ url, name: "test", connections: 1 });
  try {
    return await sql.query(text);
  } finally {
    await sql.end();
  }
}

async function postmaster(directory: string): Promise<number> {
  return Number.parseInt(await readFile(path.join(directory, "postmaster.pid"), "utf8"), 10);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const met = await condition().catch((error: unknown) => {
      if (Date.now() > deadline) throw error;
      return false;
    });
    if (met) return;
    await pause(100);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function connectTo(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
  });
}
