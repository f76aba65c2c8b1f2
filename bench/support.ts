/** What all benchmarks stand on: a PostgreSQL as in production, users with credits, a clock, and tables. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { chmod, mkdtemp, open, readdir, readFile, rm, statfs } from "node:fs/promises";
import http from "node:http";
import { cpus, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool, type Pool } from "../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../supabase/functions/_shared/database/sql.ts";
import { lockFolder } from "../server/folder-lock.ts";
import { migrate, projectPath } from "../server/migrate.ts";
import { startEmbeddedPostgres } from "../server/postgres/embedded.ts";

const log = pino({ level: "warn" }, pino.destination(2));

export interface Bench {
  /** The database as its owner, with Darkroom's schema. */
  url: string;
  sql: Pool;
  postmaster: number;
  /** Gone at the end, like everything. */
  folder: string;
  /** What was opened, closed in the opposite order, however the benchmark ends. */
  atEnd(close: () => Promise<unknown>): void;
}

/**
 * Runs a benchmark on a PostgreSQL of its own, with the settings that the host gives it and full durability.
 * Ctrl-C ends it in order too.
 */
export async function onPostgres(
  settings: Record<string, string>,
  measure: (bench: Bench) => Promise<void>,
): Promise<void> {
  const closers: (() => Promise<unknown>)[] = [];
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= closeAll(closers));
  const stop = () => void close().finally(() => process.exit(130));
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  try {
    const folder = await mkdtemp(path.join(process.env["BENCH_DIRECTORY"] ?? tmpdir(), "darkroom-bench-"));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    // As root, the server runs as somebody else, who must be able to enter.
    await chmod(folder, 0o755);
    const cluster = await startEmbeddedPostgres({
      directory: path.join(folder, "postgres"),
      lock: await lockFolder(folder),
      settings,
      log,
    });
    closers.push(() => rm(cluster.directory, { recursive: true, force: true }));
    closers.push(() => cluster.stop());
    const sql = openPool({ url: cluster.url, name: "bench", connections: 2, deadlineMilliseconds: Infinity });
    closers.push(() => sql.end());
    await migrate(sql, { log });
    const pidFile = await readFile(path.join(cluster.directory, "postmaster.pid"), "utf8");
    const postmaster = Number.parseInt(pidFile, 10);
    await printMachine(sql, folder);
    const atEnd = (closer: () => Promise<unknown>) => void closers.push(closer);
    await measure({ url: cluster.url, sql, postmaster, folder, atEnd });
  } finally {
    await close();
    process.removeListener("SIGINT", stop);
    process.removeListener("SIGTERM", stop);
  }
}

async function closeAll(closers: (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (let close = closers.pop(); close; close = closers.pop()) {
    await close().catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw new AggregateError(failures, "the benchmark did not clean up");
}

export interface BenchUser {
  userId: string;
  projectId: string;
}

/** So many users, each with a project and a thousand dollars. */
export async function makeUsers(sql: Sql, count: number): Promise<BenchUser[]> {
  const users = Array.from({ length: count }, (_, index) => userNumber(index));
  const ids = users.map((user) => user.userId);
  await sql`
    insert into auth.users (id, email, is_anonymous)
    select id, id || '@example.com', true from unnest(${ids}::uuid[]) as id`;
  await sql`select public.add_credit(id, 'manual', 1000000000) from unnest(${ids}::uuid[]) as id`;
  await sql`
    insert into public.projects (id, user_id, name)
    select project_id, user_id, 'bench'
      from unnest(${users.map((user) => user.projectId)}::uuid[], ${ids}::uuid[]) as pair (project_id, user_id)`;
  return users;
}

/** Ids that follow from a number, so that a script in another language finds them too. */
export function userNumber(index: number): BenchUser {
  const digits = index.toString(16).padStart(12, "0");
  return { userId: `00000000-0000-4000-8000-${digits}`, projectId: `00000000-0000-4000-9000-${digits}` };
}

/** Settles what an earlier part left behind, so that each part begins alike. */
export async function settle(sql: Sql): Promise<void> {
  await sql`vacuum analyze`;
  await sql`checkpoint`;
}

// Processes and their time

export interface HostProcess {
  apiUrl: string;
  /** Each has a request limit of its own. */
  serviceKeys: [string, string];
  pid: number;
  stop(): Promise<void>;
}

/** The standalone host as a process of its own, on the benchmark's database. */
export async function startHostProcess(bench: Bench, nodeOptions: string[] = []): Promise<HostProcess> {
  const data = path.join(bench.folder, "host");
  const port = await freePort();
  const logFile = path.join(bench.folder, "host.log");
  const output = createWriteStream(logFile);
  await once(output, "open");
  const environment = Object.entries(process.env).filter(([name]) => !/^(npm_|SUPABASE_)/i.test(name));
  const child = spawn(
    process.execPath,
    [...nodeOptions, "--import", "tsx", "server/cli.ts", "start", "--port", String(port), "--data", data],
    {
      cwd: projectPath(""),
      env: { ...Object.fromEntries(environment), DATABASE_URL: bench.url, DARKROOM_WORKER: "off" },
      stdio: ["ignore", output, output],
      // Ctrl-C is for us: the host is stopped in order.
      detached: true,
    },
  );
  const stop = async () => {
    await ended(child);
    output.close();
  };
  bench.atEnd(stop);
  const running = await waitForRecord(path.join(data, "running.json"), child, logFile);
  const { API_URL, SERVICE_ROLE_KEY, SECRET_KEY } = running.status;
  return { apiUrl: API_URL, serviceKeys: [SERVICE_ROLE_KEY, SECRET_KEY], pid: running.pid, stop };
}

interface RunningRecord {
  pid: number;
  status: { API_URL: string; SERVICE_ROLE_KEY: string; SECRET_KEY: string };
}

/** The host leaves this record when it serves. */
async function waitForRecord(file: string, child: ChildProcess, logFile: string): Promise<RunningRecord> {
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the host did not start: ${await readFile(logFile, "utf8")}`);
    }
    const text = await readFile(file, "utf8").catch(() => "");
    if (text.endsWith("}")) return JSON.parse(text) as RunningRecord;
    await pause(50);
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const killing = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await exited;
  clearTimeout(killing);
}

async function freePort(): Promise<number> {
  const server = http.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("no free port");
  return address.port;
}

const ticksPerSecond = 100;

/** Seconds of CPU that a process, its children, and those of them that have ended, used so far. Linux only. */
export async function cpuSeconds(root: number): Promise<number> {
  const processes = new Map<number, { parent: number; ticks: number }>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // One that has just ended is counted with its parent.
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields.length < 15) continue;
    const [parent = 0, ...times] = [1, 11, 12, 13, 14].map((index) => Number(fields[index]));
    processes.set(Number(name), { parent, ticks: times.reduce((sum, time) => sum + time, 0) });
  }
  const belongs = (pid: number): boolean => {
    for (let at = pid; at > 1; at = processes.get(at)?.parent ?? 0) if (at === root) return true;
    return false;
  };
  let ticks = 0;
  for (const [pid, one] of processes) if (belongs(pid)) ticks += one.ticks;
  return ticks / ticksPerSecond;
}

export interface CpuUse {
  host: number;
  postgres: number;
  /** This process, and what it started other than the host. */
  client: number;
  /** Everything else on the machine: what makes numbers of a shared one doubtful. */
  others: number;
  seconds: number;
}

/** What was used from now until the returned function is called, in seconds of CPU. */
export async function measureCpu({
  host,
  postmaster,
}: {
  host?: number;
  postmaster: number;
}): Promise<() => Promise<CpuUse>> {
  const now = async () => {
    const ofHost = host === undefined ? 0 : await cpuSeconds(host);
    return {
      at: performance.now(),
      host: ofHost,
      postgres: await cpuSeconds(postmaster),
      client: (await cpuSeconds(process.pid)) - ofHost,
      all: await cpuSecondsOfAll(),
    };
  };
  const before = await now();
  return async () => {
    const after = await now();
    const [host, postgres, client] = [
      after.host - before.host,
      after.postgres - before.postgres,
      after.client - before.client,
    ];
    const others = Math.max(0, after.all - before.all - host - postgres - client);
    return { host, postgres, client, others, seconds: (after.at - before.at) / 1000 };
  };
}

/** What everything else used meanwhile, of one core. */
export function showOthers({ others, seconds }: CpuUse): string {
  return `${((others / seconds) * 100).toFixed(0)} %`;
}

async function cpuSecondsOfAll(): Promise<number> {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n");
  const [, user, nice, system, , , interrupts, softInterrupts] = line.split(/\s+/).map(Number);
  const ticks = [user, nice, system, interrupts, softInterrupts];
  return ticks.reduce<number>((sum, time) => sum + (time ?? 0), 0) / ticksPerSecond;
}

// Calls over HTTP

export interface Answer {
  status: number;
  body: Record<string, unknown> | undefined;
}

/** Calls of functions over connections that are kept. Lighter than `fetch`, for the client shares the machine. */
export class FunctionClient {
  readonly #agent: http.Agent;
  readonly #url: string;

  constructor(apiUrl: string, connections: number) {
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connections, scheduling: "fifo" });
    this.#url = `${apiUrl}/functions/v1/`;
  }

  async call(name: string, key: string, body: object): Promise<Answer> {
    const text = JSON.stringify(body);
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
      // Opaque keys are sent in `apikey` alone.
      ...(key.startsWith("sb_") ? { apikey: key } : { authorization: `Bearer ${key}` }),
    };
    return await new Promise((resolve, reject) => {
      const request = http.request(this.#url + name, { method: "POST", agent: this.#agent, headers });
      request.once("error", reject);
      request.once("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () => {
          const answer = Buffer.concat(chunks).toString();
          const status = response.statusCode ?? 0;
          resolve({ status, body: answer ? (JSON.parse(answer) as Record<string, unknown>) : undefined });
        });
      });
      request.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The answer's body, or an error that says what was answered instead. */
export function expectOk({ status, body }: Answer): Record<string, unknown> {
  if (status === 200 && body) return body;
  throw new Error(`answered ${status}: ${JSON.stringify(body)}`);
}

// Numbers and tables

/** Collects durations in milliseconds by name. */
export class Stopwatch {
  readonly #times = new Map<string, number[]>();

  add(name: string, milliseconds: number): void {
    const times = this.#times.get(name);
    if (times) times.push(milliseconds);
    else this.#times.set(name, [milliseconds]);
  }

  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    const result = await work();
    this.add(name, performance.now() - begun);
    return result;
  }

  /** `p50 / p99` in milliseconds; a dash when nothing was measured. */
  show(name: string): string {
    const times = this.#times.get(name);
    if (!times) return "–";
    return `${percentile(times, 50).toFixed(1)} / ${percentile(times, 99).toFixed(1)}`;
  }

  get(name: string): number[] {
    return this.#times.get(name) ?? [];
  }
}

/** The value that so many percent do not exceed (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

/** Prints rows as a Markdown table; the first one's keys are its head. */
export function printTable(rows: Record<string, string | number>[]): void {
  const columns = Object.keys(rows[0] ?? {});
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? "")))];
  const widths = columns.map((_, index) => Math.max(3, ...cells.map((line) => line[index]?.length ?? 0)));
  const isNumeric = (index: number) =>
    rows.every((row) => /^[\d.,–% /-]*$/.test(String(row[columns[index] ?? ""])));
  const line = (values: string[]) =>
    `| ${values.map((value, index) => (isNumeric(index) ? value.padStart(widths[index] ?? 0) : value.padEnd(widths[index] ?? 0))).join(" | ")} |`;
  const rule = widths.map((width, index) =>
    isNumeric(index) ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
  );
  const [head = [], ...body] = cells;
  console.log(["", line(head), `| ${rule.join(" | ")} |`, ...body.map(line), ""].join("\n"));
}

async function printMachine(sql: Sql, folder: string): Promise<void> {
  const [server] = await sql<{ version: string; settings: string }[]>`
    select current_setting('server_version') as version,
           (select string_agg(name || '=' || current_setting(name), ', ' order by name) from pg_settings
             where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'wal_sync_method',
                            'shared_buffers', 'max_wal_size', 'jit', 'autovacuum', 'track_functions',
                            'shared_preload_libraries')) as settings`;
  const processors = cpus();
  const commit = execFileSync("git", ["describe", "--always", "--exclude=*", "--dirty=, changed since"], {
    cwd: projectPath(""),
  });
  console.log(`
- ${new Date().toISOString().slice(0, 16)}Z, commit ${commit.toString().trim()}
- ${processors.length} × ${processors[0]?.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB memory, ${process.platform}
- data on ${await fileSystem(folder)}, ${await syncMilliseconds(folder)} ms for writing 8 kB and fsync (median)
- Node ${process.version}, PostgreSQL ${server?.version}
- ${server?.settings}`);
}

async function fileSystem(folder: string): Promise<string> {
  // From the kernel's table of magic numbers: those where a sync may cost nothing should be told apart.
  const names: Record<number, string> = {
    0x01021994: "tmpfs (memory: a sync costs nothing)",
    0x794c7630: "overlayfs",
    0xef53: "ext4",
    0x58465342: "xfs",
    0x9123683e: "btrfs",
  };
  const { type } = await statfs(folder);
  return names[type] ?? `file system 0x${type.toString(16)}`;
}

/** Durable commits are never faster than this. */
async function syncMilliseconds(folder: string): Promise<string> {
  const file = await open(path.join(folder, "sync"), "w");
  const page = Buffer.alloc(8192, 1);
  const watch = new Stopwatch();
  for (let round = 0; round < 100; round++) {
    await watch.time("sync", async () => {
      await file.write(page, 0, page.length, 0);
      await file.datasync();
    });
  }
  await file.close();
  return percentile(watch.get("sync"), 50).toFixed(2);
}
