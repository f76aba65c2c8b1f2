import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type Stripe from "stripe";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { stripeWebhookEndpoint } from "./endpoint.ts";

/** The header over a text that is sent as JSON. */
function signatureOf(under: EndpointUnderTest, text: string, timestamp = Math.floor(Date.now() / 1000)) {
  const digest = createHmac("sha256", under.fakeStripe.webhookSecret).update(`${timestamp}.${text}`).digest("hex");
  return { "stripe-signature": `t=${timestamp},v1=${digest}` };
}

/** A person who has paid so many cents by a checkout, and Stripe's events of it. */
async function paid(under: EndpointUnderTest, cents = 1_000, { pays = true } = {}) {
  const person = await under.person({ balanceMicrousd: 0 });
  const [asked] = await under.sql<{ request_id: string }[]>`
    insert into checkout_sessions (user_id, amount_cents, success_url, cancel_url)
    values (${person.userId}, ${cents}, 'https://app.darkroom.test/', 'https://app.darkroom.test/') returning request_id`;
  const metadata = { kind: "checkout", userId: person.userId, requestId: asked?.request_id ?? "" };
  const stripe = await createStripe(under.fakeStripe.variables).client();
  assert.ok(stripe);
  const customer = await stripe.customers.create({ metadata: { userId: person.userId } });
  const session = await stripe.checkout.sessions.create({
    mode: "payment",
    customer: customer.id,
    line_items: [{ quantity: 1, price_data: { currency: "usd", unit_amount: cents, product_data: { name: "Credits" } } }],
    success_url: "https://app.darkroom.test/",
    cancel_url: "https://app.darkroom.test/",
    metadata,
    payment_intent_data: { metadata },
  });
  await under.sql`
    update checkout_sessions set id = ${session.id}, url = 'https://pay.example/', expires_at = now() + interval '1 day'
     where request_id = ${asked?.request_id ?? ""}`;
  if (pays) under.fakeStripe.pay(session.id);
  const events = under.fakeStripe
    .events()
    .filter(({ data }) => {
      const object = data.object as { id?: string; metadata?: Record<string, string> | null };
      return object.id === session.id || object.metadata?.["requestId"] === asked?.request_id;
    });
  const one = (type: string): Stripe.Event => {
    const event = events.find((told) => told.type === type);
    assert.ok(event, `${type} of ${events.map((told) => told.type).join(", ")}`);
    return event;
  };
  return { ...person, session, events, one };
}

async function send(under: EndpointUnderTest, event: Stripe.Event, options?: Parameters<EndpointUnderTest["fakeStripe"]["signed"]>[1]) {
  const { body, headers } = under.fakeStripe.signed(event, options);
  return await under.call(body, headers);
}

async function balance({ sql }: EndpointUnderTest, userId: string) {
  const [row] = await sql`
    select balance_microusd::float8 as balance, debt_microusd::float8 as debt,
           (select count(*)::int from credits_ledger where user_id = ${userId}) as entries
      from credit_accounts where user_id = ${userId}`;
  return { ...row };
}

describeEndpoint(stripeWebhookEndpoint, {
  async accepted(under) {
    const { id, type, created, livemode, data } = (await paid(under)).one("checkout.session.completed");
    const body = JSON.parse(JSON.stringify({ id, type, created, livemode, data })) as Record<string, unknown>;
    return { body, credentials: signatureOf(under, JSON.stringify(body)) };
  },
  cases: {
    "200 handled: what was paid is credited once, whichever events tell it and however often": async (under) => {
      const { userId, one, session } = await paid(under, 1_999);
      for (const type of ["checkout.session.completed", "payment_intent.succeeded", "checkout.session.completed"]) {
        const { body } = await send(under, one(type));
        assert.deepEqual([body["received"], body["state"]], [true, "handled"]);
      }
      assert.equal((await send(under, one("payment_intent.succeeded"))).body["duplicate"], true);
      assert.deepEqual(await balance(under, userId), { balance: 19_990_000, debt: 0, entries: 1 });
      const [row] = await under.sql`select status from checkout_sessions where id = ${session.id}`;
      assert.equal(row?.["status"], "complete");
      assert.deepEqual([...(await under.sql`select * from find_payment_faults()`)], []);
    },
    "200 ignored: what is not of ours": async (under) => {
      const { one } = await paid(under);
      const other = structuredClone(one("payment_intent.succeeded")) as Stripe.PaymentIntentSucceededEvent;
      other.id = "evt_of_another_shop";
      other.data.object.id = "pi_of_another_shop";
      other.data.object.metadata = {};
      assert.equal((await send(under, other)).body["state"], "ignored");
      const unknown = { ...other, id: "evt_invoice", type: "invoice.payment_succeeded" } as unknown as Stripe.Event;
      assert.equal((await send(under, unknown)).body["state"], "ignored");
    },
    "200 quarantined: what does not fit credits nothing, and is told once": async (under) => {
      const { userId, one, session } = await paid(under);
      const strange = structuredClone(one("checkout.session.completed")) as Stripe.CheckoutSessionCompletedEvent;
      strange.id = `${strange.id}_strange`;
      strange.data.object.amount_total = 999_999;
      for (let turn = 0; turn < 2; turn++) {
        assert.equal((await send(under, strange)).body["state"], "quarantined");
      }
      const intent = String(session.payment_intent ?? strange.data.object.payment_intent);
      const alerts = await under.sql`select reason, state from billing_alerts where subject = ${intent}`;
      assert.deepEqual([...alerts].map((row) => ({ ...row })), [{ reason: "wrong_amount", state: "open" }]);
      assert.equal((await balance(under, userId))["balance"], 0);
      assert.match(under.logged(), /an event was quarantined/);
    },
    "200: the card of a checkout that asked for it is kept, and top-ups are on": async (under) => {
      const { userId, one, session } = await paid(under, 2_000, { pays: false });
      await under.sql`
        update checkout_sessions set auto_topup_amount_cents = 2000, auto_topup_threshold_cents = 400,
               auto_topup_monthly_cap_cents = 20000 where id = ${session.id}`;
      await under.sql`insert into stripe_customers (user_id, customer_id) values (${userId}, ${String(session.customer)})`;
      under.fakeStripe.pay(session.id, { saves: true } as never);
      assert.ok(one);
      const [event] = under.fakeStripe
        .events("checkout.session.completed")
        .filter(({ data }) => (data.object as { id: string }).id === session.id);
      assert.ok(event);
      under.fakeStripe.faults.push({ at: /GET \/v1\/checkout\/sessions/, times: 5, does: 500 });
      await under.refused("provider_unavailable", under.fakeStripe.signed(event).body, under.fakeStripe.signed(event).headers);
      assert.equal((await balance(under, userId))["balance"], 20_000_000, "the credit does not wait for the card");
      under.fakeStripe.faults.length = 0;
      assert.equal((await send(under, event)).body["duplicate"], true);
      const [person] = await under.sql`
        select auto_topup_enabled, auto_topup_amount, auto_topup_threshold from users where id = ${userId}`;
      assert.deepEqual({ ...person }, { auto_topup_enabled: true, auto_topup_amount: 2000, auto_topup_threshold: 400 });
    },
    "400 invalid_signature: nothing is stored": async (under) => {
      const { one } = await paid(under);
      const event = { ...one("checkout.session.completed"), id: "evt_forged" };
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
    "502, 503, 504: where an event needs more of Stripe, it is sent again": async (under) => {
      const { one } = await paid(under);
      await send(under, one("checkout.session.completed"));
      const intent = (one("payment_intent.succeeded").data.object as { id: string }).id;
      under.fakeStripe.refund(intent, 400);
      const event = structuredClone(under.fakeStripe.events("charge.refunded").at(-1)) as Stripe.ChargeRefundedEvent;
      delete (event.data.object as { refunds?: unknown }).refunds;
      const { body, headers } = under.fakeStripe.signed(event);
      for (const [status, code] of [
        [500, "provider_unavailable"],
        [403, "provider_failed"],
      ] as const) {
        under.fakeStripe.faults.push({ at: /GET \/v1\/refunds/, times: 5, does: status });
        await under.refused(code, body, headers);
        under.fakeStripe.faults.length = 0;
      }
      const impatient = createStripe(under.fakeStripe.variables, { timeoutMilliseconds: 50, maxNetworkRetries: 0 });
      under.fakeStripe.gate = ({ path }) => (path === "/v1/refunds" ? new Promise(() => undefined) : undefined);
      await under.refused("provider_timeout", body, headers, { environment: { stripe: impatient } });
      under.fakeStripe.gate = () => undefined;
      assert.equal((await under.call(body, headers)).body["state"], "handled");
    },
    "503 provider_not_configured: without a secret": async (under) => {
      const { body, headers } = under.fakeStripe.signed((await paid(under)).one("checkout.session.completed"));
      const stripe = createStripe({ STRIPE_SECRET_KEY: "sk_test_1" });
      const answer = await under.refused("provider_not_configured", body, headers, { environment: { stripe } });
      assert.equal(answer.body["variable"], "STRIPE_WEBHOOK_SECRET");
    },
  },
});
