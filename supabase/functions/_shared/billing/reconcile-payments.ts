import { json } from "../database/database.ts";
import type { StoredEvent } from "./event-envelope.ts";
import { type PaymentFacts, readDispute, readIntent, readRefund, type Reading } from "./payment-facts.ts";
import { askStripe, isMissing } from "./stripe.ts";
import { type EventDesk, handleDueEvents, handleStoredEvent } from "./stripe-events.ts";

/** One difference between Stripe's books and ours. */
export interface Difference {
  fault:
    | "event_not_handled"
    | "payment_not_recorded"
    | "refund_not_recorded"
    | "dispute_not_recorded"
    | "unreadable_at_stripe"
    | "amount_differs"
    | "not_paid_at_stripe"
    | "unknown_at_stripe";
  /** The payment intent, or the event. */
  subject: string;
  healed: boolean;
  details: Record<string, unknown>;
}

export interface ReconcileOptions {
  /** Payments, refunds and disputes that were made from then on, up to then. */
  from: Date;
  to: Date;
  /** Sets right what is missing here; else it is only told. */
  heal: boolean;
  /** Where a run before stopped. */
  after?: string | undefined;
  /** When to stop, as milliseconds since the epoch. */
  deadline: number;
}

export interface Reconciliation {
  /** How many payments, refunds and disputes of Stripe's, and how many of ours that it did not list. */
  checked: number;
  differences: Difference[];
  /** Where to go on, if the time was used up. */
  next_after: string | null;
}

const stages = ["events", "intents", "refunds", "disputes", "unseen"] as const;
type Stage = (typeof stages)[number];

/** A page of a stage: how much was looked at, what differs, and where the next begins; none after the last. */
interface Page {
  checked: number;
  differences: Difference[];
  next: string | undefined;
}

const pageSize = 100;

/**
 * Holds what Stripe has against payments and ledger, page by page, so in little memory whatever there is. What is
 * missing here is recorded by the function that events go through; what is here and not there, or differs in its
 * amount, raises an alert and stays. Repeating it changes nothing.
 */
export async function reconcilePayments(desk: EventDesk, options: ReconcileOptions): Promise<Reconciliation> {
  const begun = parseCursor(options.after);
  const startedAt = begun?.startedAt ?? new Date().toISOString();
  let stage: Stage = begun?.stage ?? "events";
  let after = begun?.after;
  const result: Reconciliation = { checked: 0, differences: [], next_after: null };
  for (;;) {
    const page = await pageOf(desk, stage, options, startedAt, after);
    result.checked += page.checked;
    result.differences.push(...page.differences);
    after = page.next;
    if (after === undefined) {
      const next: Stage | undefined = stages[stages.indexOf(stage) + 1];
      if (next === undefined) return result;
      stage = next;
    }
    if (Date.now() >= options.deadline) {
      return { ...result, next_after: [stage, startedAt, after ?? ""].join("|") };
    }
  }
}

/** All pages until the last, for callers with time. */
export async function reconcileAll(
  desk: EventDesk,
  window: Pick<ReconcileOptions, "from" | "to" | "heal">,
): Promise<Reconciliation> {
  return await reconcilePayments(desk, { ...window, deadline: Number.POSITIVE_INFINITY });
}

async function pageOf(
  desk: EventDesk,
  stage: Stage,
  options: ReconcileOptions,
  startedAt: string,
  after: string | undefined,
): Promise<Page> {
  const list = {
    limit: pageSize,
    created: { gte: seconds(options.from), lt: seconds(options.to) },
    ...(after && { starting_after: after }),
  };
  switch (stage) {
    case "events":
      return await unhandledEvents(desk, options);
    case "intents": {
      const { data, has_more } = await askStripe(desk.stripe, (client) => client.paymentIntents.list(list));
      const paid = data.filter(({ status }) => status === "succeeded");
      const read = paid.map((intent) => ({
        id: intent.id,
        reading: readIntent(intent, { isFresh: true }),
        created: intent.created,
      }));
      return await compared(desk, options, data, read, has_more);
    }
    case "refunds": {
      const { data, has_more } = await askStripe(desk.stripe, (client) => client.refunds.list(list));
      const read = data.map((refund) => ({ id: refund.id, reading: readRefund(refund) }));
      return await compared(desk, options, data, read, has_more);
    }
    case "disputes": {
      const { data, has_more } = await askStripe(desk.stripe, (client) => client.disputes.list(list));
      const read = data.map((dispute) => ({ id: dispute.id, reading: readDispute(dispute) }));
      return await compared(desk, options, data, read, has_more);
    }
    case "unseen":
      return await unseenPayments(desk, options, startedAt, after);
  }
}

interface UnhandledEvent extends StoredEvent {
  type: string;
}

/** Events that were stored, and then something failed: they are done now. */
async function unhandledEvents(desk: EventDesk, { heal }: ReconcileOptions): Promise<Page> {
  const events = await desk.database.call<UnhandledEvent[]>("unhandled_stripe_events", {
    at_most: pageSize,
  });
  const differences: Difference[] = [];
  for (const event of events) {
    const state = heal ? (await handleStoredEvent(desk, event)).state : "received";
    differences.push({
      fault: "event_not_handled",
      subject: event.id,
      healed: state === "handled" || state === "ignored",
      details: { type: event.type, state },
    });
  }
  // Events that are handled and whose card could not be saved.
  if (heal) await handleDueEvents(desk);
  return { checked: events.length, differences, next: undefined };
}

/** An object of Stripe's, what it says, and when its payment was made; for all else that is now. */
interface ReadObject {
  id: string;
  reading: Reading<PaymentFacts>;
  created?: number;
}

/** The argument of the SQL function `reconcile_payments`. */
function datedFacts({ reading, created }: ReadObject): (PaymentFacts & { told_at: string })[] {
  const toldAt = (created === undefined ? new Date() : new Date(created * 1000)).toISOString();
  return reading.kind === "facts" ? [{ ...reading.facts, told_at: toldAt }] : [];
}

async function compared(
  { database }: EventDesk,
  { heal }: ReconcileOptions,
  listed: { id: string }[],
  read: ReadObject[],
  hasMore: boolean,
): Promise<Page> {
  const told = read.flatMap(datedFacts);
  // One that cannot be read must not hide the others.
  const unreadable = read.flatMap(({ id, reading }): Difference[] => {
    const isUnreadable = reading.kind === "unreadable";
    if (!isUnreadable) return [];
    return [
      { fault: "unreadable_at_stripe", subject: id, healed: false, details: { issues: reading.issues } },
    ];
  });
  const differences =
    told.length > 0
      ? await database.call<Difference[]>("reconcile_payments", { told: json(told), heal })
      : [];
  return {
    checked: listed.length,
    differences: [...unreadable, ...differences],
    next: hasMore ? listed.at(-1)?.id : undefined,
  };
}

/** What is ours and was not listed: another time at Stripe, or nothing there at all. */
async function unseenPayments(
  desk: EventDesk,
  options: ReconcileOptions,
  startedAt: string,
  after: string | undefined,
): Promise<Page> {
  const { database, stripe } = desk;
  const intents = await database.call<string[]>("unseen_payments", {
    from_time: options.from.toISOString(),
    to_time: options.to.toISOString(),
    seen_since: startedAt,
    after_intent: after ?? null,
    at_most: pageSize,
  });
  const differences: Difference[] = [];
  const found: ReadObject[] = [];
  for (const id of intents) {
    const intent = await askStripe(stripe, async (client) => {
      try {
        return await client.paymentIntents.retrieve(id);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
    if (intent) {
      found.push({ id, reading: readIntent(intent, { isKnown: true }), created: intent.created });
    } else differences.push(await database.call<Difference>("report_ghost_payment", { for_intent: id }));
  }
  const page = await compared(
    desk,
    options,
    intents.map((id) => ({ id })),
    found,
    intents.length === pageSize,
  );
  return { ...page, differences: [...differences, ...page.differences] };
}

function parseCursor(
  cursor: string | undefined,
): { stage: Stage; startedAt: string; after: string | undefined } | undefined {
  const [named, startedAt = "", after = ""] = cursor?.split("|") ?? [];
  const stage = stages.find((one) => one === named);
  return stage && { stage, startedAt, after: after || undefined };
}

function seconds(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}
