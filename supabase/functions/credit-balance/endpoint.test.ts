import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask } from "../../../test/support/factories.ts";
import { creditBalanceEndpoint } from "./endpoint.ts";

describeEndpoint(creditBalanceEndpoint, {
  async accepted(under) {
    const { userId, session } = await under.person();
    return { body: { user_id: userId }, credentials: session };
  },
  cases: {
    "200: what there is, held and available, in credits and micro-dollars": async ({ sql, call, person }) => {
      const owner = await person({ balanceMicrousd: 1_000_000 });
      await queueTask(sql, owner);
      const { body } = await call({}, owner.session);
      assert.deepEqual(
        { ...body },
        {
          user_id: owner.userId,
          credits: 100,
          balance_microusd: 1_000_000,
          held: 0.65,
          held_microusd: 6_500,
          available: 99.35,
          available_microusd: 993_500,
          debt: 0,
          debt_microusd: 0,
          paid_microusd: 0,
          promotional_microusd: 1_000_000,
          expiring: [],
          low_balance_threshold: 100,
        },
      );
    },
    "200: what expires when, and no longer available what is over": async ({ sql, call, person }) => {
      const { userId, session } = await person({ balanceMicrousd: 10_000 });
      for (const [amount, days] of [
        [30_000, 2],
        [20_000, 1],
      ] as const) {
        await sql`select add_credit(${userId}, 'manual', ${amount}, expires_at => now() + make_interval(days => ${days}))`;
      }
      const before = (await call({}, session)).body;
      const expiring = before["expiring"] as { amount_microusd: number; expires_at: string }[];
      assert.deepEqual(
        expiring.map(({ amount_microusd }) => amount_microusd),
        [20_000, 30_000],
      );
      await sql`update credit_grants set expires_at = now() where user_id = ${userId} and amount_microusd = 20000`;
      const after = (await call({}, session)).body;
      assert.deepEqual([after["balance_microusd"], after["available_microusd"]], [60_000, 40_000]);
    },
    "200: by GET, for a token of the owner's, and for the service, which says whose": async ({
      call,
      person,
      service,
    }) => {
      const { userId, session, token } = await person();
      const { credentials } = await token(["tasks:read"]);
      const own = await call(undefined, session, { method: "GET" });
      assert.equal(own.headers.get("cache-control"), "private, no-store");
      assert.deepEqual((await call(undefined, credentials, { method: "GET" })).body, own.body);
      const query = `?user_id=${userId.toUpperCase()}`;
      assert.deepEqual((await call(undefined, service, { method: "GET", query })).body, own.body);
      assert.deepEqual((await call({ user_id: userId.toUpperCase() }, session)).body, own.body);
    },
    "400 invalid_request: the service says whose": async ({ refused, service }) => {
      const { body } = await refused("invalid_request", {}, service);
      assert.deepEqual(body["issues"], [{ path: "user_id", message: "is required" }]);
    },
    "403 forbidden: another's, by session or token, is neither shown nor answered with one's own": async ({
      refused,
      person,
    }) => {
      const [owner, other] = [await person(), await person()];
      const { credentials } = await other.token();
      for (const mine of [other.session, credentials]) {
        for (const user_id of [owner.userId, randomUUID()]) {
          const { text } = await refused("forbidden", { user_id }, mine);
          assert.doesNotMatch(text, /microusd/);
        }
      }
    },
    "404 user_not_found": async ({ refused, service }) => {
      await refused("user_not_found", { user_id: randomUUID() }, service);
    },
  },
});
