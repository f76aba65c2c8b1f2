import type Stripe from "stripe";
import type { CardBehaviour, StripeBooks } from "./books.ts";
import { makeCharge, makeDispute, makeDisputeMove, makeRefund } from "./objects.ts";
import { invalid, StripeRefusal } from "./refusal.ts";

interface Decline {
  code: string;
  declineCode: string;
  message: string;
}

const declines: Partial<Record<CardBehaviour, Decline>> = {
  card_declined: {
    code: "card_declined",
    declineCode: "generic_decline",
    message: "Your card was declined.",
  },
  insufficient_funds: {
    code: "card_declined",
    declineCode: "insufficient_funds",
    message: "Your card has insufficient funds.",
  },
  expired_card: { code: "expired_card", declineCode: "expired_card", message: "Your card has expired." },
  authentication_required: {
    code: "authentication_required",
    declineCode: "authentication_required",
    message: "Your card was declined. This transaction requires authentication.",
  },
  processing_error: {
    code: "processing_error",
    declineCode: "processing_error",
    message: "An error occurred while processing your card. Try again in a little bit.",
  },
};

/** Charges an intent to its card. A bank that refuses answers 402 with the intent, which stays unpaid. */
export function confirm(books: StripeBooks, intent: Stripe.PaymentIntent): Stripe.PaymentIntent {
  const card = String(intent.payment_method);
  const behaviour = books.behaviours.get(card) ?? "approved";
  if (behaviour === "processing") {
    intent.status = "processing";
    books.tell("payment_intent.processing", intent);
    return intent;
  }
  const decline = declines[behaviour];
  if (!decline) return succeed(books, intent);
  const error = fail(books, intent, decline);
  throw new StripeRefusal(402, { ...error, payment_intent: structuredClone(intent) });
}

export function succeed(books: StripeBooks, intent: Stripe.PaymentIntent): Stripe.PaymentIntent {
  const charge = books.keep("charge", makeCharge(books.made("charge"), intent));
  intent.status = "succeeded";
  intent.amount_received = intent.amount;
  intent.latest_charge = charge.id;
  intent.last_payment_error = null;
  books.tell("charge.succeeded", charge);
  books.tell("payment_intent.succeeded", intent);
  return intent;
}

/** Leaves an intent without its payment, and says so as `last_payment_error` does. */
export function fail(books: StripeBooks, intent: Stripe.PaymentIntent, decline: Decline) {
  const charge = books.keep("charge", makeCharge(books.made("charge"), intent, decline));
  const method = books.lookUp(String(intent.payment_method)) as Stripe.PaymentMethod | undefined;
  const error = {
    type: "card_error" as const,
    code: decline.code,
    decline_code: decline.declineCode,
    message: decline.message,
    charge: charge.id,
    ...(method && { payment_method: structuredClone(method) }),
  };
  intent.status = "requires_payment_method";
  intent.latest_charge = charge.id;
  intent.last_payment_error = error as unknown as Stripe.PaymentIntent.LastPaymentError;
  intent.payment_method = null;
  books.tell("charge.failed", charge);
  books.tell("payment_intent.payment_failed", intent);
  return error;
}

export function cancel(books: StripeBooks, intent: Stripe.PaymentIntent): Stripe.PaymentIntent {
  if (intent.status === "succeeded" || intent.status === "canceled") {
    const message = `You cannot cancel this PaymentIntent because it has a status of ${intent.status}.`;
    throw invalid(message, { code: "payment_intent_unexpected_state" });
  }
  intent.status = "canceled";
  intent.canceled_at = books.clock();
  intent.cancellation_reason = "requested_by_customer";
  books.tell("payment_intent.canceled", intent);
  return intent;
}

export type RefundStatus = "succeeded" | "pending" | "failed" | "canceled" | "requires_action";

export interface RefundRequest {
  charge: string;
  /** All that is left, unless said. */
  amount?: number | undefined;
  status?: RefundStatus;
  metadata?: Record<string, string>;
}

export function refund(books: StripeBooks, request: RefundRequest): Stripe.Refund {
  const charge = books.find("charge", request.charge, "charge");
  const left = charge.amount - charge.amount_refunded;
  const { amount = left, status = "succeeded", metadata = {} } = request;
  if (left === 0) {
    throw invalid(`Charge ${charge.id} has already been refunded.`, { code: "charge_already_refunded" });
  }
  if (amount > left || amount <= 0) {
    throw invalid(`Refund amount (${amount}) is greater than unrefunded amount on charge (${left})`, {
      param: "amount",
    });
  }
  const made = books.keep("refund", makeRefund(books.made("refund"), charge, { amount, status, metadata }));
  const before = charge.amount_refunded;
  charge.amount_refunded += amount;
  charge.refunded = charge.amount_refunded === charge.amount;
  books.tell("charge.refunded", charge, { amount_refunded: before });
  books.tell("refund.created", made);
  return made;
}

export function changeRefund(books: StripeBooks, id: string, status: RefundStatus): Stripe.Refund {
  const changed = books.find("refund", id);
  const previous = { status: changed.status };
  changed.status = status;
  if (status === "failed" || status === "canceled") {
    const charge = books.find("charge", String(changed.charge));
    charge.amount_refunded -= changed.amount;
    charge.refunded = false;
  }
  if (status === "failed") changed.failure_reason = "expired_or_canceled_card";
  books.tell("refund.updated", changed, previous);
  books.tell("charge.refund.updated", changed, previous);
  if (status === "failed") books.tell("refund.failed", changed, previous);
  return changed;
}

export type DisputeStatus =
  | `${"" | "appeal_"}${"needs_response" | "under_review"}`
  | `warning_${"needs_response" | "under_review" | "closed"}`
  | "won"
  | "lost"
  | "prevented";

/** How a dispute begins: by taking the money, or as an inquiry, or prevented, by giving the money back or without. */
export interface DisputeRequest {
  amount?: number | undefined;
  status?: "needs_response" | "warning_needs_response" | "prevented" | undefined;
  givenBack?: boolean | undefined;
}

export function openDispute(
  books: StripeBooks,
  chargeId: string,
  { amount, status = "needs_response", givenBack = status === "needs_response" }: DisputeRequest = {},
): Stripe.Dispute {
  const charge = books.find("charge", chargeId);
  charge.disputed = true;
  const made = makeDispute(books.made("dispute"), charge, { amount: amount ?? charge.amount, status });
  books.keep("dispute", made);
  if (givenBack) move(books, made, -made.amount);
  books.tell("charge.dispute.created", made);
  if (givenBack) books.tell("charge.dispute.funds_withdrawn", made);
  return made;
}

export function changeDispute(books: StripeBooks, id: string, status: DisputeStatus): Stripe.Dispute {
  const dispute = books.find("dispute", id);
  const previous = { status: dispute.status };
  const isEscalated = dispute.status.startsWith("warning") && status === "needs_response";
  dispute.status = status;
  if (isEscalated) move(books, dispute, -dispute.amount);
  if (status === "won") move(books, dispute, dispute.amount);
  const isClosed = ["won", "lost", "warning_closed"].includes(status);
  books.tell(`charge.dispute.${isClosed ? "closed" : "updated"}`, dispute, previous);
  if (isEscalated) books.tell("charge.dispute.funds_withdrawn", dispute);
  if (status === "won") books.tell("charge.dispute.funds_reinstated", dispute);
  return dispute;
}

/** Takes a dispute's money out of the account's balance, or puts it back. */
function move(books: StripeBooks, dispute: Stripe.Dispute, amount: number): void {
  dispute.balance_transactions.push(makeDisputeMove(books.made("balance_transaction"), dispute, amount));
}
