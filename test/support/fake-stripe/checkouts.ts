import type Stripe from "stripe";
import type { CardBehaviour, StripeBooks } from "./books.ts";
import { makeCard, makeCustomer, makeIntent } from "./objects.ts";
import { fail, succeed } from "./payments.ts";
import { invalid } from "./refusal.ts";

export interface Payment {
  /** `delayed` is a bank debit: the session completes unpaid, and `settleSession` says how it ended. */
  card?: CardBehaviour | "delayed";
  /** What is paid instead of what was asked for: what a tampered session would look like. */
  amount?: number;
  currency?: string;
  /** Adaptive Pricing: what the customer sees and pays. `legacy`: as sessions before 2025-03-31 tell it. */
  presentment?: { amount: number; currency: string; legacy?: boolean };
}

/** The customer pays on Stripe's page. The card is saved where the session asked for it. */
export function paySession(
  books: StripeBooks,
  sessionId: string,
  { card = "approved", amount, currency, presentment }: Payment = {},
): Stripe.Checkout.Session {
  const session = books.find("session", sessionId);
  if (session.status !== "open") throw invalid(`Checkout Session ${sessionId} is ${session.status}.`);
  session.amount_total = session.amount_subtotal = amount ?? session.amount_total;
  session.currency = currency ?? session.currency;
  if (presentment) present(session, presentment);
  const intent = intentOf(books, session, card);
  session.payment_intent = intent.id;
  session.customer_details = {
    address: null,
    business_name: null,
    email: session.customer_email ?? "payer@example.com",
    individual_name: null,
    name: "A Payer",
    phone: null,
    tax_exempt: "none",
    tax_ids: [],
  };
  session.status = "complete";
  session.url = null;
  if (card === "delayed") {
    intent.status = "processing";
    books.tell("payment_intent.processing", intent);
  } else {
    succeed(books, intent);
    session.payment_status = "paid";
  }
  books.tell("checkout.session.completed", session);
  return session;
}

function present(
  session: Stripe.Checkout.Session,
  { amount, currency, legacy }: NonNullable<Payment["presentment"]>,
): void {
  if (!session.adaptive_pricing?.enabled) throw invalid("Adaptive Pricing is not enabled for this session.");
  if (!legacy) {
    session.presentment_details = { presentment_amount: amount, presentment_currency: currency };
    return;
  }
  const ours = session.amount_total ?? 0;
  session.currency_conversion = {
    amount_subtotal: ours,
    amount_total: ours,
    fx_rate: String(amount / ours),
    source_currency: session.currency ?? "usd",
  } as unknown as Stripe.Checkout.Session.CurrencyConversion;
  session.amount_total = session.amount_subtotal = amount;
  session.currency = currency;
}

/** How a delayed payment ended. */
export function settleSession(books: StripeBooks, sessionId: string, paid: boolean): Stripe.Checkout.Session {
  const session = books.find("session", sessionId);
  const intent = books.find("payment_intent", String(session.payment_intent));
  if (paid) {
    succeed(books, intent);
    session.payment_status = "paid";
    books.tell("checkout.session.async_payment_succeeded", session);
  } else {
    fail(books, intent, {
      code: "payment_intent_payment_attempt_failed",
      declineCode: "",
      message: "No funds.",
    });
    books.tell("checkout.session.async_payment_failed", session);
  }
  return session;
}

export function expireSession(books: StripeBooks, sessionId: string): Stripe.Checkout.Session {
  const session = books.find("session", sessionId);
  if (session.status !== "open") {
    throw invalid(`Only Checkout Sessions with a status in ["open"] can be expired.`);
  }
  session.status = "expired";
  session.url = null;
  books.tell("checkout.session.expired", session);
  return session;
}

/** A card that is not anybody's yet. */
export function newCard(books: StripeBooks, behaviour: CardBehaviour = "approved"): Stripe.PaymentMethod {
  const card = books.keep("payment_method", makeCard(books.made("payment_method"), "4242"));
  books.behaviours.set(card.id, behaviour);
  return card;
}

export function attach(books: StripeBooks, cardId: string, customerId: string): Stripe.PaymentMethod {
  const card = books.find("payment_method", cardId);
  card.customer = books.find("customer", customerId, "customer").id;
  books.tell("payment_method.attached", card);
  return card;
}

export function detach(books: StripeBooks, cardId: string): Stripe.PaymentMethod {
  const card = books.find("payment_method", cardId);
  if (card.customer === null) {
    throw invalid(
      "The payment method you provided is not attached to a customer so detachment is impossible.",
    );
  }
  const previous = { customer: card.customer };
  card.customer = null;
  books.tell("payment_method.detached", card, previous);
  return card;
}

export function removeCustomer(books: StripeBooks, customerId: string): Stripe.DeletedCustomer {
  const customer = books.find("customer", customerId);
  for (const card of books.all("payment_method")) if (card.customer === customerId) card.customer = null;
  books.remove("customer", customerId);
  books.tell("customer.deleted", customer);
  return { id: customerId, object: "customer", deleted: true };
}

function intentOf(
  books: StripeBooks,
  session: Stripe.Checkout.Session,
  behaviour: CardBehaviour | "delayed",
): Stripe.PaymentIntent {
  const plan = books.plans.get(session.id) ?? {};
  const card = newCard(books, behaviour === "delayed" ? "processing" : behaviour);
  if (plan.setup_future_usage) {
    session.customer ??= books.keep("customer", makeCustomer(books.made("customer"), {})).id;
    attach(books, card.id, String(session.customer));
  }
  const intent = makeIntent(books.made("payment_intent"), {
    ...plan,
    amount: session.amount_total ?? 0,
    currency: session.currency ?? "usd",
    customer: session.customer,
    payment_method: card.id,
    payment_method_types: session.payment_method_types,
    ...(session.presentment_details && { presentment_details: session.presentment_details }),
  });
  books.keep("payment_intent", intent);
  books.tell("payment_intent.created", intent);
  return intent;
}
