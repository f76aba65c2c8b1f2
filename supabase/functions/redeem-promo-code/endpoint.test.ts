import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf } from "../../../test/support/factories.ts";
import { until } from "../../../test/support/live-events.ts";
import { redeemPromoCodeEndpoint } from "./endpoint.ts";

/** A code for 250 credits. @returns it in capitals */
async function newPromoCode(
  { sql }: EndpointUnderTest,
  { uses = 3, validFrom = "-1 day", validUntil = "1 day", creditDays = null as number | null } = {},
): Promise<string> {
  const code = `T${randomUUID().replaceAll("-", "").slice(0, 20).toUpperCase()}`;
  await sql`
    insert into promo_codes (code, amount_microusd, max_uses, valid_from, valid_until, credit_days, description, created_by)
    values (${code}, 2500000, ${uses}, now() + ${validFrom}::interval, now() + ${validUntil}::interval,
            ${creditDays}, 'spring', 'test')`;
  return code;
}

/** Somebody with a confirmed address, at a domain of their own, and nothing on the account. */
async function confirmedPerson({ sql, person }: EndpointUnderTest) {
  const someone = await person({ balanceMicrousd: 0 });
  await sql`update credit_settings set welcome_bonus_microusd = 0`;
  await sql`
    update auth.users set is_anonymous = false, email_confirmed_at = now() where id = ${someone.userId}`;
  return someone;
}

describeEndpoint(redeemPromoCodeEndpoint, {
  async accepted(under) {
    const { session } = await confirmedPerson(under);
    return { body: { code: await newPromoCode(under) }, credentials: session };
  },
  cases: {
    "200: once a person, however it is typed; asked again it is the same entry": async (under) => {
      const { sql, call } = under;
      const { userId, session } = await confirmedPerson(under);
      const code = await newPromoCode(under, { creditDays: 10 });
      const first = await call({ code }, session);
      const again = await call({ code: ` ${code.toLowerCase()} ` }, session);
      assert.deepEqual(again.body, { ...first.body, deduplicated: true });
      assert.equal((await accountOf(sql, userId)).balance, 2_500_000);
      const days = (Date.parse(String(first.body["expires_at"])) - Date.now()) / 86_400_000;
      assert.ok(days > 9.9 && days <= 10, String(days));
    },
    "200: ten at once by one person are one use": async (under) => {
      const { sql, call } = under;
      const { userId, session } = await confirmedPerson(under);
      const code = await newPromoCode(under);
      const answers = await Promise.all(Array.from({ length: 10 }, () => call({ code }, session)));
      assert.deepEqual(
        answers.map(({ body }) => body["deduplicated"]).filter((repeated) => !repeated),
        [false],
      );
      const [row] = await sql<{ uses: number }[]>`select uses from promo_codes where code = ${code}`;
      assert.deepEqual([row?.uses, (await accountOf(sql, userId)).balance], [1, 2_500_000]);
    },
    "403 address_not_confirmed: before it is said whether there is such a code": async (under) => {
      const { session } = await under.person();
      await under.refused("address_not_confirmed", { code: await newPromoCode(under) }, session);
      await under.refused("address_not_confirmed", { code: "NOSUCHCODE" }, session);
    },
    "404 promo_code_not_found: unknown, and not yet begun": async (under) => {
      const { session } = await confirmedPerson(under);
      await under.refused("promo_code_not_found", { code: "NOSUCHCODE" }, session);
      const code = await newPromoCode(under, { validFrom: "1 hour" });
      await under.refused("promo_code_not_found", { code }, session);
    },
    "409 promo_code_ended: used up, or over": async (under) => {
      const { call, refused } = under;
      const [first, second] = [await confirmedPerson(under), await confirmedPerson(under)];
      const code = await newPromoCode(under, { uses: 1 });
      await call({ code }, first.session);
      const usedUp = await refused("promo_code_ended", { code }, second.session);
      assert.equal(usedUp.body["reason"], "used_up");
      const over = await newPromoCode(under, { validFrom: "-2 days", validUntil: "-1 day" });
      assert.equal(
        (await refused("promo_code_ended", { code: over }, first.session)).body["reason"],
        "expired",
      );
    },
    "409 promo_code_ended: to a second account with another spelling of one address": async (under) => {
      const { sql, call, refused } = under;
      const code = await newPromoCode(under);
      const people = [await confirmedPerson(under), await confirmedPerson(under)];
      for (const [number, { userId }] of people.entries()) {
        await sql`update auth.users set email = ${`ada+${number}@one.example`} where id = ${userId}`;
      }
      const [first, second] = people;
      await call({ code }, first?.session ?? {});
      const { body } = await refused("promo_code_ended", { code }, second?.session ?? {});
      assert.equal(body["reason"], "address_used");
      assert.equal((await accountOf(sql, second?.userId ?? "")).balance, 0);
    },
    "429: of eight guesses at once, with a limit of two, six are refused before a code is looked for": async (
      under,
    ) => {
      const { sql, call } = under;
      const { session } = await confirmedPerson(under);
      const limited = { contract: { requestsPerMinute: 2 } };
      const refused: string[] = [];
      let guesses: Promise<unknown[]> | undefined;
      await sql.transaction(async (transaction) => {
        // Whoever looks for a code waits here.
        await transaction`lock table promo_codes in access exclusive mode`;
        guesses = Promise.all(
          Array.from({ length: 8 }, async (_, turn) => {
            const { body } = await call({ code: `GUESS${turn}` }, session, limited);
            refused.push(String(body["error"]));
            return body["error"];
          }),
        );
        await until(refused, (seen) => seen.length === 6);
        assert.deepEqual(new Set(refused), new Set(["rate_limited"]));
      });
      const all = await guesses;
      assert.equal(all?.filter((error) => error === "promo_code_not_found").length, 2);
    },
  },
});
