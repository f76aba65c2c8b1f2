import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { grantCreditsEndpoint } from "./endpoint.ts";

const grant = (userId: string) => ({
  userId,
  amount: 5,
  description: "goodwill",
  idempotency_key: randomUUID(),
});

describeEndpoint(grantCreditsEndpoint, {
  async accepted(under) {
    return { body: grant((await under.person()).userId), credentials: under.service };
  },
  cases: {
    "200: an amount in dollars, once per key, which a header may hold": async ({ call, person, service }) => {
      const { userId } = await person({ balanceMicrousd: 0 });
      const { idempotency_key, ...body } = grant(userId);
      const headers = { "idempotency-key": idempotency_key };
      const first = await call({ ...body, amount: 0.01 }, service, { headers });
      const entry = first.body["transaction"] as Record<string, unknown>;
      assert.deepEqual([entry["amount"], entry["amount_microusd"]], [1, 10_000]);
      const second = await call({ ...body, amount: 0.01 }, service, { headers });
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
    },
    "200: the welcome bonus, once a user, of a fixed amount": async ({ call, person }) => {
      const { session } = await person({ balanceMicrousd: 0 });
      const first = await call({ isWelcomeBonus: true, amount: 9_999 }, session);
      assert.equal((first.body["transaction"] as Record<string, unknown>)["amount"], 500);
      assert.equal((await call({ isWelcomeBonus: true }, session)).body["deduplicated"], true);
    },
    "400 invalid_request: amounts that are none, no reason, no key": async ({ refused, person, service }) => {
      const { userId } = await person();
      for (const amount of [0, -1, 0.001, 10_000.01, 1e308, "5", null]) {
        await refused("invalid_request", { ...grant(userId), amount }, service);
      }
      for (const missing of ["userId", "amount", "description", "idempotency_key"]) {
        const { body } = await refused(
          "invalid_request",
          { ...grant(userId), [missing]: undefined },
          service,
        );
        assert.deepEqual(
          (body["issues"] as { path: string }[]).map(({ path }) => path),
          [missing],
        );
      }
      await refused("invalid_request", { isWelcomeBonus: true }, service);
    },
    "403 forbidden: users ask for their own welcome alone": async ({ refused, person }) => {
      const [{ userId, session }, other] = [await person(), await person()];
      await refused("forbidden", grant(userId), session);
      await refused("forbidden", { isWelcomeBonus: true, user_id: other.userId }, session);
    },
    "404 user_not_found": async ({ refused, service }) => {
      await refused("user_not_found", grant(randomUUID()), service);
      await refused("user_not_found", { isWelcomeBonus: true, userId: randomUUID() }, service);
    },
    "422 idempotency_key_reused: another amount, reason or user": async ({
      call,
      refused,
      person,
      service,
    }) => {
      const first = grant((await person()).userId);
      await call(first, service);
      for (const other of [{ amount: 6 }, { description: "else" }, { userId: (await person()).userId }]) {
        await refused("idempotency_key_reused", { ...first, ...other }, service);
      }
    },
  },
});
