import type { Logger } from "pino";

/** A pool of connections, as the check of liveness sees it. */
export interface WatchedPool {
  name: string;
  /** Runs `select 1` on a connection of the pool. May never settle: that is what is looked for. */
  ping(): Promise<unknown>;
  /** When a statement of the pool ended last, by `performance.now()`, where that is known. */
  lastAnswer?(): number;
}

/**
 * What a connection of its own, apart from the pools, finds: the database answers; or its statements of ours wait for
 * locks, so that a pool without an answer is not at fault; or it cannot be reached.
 */
export type DatabaseState = "answers" | "waits for locks" | "does not answer";

export interface LivenessOptions {
  pools: readonly WatchedPool[];
  askDatabase(): Promise<DatabaseState>;
  log: Logger;
  intervalMilliseconds?: number;
  /** How long a pool may be without an answer while the database answers. */
  limitMilliseconds?: number;
}

export interface Liveness {
  /** Why the process cannot serve; undefined when it can, or when the reason is not in this process. */
  obstacle(): string | undefined;
  stop(): void;
}

/** Of a pool that does not answer: a ping may wait on a single wedged connection, and pings must not pile up. */
const mostPings = 4;

interface Watch {
  pool: WatchedPool;
  /** When the pings began that have no answer yet. */
  pings: number[];
  answered: number;
  /** Since when the database answers and this pool does not. */
  wedgedSince: number | undefined;
}

/**
 * Finds pools that are wedged: without an answer for a long time although the database answers on a new connection.
 * Only a new process helps then, so `/health` fails. An outage of the database is another matter: a new process
 * would not help, so the time of an outage does not count.
 *
 * A blocked event loop needs no check here: it answers no probe at all.
 */
export function watchLiveness(options: LivenessOptions): Liveness {
  const { askDatabase, log, intervalMilliseconds = 5_000, limitMilliseconds = 30_000 } = options;
  const watches = options.pools.map<Watch>((pool) => ({
    pool,
    pings: [],
    answered: performance.now(),
    wedgedSince: undefined,
  }));
  let running = false;

  async function ping(watch: Watch): Promise<void> {
    const begun = performance.now();
    watch.pings.push(begun);
    try {
      await watch.pool.ping();
      watch.answered = performance.now();
    } catch (error) {
      // The pool lives, and the reason may be the database: that is for askDatabase() to say.
      log.debug({ err: error, pool: watch.pool.name }, "a pool answers with an error");
    } finally {
      watch.pings = watch.pings.filter((other) => other !== begun);
    }
  }

  async function round(): Promise<void> {
    const recent = performance.now() - limitMilliseconds;
    for (const watch of watches)
      if (watch.pings.filter((begun) => begun > recent).length < mostPings) void ping(watch);
    const silent = watches.filter((watch) => {
      const answered = Math.max(watch.answered, watch.pool.lastAnswer?.() ?? 0);
      const isSilent = performance.now() - answered > 2 * intervalMilliseconds;
      if (!isSilent) setWedged(watch, undefined);
      return isSilent;
    });
    if (silent.length === 0) return;
    const state = await askDatabase();
    for (const watch of silent)
      setWedged(watch, state === "answers" ? (watch.wedgedSince ?? performance.now()) : undefined);
  }

  function setWedged(watch: Watch, since: number | undefined): void {
    const fields = { pool: watch.pool.name };
    if (since !== undefined && watch.wedgedSince === undefined)
      log.warn(fields, "a pool does not answer although the database does");
    if (since === undefined && watch.wedgedSince !== undefined) log.info(fields, "the pool answers again");
    watch.wedgedSince = since;
  }

  const timer = setInterval(() => {
    if (running) return;
    running = true;
    round()
      .catch((error: unknown) => log.error({ err: error }, "the check of liveness failed"))
      .finally(() => (running = false));
  }, intervalMilliseconds);
  timer.unref();
  return {
    obstacle() {
      for (const { pool, wedgedSince } of watches) {
        const milliseconds = performance.now() - (wedgedSince ?? Infinity);
        if (milliseconds >= limitMilliseconds) {
          const seconds = Math.round(milliseconds / 1000);
          return `the pool ${pool.name} has not answered for ${seconds} s although the database answers`;
        }
      }
      return undefined;
    },
    stop: () => clearInterval(timer),
  };
}
