import { callingUser, type Database } from "../database/database.ts";
import { askStripe, type Stripe, type StripeAccess, stripeClient, StripeRefused } from "./stripe.ts";
import type { AutoTopup } from "./fields.ts";
import type { ReturnPages } from "./return-pages.ts";

export interface CheckoutRequest extends ReturnPages {
  amountCents: number;
  autoTopup: AutoTopup | undefined;
  idempotencyKey: string | undefined;
  productName: string;
}

export interface Checkout {
  checkoutUrl: string;
  sessionId: string;
  userId: string;
}

/** A row of `stripe_customers`. */
interface Customer {
  creation_key: string;
  email: string | null;
  customer_id: string | null;
}

interface OpenedCheckout {
  request_id: string;
  session_id: string | null;
  url: string | null;
  user_id: string;
  customer: Customer;
}

type Calls = Pick<Database, "call">;

/**
 * A page of Stripe's on which to pay. However often the same is asked for, at once or after an answer that was lost,
 * it is the same page: our own row says what is a repeat, and its id is Stripe's idempotency key.
 */
export async function openCheckout(
  database: Calls,
  stripe: StripeAccess,
  request: CheckoutRequest,
): Promise<Checkout> {
  await stripeClient(stripe); // Refused here where payments are not set up: nothing is noted then.
  const opened = await database.call<OpenedCheckout>("open_checkout", {
    for_user: callingUser,
    amount_cents: request.amountCents,
    auto_topup_amount_cents: request.autoTopup?.amountCents,
    auto_topup_threshold_cents: request.autoTopup?.thresholdCents,
    auto_topup_monthly_cap_cents: request.autoTopup?.monthlyCapCents,
    success_url: request.successUrl,
    cancel_url: request.cancelUrl,
    idempotency_key: request.idempotencyKey,
  });
  const { user_id: userId, session_id, url } = opened;
  if (session_id && url) return { checkoutUrl: url, sessionId: session_id, userId };

  const session = await createSession(database, stripe, request, opened);
  const kept = await database.call<{ session_id: string; url: string }>("record_checkout_session", {
    for_request: opened.request_id,
    session_id: session.id,
    url: session.url,
    expires_at: new Date(session.expires_at * 1000).toISOString(),
  });
  return { checkoutUrl: kept.url, sessionId: kept.session_id, userId };
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
        idempotencyKey: `checkout:${opened.request_id}:${customer}`,
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
