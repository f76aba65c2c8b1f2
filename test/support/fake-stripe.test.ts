import assert from "node:assert/strict";
import { test } from "node:test";
import Stripe from "stripe";
import { createStripe, stripeClient } from "../../supabase/functions/_shared/billing/stripe.ts";
import { type FakeStripe, startFakeStripe } from "./fake-stripe.ts";

/** Runs with a fake and the official SDK pointed at it. */
async function withFake(run: (fake: FakeStripe, sdk: Stripe) => Promise<void>): Promise<void> {
  const fake = await startFakeStripe();
  try {
    await run(fake, await stripeClient(createStripe(fake.variables)));
  } finally {
    await fake.close();
  }
}

const session = (customer?: string): Stripe.Checkout.SessionCreateParams => ({
  mode: "payment",
  ...(customer && { customer }),
  line_items: [
    { quantity: 1, price_data: { currency: "usd", unit_amount: 1999, product_data: { name: "Credits" } } },
  ],
  success_url: "https://app.example.com/?session_id={CHECKOUT_SESSION_ID}",
  metadata: { userId: "someone" },
  payment_intent_data: { setup_future_usage: "off_session", metadata: { userId: "someone" } },
});

function intent(customer: string, card: string): Stripe.PaymentIntentCreateParams {
  return { amount: 500, currency: "usd", customer, payment_method: card, confirm: true, off_session: true };
}

test("a checkout from the SDK is paid, its card saved, its events signed as the SDK verifies", () =>
  withFake(async (fake, sdk) => {
    const customer = await sdk.customers.create({ email: "a@example.com", metadata: { userId: "someone" } });
    const made = await sdk.checkout.sessions.create(session(customer.id));
    assert.deepEqual([made.amount_total, made.payment_status, made.status], [1999, "unpaid", "open"]);
    fake.pay(made.id);
    const paid = await sdk.checkout.sessions.retrieve(made.id, {
      expand: ["payment_intent.payment_method", "payment_intent.latest_charge"],
    });
    const paidIntent = paid.payment_intent as Stripe.PaymentIntent;
    assert.equal(paidIntent.amount_received, 1999);
    assert.equal((paidIntent.payment_method as Stripe.PaymentMethod).customer, customer.id);
    assert.equal((paidIntent.latest_charge as Stripe.Charge).paid, true);
    assert.deepEqual(paidIntent.metadata, { userId: "someone" });

    const [completed] = fake.events("checkout.session.completed");
    assert.ok(completed);
    const { body, headers } = fake.signed(completed, { secrets: ["whsec_old", fake.webhookSecret] });
    const header = headers["stripe-signature"] ?? "";
    const read = await sdk.webhooks.constructEventAsync(body, header, fake.webhookSecret);
    assert.equal(read.id, completed.id);
    await assert.rejects(sdk.webhooks.constructEventAsync(`${body} `, header, fake.webhookSecret));
  }));

test("a delayed payment completes unpaid and is settled later", () =>
  withFake(async (fake, sdk) => {
    for (const paid of [true, false]) {
      const { id } = await sdk.checkout.sessions.create(session());
      assert.equal(fake.pay(id, { card: "delayed" }).payment_status, "unpaid");
      assert.equal(fake.settle(id, paid).payment_status, paid ? "paid" : "unpaid");
      const { type } = fake.books.events.at(-1) ?? {};
      assert.equal(type, `checkout.session.async_payment_${paid ? "succeeded" : "failed"}`);
    }
  }));

test("the same idempotency key gives the same answer, other parameters a refusal, a running one a conflict", () =>
  withFake(async (fake, sdk) => {
    const { customer, card } = fake.customerWithCard();
    const once = { idempotencyKey: "one" };
    const first = await sdk.paymentIntents.create(intent(customer.id, card.id), once);
    const again = await sdk.paymentIntents.create(intent(customer.id, card.id), once);
    assert.equal(again.id, first.id);
    assert.equal(fake.requests.at(-1)?.isReplay, true);
    await assert.rejects(
      sdk.paymentIntents.create({ ...intent(customer.id, card.id), amount: 600 }, once),
      Stripe.errors.StripeIdempotencyError,
    );

    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const arrived = new Promise<void>((resolve) => {
      fake.gate = () => {
        fake.gate = () => undefined;
        resolve();
        return held;
      };
    });
    const other = { idempotencyKey: "two", maxNetworkRetries: 0 };
    const running = sdk.paymentIntents.create(intent(customer.id, card.id), other);
    await arrived;
    await assert.rejects(sdk.paymentIntents.create(intent(customer.id, card.id), other), { statusCode: 409 });
    release();
    await running;
    assert.equal(fake.books.all("payment_intent").length, 2);
  }));

test("a connection cut after success is retried by the SDK with the same key: one payment", () =>
  withFake(async (fake, sdk) => {
    const { customer, card } = fake.customerWithCard();
    fake.faults.push({ at: /POST .*payment_intents/, does: "cut-after" });
    const paid = await sdk.paymentIntents.create(intent(customer.id, card.id));
    assert.equal(paid.status, "succeeded");
    assert.equal(fake.books.all("payment_intent").length, 1);
    assert.deepEqual(
      fake.requests.map(({ isReplay }) => isReplay),
      [false, true],
    );
  }));

test("cards that decline answer 402 with the intent; the SDK's errors are told apart", () =>
  withFake(async (fake, sdk) => {
    for (const [behaviour, code] of [
      ["card_declined", "card_declined"],
      ["insufficient_funds", "card_declined"],
      ["expired_card", "expired_card"],
      ["authentication_required", "authentication_required"],
    ] as const) {
      const { customer, card } = fake.customerWithCard(behaviour);
      await assert.rejects(sdk.paymentIntents.create(intent(customer.id, card.id)), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeCardError);
        assert.equal(error.code, code);
        assert.equal(error.payment_intent?.status, "requires_payment_method");
        return true;
      });
    }
    const { customer, card } = fake.customerWithCard("processing");
    assert.equal((await sdk.paymentIntents.create(intent(customer.id, card.id))).status, "processing");
    fake.detach(card.id);
    const { StripeInvalidRequestError, StripeRateLimitError, StripeAPIError, StripeAuthenticationError } =
      Stripe.errors;
    await assert.rejects(sdk.paymentIntents.create(intent(customer.id, card.id)), StripeInvalidRequestError);
    await assert.rejects(sdk.customers.retrieve("cus_none"), { statusCode: 404, code: "resource_missing" });
    await assert.rejects(
      sdk.paymentIntents.create({ ...intent(customer.id, card.id), amount: 19.99 }),
      StripeInvalidRequestError,
    );
    fake.faults.push({ does: 429 });
    await assert.rejects(sdk.customers.list(), StripeRateLimitError);
    fake.faults.push({ does: 500, times: 3 });
    await assert.rejects(sdk.customers.list(), StripeAPIError);
    const stranger = await stripeClient(
      createStripe({ ...fake.variables, STRIPE_SECRET_KEY: "sk_test_other" }),
    );
    await assert.rejects(stranger.customers.list(), StripeAuthenticationError);
  }));

test("lists come in pages that the SDK walks, newest first, of a time", () =>
  withFake(async (fake, sdk) => {
    let now = 1_000;
    fake.books.clock = () => now++;
    const { customer, card } = fake.customerWithCard();
    for (let count = 0; count < 25; count++) await sdk.paymentIntents.create(intent(customer.id, card.id));
    const all = await sdk.paymentIntents.list({ limit: 10 }).autoPagingToArray({ limit: 1000 });
    assert.equal(all.length, 25);
    const created = all.map((one) => one.created);
    assert.deepEqual(
      created,
      created.toSorted((a, b) => b - a),
    );
    const from = created[9] ?? 0;
    const late = await sdk.paymentIntents.list({ created: { gte: from }, limit: 100 });
    assert.deepEqual([late.data.length, late.has_more], [10, false]);
  }));

test("refunds and disputes change their charge, and tell", () =>
  withFake(async (fake, sdk) => {
    const { customer, card } = fake.customerWithCard();
    const paid = await sdk.paymentIntents.create(intent(customer.id, card.id));
    await sdk.refunds.create({ payment_intent: paid.id, amount: 200 });
    const second = fake.refund(paid.id);
    await assert.rejects(sdk.refunds.create({ payment_intent: paid.id }), {
      code: "charge_already_refunded",
    });
    fake.changeRefund(second.id, "failed");
    const charge = await sdk.charges.retrieve(String(paid.latest_charge), { expand: ["refunds"] });
    assert.deepEqual([charge.amount_refunded, charge.refunded, charge.refunds?.data.length], [200, false, 2]);
    const dispute = fake.dispute(paid.id, 300);
    fake.changeDispute(dispute.id, "won");
    assert.equal((await sdk.disputes.retrieve(dispute.id)).status, "won");
    assert.deepEqual(
      fake.events("refund.failed", "charge.dispute.created", "charge.dispute.closed").map(({ type }) => type),
      ["refund.failed", "charge.dispute.created", "charge.dispute.closed"],
    );
  }));
