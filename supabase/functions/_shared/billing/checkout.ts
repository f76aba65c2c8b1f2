import { callingUser, type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { readSession } from "./payment-facts.ts";
import {
  askStripe,
  failureOf,
  isMissing,
  type Stripe,
  type StripeAccess,
  stripeClient,
  StripeRefused,
} from "./stripe.ts";
import type { AutoTopup } from "./fields.ts";
import type { ReturnPages } from "./return-pages.ts";

export interface CheckoutRequest extends ReturnPages {
  amountCents: number;
  autoTopup: AutoTopup | undefined;
  idempotencyKey: string | undefined;
  productName: string;
}

export interface Checkout {
  /** A page to pay on while `open`; else the page to return to, for there is nothing left to pay. */
  checkoutUrl: string;
  sessionId: string;
  userId: string;
  status: "open" | "processing" | "paid";
}

/** A row of `stripe_customers`. */
interface Customer {
  creation_key: string;
  email: string | null;
  customer_id: string | null;
}

/** What the SQL function `checkout_summary` answers. */
interface OpenedCheckout {
  request_id: string;
  session_id: string | null;
  url: string | null;
  status: "open" | "complete" | "expired";
  /** Its page can no longer be paid, or hardly. */
  is_over: boolean;
  renewals: number;
  success_url: string;
  user_id: string;
  customer: Customer;
}

type Calls = Pick<Database, "call">;

const mostRenewals = 3;

/**
 * A page of Stripe's on which to pay. However often the same is asked for, at once or after an answer that was lost,
 * it is the same page: our own row says what is a repeat, and its id is Stripe's idempotency key. A page that is over is
 * replaced: only after Stripe has said that it cannot be paid any more, so nobody pays twice.
 */
export async function openCheckout(
  database: Calls,
  stripe: StripeAccess,
  request: CheckoutRequest,
): Promise<Checkout> {
  await stripeClient(stripe); // Refused here where payments are not set up: nothing is noted then.
  let opened = await database.call<OpenedCheckout>("open_checkout", {
    for_user: callingUser,
    amount_cents: request.amountCents,
    auto_topup_amount_cents: request.autoTopup?.amountCents,
    auto_topup_threshold_cents: request.autoTopup?.thresholdCents,
    auto_topup_monthly_cap_cents: request.autoTopup?.monthlyCapCents,
    success_url: request.successUrl,
    cancel_url: request.cancelUrl,
    idempotency_key: request.idempotencyKey,
  });
  for (let renewal = 0; renewal < mostRenewals; renewal++) {
    if (opened.session_id === null) opened = await withPage(database, stripe, request, opened);
    const { session_id, url, user_id: userId } = opened;
    if (session_id === null || url === null) break;
    if (opened.status === "complete") return finishedCheckout(opened, session_id, "paid");
    if (!opened.is_over) return { checkoutUrl: url, sessionId: session_id, userId, status: "open" };
    const end = await endOfSession(database, stripe, session_id);
    if (end !== "unpaid") return finishedCheckout(opened, session_id, end);
    opened = await database.call<OpenedCheckout>("renew_checkout", {
      for_user: callingUser,
      for_request: opened.request_id,
      former_session: session_id,
    });
  }
  throw new AppError("provider_unavailable", { retry_after: 5 });
}

function finishedCheckout(
  { success_url, user_id: userId }: OpenedCheckout,
  sessionId: string,
  status: "processing" | "paid",
): Checkout {
  return {
    checkoutUrl: success_url.replaceAll("{CHECKOUT_SESSION_ID}", sessionId),
    sessionId,
    userId,
    status,
  };
}

/** The checkout with a session of Stripe's: the one that was noted first. */
async function withPage(
  database: Calls,
  stripe: StripeAccess,
  request: CheckoutRequest,
  opened: OpenedCheckout,
): Promise<OpenedCheckout> {
  const session = await createSession(database, stripe, request, opened);
  const kept = await database.call<Pick<OpenedCheckout, "session_id" | "url" | "status">>(
    "record_checkout_session",
    {
      for_request: opened.request_id,
      session_id: session.id,
      url: session.url,
      expires_at: new Date(session.expires_at * 1000).toISOString(),
    },
  );
  // Stripe answers an old request with its old answer, whose page may be over by now.
  const isOver = session.expires_at * 1000 <= Date.now() + 60_000;
  return { ...opened, ...kept, is_over: isOver || kept.status === "expired" };
}

/**
 * Makes sure that a session cannot be paid any more, and says how it ended. One that is paid meanwhile is recorded. A
 * session that Stripe does not know is another account's or was deleted.
 */
async function endOfSession(
  database: Calls,
  stripe: StripeAccess,
  sessionId: string,
): Promise<"unpaid" | "processing" | "paid"> {
  const ended = await askStripe(stripe, async (client) => {
    const retrieve = async () =>
      await client.checkout.sessions.retrieve(sessionId, { expand: ["payment_intent"] });
    try {
      const session = await retrieve();
      if (session.status !== "open") return session;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      await client.checkout.sessions.expire(sessionId);
    } catch (error) {
      // Paid or expired between the two calls: then it cannot be expired, and the next answer says which.
      if (failureOf(error)?.status !== 400) throw error;
    }
    return await retrieve();
  });
  if (!ended || ended.status === "expired") return "unpaid";
  // Still open, or a word that is not known here: no second page beside one that may be paid.
  if (ended.status !== "complete") throw new AppError("provider_unavailable", { retry_after: 5 });
  const reading = readSession(ended, { isFresh: true });
  if (reading.kind === "facts") {
    await database.call("confirm_checkout", {
      for_user: callingUser,
      session_id: sessionId,
      facts: json(reading.facts),
    });
  }
  if (ended.payment_status === "paid") return "paid";
  const intent = typeof ended.payment_intent === "object" ? ended.payment_intent : undefined;
  const hasFailed = intent?.status === "requires_payment_method" || intent?.status === "canceled";
  return hasFailed ? "unpaid" : "processing";
}

async function createSession(
  database: Calls,
  stripe: StripeAccess,
  request: CheckoutRequest,
  opened: OpenedCheckout,
): Promise<Stripe.Checkout.Session> {
  const customerId = await customerOf(database, stripe, opened.user_id, opened.customer);
  const create = (customer: string) =>
    askStripe(stripe, (client) =>
      client.checkout.sessions.create(sessionParams(request, opened, customer), {
        idempotencyKey: [`checkout:${opened.request_id}:${customer}`, opened.renewals || undefined]
          .filter((part) => part !== undefined)
          .join(":"),
      }),
    );
  try {
    return await create(customerId);
  } catch (error) {
    // Deleted at Stripe, or made with another account's key.
    if (!isUnknownCustomer(error)) throw error;
    const renewed = await database.call<Customer | null>("forget_stripe_customer", {
      customer_id: customerId,
    });
    if (!renewed) throw error;
    return await create(await customerOf(database, stripe, opened.user_id, renewed));
  }
}

/** The user's customer at Stripe, made once. */
async function customerOf(
  database: Calls,
  stripe: StripeAccess,
  userId: string,
  { creation_key, email, customer_id }: Customer,
): Promise<string> {
  if (customer_id) return customer_id;
  const made = await askStripe(stripe, (client) =>
    client.customers.create(
      { ...(email && { email }), metadata: { userId } },
      { idempotencyKey: `customer:${creation_key}` },
    ),
  );
  return await database.call<string>("save_stripe_customer", {
    for_user: userId,
    for_creation: creation_key,
    customer_id: made.id,
  });
}

function sessionParams(
  { amountCents, autoTopup, successUrl, cancelUrl, productName }: CheckoutRequest,
  { request_id: requestId, user_id: userId }: OpenedCheckout,
  customer: string,
): Stripe.Checkout.SessionCreateParams {
  // The same on the payment itself, so that each of its events tells whose it is.
  const metadata = {
    kind: "checkout",
    userId,
    requestId,
    amountCents: String(amountCents),
    autoTopupEnabled: String(autoTopup !== undefined),
    ...(autoTopup && {
      autoTopupAmountCents: String(autoTopup.amountCents),
      autoTopupThresholdCents: String(autoTopup.thresholdCents),
    }),
  };
  const dollars = `$${(amountCents / 100).toFixed(2)}`;
  const description = `${dollars} of ${productName}${autoTopup ? ", with automatic top-up" : ""}`;
  return {
    mode: "payment",
    // What is paid is what was asked for, in our currency: the customer's bank converts.
    adaptive_pricing: { enabled: false },
    customer,
    client_reference_id: userId,
    line_items: [
      {
        quantity: 1,
        price_data: {
          currency: "usd",
          unit_amount: amountCents,
          product_data: { name: productName, description },
        },
      },
    ],
    success_url: successUrl,
    cancel_url: cancelUrl,
    metadata,
    payment_intent_data: {
      description,
      metadata,
      ...(autoTopup && { setup_future_usage: "off_session" }),
    },
  };
}

function isUnknownCustomer(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof StripeRefused && cause.code === "resource_missing" && cause.param === "customer";
}
