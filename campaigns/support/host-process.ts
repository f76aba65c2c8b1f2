/** The standalone host as its users start it: a process of its own, known by its address and its process id. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { pino } from "pino";
import { projectPath } from "../../server/migrate.ts";
import { lockFolder } from "../../server/folder-lock.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import type { CampaignSettings } from "./campaign.ts";

export interface HostKeys {
  API_URL: string;
  DB_URL: string;
  SERVICE_ROLE_KEY: string;
  SECRET_KEY: string;
  PUBLISHABLE_KEY: string;
  JWT_SECRET: string;
}

/** An end of the host that the campaign did not ask for. */
export interface UnexpectedExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  reason: string;
}

export interface HostProcessOptions {
  data: string;
  environment?: Record<string, string>;
  /** Default: a free one. */
  port?: number;
}

const startLimitMilliseconds = 60_000;
/** Seconds for which a living process may refuse connections before it counts as ended: longer than stopping may take. */
const refusalLimit = 12;
/** After a host that ended by itself: each that fails is an exit of its own. */
const mostStarts = 5;

export class HostProcess {
  readonly data: string;
  readonly port: number;
  readonly url: string;
  readonly unexpectedExits: UnexpectedExit[] = [];
  keys!: HostKeys;
  /** Set when the campaign does not want a host that has ended to be started again. */
  isLeftDown = false;
  /** Whether it has started and not ended since; what it answers is another question. */
  isUp = false;
  readonly #environment: Record<string, string>;
  #child: ChildProcess | undefined;
  #isExpectedToEnd = false;
  #starting: Promise<void> = Promise.resolve();

  private constructor(options: HostProcessOptions, port: number) {
    this.data = options.data;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#environment = options.environment ?? {};
  }

  static async start(options: HostProcessOptions, settings: CampaignSettings): Promise<HostProcess> {
    if (settings.template !== undefined && options.environment?.["DATABASE_URL"] === undefined) {
      await copyCluster(settings.template, path.join(options.data, "postgres"));
    }
    const host = new HostProcess(options, options.port ?? (await freePort()));
    settings.atEnd(() => host.end());
    await host.start();
    return host;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get logFile(): string {
    return `${this.data}.host.log`;
  }

  /** Starts the process and waits until it serves. */
  async start(): Promise<void> {
    this.#starting = this.#start();
    await this.#starting;
  }

  async #start(): Promise<void> {
    if (this.isLeftDown) throw new Error("The host is to stay down.");
    this.#isExpectedToEnd = false;
    await rm(path.join(this.data, "running.json"), { force: true });
    const log = await open(this.logFile, "a");
    const logBegins = (await log.stat()).size;
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|SUPABASE_|DARKROOM_|DATABASE_URL|PORT$|HOST$)/i.test(name),
    );
    const child = spawn(
      process.execPath,
      ["--import", "tsx", "server/cli.ts", "start", "--port", String(this.port), "--data", this.data],
      {
        cwd: projectPath(""),
        env: { ...Object.fromEntries(inherited), DARKROOM_WORKER: "off", ...this.#environment },
        stdio: ["ignore", log.fd, log.fd],
        // Ctrl-C is for the campaign, which then stops the host in order.
        detached: true,
      },
    );
    this.#child = child;
    await once(child, "spawn");
    await log.close();
    const deadline = Date.now() + startLimitMilliseconds;
    for (;;) {
      if (hasEnded(child)) throw new Error(`The host did not start: ${await this.#lastWords(logBegins)}`);
      const record = await readFile(path.join(this.data, "running.json"), "utf8").catch(() => "");
      if (record.endsWith("}") && (await this.#isReady())) {
        this.keys = (JSON.parse(record) as { status: HostKeys }).status;
        break;
      }
      if (Date.now() > deadline) throw new Error("The host started and was not ready within 60 s.");
      await pause(20);
    }
    this.isUp = true;
    this.#watch(child);
    const ended = () => void this.#ended(child, logBegins);
    if (hasEnded(child)) ended();
    else child.once("exit", ended);
  }

  /** The moment at which the host answers its first request is what restarts are measured by. */
  async #isReady(): Promise<boolean> {
    return await fetch(`${this.url}/ready`, { signal: AbortSignal.timeout(5_000) }).then(
      (response) => response.ok,
      () => false,
    );
  }

  /** Ends a host that has closed its port by itself and then neither serves nor ends. */
  #watch(child: ChildProcess): void {
    let refusals = 0;
    const timer = setInterval(() => {
      if (hasEnded(child) || this.#isExpectedToEnd) return clearInterval(timer);
      const socket = connect(this.port, "127.0.0.1");
      socket.once("connect", () => {
        refusals = 0;
        socket.destroy();
      });
      socket.once("error", () => {
        if (++refusals === refusalLimit) child.kill("SIGKILL");
      });
    }, 1_000);
    timer.unref();
  }

  async #ended(child: ChildProcess, logBegins: number): Promise<void> {
    this.isUp = false;
    if (this.#isExpectedToEnd) return;
    const { exitCode: code, signalCode: signal } = child;
    this.#starting = (async () => {
      this.unexpectedExits.push({ code, signal, reason: await this.#lastWords(logBegins) });
      for (let attempt = 1; !this.isLeftDown; attempt++) {
        try {
          return await this.#start();
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          this.unexpectedExits.push({ code: this.#child?.exitCode ?? null, signal: null, reason });
          await end(this.#child, "SIGKILL", 5_000);
          if (attempt === mostStarts) throw error;
        }
      }
    })();
    // Told to whoever waits for the start.
    await this.#starting.catch(() => undefined);
  }

  /** The fatal line of the log, else its last one. */
  async #lastWords(from: number): Promise<string> {
    const text = (await readFile(this.logFile)).subarray(from).toString("utf8").trim();
    const lines = text.split("\n");
    const fatal = lines.findLast((line) => line.includes('"level":60'));
    if (fatal === undefined) return (lines.at(-1) ?? "").slice(0, 300);
    const { err, msg } = JSON.parse(fatal) as { err?: { message: string; stack?: string }; msg?: string };
    const place = /at (.*)/.exec(err?.stack ?? "")?.[1] ?? "";
    return `${err?.message ?? msg ?? ""} (${place.replaceAll(/\S*\/node_modules\//g, "").slice(0, 120)})`;
  }

  /** Waits for a start that is under way, after the host has ended by itself. */
  async settled(): Promise<void> {
    await this.#starting;
  }

  async kill(): Promise<void> {
    await this.settled();
    this.#isExpectedToEnd = true;
    await end(this.#child, "SIGKILL", 5_000);
  }

  /** Stops the host in order. Answers how long that took; Infinity when it had to be killed. */
  async stop(limitMilliseconds = 15_000): Promise<{ milliseconds: number; code: number | null }> {
    await this.settled();
    this.#isExpectedToEnd = true;
    const begun = performance.now();
    const isOver = await end(this.#child, "SIGTERM", limitMilliseconds);
    const milliseconds = isOver ? performance.now() - begun : Infinity;
    if (!isOver) await end(this.#child, "SIGKILL", 5_000);
    return { milliseconds, code: this.#child?.exitCode ?? null };
  }

  /** Leaves nothing running, whatever state the host is in. */
  async end(): Promise<void> {
    this.isLeftDown = true;
    this.#isExpectedToEnd = true;
    if (!(await end(this.#child, "SIGTERM", 15_000))) await end(this.#child, "SIGKILL", 5_000);
    await endPostmaster(path.join(this.data, "postgres"));
  }

  get cluster(): string {
    return path.join(this.data, "postgres");
  }
}

async function end(
  child: ChildProcess | undefined,
  signal: NodeJS.Signals,
  limitMilliseconds: number,
): Promise<boolean> {
  if (!child || hasEnded(child)) return true;
  const exited = once(child, "exit").then(() => true);
  child.kill(signal);
  return await Promise.race([exited, pause(limitMilliseconds, false, { ref: false })]);
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Of the server that uses this folder now. */
export async function postmasterOf(cluster: string): Promise<number | undefined> {
  const text = await readFile(path.join(cluster, "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number.parseInt(text, 10);
  return Number.isNaN(pid) ? undefined : pid;
}

/** Ends a server that a killed host left behind; its processes are children of that one. */
async function endPostmaster(cluster: string): Promise<void> {
  const pid = await postmasterOf(cluster);
  if (pid === undefined || !(await isPostgres(pid))) return;
  process.kill(pid, "SIGQUIT");
  for (let look = 0; look < 100 && (await isPostgres(pid)); look++) await pause(100);
}

async function isPostgres(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return /^\d+ \(postgres\) [^ZX]/.test(status);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("The system gave no port.");
  return address.port;
}

/** A folder of the campaign's own, removed at the end. */
export async function newFolder(settings: CampaignSettings): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-campaign-"));
  settings.atEnd(() => rm(folder, { recursive: true, force: true }));
  // As root, PostgreSQL runs as another user, who must be able to enter.
  await chmod(folder, 0o755);
  return folder;
}

/** A data folder as a first start leaves it. */
export async function makeTemplate(settings: CampaignSettings): Promise<string> {
  const folder = await newFolder(settings);
  const data = path.join(folder, "data");
  const host = await HostProcess.start({ data }, settings);
  await host.stop();
  return data;
}

/** The template's cluster and password, without its port: copies run side by side. */
async function copyCluster(template: string, cluster: string): Promise<void> {
  await mkdir(path.dirname(cluster), { recursive: true });
  // With its owner: as root, PostgreSQL runs as another user.
  await promisify(execFile)("cp", ["-a", path.join(template, "postgres"), cluster]);
  const memory = JSON.parse(await readFile(path.join(template, "postgres.json"), "utf8")) as {
    password: string;
  };
  await writeFile(`${cluster}.json`, JSON.stringify({ password: memory.password }), { mode: 0o600 });
}

/** A PostgreSQL that stands apart from the hosts, with their settings and full durability. */
export async function startDatabase(
  folder: string,
  settings: CampaignSettings,
  databaseSettings: Record<string, string> = {},
): Promise<EmbeddedPostgres> {
  const directory = path.join(folder, "database");
  if (settings.template !== undefined) await copyCluster(settings.template, directory);
  const log = pino({ level: "silent" });
  const database = await startEmbeddedPostgres({
    directory,
    lock: await lockFolder(folder),
    settings: databaseSettings,
    log,
  });
  settings.atEnd(() => database.stop());
  return database;
}
