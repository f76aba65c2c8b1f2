import type { EventEnvelope } from "./event-envelope.ts";
import { unreadableType } from "./event-envelope.ts";
import {
  type EventFacts,
  handledEvents,
  type ObjectKind,
  readObject,
  type Reading,
} from "./payment-facts.ts";
import { askStripe, isMissing, type Stripe, type StripeAccess } from "./stripe.ts";
import { issuesOf, refundObject } from "./stripe-objects.ts";

/** What an event comes to: something to record, nothing of ours, or a reason to quarantine it. */
export type Interpretation =
  | { kind: "facts"; facts: EventFacts }
  | { kind: "nothing" }
  | { kind: "refused"; reason: string; paymentIntentId?: string | undefined; issues?: string[] };

/**
 * What a stored event says. Where its own text cannot be read or leaves something out, as older and newer versions of
 * Stripe's API do, Stripe is asked for the object as it is now. What cannot be read even then is refused.
 * @throws AppError `provider_…` where Stripe has to be asked and does not answer: worth another attempt
 */
export async function interpretEvent(stripe: StripeAccess, event: EventEnvelope): Promise<Interpretation> {
  if (event.type === unreadableType) return unreadable(event.issues);
  const kind = handledEvents.get(event.type);
  if (!kind) return { kind: "nothing" };
  // Without its time an event would count as the newest word; Stripe's answer is.
  const reading: Reading =
    event.createdAt === undefined
      ? { kind: "unreadable", issues: ["created: unreadable"] }
      : readObject(kind, event.object);
  if (reading.kind === "nothing") return reading;
  const refusal = refusalOf(stripe, event, reading);
  if (refusal) return refusal;
  if (reading.kind === "facts") return reading;
  if (reading.kind === "refunds wanted") return await withAllRefunds(stripe, reading.paymentIntentId);
  return await interpretFresh(stripe, kind, event, reading.issues);
}

/** Why an event is left alone whatever it says: it is of another mode or account, or does not say of which. */
function refusalOf(stripe: StripeAccess, event: EventEnvelope, reading: Reading): Interpretation | undefined {
  const paymentIntentId = intentOf(reading);
  if (event.livemode === undefined) return unreadable(event.issues, paymentIntentId);
  if (stripe.livemode !== undefined && event.livemode !== stripe.livemode) {
    return { kind: "refused", reason: "wrong_livemode", paymentIntentId };
  }
  const isAccountUnreadable = event.issues.includes("account: unreadable");
  if (isAccountUnreadable) return unreadable(event.issues, paymentIntentId);
  if (event.account !== undefined) return { kind: "refused", reason: "wrong_account", paymentIntentId };
  return undefined;
}

function intentOf(reading: Reading): string | undefined {
  if (reading.kind === "refunds wanted") return reading.paymentIntentId;
  return reading.kind === "facts" && "payment_intent_id" in reading.facts
    ? reading.facts.payment_intent_id
    : undefined;
}

/** By the object that Stripe has now. */
async function interpretFresh(
  stripe: StripeAccess,
  kind: ObjectKind,
  event: EventEnvelope,
  issues: string[],
): Promise<Interpretation> {
  const id = objectId(event.object);
  if (id === undefined) return unreadable(issues);
  const askedAt = new Date().toISOString();
  const object = await askStripe(stripe, async (client) => {
    try {
      return await retrieve(client, kind, id);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  });
  const reading = readObject(kind, object, true);
  if (reading.kind === "facts") {
    return { kind: "facts", facts: { ...reading.facts, told_at: askedAt } as EventFacts };
  }
  if (reading.kind === "refunds wanted") return await withAllRefunds(stripe, reading.paymentIntentId);
  return reading.kind === "nothing" ? reading : unreadable([...issues, ...reading.issues]);
}

function objectId(object: unknown): string | undefined {
  const id = typeof object === "object" && object !== null && "id" in object ? object.id : undefined;
  return typeof id === "string" && /^[A-Za-z0-9_-]{1,255}$/.test(id) ? id : undefined;
}

/** Undefined for what says nothing beyond its name. */
async function retrieve(client: Stripe, kind: ObjectKind, id: string): Promise<unknown> {
  switch (kind) {
    case "session":
    case "failed session":
      return await client.checkout.sessions.retrieve(id);
    case "intent":
      return await client.paymentIntents.retrieve(id);
    case "charge":
      return await client.charges.retrieve(id);
    case "refund":
      return await client.refunds.retrieve(id);
    case "dispute":
      return await client.disputes.retrieve(id);
    case "expired session":
    case "card":
    case "customer":
      return { id };
  }
}

async function withAllRefunds(stripe: StripeAccess, paymentIntentId: string): Promise<Interpretation> {
  const askedAt = new Date().toISOString();
  const refunds = await askStripe(stripe, async (client) => {
    const found: unknown[] = [];
    for await (const refund of client.refunds.list({ payment_intent: paymentIntentId, limit: 100 })) {
      found.push(refund);
    }
    return found;
  });
  const read = refunds.map((refund) => refundObject.safeParse(refund));
  const failed = read.find(({ success }) => !success);
  if (failed?.error) return unreadable(issuesOf(failed.error), paymentIntentId);
  return {
    kind: "facts",
    facts: {
      payment_intent_id: paymentIntentId,
      refunds: read.flatMap(({ data }) =>
        data
          ? [
              {
                id: data.id,
                amount_cents: data.amount,
                currency: data.currency,
                status: data.status ?? "pending",
                told_at: askedAt,
              },
            ]
          : [],
      ),
    },
  };
}

function unreadable(issues: string[], paymentIntentId?: string): Interpretation {
  return { kind: "refused", reason: "unreadable_event", paymentIntentId, issues };
}
