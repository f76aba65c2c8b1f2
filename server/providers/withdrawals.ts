import type { Logger } from "pino";
import { connect } from "../../supabase/functions/_shared/database/database.ts";
import { createFalAccess } from "../../supabase/functions/_shared/providers/fal-access.ts";
import type { FalVariables } from "../../supabase/functions/_shared/providers/variables.ts";
import { exchangeOf } from "../../supabase/functions/_shared/providers/withdraw-provider-jobs.ts";
import { withdrawDue } from "../../supabase/functions/_shared/providers/withdrawals.ts";

export interface WithdrawalsOptions {
  databaseUrl: string;
  fal: FalVariables;
  log: Logger;
  /** How often it looks for jobs that no task needs any more. */
  pollMilliseconds?: number;
}

export interface Withdrawals {
  /** Begins no more withdrawals, and waits for those under way. */
  stop(): Promise<void>;
}

/** Withdraws jobs at FAL that no task needs any more, from this host; any number of hosts may do so on one database. */
export function startWithdrawals({
  databaseUrl,
  fal: variables,
  log,
  pollMilliseconds = 2_000,
}: WithdrawalsOptions): Withdrawals {
  // Its own connections: a settlement may wait for a lock that a user holds, and nobody else is to wait for it.
  const database = connect({ url: databaseUrl, name: "darkroom-withdrawals", connections: 4 });
  const fal = createFalAccess(variables);
  const exchange = exchangeOf(database);
  let running: Promise<void> | undefined;
  let isReading = true;

  async function run(): Promise<void> {
    try {
      const queue = await fal();
      if (queue) await withdrawDue({ exchange, fal: queue, log });
      isReading = true;
    } catch (error) {
      if (isReading) log.warn({ err: error }, "withdrawals cannot be read from the database");
      isReading = false;
    }
  }

  const timer = setInterval(() => {
    running ??= run().finally(() => (running = undefined));
  }, pollMilliseconds);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await running;
      await database.close();
    },
  };
}
