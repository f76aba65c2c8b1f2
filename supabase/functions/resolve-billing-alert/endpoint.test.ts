import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type Stripe from "stripe";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { booksOf, makeCheckout, moneyFaults } from "../../../test/support/payments.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { receiveEvent } from "../_shared/billing/stripe-events.ts";
import { resolveBillingAlertEndpoint } from "./endpoint.ts";

/** A payment of another amount than was asked for, with its alert. */
async function quarantined(under: EndpointUnderTest) {
  const person = await under.person({ balanceMicrousd: 0 });
  const checkout = await makeCheckout(under, person.userId, { cents: 1_000 });
  checkout.pay({ amount: 1_200 });
  const { environment } = under;
  const event = checkout.event("checkout.session.completed");
  const stripe = createStripe(under.fakeStripe.variables);
  const { body, headers } = under.fakeStripe.signed(event);
  const desk = { database: environment.database, stripe, log: environment.log };
  const handled = await receiveEvent(desk, body, headers["stripe-signature"] ?? null);
  assert.equal(handled.state, "quarantined");
  const [alert] = await under.sql<
    { id: string }[]
  >`select id from billing_alerts where subject = ${checkout.intentId()}`;
  assert.ok(alert);
  return { ...person, ...checkout, alertId: alert.id, note: "the shop's price was changed" };
}

describeEndpoint(resolveBillingAlertEndpoint, {
  async accepted(under) {
    const { alertId: alert_id, note } = await quarantined(under);
    return { body: { alert_id, resolution: "dismiss", note }, credentials: under.service };
  },
  cases: {
    "200 retry: after what was wrong was set right, its events are done": async (under) => {
      const { userId, alertId, note, requestId } = await quarantined(under);
      await under.sql`update checkout_sessions set amount_cents = 1200 where request_id = ${requestId}`;
      const { body } = await under.call({ alert_id: alertId, resolution: "retry", note }, under.service);
      const alert = body["alert"] as { state: string; note: string };
      assert.deepEqual([alert.state, alert.note], ["released", note]);
      assert.deepEqual(
        (body["events"] as { state: string }[]).map(({ state }) => state),
        ["handled"],
      );
      assert.deepEqual(await booksOf(under.sql, userId), { balance: 12_000_000, debt: 0, entries: 1 });
      assert.deepEqual(await moneyFaults(under.sql), []);
    },
    "200 retry: what still does not fit is told again": async (under) => {
      const { userId, alertId, note, intentId } = await quarantined(under);
      const { body } = await under.call({ alert_id: alertId, resolution: "retry", note }, under.service);
      assert.deepEqual(
        (body["events"] as { reason: string }[]).map(({ reason }) => reason),
        ["wrong_amount"],
      );
      const open =
        await under.sql`select from billing_alerts where subject = ${intentId()} and state = 'open'`;
      assert.equal(open.length, 1);
      assert.equal((await booksOf(under.sql, userId)).balance, 0);
    },
    "200 dismiss: nothing is done; once": async (under) => {
      const { userId, alertId, note } = await quarantined(under);
      const request = { alert_id: alertId, resolution: "dismiss", note };
      assert.deepEqual((await under.call(request, under.service)).body["events"], []);
      assert.equal((await booksOf(under.sql, userId)).balance, 0);
      await under.refused("alert_not_found", request, under.service);
      await under.refused("alert_not_found", { ...request, alert_id: randomUUID() }, under.service);
    },
    "200 retry: an event that needs an answer of Stripe's, which does not come, is handled later": async (
      under,
    ) => {
      const person = await under.person({ balanceMicrousd: 0 });
      const checkout = await makeCheckout(under, person.userId);
      checkout.pay();
      under.fakeStripe.refund(checkout.intentId(), 400);
      const event = structuredClone(checkout.event("charge.refunded")) as Stripe.ChargeRefundedEvent;
      delete (event.data.object as { refunds?: unknown }).refunds;
      const impatient = createStripe(under.fakeStripe.variables, {
        timeoutMilliseconds: 50,
        maxNetworkRetries: 0,
      });
      for (const [reason, environment, status] of [
        ["provider_failed", {}, 403],
        ["provider_unavailable", {}, 500],
        ["provider_not_configured", { stripe: createStripe({}) }, undefined],
        ["provider_timeout", { stripe: impatient }, undefined],
      ] as const) {
        const id = `evt_${randomUUID()}`;
        await under.sql`
          insert into stripe_events (id, type, payment_intent_id, livemode, body, state, reason, event_created_at, handled_at)
          values (${id}, ${event.type}, ${checkout.intentId()}, false, ${JSON.stringify({ ...event, id })},
                  'quarantined', 'wrong_livemode', now(), now())`;
        const [alert] = await under.sql<{ id: string }[]>`
          insert into billing_alerts (reason, subject) values ('wrong_livemode', ${checkout.intentId()}) returning id`;
        if (status) under.fakeStripe.faults.push({ at: /refunds/, times: 5, does: status });
        if (reason === "provider_timeout") under.fakeStripe.gate = () => new Promise(() => undefined);
        const request = { alert_id: alert?.id, resolution: "retry", note: "again" };
        const { body } = await under.call(request, under.service, { environment });
        under.fakeStripe.faults.length = 0;
        under.fakeStripe.gate = () => undefined;
        assert.deepEqual(body["events"], [{ id, state: "received", reason: null }]);
        const [stored] = await under.sql`
          select state, reason, retry_at > now() as is_due_later from stripe_events where id = ${id}`;
        assert.deepEqual({ ...stored }, { state: "received", reason, is_due_later: true });
      }
    },
  },
});
