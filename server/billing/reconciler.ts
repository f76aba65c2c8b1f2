import type { Logger } from "pino";
import {
  reconcileAll,
  reconcilePayments,
  type Reconciliation,
} from "../../supabase/functions/_shared/billing/reconcile-payments.ts";
import { handleDueEvents } from "../../supabase/functions/_shared/billing/stripe-events.ts";
import type { StripeAccess } from "../../supabase/functions/_shared/billing/stripe.ts";
import { connect } from "../../supabase/functions/_shared/database/database.ts";

const dayMilliseconds = 86_400_000;

export interface ReconcilerOptions {
  databaseUrl: string;
  stripe: StripeAccess;
  log: Logger;
  everyMilliseconds?: number;
  /** How often it looks for events that are due. */
  retryMilliseconds?: number;
}

export interface Reconciler {
  stop(): Promise<void>;
}

/**
 * Looks every hour at what Stripe did in the last three days, as long as it sends an event again. In between it handles
 * events that were stored and could not be handled: Stripe is not asked to send those again.
 */
export function startReconciler({
  databaseUrl,
  stripe,
  log,
  everyMilliseconds = 3_600_000,
  retryMilliseconds = 15_000,
}: ReconcilerOptions): Reconciler {
  const database = connect({ url: databaseUrl, name: "darkroom-reconciler", connections: 1 });
  const desk = { database, stripe, log };
  let running: Promise<void> | undefined;
  let retrying: Promise<void> | undefined;
  const stopping = new AbortController();

  async function run(): Promise<void> {
    const to = new Date();
    const from = new Date(to.getTime() - 3 * dayMilliseconds);
    let after: string | undefined;
    try {
      do {
        // A page at a time, so that stopping does not wait for all of them.
        const page = await reconcilePayments(desk, { from, to, heal: true, after, deadline: 0 });
        for (const difference of page.differences) log.warn({ difference }, "Stripe's books and ours differ");
        after = page.next_after ?? undefined;
      } while (after !== undefined && !stopping.signal.aborted);
    } catch (error) {
      log.warn({ err: error }, "payments could not be reconciled");
    }
  }

  async function retry(): Promise<void> {
    try {
      await handleDueEvents(desk, () => stopping.signal.aborted);
    } catch (error) {
      log.warn({ err: error }, "events of Stripe that are due could not be handled");
    }
  }

  const timer = setInterval(() => {
    running ??= run().finally(() => (running = undefined));
  }, everyMilliseconds);
  const retryTimer = setInterval(() => {
    retrying ??= retry().finally(() => (retrying = undefined));
  }, retryMilliseconds);
  return {
    async stop() {
      stopping.abort();
      clearInterval(timer);
      clearInterval(retryTimer);
      await Promise.all([running, retrying]);
      await database.close();
    },
  };
}

export interface ReconcileCommand {
  databaseUrl: string;
  stripe: StripeAccess;
  log: Logger;
  from: Date | undefined;
  to: Date | undefined;
  heal: boolean;
}

/** The whole window at once, for the command. */
export async function reconcileOnce({
  databaseUrl,
  stripe,
  log,
  from,
  to = new Date(),
  heal,
}: ReconcileCommand): Promise<Reconciliation> {
  const database = connect({ url: databaseUrl, connections: 1 });
  try {
    const begin = from ?? new Date(to.getTime() - 3 * dayMilliseconds);
    return await reconcileAll({ database, stripe, log }, { from: begin, to, heal });
  } finally {
    await database.close();
  }
}
