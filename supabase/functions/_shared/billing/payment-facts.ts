import type { Stripe } from "./stripe.ts";

/** What is told of a payment; the argument of the SQL function `record_payment`. */
export interface PaymentFacts {
  payment_intent_id: string;
  payment?: {
    state: "pending" | "failed" | "paid";
    amount_cents: number;
    currency: string;
    user_id: string | undefined;
    purpose: "checkout" | "auto_topup";
    request_id: string | undefined;
    session_id?: string;
  };
  refunds?: { id: string; amount_cents: number; status: string; told_at?: string }[];
  disputes?: { id: string; amount_cents: number; status: string; told_at?: string }[];
}

/** What an event says that is of interest here. */
export type EventFacts =
  PaymentFacts | { expired_session: string } | { detached_card: string } | { deleted_customer: string };

type Metadata = Record<string, string> | null | undefined;

/** What an event tells; undefined when it is about nothing of ours. */
export function factsOfEvent(event: Stripe.Event): EventFacts | undefined {
  switch (event.type) {
    case "checkout.session.completed":
    case "checkout.session.async_payment_succeeded":
      return factsOfSession(event.data.object);
    case "checkout.session.async_payment_failed":
      return factsOfSession(event.data.object, "failed");
    case "checkout.session.expired":
      return { expired_session: event.data.object.id };
    case "payment_intent.succeeded":
    case "payment_intent.processing":
    case "payment_intent.payment_failed":
    case "payment_intent.canceled":
      return factsOfIntent(event.data.object);
    case "charge.refunded":
      return factsOfCharge(event.data.object);
    case "refund.created":
    case "refund.updated":
    case "refund.failed":
    case "charge.refund.updated":
      return factsOfRefund(event.data.object);
    case "charge.dispute.created":
    case "charge.dispute.updated":
    case "charge.dispute.closed":
    case "charge.dispute.funds_withdrawn":
    case "charge.dispute.funds_reinstated":
      return factsOfDispute(event.data.object);
    case "payment_method.detached":
      return { detached_card: event.data.object.id };
    case "customer.deleted":
      return { deleted_customer: event.data.object.id };
    default:
      return undefined;
  }
}

/** Of a session on which something is paid, or is to be. */
export function factsOfSession(
  session: Stripe.Checkout.Session,
  failed?: "failed",
): PaymentFacts | undefined {
  const paymentIntentId = idOf(session.payment_intent);
  if (session.mode !== "payment" || !paymentIntentId || !isOurs(session.metadata)) return undefined;
  return {
    payment_intent_id: paymentIntentId,
    payment: {
      // A session is complete when its form is: some ways to pay take days.
      state: failed ?? (session.payment_status === "paid" ? "paid" : "pending"),
      amount_cents: session.amount_total ?? 0,
      currency: session.currency ?? "",
      session_id: session.id,
      ...named(session.metadata),
    },
  };
}

export function factsOfIntent(intent: Stripe.PaymentIntent): PaymentFacts | undefined {
  return isOurs(intent.metadata) ? factsOfKnownIntent(intent) : undefined;
}

/** Of an intent that is among our payments, whatever its metadata say by now. */
export function factsOfKnownIntent(intent: Stripe.PaymentIntent): PaymentFacts {
  const isPaid = intent.status === "succeeded";
  const hasFailed = intent.status === "canceled" || intent.status === "requires_payment_method";
  return {
    payment_intent_id: intent.id,
    payment: {
      state: isPaid ? "paid" : hasFailed ? "failed" : "pending",
      amount_cents: isPaid ? intent.amount_received : intent.amount,
      currency: intent.currency,
      ...named(intent.metadata),
    },
  };
}

/** Of a charge with its refunds, where they came with it. */
function factsOfCharge(charge: Stripe.Charge): PaymentFacts | undefined {
  const paymentIntentId = idOf(charge.payment_intent);
  if (!paymentIntentId) return undefined;
  return { payment_intent_id: paymentIntentId, refunds: (charge.refunds?.data ?? []).map(refundOf) };
}

function factsOfRefund(refund: Stripe.Refund): PaymentFacts | undefined {
  const paymentIntentId = idOf(refund.payment_intent);
  return paymentIntentId ? { payment_intent_id: paymentIntentId, refunds: [refundOf(refund)] } : undefined;
}

function factsOfDispute(dispute: Stripe.Dispute): PaymentFacts | undefined {
  const paymentIntentId = idOf(dispute.payment_intent);
  return paymentIntentId ? { payment_intent_id: paymentIntentId, disputes: [disputeOf(dispute)] } : undefined;
}

export function refundOf({ id, amount, status }: Stripe.Refund) {
  return { id, amount_cents: amount, status: status ?? "pending" };
}

export function disputeOf({ id, amount, status, balance_transactions }: Stripe.Dispute) {
  // One that was prevented by giving the money back is as good as lost.
  const isGivenBack = balance_transactions.reduce((sum, moved) => sum + moved.amount, 0) < 0;
  return { id, amount_cents: amount, status: status === "prevented" && isGivenBack ? "lost" : status };
}

export function idOf(reference: string | { id: string } | null | undefined): string | undefined {
  return typeof reference === "string" ? reference : reference?.id;
}

/** Other things may be sold by the same account; what we asked for names its user. */
function isOurs(metadata: Metadata): boolean {
  return Boolean(metadata?.["userId"] && (metadata["kind"] || metadata["amount"] || metadata["autoTopup"]));
}

/** What the metadata name. They are only names: what they must fit is in our own rows. */
function named(metadata: Metadata) {
  const isAutomatic = metadata?.["kind"] === "auto_topup" || metadata?.["autoTopup"] === "true";
  return {
    user_id: metadata?.["userId"],
    purpose: isAutomatic ? ("auto_topup" as const) : ("checkout" as const),
    request_id: metadata?.["requestId"],
  };
}
