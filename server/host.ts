import { once } from "node:events";
import type { Server } from "node:http";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { type Logger, pino } from "pino";
import postgres, { type Sql } from "postgres";
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
import { startReconciler } from "./billing/reconciler.ts";
import type { HostContext, HostKeys } from "./context.ts";
import { createFunctions } from "./functions/functions.ts";
import { openWaitingRoom } from "./functions/news.ts";
import { deriveKeys, type GivenKeys, secretInDatabase, secretInFolder } from "./keys.ts";
import { startLocalWorker } from "./local-worker.ts";
import { Metrics } from "./metrics.ts";
import { isSupabase, migrate, pendingMigrations } from "./migrate.ts";
import { startEmbeddedPostgres } from "./postgres/embedded.ts";
import { createRealtime, type Realtime } from "./realtime/realtime.ts";
import { createRest } from "./rest/rest.ts";
import { SchemaWatch } from "./schema/schema-watch.ts";
import { createS3Store, type S3Settings } from "./storage/s3-store.ts";
import { createStorage } from "./storage/storage.ts";
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
  /** Whether this host charges automatic top-ups; it does, where Stripe's key is set, unless told not to. */
  autoTopups?: boolean;
  log?: Logger;
  /** Ends a start that waits for an incomplete database. */
  signal?: AbortSignal;
}

export interface Host {
  apiUrl: string;
  databaseUrl: string;
  keys: HostKeys;
  port: number;
  /** Lets requests end (10 s at most), then closes everything that was opened. */
  stop(): Promise<void>;
}

type Handler = (request: Request, bindings?: object) => Response | Promise<Response>;

const drainMilliseconds = 10_000;
/** Of a request's line and headers: a filter by a few hundred ids fits, as it does on Supabase. */
const maxHeaderSize = 64 * 1024;
const tendMilliseconds = 2_000;
const followMilliseconds = 500;
const archiveMilliseconds = 10_000;
const expiryMilliseconds = 10_000;
const estimateMilliseconds = 60_000;
const silenceMilliseconds = 10_000;
const hourMilliseconds = 3_600_000;

/** Starts everything; when it resolves, the host serves. What was started is stopped if a later part fails. */
export async function startHost(options: HostOptions): Promise<Host> {
  const log = options.log ?? pino({ level: "silent" });
  const opened: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= closeAll(opened, log));

  try {
    // The port first: that it is taken should be said at once, and its number is part of our address.
    const front = new FrontDoor();
    await front.listen(options.port, options.hostname);
    opened.push(() => front.close());
    const localUrl = `http://127.0.0.1:${front.port}`;
    if (options.databaseUrl && !options.apiUrl) {
      log.warn(
        { address: localUrl },
        "SUPABASE_URL is not set: other hosts of this database refuse the sessions that this host makes (docs/operations.md, Several hosts)",
      );
    }

    await refuseUnfinished(options.dataDirectory);
    const databaseUrl = options.databaseUrl ?? (await startDatabase(options, opened, log));
    const sql = postgres(databaseUrl, {
      max: 12,
      connection: { application_name: "darkroom-host" },
      onnotice: () => undefined,
    });
    opened.push(() => sql.end({ timeout: 5 }));
    await reach(sql, log);
    await migrate(sql, { log });
    const schema = new SchemaWatch(sql, log);
    await schema.untilWhole(options.signal, (obstacle) => front.explain(obstacle));

    if (options.s3) await createS3Store(options.s3, log).check();
    const keys = await keysOf(options, sql);
    const context: HostContext = {
      apiUrl: options.apiUrl ?? localUrl,
      keys,
      sql,
      databaseUrl,
      storageDirectory: path.join(options.dataDirectory, "storage"),
      s3: options.s3,
      billing: options.billing,
      prompts: options.prompts,
      fal: options.fal,
      checkAnswers: options.checkAnswers ?? false,
      log,
    };
    const webhooks = createWebhookSender({ allowPrivate: options.webhooksAllowPrivate ?? false });
    const dispatcher =
      (options.webhooks ?? true) ? startDispatcher({ databaseUrl, sender: webhooks, log }) : undefined;
    opened.push(async () => await dispatcher?.stop());
    if (options.billing?.STRIPE_SECRET_KEY && (options.autoTopups ?? true)) {
      const autoTopups = startAutoTopups({ databaseUrl, stripe: createStripe(options.billing), log });
      opened.push(() => autoTopups.stop());
    }
    if (options.billing?.STRIPE_SECRET_KEY) {
      const reconciler = startReconciler({ databaseUrl, stripe: createStripe(options.billing), log });
      opened.push(() => reconciler.stop());
    }
    const realtime = await serve(context, webhooks, front, schema, opened);
    // A live event of a task is a hint that there may be a message.
    realtime.stream.on("task-updates:", () => dispatcher?.wake());
    // Scheduled tasks, expired leases and the like, even when nobody claims.
    opened.push(repeat(sql, "select public.tend_queue()", tendMilliseconds, log));
    opened.push(repeat(sql, "select public.settle_followers()", followMilliseconds, log));
    opened.push(repeat(sql, "select public.forget_old_requests()", hourMilliseconds, log));
    opened.push(repeat(sql, "select public.tidy_counts()", hourMilliseconds, log));
    opened.push(repeat(sql, "select public.expire_due_grants()", expiryMilliseconds, log));
    opened.push(repeat(sql, "select public.tend_paid_calls()", expiryMilliseconds, log));
    opened.push(repeat(sql, "select public.give_up_old_tasks()", hourMilliseconds, log));
    opened.push(repeat(sql, "select public.refresh_run_estimates()", estimateMilliseconds, log));
    opened.push(repeat(sql, "select public.mark_silent_workers()", silenceMilliseconds, log));
    opened.push(repeat(sql, "select public.forget_old_logs()", hourMilliseconds, log));
    opened.push(repeat(sql, "select public.forget_old_webhooks()", hourMilliseconds, log));
    opened.push(repeat(sql, "select public.archive_finished_tasks()", archiveMilliseconds, log));

    front.open();
    if (options.localWorker) {
      // Stopped first of all: it finishes its work through the front door.
      const worker = startLocalWorker({
        apiUrl: localUrl,
        publicUrl: context.apiUrl,
        serviceRoleKey: keys.serviceRoleKey,
        fal: options.fal,
        log,
      });
      opened.push(() => worker.stop());
    }
    return { apiUrl: context.apiUrl, databaseUrl, keys, port: front.port, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startDatabase(
  { dataDirectory }: HostOptions,
  opened: (() => Promise<void>)[],
  log: Logger,
): Promise<string> {
  const database = await startEmbeddedPostgres({ directory: path.join(dataDirectory, "postgres"), log });
  opened.push(() => database.stop());
  return database.url;
}

/** Waits for a database that starts at the same time as we do, as in a composition of containers. */
async function reach(sql: Sql, log: Logger): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const [row] = await sql<
        { version: number }[]
      >`select current_setting('server_version_num')::int as version`;
      if (row && row.version < 150_000) throw new Error("Darkroom needs PostgreSQL 15 or newer.");
      return;
    } catch (error) {
      const starting =
        error instanceof Error && "code" in error && /^(ECONN|CONNECT|57P03)/.test(String(error.code));
      if (!starting || attempt === 30) throw error;
      log.warn({ err: error }, "the database does not answer yet");
      await pause(1000);
    }
  }
}

async function keysOf({ keys = {}, databaseUrl, dataDirectory }: HostOptions, sql: Sql): Promise<HostKeys> {
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

/** Mounts every part behind the front door. */
async function serve(
  context: HostContext,
  webhooks: WebhookSender,
  front: FrontDoor,
  schema: SchemaWatch,
  opened: (() => Promise<void>)[],
): Promise<Realtime> {
  const { sql, log } = context;
  const auth = createAuth(context);
  const rest = createRest(context);
  const storage = createStorage(context);
  const realtime = createRealtime(context);
  const waitingRoom = openWaitingRoom(realtime.stream, log);
  const functions = createFunctions(context, storage, waitingRoom, webhooks);
  const metrics = new Metrics();
  const app = new Hono<{ Bindings: HttpBindings }>();

  app.route("/functions/v1", functions.app);
  app.route("/auth/v1", auth.app);
  app.route("/rest/v1", rest.app);
  app.route("/storage/v1", storage.app);
  app.route("/realtime/v1", realtime.app);

  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/ready", async (c) => {
    const obstacle = front.draining ? "stopping" : await databaseObstacle(sql, schema);
    return obstacle ? c.json({ status: "not ready", reason: obstacle }, 503) : c.json({ status: "ready" });
  });
  app.get("/metrics", (c) =>
    c.text(metrics.text({ darkroom_waiting_requests: waitingRoom.size }), 200, {
      "content-type": "text/plain; version=0.0.4",
    }),
  );
  app.get("/openapi.json", (c) => c.json(functions.openapi));
  app.notFound((c) => errorResponse(new AppError("not_found"), idOf(c.req.raw), c.req.path, log));
  app.onError((error, c) => errorResponse(error, idOf(c.req.raw), c.req.path, log));

  front.handler = async (request, bindings) => {
    const begun = performance.now();
    const response = await app.fetch(request, bindings);
    const seconds = (performance.now() - begun) / 1000;
    metrics.count(request.method, new URL(request.url).pathname, response.status, seconds);
    return response;
  };
  const parts: Part[] = [functions, auth, rest, storage];
  opened.push(...parts.map((part) => async () => await part.stop?.()));
  realtime.attach(front.server);
  await realtime.start();
  opened.push(async () => {
    // Neither sockets nor requests that wait end by themselves in time: they would hold the drain to its limit.
    waitingRoom.close();
    await Promise.all([front.drain(), realtime.stop()]);
  });
  return realtime;
}

/** Why requests would fail: no database, or one that lacks migrations, roles or policies that this code needs. */
async function databaseObstacle(sql: Sql, schema: SchemaWatch): Promise<string | undefined> {
  async function look(): Promise<{ obstacle: string | undefined }> {
    const pending = await pendingMigrations(sql);
    return { obstacle: pending.length > 0 ? "migrations are missing" : await schema.obstacle() };
  }
  try {
    const seen = await Promise.race([look(), pause(3000, undefined, { ref: false })]);
    return seen ? seen.obstacle : "the database does not answer";
  } catch {
    return "the database does not answer";
  }
}

/** Runs a statement now and then; several hosts may do it at once. Answers how to stop. */
function repeat(sql: Sql, statement: string, milliseconds: number, log: Logger): () => Promise<void> {
  let running: Promise<void> | undefined;
  async function run(): Promise<void> {
    try {
      await sql.unsafe(statement);
    } catch (error) {
      log.error({ err: error, statement }, "a periodic statement failed");
    }
  }
  const timer = setInterval(() => {
    running ??= run().finally(() => (running = undefined));
  }, milliseconds);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}

async function closeAll(opened: (() => Promise<void>)[], log: Logger): Promise<void> {
  for (let close = opened.pop(); close; close = opened.pop()) {
    try {
      await close();
    } catch (error) {
      log.error({ err: error }, "a part did not stop cleanly");
    }
  }
}

/** The HTTP server: holds the port from the first moment, answers 503 until everything behind it is there. */
class FrontDoor {
  readonly server: Server;
  handler: Handler | undefined;
  draining = false;
  #isOpen = false;
  #closed: Promise<unknown> | undefined;

  constructor() {
    const fetch: Handler = (request, bindings) =>
      this.#isOpen && this.handler
        ? this.handler(request, bindings)
        : Response.json({ error: "starting" }, { status: 503, headers: { "retry-after": "1" } });
    // Without TLS and HTTP/2 options, the server is plain HTTP.
    this.server = createAdaptorServer({ fetch, serverOptions: { maxHeaderSize } }) as Server;
    // Longer than load balancers keep idle connections, so that it is never we who cut one being reused.
    this.server.keepAliveTimeout = 75_000;
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("The server does not listen.");
    return address.port;
  }

  async listen(port: number, hostname: string | undefined): Promise<void> {
    this.server.listen({ port, ...(hostname ? { host: hostname } : {}) });
    try {
      await once(this.server, "listening");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") {
        throw new Error(
          `Port ${port} is taken: Darkroom may be running already (npm run status), else choose another by --port.`,
          { cause: error },
        );
      }
      throw error;
    }
  }

  open(): void {
    this.#isOpen = true;
  }

  /** Before there is anything to serve: says why not. */
  explain(obstacle: string): void {
    this.handler = (request) =>
      new URL(request.url).pathname === "/health"
        ? Response.json({ status: "ok" })
        : Response.json(
            { status: "not ready", error: "database_unavailable", reason: obstacle },
            { status: 503, headers: { "retry-after": "5" } },
          );
    this.#isOpen = true;
  }

  /** Takes no new connections and lets requests end, as long as they may. */
  async drain(): Promise<void> {
    this.draining = true;
    this.#closed ??= once(this.server, "close");
    this.server.close();
    // A connection that becomes idle later would else be kept for the next request.
    const closeIdle = setInterval(() => this.server.closeIdleConnections(), 100);
    await Promise.race([this.#closed, pause(drainMilliseconds, undefined, { ref: false })]);
    clearInterval(closeIdle);
    this.server.closeAllConnections();
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = once(this.server, "close");
      this.server.close();
    }
    this.server.closeAllConnections();
    await this.#closed;
  }
}
