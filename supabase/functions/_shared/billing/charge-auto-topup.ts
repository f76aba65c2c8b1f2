import { failureOf, type Stripe, type StripeFailure } from "./stripe.ts";

/** A request as `claim_auto_topups` gives it. */
export interface ClaimedTopup {
  id: string;
  claim_id: string;
  user_id: string;
  amount_cents: number;
  balance_cents: number;
  customer_id: string;
  payment_method_id: string;
  /** Once Stripe has said which it is. */
  payment_intent_id: string | null;
  /** Nothing more may be charged: only what became of earlier attempts is to be found. */
  look_up: boolean;
  created_at: string;
}

/** What came of an attempt; the outcomes of `record_auto_topup`. */
export interface TopupOutcome {
  outcome: "succeeded" | "declined" | "failed" | "pending";
  intent?: Stripe.PaymentIntent | undefined;
  reason?: string | undefined;
}

/**
 * One attempt at a request. Whatever happens to the answer, Stripe makes one payment of it, for its idempotency key
 * is the request's id and all that is sent is fixed with the request.
 */
export async function chargeAutoTopup(client: Stripe, request: ClaimedTopup): Promise<TopupOutcome> {
  try {
    if (request.payment_intent_id) {
      return outcomeOf(await client.paymentIntents.retrieve(request.payment_intent_id));
    }
    if (request.look_up) return await lookUp(client, request);
    return outcomeOf(await createIntent(client, request));
  } catch (error) {
    const failure = failureOf(error);
    if (!failure) throw error;
    return await outcomeOfFailure(client, request, failure);
  }
}

async function createIntent(client: Stripe, request: ClaimedTopup): Promise<Stripe.PaymentIntent> {
  const { id, user_id, amount_cents, balance_cents, customer_id, payment_method_id } = request;
  return await client.paymentIntents.create(
    {
      amount: amount_cents,
      currency: "usd",
      customer: customer_id,
      payment_method: payment_method_id,
      confirm: true,
      off_session: true,
      description: `Automatic top-up of $${(amount_cents / 100).toFixed(2)}`,
      metadata: {
        kind: "auto_topup",
        autoTopup: "true",
        userId: user_id,
        requestId: id,
        topupAmount: String(amount_cents),
        originalBalance: String(balance_cents),
      },
    },
    { idempotencyKey: `auto-topup:${id}` },
  );
}

/** What earlier attempts left behind. One that could still be paid is cancelled: nobody waits for it any more. */
async function lookUp(client: Stripe, request: ClaimedTopup): Promise<TopupOutcome> {
  // An hour earlier, for clocks differ.
  const since = Math.floor(Date.parse(request.created_at) / 1000) - 3600;
  const search = { customer: request.customer_id, created: { gte: since }, limit: 100 };
  for await (const intent of client.paymentIntents.list(search)) {
    if (intent.metadata["requestId"] !== request.id) continue;
    if (intent.status === "succeeded" || intent.status === "processing") return outcomeOf(intent);
    if (intent.status !== "canceled") await client.paymentIntents.cancel(intent.id);
    return { outcome: "failed", intent, reason: "given_up" };
  }
  return { outcome: "failed", reason: "given_up" };
}

function outcomeOf(intent: Stripe.PaymentIntent): TopupOutcome {
  if (intent.status === "succeeded") return { outcome: "succeeded", intent };
  if (intent.status === "processing") return { outcome: "pending", intent, reason: "processing" };
  if (intent.status === "canceled") return { outcome: "failed", intent, reason: "canceled" };
  if (intent.status === "requires_action") {
    return { outcome: "declined", intent, reason: "authentication_required" };
  }
  if (intent.status === "requires_payment_method" || intent.status === "requires_confirmation") {
    return { ...decline(intent.last_payment_error?.code), intent };
  }
  // A word that is not known here says nothing about the card.
  return { outcome: "pending", intent, reason: "unknown_status" };
}

async function outcomeOfFailure(
  client: Stripe,
  request: ClaimedTopup,
  failure: StripeFailure,
): Promise<TopupOutcome> {
  const { type, code, param, paymentIntent: intent } = failure;
  if (type === "StripeCardError") return { ...decline(code), intent };
  // No answer, too many requests, a fault of Stripe's, a wrong key of ours: the same again later.
  if (type !== "StripeInvalidRequestError") return { outcome: "pending", reason: reasonOf(failure) };
  if (code === "resource_missing" && param === "customer") {
    return { outcome: "declined", reason: "customer_removed" };
  }
  if (await isCardRemoved(client, request)) return { outcome: "declined", reason: "card_removed" };
  return { outcome: "failed", reason: "provider_refused" };
}

/** What heals by itself fails this once; all else is for the card's owner to set right. */
function decline(code: string | undefined): TopupOutcome {
  if (code === "processing_error") return { outcome: "failed", reason: code };
  const known = code === "expired_card" || code === "authentication_required";
  return { outcome: "declined", reason: known ? code : "card_declined" };
}

/** Refusals of a detached card have no code of their own, so the card itself is asked for. */
async function isCardRemoved(client: Stripe, request: ClaimedTopup): Promise<boolean> {
  try {
    const card = await client.paymentMethods.retrieve(request.payment_method_id);
    return card.customer !== request.customer_id;
  } catch (error) {
    const failure = failureOf(error);
    if (!failure) throw error;
    return failure.code === "resource_missing";
  }
}

function reasonOf({ isTimeout, status }: StripeFailure): string {
  if (isTimeout) return "provider_timeout";
  return status === 401 || status === 403 ? "provider_refused" : "provider_unavailable";
}
