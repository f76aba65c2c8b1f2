#!/usr/bin/env tsx
/**
 * `darkroom start [--port 54321] [--data .darkroom]`, `darkroom status [--data .darkroom]`, and
 * `darkroom doctor [--json]` or `verify`: exit 0 when all is right, 1 with faults, 2 when it could not be checked, and
 * `darkroom reconcile [--from 2026-01-01T00:00:00Z] [--to …] [--dry-run]`: exit 1 when something still differs, and
 * `darkroom backup --to <new folder>`, `darkroom restore --from <backup> --data <new folder>`: docs/backup.md.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { type Logger, pino } from "pino";
import { type Check, checks, examine, report } from "./doctor.ts";
import { lockFolder } from "./folder-lock.ts";
import { type Host, startHost } from "./host.ts";
import { endOnSignals } from "./process-end.ts";
import { type Running, RunningRecord } from "./running-record.ts";
import { makeBackup } from "./backup/backup.ts";
import type { Description } from "./backup/format.ts";
import { restoreBackup } from "./backup/restore.ts";
import { projectPath } from "./project-path.ts";
import { runningDatabase, startEmbeddedPostgres } from "./postgres/embedded.ts";
import { readSettings, type Settings } from "./settings.ts";
import { standardOutput } from "./standard-output.ts";
import { StopList } from "./stop-list.ts";
import { createStripe } from "../supabase/functions/_shared/billing/stripe.ts";
import { reconcileOnce } from "./billing/reconciler.ts";

/** What `status` prints, under the names of `supabase status -o json`. */
interface Status {
  API_URL: string;
  DB_URL: string;
  ANON_KEY: string;
  SERVICE_ROLE_KEY: string;
  PUBLISHABLE_KEY: string;
  SECRET_KEY: string;
  JWT_SECRET: string;
}

try {
  if (existsSync(".env")) process.loadEnvFile(".env");
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: "string" },
      data: { type: "string" },
      json: { type: "boolean" },
      from: { type: "string" },
      to: { type: "string" },
      "dry-run": { type: "boolean" },
    },
  });
  const settings = readSettings(values, process.env);
  const command = positionals[0] ?? "start";
  if (command === "start") await start(settings);
  else if (command === "status") await showStatus(settings);
  else if (isCheck(command)) await examineDatabase(command, settings, values.json ?? false);
  else if (command === "reconcile") await reconcile(settings, values);
  else if (command === "backup") await backUp(settings, values.to);
  else if (command === "restore") await restore(settings, values.from, values.data);
  else {
    throw new Error(
      `There is no "${command}": use start, status, doctor, verify, reconcile, backup or restore.`,
    );
  }
} catch (error) {
  console.error(messageOf(error));
  process.exit(isCheck(process.argv[2]) ? 2 : 1);
}

async function start(settings: Settings): Promise<void> {
  const log = pino({ level: settings.logLevel }, standardOutput());
  const opened = new StopList(log);
  const record = new RunningRecord<Status>(settings.dataDirectory);
  const end = endOnSignals(opened, log, () => record.remove());
  const host = await startHost({ ...settings, log }, opened).catch((error: unknown) => {
    if (end.isRequested) return undefined;
    throw error;
  });
  // What ends the process goes on by itself.
  if (!host || end.isRequested) return;
  try {
    await record.write({ port: host.port, status: statusOf(host) });
  } catch (error) {
    // Stop everything that was started; otherwise PostgreSQL would go on.
    await opened.stop();
    throw error;
  }
  console.log(
    `\nDarkroom is ready at ${host.apiUrl}\n  see a task run:  npm run demo\n  show the keys:   npm run -s status\n`,
  );
}

async function showStatus(settings: Settings): Promise<void> {
  console.log(JSON.stringify((await runningHost(settings)).status, null, 2));
}

async function runningHost(settings: Settings): Promise<Running<Status>> {
  const running = await new RunningRecord<Status>(settings.dataDirectory).read();
  if (running && isAlive(running.pid) && (await isHealthy(running.port))) return running;
  throw new Error(`No Darkroom runs with the data in ${settings.dataDirectory}; start one by: npm start`);
}

/** Of the operator's own database, else of the one of the host that runs here, which may not be ready. */
async function databaseOf(settings: Settings): Promise<string> {
  if (settings.databaseUrl !== undefined) return settings.databaseUrl;
  const running = await runningDatabase(path.join(settings.dataDirectory, "postgres"));
  return running ?? (await runningHost(settings)).status.DB_URL;
}

async function examineDatabase(check: Check, settings: Settings, asJson: boolean): Promise<void> {
  const url = await databaseOf(settings);
  const found = await examine(url, check);
  console.log(asJson ? JSON.stringify(found, null, 2) : report(found));
  process.exitCode = found.healthy ? 0 : 1;
}

/** Of what Stripe has and what is here; exit 1 when something differs that was not set right. */
async function reconcile(
  settings: Settings,
  asked: { from?: string | undefined; to?: string | undefined; "dry-run"?: boolean | undefined },
): Promise<void> {
  if (!settings.billing.STRIPE_SECRET_KEY) throw new Error("Set STRIPE_SECRET_KEY.");
  const found = await reconcileOnce({
    databaseUrl: settings.databaseUrl ?? (await runningHost(settings)).status.DB_URL,
    stripe: createStripe(settings.billing),
    log: pino({ level: settings.logLevel }, pino.destination(2)),
    from: asked.from === undefined ? undefined : timeOf(asked.from),
    to: asked.to === undefined ? undefined : timeOf(asked.to),
    heal: asked["dry-run"] !== true,
  });
  for (const { fault, subject, healed } of found.differences) {
    console.log(`${healed ? "set right" : "differs"}  ${fault}  ${subject}`);
  }
  console.log(`checked ${found.checked}, differences ${found.differences.length}`);
  process.exitCode = found.differences.every(({ healed }) => healed) ? 0 : 1;
}

/** Of a host that serves or is stopped. */
async function backUp(settings: Settings, to: string | undefined): Promise<void> {
  if (to === undefined) throw new Error("Say where the backup goes: npm run backup -- --to <new folder>");
  const log = pino({ level: settings.logLevel }, pino.destination(2));
  const { url, close } = await openDatabaseOf(settings, log);
  const made = await makeBackup({
    databaseUrl: url,
    secretPath: settings.databaseUrl === undefined ? path.join(settings.dataDirectory, "secret") : undefined,
    storageDirectory: settings.s3 ? undefined : path.join(settings.dataDirectory, "storage"),
    to,
    darkroom: await ownVersion(),
    log,
    signal: signalOfInterruption(),
  }).finally(close);
  console.log(`backup in ${path.resolve(to)}: ${counted(made)}`);
  if (settings.s3) {
    console.log(
      `The files are in the bucket ${settings.s3.bucket} and not in this backup: back up the bucket by its own means.`,
    );
  }
  if (settings.keys.jwtSecret !== undefined) {
    console.log("SUPABASE_JWT_SECRET is set and not in this backup: keep it with your other secrets.");
  }
}

async function restore(
  settings: Settings,
  from: string | undefined,
  data: string | undefined,
): Promise<void> {
  if (from === undefined || data === undefined) {
    throw new Error("Say from where to where: npm run restore -- --from <backup> --data <new folder>");
  }
  const made = await restoreBackup({
    from,
    dataDirectory: settings.dataDirectory,
    databaseUrl: settings.databaseUrl,
    log: pino({ level: settings.logLevel }, pino.destination(2)),
    signal: signalOfInterruption(),
  });
  console.log(`restored into ${settings.dataDirectory}: ${counted(made)}, of ${made.made_at}`);
  if (made.files.kept_in === "s3") {
    console.log("The files are in S3 and were not in the backup: set DARKROOM_S3_BUCKET, as it was.");
  }
}

function counted({ tables, files }: Description): string {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  return `${tables.length} tables, ${rows} rows, ${files.count} files (${files.bytes} bytes)`;
}

/** The database of a host; that of the data folder is started for the time where no host runs. */
async function openDatabaseOf(
  settings: Settings,
  log: Logger,
): Promise<{ url: string; close: () => Promise<void> }> {
  const directory = path.join(settings.dataDirectory, "postgres");
  const url = settings.databaseUrl ?? (await runningDatabase(directory));
  if (url !== undefined) return { url, close: () => Promise.resolve() };
  if (!existsSync(`${directory}.json`)) {
    throw new Error(`There is no database in ${settings.dataDirectory}: name the data folder by --data.`);
  }
  const lock = await lockFolder(settings.dataDirectory);
  const embedded = await startEmbeddedPostgres({ directory, lock, log }).catch((error: unknown) => {
    lock.release();
    throw error;
  });
  return {
    url: embedded.url,
    async close() {
      await embedded.stop();
      lock.release();
    },
  };
}

async function ownVersion(): Promise<string> {
  const text = await readFile(projectPath("package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** Ctrl-C clears away what was begun. */
function signalOfInterruption(): AbortSignal {
  const interrupting = new AbortController();
  const interrupt = () => interrupting.abort(new Error("Interrupted; what was begun is deleted."));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  return interrupting.signal;
}

function timeOf(text: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime()))
    throw new Error(`${text} is no time; such as 2026-01-31T00:00:00Z is one.`);
  return time;
}

function isCheck(command: string | undefined): command is Check {
  return checks.some((check) => check === command);
}

/** Also of an error that only collects others, as a refused connection does. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(" ");
  return error instanceof Error ? error.message : String(error);
}

function statusOf({ apiUrl, databaseUrl, keys }: Host): Status {
  return {
    API_URL: apiUrl,
    DB_URL: databaseUrl,
    ANON_KEY: keys.anonKey,
    SERVICE_ROLE_KEY: keys.serviceRoleKey,
    PUBLISHABLE_KEY: keys.publishableKey,
    SECRET_KEY: keys.secretKey,
    JWT_SECRET: keys.jwtSecret,
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

async function isHealthy(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(3000) });
    return response.ok;
  } catch {
    return false; // Nobody listens there.
  }
}
