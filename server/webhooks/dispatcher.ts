import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import { connect } from "../../supabase/functions/_shared/database/database.ts";
import { claimDeliveries, deliver } from "../../supabase/functions/_shared/webhooks/deliver-webhooks.ts";
import type { ClaimedDelivery, WebhookSender } from "../../supabase/functions/_shared/webhooks/sender.ts";

export interface DispatcherOptions {
  databaseUrl: string;
  sender: WebhookSender;
  log: Logger;
  /** How often it looks without being woken. */
  pollMilliseconds?: number;
}

export interface Dispatcher {
  /** Something may be due: looks soon. */
  wake(): void;
  /** Claims nothing more and waits a little for what is under way; another host sends again what does not end. */
  stop(): Promise<void>;
}

const atOnce = 64;
/** Hints come in bursts, most of them of tasks without webhooks: one look serves all of a moment, a longer one when
 * the last look found nothing. */
const coalesceMilliseconds = { busy: 20, idle: 100 };
const drainMilliseconds = 5_000;

/** Sends what is due, from this host; any number of hosts may do so on one database. */
export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { databaseUrl, sender, log, pollMilliseconds = 1000 } = options;
  // Its own few connections: deliveries and requests must not wait for each other.
  const database = connect({ url: databaseUrl, name: "darkroom-webhooks", connections: 2 });
  const underWay = new Set<Promise<void>>();
  const stopping = new AbortController();
  let wasHinted = false;
  let endSleep: (() => void) | undefined;

  function wake(): void {
    wasHinted = true;
    endSleep?.();
  }

  async function sleep(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      endSleep = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    endSleep = undefined;
  }

  async function sendOne(delivery: ClaimedDelivery): Promise<void> {
    try {
      await deliver(database, sender, delivery);
    } catch (error) {
      // Without a note of it, it is sent again when its claim has run out.
      log.warn({ err: error, delivery_id: delivery.delivery_id }, "a webhook's outcome was not noted");
    }
  }

  async function run(): Promise<void> {
    let isReading = true;
    while (!stopping.signal.aborted) {
      wasHinted = false;
      let claimed: ClaimedDelivery[] = [];
      try {
        const room = atOnce - underWay.size;
        if (room > 0) claimed = await claimDeliveries(database, room);
        for (const delivery of claimed) {
          // An endpoint that has one less under way may have one more; so look again.
          const sending = sendOne(delivery).finally(() => {
            underWay.delete(sending);
            wake();
          });
          underWay.add(sending);
        }
        isReading = true;
      } catch (error) {
        if (isReading) log.warn({ err: error }, "webhooks cannot be read from the database");
        isReading = false;
      }
      if (!stopping.signal.aborted && !(wasHinted && isReading)) await sleep(pollMilliseconds);
      if (!stopping.signal.aborted)
        await pause(claimed.length > 0 ? coalesceMilliseconds.busy : coalesceMilliseconds.idle);
    }
  }

  const running = run();
  return {
    wake,
    async stop() {
      stopping.abort();
      endSleep?.();
      await running;
      await Promise.race([Promise.all(underWay), pause(drainMilliseconds, undefined, { ref: false })]);
      await database.close();
    },
  };
}
