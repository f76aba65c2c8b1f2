import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type Stripe from "stripe";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { booksOf, type CheckoutOptions, makeCheckout, moneyFaults } from "../../../test/support/payments.ts";
import { resolveBillingAlert } from "../_shared/billing/billing-alerts.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { handleDueEvents } from "../_shared/billing/stripe-events.ts";
import { stripeWebhookEndpoint } from "./endpoint.ts";

/** The header over a text that is sent as JSON. */
function signatureOf(under: EndpointUnderTest, text: string, timestamp = Math.floor(Date.now() / 1000)) {
  const digest = createHmac("sha256", under.fakeStripe.webhookSecret)
    .update(`${timestamp}.${text}`)
    .digest("hex");
  return { "stripe-signature": `t=${timestamp},v1=${digest}` };
}

function desk({ environment: { database, stripe, log } }: EndpointUnderTest) {
  return { database, stripe, log };
}

async function makeDue({ sql }: EndpointUnderTest, eventId: string): Promise<void> {
  await sql`update stripe_events set retry_at = now() where id = ${eventId} and retry_at is not null`;
}

/** A person who has paid by a checkout. */
async function paid(under: EndpointUnderTest, options?: CheckoutOptions) {
  const person = await under.person({ balanceMicrousd: 0 });
  const checkout = await makeCheckout(under, person.userId, options);
  checkout.pay();
  return { ...person, ...checkout };
}

async function send(
  under: EndpointUnderTest,
  event: Stripe.Event,
  options?: Parameters<EndpointUnderTest["fakeStripe"]["signed"]>[1],
) {
  const { body, headers } = under.fakeStripe.signed(event, options);
  return await under.call(body, headers);
}

describeEndpoint(stripeWebhookEndpoint, {
  async accepted(under) {
    const { id, type, created, livemode, data } = (await paid(under)).event("checkout.session.completed");
    const body = JSON.parse(JSON.stringify({ id, type, created, livemode, data })) as Record<string, unknown>;
    return { body, credentials: signatureOf(under, JSON.stringify(body)) };
  },
  cases: {
    "200 handled: what was paid is credited once, whichever events tell it and however often": async (
      under,
    ) => {
      const { userId, event, session } = await paid(under, { cents: 1_999 });
      for (const type of [
        "checkout.session.completed",
        "payment_intent.succeeded",
        "checkout.session.completed",
      ]) {
        const { body } = await send(under, event(type));
        assert.deepEqual([body["received"], body["state"]], [true, "handled"]);
      }
      assert.equal((await send(under, event("payment_intent.succeeded"))).body["duplicate"], true);
      assert.deepEqual(await booksOf(under.sql, userId), { balance: 19_990_000, debt: 0, entries: 1 });
      const [row] = await under.sql`select status from checkout_sessions where id = ${session.id}`;
      assert.equal(row?.["status"], "complete");
      assert.deepEqual(await moneyFaults(under.sql), []);
    },
    "200 ignored: what is not of ours": async (under) => {
      const { event } = await paid(under);
      const other = structuredClone(event("payment_intent.succeeded")) as Stripe.PaymentIntentSucceededEvent;
      other.id = "evt_of_another_shop";
      other.data.object.id = "pi_of_another_shop";
      other.data.object.metadata = {};
      assert.equal((await send(under, other)).body["state"], "ignored");
      const unknown = {
        ...other,
        id: "evt_invoice",
        type: "invoice.payment_succeeded",
      } as unknown as Stripe.Event;
      assert.equal((await send(under, unknown)).body["state"], "ignored");
    },
    "200 quarantined: what does not fit credits nothing, and is told once": async (under) => {
      const { userId, event, intentId } = await paid(under);
      const strange = structuredClone(
        event("checkout.session.completed"),
      ) as Stripe.CheckoutSessionCompletedEvent;
      strange.id = `${strange.id}_strange`;
      strange.data.object.amount_total = 999_999;
      for (let turn = 0; turn < 2; turn++) {
        assert.equal((await send(under, strange)).body["state"], "quarantined");
      }
      const alerts = await under.sql`select reason, state from billing_alerts where subject = ${intentId()}`;
      assert.deepEqual(
        [...alerts].map((row) => ({ ...row })),
        [{ reason: "wrong_amount", state: "open" }],
      );
      assert.equal((await booksOf(under.sql, userId)).balance, 0);
      assert.match(under.logged(), /an event was quarantined/);
    },
    "200: the card of a checkout that asked for it is kept, and top-ups are on": async (under) => {
      const { userId, event: told } = await paid(under, {
        cents: 2_000,
        autoTopup: { amount: 2_000, threshold: 400 },
      });
      const event = told("checkout.session.completed");
      under.fakeStripe.faults.push({ at: /GET \/v1\/checkout\/sessions/, times: 5, does: 500 });
      assert.equal((await send(under, event)).body["state"], "handled");
      assert.equal(
        (await booksOf(under.sql, userId)).balance,
        20_000_000,
        "the credit does not wait for the card",
      );
      under.fakeStripe.faults.length = 0;
      // Stripe is not asked to send it again: maintenance saves the card when it is due, then leaves the event alone.
      for (let turn = 0; turn < 2; turn++) {
        await makeDue(under, event.id);
        assert.equal(await handleDueEvents(desk(under)), 1);
      }
      const [stored] = await under.sql`select retry_at from stripe_events where id = ${event.id}`;
      assert.equal(stored?.["retry_at"], null);
      const [person] = await under.sql`
        select auto_topup_enabled, auto_topup_amount, auto_topup_threshold from users where id = ${userId}`;
      assert.deepEqual(
        { ...person },
        { auto_topup_enabled: true, auto_topup_amount: 2000, auto_topup_threshold: 400 },
      );
    },
    "400 invalid_signature: nothing is stored": async (under) => {
      const { event: told } = await paid(under);
      const event = { ...told("checkout.session.completed"), id: "evt_forged" };
      const { body, headers } = under.fakeStripe.signed(event);
      const now = Math.floor(Date.now() / 1000);
      const forged: [string, Record<string, string>][] = [
        [body, {}],
        [body, { "stripe-signature": "" }],
        [body, { "stripe-signature": "t=1,v1=" }],
        [body, under.fakeStripe.signed(event, { secrets: ["whsec_another"] }).headers],
        [body, under.fakeStripe.signed(event, { scheme: "v0" }).headers],
        [body, under.fakeStripe.signed(event, { timestamp: now - 301 }).headers],
        [body, under.fakeStripe.signed(event, { timestamp: now + 310 }).headers],
        [JSON.stringify(event), headers],
        [body.replace("checkout", "cheskout"), headers],
      ];
      for (const [text, credentials] of forged) await under.refused("invalid_signature", text, credentials);
      assert.equal((await under.sql`select from stripe_events where id = 'evt_forged'`).length, 0);
      const rotating = { secrets: ["whsec_older", under.fakeStripe.webhookSecret] };
      assert.equal((await send(under, event, rotating)).status, 200);
    },
    "200 received: an event that needs an answer of Stripe's, which does not come, is handled later": async (
      under,
    ) => {
      const { event: told, intentId, userId } = await paid(under);
      await send(under, told("checkout.session.completed"));
      under.fakeStripe.refund(intentId(), 400);
      const event = structuredClone(
        under.fakeStripe.events("charge.refunded").at(-1),
      ) as Stripe.ChargeRefundedEvent;
      delete (event.data.object as { refunds?: unknown }).refunds;
      const { body, headers } = under.fakeStripe.signed(event);
      const impatient = createStripe(under.fakeStripe.variables, {
        timeoutMilliseconds: 50,
        maxNetworkRetries: 0,
      });
      for (const [reason, status] of [
        ["provider_unavailable", 500],
        ["provider_failed", 403],
        ["provider_timeout", undefined],
      ] as const) {
        if (status) under.fakeStripe.faults.push({ at: /GET \/v1\/refunds/, times: 5, does: status });
        else under.fakeStripe.gate = () => new Promise(() => undefined);
        const answer = await under.call(body, headers, { environment: { stripe: impatient } });
        under.fakeStripe.faults.length = 0;
        under.fakeStripe.gate = () => undefined;
        assert.deepEqual([answer.status, answer.body["state"]], [200, "received"]);
        const [stored] = await under.sql`select state, reason from stripe_events where id = ${event.id}`;
        assert.deepEqual({ ...stored }, { state: "received", reason });
      }
      assert.match(under.logged(), /an event is handled again later/);
      assert.equal(await handleDueEvents(desk(under)), 0, "not before its time");
      await makeDue(under, event.id);
      assert.equal(await handleDueEvents(desk(under)), 1);
      assert.equal((await booksOf(under.sql, userId)).balance, 6_000_000);
      assert.equal((await under.call(body, headers)).body["duplicate"], true);
    },
    "200 quarantined: after two days of attempts, with an alert; an operator's retry handles it": async (
      under,
    ) => {
      const { event: told, userId } = await paid(under);
      const event = { ...told("checkout.session.completed"), id: "evt_without_metadata" } as Stripe.Event;
      delete (event.data.object as { metadata?: unknown }).metadata;
      under.fakeStripe.faults.push({ at: /GET \/v1\/checkout/, times: 1, does: 403 });
      assert.equal((await send(under, event)).body["state"], "received");
      await under.sql`update stripe_events set attempts = 48, retry_at = now() where id = ${event.id}`;
      assert.equal(await handleDueEvents(desk(under)), 0);
      const [alert] = await under.sql<{ id: string; reason: string }[]>`
        select id, reason from billing_alerts where subject = ${event.id} and state = 'open'`;
      assert.equal(alert?.reason, "handling_failed");
      assert.equal((await booksOf(under.sql, userId)).balance, 0);
      const { events } = await resolveBillingAlert(desk(under), {
        alertId: alert.id,
        resolution: "retry",
        note: "Stripe answers again",
      });
      assert.deepEqual(
        events.map(({ state }) => state),
        ["handled"],
      );
      assert.equal((await booksOf(under.sql, userId)).balance, 10_000_000);
      assert.deepEqual(await moneyFaults(under.sql), []);
    },
    "503 provider_not_configured: without a secret": async (under) => {
      const { body, headers } = under.fakeStripe.signed(
        (await paid(under)).event("checkout.session.completed"),
      );
      const stripe = createStripe({ STRIPE_SECRET_KEY: "sk_test_1" });
      const answer = await under.refused("provider_not_configured", body, headers, {
        environment: { stripe },
      });
      assert.equal(answer.body["variable"], "STRIPE_WEBHOOK_SECRET");
    },
  },
});
