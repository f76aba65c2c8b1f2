/** Checks 11, 18 and 19 over HTTP: what is given away is given as often as was meant, by the database's clock. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { createTaskEndpoint } from "../../../supabase/functions/create-task/endpoint.ts";
import { calculateTaskCostEndpoint } from "../../../supabase/functions/calculate-task-cost/endpoint.ts";
import { creditBalanceEndpoint } from "../../../supabase/functions/credit-balance/endpoint.ts";
import { grantCreditsEndpoint } from "../../../supabase/functions/grant-credits/endpoint.ts";
import { redeemPromoCodeEndpoint } from "../../../supabase/functions/redeem-promo-code/endpoint.ts";
import { asker } from "../../support/ask.ts";
import { withClockOff } from "../../support/clock.ts";
import {
  type EnvironmentUnderTest,
  type PersonUnderTest,
  startEnvironment,
} from "../../support/environment.ts";
import { accountOf } from "../../support/factories.ts";

const hour = 3_600_000;

test("check 11: an API host whose clock is an hour off spends, refuses, grants and quotes as one that is right", (context) =>
  withEnvironment(async (under) => {
    const { sql, service } = under;
    const [grant, quote, create, balance] = [
      asker(under, grantCreditsEndpoint),
      asker(under, calculateTaskCostEndpoint),
      asker(under, createTaskEndpoint),
      asker(under, creditBalanceEndpoint),
    ];
    const now = Date.now();
    const transcripts = new Map<number, unknown>();
    for (const off of [0, hour, -hour]) {
      const owner = await under.person({ balanceMicrousd: 0 });
      const { credentials } = await owner.token();
      const order = { task_type: "qwen_image", params: { prompt: "a fox" }, project_id: owner.projectId };
      const gift = (minutes: number) => ({
        userId: owner.userId,
        amount: 1,
        reason: "goodwill",
        idempotency_key: randomUUID(),
        expires_at: new Date(now + minutes * 60_000).toISOString(),
      });
      transcripts.set(
        off,
        await withClockOff(off, async () => {
          const seen: unknown[] = [];
          const note = async (asked: Promise<{ status: number; body: Record<string, unknown> }>) => {
            const { status, body } = await asked;
            seen.push([status, body["error"], body["held_microusd"], body["available_microusd"]]);
            return body;
          };
          // Half an hour ago, and in half an hour: between the wrong clocks.
          await note(grant(gift(-30), service));
          await note(grant(gift(30), service));
          await note(balance({}, credentials));
          const { quote_id } = await note(
            quote({ task_type: order.task_type, params: order.params }, credentials),
          );
          await note(create({ ...order, quote_id }, credentials));
          const { quote_id: old } = await note(
            quote({ task_type: order.task_type, params: order.params }, credentials),
          );
          await sql`update task_quotes set expires_at = now() - interval '1 second' where id = ${String(old)}`;
          await note(create({ ...order, quote_id: old }, credentials));
          // Over for a second.
          await sql`update credit_grants set expires_at = now() - interval '1 second' where user_id = ${owner.userId}`;
          await sql`update credit_accounts set next_expiry_at = now() - interval '1 second' where user_id = ${owner.userId}`;
          await note(balance({}, credentials));
          await note(create(order, credentials));
          return seen;
        }),
      );
    }
    assert.deepEqual(transcripts.get(0), [
      [422, "expiry_in_the_past", undefined, undefined],
      [200, undefined, undefined, undefined],
      [200, undefined, 0, 1_000_000],
      [200, undefined, undefined, undefined],
      [200, undefined, 39_000, undefined],
      [200, undefined, undefined, undefined],
      [409, "quote_expired", undefined, undefined],
      [200, undefined, 39_000, 0],
      [402, "insufficient_credits", undefined, 0],
    ]);
    assert.deepEqual(transcripts.get(hour), transcripts.get(0));
    assert.deepEqual(transcripts.get(-hour), transcripts.get(0));
    context.diagnostic("9 answers each, an hour ahead and an hour behind: as with the right clock");
  }));

test("check 18: one grant key 50 times at once is one entry; with anything else 422; amounts that are none are refused", (context) =>
  withEnvironment(async (under) => {
    const { sql, service } = under;
    const ask = asker(under, grantCreditsEndpoint);
    const [owner, other] = [
      await under.person({ balanceMicrousd: 0 }),
      await under.person({ balanceMicrousd: 0 }),
    ];
    const grant = {
      userId: owner.userId,
      amount: 2.5,
      reason: "sorry",
      actor: "ada",
      idempotency_key: "key-18",
    };
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(grant, service)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal(answers.filter(({ body }) => body["deduplicated"] === false).length, 1);
    assert.equal(new Set(answers.map(({ body }) => (body["transaction"] as { id: string }).id)).size, 1);

    for (const change of [
      { amount: 2.51 },
      { reason: "thanks" },
      { actor: "bob" },
      { userId: other.userId },
      { expires_at: "2100-01-01T00:00:00Z" },
    ]) {
      const { status, body } = await ask({ ...grant, ...change }, service);
      assert.deepEqual([status, body["error"]], [422, "idempotency_key_reused"], JSON.stringify(change));
    }
    const amounts = [
      "-1",
      "-0.01",
      "0",
      '"NaN"',
      "NaN",
      "null",
      "1e12",
      "1e308",
      "10000.01",
      "0.001",
      '"5"',
      "[5]",
      "true",
    ];
    for (const amount of amounts) {
      const text = JSON.stringify({ ...grant, idempotency_key: randomUUID(), amount: 5 }).replace(
        ":5",
        `:${amount}`,
      );
      const { status, body } = await ask(text, service);
      assert.equal(status, 400, `${amount}: ${JSON.stringify(body)}`);
    }
    for (const missing of ["reason", "idempotency_key"]) {
      const { status } = await ask({ ...grant, [missing]: undefined }, service);
      assert.equal(status, 400, missing);
    }
    // Beside the endpoint too.
    for (const cents of [-1, 0]) {
      await assert.rejects(
        sql`select grant_credits(${owner.userId}, ${cents}, 'sorry', 'ada', ${randomUUID()})`,
        { code: "23514" },
      );
    }
    await ask({ ...grant, actor: undefined, idempotency_key: "key-18-b" }, service);
    const rows = await sql<{ actor: string; reason: string; microusd: number }[]>`
      select metadata ->> 'actor' as actor, metadata ->> 'description' as reason, amount_microusd::int as microusd
        from credits_ledger order by sequence`;
    assert.deepEqual(
      [...rows],
      [
        { actor: "ada", reason: "sorry", microusd: 2_500_000 },
        { actor: "service_role", reason: "sorry", microusd: 2_500_000 },
      ],
    );
    context.diagnostic(
      `50 at once: 1 row; 5 other bodies: 422; ${amounts.length} amounts refused; actor and reason on 2 of 2 rows`,
    );
  }));

test("check 19: the welcome bonus, asked for by 100 at once, is one grant; x5", (context) =>
  withEnvironment(async (under) => {
    const ask = asker(under, grantCreditsEndpoint);
    let asked = 0;
    for (let round = 0; round < 5; round++) {
      const { userId, session } = await confirmed(under, `ada${round}@gmail.com`);
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => ask({ isWelcomeBonus: true, amount: 9_999 }, session)),
      );
      asked += answers.length;
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
      assert.equal(answers.filter(({ body }) => body["deduplicated"] === false).length, 1);
      assert.deepEqual(await accountOf(under.sql, userId), { balance: 5_000_000, held: 0 });
    }
    // A hundred people with one mailbox.
    const spellings = await Promise.all(
      Array.from({ length: 100 }, (_, number) => confirmed(under, `b.o.b+${number}@gmail.com`)),
    );
    const answers = await Promise.all(spellings.map(({ session }) => ask({ isWelcomeBonus: true }, session)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    assert.equal(answers.filter(({ body }) => body["reason"] === "address_used").length, 99);
    context.diagnostic(`${asked} requests of 5 people: 5 grants; 100 people with one mailbox: 1 grant`);
  }));

test("check 19: a code with 10 uses, redeemed by 500 people at once, is redeemed 10 times", (context) =>
  withEnvironment(async (under) => {
    const { sql } = under;
    const ask = asker(under, redeemPromoCodeEndpoint);
    await sql`select create_promo_code('TENUSES', 250, 10, null, null, null, 'spring', 'ada')`;
    const people: PersonUnderTest[] = [];
    for (let at = 0; at < 500; at += 50) {
      people.push(
        ...(await Promise.all(
          Array.from({ length: 50 }, (_, number) => confirmed(under, `p${at + number}@gmail.com`)),
        )),
      );
    }
    const answers = await Promise.all(people.map(({ session }) => ask({ code: "tenuses" }, session)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 10);
    assert.equal(answers.filter(({ body }) => body["reason"] === "used_up").length, 490);
    const [books] = await sql<{ uses: number; redemptions: number; entries: number; credited: number }[]>`
      select (select uses from promo_codes) as uses, (select count(*)::int from promo_redemptions) as redemptions,
             count(*)::int as entries, sum(amount_microusd)::int as credited from credits_ledger`;
    assert.deepEqual({ ...books }, { uses: 10, redemptions: 10, entries: 10, credited: 25_000_000 });
    context.diagnostic("500 at once: 10 redeemed, 490 told that it is used up");
  }));

async function withEnvironment(run: (under: EnvironmentUnderTest) => Promise<void>): Promise<void> {
  const under = await startEnvironment();
  try {
    await run(under);
  } finally {
    await under.close();
  }
}

/** Somebody with this address, confirmed, whom nobody has welcomed yet. */
async function confirmed({ sql, person }: EnvironmentUnderTest, email: string): Promise<PersonUnderTest> {
  const someone = await person({ balanceMicrousd: 0 });
  // A change of the address alone is no occasion for a welcome.
  await sql.transaction(async (transaction) => {
    await transaction`set local session_replication_role = 'replica'`;
    await transaction`
      update auth.users set email = ${email}, is_anonymous = false, email_confirmed_at = now()
       where id = ${someone.userId}`;
  });
  return someone;
}
