import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import type { Row, Rows } from "../../supabase/functions/_shared/database/sql.ts";
import { startEmbeddedPostgres } from "./embedded.ts";

const log = pino({ level: "silent" });
const settings = { fsync: "off" };

test("startEmbeddedPostgres() makes a cluster in a fresh folder, logical and UTF-8, for its password alone", () =>
  inFolder(async (directory) => {
    const server = await startEmbeddedPostgres({ directory, settings, log });
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
    const first = await startEmbeddedPostgres({ directory, settings, log });
    await ask(first.url, "create table kept as select 42 as answer");
    await first.stop();
    await assert.rejects(connectTo(first.port));

    const second = await startEmbeddedPostgres({ directory, settings, log });
    assert.equal(second.port, first.port);
    assert.deepEqual([...(await ask(second.url, "select answer from kept"))], [{ answer: 42 }]);
    await second.stop();

    const intruder = createServer().listen(first.port, "127.0.0.1");
    const third = await startEmbeddedPostgres({ directory, settings, log });
    assert.notEqual(third.port, first.port);
    await third.stop();
    await assert.rejects(startEmbeddedPostgres({ directory, port: first.port, settings, log }), /is taken/);
    intruder.close();
  }));

test("the server comes back on its port, with its data, after kill -9 of the postmaster", () =>
  inFolder(async (directory) => {
    const server = await startEmbeddedPostgres({ directory, log });
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

    const server = await startEmbeddedPostgres({ directory, settings, log });
    try {
      assert.notEqual(await postmaster(server.directory), pid);
      assert.deepEqual([...(await ask(server.url, "select answer from kept"))], [{ answer: 42 }]);
    } finally {
      await server.stop();
    }
  }));

test("startEmbeddedPostgres() leaves the server of a living process alone", () =>
  inFolder(async (directory) => {
    const server = await startEmbeddedPostgres({ directory, settings, log });
    try {
      const memory = JSON.parse(await readFile(`${directory}.json`, "utf8")) as object;
      await writeFile(`${directory}.json`, JSON.stringify({ ...memory, startedBy: process.ppid }));
      await assert.rejects(startEmbeddedPostgres({ directory, settings, log }), /in use by process/);
      await ask(server.url, "select 1");
    } finally {
      await server.stop();
    }
  }));

test("startEmbeddedPostgres() is not held up by a pid file whose number belongs to a stranger now", () =>
  inFolder(async (directory) => {
    const first = await startEmbeddedPostgres({ directory, settings, log });
    await first.stop();
    await writeFile(path.join(first.directory, "postmaster.pid"), `${process.pid}\n`);
    const second = await startEmbeddedPostgres({ directory, settings, log });
    await ask(second.url, "select 1");
    await second.stop();
  }));

test(
  "startEmbeddedPostgres() as root finds another place for a folder that only root can reach, and says where",
  { skip: process.getuid?.() !== 0 },
  () =>
    inFolder(async (directory) => {
      await chmod(path.dirname(directory), 0o700);
      const server = await startEmbeddedPostgres({ directory, settings, log });
      try {
        assert.notEqual(server.directory, directory);
        const note = await readFile(path.join(directory, "WHERE-IS-THE-DATA.txt"), "utf8");
        assert.ok(note.includes(server.directory));
        await ask(server.url, "create table kept as select 42 as answer");
      } finally {
        await server.stop();
      }

      await rm(`${directory}.json`);
      const anew = await startEmbeddedPostgres({ directory, settings, log });
      try {
        await assert.rejects(ask(anew.url, "select answer from kept"), /does not exist/);
      } finally {
        await anew.stop();
        const parent = path.dirname(anew.directory);
        for (const name of await readdir(parent)) {
          if (name.startsWith(path.basename(anew.directory)))
            await rm(path.join(parent, name), { recursive: true });
        }
      }
    }),
);

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
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL("embedded.ts", import.meta.url).href)};
    const server = await startEmbeddedPostgres({ directory: process.argv[1], log: pino({ level: "silent" }) });
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

function connectTo(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
  });
}
