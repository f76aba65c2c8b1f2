import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import type { HostKeys } from "../../server/context.ts";
import { type HostOptions, startHost } from "../../server/host.ts";
import { projectPath } from "../../server/migrate.ts";
import { createTestDatabase, dropTestDatabase } from "./database.ts";
import { type FakeFal, startFakeFal } from "./fake-fal.ts";
import { type FakeStripe, startFakeStripe } from "./fake-stripe.ts";
import { startGateway } from "./gateway.ts";

/** An installation on a database of its own, known by its address alone. */
export interface HostUnderTest {
  name: "Node" | "Deno";
  /** Issuer of its tokens, and what a client is given. */
  apiUrl: string;
  keys: HostKeys;
  /** The database as its owner, to see what calls did. */
  sql: Pool;
  databaseUrl: string;
  /** Stripe, played, as this installation knows it. */
  fakeStripe: FakeStripe;
  /** FAL, played, as this installation knows it. */
  fakeFal: FakeFal;
  /** Everything that was logged so far. */
  logged(): string;
  /** Something that a test opened, to be closed before the host stops. */
  atEnd(close: () => Promise<unknown>): void;
  stop(): Promise<void>;
}

/** What a suite sets otherwise than the others do. */
export interface HostSettings {
  /** Who writes prompts: rules, unless said. */
  prompts?: Record<string, string>;
  /** More settings of FAL; an empty text unsets one. */
  fal?: Record<string, string>;
}

const byRules = { AI_PROMPT_LOCAL: "1" };

/** Both places that Darkroom runs in, for suites that both must pass. */
export const hosts = [
  { name: "Node", start: startNodeHost },
  { name: "Deno", start: startDenoHost },
] as const;

/** The standalone host: everything in this process. */
export async function startNodeHost(settings: HostSettings = {}): Promise<HostUnderTest> {
  const opened = new Opened();
  try {
    return await startNode(opened, settings);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** One more standalone host on the same database, as a second machine would be; it charges no automatic top-ups. */
export async function startSecondHost(
  first: HostUnderTest,
  others: Partial<HostOptions> = {},
): Promise<HostUnderTest> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-acceptance-"));
  first.atEnd(() => rm(folder, { recursive: true, force: true }));
  const { databaseUrl } = first;
  const host = await startHost({
    port: 0,
    hostname: "127.0.0.1",
    databaseUrl,
    dataDirectory: folder,
    billing: { ...first.fakeStripe.variables, FRONTEND_URL: frontendUrl },
    autoTopups: false,
    checkAnswers: true,
    ...others,
  });
  first.atEnd(() => host.stop());
  return { ...first, name: "Node", apiUrl: host.apiUrl, keys: host.keys };
}

/**
 * The functions on Deno, as Supabase runs them; auth, rest, storage and realtime from the standalone host on
 * the same database. A gateway gives both one address.
 */
export async function startDenoHost(settings: HostSettings = {}): Promise<HostUnderTest> {
  const opened = new Opened();
  try {
    let nodePort: number | undefined;
    let denoPort: number | undefined;
    const gateway = await startGateway((target) =>
      target.startsWith("/functions/v1/") ? denoPort : nodePort,
    );
    opened.push(() => gateway.stop());
    const node = await startNode(opened, settings, gateway.url);
    nodePort = node.port;
    const deno = await startDeno(opened, settings, node);
    denoPort = deno.port;
    return { ...node, name: "Deno", logged: () => node.logged() + deno.output() };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** That it is set is what switches the webhook on; workers under test tell FAL where it is. */
const falWebhook = "https://darkroom.test/functions/v1/fal-webhook";
const frontendUrl = "https://app.darkroom.test";

async function startNode(
  opened: Opened,
  { prompts = byRules, fal }: HostSettings,
  apiUrl?: string,
): Promise<HostUnderTest & { port: number }> {
  const database = await createTestDatabase();
  opened.push(() => dropTestDatabase(database));
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-acceptance-"));
  opened.push(() => rm(folder, { recursive: true, force: true }));
  const fakeStripe = await startFakeStripe();
  opened.push(() => fakeStripe.close());
  const fakeFal = await startFakeFal();
  opened.push(() => fakeFal.close());
  const lines: string[] = [];
  const host = await startHost({
    port: 0,
    hostname: "127.0.0.1",
    databaseUrl: database.url,
    dataDirectory: folder,
    apiUrl,
    localWorker: false,
    // On Deno they are delivered there, as on Supabase: by the function, when it is called.
    webhooks: apiUrl === undefined,
    webhooksAllowPrivate: true,
    prompts,
    fal: { ...fakeFal.variables, FAL_WEBHOOK: falWebhook, ...fal },
    billing: { ...fakeStripe.variables, FRONTEND_URL: frontendUrl },
    autoTopups: apiUrl === undefined,
    checkAnswers: true,
    log: pino({ level: "trace" }, { write: (line: string) => void lines.push(line) }),
  });
  opened.push(() => host.stop());
  const sql = openPool({ url: database.url, name: "test", connections: 4 });
  opened.push(() => sql.end());
  const { keys, port } = host;
  return {
    name: "Node",
    apiUrl: host.apiUrl,
    keys,
    sql,
    port,
    databaseUrl: database.url,
    fakeStripe,
    fakeFal,
    logged: () => lines.join(""),
    atEnd: (close) => opened.push(close),
    stop: () => opened.close(),
  };
}

/** How Deno serves the functions: Deno itself, not the wrapper that npm installs, for ending a wrapper leaves it running. */
export async function denoFunctions(
  {
    apiUrl,
    keys,
    databaseUrl,
    fakeStripe,
    fakeFal,
  }: Pick<HostUnderTest, "apiUrl" | "keys" | "databaseUrl" | "fakeStripe" | "fakeFal">,
  prompts: Record<string, string> = byRules,
  fal: Record<string, string> = {},
): Promise<{ command: string; args: string[]; cwd: string; env: NodeJS.ProcessEnv }> {
  const functions = projectPath("supabase/functions");
  const permissions = ["--allow-net", "--allow-env", "--allow-read", "--allow-sys", "--no-prompt"];
  const configuration = [`--config=${functions}/deno.json`, "--node-modules-dir=manual", "--no-lock"];
  const script = projectPath("test/support/serve-on-deno.ts");
  return {
    command: await denoBinary(),
    args: ["run", ...permissions, ...configuration, script],
    cwd: functions,
    env: {
      HOME: process.env["HOME"],
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      SUPABASE_URL: apiUrl,
      SUPABASE_DB_URL: databaseUrl,
      SUPABASE_ANON_KEY: keys.anonKey,
      SUPABASE_SERVICE_ROLE_KEY: keys.serviceRoleKey,
      SUPABASE_JWT_SECRET: keys.jwtSecret,
      SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishableKey }),
      SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secretKey }),
      DARKROOM_CHECK_ANSWERS: "on",
      DARKROOM_WEBHOOKS_ALLOW_PRIVATE: "on",
      ...prompts,
      ...fakeStripe.variables,
      ...fakeFal.variables,
      FAL_WEBHOOK: falWebhook,
      ...fal,
      FRONTEND_URL: frontendUrl,
    },
  };
}

async function startDeno(
  opened: Opened,
  { prompts = byRules, fal }: HostSettings,
  host: HostUnderTest,
): Promise<{ port: number; output(): string }> {
  const { command, args, cwd, env } = await denoFunctions(host, prompts, fal);
  const child = spawn(command, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
  opened.push(() => end(child));

  let output = "";
  let failure: Error | undefined;
  child.once("error", (error) => (failure = error));
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const deadline = Date.now() + 60_000;
  for (;;) {
    const port = /^functions are served on port (\d+)$/m.exec(output)?.[1];
    if (port) return { port: Number(port), output: () => output };
    if (failure) throw failure;
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      throw new Error(`Deno did not serve the functions:\n${output}`);
    }
    await pause(20);
  }
}

export async function denoBinary(): Promise<string> {
  const folder = projectPath("node_modules/@deno");
  const [platform] = await readdir(folder);
  if (!platform) throw new Error("Deno is not installed; run npm install.");
  return path.join(folder, platform, process.platform === "win32" ? "deno.exe" : "deno");
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const killing = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exited;
  clearTimeout(killing);
}

/** What was opened, closed in the opposite order; all of it, whatever fails. */
class Opened {
  readonly #closers: (() => Promise<unknown>)[] = [];

  push(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.#closers.pop(); close; close = this.#closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "a part of the host did not stop");
  }
}
