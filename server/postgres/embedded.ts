import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import {
  ConnectionError,
  DatabaseError,
} from "../../supabase/functions/_shared/database/connection-error.ts";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { readText, syncFolder, writeDurably } from "../durable-file.ts";
import type { FolderLock } from "../folder-lock.ts";
import { program } from "./binaries.ts";
import { codeOf } from "./error-code.ts";
import { claimCluster, exists, giveTo, noteOfPlace, type Placement, place, writeNote } from "./placement.ts";

export interface EmbeddedPostgresOptions {
  /** Data folder. What must outlive a restart beside it (password, port) is in `<directory>.json`. */
  directory: string;
  /**
   * Of the folder that `directory` is in. It is asked for because a server that runs in `directory` is then nobody
   * else's: one that a killed process left behind, which is ended.
   */
  lock: FolderLock;
  /** Without one: the port of the last time, else any free port. */
  port?: number | undefined;
  /** Server settings over our own, e.g. `{ fsync: "off" }`. */
  settings?: Record<string, string>;
  log: Logger;
  /** Ends a start that is no longer wanted; what was started is stopped before the start fails. */
  signal?: AbortSignal | undefined;
}

export interface EmbeddedPostgres {
  url: string;
  port: number;
  /** Where the data really is: elsewhere than asked for when root asked for a folder that only root can reach. */
  directory: string;
  /** Lets the server end in order; at once (nothing committed is lost) when the signal comes. */
  stop(signal?: AbortSignal): Promise<void>;
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
}

/** How long a start that is no longer wanted goes on: until the server has written its pid file, and can be stopped. */
const startMilliseconds = 1_000;
/** How long a server that is told to end at once may take before it is killed. */
const immediateMilliseconds = 300;

/** Starts the PostgreSQL that comes with the packages, on data that it makes on first start. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log, signal } = options;
  const directory = path.resolve(options.directory);
  const { directory: locked } = options.lock;
  if (path.resolve(locked) !== path.dirname(directory))
    throw new Error(`The lock is on ${locked}, not on the folder of ${directory}.`);
  const placement = await place(directory);
  const { cluster } = placement;
  if (cluster !== placement.directory && (await exists(path.join(directory, "PG_VERSION")))) {
    throw new Error(
      placement.isNoted
        ? `There is a database in ${directory}, and ${noteOfPlace} beside it says that it is in ${cluster}. ` +
            "Move away the one that is not right: the files of the database, or the note."
        : `The database in ${directory} cannot be started by root: the system user that runs PostgreSQL cannot reach it. ` +
            "Start Darkroom as the user who owns the folder, or let everyone pass the folders above it (chmod a+x).",
    );
  }
  const memory = `${directory}.json`;
  const known = await recall(memory);
  const hasCluster = await checkCluster(placement, directory, known);
  // Before anything is done to a server: it may be that of another folder.
  if (hasCluster) await claimCluster(placement);
  await endOrphan(placement, log);
  const remembered: Remembered = known ?? { password: randomBytes(24).toString("hex") };
  // Before the cluster: one whose password nobody knows is of no use.
  if (!known) await writeDurably(memory, textOf(remembered));
  if (!hasCluster) {
    await writeNote(placement);
    await initialise(options, placement, remembered.password);
    await claimCluster(placement);
    log.info({ directory: cluster }, "database cluster created");
  }

  try {
    let port = await choosePort(options.port, remembered.port);
    for (let attempt = 1; ; attempt++) {
      await configure(placement, { ...defaultSettings, ...options.settings, port: String(port) });
      try {
        await run(placement, signal);
        break;
      } catch (error) {
        // Somebody may have taken the port since, or a killed server's last processes still hold its memory.
        if (attempt === 5 || signal?.aborted || error instanceof DamagedCluster) throw error;
        log.warn({ err: error, attempt }, "PostgreSQL did not start; trying again");
        await pause(attempt * 500, undefined, signal ? { signal } : {});
        port = await choosePort(options.port, undefined);
      }
    }
    const url = addressOf(remembered.password, port);
    await waitUntilReady(url, placement, memory, signal);
    // For the next start, which then has the same address.
    if (port !== remembered.port) await writeDurably(memory, textOf({ ...remembered, port }));
    log.info({ port, directory: cluster }, "PostgreSQL runs");

    const supervision = supervise(placement, log);
    return {
      url,
      port,
      directory: cluster,
      async stop(urgent) {
        // A restart that hangs must not keep the server from being stopped.
        await Promise.race([supervision.end(), ...(urgent ? [aborted(urgent)] : [])]);
        await stopServer(placement, urgent);
      },
    };
  } catch (error) {
    // Whatever failed: nobody else would stop the server.
    await stopServer(placement, signal?.aborted ? signal : undefined).catch((failure: unknown) =>
      log.error({ err: failure }, "the server of a start that failed did not stop"),
    );
    throw error;
  }
}

function addressOf(password: string, port: number): string {
  return `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
}

/** The address of the server that runs on a data folder; undefined when none runs there. */
export async function runningDatabase(folder: string): Promise<string | undefined> {
  const directory = path.resolve(folder);
  const known = await recall(`${directory}.json`);
  if (known?.port === undefined) return undefined;
  const pid = await readPidFile((await place(directory)).cluster);
  if (typeof pid !== "number" || !(await isPostgres(pid))) return undefined;
  return addressOf(known.password, known.port);
}

async function recall(memory: string): Promise<Remembered | undefined> {
  const text = await readText(memory);
  if (text === undefined) return undefined;
  const { password, port } = parsed(text) ?? {};
  if (typeof password !== "string" || password === "") {
    throw new Error(
      `${memory} is damaged. It holds the only password of the database beside it. ` +
        "Restore the file from a backup, or set a new password: docs/operations.md, “A lost password”.",
    );
  }
  return { password, ...(typeof port === "number" && { port }) };
}

function parsed(text: string): { password?: unknown; port?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function textOf(remembered: Remembered): string {
  return JSON.stringify(remembered, null, 2);
}

/** Whether there is a cluster. Fails on what a start must not touch: whatever it is, we did not just make it. */
async function checkCluster(
  { cluster, directory: real, isNoted }: Placement,
  directory: string,
  known: Remembered | undefined,
): Promise<boolean> {
  const names = await readdir(cluster).catch((error: unknown): string[] => {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  });
  if (names.length === 0) {
    // The port is remembered when the server has run, the note is written after the password.
    if (known?.port === undefined && (known || !isNoted)) return false;
    const note = path.join(directory, noteOfPlace);
    const found = isNoted
      ? `${note} names ${cluster}, and that folder is missing or empty`
      : `${directory} is missing or empty${cluster === real ? "" : `, and so is ${note}, which says where root put a database`}`;
    throw new Error(
      `There was a database, and it cannot be found: ${found}. Nothing was changed. ` +
        "Mount or restore the folder (docs/operations.md, “When a data folder does not start”), " +
        `or move ${directory} and ${directory}.json away to begin with an empty database.`,
    );
  }
  if (names.includes(noteOfPlace)) {
    throw new Error(
      `The database of ${cluster} is elsewhere, because root made it: ${path.join(cluster, noteOfPlace)} says where. ` +
        "Start Darkroom as root again, or move the database here.",
    );
  }
  if (!names.includes("PG_VERSION")) {
    throw new Error(
      `${cluster} is not empty and is no complete database: PG_VERSION is missing. Nothing was changed. ` +
        `Restore the folder from a backup, or move it and ${directory}.json away to begin with an empty database.`,
    );
  }
  if (!known) {
    throw new Error(
      `The database in ${cluster} exists, but its password is lost: ${directory}.json is missing. Nothing was changed. ` +
        "Restore the file from a backup, set a new password (docs/operations.md, “A lost password”), " +
        "or move the database away to begin with an empty one.",
    );
  }
  return true;
}

/**
 * Makes the cluster in a folder of this start's own and moves it when it is complete: what an interrupted start leaves
 * is never taken for a cluster.
 */
async function initialise(
  { settings, log, signal }: EmbeddedPostgresOptions,
  placement: Placement,
  password: string,
): Promise<void> {
  const { cluster, user } = placement;
  const parent = path.dirname(cluster);
  await mkdir(parent, { recursive: true });
  const prefix = `${path.basename(cluster)}.new-`;
  const left = (await readdir(parent)).filter((name) => name.startsWith(prefix));
  // They are a killed start's, most likely. Only what this start made is removed.
  for (const name of left)
    log.warn(
      { directory: path.join(parent, name) },
      "an interrupted first start left a folder; it may be deleted",
    );
  const own = await mkdtemp(path.join(parent, prefix));
  try {
    const unfinished = path.join(own, "cluster");
    const passwordFile = path.join(own, "password");
    await mkdir(unfinished, { mode: 0o700 });
    await writeFile(passwordFile, password, { mode: 0o600 });
    for (const file of [own, unfinished, passwordFile]) await giveTo(user, file);
    const flags = [
      `--pgdata=${unfinished}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      // The same order of text on every platform.
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      ...(settings?.["fsync"] === "off" ? ["--no-sync"] : []),
    ];
    await execute(placement, "initdb", flags, signal);
    await appendFile(path.join(unfinished, "postgresql.conf"), "\ninclude_if_exists = 'darkroom.conf'\n");
    // A folder of the same name may stand there empty; one that is not is left alone.
    await rmdir(cluster).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
    await rename(unfinished, cluster);
    await syncFolder(parent);
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

async function configure({ cluster }: Placement, settings: Record<string, string>): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
  const text = `# Written by Darkroom when it starts; settings of your own belong in postgresql.auto.conf.\n${lines.join("\n")}\n`;
  const file = path.join(cluster, "darkroom.conf");
  if ((await readText(file)) === text) return;
  await writeFile(file, text, { mode: 0o644 });
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

/** A file of the cluster is damaged: another try would fail the same way. */
class DamagedCluster extends Error {}
const damageInLog =
  /PG_VERSION|pg_control|control file|is not a valid data directory|incompatible with server/;

async function run(placement: Placement, signal?: AbortSignal): Promise<void> {
  const { cluster } = placement;
  const pidFile = path.join(cluster, "postmaster.pid");
  if ((await readPidFile(cluster)) === "damaged") {
    throw new DamagedCluster(
      `PostgreSQL cannot start: ${pidFile} is empty or damaged, as after a power failure. ` +
        "Make sure that no PostgreSQL works in this folder, delete that file, and start again.",
    );
  }
  const serverLog = path.join(cluster, "server.log");
  await writeFile(serverLog, "");
  await giveTo(placement.user, serverLog);
  try {
    // pg_ctl rather than the server itself: it detaches the server from our terminal, so that Ctrl-C reaches
    // us alone and we stop in order, and it gives up an administrator's rights on Windows.
    const flags = ["start", "-D", cluster, "-l", serverLog, "-w", "-t", "120"];
    await execute(placement, "pg_ctl", flags, signal, startMilliseconds);
  } catch (error) {
    signal?.throwIfAborted();
    const logged = (await readFile(serverLog, "utf8")).trim();
    const reason = logged || (error instanceof Error ? error.message : String(error));
    const message = `PostgreSQL did not start in ${cluster}: ${reason}`;
    throw damageInLog.test(reason)
      ? new DamagedCluster(message, { cause: error })
      : new Error(message, { cause: error });
  }
}

async function waitUntilReady(
  url: string,
  { cluster }: Placement,
  memory: string,
  signal?: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const sql = openPool({ url, name: "darkroom-start", connections: 1 });
    try {
      await sql`select 1`;
      return;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      const refusal = error instanceof ConnectionError ? error.cause : error;
      const code = refusal instanceof DatabaseError ? refusal.code : undefined;
      if (code === "28P01") {
        throw new Error(
          `${memory} does not hold the password of the database in ${cluster} (${reason}). Restore the file from a backup, ` +
            "or set a new password: docs/operations.md, “A lost password”.",
          { cause: error },
        );
      }
      // What it answers while it starts, or has no place for us, passes; another refusal does not.
      if (attempt === 100 || (code !== undefined && !/^(57P|53)/.test(code)))
        throw new Error(`PostgreSQL runs in ${cluster} and does not serve: ${reason}`, { cause: error });
      await pause(100);
    } finally {
      await sql.end();
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
    const pid = await serverPid(placement);
    if (pid !== undefined) return;
    log.error({ directory: placement.cluster }, "PostgreSQL is gone; starting it again");
    await clearRemains(placement);
    await run(placement);
    log.info({}, "PostgreSQL runs again");
  } catch (error) {
    log.error({ err: error }, "PostgreSQL could not be started again");
  }
}

/** Ends a server that an earlier, killed process left behind. */
async function endOrphan(placement: Placement, log: Logger): Promise<void> {
  const pid = await serverPid(placement);
  if (pid === undefined) {
    if ((await readPidFile(placement.cluster)) !== undefined) await clearRemains(placement);
    return;
  }
  log.warn({ pid }, "ending the PostgreSQL that a killed process left behind");
  await stopServer(placement);
}

/** Makes way for a new server where one was killed. */
async function clearRemains({ cluster }: Placement): Promise<void> {
  const pid = await readPidFile(cluster);
  // It does not say whether its server lives. The start that follows is refused, and says why.
  if (pid === "damaged") return;
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
  const real = await realpath(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // Other users' processes, and those that have just ended, do not tell.
    const workplace = await readlink(`/proc/${name}/cwd`).catch(() => undefined);
    if (workplace === real && (await isPostgres(Number(name)))) found.push(Number(name));
  }
  return found;
}

async function stopServer(placement: Placement, urgent?: AbortSignal): Promise<void> {
  const pid = await serverPid(placement);
  if (pid === undefined) return;
  const stop = (mode: string, signal?: AbortSignal) =>
    execute(placement, "pg_ctl", ["stop", "-D", placement.cluster, "-m", mode, "-w", "-t", "30"], signal);
  try {
    await stop("fast", urgent);
  } catch (error) {
    if (urgent?.aborted) await endAtOnce(placement, pid);
    // Stuck: nothing that was committed is lost by this, the next start takes longer. Else it died meanwhile.
    else if ((await serverPid(placement)) === pid) await stop("immediate");
    else if (codeOf(error) !== undefined) throw error;
  }
}

/** Without waiting for anything. What was committed is in the write-ahead log: the next start recovers it. */
async function endAtOnce(placement: Placement, pid: number): Promise<void> {
  signalServer(pid, "SIGQUIT");
  for (const end = performance.now() + immediateMilliseconds; performance.now() < end; await pause(20))
    if ((await serverPid(placement)) !== pid) return;
  for (const remaining of [pid, ...(await processesIn(placement.cluster))])
    signalServer(remaining, "SIGKILL");
}

function signalServer(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** The server that runs in the folder. */
async function serverPid({ cluster }: Placement): Promise<number | undefined> {
  const pid = await readPidFile(cluster);
  return typeof pid === "number" && (await isServerOf(cluster, pid)) ? pid : undefined;
}

async function readPidFile(cluster: string): Promise<number | "damaged" | undefined> {
  const text = await readText(path.join(cluster, "postmaster.pid"));
  if (text === undefined) return undefined;
  const pid = Number.parseInt(text, 10);
  return Number.isNaN(pid) ? "damaged" : Math.abs(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/** Whether this is a server process that lives, not a stranger with its number, nor dead and unreaped. */
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

/** Whether it is also this folder's, and not another PostgreSQL that has the number since a reboot. */
async function isServerOf(cluster: string, pid: number): Promise<boolean> {
  if (!(await isPostgres(pid))) return false;
  if (process.platform === "win32") return true;
  if (process.platform === "linux") {
    const workplace = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    if (workplace !== undefined) return workplace === (await realpath(cluster));
    // Root in a container may not look, but may read the command.
    return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).includes(cluster);
  }
  // pg_ctl starts it with the folder as an argument.
  return (await output("ps", ["-p", String(pid), "-o", "command="])).includes(cluster);
}

async function execute(
  placement: Placement,
  name: "initdb" | "pg_ctl",
  args: string[],
  signal?: AbortSignal,
  delay?: number,
): Promise<void> {
  await output(program(placement.binaries, name), args, placement, signal, delay);
}

/**
 * Runs a program to its end, or until the signal and the delay after it; what it printed. A server that it leaves
 * behind must not hold our pipes open.
 */
async function output(
  command: string,
  args: string[],
  placement?: Placement,
  signal?: AbortSignal,
  delay = 0,
): Promise<string> {
  signal?.throwIfAborted();
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
  let ending: NodeJS.Timeout | undefined;
  const cancel = () => (ending = setTimeout(() => endGroup(child), delay));
  signal?.addEventListener("abort", cancel);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
    child.once("exit", (code) => setTimeout(resolve, 500, code));
  });
  signal?.removeEventListener("abort", cancel);
  clearTimeout(ending);
  child.stdout.destroy();
  child.stderr.destroy();
  signal?.throwIfAborted();
  if (status !== 0) throw new Error(`${path.basename(command)} failed (${status}): ${text.trim()}`);
  return text;
}

/** Ends a program and what it started, as initdb starts PostgreSQL. */
function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  if (process.platform === "win32") child.kill();
  else signalServer(-child.pid, "SIGTERM");
}
