import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { booksOf, makeCheckout, moneyFaults } from "../../../test/support/payments.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { confirmCheckoutEndpoint } from "./endpoint.ts";

describeEndpoint(confirmCheckoutEndpoint, {
  async accepted(under) {
    const person = await under.person();
    const { session, pay } = await makeCheckout(under, person.userId);
    pay();
    return { body: { sessionId: session.id }, credentials: person.session };
  },
  cases: {
    "200: what is paid is on the account, though no event has come; its event adds nothing": async (
      under,
    ) => {
      const person = await under.person({ balanceMicrousd: 0 });
      const { session, pay } = await makeCheckout(under, person.userId, { cents: 1_999 });
      pay();
      const told = {
        sessionId: session.id,
        status: "complete",
        paymentStatus: "paid",
        credited: true,
        credits: 1999,
      };
      for (let turn = 0; turn < 2; turn++) {
        assert.deepEqual((await under.call({ sessionId: session.id }, person.session)).body, told);
      }
      assert.deepEqual(await booksOf(under.sql, person.userId), { balance: 19_990_000, debt: 0, entries: 1 });
      assert.deepEqual(await moneyFaults(under.sql), []);
    },
    "200: what is under way, or was never paid, is not credited": async (under) => {
      const person = await under.person({ balanceMicrousd: 0 });
      const slow = await makeCheckout(under, person.userId);
      const open = await under.call({ sessionId: slow.session.id }, person.session);
      assert.deepEqual([open.body["status"], open.body["credited"]], ["open", false]);
      slow.pay({ card: "delayed" });
      const waiting = await under.call({ sessionId: slow.session.id }, person.session);
      assert.deepEqual([waiting.body["paymentStatus"], waiting.body["credited"]], ["unpaid", false]);
      under.fakeStripe.settle(slow.session.id, true);
      assert.equal((await under.call({ sessionId: slow.session.id }, person.session)).body["credited"], true);
    },
    "404 checkout_not_found: unknown and somebody else's alike": async (under) => {
      const [mine, other] = [await under.person(), await under.person()];
      const { session, pay } = await makeCheckout(under, other.userId);
      pay();
      for (const sessionId of ["cs_test_unknown", session.id]) {
        await under.refused("checkout_not_found", { sessionId }, mine.session);
      }
      assert.equal(
        (await booksOf(under.sql, other.userId)).entries,
        1,
        "nothing was recorded for them either",
      );
    },
    "502, 503, 504: what Stripe does not answer": async (under) => {
      const person = await under.person();
      const { session, pay } = await makeCheckout(under, person.userId);
      pay();
      const request = { sessionId: session.id };
      for (const [status, code] of [
        [403, "provider_failed"],
        [500, "provider_unavailable"],
      ] as const) {
        under.fakeStripe.faults.push({ at: /checkout\/sessions/, times: 5, does: status });
        await under.refused(code, request, person.session);
        under.fakeStripe.faults.length = 0;
      }
      const impatient = createStripe(under.fakeStripe.variables, {
        timeoutMilliseconds: 50,
        maxNetworkRetries: 0,
      });
      under.fakeStripe.gate = () => new Promise(() => undefined);
      await under.refused("provider_timeout", request, person.session, {
        environment: { stripe: impatient },
      });
      under.fakeStripe.gate = () => undefined;
      await under.refused("provider_not_configured", request, person.session, {
        environment: { stripe: createStripe({}) },
      });
    },
  },
});
