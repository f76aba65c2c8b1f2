import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { Agent, get } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createLocalJWKSet, importJWK, type JWK, jwtVerify, SignJWT } from "jose";
import { pino } from "pino";
import { createTestDatabase, dropTestDatabase, withDatabase } from "../test/support/database.ts";
import { startHost } from "./host.ts";
import { publicJwks } from "./identifier.ts";
import { deriveKeys, secretInFolder } from "./keys.ts";
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
    assert.equal((await fetch(`${host.url}/ready`)).status, 200);
    await end(host.process, "SIGTERM");
  }));

test("a start on a folder that another host serves ends at once, names both, and leaves running.json", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder);
    const second = await runCli("start", folder, "0");
    assert.equal(second.exitCode, 1);
    assert.ok(
      second.errors.startsWith(`The data folder ${folder} is in use by process ${host.process.pid}. Stop `),
    );
    assert.equal((await runCli("status", folder)).exitCode, 0);
    assert.equal((await fetch(`${host.url}/ready`)).status, 200);
    assert.equal(await end(host.process, "SIGTERM"), 0);
  }));

test("of two first starts at once on one folder one serves, and the other ends with the reason", () =>
  inFolder(async (folder) => {
    const both = [launch(folder), launch(folder)];
    const exits = both.map(async (child) => {
      await once(child.process, "exit");
      return child;
    });
    const loser = await Promise.race([...exits, pause(60_000, undefined, { ref: false })]);
    assert.ok(loser, "both serve");
    const winner = both.find((child) => child !== loser);
    assert.ok(winner);
    assert.equal(loser.process.exitCode, 1);
    assert.ok(
      loser.output().startsWith(`The data folder ${folder} is in use by process ${winner.process.pid}.`),
      loser.output(),
    );
    const host = await ready(winner);
    assert.equal((await runCli("status", folder)).exitCode, 0);
    assert.equal(await end(host.process, "SIGTERM"), 0);
  }));

for (const signal of ["SIGHUP", "SIGINT"] as const) {
  test(`${signal} stops everything promptly, PostgreSQL too, also with connections that are open`, () =>
    inFolder(async (folder) => {
      const host = await startCli(folder, { DARKROOM_WORKER: "on" });
      await fetch(`${host.url}/ready`);
      // One without a request, as clients open them to have one at hand.
      const silent = connect(Number(new URL(host.url).port), "127.0.0.1").resume();
      await once(silent, "connect");
      const begun = performance.now();
      const ended = end(host.process, signal);
      // Nobody reads what is logged any more.
      if (signal === "SIGHUP") host.process.stdout?.destroy();
      // A closed terminal signals more than once.
      host.process.kill(signal);
      assert.equal(await ended, 0);
      assert.ok(performance.now() - begun < 5_000, `${performance.now() - begun} ms`);
      assert.equal(await postmasterPid(folder), undefined);
    }));
}

test("a host on loopback gives people a welcome bonus, and none from the first request on that came through a proxy", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder);
    const { output } = await runCli("status", folder);
    const { ANON_KEY: apikey } = JSON.parse(output) as { ANON_KEY: string };
    const send = async (path: string, body: object, headers: Record<string, string>) => {
      const response = await fetch(`${host.url}${path}`, {
        method: "POST",
        headers: { apikey, "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      });
      assert.equal(response.status, 200, await response.clone().text());
      return (await response.json()) as Record<string, unknown>;
    };
    const creditsOf = async (email: string, headers: Record<string, string> = {}) => {
      const signedUp = await send("/auth/v1/signup", { email, password: "a rather long password" }, headers);
      const authorization = `Bearer ${String(signedUp["access_token"])}`;
      const { balance_microusd: balance } = await send("/functions/v1/credit-balance", {}, { authorization });
      return balance;
    };
    assert.equal(await creditsOf("ada@one.example"), 5_000_000);
    assert.equal(await creditsOf("bob@two.example", { "x-forwarded-for": "203.0.113.9" }), 0);
    assert.equal(await creditsOf("eve@three.example"), 0);
    assert.ok(host.output().includes("no longer counts as local"));
    assert.equal(await end(host.process, "SIGTERM"), 0);
  }));

test("a signal during the first start ends it with exit code 0 and leaves nothing half made", () =>
  inFolder(async (folder) => {
    const isThere = async (file: RegExp) => (await readdir(folder)).some((name) => file.test(name));
    for (const moment of [() => isThere(/^postgres\.new-/), () => isThere(/^postgres$/)]) {
      const child = launch(folder);
      await until(moment);
      const begun = performance.now();
      assert.equal(await end(child.process, "SIGTERM"), 0, child.output());
      assert.ok(performance.now() - begun < 5_000);
      assert.ok(!(await isThere(/^postgres\.new-/)));
      await noServer(folder);
    }
    const host = await startCli(folder);
    await end(host.process, "SIGTERM");
  }));

test("a stop ends within 10 s with exit code 0 although the database and the requests hang", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder, { DARKROOM_WORKER: "on" });
    await hang(host, folder);
    const begun = performance.now();
    assert.equal(await end(host.process, "SIGTERM"), 0);
    const milliseconds = performance.now() - begun;
    assert.ok(milliseconds < 10_000, `${milliseconds} ms`);
    await noServer(folder);
    // What was committed is there, and nothing is locked.
    const again = await startCli(folder);
    assert.equal(await end(again.process, "SIGTERM"), 0);
  }));

test("a second signal ends a stop that hangs within two seconds, with exit code 1 and no server left", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder);
    await hang(host, folder);
    host.process.kill("SIGTERM");
    await until(() => Promise.resolve(host.output().includes("stopping; once more")));
    await pause(400);
    const begun = performance.now();
    assert.equal(await end(host.process, "SIGTERM"), 1);
    assert.ok(performance.now() - begun < 2_000, `${performance.now() - begun} ms`);
    await noServer(folder);
  }));

test("/ready fails and /health does not for DARKROOM_STOP_DELAY_MS, while everything is still served", () =>
  inFolder(async (folder) => {
    const host = await startCli(folder, { DARKROOM_STOP_DELAY_MS: "1500" });
    const begun = performance.now();
    const ended = end(host.process, "SIGTERM");
    await until(async () => (await fetch(`${host.url}/ready`)).status === 503);
    for (const route of ["/health", "/openapi.json"]) {
      const answer = await fetch(host.url + route);
      assert.equal(answer.status, 200, route);
      assert.equal(answer.headers.get("connection"), "close", route);
    }
    assert.deepEqual(await (await fetch(`${host.url}/ready`)).json(), {
      status: "not ready",
      reason: "stopping",
    });
    assert.equal(await ended, 0);
    assert.ok(performance.now() - begun >= 1_500);
  }));

test("three stops under load tear no request of eight clients that keep their connections", () =>
  inFolder(async (folder) => {
    for (let stop = 0; stop < 3; stop++) {
      const host = await startCli(folder);
      const { anonKey } = keysIn((await runCli("status", folder)).output);
      const clients = Array.from({ length: 8 }, (_, number) =>
        // Half of them without a pause; the others with one in which their connection is idle.
        useUntilRefused(
          `${host.url}/rest/v1/task_types?select=name&limit=1`,
          anonKey,
          number < 4 ? 0 : number * 10,
        ),
      );
      await pause(1_000);
      assert.equal(await end(host.process, "SIGTERM"), 0);
      for (const { answers, torn } of await Promise.all(clients)) {
        assert.deepEqual(torn, []);
        assert.ok(answers > 0);
      }
    }
  }));

test("a limit on open files that is too low ends the start, and a low one is a warning; both say what to do", () =>
  inFolder(async (folder) => {
    const refused = launch(folder, {}, 200);
    await once(refused.process, "close");
    assert.equal(refused.process.exitCode, 1);
    assert.match(
      refused.output(),
      /limit on open files \(ulimit -n\) is 200; Darkroom needs 256 at least\. Raise it/,
    );

    const host = await ready(launch(folder, {}, 1_024));
    assert.match(host.output(), /"limit":1024.*limit on open files.*Raise it: `ulimit -n 65536`/);
    assert.equal(await end(host.process, "SIGTERM"), 0);
  }));

test("/health fails when a pool does not answer although the database does, and not when the database is away", () =>
  inFolder((folder) =>
    withDatabase(async (database) => {
      const proxy = await startProxy(database.url);
      const host = await startHost({
        port: 0,
        databaseUrl: proxy.url,
        dataDirectory: folder,
        // Longer than a pool waits between two attempts to connect.
        liveness: { intervalMilliseconds: 50, limitMilliseconds: 2_500 },
      });
      const health = async () => await fetch(`${host.apiUrl}/health`);
      try {
        assert.equal((await health()).status, 200);
        proxy.refuse(true);
        await until(async () => (await fetch(`${host.apiUrl}/ready`)).status === 503);
        await pause(3_000);
        assert.equal((await health()).status, 200);
        proxy.refuse(false);
        await until(async () => (await fetch(`${host.apiUrl}/ready`)).status === 200);
        // Until every pool is connected again.
        await pause(1_500);

        proxy.silence("darkroom-requests");
        await until(async () => (await health()).status === 503);
        const { reason } = (await (await health()).json()) as { reason: string };
        assert.match(
          reason,
          /^the pool darkroom-requests has not answered for \d+ s although the database answers$/,
        );
      } finally {
        const begun = performance.now();
        await host.stop();
        await proxy.close();
        assert.ok(performance.now() - begun < 10_000);
      }
    }),
  ));

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
      await until(async () => !(await fetch(`${host.apiUrl}/health`).catch(() => undefined)));
      await session.query("commit");
      assert.equal((await running).status, 200);
      await stopped;
    }),
  ));

test("a start that cannot write running.json ends with its name, and leaves no database running", () =>
  inFolder(async (folder) => {
    await mkdir(path.join(folder, "running.json"));
    const host = await runCli("start", folder, "0");
    assert.equal(host.exitCode, 1);
    assert.ok(host.errors.includes(`${path.join(folder, "running.json")} cannot be written`), host.errors);
    assert.deepEqual(await serverProcesses(folder), []);
  }));

test("a file in the place of the storage folder ends the start", () =>
  inFolder(async (folder) => {
    await writeFile(path.join(folder, "storage"), "");
    await assert.rejects(
      startHost({ port: 0, dataDirectory: folder }),
      /storage is a file and should be a folder/,
    );
  }));

test("secretInFolder() makes a secret once, takes an operator's, and refuses a damaged one", () =>
  inFolder(async (folder) => {
    const file = path.join(folder, "secret");
    const made = await secretInFolder(folder);
    assert.match(made, /^[\w-]{43}$/);
    assert.equal(await secretInFolder(folder), made);
    const own = "ein Satz, den sich jemand ausgedacht hät: 42";
    await writeFile(file, `${own}\n`);
    assert.equal(await secretInFolder(folder), own);
    for (const damaged of [
      Buffer.alloc(43),
      Buffer.from(made.slice(0, 31)),
      Buffer.concat([Buffer.from(made.slice(0, 40)), Buffer.alloc(3)]),
      Buffer.alloc(43, 0xff),
      Buffer.from(`${made}\n${made}`),
      Buffer.alloc(0),
    ]) {
      await writeFile(file, damaged);
      await assert.rejects(
        secretInFolder(folder),
        new RegExp(`${file} is damaged: .* Restore it`),
        String(damaged),
      );
      assert.deepEqual(await readFile(file), damaged);
    }
    await rm(file);
    await mkdir(file);
    await assert.rejects(secretInFolder(folder), new RegExp(`${file} is a folder`));
  }));

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

function keysIn(status: string): { anonKey: string } {
  return { anonKey: (JSON.parse(status) as { ANON_KEY: string }).ANON_KEY };
}

/** Sends requests over one kept connection until the host is gone. */
async function useUntilRefused(
  url: string,
  key: string,
  pauseMilliseconds: number,
): Promise<{ answers: number; torn: string[] }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const result = { answers: 0, torn: [] as string[] };
  for (;;) {
    try {
      await new Promise<void>((resolve, reject) => {
        const request = get(url, { agent, headers: { apikey: key } }, (response) => {
          if (response.statusCode !== 200) result.torn.push(`status ${response.statusCode}`);
          response.once("error", reject).once("end", resolve).resume();
        });
        request.once("error", reject);
      });
      result.answers++;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") return result;
      result.torn.push(String(error));
    }
    if (pauseMilliseconds > 0) await pause(pauseMilliseconds);
  }
}

/** Stops every process of the database without ending it, and sends requests that then hang. */
async function hang(host: RunningCli, folder: string): Promise<void> {
  const { anonKey } = keysIn((await runCli("status", folder)).output);
  for (const pid of await serverProcesses(folder)) process.kill(pid, "SIGSTOP");
  for (let request = 0; request < 20; request++) {
    const url = `${host.url}/rest/v1/task_types?select=name`;
    // They are cut; how is of no interest.
    fetch(url, { headers: { apikey: anonKey } }).catch(() => undefined);
  }
  await pause(500);
}

async function noServer(folder: string): Promise<void> {
  await until(async () => (await serverProcesses(folder)).length === 0);
}

/** Processes that work in the folder of the cluster. */
async function serverProcesses(folder: string): Promise<number[]> {
  const cluster = path.join(await realpath(folder), "postgres");
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // One that ended meanwhile does not count.
    const workplace = await readlink(`/proc/${name}/cwd`).catch(() => undefined);
    if (workplace === cluster) found.push(Number(name));
  }
  return found;
}

async function postmasterPid(folder: string): Promise<number | undefined> {
  const text = await readFile(path.join(folder, "postgres", "postmaster.pid"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : Number.parseInt(text, 10);
}

/** Between a host and its database. */
async function startProxy(databaseUrl: string) {
  const { hostname, port } = new URL(databaseUrl);
  let [isRefusing, silentName] = [false, ""];
  const pairs = new Map<Socket, { server: Socket; name: string }>();
  const isSilent = (client: Socket) =>
    silentName !== "" && (pairs.get(client)?.name.includes(silentName) ?? false);
  const proxy = createServer((client) => {
    if (isRefusing) return client.destroy();
    const server = connect(Number(port), hostname);
    pairs.set(client, { server, name: "" });
    client.on("data", (chunk: Buffer) => {
      const pair = pairs.get(client);
      // The startup message has the name of the application.
      if (pair) pair.name ||= chunk.toString("latin1");
      if (!isSilent(client)) server.write(chunk);
    });
    server.on("data", (chunk: Buffer) => {
      if (!isSilent(client)) client.write(chunk);
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    client.once("close", () => pairs.delete(client));
    return undefined;
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String((proxy.address() as AddressInfo).port);
  const cut = () => pairs.forEach((_, client) => client.destroy());
  return {
    url: url.href,
    /** Cuts every connection and takes no new one. */
    refuse(refusing: boolean) {
      isRefusing = refusing;
      if (refusing) cut();
    },
    /** Passes nothing on any more, on connections of applications with this name. */
    silence(name: string) {
      silentName = name;
    },
    async close() {
      cut();
      proxy.close();
      await once(proxy, "close");
    },
  };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 20_000; performance.now() < end; await pause(20))
    if (await condition()) return;
  throw new Error("It did not come.");
}

/** Those that still run, which is only after a failed test. */
const started = new Set<ChildProcess>();

interface LaunchedCli {
  process: ChildProcess;
  output(): string;
}

interface RunningCli extends LaunchedCli {
  url: string;
}

function launch(folder: string, environment: Record<string, string> = {}, openFiles?: number): LaunchedCli {
  const child = cli("start", folder, "0", environment, openFiles);
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return { process: child, output: () => output };
}

async function ready(child: LaunchedCli): Promise<RunningCli> {
  for (;;) {
    const url = /ready at (\S+)/.exec(child.output())?.[1];
    if (url) return { ...child, url };
    if (child.process.exitCode !== null) throw new Error(child.output());
    await pause(50);
  }
}

async function startCli(folder: string, environment: Record<string, string> = {}): Promise<RunningCli> {
  return await ready(launch(folder, environment));
}

async function runCli(command: string, folder: string, port?: string) {
  const child = cli(command, folder, port);
  let [output, errors] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  await once(child, "close");
  return { output, errors, exitCode: child.exitCode };
}

function cli(
  command: string,
  folder: string,
  port?: string,
  environment: Record<string, string> = {},
  openFiles?: number,
): ChildProcess {
  const program = ["--import", "tsx", projectPath("server/cli.ts"), command, "--data", folder];
  if (port !== undefined) program.push("--port", port);
  const limited = ["-c", `ulimit -n ${openFiles}; exec "$0" "$@"`, process.execPath, ...program];
  const child = spawn(openFiles ? "/bin/sh" : process.execPath, openFiles ? limited : program, {
    cwd: projectPath(""),
    env: { PATH: process.env["PATH"], DARKROOM_WORKER: "off", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  started.add(child);
  child.once("exit", () => started.delete(child));
  return child;
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
    for (const child of started) child.kill("SIGKILL");
    for (const pid of await serverProcesses(folder)) process.kill(pid, "SIGKILL");
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
