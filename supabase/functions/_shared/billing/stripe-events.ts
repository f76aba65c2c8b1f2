import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Log } from "../observability/log.ts";
import { factsOfEvent, idOf, type EventFacts, type PaymentFacts, refundOf } from "./payment-facts.ts";
import { askStripe, type Stripe, type StripeAccess, verifyEvent } from "./stripe.ts";

export interface EventDesk {
  database: Pick<Database, "call">;
  stripe: StripeAccess;
  log: Log;
}

/** What became of an event. */
export interface HandledEvent {
  state: "handled" | "ignored" | "quarantined";
  reason?: string | null;
  isDuplicate: boolean;
}

interface Outcome {
  state: HandledEvent["state"];
  reason?: string | null;
  card_wanted?: { session_id: string; user_id: string };
}

/**
 * The event that Stripe signed. Times more than five minutes off, either way, are refused, so that an old message cannot be
 * sent again.
 * @throws AppError `invalid_signature`
 */
export async function verifiedEvent(
  stripe: StripeAccess,
  text: string,
  signature: string | null,
): Promise<Stripe.Event> {
  const event = signature === null ? undefined : await verifyEvent(stripe, text, signature);
  if (!event) throw new AppError("invalid_signature");
  return event;
}

/**
 * Stores an event, then does what it says, once: in one transaction, which marks it. A card that is to be kept is fetched
 * afterwards: the credit does not wait for it, and where that fails the event is delivered again.
 */
export async function handleEvent(desk: EventDesk, event: Stripe.Event): Promise<HandledEvent> {
  const { database, log } = desk;
  const facts = await completeFacts(desk.stripe, event, factsOfEvent(event));
  const before = await database.call<string>("receive_stripe_event", {
    event: json(event),
    payment_intent_id: facts && "payment_intent_id" in facts ? facts.payment_intent_id : null,
  });
  const outcome = await database.call<Outcome>("handle_stripe_event", {
    event_id: event.id,
    facts: facts ? json(facts) : null,
    refusal: refusalOf(desk.stripe, event, facts),
  });
  if (outcome.state === "quarantined") {
    log.warn(
      { stripe_event: event.id, type: event.type, reason: outcome.reason },
      "an event was quarantined",
    );
  }
  if (outcome.card_wanted) await keepCard(desk, outcome.card_wanted);
  return { state: outcome.state, reason: outcome.reason ?? null, isDuplicate: before !== "received" };
}

/** Newer versions of Stripe's API leave a charge's refunds out of the event; then they are asked for. */
async function completeFacts(
  stripe: StripeAccess,
  event: Stripe.Event,
  facts: EventFacts | undefined,
): Promise<EventFacts | undefined> {
  if (event.type !== "charge.refunded" || !facts || !("payment_intent_id" in facts)) return facts;
  if (event.data.object.refunds?.data && !event.data.object.refunds.has_more) return facts;
  const askedAt = new Date().toISOString();
  const refunds = await askStripe(stripe, async (client) => {
    const found: NonNullable<PaymentFacts["refunds"]> = [];
    const list = { payment_intent: facts.payment_intent_id, limit: 100 };
    for await (const refund of client.refunds.list(list))
      found.push({ ...refundOf(refund), told_at: askedAt });
    return found;
  });
  return { ...facts, refunds };
}

/** Why an event is left alone whatever it says: it is of another mode or account. */
function refusalOf(
  stripe: StripeAccess,
  event: Stripe.Event,
  facts: EventFacts | undefined,
): string | undefined {
  if (!facts) return undefined;
  if (stripe.livemode !== undefined && event.livemode !== stripe.livemode) return "wrong_livemode";
  return event.account ? "wrong_account" : undefined;
}

/** Keeps the card of a paid checkout that asked for automatic top-ups. */
async function keepCard(
  { database, stripe }: EventDesk,
  wanted: NonNullable<Outcome["card_wanted"]>,
): Promise<void> {
  const session = await askStripe(stripe, (client) =>
    client.checkout.sessions.retrieve(wanted.session_id, { expand: ["payment_intent"] }),
  );
  const intent = typeof session.payment_intent === "object" ? session.payment_intent : undefined;
  const [customer, card] = [idOf(session.customer), idOf(intent?.payment_method)];
  if (!customer || !card) return;
  await database.call("save_payment_method", {
    for_user: wanted.user_id,
    customer_id: customer,
    payment_method_id: card,
    for_session: wanted.session_id,
  });
}
