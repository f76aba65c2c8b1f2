import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf } from "../../../test/support/factories.ts";
import { grantCreditsEndpoint } from "./endpoint.ts";

const grant = (userId: string) => ({
  userId,
  amount: 5,
  description: "goodwill",
  idempotency_key: randomUUID(),
});

/** Somebody with this address, confirmed or not, whom nobody has welcomed yet. */
async function personAt(
  { sql, person }: EndpointUnderTest,
  email: string,
  { confirmed = true, anonymous = false } = {},
) {
  const someone = await person({ balanceMicrousd: 0 });
  // A change of the address alone is no occasion for a welcome.
  await sql.transaction(async (transaction) => {
    await transaction`set local session_replication_role = 'replica'`;
    await transaction`
      update auth.users set email = ${email}, is_anonymous = ${anonymous},
             email_confirmed_at = ${confirmed ? new Date() : null}
       where id = ${someone.userId}`;
  });
  return someone;
}

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
    "200: the welcome bonus, once a user, of a fixed amount": async (under) => {
      const { call } = under;
      const { session } = await personAt(under, "ada@fixed.example");
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
    "200: a grant that expires says when, and expires": async ({ sql, call, person, service }) => {
      const { userId } = await person({ balanceMicrousd: 0 });
      const expires_at = new Date(Date.now() + 86_400_000).toISOString();
      const { body } = await call({ ...grant(userId), expires_at }, service);
      assert.equal(Date.parse(String(body["expires_at"])), Date.parse(expires_at));
      await sql`update credit_grants set expires_at = now() where user_id = ${userId}`;
      await sql`select expire_grants(${userId})`;
      assert.deepEqual(await accountOf(sql, userId), { balance: 0, held: 0 });
    },
    "409 welcome_bonus_refused: with the reason; anonymous, unconfirmed, an address that had one": async (
      under,
    ) => {
      const { sql, call, refused } = under;
      const reasonFor = async (email: string, options?: { confirmed?: boolean; anonymous?: boolean }) => {
        const { userId, session } = await personAt(under, email, options);
        const { body } = await refused("welcome_bonus_refused", { isWelcomeBonus: true }, session);
        assert.equal((await accountOf(sql, userId)).balance, 0);
        return body["reason"];
      };
      assert.equal(await reasonFor("ada@anonymous.example", { anonymous: true }), "anonymous");
      assert.equal(await reasonFor("ada@open.example", { confirmed: false }), "address_not_confirmed");
      const first = await personAt(under, "Ada.Love+work@gmail.com");
      await call({ isWelcomeBonus: true }, first.session);
      for (const spelling of ["adalove@gmail.com", "a.d.a.love+2@GMAIL.com", "adalove+x@googlemail.com"]) {
        assert.equal(await reasonFor(spelling), "address_used", spelling);
      }
      const tagged = await personAt(under, "ada@tags.example");
      await call({ isWelcomeBonus: true }, tagged.session);
      assert.equal(await reasonFor("ADA+again@tags.example"), "address_used");
    },
    "409 welcome_bonus_refused: to the twenty-first of a domain of one's own in a day": async (under) => {
      const { call, refused } = under;
      const people = [];
      for (let number = 0; number < 21; number++)
        people.push(await personAt(under, `p${number}@own.example`));
      const last = people.pop();
      for (const { session } of people) await call({ isWelcomeBonus: true }, session);
      const { body } = await refused("welcome_bonus_refused", { isWelcomeBonus: true }, last?.session ?? {});
      assert.equal(body["reason"], "domain_limit");
      for (let number = 0; number < 21; number++) {
        const { session } = await personAt(under, `p${number}@outlook.com`);
        await call({ isWelcomeBonus: true }, session);
      }
    },
    "409 welcome_bonus_refused: names under a large provider's are as many addresses as one likes": async (
      under,
    ) => {
      const { sql, call, refused } = under;
      await sql`update credit_settings set welcome_bonuses_per_domain_and_day = 1`;
      try {
        const first = await personAt(under, "ada@first.fastmail.com");
        const second = await personAt(under, "ada@second.fastmail.com");
        assert.equal((await call({ isWelcomeBonus: true }, first.session)).status, 200);
        const { body } = await refused("welcome_bonus_refused", { isWelcomeBonus: true }, second.session);
        assert.equal(body["reason"], "domain_limit");
        const customer = await personAt(under, "ada@fastmail.com");
        assert.equal((await call({ isWelcomeBonus: true }, customer.session)).status, 200);
      } finally {
        await sql`update credit_settings set welcome_bonuses_per_domain_and_day = 20`;
      }
    },
    "422 expiry_in_the_past, also by a moment; nothing is granted": async ({
      sql,
      refused,
      person,
      service,
    }) => {
      const { userId } = await person({ balanceMicrousd: 0 });
      for (const expires_at of ["2026-01-01T00:00:00Z", new Date(Date.now() - 1).toISOString()]) {
        await refused("expiry_in_the_past", { ...grant(userId), expires_at }, service);
      }
      assert.deepEqual(await accountOf(sql, userId), { balance: 0, held: 0 });
    },
    "422 idempotency_key_reused: another amount, reason, actor, time or user": async ({
      call,
      refused,
      person,
      service,
    }) => {
      const first = grant((await person()).userId);
      await call(first, service);
      for (const other of [
        { amount: 6 },
        { description: "else" },
        { actor: "bob" },
        { expires_at: new Date(Date.now() + 86_400_000).toISOString() },
        { userId: (await person()).userId },
      ]) {
        await refused("idempotency_key_reused", { ...first, ...other }, service);
      }
    },
  },
});
