/** Checks 41 and 69: the commands of docs/backup.md, as they stand there, bring back an installation that answers as before. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type Stripe from "stripe";
import { examine } from "../../server/doctor.ts";
import {
  complete,
  type Credentials,
  finishTask,
  type Person,
  personWithProject,
  queueTask,
  service,
  tokenOf,
} from "../support/calls.ts";
import { documentedCommands, DocumentShell } from "../support/documented-commands.ts";
import { type FakeStripe, startFakeStripe } from "../support/fake-stripe.ts";
import type { HostUnderTest } from "../support/hosts.ts";
import {
  freePort,
  noPostgres15,
  type OwnCluster,
  withOwnCluster,
  withPostgres15,
} from "../support/own-cluster.ts";
import { makeCheckout } from "../support/payments.ts";
import { png } from "../support/png.ts";

const purchases = 60;
/** Of the restore into a new folder; the others read and send everything once. */
const thousand = 1000;

let home: string;
let port: number;
let fakeStripe: FakeStripe;
let commands: string[];
let shell: DocumentShell;
let scene: Scene;

/** What was there, and how it answered, when the backup was made. */
interface Scene {
  owner: Person & { projectId: string };
  stranger: Person & { projectId: string };
  token: Credentials;
  reads: { url: string; headers: Credentials; answer: string }[];
  events: Stripe.Event[];
  entries: number;
  taskIds: string[];
  refreshToken: string;
}

before(async () => {
  home = await mkdtemp(path.join(tmpdir(), "darkroom-backup-"));
  // As root, PostgreSQL runs as another system user, who must be able to enter.
  await chmod(home, 0o755);
  port = await freePort();
  fakeStripe = await startFakeStripe();
  commands = await documentedCommands("docs/backup.md");
  shell = new DocumentShell(home, {
    PORT: String(port),
    DARKROOM_DATA: path.join(home, "source"),
    FRONTEND_URL: "https://app.darkroom.test",
    ...fakeStripe.variables,
  });
  const stop = await shell.start("npm start", "source");
  try {
    scene = await withInstallation("source", makeScene);
    await withInstallation("source", async (host) => {
      const load = putUnderLoad(host, scene.stranger);
      const { exitCode, output } = await shell.run(command(0, "npm run backup"));
      const written = await load.stop();
      assert.equal(exitCode, 0, output);
      assert.match(output, /backup in .*: \d+ tables, \d+ rows, \d+ files/);
      assert.ok(written > 0, "nothing was written while the backup was made");
    });
  } finally {
    await stop();
  }
});

after(async () => {
  await fakeStripe?.close();
  await rm(home, { recursive: true, force: true });
});

test("every command of docs/backup.md is run here", () => {
  assert.equal(commands.length, 5);
});

test("a backup is readable by its owner alone and never overwrites anything", async () => {
  const folder = path.join(home, "darkroom-backup");
  for (const name of await readdir(folder, { recursive: true })) {
    const { mode } = await stat(path.join(folder, name));
    assert.equal(mode & 0o077, 0, `${name} has the mode ${(mode & 0o777).toString(8)}`);
  }
  const before = await readFile(path.join(folder, "backup.json"), "utf8");
  const again = await shell.run(command(0, "npm run backup"));
  assert.equal(again.exitCode, 1);
  assert.match(again.output, /is not empty: choose a new folder/);
  assert.equal(await readFile(path.join(folder, "backup.json"), "utf8"), before);
  assert.deepEqual(
    (await readdir(home)).filter((name) => name.includes("partial")),
    [],
  );
});

test("a restore into a new folder answers as before: sessions, tokens, files, policies, own tables, old payments", async (context) => {
  const restored = await shell.run(command(1, "npm run restore"));
  assert.equal(restored.exitCode, 0, restored.output);
  const stop = await shell.start(command(2, "npm start"), "darkroom-restored");
  try {
    const checked = await shell.run(command(3, "npm run -s verify"));
    assert.equal(checked.exitCode, 0, checked.output);
    assert.equal(checked.output.match(/Healthy: /g)?.length, 2, checked.output);
    await withInstallation("darkroom-restored", async (host) => {
      context.diagnostic(await assertAsBefore(host, thousand));
    });
  } finally {
    await stop();
  }
  const again = await shell.run(command(1, "npm run restore"));
  assert.equal(again.exitCode, 1);
  assert.match(again.output, /is not empty: restore into a new data folder/);
});

for (const [version, withCluster, skip] of [
  [17, withOwnCluster, undefined],
  [15, withPostgres15, await noPostgres15()],
] as const) {
  test(
    `a restore into PostgreSQL ${version}, as an owner without superuser, answers as before`,
    { skip: skip ?? false },
    async (context) =>
      await withCluster(async (cluster) => context.diagnostic(await restoreInto(cluster, version))),
  );
}

async function restoreInto(cluster: OwnCluster, version: number): Promise<string> {
  await asOwner(cluster.url, async (sql) => {
    await sql.query(`
      create role anon nologin noinherit;
      create role authenticated nologin noinherit;
      create role service_role nologin noinherit bypassrls;
      create role authenticator login noinherit;
      create role analyst nologin;
      create role app login password 'app';
      grant anon, authenticated, service_role to authenticator;
      grant anon, authenticated, service_role to app`);
    await sql.query("create database studio owner app");
  });
  const databaseUrl = cluster.urlOf("studio", "app");
  const data = `restored-${version}`;
  const block = command(4, "npm run restore")
    .replace("postgresql://app:secret@127.0.0.1:5432/studio", databaseUrl)
    .replace("~/darkroom-restored", `~/${data}`);
  const restored = await shell.run(block);
  assert.equal(restored.exitCode, 0, restored.output);
  assert.match(restored.output, /^Healthy: /m);

  const again = await shell.run(block.replace(data, `${data}-again`));
  assert.equal(again.exitCode, 1);
  assert.match(again.output, /The database is not empty/);

  const stop = await shell.start(
    `export DATABASE_URL=${databaseUrl} SUPABASE_URL=http://127.0.0.1:${port}\nnpm start -- --data ~/${data}`,
    data,
  );
  try {
    const figures = await withInstallation(data, (host) => assertAsBefore(host, 1));
    const { healthy, faults } = await examine(databaseUrl, "doctor");
    assert.ok(healthy, JSON.stringify(faults));
    return figures;
  } finally {
    await stop();
  }
}

/** Two people with tasks, files, tokens and purchases, and an operator with tables of their own. */
async function makeScene(host: HostUnderTest): Promise<Scene> {
  const [owner, stranger] = [await personWithProject(host), await personWithProject(host)];
  const token = (await tokenOf(owner)).credentials;
  const taskIds: string[] = [];
  for (let number = 0; number < 12; number++) {
    taskIds.push((await finishTask(host, owner, { params: { prompt: `fox ${number}` } })).task_id);
  }
  const { task_id } = await queueTask(host, owner, { params: { prompt: "waits, with a hold" } });
  taskIds.push(task_id);
  const upload = await fetch(`${host.apiUrl}/storage/v1/object/image_uploads/${owner.userId}/own.png`, {
    method: "POST",
    headers: { ...owner.credentials, apikey: host.keys.anonKey, "content-type": "image/png" },
    body: Buffer.from(png({ width: 64, height: 64 })),
  });
  assert.equal(upload.status, 200, await upload.text());
  await host.sql.query(ownTables);
  await host.sql`insert into public.notes (user_id, body) values (${owner.userId}, 'A\ttab, a \\ and a line
break: ☃'), (${stranger.userId}, null)`;

  const events: Stripe.Event[] = [];
  for (let number = 0; number < purchases; number++) {
    const checkout = await makeCheckout(host, owner.userId, { cents: 500 + number });
    checkout.pay();
    for (const event of checkout.events()) {
      assert.equal(
        (await fakeStripe.deliver(event, `${host.apiUrl}/functions/v1/stripe-webhook`)).status,
        200,
      );
      events.push(event);
    }
  }
  const reads = await readAll(host, owner, stranger, token, taskIds);
  const { data } = await owner.client.auth.getSession();
  const refreshToken = data.session?.refresh_token ?? "";
  return {
    owner,
    stranger,
    token,
    reads,
    events,
    entries: await entriesOf(host.sql, owner),
    taskIds,
    refreshToken,
  };
}

/** What an operator may have added: in our schema, on our tables, and elsewhere. */
const ownTables = `
  create role analyst nologin;
  create schema reports;
  create type reports.mood as enum ('good', 'bad');
  create domain reports.score as int check (value between 0 and 10);
  create sequence reports.numbers start 7;
  create function reports.shout(text) returns text language sql immutable as 'select upper($1)';
  create table public.notes (
    id bigint generated always as identity primary key,
    user_id uuid not null references auth.users on delete cascade,
    body text default reports.shout('none'),
    mood reports.mood not null default 'good',
    score reports.score,
    number int not null default nextval('reports.numbers'),
    shouted text generated always as (upper(body)) stored,
    unique (user_id, number)
  );
  create index notes_body on public.notes (lower(body)) where body is not null;
  alter table public.notes enable row level security;
  create policy notes_own on public.notes for all to authenticated using (user_id = auth.uid());
  create policy notes_of_analysts on public.notes for select to analyst using (true);
  grant select, insert on public.notes to authenticated;
  grant select (body) on public.notes to analyst;
  create view reports.moods with (security_invoker = true) as select mood, count(*) as notes from public.notes group by mood;
  create materialized view reports.totals as select count(*) as notes from public.notes;
  create function reports.stamp() returns trigger language plpgsql as $$ begin new.body := new.body || '!'; return new; end $$;
  create trigger stamp before insert on public.notes for each row execute function reports.stamp();
  alter table public.tasks add column cost_center text default 'none';
  create index tasks_cost_center on public.tasks (cost_center);
  alter policy projects_own on public.projects using (user_id = auth.uid() and name <> 'hidden');
  alter table public.notes disable trigger stamp`;

/** A thousand answers: of the owner, of a stranger who may see none of it, of a token, of nobody. */
async function readAll(
  host: HostUnderTest,
  owner: Person,
  stranger: Person,
  token: Credentials,
  taskIds: readonly string[],
): Promise<Scene["reads"]> {
  const apikey = { apikey: host.keys.anonKey };
  const rest = (resource: string) => `${host.apiUrl}/rest/v1/${resource}`;
  const { data: entries } = await owner.client
    .from("credits_ledger")
    .select("id")
    .order("sequence")
    .throwOnError();
  const { data: generations } = await owner.client.from("generations").select("id,location").throwOnError();
  const resources = [
    ...taskIds.flatMap((id) => [
      `tasks?id=eq.${id}`,
      `tasks?id=eq.${id}&select=id,status,params,projects(name)`,
      `generations?tasks=cs.["${id}"]&select=id,type,location,generation_variants(id,variant_type)`,
    ]),
    ...(entries ?? []).map(({ id }) => `credits_ledger?id=eq.${String(id)}`),
    ...(generations ?? []).map(({ id }) => `generation_variants?generation_id=eq.${String(id)}`),
    "projects?order=id",
    "users?select=id,credits,settings",
    "notes?order=id",
    "task_types?order=name",
  ];
  const readers: Credentials[] = [
    { ...apikey, ...owner.credentials },
    { ...apikey, ...stranger.credentials },
    { ...apikey },
  ];
  const wanted = [
    ...resources.flatMap((resource) => readers.map((headers) => ({ url: rest(resource), headers }))),
    ...(generations ?? []).map(({ location }) => ({ url: String(location), headers: {} })),
    {
      url: `${host.apiUrl}/storage/v1/object/authenticated/image_uploads/${owner.userId}/own.png`,
      headers: { ...apikey, ...owner.credentials },
    },
    {
      url: `${host.apiUrl}/storage/v1/object/authenticated/image_uploads/${owner.userId}/own.png`,
      headers: { ...apikey, ...stranger.credentials },
    },
    { url: `${host.apiUrl}/functions/v1/list-prices`, headers: token },
  ];
  const reads: Scene["reads"] = [];
  for (const { url, headers } of wanted) reads.push({ url, headers, answer: await read(url, headers) });
  const statuses = new Map<string, number>();
  for (const { answer } of reads) {
    const status = answer.slice(0, 3);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  assert.ok((statuses.get("200") ?? 0) > 100, JSON.stringify([...statuses]));
  return reads;
}

async function read(url: string, headers: Credentials): Promise<string> {
  const answer = await fetch(url, { headers });
  const body = Buffer.from(await answer.arrayBuffer());
  // Refusals name their request, which is another one each time.
  const text = body.toString("latin1").replace(/"request_id":"[^"]*"/, "");
  return `${answer.status} ${answer.headers.get("content-type")} ${text}`;
}

/** Somebody goes on working while the backup is made. */
function putUnderLoad(host: HostUnderTest, person: Person & { projectId: string }) {
  const load = { isOver: false, written: 0 };
  async function work(): Promise<number> {
    while (!load.isOver) {
      const { task_id } = await queueTask(host, person, { params: { prompt: `load ${load.written}` } });
      await complete(host, service(host), task_id).catch(() => undefined);
      await fetch(`${host.apiUrl}/storage/v1/object/image_uploads/${person.userId}/${load.written}.png`, {
        method: "POST",
        headers: { ...person.credentials, apikey: host.keys.anonKey, "content-type": "image/png" },
        body: Buffer.from(png({ colour: load.written })),
      });
      load.written++;
    }
    return load.written;
  }
  const working = work();
  return {
    stop: async () => {
      load.isOver = true;
      return await working;
    },
  };
}

/** Reads and sends so often, and everything at least once. Answers the figures. */
async function assertAsBefore(host: HostUnderTest, times: number): Promise<string> {
  const { owner, stranger, token, reads, events, entries, refreshToken } = scene;
  let answered = 0;
  while (answered < times) {
    for (const { url, headers, answer } of reads) {
      assert.equal(await read(url, headers), answer, url);
      answered++;
    }
  }
  // The keys are the old ones; a person signs in with the old password, and an old session goes on.
  const refreshed = await owner.client.auth.refreshSession({ refresh_token: refreshToken });
  assert.equal(refreshed.error, null);
  const again = await owner.client.auth.signInWithPassword({
    email: owner.email,
    password: "a rather long password",
  });
  assert.equal(again.error, null);
  // B sees nothing of A's.
  const { data: foreign } = await stranger.client
    .from("tasks")
    .select("id")
    .in("id", scene.taskIds)
    .throwOnError();
  assert.deepEqual(foreign, []);
  const balance = await fetch(`${host.apiUrl}/functions/v1/credit-balance`, {
    method: "POST",
    headers: { ...token, "content-type": "application/json" },
    body: "{}",
  });
  assert.equal(balance.status, 200, await balance.text());

  const replays = Math.max(times, events.length);
  for (let sent = 0; sent < replays; sent++) {
    const event = events[sent % events.length];
    assert.ok(event);
    const answer = await fakeStripe.deliver(event, `${host.apiUrl}/functions/v1/stripe-webhook`);
    assert.equal(answer.status, 200, await answer.text());
  }
  assert.equal(await entriesOf(host.sql, owner), entries, "old events of Stripe gave new credit");

  await assertOwnTables(host.sql, owner);
  // What was kept goes on: the task that waited is done and charged, and the next row of each table has a new number.
  const waiting = scene.taskIds.at(-1) ?? "";
  await finishWaiting(host, waiting);
  await finishTask(host, owner);
  return `${answered} calls answered as before; ${replays} deliveries of ${events.length} old events: 0 new credits`;
}

async function finishWaiting(host: HostUnderTest, taskId: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const claimed = await fetch(`${host.apiUrl}/functions/v1/claim-next-task`, {
      method: "POST",
      headers: { ...service(host), "content-type": "application/json" },
      body: JSON.stringify({ worker_id: "worker-after" }),
    });
    assert.equal(claimed.status, 200, "the waiting task cannot be claimed");
    const { task_id, attempt: run } = (await claimed.json()) as { task_id: string; attempt: number };
    const done = await complete(host, service(host), task_id, { worker_id: "worker-after", attempt: run });
    if (task_id === taskId) return assert.ok(done.cost_microusd > 0);
  }
  assert.fail("the waiting task was not among 50");
}

async function assertOwnTables(sql: Sql, { userId }: Person): Promise<void> {
  const [note] = await sql`select body, mood, number, shouted from public.notes where user_id = ${userId}`;
  assert.deepEqual(
    { ...note },
    {
      body: "A\ttab, a \\ and a line\nbreak: ☃",
      mood: "good",
      number: 7,
      shouted: "A\tTAB, A \\ AND A LINE\nBREAK: ☃",
    },
  );
  const [added] = await sql`
    insert into public.notes (user_id) values (${userId}) returning id, number, body, mood`;
  assert.deepEqual({ ...added }, { id: "3", number: 9, body: "NONE", mood: "good" });
  await sql`delete from public.notes where id = 3`;
  await sql`select pg_catalog.setval('reports.numbers', 8)`;
  const [kept] = await sql`
    select (select tgenabled::text from pg_trigger where tgname = 'stamp') as stamp,
           (select count(*)::int from pg_policies where tablename = 'notes') as policies,
           (select qual like '%hidden%' from pg_policies where policyname = 'projects_own') as altered,
           (select notes::int from reports.totals) as total,
           (select relrowsecurity from pg_class where oid = 'public.notes'::regclass) as protected,
           has_column_privilege('analyst', 'public.notes', 'body', 'select') as analyst_reads,
           has_table_privilege('anon', 'public.notes', 'select') as anon_reads,
           to_regclass('public.notes_body') is not null as has_index,
           (select count(*)::int from public.tasks where cost_center = 'none') > 10 as has_column`;
  assert.deepEqual(
    { ...kept },
    {
      stamp: "D",
      policies: 2,
      altered: true,
      total: 2,
      protected: true,
      analyst_reads: true,
      anon_reads: false,
      has_index: true,
      has_column: true,
    },
  );
}

async function entriesOf(sql: Sql, { userId }: Person): Promise<number> {
  const [row] = await sql<{ entries: number }[]>`
    select count(*)::int as entries from credits_ledger where user_id = ${userId} and amount_microusd > 0`;
  return row?.entries ?? 0;
}

interface Status {
  API_URL: string;
  DB_URL: string;
  ANON_KEY: string;
  SERVICE_ROLE_KEY: string;
  PUBLISHABLE_KEY: string;
}

/** The host that runs on a data folder, as `npm run -s status` shows it. */
async function withInstallation<Result>(
  dataFolder: string,
  work: (host: HostUnderTest) => Promise<Result>,
): Promise<Result> {
  const running = await readFile(path.join(home, dataFolder, "running.json"), "utf8");
  const { status } = JSON.parse(running) as { status: Status };
  return await asOwner(status.DB_URL, async (sql) => {
    const host: Pick<HostUnderTest, "apiUrl" | "sql" | "databaseUrl" | "fakeStripe" | "atEnd"> & {
      keys: object;
    } = {
      apiUrl: status.API_URL,
      keys: {
        anonKey: status.ANON_KEY,
        serviceRoleKey: status.SERVICE_ROLE_KEY,
        publishableKey: status.PUBLISHABLE_KEY,
      },
      sql,
      databaseUrl: status.DB_URL,
      fakeStripe,
      atEnd: () => undefined,
    };
    // The helpers for calls need no more of a host than this.
    return await work(host as HostUnderTest);
  });
}

async function asOwner<Result>(url: string, work: (sql: Pool) => Promise<Result>): Promise<Result> {
  const sql = openPool({ url, name: "test", connections: 2 });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

/** A block of the document, which must be the one that is meant. */
function command(index: number, begins: string): string {
  const block = commands[index] ?? "";
  assert.ok(block.includes(begins), `block ${index} of docs/backup.md is "${block}"`);
  return block;
}
