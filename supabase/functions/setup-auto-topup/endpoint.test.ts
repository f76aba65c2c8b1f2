import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { setupAutoTopupEndpoint } from "./endpoint.ts";

const enabled = { autoTopupEnabled: true, autoTopupAmount: 20, autoTopupThreshold: 5 };

describeEndpoint(setupAutoTopupEndpoint, {
  async accepted(under) {
    return { body: { ...enabled, autoTopupMonthlyCap: 100 }, credentials: (await under.person()).session };
  },
  cases: {
    "200: on, in cents, again and again; off forgets the amounts and keeps card and cap": async (under) => {
      const { userId, session } = await under.person();
      await under.sql`insert into stripe_customers (user_id, customer_id, payment_method_id)
        values (${userId}, ${`cus_${userId}`}, ${`pm_${userId}`})`;
      await under.sql`update users set auto_topup_setup_completed = true where id = ${userId}`;
      for (let turn = 0; turn < 2; turn++) {
        const { body } = await under.call({ ...enabled, autoTopupAmount: 19.99 }, session);
        assert.deepEqual(body, {
          success: true,
          message: "Auto-top-up enabled",
          auto_topup_enabled: true,
          auto_topup_amount: 1999,
          auto_topup_threshold: 500,
          auto_topup_monthly_cap: 19_990,
          auto_topup_setup_completed: true,
        });
      }
      const { body } = await under.call({ autoTopupEnabled: false, autoTopupAmount: 7 }, session);
      assert.deepEqual(body, {
        success: true,
        message: "Auto-top-up disabled",
        auto_topup_enabled: false,
        auto_topup_amount: null,
        auto_topup_threshold: null,
        auto_topup_monthly_cap: 19_990,
        auto_topup_setup_completed: true,
      });
      const [kept] =
        await under.sql`select payment_method_id from stripe_customers where user_id = ${userId}`;
      assert.equal(kept?.["payment_method_id"], `pm_${userId}`);
      const { body: capped } = await under.call({ ...enabled, autoTopupMonthlyCap: 60 }, session);
      assert.equal(capped["auto_topup_monthly_cap"], 6000);
    },
    "200: without a card nothing is bought; Stripe's ids from a client are nobody's": async (under) => {
      const { userId, session } = await under.person({ balanceMicrousd: 0 });
      const foreign = { stripeCustomerId: "cus_foreign", stripePaymentMethodId: "pm_foreign" };
      const { body } = await under.call({ ...enabled, ...foreign }, session);
      assert.equal(body["auto_topup_setup_completed"], false);
      assert.equal((await under.sql`select from auto_topup_requests where user_id = ${userId}`).length, 0);
      assert.equal(
        (await under.sql`select from stripe_customers where customer_id = 'cus_foreign'`).length,
        0,
      );
    },
    "200: switching it on at a low balance asks for a top-up at once": async (under) => {
      const { userId, session } = await under.person({ balanceMicrousd: 5_000_000 });
      await under.sql`insert into stripe_customers (user_id, customer_id, payment_method_id)
        values (${userId}, ${`cus_${userId}`}, ${`pm_${userId}`})`;
      await under.call(enabled, session);
      const rows =
        await under.sql`select amount_cents, state from auto_topup_requests where user_id = ${userId}`;
      assert.deepEqual([...rows], [{ amount_cents: 2000, state: "requested" }]);
    },
    "400 invalid_request: no flag, amounts that do not go together": async (under) => {
      const { session } = await under.person();
      for (const [fields, message] of [
        [{ autoTopupEnabled: "true" }, /autoTopupEnabled must be a boolean/],
        [{ autoTopupEnabled: undefined }, /autoTopupEnabled must be a boolean/],
        [{ autoTopupAmount: 101 }, /autoTopupAmount must be a number between/],
        [{ autoTopupThreshold: -1 }, /autoTopupThreshold must be a positive number/],
        [{ autoTopupThreshold: 20 }, /autoTopupThreshold must be less than autoTopupAmount/],
        [{ autoTopupMonthlyCap: 1 }, /autoTopupMonthlyCap must be between/],
      ] as const) {
        const { body } = await under.refused("invalid_request", { ...enabled, ...fields }, session);
        assert.match(JSON.stringify(body["issues"]), message);
      }
    },
    "404 user_not_found: a session of somebody who is gone": async (under) => {
      const { session, userId } = await under.person();
      await under.sql`delete from users where id = ${userId}`;
      await under.refused("user_not_found", enabled, session);
    },
  },
});
