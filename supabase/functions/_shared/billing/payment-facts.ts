import type { z } from "zod";
import {
  chargeObject,
  type DisputeObject,
  disputeObject,
  type IntentObject,
  intentObject,
  issuesOf,
  namedObject,
  type RefundObject,
  refundObject,
  type SessionObject,
  sessionObject,
} from "./stripe-objects.ts";

/** A refund or a dispute. */
export interface TakenBack {
  id: string;
  amount_cents: number;
  currency: string;
  status: string;
  told_at?: string;
}

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
  refunds?: TakenBack[];
  disputes?: TakenBack[];
  /** Where it is not the time of the event: when Stripe was asked. */
  told_at?: string;
}

/** What an event says that is of interest here. */
export type EventFacts =
  PaymentFacts | { expired_session: string } | { detached_card: string } | { deleted_customer: string };

/** What an object of Stripe's says: facts, nothing of ours, or something that cannot be read or is not all there. */
export type Reading<Facts = EventFacts> =
  | { kind: "facts"; facts: Facts }
  | { kind: "nothing" }
  | { kind: "unreadable"; issues: string[] }
  /** A charge whose refunds are not all in it. */
  | { kind: "refunds wanted"; paymentIntentId: string };

/** What Stripe is asked for when an event cannot be read: the object as it is now, in the SDK's version. */
export type ObjectKind =
  | "session"
  | "failed session"
  | "expired session"
  | "intent"
  | "charge"
  | "refund"
  | "dispute"
  | "card"
  | "customer";

/** The events that are handled, and what they are about; all others are of no interest. */
export const handledEvents: ReadonlyMap<string, ObjectKind> = new Map<string, ObjectKind>([
  ["checkout.session.completed", "session"],
  ["checkout.session.async_payment_succeeded", "session"],
  ["checkout.session.async_payment_failed", "failed session"],
  ["checkout.session.expired", "expired session"],
  ["payment_intent.succeeded", "intent"],
  ["payment_intent.processing", "intent"],
  ["payment_intent.payment_failed", "intent"],
  ["payment_intent.canceled", "intent"],
  ["charge.refunded", "charge"],
  ["refund.created", "refund"],
  ["refund.updated", "refund"],
  ["refund.failed", "refund"],
  ["charge.refund.updated", "refund"],
  ["charge.dispute.created", "dispute"],
  ["charge.dispute.updated", "dispute"],
  ["charge.dispute.closed", "dispute"],
  ["charge.dispute.funds_withdrawn", "dispute"],
  ["charge.dispute.funds_reinstated", "dispute"],
  ["payment_method.detached", "card"],
  ["customer.deleted", "customer"],
]);

/** `isFresh`: it is Stripe's answer of now, so what it leaves out is not there. */
export function readObject(kind: ObjectKind, object: unknown, isFresh = false): Reading {
  switch (kind) {
    case "session":
    case "failed session":
      return readSession(object, { isFresh, hasFailed: kind === "failed session" });
    case "expired session":
      return parsed(namedObject, object, ({ id }) => facts({ expired_session: id }));
    case "intent":
      return readIntent(object, { isFresh });
    case "charge":
      return readCharge(object);
    case "refund":
      return readRefund(object);
    case "dispute":
      return readDispute(object);
    case "card":
      return parsed(namedObject, object, ({ id }) => facts({ detached_card: id }));
    case "customer":
      return parsed(namedObject, object, ({ id }) => facts({ deleted_customer: id }));
  }
}

/** Of a session on which something is paid, or is to be. */
export function readSession(
  object: unknown,
  { isFresh = false, hasFailed = false } = {},
): Reading<PaymentFacts> {
  return parsed(sessionObject, object, (session) => {
    if (session.mode !== "payment") return nothing;
    if (!session.metadata && !isFresh) return unreadable("metadata: missing");
    if (!isOurs(session.metadata)) return nothing;
    const paid = session.payment_status === "paid";
    if (session.payment_intent === null) {
      return paid && session.amount_total !== 0 ? unreadable("payment_intent: missing") : nothing;
    }
    const settled = settlementOf(session);
    if (!settled) return unreadable("amount_total: missing");
    return facts({
      payment_intent_id: session.payment_intent ?? "",
      payment: {
        // A session is complete when its form is: some ways to pay take days.
        state: paid ? "paid" : hasFailed ? "failed" : "pending",
        ...settled,
        session_id: session.id,
        ...named(session.metadata),
      },
    });
  });
}

/**
 * What is paid in the currency that we asked for. Whoever pays in a currency of their own (Adaptive Pricing) sees another
 * amount, which is in `presentment_details` and concerns nobody here; sessions before 2025-03-31 have it in `amount_total`,
 * and ours in `currency_conversion`.
 */
function settlementOf(session: SessionObject): { amount_cents: number; currency: string } | undefined {
  const { currency_conversion: converted, amount_total, currency } = session;
  if (converted) return { amount_cents: converted.amount_total, currency: converted.source_currency };
  return amount_total === null || currency === null ? undefined : { amount_cents: amount_total, currency };
}

/** `isKnown`: it is among our payments, whatever its metadata say by now. */
export function readIntent(
  object: unknown,
  { isFresh = false, isKnown = false } = {},
): Reading<PaymentFacts> {
  return parsed(intentObject, object, (intent) => {
    if (!isKnown && !intent.metadata && !isFresh) return unreadable("metadata: missing");
    if (!isKnown && !isOurs(intent.metadata)) return nothing;
    const amount = amountOf(intent);
    if (amount === undefined) return unreadable("amount_received: missing");
    return facts({
      payment_intent_id: intent.id,
      payment: {
        state: stateOf(intent.status),
        amount_cents: amount,
        currency: intent.currency,
        ...named(intent.metadata),
      },
    });
  });
}

/** An unknown status counts neither as a payment nor as a failure. */
function stateOf(status: string): "pending" | "failed" | "paid" {
  if (status === "succeeded") return "paid";
  return status === "canceled" || status === "requires_payment_method" ? "failed" : "pending";
}

function amountOf({ status, amount, amount_received }: IntentObject): number | undefined {
  return status === "succeeded" ? (amount_received ?? undefined) : amount;
}

function readCharge(object: unknown): Reading<PaymentFacts> {
  return parsed(chargeObject, object, ({ payment_intent, refunds }) => {
    if (payment_intent === null || payment_intent === undefined) return nothing;
    if (!refunds || refunds.has_more) return { kind: "refunds wanted", paymentIntentId: payment_intent };
    return facts({ payment_intent_id: payment_intent, refunds: refunds.data.map(refundOf) });
  });
}

export function readRefund(object: unknown): Reading<PaymentFacts> {
  return parsed(refundObject, object, (refund) =>
    refund.payment_intent
      ? facts({ payment_intent_id: refund.payment_intent, refunds: [refundOf(refund)] })
      : nothing,
  );
}

export function readDispute(object: unknown): Reading<PaymentFacts> {
  return parsed(disputeObject, object, (dispute) => {
    if (!dispute.payment_intent) return nothing;
    const told = disputeOf(dispute);
    return told
      ? facts({ payment_intent_id: dispute.payment_intent, disputes: [told] })
      : unreadable("balance_transactions: missing");
  });
}

function refundOf({ id, amount, currency, status }: RefundObject): TakenBack {
  return { id, amount_cents: amount, currency, status: status ?? "pending" };
}

/** One that was prevented by giving the money back is as good as lost; whether it was is in its balance transactions. */
function disputeOf(dispute: DisputeObject): TakenBack | undefined {
  const { id, amount, currency, status, balance_transactions: moves } = dispute;
  if (status !== "prevented") return { id, amount_cents: amount, currency, status };
  if (!moves) return undefined;
  const isGivenBack = moves.reduce((sum, moved) => sum + moved.amount, 0) < 0;
  return { id, amount_cents: amount, currency, status: isGivenBack ? "lost" : status };
}

const nothing = { kind: "nothing" } as const;

function facts<Facts>(told: Facts): { kind: "facts"; facts: Facts } {
  return { kind: "facts", facts: told };
}

function unreadable(issue: string): { kind: "unreadable"; issues: string[] } {
  return { kind: "unreadable", issues: [issue] };
}

function parsed<Schema extends z.ZodType, Facts>(
  schema: Schema,
  object: unknown,
  read: (value: z.output<Schema>) => Reading<Facts>,
): Reading<Facts> {
  const { success, data, error } = schema.safeParse(object);
  return success ? read(data) : { kind: "unreadable", issues: issuesOf(error) };
}

type Metadata = Record<string, string> | null | undefined;

/** Other things may be sold by the same account; what we asked for names its user and its request. */
function isOurs(metadata: Metadata): boolean {
  if (!metadata) return false;
  const { userId, kind, amount, autoTopup, requestId } = metadata;
  return Boolean(userId ? kind || amount || autoTopup || requestId : kind && requestId);
}

/** What the metadata name. They are only names: what they must fit is in our own rows. */
function named(metadata: Metadata) {
  const isAutomatic = metadata?.["kind"] === "auto_topup" || metadata?.["autoTopup"] === "true";
  return {
    user_id: nameOf(metadata?.["userId"]),
    purpose: isAutomatic ? ("auto_topup" as const) : ("checkout" as const),
    request_id: nameOf(metadata?.["requestId"]),
  };
}

/** A name that could be one of ours; metadata may hold any text, also such as cannot be stored. */
function nameOf(value: string | undefined): string | undefined {
  return value !== undefined && /^[\w-]{1,100}$/.test(value) ? value : undefined;
}
