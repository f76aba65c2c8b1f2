/** Checks 30 and 31: one payment for whatever asks for one, whoever charges it, and whatever becomes of the answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chargeDue, type Till } from "../../../supabase/functions/_shared/billing/auto-topup.ts";
import { createStripe } from "../../../supabase/functions/_shared/billing/stripe.ts";
import { connect } from "../../../supabase/functions/_shared/database/database.ts";
import {
  makeDue,
  passAnHour,
  spendDownTo,
  switchOnAutoTopup,
  topupEventsOf,
  topupsOf,
} from "../../support/auto-topups.ts";
import { type DatabaseUnderTest, withDatabase } from "../../support/database.ts";
import { createUser } from "../../support/factories.ts";
import { type FakeStripe, startFakeStripe } from "../../support/fake-stripe.ts";
import { factsOfIntent } from "../../support/payment-facts.ts";

interface Scene extends DatabaseUnderTest {
  fake: FakeStripe;
  /** Charges whatever is due, as one host does. */
  charge(): Promise<void>;
  intentsOf(customerId: string): number;
  /** Failures that were logged. */
  logged: string[];
}

async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  await withDatabase(async (database) => {
    const fake = await startFakeStripe();
    const connection = connect({ url: database.url, connections: 8 });
    const stripe = createStripe(fake.variables, { timeoutMilliseconds: 5_000, maxNetworkRetries: 1 });
    const logged: string[] = [];
    const note = (_fields: object, message: string) => void logged.push(message);
    const till: Till = { database: connection, stripe, log: { info: note, warn: note, error: note } };
    try {
      await run({
        ...database,
        fake,
        logged,
        async charge() {
          await chargeDue(till, Date.now() + 30_000);
        },
        intentsOf: (customerId) =>
          fake.books.all("payment_intent").filter(({ customer }) => customer === customerId).length,
      });
    } finally {
      await Promise.all([connection.close(), fake.close()]);
    }
  });
}

/** Numbers from a seed: the same run every time. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test("check 30: 100 balances that fall at once, and 8 hosts that charge, make one payment; x10", (context) =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    const random = randomFrom(30);
    let charges = 0;
    for (let round = 0; round < 10; round++) {
      const { userId } = await createUser(sql, 10_000_000);
      const { customerId } = await switchOnAutoTopup(sql, fake, userId);
      const spends = Array.from({ length: 100 }, () => 50_000 + Math.floor(random() * 40_000));
      const spent = new AbortController();
      const hosts = Array.from({ length: 8 }, async () => {
        while (!spent.signal.aborted) await charge();
      });
      await Promise.all(
        spends.map((amount) => sql`select take_back_credit(${userId}, 'refund', ${amount}, null)`),
      );
      spent.abort();
      await Promise.all(hosts);
      await charge();
      charges += intentsOf(customerId);
      assert.equal(intentsOf(customerId), 1);
      assert.deepEqual(
        (await topupsOf(sql, userId)).map(({ state, attempts }) => [state, attempts]),
        [["succeeded", 1]],
      );
    }
    context.diagnostic(`1,000 falling balances of 10 users: ${charges} payments`);
  }));

test("check 30: 100 calls that ask for one user's top-up make one request", () =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    const { userId } = await createUser(sql, 1_000_000);
    const { customerId } = await switchOnAutoTopup(sql, fake, userId);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => sql`select request_auto_topup(${userId}) as answer`),
    );
    const texts = answers.flat().map((row) => String(row["answer"]));
    const count = (text: string) => texts.filter((one) => one === text).length;
    assert.deepEqual([count("requested"), count("rate_limited")], [1, 99]);
    await Promise.all([charge(), charge(), charge()]);
    assert.equal(intentsOf(customerId), 1);
  }));

test("check 30: at most one an hour", () =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    const { userId } = await createUser(sql, 10_000_000);
    const { customerId } = await switchOnAutoTopup(sql, fake, userId);
    for (const left of [400, 300, 200]) {
      await spendDownTo(sql, userId, left * 10_000);
      await charge();
    }
    assert.equal(intentsOf(customerId), 1);
    await passAnHour(sql, userId);
    await spendDownTo(sql, userId, 1_000_000);
    await charge();
    assert.equal(intentsOf(customerId), 2);
  }));

test("check 30: a decline switches top-ups off, says why, and keeps the card", () =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    for (const [behaviour, reason] of [
      ["card_declined", "card_declined"],
      ["insufficient_funds", "card_declined"],
      ["expired_card", "expired_card"],
      // The bank wants its customer (3-D Secure), who is not there.
      ["authentication_required", "authentication_required"],
    ] as const) {
      const { userId } = await createUser(sql, 10_000_000);
      const { customerId } = await switchOnAutoTopup(sql, fake, userId, { behaviour });
      await spendDownTo(sql, userId, 1_000_000);
      await charge();
      const [user] = await sql`
        select auto_topup_enabled, auto_topup_disabled_reason, auto_topup_setup_completed
          from users where id = ${userId}`;
      assert.deepEqual(Object.values(user ?? {}), [false, reason, true], behaviour);
      assert.deepEqual(await topupEventsOf(sql, userId), [{ status: "disabled", reason, amount: null }]);
      await passAnHour(sql, userId);
      await spendDownTo(sql, userId, 500_000);
      await charge();
      assert.equal(intentsOf(customerId), 1, "nothing is charged once it is off");
    }
  }));

test("check 30: a month costs its cap at most, and the next month begins anew", () =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    const { userId } = await createUser(sql, 10_000_000);
    const { customerId } = await switchOnAutoTopup(sql, fake, userId, { monthlyCapCents: 5_000 });
    for (let hour = 0; hour < 5; hour++) {
      await spendDownTo(sql, userId, 2_000_000 - hour);
      await charge();
      await passAnHour(sql, userId);
    }
    // Two of $20 fit into $50; a third would not.
    assert.equal(intentsOf(customerId), 2);
    const events = await topupEventsOf(sql, userId);
    assert.deepEqual(
      events.map(({ status }) => status),
      ["succeeded", "succeeded", "skipped", "skipped", "skipped"],
    );
    assert.equal(events.at(-1)?.reason, "monthly_cap_reached");

    await sql`update auto_topup_requests set created_at = created_at - interval '1 month' where user_id = ${userId}`;
    await sql`select request_due_auto_topups()`;
    await charge();
    assert.equal(intentsOf(customerId), 3);
  }));

test("check 31: an answer that is cut after success is asked for again with the same key: one payment; x10", (context) =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    const random = randomFrom(31);
    let requests = 0;
    for (let round = 0; round < 10; round++) {
      const { userId } = await createUser(sql, 10_000_000);
      const { customerId } = await switchOnAutoTopup(sql, fake, userId);
      await spendDownTo(sql, userId, 1_000_000);
      // Up to 5 answers lost: the SDK asks twice at each attempt, and once more for a closed connection.
      const lost = 1 + Math.floor(random() * 5);
      fake.faults.push({ at: /POST .*payment_intents/, does: "cut-after", times: lost });
      for (let attempt = 0; attempt < 6; attempt++) {
        await charge();
        await makeDue(sql, userId);
      }
      assert.equal(fake.faults.length, 0);
      assert.equal(intentsOf(customerId), 1);
      const [request] = await topupsOf(sql, userId);
      assert.equal(request?.state, "succeeded");
      requests += lost;
    }
    context.diagnostic(`${requests} answers lost for 10 top-ups: 10 payments`);
  }));

test("check 31: a host that dies between payment and note is followed by another: one payment", () =>
  withScene(async ({ sql, fake, charge, intentsOf, logged }) => {
    const { userId } = await createUser(sql, 10_000_000);
    const { customerId } = await switchOnAutoTopup(sql, fake, userId);
    await spendDownTo(sql, userId, 1_000_000);
    const booked = async () =>
      (await sql`select from credits_ledger where user_id = ${userId} and type = 'auto_topup'`).length;
    // The note is lost: its function is not there when the first host comes to it.
    await sql.query("alter function record_payment rename to record_payment_lost");
    await charge();
    await sql.query("alter function record_payment_lost rename to record_payment");
    assert.equal(intentsOf(customerId), 1);
    assert.deepEqual(logged, ["an automatic top-up was not noted"]);
    await charge();
    assert.equal((await topupsOf(sql, userId))[0]?.state, "requested", "it is the first host's for a while");
    await makeDue(sql, userId);
    await charge();
    const [request] = await topupsOf(sql, userId);
    assert.deepEqual([request?.state, request?.attempts, await booked()], ["succeeded", 2, 1]);
    assert.equal(intentsOf(customerId), 1);
  }));

test("what is never answered is given up after half a dozen attempts, by looking up what became of it", () =>
  withScene(async ({ sql, fake, charge, intentsOf }) => {
    const { userId } = await createUser(sql, 10_000_000);
    const { customerId } = await switchOnAutoTopup(sql, fake, userId);
    await spendDownTo(sql, userId, 1_000_000);
    fake.faults.push({ at: /POST .*payment_intents/, does: 503, times: 1000 });
    for (let attempt = 0; attempt < 7; attempt++) {
      assert.equal((await topupsOf(sql, userId))[0]?.state, "requested");
      await charge();
      await makeDue(sql, userId);
    }
    const [request] = await topupsOf(sql, userId);
    assert.deepEqual([request?.state, request?.reason], ["failed", "given_up"]);
    assert.deepEqual(await topupEventsOf(sql, userId), [
      { status: "failed", reason: "given_up", amount: 2000 },
    ]);
    assert.equal(intentsOf(customerId), 0);
    fake.faults.length = 0;
    await passAnHour(sql, userId);
    await spendDownTo(sql, userId, 900_000);
    await charge();
    assert.equal(intentsOf(customerId), 1);
  }));

test("the event of a top-up's payment first, last, or both at once with its host: one credit of what was paid", () =>
  withScene(async ({ sql, fake, charge }) => {
    const eventOf = async (userId: string) => {
      const [told] = fake.events("payment_intent.succeeded").filter(({ data }) => {
        return (data.object as { metadata: Record<string, string> }).metadata["userId"] === userId;
      });
      assert.ok(told?.type === "payment_intent.succeeded");
      const facts = factsOfIntent(told.data.object);
      await sql`select record_payment(${sql.json(facts as never)}, ${new Date(told.created * 1000)})`;
    };
    for (const order of ["event first", "event last", "at once"] as const) {
      const { userId } = await createUser(sql, 10_000_000);
      await switchOnAutoTopup(sql, fake, userId);
      await spendDownTo(sql, userId, 1_000_000);
      if (order === "event first") {
        // The host's answer is lost, so the event is the first to tell.
        fake.faults.push({ at: /POST .*payment_intents/, does: "cut-after", times: 2 });
        await charge();
        await eventOf(userId);
        assert.equal((await topupsOf(sql, userId))[0]?.state, "succeeded");
        await makeDue(sql, userId);
        await charge();
      } else if (order === "event last") {
        await charge();
        await eventOf(userId);
      } else {
        fake.faults.push({ at: /POST .*payment_intents/, does: "cut-after", times: 2 });
        await charge();
        await makeDue(sql, userId);
        await Promise.all([charge(), eventOf(userId), eventOf(userId), charge()]);
      }
      fake.faults.length = 0;
      const entries = await sql`
        select amount_microusd::int as microusd from credits_ledger
         where user_id = ${userId} and type = 'auto_topup'`;
      assert.deepEqual([...entries], [{ microusd: 20_000_000 }], order);
      const [user] = await sql`select credits::int as credits from users where id = ${userId}`;
      assert.equal(user?.["credits"], 2_100, order);
      assert.deepEqual(
        (await topupEventsOf(sql, userId)).map(({ status }) => status),
        ["succeeded"],
        order,
      );
    }
    assert.deepEqual([...(await sql`select * from find_payment_faults()`)], []);
  }));

test("a payment that is not what was asked for is not credited, and not asked for again", () =>
  withScene(async ({ sql, fake, charge, intentsOf, logged }) => {
    const { userId } = await createUser(sql, 10_000_000);
    const { customerId } = await switchOnAutoTopup(sql, fake, userId);
    await spendDownTo(sql, userId, 1_000_000);
    fake.faults.push({ at: /POST .*payment_intents/, does: "cut-after", times: 2 });
    await charge();
    // Somebody has changed what was asked for.
    await sql`update auto_topup_requests set amount_cents = 1999 where user_id = ${userId}`;
    const [intent] = fake.books.all("payment_intent");
    await sql`update auto_topup_requests set payment_intent_id = ${String(intent?.id)} where user_id = ${userId}`;
    await makeDue(sql, userId);
    await charge();
    const [request] = await topupsOf(sql, userId);
    assert.deepEqual([request?.state, request?.reason], ["failed", "quarantined"]);
    assert.deepEqual(logged, ["a top-up's payment is quarantined"]);
    const [alert] = await sql`select subject, reason from billing_alerts`;
    assert.deepEqual({ ...alert }, { subject: intent?.id, reason: "wrong_amount" });
    assert.equal(
      (await sql`select from credits_ledger where user_id = ${userId} and type = 'auto_topup'`).length,
      0,
    );
    assert.equal(intentsOf(customerId), 1);
  }));
