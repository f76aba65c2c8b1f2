import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Log } from "../observability/log.ts";
import { type EventEnvelope, readEnvelope, type StoredEvent } from "./event-envelope.ts";
import { interpretEvent } from "./interpret-event.ts";
import { askStripe, type StripeAccess, verifySignature } from "./stripe.ts";
import { idOf } from "./stripe-objects.ts";

export interface EventDesk {
  database: Pick<Database, "call">;
  stripe: StripeAccess;
  log: Log;
}

/** What became of an event; `received` is stored, and handled later. */
export interface HandledEvent {
  state: "handled" | "ignored" | "quarantined" | "received";
  reason?: string | null;
}

interface Outcome extends HandledEvent {
  card_wanted?: { session_id: string; user_id: string };
}

/**
 * Takes an event that Stripe has sent: its signature first, over the text as it came, then the event itself into its table,
 * and only then what it says. From the moment it is stored it is ours: whatever goes wrong afterwards, short of the
 * database, is no reason for Stripe to send it again.
 * @throws AppError `invalid_signature`, `provider_not_configured`; `database_unavailable`: nothing may be stored
 */
export async function receiveEvent(
  desk: EventDesk,
  text: string,
  signature: string | null,
): Promise<HandledEvent & { isDuplicate: boolean }> {
  if (signature === null || !(await verifySignature(desk.stripe, text, signature))) {
    throw new AppError("invalid_signature");
  }
  const event = await readEnvelope(text);
  const before = await desk.database.call<string>("receive_stripe_event", {
    event_id: event.id,
    event_type: event.type,
    body: event.body,
    livemode: event.livemode,
    account: event.account,
    api_version: event.apiVersion,
    event_created_at: event.createdAt,
  });
  return { ...(await handleEvent(desk, event)), isDuplicate: before !== "received" };
}

/** Handles an event that is stored, also again. */
export async function handleStoredEvent(desk: EventDesk, { id, body }: StoredEvent): Promise<HandledEvent> {
  return await handleEvent(desk, await readEnvelope(body, id));
}

const atOnce = 20;

/** Handles events whose time has come: those that were stored and not handled, and those whose card could not be saved. */
export async function handleDueEvents(desk: EventDesk, isStopping = () => false): Promise<number> {
  let handled = 0;
  for (;;) {
    const due = await desk.database.call<StoredEvent[]>("claim_stripe_events", { at_most: atOnce });
    for (const event of due) {
      if (isStopping()) return handled;
      await handleStoredEvent(desk, event);
      handled++;
    }
    if (due.length < atOnce) return handled;
  }
}

async function handleEvent(desk: EventDesk, event: EventEnvelope): Promise<HandledEvent> {
  const outcome = await orPostponed(desk, event, async () => await recordEvent(desk, event));
  if (!outcome) return { state: "received" };
  const { state, reason = null, card_wanted } = outcome;
  // The credit does not wait for the card.
  if (card_wanted) await orPostponed(desk, event, async () => await keepCard(desk, card_wanted));
  return { state, reason };
}

async function recordEvent({ database, stripe, log }: EventDesk, event: EventEnvelope): Promise<Outcome> {
  const told = await interpretEvent(stripe, event);
  const refused = told.kind === "refused" ? told : undefined;
  const facts =
    told.kind === "facts"
      ? told.facts
      : refused?.paymentIntentId && { payment_intent_id: refused.paymentIntentId };
  const outcome = await database.call<Outcome>("handle_stripe_event", {
    event_id: event.id,
    facts: facts ? json(facts) : null,
    refusal: refused?.reason,
    details: refused?.issues && json({ issues: refused.issues, api_version: event.apiVersion ?? null }),
  });
  if (outcome.state === "quarantined") {
    const { reason } = outcome;
    log.error({ stripe_event: event.id, type: event.type, reason }, "an event was quarantined");
  }
  return outcome;
}

/**
 * What the work comes to; undefined where it failed and is done again later. Without the database nothing can be noted:
 * then Stripe is to send the event again.
 */
async function orPostponed<Result>(
  { database, log }: EventDesk,
  event: EventEnvelope,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof AppError ? error.code : "internal_error";
    if (code === "database_unavailable") throw error;
    await database.call("postpone_stripe_event", { event_id: event.id, reason: code });
    const err = error instanceof AppError ? (error.cause ?? error) : error;
    log.error({ stripe_event: event.id, type: event.type, err }, "an event is handled again later");
    return undefined;
  }
}

/** Saves the card of a paid checkout that asked for automatic top-ups. */
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
