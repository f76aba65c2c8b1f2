import type { Database } from "../database/database.ts";
import type { ClaimedDelivery, WebhookSender } from "./sender.ts";

/** What is due and not on its way: at most so many, of which each endpoint has few. */
export async function claimDeliveries(
  database: Pick<Database, "call">,
  atMost: number,
): Promise<ClaimedDelivery[]> {
  return await database.call<ClaimedDelivery[]>("claim_webhook_deliveries", { at_most: atMost });
}

/** One attempt and the note of it. Answers the delivery's state; null when another sender has taken it over. */
export async function deliver(
  database: Pick<Database, "call">,
  sender: WebhookSender,
  delivery: ClaimedDelivery,
): Promise<string | null> {
  const outcome = await sender.send(delivery);
  return await database.call<string | null>("record_webhook_delivery", {
    for_delivery: delivery.delivery_id,
    for_claim: delivery.claim_id,
    duration_ms: outcome.durationMs,
    status_code: outcome.statusCode,
    error: outcome.error,
    retry_after_seconds: outcome.retryAfterSeconds,
  });
}

const atOnce = 32;

export interface DeliveryCounts {
  attempted: number;
  delivered: number;
}

/**
 * Sends what is due, many at a time, until nothing is, or the time or the number is used up: then nothing more is
 * begun, and what is under way is waited for.
 */
export async function deliverDue(
  database: Pick<Database, "call">,
  sender: WebhookSender,
  { atMost, forMilliseconds }: { atMost: number; forMilliseconds: number },
): Promise<DeliveryCounts> {
  const deadline = Date.now() + forMilliseconds;
  const counts = { attempted: 0, delivered: 0 };
  const underWay = new Set<Promise<void>>();
  for (;;) {
    const room = Math.min(atOnce - underWay.size, atMost - counts.attempted);
    for (const delivery of room > 0 && Date.now() < deadline ? await claimDeliveries(database, room) : []) {
      counts.attempted++;
      const sending = deliver(database, sender, delivery)
        .then((state) => void (counts.delivered += Number(state === "delivered")))
        .finally(() => underWay.delete(sending));
      underWay.add(sending);
    }
    if (underWay.size === 0) return counts;
    // Whatever ends makes room, in general and at its endpoint.
    await Promise.race(underWay);
  }
}
