import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import postgres from "postgres";
import { program } from "./binaries.ts";
import { codeOf } from "./error-code.ts";
import { exists, giveTo, type Placement, place } from "./placement.ts";

export interface EmbeddedPostgresOptions {
  /** Data folder. What must outlive a restart beside it (password, port) is in `<directory>.json`. */
  directory: string;
  /** Without one: the port of the last time, else any free port. */
  port?: number | undefined;
  /** Server settings over our own, e.g. `{ fsync: "off" }`. */
  settings?: Record<string, string>;
  log: Logger;
}

export interface EmbeddedPostgres {
  url: string;
  port: number;
  /** Where the data really is: elsewhere than asked for when root asked for a folder that only root can reach. */
  directory: string;
  stop(): Promise<void>;
}

const defaultSettings: Record<string, string> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "200",
  shared_buffers: "128MB",
  wal_level: "logical",
  max_replication_slots: "50",
  max_wal_senders: "50",
  // A forgotten slot must not fill the disk.
  max_slot_wal_keep_size: "4GB",
  max_wal_size: "2GB",
  random_page_cost: "1.1",
  // Compiling costs more than our short queries take.
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  // Below errors: a refused call is an SQL error, is no news, and would fill the disk.
  log_min_messages: "log",
  log_checkpoints: "off",
};

/** Survives restarts in `<directory>.json`, readable by us alone. */
interface Remembered {
  password: string;
  port?: number;
  /** Process that started the server last: the server is an orphan when this one is gone. */
  startedBy?: number;
}

/** Starts the PostgreSQL that comes with the packages, on data that it makes on first start. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log } = options;
  const directory = path.resolve(options.directory);
  const placement = await place(directory);
  const memory = `${directory}.json`;
  const known = await recall(memory);
  await endOrphan(placement, known?.startedBy, log);
  const remembered = known ?? (await beginAnew(memory, placement.cluster, directory, log));
  if (!(await exists(path.join(placement.cluster, "PG_VERSION")))) {
    await initialise(placement, remembered.password, options.settings?.["fsync"] !== "off");
    log.info({ directory: placement.cluster }, "database cluster created");
  }

  let port = await choosePort(options.port, remembered.port);
  for (let attempt = 1; ; attempt++) {
    await remember(memory, { password: remembered.password, port, startedBy: process.pid });
    await configure(placement, { ...defaultSettings, ...options.settings, port: String(port) });
    try {
      await run(placement);
      break;
    } catch (error) {
      // Somebody may have taken the port since, or a killed server's last processes still hold its memory.
      if (attempt === 5) throw error;
      log.warn({ err: error, attempt }, "PostgreSQL did not start; trying again");
      await pause(attempt * 500);
      port = await choosePort(options.port, undefined);
    }
  }

  const url = addressOf(remembered.password, port);
  await waitUntilReady(url);
  log.info({ port, directory: placement.cluster }, "PostgreSQL runs");

  const supervision = supervise(placement, log);
  return {
    url,
    port,
    directory: placement.cluster,
    async stop() {
      await supervision.end();
      await stopServer(placement);
    },
  };
}

function addressOf(password: string, port: number): string {
  return `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
}

/** The address of the server that runs on a data folder; undefined when none runs there. */
export async function runningDatabase(folder: string): Promise<string | undefined> {
  const directory = path.resolve(folder);
  const known = await recall(`${directory}.json`);
  if (known?.port === undefined) return undefined;
  const pid = await postmasterPid((await place(directory)).cluster);
  if (pid === undefined || !(await isPostgres(pid))) return undefined;
  return addressOf(known.password, known.port);
}

async function recall(memory: string): Promise<Remembered | undefined> {
  try {
    return JSON.parse(await readFile(memory, "utf8")) as Remembered;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function beginAnew(
  memory: string,
  cluster: string,
  directory: string,
  log: Logger,
): Promise<Remembered> {
  if (await exists(path.join(cluster, "PG_VERSION"))) {
    if (cluster === directory) {
      throw new Error(`The database in ${cluster} exists, but its password is lost: ${memory} is missing.`);
    }
    // Somebody removed the folder that was asked for; that the data is elsewhere, they need not have known.
    const aside = `${cluster}.removed-${Date.now()}`;
    await rename(cluster, aside);
    log.warn({ aside }, "the data folder was removed; its database is set aside, and a new one begins");
  }
  const remembered: Remembered = { password: randomBytes(24).toString("hex") };
  await mkdir(path.dirname(memory), { recursive: true });
  await remember(memory, remembered);
  return remembered;
}

async function remember(memory: string, remembered: Remembered): Promise<void> {
  await writeFile(`${memory}.new`, JSON.stringify(remembered, null, 2), { mode: 0o600 });
  await rename(`${memory}.new`, memory);
}

/** Makes the cluster under another name first: what an interrupted start leaves is never taken for a cluster. */
async function initialise(placement: Placement, password: string, sync: boolean): Promise<void> {
  const { cluster, user } = placement;
  const unfinished = `${cluster}.new`;
  const passwordFile = `${cluster}.pwfile`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true, mode: 0o700 });
  await giveTo(user, unfinished);
  await writeFile(passwordFile, password, { mode: 0o600 });
  await giveTo(user, passwordFile);
  try {
    await execute(placement, "initdb", [
      `--pgdata=${unfinished}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      // The same order of text on every platform.
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      ...(sync ? [] : ["--no-sync"]),
    ]);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await appendFile(path.join(unfinished, "postgresql.conf"), "\ninclude_if_exists = 'darkroom.conf'\n");
  // A folder of the same name may stand there empty.
  await rm(cluster, { recursive: true, force: true });
  await rename(unfinished, cluster);
}

async function configure({ cluster }: Placement, settings: Record<string, string>): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
  await writeFile(
    path.join(cluster, "darkroom.conf"),
    `# Written anew at every start; settings of your own belong in postgresql.auto.conf.\n${lines.join("\n")}\n`,
    { mode: 0o644 },
  );
}

async function choosePort(wanted: number | undefined, last: number | undefined): Promise<number> {
  if (wanted !== undefined && wanted !== 0) {
    if (await isFree(wanted)) return wanted;
    throw new Error(`Port ${wanted} for PostgreSQL is taken.`);
  }
  return last !== undefined && (await isFree(last)) ? last : await freePort();
}

async function isFree(port: number): Promise<boolean> {
  return await freePort(port).then(
    () => true,
    () => false,
  );
}

function freePort(port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1" }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : port));
    });
  });
}

async function run(placement: Placement): Promise<void> {
  const serverLog = path.join(placement.cluster, "server.log");
  await writeFile(serverLog, "");
  await giveTo(placement.user, serverLog);
  try {
    // pg_ctl rather than the server itself: it detaches the server from our terminal, so that Ctrl-C reaches
    // us alone and we stop in order, and it gives up an administrator's rights on Windows.
    await execute(placement, "pg_ctl", [
      "start",
      "-D",
      placement.cluster,
      "-l",
      serverLog,
      "-w",
      "-t",
      "120",
    ]);
  } catch (error) {
    throw new Error(`PostgreSQL did not start: ${(await readFile(serverLog, "utf8")).trim()}`, {
      cause: error,
    });
  }
}

async function waitUntilReady(url: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => undefined });
    try {
      await sql`select 1`;
      return;
    } catch (error) {
      if (attempt === 100) throw error;
      await pause(100);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

/** Starts the server again, on the same port, when it dies under us (out of memory, killed). */
function supervise(placement: Placement, log: Logger): { end(): Promise<void> } {
  let busy: Promise<void> | undefined;
  const timer = setInterval(() => {
    busy ??= restartIfGone(placement, log).finally(() => (busy = undefined));
  }, 1000);
  timer.unref();
  return {
    async end() {
      clearInterval(timer);
      await busy;
    },
  };
}

async function restartIfGone(placement: Placement, log: Logger): Promise<void> {
  try {
    const pid = await postmasterPid(placement.cluster);
    if (pid !== undefined && (await isPostgres(pid))) return;
    log.error({ pid }, "PostgreSQL is gone; starting it again");
    await clearRemains(placement.cluster, pid);
    await run(placement);
    log.info({}, "PostgreSQL runs again");
  } catch (error) {
    log.error({ err: error }, "PostgreSQL could not be started again");
  }
}

/** Ends a server that an earlier, killed process left behind. */
async function endOrphan(placement: Placement, startedBy: number | undefined, log: Logger): Promise<void> {
  const pid = await postmasterPid(placement.cluster);
  if (pid === undefined) return;
  if (!(await isPostgres(pid))) {
    await clearRemains(placement.cluster, pid);
    return;
  }
  if (startedBy !== undefined && startedBy !== process.pid && isAlive(startedBy)) {
    throw new Error(`The database in ${placement.cluster} is in use by process ${startedBy}.`);
  }
  log.warn({ pid }, "ending the PostgreSQL that a killed process left behind");
  await stopServer(placement);
}

/** Makes way for a new server where one was killed. */
async function clearRemains(cluster: string, pid: number | undefined): Promise<void> {
  // A backend in the midst of a query does not notice that its server died, and would keep the next from starting.
  for (const remaining of await processesIn(cluster))
    if (isAlive(remaining)) process.kill(remaining, "SIGKILL");
  // PostgreSQL clears the pid file of a dead process itself, but not when the number is another's by now (after
  // a reboot, in a new container) or waits to be reaped (where the first process of a container does not).
  if (pid !== undefined && isAlive(pid)) await rm(path.join(cluster, "postmaster.pid"), { force: true });
}

/** Processes that work in the folder, as all of a server's do. Linux alone tells, and alone needs to. */
async function processesIn(folder: string): Promise<number[]> {
  if (process.platform !== "linux") return [];
  const real = await realpath(folder);
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // Other users' processes, and those that have just ended, do not tell.
    const workplace = await readlink(`/proc/${name}/cwd`).catch(() => undefined);
    if (workplace === real && (await isPostgres(Number(name)))) found.push(Number(name));
  }
  return found;
}

async function stopServer(placement: Placement): Promise<void> {
  const pid = await postmasterPid(placement.cluster);
  if (pid === undefined || !(await isPostgres(pid))) return;
  const stop = (mode: string) =>
    execute(placement, "pg_ctl", ["stop", "-D", placement.cluster, "-m", mode, "-w", "-t", "30"]);
  try {
    await stop("fast");
  } catch (error) {
    // Stuck: nothing that was committed is lost by this, the next start takes longer. Else it died meanwhile.
    if (await isPostgres(pid)) await stop("immediate");
    else if (codeOf(error) !== undefined) throw error;
  }
}

async function postmasterPid(cluster: string): Promise<number | undefined> {
  try {
    const pid = Number.parseInt(await readFile(path.join(cluster, "postmaster.pid"), "utf8"), 10);
    return Number.isNaN(pid) ? undefined : Math.abs(pid);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/** Whether this is a living server process, not a stranger with its number, nor dead and unreaped. */
async function isPostgres(pid: number): Promise<boolean> {
  if (!isAlive(pid)) return false;
  if (process.platform === "linux") {
    const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    return /^\d+ \(postgres\) [^ZX]/.test(status);
  }
  const list =
    process.platform === "win32"
      ? await output("tasklist", ["/FI", `PID eq ${pid}`, "/NH"])
      : await output("ps", ["-p", String(pid), "-o", "comm="]);
  return list.toLowerCase().includes("postgres");
}

async function execute(placement: Placement, name: "initdb" | "pg_ctl", args: string[]): Promise<void> {
  await output(program(placement.binaries, name), args, placement);
}

/** Runs a program to its end; what it printed. A server that it leaves behind must not hold our pipes open. */
async function output(command: string, args: string[], placement?: Placement): Promise<string> {
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith("PG"));
  const child = spawn(command, args, {
    env: {
      ...Object.fromEntries(environment),
      LC_ALL: "C",
      // A backend keeps the memory of one statement for the next, where glibc would give it back and fetch it again.
      MALLOC_TRIM_THRESHOLD_: "16777216",
      MALLOC_TOP_PAD_: "1048576",
    },
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
    // Ctrl-C is for us: what we started is let finish, and then stopped in order. (On Windows, a console.)
    detached: process.platform !== "win32",
    ...(placement ? { cwd: path.dirname(placement.cluster), ...placement.user } : {}),
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
    child.once("exit", (code) => setTimeout(resolve, 500, code));
  });
  child.stdout.destroy();
  child.stderr.destroy();
  if (status !== 0) throw new Error(`${path.basename(command)} failed (${status}): ${text.trim()}`);
  return text;
}
