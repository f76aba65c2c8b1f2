import type { Logger } from "pino";
import type { Pool } from "../supabase/functions/_shared/database/pool.ts";

/** What runs now and then, on every host: each statement does a bounded batch, and several hosts may run it at once. */
const duties: readonly { statement: string; everyMilliseconds: number }[] = [
  // Scheduled tasks, expired leases and the like, even when nobody claims.
  { statement: "select public.tend_queue()", everyMilliseconds: 2_000 },
  { statement: "select public.settle_followers()", everyMilliseconds: 500 },
  { statement: "select public.expire_due_grants()", everyMilliseconds: 10_000 },
  { statement: "select public.tend_paid_calls()", everyMilliseconds: 10_000 },
  { statement: "select public.settle_overdue_withdrawals()", everyMilliseconds: 10_000 },
  { statement: "select public.mark_silent_workers()", everyMilliseconds: 10_000 },
  { statement: "select public.archive_finished_tasks()", everyMilliseconds: 10_000 },
  { statement: "select public.refresh_run_estimates()", everyMilliseconds: 60_000 },
  { statement: "select public.forget_old_requests()", everyMilliseconds: 3_600_000 },
  { statement: "select public.tidy_counts()", everyMilliseconds: 3_600_000 },
  { statement: "select public.give_up_old_tasks()", everyMilliseconds: 3_600_000 },
  { statement: "select public.forget_old_logs()", everyMilliseconds: 3_600_000 },
  { statement: "select public.forget_old_webhooks()", everyMilliseconds: 3_600_000 },
];

export interface Maintenance {
  /** Starts nothing more, and waits for the statements under way. */
  stop(): Promise<void>;
}

/** Runs the duties until it is stopped. A statement that fails is logged and runs again at its next time. */
export function startMaintenance(pool: Pool, log: Logger): Maintenance {
  const stops = duties.map(({ statement, everyMilliseconds }) =>
    repeat(pool, statement, everyMilliseconds, log),
  );
  return {
    async stop() {
      await Promise.all(stops.map((stop) => stop()));
    },
  };
}

function repeat(pool: Pool, statement: string, everyMilliseconds: number, log: Logger): () => Promise<void> {
  let running: Promise<void> | undefined;
  async function run(): Promise<void> {
    try {
      await pool.query(statement);
    } catch (error) {
      log.error({ err: error, statement }, "maintenance failed");
    }
  }
  const timer = setInterval(() => {
    running ??= run().finally(() => (running = undefined));
  }, everyMilliseconds);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
