import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createLocalJWKSet, importJWK, type JWK, jwtVerify, SignJWT } from "jose";
import { pino } from "pino";
import { createTestDatabase, dropTestDatabase, withDatabase } from "../test/support/database.ts";
import { startHost } from "./host.ts";
import { publicJwks } from "./identifier.ts";
import { deriveKeys } from "./keys.ts";
import { projectPath } from "./migrate.ts";

test("npm start brings its own PostgreSQL, shows its status, and stops on SIGTERM", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder);
    const { output: shown, exitCode } = await runCli("status", folder);
    assert.equal(exitCode, 0);
    const status = JSON.parse(shown) as Record<string, string>;
    const names = "ANON_KEY API_URL DB_URL JWT_SECRET PUBLISHABLE_KEY SECRET_KEY SERVICE_ROLE_KEY";
    assert.equal(Object.keys(status).sort().join(" "), names);
    assert.equal(status["API_URL"], host.url);
    for (const route of ["/health", "/ready", "/metrics", "/openapi.json"]) {
      assert.equal((await fetch(host.url + route)).status, 200, route);
    }
    const doctor = await runCli("doctor", folder);
    assert.equal(doctor.exitCode, 0, doctor.errors);
    assert.match(doctor.output, /^Healthy: /);
    const missing = await fetch(`${host.url}/nowhere`);
    assert.equal(missing.status, 404);
    assert.equal(((await missing.json()) as { error: string }).error, "not_found");
    for (const kept of ["secret", "running.json", "postgres.json"]) {
      assert.equal((await stat(path.join(folder, kept))).mode & 0o777, 0o600, kept);
    }

    assert.equal(await end(host.process, "SIGTERM"), 0);
    assert.equal((await runCli("status", folder)).exitCode, 1);
    await assert.rejects(fetch(`${host.url}/health`));
  }));

test("the host comes back with the same keys and data after kill -9, and its database is not left running twice", () =>
  inFolder(async (folder) => {
    const killed = await startCli(folder);
    const before = (await runCli("status", folder)).output;
    await end(killed.process, "SIGKILL");
    assert.equal((await runCli("status", folder)).exitCode, 1);

    const host = await startCli(folder);
    const after = (await runCli("status", folder)).output;
    assert.equal(secretKey(after), secretKey(before));
    assert.equal((await fetch(`${host.url}/ready`)).status, 200);
    assert.equal(await end(host.process, "SIGINT"), 0);
  }));

test("npm start says at once that the port is taken", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder);
    const second = await runCli("start", path.join(folder, "other"), new URL(host.url).port);
    assert.equal(second.exitCode, 1);
    assert.match(second.errors, /Port \d+ is taken/);
    // Nor may another host use the same data at the same time.
    const third = await runCli("start", folder, "0");
    assert.equal(third.exitCode, 1);
    assert.match(third.errors, /in use by process/);
    assert.equal((await fetch(`${host.url}/ready`)).status, 200);
    await end(host.process, "SIGTERM");
  }));

test("hosts that share a database, and no folder, have the same keys", () =>
  inFolder(async (folder) => {
    const database = await createTestDatabase();
    const [first, second] = await Promise.all(
      ["a", "b"].map((name) =>
        startHost({ port: 0, databaseUrl: database.url, dataDirectory: path.join(folder, name) }),
      ),
    );
    assert.ok(first && second);
    assert.deepEqual(first.keys, second.keys);
    assert.notEqual(first.apiUrl, second.apiUrl);
    await Promise.all([first.stop(), second.stop()]);
    await assert.rejects(fetch(`${first.apiUrl}/health`));
    await dropTestDatabase(database);
  }));

test("hosts of one database accept each other's sessions under one public address, and warn when they have none", () =>
  inFolder((folder) =>
    withDatabase(async (database) => {
      for (const apiUrl of ["https://studio.example", undefined]) {
        const warnings: string[] = [];
        const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
        const start = (name: string) =>
          startHost({
            port: 0,
            databaseUrl: database.url,
            dataDirectory: path.join(folder, name),
            apiUrl,
            log,
          });
        const [first, second] = await Promise.all([start("a"), start("b")]);
        const signUp = await fetch(`http://127.0.0.1:${first.port}/auth/v1/signup`, {
          method: "POST",
          headers: { apikey: first.keys.anonKey, "content-type": "application/json" },
          body: JSON.stringify({ email: `${apiUrl ? "a" : "b"}@example.com`, password: "a long password" }),
        });
        const { access_token: token } = (await signUp.json()) as { access_token: string };
        const seen = await fetch(`http://127.0.0.1:${second.port}/rest/v1/users?select=id`, {
          headers: { apikey: second.keys.anonKey, authorization: `Bearer ${token}` },
        });
        assert.equal(seen.status, apiUrl ? 200 : 401);
        const told = warnings.filter((line) => line.includes("SUPABASE_URL is not set"));
        assert.equal(told.length, apiUrl ? 0 : 2);
        await Promise.all([first.stop(), second.stop()]);
      }
    }),
  ));

test("stop() waits for a request that runs, and takes no new one", () =>
  inFolder((folder) =>
    withDatabase(async (database) => {
      const host = await startHost({ port: 0, databaseUrl: database.url, dataDirectory: folder });
      const session = await database.session();
      await session.query("begin; lock table supabase_migrations.schema_migrations");
      const running = fetch(`${host.apiUrl}/ready`);
      for (let waiting = 0; waiting === 0;) {
        const { rows } = await session.query(
          "select from pg_locks where not granted and relation = 'supabase_migrations.schema_migrations'::regclass" +
            " and database = (select oid from pg_database where datname = current_database())",
        );
        waiting = rows.length;
      }

      const stopped = host.stop();
      await assert.rejects(fetch(`${host.apiUrl}/health`));
      await session.query("commit");
      assert.equal((await running).status, 200);
      await stopped;
    }),
  ));

test("deriveKeys() makes keys that verify, the same for the same secret, and keeps given ones", async () => {
  const secret = "a secret that is long enough for HS256, 0123456789";
  const keys = await deriveKeys(secret, {});
  assert.deepEqual(await deriveKeys(secret, {}), keys);
  assert.notEqual((await deriveKeys(`${secret}!`, {})).secretKey, keys.secretKey);
  assert.match(keys.publishableKey, /^sb_publishable_[\w-]{32}$/);
  assert.match(keys.secretKey, /^sb_secret_[\w-]{32}$/);
  const { payload } = await jwtVerify(keys.serviceRoleKey, new TextEncoder().encode(secret), {
    issuer: "supabase",
  });
  assert.equal(payload["role"], "service_role");

  const token = await new SignJWT({})
    .setProtectedHeader({ alg: "ES256", kid: keys.signingJwk.kid })
    .sign(await importJWK(keys.signingJwk as JWK, "ES256"));
  await jwtVerify(token, createLocalJWKSet(publicJwks(keys) as { keys: JWK[] }));
  assert.equal((await deriveKeys(secret, { anonKey: "given" })).anonKey, "given");
});

function secretKey(status: string): string {
  return (JSON.parse(status) as { SECRET_KEY: string }).SECRET_KEY;
}

interface RunningCli {
  process: ChildProcess;
  url: string;
}

async function startCli(folder: string): Promise<RunningCli> {
  const child = cli("start", folder, "0");
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  for (;;) {
    const url = /ready at (\S+)/.exec(output)?.[1];
    if (url) return { process: child, url };
    if (child.exitCode !== null) throw new Error(output);
    await pause(50);
  }
}

async function runCli(command: string, folder: string, port?: string) {
  const child = cli(command, folder, port);
  let [output, errors] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  await once(child, "close");
  return { output, errors, exitCode: child.exitCode };
}

function cli(command: string, folder: string, port?: string): ChildProcess {
  const options = ["--data", folder, ...(port === undefined ? [] : ["--port", port])];
  return spawn(process.execPath, ["--import", "tsx", projectPath("server/cli.ts"), command, ...options], {
    cwd: projectPath(""),
    env: { PATH: process.env["PATH"], DARKROOM_WORKER: "off" },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
  return child.exitCode;
}

/** A data folder; a database that a failed test left running in it is ended too. */
async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-host-"));
  await chmod(folder, 0o755);
  try {
    await work(folder);
  } finally {
    const pidFile = await readFile(path.join(folder, "postgres", "postmaster.pid"), "utf8").catch(
      () => undefined,
    );
    if (pidFile) process.kill(Number.parseInt(pidFile, 10), "SIGQUIT");
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
