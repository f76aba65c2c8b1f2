import assert from "node:assert/strict";
import {
  describeEndpoint,
  type EndpointAnswer,
  type EndpointUnderTest,
} from "../../../test/support/endpoint-suite.ts";
import { booksOf, makeCheckout, moneyFaults } from "../../../test/support/payments.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { reconcilePaymentsEndpoint } from "./endpoint.ts";

const window = () => ({
  from: new Date(Date.now() - 86_400_000).toISOString(),
  to: new Date(Date.now() + 60_000).toISOString(),
});

function differencesOf({ body }: EndpointAnswer): [string, string, boolean][] {
  return (body["differences"] as { fault: string; subject: string; healed: boolean }[]).map((one) => [
    one.fault,
    one.subject,
    one.healed,
  ]);
}

/** A checkout that is paid, and of which no event came. */
async function unheardOf(under: EndpointUnderTest) {
  const person = await under.person({ balanceMicrousd: 0 });
  const checkout = await makeCheckout(under, person.userId);
  checkout.pay();
  return { ...person, ...checkout };
}

describeEndpoint(reconcilePaymentsEndpoint, {
  accepted: ({ service }) => Promise.resolve({ body: { ...window(), heal: true }, credentials: service }),
  cases: {
    "200: a payment, a refund and a dispute that nobody told of are recorded, once": async (under) => {
      const { userId, intentId } = await unheardOf(under);
      const told = await under.call({ ...window(), heal: false }, under.service);
      assert.deepEqual(differencesOf(told), [["payment_not_recorded", intentId(), false]]);
      assert.equal((await booksOf(under.sql, userId)).balance, 0, "only told of");
      assert.deepEqual(differencesOf(await under.call(window(), under.service)), [
        ["payment_not_recorded", intentId(), true],
      ]);
      assert.equal((await booksOf(under.sql, userId)).balance, 10_000_000);

      under.fakeStripe.refund(intentId(), 300);
      under.fakeStripe.dispute(intentId(), 200);
      assert.deepEqual(differencesOf(await under.call(window(), under.service)), [
        ["refund_not_recorded", intentId(), true],
        ["dispute_not_recorded", intentId(), true],
      ]);
      assert.equal((await booksOf(under.sql, userId)).balance, 5_000_000);
      assert.deepEqual(differencesOf(await under.call(window(), under.service)), []);
      assert.deepEqual(await moneyFaults(under.sql), []);
    },
    "200: what Stripe does not know, or knows with another amount, is told and left alone": async (under) => {
      const [ghost, other] = [await unheardOf(under), await unheardOf(under)];
      await under.call(window(), under.service);
      under.fakeStripe.books.find("payment_intent", other.intentId()).amount_received = 900;
      await under.sql`
        update payments set payment_intent_id = 'pi_ghost' where payment_intent_id = ${ghost.intentId()}`;
      await under.sql`delete from checkout_sessions where user_id = ${ghost.userId}`;
      under.fakeStripe.books.find("payment_intent", ghost.intentId()).metadata = {};
      for (let turn = 0; turn < 2; turn++) {
        assert.deepEqual(differencesOf(await under.call(window(), under.service)).sort(), [
          ["amount_differs", other.intentId(), false],
          ["unknown_at_stripe", "pi_ghost", false],
        ]);
      }
      const alerts = await under.sql`select reason from billing_alerts where state = 'open' order by reason`;
      assert.deepEqual(
        alerts.map(({ reason }) => reason as string),
        ["amount_differs", "unknown_at_stripe"],
      );
      for (const { userId } of [ghost, other])
        assert.equal((await booksOf(under.sql, userId)).balance, 10_000_000);
      await under.sql`update payments set state = 'paid', paid_at = now() - interval '9 days' where payment_intent_id = 'pi_ghost'`;
      under.fakeStripe.books.find("payment_intent", other.intentId()).amount_received = 1_000;
    },
    "200: an event that was stored and not done is done": async (under) => {
      const { userId, event } = await unheardOf(under);
      const stored = event("payment_intent.succeeded");
      const { id, type, created } = stored;
      await under.sql`
        select receive_stripe_event(${id}, ${type}, ${JSON.stringify(stored)}, false, null, null, to_timestamp(${created}))`;
      await under.sql`update stripe_events set received_at = now() - interval '5 minutes' where id = ${stored.id}`;
      const differences = differencesOf(await under.call(window(), under.service));
      assert.deepEqual(differences, [["event_not_handled", stored.id, true]]);
      assert.equal((await booksOf(under.sql, userId)).balance, 10_000_000);
    },
    "200 with next_after: a run that used up its time goes on where it stopped": async (under) => {
      const { userId } = await unheardOf(under);
      let after: string | null = "intents|2026-01-01T00:00:00.000Z|";
      let runs = 0;
      const clock = Date.now;
      while (after !== null && runs < 20) {
        // As if each page took an hour.
        let asked = 0;
        Date.now = () => clock() + asked++ * 3_600_000;
        try {
          const { body }: EndpointAnswer = await under.call({ ...window(), after }, under.service, {
            contract: { requestsPerMinute: 1_000 },
          });
          after = body["next_after"] as string | null;
        } finally {
          Date.now = clock;
        }
        runs++;
      }
      assert.ok(runs > 2 && after === null, `${runs} runs, then ${after}`);
      assert.equal((await booksOf(under.sql, userId)).balance, 10_000_000);
    },
    "400 invalid_request: windows and cursors that are none": async ({ refused, service }) => {
      for (const body of [
        { from: "yesterday" },
        { from: "2026-02-01T00:00:00Z", to: "2026-01-01T00:00:00Z" },
        { after: "everything" },
        { heal: "yes" },
      ]) {
        await refused("invalid_request", body, service);
      }
    },
    "502, 503, 504: what Stripe does not answer; nothing is half done": async (under) => {
      await unheardOf(under);
      for (const [status, code] of [
        [403, "provider_failed"],
        [500, "provider_unavailable"],
      ] as const) {
        under.fakeStripe.faults.push({ at: /payment_intents/, times: 5, does: status });
        await under.refused(code, window(), under.service);
        under.fakeStripe.faults.length = 0;
      }
      const impatient = createStripe(under.fakeStripe.variables, {
        timeoutMilliseconds: 50,
        maxNetworkRetries: 0,
      });
      under.fakeStripe.gate = () => new Promise(() => undefined);
      await under.refused("provider_timeout", window(), under.service, {
        environment: { stripe: impatient },
      });
      under.fakeStripe.gate = () => undefined;
      await under.refused("provider_not_configured", window(), under.service, {
        environment: { stripe: createStripe({}) },
      });
      await under.call(window(), under.service);
    },
  },
});
