import { stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { type Logger, pino } from "pino";
import { ConnectionError, isOutage } from "../supabase/functions/_shared/database/connection-error.ts";
import { openPool, type Pool, poolStatistics } from "../supabase/functions/_shared/database/pool.ts";
import { createStripe } from "../supabase/functions/_shared/billing/stripe.ts";
import type { BillingVariables } from "../supabase/functions/_shared/billing/variables.ts";
import type { PromptVariables } from "../supabase/functions/_shared/prompts/variables.ts";
import type { FalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import { AppError } from "../supabase/functions/_shared/errors/app-error.ts";
import { errorResponse, idOf } from "../supabase/functions/_shared/http/bind.ts";
import { createWebhookSender, type WebhookSender } from "../supabase/functions/_shared/webhooks/sender.ts";
import { refuseUnfinished } from "./backup/unfinished.ts";
import { createAuth } from "./auth/auth.ts";
import { startAutoTopups } from "./billing/auto-topups.ts";
import { startWithdrawals } from "./providers/withdrawals.ts";
import { startReconciler } from "./billing/reconciler.ts";
import type { HostContext, HostKeys } from "./context.ts";
import { databaseState } from "./database-state.ts";
import { checkDescriptorLimit } from "./descriptors.ts";
import { type FolderLock, lockFolder } from "./folder-lock.ts";
import { FrontDoor } from "./front-door.ts";
import { createFunctions } from "./functions/functions.ts";
import { openWaitingRoom } from "./functions/news.ts";
import { deriveKeys, type GivenKeys, secretInDatabase, secretInFolder } from "./keys.ts";
import { type LivenessOptions, watchLiveness } from "./liveness.ts";
import { isLocalInstallation, type LocalHostMark, markLocalHost, sandboxRuns } from "./local-host.ts";
import { type LocalWorkPlan, localWorkPlan, startLocalWorker } from "./local-worker.ts";
import { startMaintenance } from "./maintenance.ts";
import { Metrics } from "./metrics.ts";
import { isSupabase, migrate, pendingMigrations } from "./migrate.ts";
import { codeOf } from "./postgres/error-code.ts";
import { startEmbeddedPostgres } from "./postgres/embedded.ts";
import { watchModels } from "./prompts/model-watch.ts";
import { setLossAllowance } from "./providers/loss-allowance.ts";
import { createRealtime, type Realtime } from "./realtime/realtime.ts";
import { createRest } from "./rest/rest.ts";
import { StopList } from "./stop-list.ts";
import { configureFal, falRuleOf, logTaskRunners, taskRunners } from "./task-runners.ts";
import { SchemaWatch } from "./schema/schema-watch.ts";
import { createS3Store, type S3Settings } from "./storage/s3-store.ts";
import { startAbandonedFileDeletion } from "./storage/abandoned-files.ts";
import { createStorage } from "./storage/storage.ts";
import { warningsOf } from "./warnings.ts";
import { startDispatcher } from "./webhooks/dispatcher.ts";

export interface HostOptions {
  /** 0 takes any free port. */
  port: number;
  hostname?: string | undefined;
  dataDirectory: string;
  /** A PostgreSQL of the caller's; our own, in the data folder, when undefined. */
  databaseUrl?: string | undefined;
  apiUrl?: string | undefined;
  keys?: GivenKeys;
  /** Whether this host also works on tasks. */
  localWorker?: boolean;
  /** Whether its sandbox runs; undefined: where nothing real is configured (see `sandboxRuns`). */
  sandbox?: boolean | undefined;
  /** Holds every answer of the functions against its contract. */
  checkAnswers?: boolean;
  /** Where files of storage are kept, instead of the data folder. */
  s3?: S3Settings | undefined;
  /** Whether this host delivers webhooks; it does unless told not to. */
  webhooks?: boolean;
  /** Lets webhooks go to http and private addresses, for development. */
  webhooksAllowPrivate?: boolean;
  /** Stripe's keys and what checkout needs; without them the endpoints of payments answer 503. */
  billing?: BillingVariables;
  prompts?: PromptVariables;
  /** FAL's key and addresses: without a key the sandbox does what it can of FAL's part. */
  fal?: FalVariables;
  /** Whether tasks run at FAL that cost more there than they are sold for; undefined: as the database has it. */
  falAllowLoss?: boolean | undefined;
  /** Whether this host charges automatic top-ups; it does, where Stripe's key is set, unless told not to. */
  autoTopups?: boolean;
  /** How long `/ready` fails before connections close at a stop; 0 where nobody asks it. */
  stopDelayMilliseconds?: number;
  /** When `/health` fails because a pool does not answer. */
  liveness?: Pick<LivenessOptions, "intervalMilliseconds" | "limitMilliseconds">;
  log?: Logger;
}

export interface Host {
  apiUrl: string;
  databaseUrl: string;
  keys: HostKeys;
  port: number;
  /** Lets requests end, then closes everything that was opened. Resolves within 10 s, whatever hangs. */
  stop(): Promise<void>;
}

/**
 * Starts everything; when it resolves, the host serves. What was started is stopped if a later part fails, or when
 * the list of what is open is stopped meanwhile.
 */
export async function startHost(
  options: HostOptions,
  opened = new StopList(options.log ?? pino({ level: "silent" })),
): Promise<Host> {
  const log = options.log ?? pino({ level: "silent" });
  try {
    return await Promise.race([start(), opened.whenStopped()]);
  } catch (error) {
    await opened.stop();
    throw error;
  }

  async function start(): Promise<Host> {
    checkDescriptorLimit(log);
    // Before anything else: of two starts on one folder, the other ends here and has touched nothing.
    const lock = options.databaseUrl === undefined ? await lockFolder(options.dataDirectory) : undefined;
    opened.add("folder", "lock of the data folder", () => lock?.release());
    // Then the port: that it is taken should be said at once, and its number is part of our address.
    const front = new FrontDoor({ delay: options.stopDelayMilliseconds ?? 0 });
    await front.listen(options.port, options.hostname);
    opened.add("port", "HTTP server", () => front.close());
    opened.add("announce", "readiness", (signal) => front.announceStop(signal));
    const localUrl = `http://127.0.0.1:${front.port}`;
    if (options.databaseUrl && !options.apiUrl) {
      log.warn(
        { address: localUrl },
        "SUPABASE_URL is not set: other hosts of this database refuse the sessions that this host makes (docs/operations.md, Several hosts)",
      );
    }

    await refuseUnfinished(options.dataDirectory);
    if (!options.s3) await refuseFile(path.join(options.dataDirectory, "storage"));
    const databaseUrl = options.databaseUrl ?? (await startDatabase(options, lock, opened, log));
    const pools = openPools(databaseUrl);
    for (const [name, pool] of Object.entries(pools)) opened.add("pools", `pool ${name}`, () => pool.end());
    await reach(pools.readiness, log);
    await migrateDatabase(databaseUrl, log);
    const schema = new SchemaWatch(pools.readiness, log);
    await schema.untilWhole(opened.signal, (obstacle) => front.explain(obstacle));

    if (options.s3) await createS3Store(options.s3, log).check();
    const keys = await keysOf(options, pools.requests);
    const context: HostContext = {
      apiUrl: options.apiUrl ?? localUrl,
      keys,
      sql: pools.requests,
      databaseUrl,
      storageDirectory: path.join(options.dataDirectory, "storage"),
      s3: options.s3,
      billing: options.billing,
      prompts: options.prompts,
      fal: options.fal,
      checkAnswers: options.checkAnswers ?? false,
      log,
    };
    const localHost = await markLocalHost(pools.requests, isLocalInstallation(options), log);
    await configureFal(pools.requests, options.fal, { isAlone: options.databaseUrl === undefined });
    const plan = options.localWorker
      ? localWorkPlan({ fal: options.fal, sandbox: sandboxRuns(options) })
      : undefined;
    const webhooks = createWebhookSender({ allowPrivate: options.webhooksAllowPrivate ?? false });
    const dispatcher =
      (options.webhooks ?? true) ? startDispatcher({ databaseUrl, sender: webhooks, log }) : undefined;
    opened.add("services", "webhook dispatcher", () => dispatcher?.stop());
    if (options.billing?.STRIPE_SECRET_KEY && (options.autoTopups ?? true)) {
      const autoTopups = startAutoTopups({ databaseUrl, stripe: createStripe(options.billing), log });
      opened.add("services", "automatic top-ups", () => autoTopups.stop());
    }
    await setLossAllowance(pools.requests, options.falAllowLoss, log);
    if (options.fal?.FAL_KEY) {
      const withdrawals = startWithdrawals({ databaseUrl, fal: options.fal, log });
      opened.add("services", "withdrawals at providers", () => withdrawals.stop());
    }
    if (options.billing?.STRIPE_SECRET_KEY) {
      const reconciler = startReconciler({ databaseUrl, stripe: createStripe(options.billing), log });
      opened.add("services", "payment reconciler", () => reconciler.stop());
    }
    const realtime = await serve({
      context,
      readiness: pools.readiness,
      schema,
      webhooks,
      front,
      livenessOptions: options.liveness,
      opened,
      localHost,
      plan,
    });
    // A live event of a task is a hint that there may be a message.
    realtime.stream.on("task-updates:", () => dispatcher?.wake());
    const maintenance = startMaintenance(pools.maintenance, log);
    // What announce_outbox() writes when a change leaves work behind.
    realtime.stream.onLogMessage("darkroom.outbox", () => maintenance.runOutbox());
    opened.add("services", "maintenance", () => maintenance.stop());

    front.open();
    logTaskRunners(await taskRunners(pools.requests, plan?.sandboxTypes ?? []), falRuleOf(options.fal), log);
    if (plan) {
      // Among the first to stop: it finishes its work through the front door.
      const worker = startLocalWorker({
        apiUrl: localUrl,
        publicUrl: context.apiUrl,
        serviceRoleKey: keys.serviceRoleKey,
        plan,
        log,
      });
      opened.add("announce", "local worker", () => worker.stop());
    }
    return { apiUrl: context.apiUrl, databaseUrl, keys, port: front.port, stop: () => opened.stop() };
  }
}

/** @throws where a file stands in the place of a folder: uploads would fail later */
async function refuseFile(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (found && !found.isDirectory())
    throw new Error(`${folder} is a file and should be a folder. Move it away, or restore the folder.`);
}

async function startDatabase(
  { dataDirectory }: HostOptions,
  lock: FolderLock | undefined,
  opened: StopList,
  log: Logger,
): Promise<string> {
  if (!lock) throw new Error("The data folder is not locked.");
  const directory = path.join(dataDirectory, "postgres");
  const starting = startEmbeddedPostgres({ directory, lock, log, signal: opened.signal });
  // A start that fails has stopped what it started.
  opened.add(
    "database",
    "PostgreSQL",
    async (signal) =>
      await starting.then(
        (database) => database.stop(signal),
        () => undefined,
      ),
  );
  return (await starting).url;
}

const reachMilliseconds = 30_000;

/** Waits for a database that starts at the same time as we do, as in a composition of containers. */
async function reach(sql: Pool, log: Logger): Promise<void> {
  const deadline = Date.now() + reachMilliseconds;
  for (;;) {
    try {
      const [row] = await sql<
        { version: number }[]
      >`select current_setting('server_version_num')::int as version`;
      if (row && row.version < 150_000) throw new Error("Darkroom needs PostgreSQL 15 or newer.");
      return;
    } catch (error) {
      const starting = error instanceof ConnectionError && isOutage(error.cause);
      if (!starting || Date.now() > deadline) throw error;
      log.warn({ err: error }, "the database does not answer yet");
      await pause(1000);
    }
  }
}

async function keysOf({ keys = {}, databaseUrl, dataDirectory }: HostOptions, sql: Pool): Promise<HostKeys> {
  // Hosts that share a database must sign alike. One that Supabase runs has no place of ours.
  const shared = databaseUrl !== undefined && !(await isSupabase(sql));
  const secret =
    keys.jwtSecret ?? (shared ? await secretInDatabase(sql) : await secretInFolder(dataDirectory));
  return await deriveKeys(secret, keys);
}

/** What stands behind one path; some have more to stop than their routes. */
interface Part {
  app: unknown;
  stop?(): Promise<void>;
}

interface ServeOptions {
  context: HostContext;
  readiness: Pool;
  schema: SchemaWatch;
  webhooks: WebhookSender;
  front: FrontDoor;
  livenessOptions: HostOptions["liveness"];
  opened: StopList;
  localHost: LocalHostMark;
  /** Which workers run in this process. */
  plan: LocalWorkPlan | undefined;
}

/** Mounts every part behind the front door. */
async function serve({
  context,
  readiness,
  schema,
  webhooks,
  front,
  livenessOptions,
  opened,
  localHost,
  plan,
}: ServeOptions): Promise<Realtime> {
  const { sql, log } = context;
  const auth = createAuth(context);
  const rest = createRest(context);
  const storage = createStorage(context);
  const realtime = createRealtime(context);
  const waitingRoom = openWaitingRoom(realtime.stream, log);
  const functions = createFunctions(context, storage, waitingRoom, webhooks);
  const abandonedFiles = startAbandonedFileDeletion({
    database: functions.database,
    storage: functions.storage,
    log,
  });
  // Before the storage and the database that it uses.
  opened.add("requests", "deletion of abandoned files", () => abandonedFiles.stop());
  const liveness = watchLiveness({
    pools: [
      { name: "darkroom-requests", ping: () => sql`select 1`, lastAnswer: () => sql.lastAnswer() },
      { name: "darkroom-functions", ...functions.database },
    ],
    askDatabase: () => databaseState(context.databaseUrl),
    log,
    ...livenessOptions,
  });
  opened.add("services", "check of liveness", () => liveness.stop());
  const modelWatch = watchModels(functions.models, log);
  opened.add("services", "check of models", () => modelWatch.stop());
  const metrics = new Metrics();
  const app = new Hono<{ Bindings: HttpBindings }>();

  app.route("/functions/v1", functions.app);
  app.route("/auth/v1", auth.app);
  app.route("/rest/v1", rest.app);
  app.route("/storage/v1", storage.app);
  app.route("/realtime/v1", realtime.app);

  app.get("/health", (c) => {
    const obstacle = liveness.obstacle();
    return obstacle ? c.json({ status: "not healthy", reason: obstacle }, 503) : c.json({ status: "ok" });
  });
  app.get("/ready", async (c) => {
    const obstacle = front.draining ? "stopping" : await databaseObstacle(readiness, schema);
    if (obstacle) return c.json({ status: "not ready", reason: obstacle }, 503);
    const warnings = await warningsOf(readiness, functions.models.deadModels());
    const { nothing } = await taskRunners(readiness, plan?.sandboxTypes ?? []);
    return c.json({
      status: "ready",
      ...(warnings.length > 0 && { warnings }),
      ...(plan && plan.notServed.length > 0 && { not_served_by_this_host: plan.notServed }),
      ...(nothing.length > 0 && { served_by_nothing: nothing }),
    });
  });
  app.get("/metrics", (c) =>
    c.text(metrics.text({ darkroom_waiting_requests: waitingRoom.size }, poolStatistics()), 200, {
      "content-type": "text/plain; version=0.0.4",
    }),
  );
  app.get("/openapi.json", (c) => c.json(functions.openapi));
  app.notFound((c) => errorResponse(new AppError("not_found"), idOf(c.req.raw), c.req.path, log));
  app.onError((error, c) => errorResponse(error, idOf(c.req.raw), c.req.path, log));

  front.handler = async (request, bindings) => {
    const begun = performance.now();
    await localHost.notice(request.headers);
    const response = await app.fetch(request, bindings);
    const seconds = (performance.now() - begun) / 1000;
    metrics.count(request.method, new URL(request.url).pathname, response.status, seconds);
    return response;
  };
  const parts: Record<string, Part> = { functions, auth, rest, storage };
  for (const [name, part] of Object.entries(parts)) opened.add("services", name, () => part.stop?.());
  realtime.attach(front.server);
  opened.add("requests", "requests and sockets", async (signal) => {
    // Neither sockets nor requests that wait end by themselves in time: they would hold the drain to its limit.
    waitingRoom.close();
    await Promise.all([front.drain(signal), realtime.stop()]);
  });
  await realtime.start();
  return realtime;
}

/** A pool for each purpose: what one of them exhausts, the others still have. The functions have their own. */
function openPools(url: string): Record<"requests" | "maintenance" | "readiness", Pool> {
  const limited = (seconds: number) => ({
    settings: { statement_timeout: String(seconds * 1000) },
    deadlineMilliseconds: (seconds + 3) * 1000,
  });
  return {
    // REST, auth and storage.
    requests: openPool({ url, name: "darkroom-requests", connections: 12, ...limited(22) }),
    maintenance: openPool({ url, name: "darkroom-maintenance", connections: 3, ...limited(60) }),
    readiness: openPool({ url, name: "darkroom-readiness", connections: 3, deadlineMilliseconds: 3_000 }),
  };
}

/** Migrations take as long as they take. */
async function migrateDatabase(url: string, log: Logger): Promise<void> {
  const sql = openPool({ url, name: "darkroom-migration", connections: 1, deadlineMilliseconds: Infinity });
  try {
    await migrate(sql, { log });
  } finally {
    await sql.end();
  }
}

/** Why requests would fail: no database, or one that lacks migrations, roles or policies that this code needs. */
async function databaseObstacle(sql: Pool, schema: SchemaWatch): Promise<string | undefined> {
  try {
    const [row] = await sql<{ mode: string }[]>`select current_setting('transaction_read_only') as mode`;
    if (row?.mode === "on") return "the database server is read-only";
    const pending = await pendingMigrations(sql);
    return pending.length > 0 ? "migrations are missing" : await schema.obstacle();
  } catch {
    return "the database does not answer";
  }
}
