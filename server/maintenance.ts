import type { Logger } from "pino";
import type { Pool } from "../supabase/functions/_shared/database/pool.ts";

/** What runs now and then, on every host: a statement does a bounded batch, and several hosts may run it at once. */
interface Duty {
  statement: string;
  everyMilliseconds: number;
  /** Run again at once while the statement says that it did something: its first column is above zero. */
  untilDone?: boolean;
}

/** Work that a completion, a cancel or a deletion left behind: see `task_outbox`. */
const outbox: Duty = {
  statement: "select public.run_task_outbox() as did",
  everyMilliseconds: 500,
  untilDone: true,
};

const duties: readonly Duty[] = [
  // Scheduled tasks, expired leases and the like, even when nobody claims.
  { statement: "select public.tend_queue()", everyMilliseconds: 2_000 },
  { statement: "select public.settle_followers()", everyMilliseconds: 500 },
  outbox,
  { statement: "select public.expire_due_grants()", everyMilliseconds: 10_000 },
  { statement: "select public.tend_paid_calls()", everyMilliseconds: 10_000 },
  { statement: "select public.settle_overdue_withdrawals()", everyMilliseconds: 10_000 },
  { statement: "select public.mark_silent_workers()", everyMilliseconds: 10_000 },
  { statement: "select public.archive_finished_tasks()", everyMilliseconds: 10_000 },
  // Runs that are paid by the second: covered while the account can, ended when it cannot.
  { statement: "select public.grow_due_holds()", everyMilliseconds: 2_000 },
  { statement: "select public.end_uncovered_runs()", everyMilliseconds: 2_000 },
  { statement: "select public.forget_old_requests()", everyMilliseconds: 3_600_000 },
  { statement: "select public.tidy_counts()", everyMilliseconds: 3_600_000 },
  { statement: "select public.give_up_old_tasks()", everyMilliseconds: 3_600_000 },
  { statement: "select public.forget_old_logs()", everyMilliseconds: 3_600_000 },
  { statement: "select public.forget_old_webhooks()", everyMilliseconds: 3_600_000 },
];

export interface Maintenance {
  /** Works off the outbox now, instead of at its next time. */
  runOutbox(): void;
  /** Starts nothing more, and waits for the statements under way. */
  stop(): Promise<void>;
}

/** Runs the duties until it is stopped. A statement that fails is logged and runs again at its next time. */
export function startMaintenance(pool: Pool, log: Logger): Maintenance {
  const running = new Map(duties.map((duty) => [duty, repeat(pool, duty, log)]));
  return {
    runOutbox: () => running.get(outbox)?.runNow(),
    async stop() {
      await Promise.all([...running.values()].map(({ stop }) => stop()));
    },
  };
}

interface RepeatedDuty {
  runNow(): void;
  stop(): Promise<void>;
}

function repeat(pool: Pool, { statement, everyMilliseconds, untilDone }: Duty, log: Logger): RepeatedDuty {
  let running: Promise<void> | undefined;
  const stopping = new AbortController();
  let isWanted = false;
  async function run(): Promise<void> {
    try {
      do {
        isWanted = false;
        const [row] = await pool.query<{ did?: number }[]>(statement);
        if (untilDone && (row?.did ?? 0) > 0) isWanted = true;
      } while (isWanted && !stopping.signal.aborted);
    } catch (error) {
      log.error({ err: error, statement }, "maintenance failed");
    }
  }
  function runNow(): void {
    if (stopping.signal.aborted) return;
    isWanted = true;
    running ??= run().finally(() => (running = undefined));
  }
  const timer = setInterval(() => {
    if (!running) runNow();
  }, everyMilliseconds);
  timer.unref();
  return {
    runNow,
    async stop() {
      stopping.abort();
      clearInterval(timer);
      await running;
    },
  };
}
