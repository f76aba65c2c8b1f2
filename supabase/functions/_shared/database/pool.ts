import { setTimeout as pause } from "node:timers/promises";
import {
  Client,
  type CustomTypesConfig,
  driverUrl,
  DriverPool,
  type PoolClient,
  type PoolConfig,
  type QueryResult,
  types,
} from "./driver.ts";
import { Connection } from "./connection.ts";
import {
  ConnectionError,
  DatabaseError,
  isEndOfOneConnection,
  isOutage,
  isReadOnly,
  isStalePlan,
} from "./connection-error.ts";
import { createSql, type Sql, type Statement } from "./sql.ts";

export interface PoolOptions {
  url: string;
  /** Purpose of the pool; `application_name` of its connections, and its label in metrics. */
  name: string;
  /** Most connections at once. Default: 10. */
  connections?: number;
  /** Settings of every connection, such as `{ role: "service_role", statement_timeout: "30000" }`. */
  settings?: Record<string, string>;
  /**
   * Longest time from a call until its answer, a transaction as a whole included. Then the connection is
   * destroyed. Default: 25 s; `Infinity` for statements of an operator that may take hours.
   */
  deadlineMilliseconds?: number;
  /** Longest wait for a connection while all are in use. Default: 10 s. */
  busyMilliseconds?: number;
  /** Called when a connection fails that nobody is using. */
  onError?(error: Error): void;
}

export interface TransactionOptions {
  /** Text that begins the transaction; may set it up too, as in `begin read only; select set_config(…)`. */
  begin?: string;
}

export interface PoolStatistics {
  /** Connections open or being made. */
  open: number;
  idle: number;
  /** Calls that wait for a connection. */
  waiting: number;
  /** Since the pool was opened. */
  connected: number;
  lost: number;
  deadlines: number;
  busy: number;
  outages: number;
}

/** A connection for one caller, until it is released. */
export interface ReservedSql extends Sql {
  release(): void;
}

export interface Pool extends Sql {
  /**
   * Runs `work` in one transaction on one connection: commits when it returns, rolls back when it throws. Its
   * statements run one after the other. After a lost connection nothing further runs. When tables or functions have
   * changed under prepared statements, `work` runs a second time, in a new transaction: it must do nothing but SQL.
   */
  transaction<Result>(
    work: (transaction: Sql) => Promise<Result>,
    options?: TransactionOptions,
  ): Promise<Result>;
  reserve(): Promise<ReservedSql>;
  statistics(): PoolStatistics;
  /** When PostgreSQL last answered a statement of this pool, also by a refusal; as `performance.now()` counts. */
  lastAnswer(): number;
  /** Waits for calls under way, `timeoutMilliseconds` at most (default: 5 s), then destroys their connections. Always ends. */
  end(options?: { timeoutMilliseconds?: number }): Promise<void>;
}

/** With what a request does after it missed this deadline, its answer stays below 35 s. */
const defaultDeadlineMilliseconds = 25_000;
const probeMilliseconds = 1_000;
const defaultBusyMilliseconds = 10_000;
/** Longest wait of a call for a database that is away; later calls of a long outage fail at once. */
const outagePatienceMilliseconds = 3_000;
const longestBackoffMilliseconds = 1_000;
const idleMilliseconds = 300_000;
const closeMilliseconds = 200;
const lifetimeSeconds = 3_600;

/** Every open pool of the process, so that none is missing in the metrics. */
const openPools = new Set<{ name: string; connections: Connections }>();

/** What the pools of this process do, by name. Pools of one name count together. */
export function poolStatistics(): Map<string, PoolStatistics> {
  const byName = new Map<string, PoolStatistics>();
  for (const { name, connections } of openPools) {
    const [one, sum] = [connections.statistics(), byName.get(name)];
    const keys = Object.keys(one) as (keyof PoolStatistics)[];
    if (sum) for (const key of keys) sum[key] += one[key];
    else byName.set(name, one);
  }
  return byName;
}

/** Opens a pool of connections. It connects when it is first used. */
export function openPool(options: PoolOptions): Pool {
  const connections = new Connections(options);
  const opened = { name: options.name, connections };
  openPools.add(opened);
  const sql = createSql((statement) => connections.run(statement));
  return Object.assign(sql, {
    transaction: <Result>(work: (transaction: Sql) => Promise<Result>, given?: TransactionOptions) =>
      connections.transaction(work, given),
    reserve: () => connections.reserve(),
    statistics: () => connections.statistics(),
    lastAnswer: () => connections.lastAnswer,
    end: async (given?: { timeoutMilliseconds?: number }) => {
      openPools.delete(opened);
      await connections.end(given?.timeoutMilliseconds);
    },
  });
}

class Connections {
  readonly #pool: DriverPool;
  readonly #deadlineMilliseconds: number;
  readonly #busyMilliseconds: number;
  readonly #used = new Set<Connection>();
  /**
   * Connections made before this time are replaced when they are next needed: their statements were prepared for
   * tables as they were, or they were probably lost together with another one.
   */
  #staleBefore = 0;
  readonly #connectedAt = new WeakMap<PoolClient, number>();
  #outage: { since: number; cause: unknown; over: Promise<void> } | undefined;
  #isClosed = false;
  lastAnswer = performance.now();
  readonly #counts = { connected: 0, lost: 0, deadlines: 0, busy: 0, outages: 0 };

  constructor({ url, name, connections = 10, settings = {}, onError, ...options }: PoolOptions) {
    this.#deadlineMilliseconds = options.deadlineMilliseconds ?? defaultDeadlineMilliseconds;
    this.#busyMilliseconds = options.busyMilliseconds ?? defaultBusyMilliseconds;
    this.#pool = new DriverPool({
      ...connectionSettings(url, settings),
      application_name: name,
      max: connections,
      keepAlive: true,
      Client,
      idleTimeoutMillis: idleMilliseconds,
      maxLifetimeSeconds: lifetimeSeconds,
      types: { getTypeParser },
    });
    this.#pool.on("connect", (client) => {
      this.#counts.connected++;
      this.#connectedAt.set(client as PoolClient, performance.now());
      // Always listened to: an error event without a listener would end the process.
      client.on("error", () => undefined);
    });
    this.#pool.on("error", (error) => {
      this.#countLost(error);
      onError?.(error);
    });
  }

  async run(statement: Statement): Promise<QueryResult> {
    const deadline = performance.now() + this.#deadlineMilliseconds;
    return await this.#retryStalePlan(() =>
      this.#use(deadline, (connection) => connection.run(statement, deadline)),
    ).catch((error: unknown) => this.#leaveReadOnlyServer(error));
  }

  async transaction<Result>(
    work: (transaction: Sql) => Promise<Result>,
    { begin = "begin" }: TransactionOptions = {},
  ): Promise<Result> {
    const deadline = performance.now() + this.#deadlineMilliseconds;
    const running = this.#retryStalePlan(() => this.#runTransaction(work, begin, deadline));
    return await (begin.startsWith("begin read only")
      ? running
      : running.catch((error: unknown) => this.#leaveReadOnlyServer(error)));
  }

  /** After a failover the connections may lead to a server that is a replica now: new ones find the other. */
  #leaveReadOnlyServer(error: unknown): never {
    if (!isReadOnly(error)) throw error;
    this.#replaceConnections();
    throw new ConnectionError("CONNECTION_FAILED", "The database server is read-only.", { cause: error });
  }

  async #runTransaction<Result>(
    work: (transaction: Sql) => Promise<Result>,
    begin: string,
    deadline: number,
  ): Promise<Result> {
    return await this.#use(deadline, async (connection) => {
      let isOver = false;
      const command = (text: string) => connection.run({ text, values: [], prepare: false }, deadline);
      const transaction = createSql((statement) => {
        if (isOver) throw new Error("The transaction has ended.");
        return connection.run(statement, deadline);
      });
      try {
        await command(begin);
        const result = await work(transaction);
        isOver = true;
        const { command: outcome } = await command("commit");
        if (outcome === "ROLLBACK")
          throw new Error("The transaction was rolled back: a statement in it failed.");
        return result;
      } catch (error) {
        isOver = true;
        // On a connection that was lost this fails too. Whatever the reason, nobody gets a connection within a transaction.
        await command("rollback").catch((failure: unknown) =>
          connection.destroy(
            new ConnectionError("CONNECTION_LOST", "The rollback failed.", { cause: failure }),
          ),
        );
        throw error;
      }
    });
  }

  async reserve(): Promise<ReservedSql> {
    const connection = await this.#acquire(performance.now() + this.#deadlineMilliseconds);
    const sql = createSql((statement) =>
      connection.run(statement, performance.now() + this.#deadlineMilliseconds),
    );
    return Object.assign(sql, {
      release: () => {
        this.#used.delete(connection);
        connection.release();
      },
    });
  }

  statistics(): PoolStatistics {
    const { totalCount, idleCount, waitingCount } = this.#pool;
    return { open: totalCount, idle: idleCount, waiting: waitingCount, ...this.#counts };
  }

  async end(timeoutMilliseconds = 5_000): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const ended = this.#pool.end();
    const within = (milliseconds: number) =>
      Promise.race([ended, pause(milliseconds, undefined, { ref: false })]);
    if (timeoutMilliseconds > 0) await within(timeoutMilliseconds);
    for (const connection of this.#used) {
      connection.destroy(new ConnectionError("CONNECTION_CLOSED", "The pool was closed."));
    }
    // A connection that is being made to a silent server ends by its own limit.
    await within(closeMilliseconds);
  }

  async #use<Result>(deadline: number, work: (connection: Connection) => Promise<Result>): Promise<Result> {
    const connection = await this.#acquire(deadline);
    try {
      const result = await work(connection);
      this.lastAnswer = performance.now();
      return result;
    } catch (error) {
      if (error instanceof DatabaseError) this.lastAnswer = performance.now();
      if (error instanceof ConnectionError) {
        if (error.code === "CONNECTION_LOST") this.#countLost(error.cause);
        if (error.code === "CONNECTION_DEADLINE") {
          this.#counts.deadlines++;
          // The server's own limit ends slow statements before. So the network is silent, for idle connections too.
          this.#replaceConnections();
        }
      }
      throw error;
    } finally {
      await connection.settle();
      this.#used.delete(connection);
      connection.release();
    }
  }

  /** Tables and functions change under a running host; statements prepared before then run again. */
  async #retryStalePlan<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (!isStalePlan(error)) throw error;
      this.#replaceConnections();
      return await work();
    }
  }

  /** After a crash or a cut network the other connections are dead too, and the next call must not find that out. */
  #countLost(cause: unknown): void {
    this.#counts.lost++;
    if (!isEndOfOneConnection(cause)) this.#replaceConnections();
  }

  #replaceConnections(): void {
    this.#staleBefore = performance.now();
  }

  async #acquire(deadline: number): Promise<Connection> {
    const patience = Math.min(deadline, performance.now() + outagePatienceMilliseconds);
    for (;;) {
      if (this.#isClosed) throw new ConnectionError("CONNECTION_CLOSED", "The pool was closed.");
      if (this.#outage && this.#pool.idleCount === 0) await this.#waitForDatabase(this.#outage, patience);
      let client: PoolClient;
      try {
        client = await this.#connect(Math.min(deadline, performance.now() + this.#busyMilliseconds));
      } catch (error) {
        if (error instanceof ConnectionError) throw error;
        if (isOutage(error)) {
          this.#beginOutage(error);
          continue;
        }
        // A password, a role or a database that is not there: waiting does not help, whoever calls cannot either.
        throw new ConnectionError("CONNECTION_FAILED", messageOf(error), { cause: error });
      }
      if ((this.#connectedAt.get(client) ?? 0) < this.#staleBefore) {
        client.release(true);
        continue;
      }
      const connection = new Connection(client);
      this.#used.add(connection);
      return connection;
    }
  }

  async #connect(deadline: number): Promise<PoolClient> {
    const connecting = this.#pool.connect();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const busy = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), deadline - performance.now());
    });
    try {
      const client = await Promise.race([connecting, busy]);
      if (client) return client;
    } finally {
      clearTimeout(timer);
    }
    connecting.then(
      (client) => client.release(),
      () => undefined,
    );
    this.#counts.busy++;
    throw new ConnectionError("CONNECTION_BUSY", "No connection to the database became free in time.");
  }

  async #waitForDatabase(
    { over, since, cause }: { over: Promise<void>; since: number; cause: unknown },
    patience: number,
  ): Promise<void> {
    const isLong = performance.now() - since > outagePatienceMilliseconds;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ended = new Promise<"away">((resolve) => {
      timer = setTimeout(() => resolve("away"), isLong ? 0 : Math.max(0, patience - performance.now()));
    });
    const outcome = await Promise.race([over, ended]);
    clearTimeout(timer);
    if (outcome !== "away") return;
    throw new ConnectionError("CONNECTION_FAILED", `The database cannot be reached: ${messageOf(cause)}`, {
      cause,
    });
  }

  /** Tries to connect with growing pauses until it succeeds; calls wait for that instead of trying themselves. */
  #beginOutage(cause: unknown): void {
    if (this.#outage || this.#isClosed) return;
    this.#counts.outages++;
    const outage = { since: performance.now(), cause, over: Promise.resolve() };
    this.#outage = outage;
    outage.over = (async () => {
      for (let failures = 0; !this.#isClosed; failures++) {
        const backoff = Math.min(20 * 2 ** failures, longestBackoffMilliseconds);
        await pause(backoff * (0.5 + Math.random() / 2), undefined, { ref: false });
        // An attempt that got lost must not delay the next one.
        const connecting = this.#pool.connect().then(
          (client) => (client.release(), true),
          (error: unknown) => ((outage.cause = error), false),
        );
        const tooLong = pause(probeMilliseconds, false, { ref: false });
        if (await Promise.race([connecting, tooLong])) break;
      }
      this.#outage = undefined;
    })();
  }
}

/** Also of an error that only collects others, as a refused connection to a name with two addresses does. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(", ");
  return error instanceof Error ? error.message : String(error);
}

/** Settings go into `options` of the URL, after what stands there. */
function connectionSettings(url: string, settings: Record<string, string>): PoolConfig {
  const parsed = driverUrl(url);
  const given = parsed.searchParams.get("options");
  const own = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const options = [...(given ? [given] : []), ...own].join(" ");
  if (options) parsed.searchParams.set("options", options);
  // What stands in the URL would win over the pool's own name.
  parsed.searchParams.delete("application_name");
  return { connectionString: parsed.href };
}

const intervalOid = 1186;

/** As the driver does, except that an interval stays text. */
const getTypeParser: CustomTypesConfig["getTypeParser"] = (oid, format) =>
  Number(oid) === intervalOid ? (value: unknown) => value : types.getTypeParser(oid, format);
