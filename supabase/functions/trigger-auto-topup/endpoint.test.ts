import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { passAnHour, spendDownTo, switchOnAutoTopup, topupsOf } from "../../../test/support/auto-topups.ts";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createStripe } from "../_shared/billing/stripe.ts";
import { triggerAutoTopupEndpoint } from "./endpoint.ts";

describeEndpoint(triggerAutoTopupEndpoint, {
  async accepted(under) {
    const { userId } = await under.person({ balanceMicrousd: 10_000_000 });
    await switchOnAutoTopup(under.sql, under.fakeStripe, userId);
    return { body: { userId }, credentials: under.service };
  },
  cases: {
    "200: one user's top-up, bought with the saved card; then none for an hour": async (under) => {
      const { userId } = await under.person({ balanceMicrousd: 10_000_000 });
      const { customerId, cardId } = await switchOnAutoTopup(under.sql, under.fakeStripe, userId);
      const refused = await under.call({ userId }, under.service);
      assert.deepEqual(refused.body["results"], [
        {
          userId,
          status: "failed",
          error: "above_threshold",
          message: "The balance is above the threshold.",
        },
      ]);
      await spendDownTo(under.sql, userId, 4_990_000);
      const { body } = await under.call({ userId }, under.service);
      const [intent] = under.fakeStripe.books.all("payment_intent");
      assert.deepEqual(body, {
        success: true,
        summary: { totalProcessed: 1, successful: 1, failed: 0, errors: 0, rateLimited: 0 },
        results: [{ userId, status: "success", amount: 2000, dollarAmount: 20, paymentIntentId: intent?.id }],
        next_after: null,
      });
      assert.deepEqual(
        [intent?.customer, intent?.payment_method, intent?.amount],
        [customerId, cardId, 2000],
      );
      const [request] = await topupsOf(under.sql, userId);
      assert.deepEqual(intent?.metadata, {
        kind: "auto_topup",
        autoTopup: "true",
        userId,
        requestId: request?.id,
        topupAmount: "2000",
        originalBalance: "499",
      });
      const [user] = await under.sql`select credits::int as credits from users where id = ${userId}`;
      assert.equal(user?.["credits"], 2499, "what was paid is credited");
      await spendDownTo(under.sql, userId, 0);
      const { body: again } = await under.call({ userId }, under.service);
      assert.deepEqual(again["summary"], { ...noResult, totalProcessed: 1, rateLimited: 1 });
    },
    "200: everybody who is due, in pages; what failed is told": async (under) => {
      const { sql, fakeStripe } = under;
      await sql`update users set auto_topup_enabled = false`;
      const [good, declined, capped, cardless, rich] = [
        await under.person({ balanceMicrousd: 1_000_000 }),
        await under.person({ balanceMicrousd: 1_000_000 }),
        await under.person({ balanceMicrousd: 1_000_000 }),
        await under.person({ balanceMicrousd: 1_000_000 }),
        await under.person({ balanceMicrousd: 6_000_000 }),
      ];
      await switchOnAutoTopup(sql, fakeStripe, good.userId);
      await switchOnAutoTopup(sql, fakeStripe, declined.userId, { behaviour: "card_declined" });
      await switchOnAutoTopup(sql, fakeStripe, capped.userId, { monthlyCapCents: 2000 });
      await switchOnAutoTopup(sql, fakeStripe, cardless.userId);
      await switchOnAutoTopup(sql, fakeStripe, rich.userId);
      await sql`select request_auto_topup(${capped.userId})`;
      await sql`update auto_topup_requests set state = 'succeeded', payment_intent_id = 'pi_before',
                       closed_at = now(), next_attempt_at = null where user_id = ${capped.userId}`;
      await passAnHour(sql, capped.userId);
      await sql`update stripe_customers set payment_method_id = null where user_id = ${cardless.userId}`;

      const { body } = await under.call({}, under.service);
      const results = new Map(
        (body["results"] as { userId: string; status: string; error?: string }[]).map((one) => [
          one.userId,
          [one.status, one.error],
        ]),
      );
      assert.deepEqual(results.get(good.userId), ["success", undefined]);
      assert.deepEqual(results.get(declined.userId), ["failed", "card_declined"]);
      assert.deepEqual(results.get(capped.userId), ["failed", "monthly_cap_reached"]);
      assert.deepEqual(results.get(cardless.userId), ["failed", "no_card"]);
      assert.equal(results.has(rich.userId), false);
      assert.deepEqual(body["summary"], {
        totalProcessed: 4,
        successful: 1,
        failed: 3,
        errors: 0,
        rateLimited: 0,
      });
      assert.equal(body["next_after"], null);

      const ids = [good, declined, capped, cardless, rich].map(({ userId }) => userId).toSorted();
      const { body: last } = await under.call({ after: ids.at(-1) }, under.service);
      assert.deepEqual(last["results"], []);
    },
    "200: what Stripe does not answer is an error, to be tried again": async (under) => {
      const { userId } = await under.person({ balanceMicrousd: 1_000_000 });
      await switchOnAutoTopup(under.sql, under.fakeStripe, userId);
      under.fakeStripe.faults.push({ at: /POST .*payment_intents/, does: 500, times: 3 });
      const { body } = await under.call({ userId }, under.service);
      assert.deepEqual(body["results"], [{ userId, status: "error", error: "provider_unavailable" }]);
      const [request] = await topupsOf(under.sql, userId);
      assert.deepEqual([request?.state, request?.attempts], ["requested", 1]);
    },
    "404 user_not_found": async ({ refused, service }) => {
      await refused("user_not_found", { userId: randomUUID() }, service);
    },
    "503 provider_not_configured: nothing is claimed that cannot be charged": async (under) => {
      const { userId } = await under.person({ balanceMicrousd: 1_000_000 });
      await switchOnAutoTopup(under.sql, under.fakeStripe, userId);
      await under.sql`select request_auto_topup(${userId})`;
      const environment = { stripe: createStripe({}) };
      for (const body of [{ userId }, {}]) {
        await under.refused("provider_not_configured", body, under.service, { environment });
      }
      assert.equal((await topupsOf(under.sql, userId))[0]?.attempts, 0);
    },
  },
});

const noResult = { totalProcessed: 0, successful: 0, failed: 0, errors: 0, rateLimited: 0 };
