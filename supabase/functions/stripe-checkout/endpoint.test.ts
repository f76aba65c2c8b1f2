import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { checkoutSettings } from "../_shared/billing/variables.ts";
import { stripeCheckoutEndpoint } from "./endpoint.ts";

const autoTopup = { autoTopupEnabled: true, autoTopupAmount: 20, autoTopupThreshold: 4.5 };

describeEndpoint(stripeCheckoutEndpoint, {
  async accepted(under) {
    const { session } = await under.person();
    return { body: { amount: 50, ...autoTopup, autoTopupMonthlyCap: 200 }, credentials: session };
  },
  cases: {
    "200: a page to pay on, for exactly this amount, with all that its events must tell": async (under) => {
      const { userId, session } = await under.person();
      const { body } = await under.call({ amount: 19.99 }, session);
      assert.deepEqual(
        { ...body, sessionId: undefined, checkoutUrl: undefined },
        {
          amount: 19.99,
          userId,
          status: "open",
          sessionId: undefined,
          checkoutUrl: undefined,
        },
      );
      const made = under.fakeStripe.books.find("session", String(body["sessionId"]));
      assert.equal(body["checkoutUrl"], made.url);
      assert.deepEqual(
        made.adaptive_pricing,
        { enabled: false },
        "paid in dollars, whatever the account's settings",
      );
      assert.deepEqual([made.amount_total, made.currency, made.mode], [1999, "usd", "payment"]);
      assert.equal(
        made.success_url,
        "https://app.darkroom.test/payments/success?session_id={CHECKOUT_SESSION_ID}",
      );
      assert.equal(made.cancel_url, "https://app.darkroom.test/payments/cancel");
      const [row] = await under.sql`select * from checkout_sessions where id = ${made.id}`;
      assert.deepEqual([row?.["user_id"], row?.["amount_cents"], row?.["status"]], [userId, 1999, "open"]);
      assert.deepEqual(made.metadata, {
        kind: "checkout",
        userId,
        requestId: row?.["request_id"],
        amountCents: "1999",
        autoTopupEnabled: "false",
      });
      const { metadata, setup_future_usage } = under.fakeStripe.books.plans.get(made.id) ?? {};
      assert.deepEqual([metadata, setup_future_usage], [made.metadata, null]);
      assert.equal(made.client_reference_id, userId);
    },
    "200: with automatic top-ups the card is to be saved, and what was asked for is noted in cents": async (
      under,
    ) => {
      const { session } = await under.person();
      for (const flag of [true, "true", 1]) {
        const { body } = await under.call({ amount: 50, ...autoTopup, autoTopupEnabled: flag }, session);
        const id = String(body["sessionId"]);
        assert.equal(under.fakeStripe.books.plans.get(id)?.setup_future_usage, "off_session");
        const { metadata } = under.fakeStripe.books.find("session", id);
        assert.equal(metadata?.["autoTopupAmountCents"], "2000");
        assert.equal(metadata?.["autoTopupThresholdCents"], "450");
        const [row] = await under.sql`
          select auto_topup_amount_cents, auto_topup_threshold_cents, auto_topup_monthly_cap_cents
            from checkout_sessions where id = ${id}`;
        assert.deepEqual(Object.values(row ?? {}), [2000, 450, 20_000]);
      }
    },
    "200: a double click is one page; after a minute, when paid, or for another amount it is another": async (
      under,
    ) => {
      const { userId, session } = await under.person();
      const sessionOf = async (body: object, headers?: Record<string, string>) =>
        (await under.call(body, session, headers && { headers })).body["sessionId"];
      const both = await Promise.all([sessionOf({ amount: 10 }), sessionOf({ amount: 10 })]);
      assert.equal(both[0], both[1]);
      assert.notEqual(await sessionOf({ amount: 10.01 }), both[0]);
      assert.notEqual(await sessionOf({ amount: 10, ...autoTopup, autoTopupAmount: 10 }), both[0]);
      await under.sql`update checkout_sessions set status = 'complete' where id = ${String(both[0])}`;
      const next = await sessionOf({ amount: 10 });
      assert.notEqual(next, both[0]);
      await under.sql`update checkout_sessions set created_at = created_at - interval '61 s' where user_id = ${userId}`;
      assert.notEqual(await sessionOf({ amount: 10 }), next);

      const keyed = await sessionOf({ amount: 10, idempotency_key: "mine" });
      assert.equal(await sessionOf({ amount: 10 }, { "idempotency-key": "mine" }), keyed);
      assert.notEqual(await sessionOf({ amount: 10, idempotency_key: "other" }), keyed);
      const stranger = await under.person();
      const theirs = await under.call({ amount: 10, idempotency_key: "mine" }, stranger.session);
      assert.notEqual(theirs.body["sessionId"], keyed);
    },
    "200: one customer per user, made once; one that Stripe has lost is made anew": async (under) => {
      const { userId, session } = await under.person();
      const { books } = under.fakeStripe;
      const customers = () => books.all("customer").filter(({ metadata }) => metadata["userId"] === userId);
      await Promise.all([5, 6, 7, 8].map((amount) => under.call({ amount }, session)));
      const [customer] = customers();
      assert.equal(customers().length, 1);
      assert.equal(customer?.email, `${userId}@example.com`);
      await under.call({ amount: 20 }, session);
      assert.equal(books.all("session")[0]?.customer, customer?.id);

      under.fakeStripe.removeCustomer(String(customer?.id));
      const { status, body } = await under.call({ amount: 21 }, session);
      assert.equal(status, 200);
      const [renewed] = customers();
      assert.notEqual(renewed?.id, customer?.id);
      assert.equal(books.find("session", String(body["sessionId"])).customer, renewed?.id);
    },
    "200: pages of allowed origins to return to": async (under) => {
      const { session } = await under.person();
      const checkout = checkoutSettings({
        CHECKOUT_ALLOWED_ORIGINS: "http://localhost:3000, https://b.example/x",
      });
      const successUrl = "http://localhost:3000/paid?id={CHECKOUT_SESSION_ID}#done";
      const request = { amount: 5, successUrl, cancelUrl: "https://b.example" };
      const { body } = await under.call(request, session, { environment: { checkout } });
      const made = under.fakeStripe.books.find("session", String(body["sessionId"]));
      assert.deepEqual([made.success_url, made.cancel_url], [successUrl, "https://b.example"]);
    },
    "400 invalid_request: amounts that are none, not in cents, or do not go together": async (under) => {
      const { session } = await under.person();
      for (const amount of [4.99, 100.01, 0, -5, 19.999, 5.0000001, 1e308, "50", null, Number.NaN]) {
        const { body } = await under.refused("invalid_request", { amount }, session);
        assert.match(JSON.stringify(body["issues"]), /Amount must be a number between \$5 and \$100/);
      }
      const wrong: [object, RegExp][] = [
        [{ autoTopupAmount: 4 }, /autoTopupAmount must be a number between \$5 and \$100/],
        [{ autoTopupAmount: undefined }, /autoTopupAmount must be a number between/],
        [{ autoTopupThreshold: 0.5 }, /autoTopupThreshold must be a positive number/],
        [{ autoTopupThreshold: undefined }, /autoTopupThreshold must be a positive number/],
        [{ autoTopupThreshold: 20 }, /autoTopupThreshold must be less than autoTopupAmount/],
        [{ autoTopupMonthlyCap: 19.99 }, /autoTopupMonthlyCap must be between/],
        [{ autoTopupMonthlyCap: 10_000.01 }, /autoTopupMonthlyCap must be between/],
      ];
      for (const [fields, message] of wrong) {
        const answer = await under.refused(
          "invalid_request",
          { amount: 50, ...autoTopup, ...fields },
          session,
        );
        assert.match(JSON.stringify(answer.body["issues"]), message);
        // What is off is not looked at.
        const off = { amount: 50, ...autoTopup, ...fields, autoTopupEnabled: false };
        assert.equal((await under.call(off, session)).status, 200);
      }
      const headers = { "idempotency-key": "x".repeat(201) };
      await under.refused("invalid_request", { amount: 5 }, session, { headers });
    },
    "404 user_not_found: a session of somebody who is gone": async (under) => {
      const { userId, session } = await under.person();
      await under.sql`delete from users where id = ${userId}`;
      await under.refused("user_not_found", { amount: 5 }, session);
    },
    "422 idempotency_key_reused: for another purchase": async (under) => {
      const { session } = await under.person();
      const first = { amount: 10, idempotency_key: "once" };
      await under.call(first, session);
      for (const other of [{ amount: 11 }, autoTopup, { successUrl: "https://app.darkroom.test/else" }]) {
        await under.refused("idempotency_key_reused", { ...first, ...other }, session);
      }
    },
    "422 return_url_refused: other origins, and whatever is read in two ways": async (under) => {
      const { session } = await under.person();
      for (const url of [
        "https://evil.example/",
        "http://app.darkroom.test/",
        "https://app.darkroom.test:8443/",
        "https://app.darkroom.test.evil.example/",
        "https://app.darkroom.test@evil.example/",
        "https://user:pass@app.darkroom.test/",
        "https://app.darkroom.test\\@evil.example/",
        "https:\\\\app.darkroom.test/",
        "//app.darkroom.test/",
        "/payments/success",
        "javascript:alert(1)//https://app.darkroom.test/",
        "data:text/html,x",
        " https://app.darkroom.test/",
        "https://app.darkroom.test/\n",
        "https://app.darkroom.test\t/",
        "https://APP.darkroom.test/",
        "https://ａpp.darkroom.test/",
        "https://app.darkroom.test,evil.example/",
        "blob:https://app.darkroom.test/x",
        "null",
      ]) {
        for (const field of ["successUrl", "cancelUrl"]) {
          const { body } = await under.refused(
            "return_url_refused",
            { amount: 5, [field]: url },
            session,
            unlimited,
          );
          assert.equal(body["field"], field, url);
        }
      }
    },
    "502–504: Stripe's failures, of which nothing is told": async (under) => {
      const { fakeStripe } = under;
      const { session } = await under.person();
      const faults: [number | "cut", number, string][] = [
        [400, 1, "provider_failed"],
        [403, 1, "provider_failed"],
        [429, 1, "provider_unavailable"],
        [500, 3, "provider_unavailable"],
        ["cut", 3, "provider_unavailable"],
      ];
      let amount = 30;
      for (const [does, times, code] of faults) {
        fakeStripe.faults.push({ at: /POST .*sessions/, does, times });
        const { text } = await under.refused(code, { amount: amount++ }, session);
        assert.doesNotMatch(text, /refused by the test|Stripe's side|127\.0\.0\.1|sk_test/);
      }
      const wrongKey = createStripe({ ...fakeStripe.variables, STRIPE_SECRET_KEY: "sk_test_wrong" });
      await under.refused("provider_failed", { amount }, session, { environment: { stripe: wrongKey } });
      assert.doesNotMatch(under.logged(), /sk_test_|canary/);

      // What failed half-way is the same page when it is asked for again.
      fakeStripe.faults.push({ at: /POST .*sessions/, does: "cut-after", times: 3 });
      const before = fakeStripe.books.all("session").length;
      await under.refused("provider_unavailable", { amount: 60 }, session);
      assert.equal((await under.call({ amount: 60 }, session)).status, 200);
      assert.equal(fakeStripe.books.all("session").length, before + 1);
    },
    "503 provider_not_configured: names what is missing, and leaves no trace": async (under) => {
      const { userId, session } = await under.person();
      const { variables } = under.fakeStripe;
      const cases = [
        ["STRIPE_SECRET_KEY", { stripe: createStripe({}) }],
        ["STRIPE_API_BASE", { stripe: createStripe({ ...variables, STRIPE_API_BASE: "stripe" }) }],
        ["FRONTEND_URL", { checkout: checkoutSettings({}) }],
        ["FRONTEND_URL", { checkout: checkoutSettings({ FRONTEND_URL: "app.example.com" }) }],
      ] as const;
      for (const [variable, environment] of cases) {
        const { body } = await under.refused("provider_not_configured", { amount: 5 }, session, {
          environment,
        });
        assert.equal(body["variable"], variable);
      }
      assert.equal((await under.sql`select from checkout_sessions where user_id = ${userId}`).length, 0);
    },
    "504 provider_timeout: an answer that takes too long": async (under) => {
      const { fakeStripe } = under;
      const { session } = await under.person();
      const stripe = createStripe(fakeStripe.variables, { timeoutMilliseconds: 50, maxNetworkRetries: 0 });
      let release: () => void = () => undefined;
      fakeStripe.gate = () => new Promise((resolve) => (release = resolve));
      try {
        await under.refused("provider_timeout", { amount: 70 }, session, { environment: { stripe } });
      } finally {
        fakeStripe.gate = () => undefined;
        release();
      }
    },
  },
});

const unlimited = { contract: { requestsPerMinute: 1_000_000 } };
