import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { freePort, noPostgres15, withOwnCluster, withPostgres15 } from "../../test/support/own-cluster.ts";
import { StopList } from "../stop-list.ts";
import { examine } from "../doctor.ts";
import { type Host, type HostOptions, startHost } from "../host.ts";
import { projectPath } from "../project-path.ts";
import { readCatalog } from "./catalog.ts";

test("a host whose restored database lost its policies makes the roles, says what is missing, and is not ready until it is there", () =>
  withOwnCluster(async (cluster) => {
    const log = logInMemory();
    const databaseUrl = cluster.urlOf("studio");
    await asOwner(cluster.url, (sql) => sql.query("create database studio"));
    await withHost({ databaseUrl }, (host) => host.stop());

    // As pg_restore leaves it on a server that does not have the roles: every policy and grant that names one failed.
    const policies = await asOwner(databaseUrl, async (sql) => {
      const catalog = await sql.transaction(
        async (transaction) =>
          await readCatalog(
            async <Row extends object>(text: string) => [...(await transaction.query<Row[]>(text))] as Row[],
          ),
      );
      const made = [...catalog].filter(([thing]) => /^(policy|grant) /.test(thing));
      await sql.query("drop owned by anon, authenticated, service_role, authenticator");
      await sql.query("drop role anon, authenticated, service_role, authenticator");
      return made.map(([, { make }]) => make ?? "");
    });
    assert.ok(policies.length > 300);

    const port = await freePort();
    const opened = new StopList(log.logger);
    const starting = startIn({ databaseUrl, port, log: log.logger }, opened);
    try {
      await incomplete(port, databaseUrl, log.text);
      await asOwner(databaseUrl, async (sql) => {
        for (const statement of policies) await sql.query(statement);
      });
      const { host, stop } = await starting;
      assert.equal((await fetch(`${host.apiUrl}/ready`)).status, 200);
      assert.equal((await examine(databaseUrl, "doctor")).healthy, true);
      await stop();
    } finally {
      await opened.stop();
      await starting.catch(() => undefined);
    }
  }));

/** What a host on an incomplete database answers and logs. */
async function incomplete(port: number, databaseUrl: string, logged: () => string): Promise<void> {
  const apiUrl = `http://127.0.0.1:${port}`;
  const ready = await answerWith(`${apiUrl}/ready`, (body) => body.includes("reason"));
  assert.equal(ready.status, 503);
  assert.match(ready.body, /the database is incomplete: policy missing: .*; and \d+ more/);
  assert.equal((await fetch(`${apiUrl}/health`)).status, 200);
  const call = await fetch(`${apiUrl}/rest/v1/projects`);
  assert.equal(call.status, 503);
  assert.ok(call.headers.get("retry-after"));
  assert.match(logged(), /roles of the database server made/);
  assert.match(logged(), /policy_missing/);

  const { healthy, faults, fault_count } = await examine(databaseUrl, "doctor");
  assert.equal(healthy, false);
  assert.ok(faults.every(({ room }) => room === "database"));
  const rows = faults.filter(({ rule }) => rule === "policy_missing").map(({ row_id }) => row_id);
  assert.ok(rows.includes("public.tasks tasks_select_own"), rows.join());
  assert.ok(fault_count > 100, String(fault_count));
}

test("a start that waits for an incomplete database ends when it is told to stop", () =>
  withOwnCluster(async (cluster) => {
    await withHost({ databaseUrl: cluster.url }, (host) => host.stop());
    await asOwner(cluster.url, (sql) => sql.query("alter table public.tasks disable row level security"));
    const log = logInMemory();
    const opened = new StopList(log.logger);
    const starting = startIn({ databaseUrl: cluster.url, port: 0, log: log.logger }, opened);
    const ended = assert.rejects(starting, /cut short by a stop/);
    while (!log.text().includes("row_level_security_off")) await pause(20);
    await opened.stop();
    await ended;
  }));

for (const [version, withCluster, skip] of [
  ["17", withOwnCluster, undefined],
  ["15", withPostgres15, await noPostgres15()],
] as const) {
  test(
    `on PostgreSQL ${version}, an owner without superuser is told what an administrator runs once, and serves after it`,
    { skip: skip ?? false },
    () =>
      withCluster(async (cluster) => {
        await asOwner(cluster.url, async (sql) => {
          await sql.query("create role app login password 'app'");
          await sql.query("create database studio owner app");
        });
        const databaseUrl = cluster.urlOf("studio", "app");
        const refusal = await startIn({ databaseUrl, port: 0 }).then(
          () => assert.fail("it started"),
          (error: Error) => error.message,
        );
        assert.match(refusal, /permission denied to create role|must be superuser/);
        const statements = [...refusal.matchAll(/^ {2}(.*;)$/gm)].map(([, statement]) => statement ?? "");
        assert.ok(statements.includes("create role service_role nologin noinherit bypassrls;"), refusal);
        assert.ok(statements.includes("grant service_role to app;"), refusal);

        const documented = (await operationsSql()).split(/(?<=;)\s+/);
        assert.deepEqual(
          documented.filter((statement) => statement.startsWith("create")).toSorted(),
          statements.filter((statement) => statement.startsWith("create")).toSorted(),
        );
        await asOwner(cluster.url, async (sql) => {
          for (const statement of version === "17" ? documented : statements) await sql.query(statement);
        });
        await withHost({ databaseUrl }, async (host) => {
          assert.equal((await fetch(`${host.apiUrl}/ready`)).status, 200);
          const token = await signUp(host);
          const users = await fetch(`${host.apiUrl}/rest/v1/users?select=id`, {
            headers: { apikey: host.keys.anonKey, authorization: `Bearer ${token}` },
          });
          assert.equal(((await users.json()) as unknown[]).length, 1);
          assert.equal((await examine(databaseUrl, "doctor")).healthy, true);
        });
      }),
  );
}

test("a role that is lost while a host runs is a 503 with the reason in the log, in every service", () =>
  withOwnCluster(async (cluster) => {
    const log = logInMemory();
    await withHost({ databaseUrl: cluster.url, log: log.logger }, async (host) => {
      const key = host.keys.serviceRoleKey;
      const headers = { apikey: key, authorization: `Bearer ${key}`, "content-type": "application/json" };
      const token = await signUp(host);
      const calls: Record<string, () => Promise<Response>> = {
        rest: () => fetch(`${host.apiUrl}/rest/v1/projects`, { headers }),
        functions: () =>
          fetch(`${host.apiUrl}/functions/v1/task-counts`, { method: "POST", headers, body: "{}" }),
        storage: () =>
          fetch(`${host.apiUrl}/storage/v1/object/image_uploads/a.png`, {
            method: "POST",
            headers: { ...headers, "content-type": "image/png" },
            body: "png",
          }),
        realtime: () =>
          fetch(`${host.apiUrl}/realtime/v1/api/broadcast`, {
            method: "POST",
            // The service key may send to every topic; whether a user may, the database is asked.
            headers: { ...headers, apikey: host.keys.anonKey, authorization: `Bearer ${token}` },
            body: JSON.stringify({
              messages: [{ topic: "task-updates:x", event: "e", payload: {}, private: true }],
            }),
          }),
      };
      for (const [service, call] of Object.entries(calls)) {
        assert.notEqual((await call()).status, 503, service);
      }
      await asOwner(cluster.url, async (sql) => {
        await sql.query(
          "alter role service_role rename to lost; alter role authenticated rename to lost_too",
        );
        // Sessions that act as the role already go on; new ones cannot.
        await sql.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'darkroom-functions'",
        );
      });
      await pause(200);
      for (const [service, call] of Object.entries(calls)) {
        const answer = await call();
        assert.equal(answer.status, 503, `${service}: ${answer.status} ${await answer.text()}`);
      }
      assert.match(log.text(), /role \\"service_role\\" does not exist/);
      await asOwner(cluster.url, (sql) =>
        sql.query("alter role lost rename to service_role; alter role lost_too rename to authenticated"),
      );
      for (const [service, call] of Object.entries(calls)) {
        assert.notEqual((await call()).status, 503, service);
      }
    });
  }));

test("a database user that may not act as a role is a 503, and the start says which membership is missing", () =>
  withOwnCluster(async (cluster) => {
    await asOwner(cluster.url, async (sql) => {
      await sql.query("create role app login password 'app' createdb createrole bypassrls");
      await sql.query("create database studio owner app");
    });
    const databaseUrl = cluster.urlOf("studio", "app");
    await withHost({ databaseUrl }, async (host) => {
      const headers = { apikey: host.keys.anonKey };
      assert.notEqual((await fetch(`${host.apiUrl}/rest/v1/projects`, { headers })).status, 503);
      await asOwner(cluster.url, (sql) =>
        sql.query("revoke anon from app cascade; revoke anon from app granted by app cascade"),
      );
      const refused = await fetch(`${host.apiUrl}/rest/v1/projects`, { headers });
      assert.equal(refused.status, 503, await refused.text());
    });
    await assert.rejects(startIn({ databaseUrl, port: 0 }), /grant anon to app;/);
  }));

async function withHost(
  options: Omit<HostOptions, "port" | "dataDirectory">,
  work: (host: Host) => Promise<void>,
): Promise<void> {
  const { host, stop } = await startIn({ port: 0, ...options });
  try {
    await work(host);
  } finally {
    await stop();
  }
}

/** What docs/operations.md gives to an administrator. */
async function operationsSql(): Promise<string> {
  const text = await readFile(projectPath("docs/operations.md"), "utf8");
  return /^```sql\n(create role .*?)\n^```$/ms.exec(text)?.[1] ?? assert.fail("it is not there");
}

/** The session of a new user. */
async function signUp({ apiUrl, keys }: Host): Promise<string> {
  const created = await fetch(`${apiUrl}/auth/v1/signup`, {
    method: "POST",
    headers: { apikey: keys.anonKey, "content-type": "application/json" },
    body: JSON.stringify({ email: "a@example.com", password: "a long password" }),
  });
  assert.equal(created.status, 200);
  return ((await created.json()) as { access_token: string }).access_token;
}

/** A host with a data folder of its own, and no worker. */
async function startIn(
  options: Omit<HostOptions, "dataDirectory">,
  opened?: StopList,
): Promise<{ host: Host; stop: () => Promise<void> }> {
  const dataDirectory = await mkdtemp(path.join(tmpdir(), "darkroom-roles-"));
  const clear = () => rm(dataDirectory, { recursive: true, force: true });
  try {
    const host = await startHost({ ...options, dataDirectory }, opened);
    return {
      host,
      stop: async () => {
        await host.stop();
        await clear();
      },
    };
  } catch (error) {
    await clear();
    throw error;
  }
}

async function asOwner<Result>(url: string, work: (sql: Pool) => Promise<Result>): Promise<Result> {
  const sql = openPool({ url, name: "test", connections: 1 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

async function answerWith(
  url: string,
  isExpected: (body: string) => boolean,
): Promise<{ status: number; body: string }> {
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(url).catch(() => undefined);
    const body = (await answer?.text()) ?? "";
    if (answer && isExpected(body)) return { status: answer.status, body };
    if (attempt === 500) throw new Error(`${url} answers ${body}`);
    await pause(20);
  }
}

function logInMemory() {
  const lines: string[] = [];
  return {
    logger: pino({ level: "info" }, { write: (line: string) => void lines.push(line) }),
    text: () => lines.join(""),
  };
}
