import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { CardBehaviour } from "../../../../test/support/fake-stripe/books.ts";
import { type FakeStripe, startFakeStripe } from "../../../../test/support/fake-stripe.ts";
import { chargeAutoTopup, type ClaimedTopup, type TopupOutcome } from "./charge-auto-topup.ts";
import { createStripe, stripeClient } from "./stripe.ts";

interface Bench {
  fake: FakeStripe;
  /** A request for a new customer's card. */
  request(behaviour?: CardBehaviour): ClaimedTopup;
  charge(request: ClaimedTopup): Promise<TopupOutcome>;
}

async function withFake(run: (bench: Bench) => Promise<void>): Promise<void> {
  const fake = await startFakeStripe();
  const patience = { timeoutMilliseconds: 5_000, maxNetworkRetries: 0 };
  const client = await stripeClient(createStripe(fake.variables, patience));
  try {
    await run({
      fake,
      request(behaviour) {
        const { customer, card } = fake.customerWithCard(behaviour);
        return {
          id: randomUUID(),
          claim_id: randomUUID(),
          user_id: randomUUID(),
          amount_cents: 2000,
          balance_cents: 12.5,
          customer_id: customer.id,
          payment_method_id: card.id,
          payment_intent_id: null,
          look_up: false,
          created_at: new Date().toISOString(),
        };
      },
      charge: (request) => chargeAutoTopup(client, request),
    });
  } finally {
    await fake.close();
  }
}

const told = ({ outcome, reason, intent }: TopupOutcome) => [outcome, reason, intent?.status];

test("what a bank says decides whether top-ups stay on", () =>
  withFake(async ({ charge, request }) => {
    const cases: [CardBehaviour, unknown[]][] = [
      ["approved", ["succeeded", undefined, "succeeded"]],
      ["processing", ["pending", "processing", "processing"]],
      ["processing_error", ["failed", "processing_error", "requires_payment_method"]],
      ["card_declined", ["declined", "card_declined", "requires_payment_method"]],
      ["insufficient_funds", ["declined", "card_declined", "requires_payment_method"]],
      ["expired_card", ["declined", "expired_card", "requires_payment_method"]],
      ["authentication_required", ["declined", "authentication_required", "requires_payment_method"]],
    ];
    for (const [behaviour, expected] of cases) {
      assert.deepEqual(told(await charge(request(behaviour))), expected, behaviour);
    }
  }));

test("a status that is not known here says nothing about the card: the payment is asked for again", () =>
  withFake(async ({ fake, charge, request }) => {
    const one = request("processing");
    const { intent } = await charge(one);
    assert.ok(intent);
    fake.books.find("payment_intent", intent.id).status = "something_new";
    const again = await charge({ ...one, payment_intent_id: intent.id });
    assert.deepEqual(told(again), ["pending", "unknown_status", "something_new"]);
  }));

test("a card or customer that is gone is told as such; what else Stripe refuses is a failure of ours", () =>
  withFake(async ({ fake, charge, request }) => {
    const detached = request();
    fake.detach(detached.payment_method_id);
    assert.deepEqual(told(await charge(detached)), ["declined", "card_removed", undefined]);
    const unknown = { ...request(), payment_method_id: "pm_unknown" };
    assert.deepEqual(told(await charge(unknown)), ["declined", "card_removed", undefined]);
    const orphan = request();
    fake.removeCustomer(orphan.customer_id);
    assert.deepEqual(told(await charge(orphan)), ["declined", "customer_removed", undefined]);
    const tooSmall = { ...request(), amount_cents: 10 };
    assert.deepEqual(told(await charge(tooSmall)), ["failed", "provider_refused", undefined]);
  }));

test("no answer, too many requests and faults of Stripe's wait for another attempt, which is the same payment", () =>
  withFake(async ({ fake, charge, request }) => {
    for (const does of ["cut", "cut-after", 429, 500, 503, 401] as const) {
      const one = request();
      // A closed connection is asked anew once by the SDK itself.
      fake.faults.push({ at: /POST .*payment_intents/, does, times: typeof does === "number" ? 1 : 2 });
      const { outcome, reason } = await charge(one);
      assert.deepEqual(
        [outcome, reason],
        ["pending", does === 401 ? "provider_refused" : "provider_unavailable"],
      );
      fake.faults.length = 0;
      assert.equal((await charge(one)).outcome, "succeeded");
      const paid = fake.books.all("payment_intent").filter(({ customer }) => customer === one.customer_id);
      assert.equal(paid.length, 1, String(does));
    }
  }));

test("a payment that was processing is asked for by its id", () =>
  withFake(async ({ fake, charge, request }) => {
    for (const paid of [true, false]) {
      const one = request("processing");
      const { intent } = await charge(one);
      assert.ok(intent);
      const known = { ...one, payment_intent_id: intent.id };
      assert.equal((await charge(known)).outcome, "pending");
      fake.settleIntent(intent.id, paid);
      assert.deepEqual(told(await charge(known)).slice(0, 2), [
        paid ? "succeeded" : "declined",
        paid ? undefined : "card_declined",
      ]);
    }
  }));

test("looking up charges nothing: it finds what was paid, and cancels what could still be", () =>
  withFake(async ({ fake, charge, request }) => {
    const never = { ...request(), look_up: true };
    assert.deepEqual(told(await charge(never)), ["failed", "given_up", undefined]);
    assert.equal(fake.books.all("payment_intent").length, 0);

    const paid = request();
    fake.faults.push({ does: "cut-after", times: 2 });
    assert.equal((await charge(paid)).outcome, "pending");
    // Many payments of the same customer since: more than one page of the list.
    for (let count = 0; count < 120; count++) await charge({ ...paid, id: randomUUID() });
    const found = await charge({ ...paid, look_up: true });
    assert.equal(found.outcome, "succeeded");
    assert.equal(found.intent?.metadata["requestId"], paid.id);

    const open = request("processing_error");
    await charge(open);
    const { outcome, intent } = await charge({ ...open, look_up: true });
    assert.equal(outcome, "failed");
    assert.equal(fake.books.find("payment_intent", String(intent?.id)).status, "canceled");
  }));
