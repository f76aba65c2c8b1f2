import type { Logger } from "pino";
import { chargeDue, requestDue } from "../../supabase/functions/_shared/billing/auto-topup.ts";
import type { StripeAccess } from "../../supabase/functions/_shared/billing/stripe.ts";
import { connect } from "../../supabase/functions/_shared/database/database.ts";

export interface AutoTopupsOptions {
  databaseUrl: string;
  stripe: StripeAccess;
  log: Logger;
  /** How often it looks for requests. */
  pollMilliseconds?: number;
  /** How often it looks for people whose request was not made as their balance fell. */
  sweepMilliseconds?: number;
}

export interface AutoTopups {
  /** Begins no more charges, and waits for those under way: an answer that is lost is asked for again by another host. */
  stop(): Promise<void>;
}

/** Charges the automatic top-ups that are due, from this host; any number of hosts may do so on one database. */
export function startAutoTopups({
  databaseUrl,
  stripe,
  log,
  pollMilliseconds = 2_000,
  sweepMilliseconds = 600_000,
}: AutoTopupsOptions): AutoTopups {
  // Its own connection: charges and requests must not wait for each other.
  const database = connect({ url: databaseUrl, name: "darkroom-topups", connections: 2 });
  const till = { database, stripe, log };
  let running: Promise<void> | undefined;
  let isReading = true;
  const stopping = new AbortController();
  let lastSweep = Date.now();

  async function sweep(): Promise<void> {
    let after: string | undefined;
    do {
      after = (await requestDue(database, after)).next_after ?? undefined;
    } while (after !== undefined && !stopping.signal.aborted);
  }

  async function run(): Promise<void> {
    try {
      if (Date.now() - lastSweep >= sweepMilliseconds) {
        lastSweep = Date.now();
        await sweep();
      }
      if (!stopping.signal.aborted) await chargeDue(till, Date.now() + pollMilliseconds);
      isReading = true;
    } catch (error) {
      if (isReading) log.warn({ err: error }, "automatic top-ups cannot be read from the database");
      isReading = false;
    }
  }

  const timer = setInterval(() => {
    running ??= run().finally(() => (running = undefined));
  }, pollMilliseconds);
  timer.unref();
  return {
    async stop() {
      stopping.abort();
      clearInterval(timer);
      await running;
      await database.close();
    },
  };
}
