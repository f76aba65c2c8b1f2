import assert from "node:assert/strict";
import { join } from "sql-template-tag";
import { fragment, identifier, type SqlValue } from "../../supabase/functions/_shared/database/sql.ts";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { topupEventsOf, topupsOf } from "../support/auto-topups.ts";
import { type DatabaseUnderTest, type Session, withDatabase } from "../support/database.ts";
import { createUser } from "../support/factories.ts";

const pages = ["https://app.example.com/paid", "https://app.example.com/cancelled"];

/** Somebody with a card and automatic top-ups of $20 at $5, up to $100 a month. */
async function saver(
  { sql }: DatabaseUnderTest,
  balanceMicrousd = 4_000_000,
): Promise<{ userId: string; customerId: string; cardId: string }> {
  const { userId } = await createUser(sql, balanceMicrousd);
  const [customerId, cardId] = [`cus_${userId}`, `pm_${userId}`];
  await sql`select save_payment_method(${userId}, ${customerId}, ${cardId})`;
  await sql`
    update users set auto_topup_enabled = true, auto_topup_amount = 2000, auto_topup_threshold = 500,
           auto_topup_monthly_cap = 10000 where id = ${userId}`;
  return { userId, customerId, cardId };
}

interface Claimed {
  id: string;
  claim_id: string;
  look_up: boolean;
}

async function claim(session: Session, atMost = 10): Promise<Claimed[]> {
  const { rows } = await session.query<{ claimed: Claimed[] }>("select claim_auto_topups($1) as claimed", [
    atMost,
  ]);
  return rows[0]?.claimed ?? [];
}

async function record(session: Session, { id, claim_id }: Claimed, outcome: string, ...rest: SqlValue[]) {
  const { rows } = await session.query<{ state: string | null }>(
    "select record_auto_topup($1, $2, $3, $4, $5) as state",
    [id, outcome, rest[0] ?? null, rest[1] ?? null, claim_id],
  );
  return rows[0]?.state;
}

test("open_checkout() answers the second of two calls at once with the first's request", () =>
  withDatabase(async ({ sql, session, lockIsWaitedFor }) => {
    const { userId } = await createUser(sql);
    const [first, second] = [await session(), await session()];
    const open = (on: Session, cents = 500, key: string | null = null) =>
      on.query<{ opened: { request_id: string; customer: { creation_key: string } } }>(
        "select open_checkout($1, $2, $3, $4, null, null, null, $5) as opened",
        [userId, cents, ...pages, key],
      );
    for (const key of [null, "a key"]) {
      await first.query("begin");
      const one = await open(first, 500, key);
      const waiting = open(second, 500, key);
      await lockIsWaitedFor();
      await first.query("commit");
      const other = await waiting;
      assert.equal(other.rows[0]?.opened.request_id, one.rows[0]?.opened.request_id);
      assert.equal(other.rows[0]?.opened.customer.creation_key, one.rows[0]?.opened.customer.creation_key);
    }
    assert.equal((await sql`select from checkout_sessions`).length, 2);
  }));

test("the first customer and the first session that are noted stay", () =>
  withDatabase(async ({ sql }) => {
    const { userId } = await createUser(sql);
    const [row] =
      await sql`select open_checkout(${userId}, 500, ${pages[0] ?? ""}, ${pages[1] ?? ""}) as opened`;
    const { request_id: request, customer } = (row?.["opened"] ?? {}) as {
      request_id: string;
      customer: { creation_key: string };
    };
    const save = async (id: string, key = customer.creation_key) =>
      (await sql`select save_stripe_customer(${userId}, ${key}, ${id}) as kept`)[0]?.["kept"] as string;
    assert.equal(await save("cus_stranger", randomUUID()), null, "made with a key that was given up");
    assert.equal(await save("cus_1"), "cus_1");
    assert.equal(await save("cus_2"), "cus_1");
    const note = async (id: string) =>
      (
        await sql`select record_checkout_session(${request}, ${id}, ${`https://pay/${id}`}, now()) as kept`
      )[0]?.["kept"];
    assert.deepEqual(await note("cs_1"), { session_id: "cs_1", url: "https://pay/cs_1", status: "open" });
    assert.deepEqual(await note("cs_2"), { session_id: "cs_1", url: "https://pay/cs_1", status: "open" });
  }));

test("save_payment_method() applies what a checkout asked for once; an older one's late event changes nothing", () =>
  withDatabase(async ({ sql }) => {
    const { userId } = await createUser(sql);
    const checkout = async (id: string, age: string, amount: number) => {
      await sql`
        insert into checkout_sessions (id, user_id, amount_cents, auto_topup_amount_cents, auto_topup_threshold_cents,
                                       auto_topup_monthly_cap_cents, success_url, cancel_url, url, created_at, expires_at)
        values (${id}, ${userId}, 500, ${amount}, 200, 9000, 'https://a', 'https://b', 'https://c',
                now() - ${age}::interval, now())`;
    };
    await checkout("cs_old", "2 hours", 1000);
    await checkout("cs_new", "1 hour", 2000);
    const save = async (card: string, session: string | null, customer = "cus_1") =>
      (await sql`select save_payment_method(${userId}, ${customer}, ${card}, ${session}) as kept`)[0]?.[
        "kept"
      ];
    const settings = async () => {
      const [user] = await sql`
        select auto_topup_enabled as enabled, auto_topup_amount as amount, auto_topup_setup_completed as card_saved,
               (select payment_method_id from stripe_customers where user_id = id) as card
          from users where id = ${userId}`;
      return { ...user };
    };
    assert.equal(await save("pm_new", "cs_new"), true);
    const after = { enabled: true, amount: 2000, card_saved: true, card: "pm_new" };
    assert.deepEqual(await settings(), after);
    assert.equal(await save("pm_old", "cs_old"), false);
    assert.deepEqual(await settings(), after);
    assert.equal(await save("pm_other", "cs_new", "cus_other"), false, "of another customer");
    assert.deepEqual(await settings(), after);

    await sql`select setup_auto_topup(${userId}, false)`;
    assert.equal(await save("pm_new", "cs_new"), true);
    assert.deepEqual(
      await settings(),
      { ...after, enabled: false, amount: null },
      "a repeat undoes no choice",
    );

    // Another checkout that is paid with the card that is saved already.
    await checkout("cs_newest", "1 minute", 3000);
    assert.equal(await save("pm_new", "cs_newest"), true);
    assert.deepEqual(await settings(), { ...after, amount: 3000 });
    assert.equal(await save("pm_x", null, "cus_1"), true);
    const nobody = randomUUID();
    assert.equal(
      (await sql`select save_payment_method(${nobody}, 'cus_2', 'pm_2') as kept`)[0]?.["kept"],
      false,
    );
  }));

test("a card or a customer that is gone at Stripe switches top-ups off, and tells", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const [one, other] = [await saver(database, 10_000_000), await saver(database, 10_000_000)];
    assert.equal((await sql`select forget_payment_method('pm_unknown') as known`)[0]?.["known"], false);
    await sql`select forget_payment_method(${one.cardId})`;
    await sql`select forget_stripe_customer(${other.customerId})`;
    for (const [{ userId }, reason] of [
      [one, "card_removed"],
      [other, "customer_removed"],
    ] as const) {
      const [user] = await sql`
        select auto_topup_enabled, auto_topup_setup_completed, auto_topup_disabled_reason from users where id = ${userId}`;
      assert.deepEqual(Object.values(user ?? {}), [false, false, reason]);
      assert.deepEqual(await topupEventsOf(sql, userId), [{ status: "disabled", reason, amount: null }]);
    }
    // A card that is detached after its owner has switched top-ups off is no news.
    await sql`select save_payment_method(${one.userId}, ${one.customerId}, 'pm_second')`;
    await sql`select forget_payment_method('pm_second')`;
    assert.equal((await topupEventsOf(sql, one.userId)).length, 1);
  }));

test("automatic top-ups that are on know amount, threshold and cap, whoever writes them", () =>
  withDatabase(async ({ sql }) => {
    const { userId } = await createUser(sql);
    const wrong = [
      { auto_topup_enabled: true },
      {
        auto_topup_enabled: true,
        auto_topup_amount: 500,
        auto_topup_threshold: 500,
        auto_topup_monthly_cap: 500,
      },
      {
        auto_topup_enabled: true,
        auto_topup_amount: 500,
        auto_topup_threshold: 400,
        auto_topup_monthly_cap: null,
      },
      {
        auto_topup_enabled: true,
        auto_topup_amount: 1000,
        auto_topup_threshold: 400,
        auto_topup_monthly_cap: 999,
      },
      { auto_topup_amount: 499 },
      { auto_topup_amount: 10_001 },
      { auto_topup_threshold: 99 },
      { auto_topup_disabled_reason: "whatever" },
    ];
    for (const columns of wrong) {
      const changed = join(
        Object.entries(columns).map(([name, value]) => fragment`${identifier(name)} = ${value}`),
      );
      await assert.rejects(sql`update users set ${changed} where id = ${userId}`, { code: "23514" });
    }
  }));

test("request_auto_topup() waits for whoever asks at the same time, and then refuses", () =>
  withDatabase(async (database) => {
    const { sql, session, lockIsWaitedFor } = database;
    const { userId } = await saver(database);
    const [first, second] = [await session(), await session()];
    const ask = (on: Session) =>
      on.query<{ answer: string }>("select request_auto_topup($1) as answer", [userId]);
    await first.query("begin");
    assert.equal((await ask(first)).rows[0]?.answer, "requested");
    const waiting = ask(second);
    await lockIsWaitedFor();
    await first.query("commit");
    assert.equal((await waiting).rows[0]?.answer, "rate_limited");
    assert.equal((await topupsOf(sql, userId)).length, 1);
  }));

test("a falling balance asks for a top-up in its own transaction: undone together, never in its way", () =>
  withDatabase(async (database) => {
    const { sql, session } = database;
    const { userId } = await saver(database, 6_000_000);
    const spender = await session();
    const spend = (microusd: number) =>
      spender.query("select take_back_credit($1, 'refund', $2, null)", [userId, microusd]);
    await spender.query("begin");
    await spend(2_000_000);
    await spender.query("rollback");
    assert.deepEqual(await topupsOf(sql, userId), []);
    // Above the threshold by a millionth of a dollar: nothing. At it: one.
    await spend(999_900);
    assert.deepEqual(await topupsOf(sql, userId), []);
    await spend(100);
    assert.deepEqual(
      (await topupsOf(sql, userId)).map(({ state, amount_cents }) => [state, amount_cents]),
      [["requested", 2000]],
    );
    // A balance that rises asks for nothing, however low it is.
    const other = await saver(database, 0);
    await sql`select add_credit(${other.userId}, 'manual', 1000000)`;
    assert.deepEqual(await topupsOf(sql, other.userId), []);
    // Nor does one of somebody without a card, or who wants none.
    await sql`update stripe_customers set payment_method_id = null where user_id = ${other.userId}`;
    await sql`select take_back_credit(${other.userId}, 'refund', 1000, null)`;
    assert.deepEqual(await topupsOf(sql, other.userId), []);
  }));

test("claim_auto_topups() gives a request to one of two who claim at once, and again when the first has died", () =>
  withDatabase(async (database) => {
    const { sql, session } = database;
    const { userId } = await saver(database);
    await sql`select request_auto_topup(${userId})`;
    const [first, second] = [await session(), await session()];
    await first.query("begin");
    const [claimed] = await claim(first);
    assert.deepEqual(await claim(second), [], "locked by the first");
    await first.query("commit");
    assert.deepEqual(await claim(second), [], "leased by the first");
    await sql`update auto_topup_requests set next_attempt_at = now()`;
    const [again] = await claim(second);
    assert.ok(claimed && again);
    assert.equal(again.id, claimed.id);

    // The first was only slow: what it says is left aside, but for a payment.
    assert.equal(await record(first, claimed, "declined", null, "card_declined"), "requested");
    assert.equal(await record(first, claimed, "succeeded", "pi_1"), "succeeded");
    assert.equal(await record(second, again, "failed", null, "given_up"), "succeeded");
    assert.equal(await record(second, again, "succeeded", "pi_1"), "succeeded");
    const events = await topupEventsOf(sql, userId);
    assert.deepEqual(events, [{ status: "succeeded", reason: null, amount: 2000 }]);
  }));

test("a payment that is found after its request was given up counts, for the month too", () =>
  withDatabase(async (database) => {
    const { sql, session } = database;
    const { userId } = await saver(database);
    await sql`select request_auto_topup(${userId})`;
    const host = await session();
    const [claimed] = await claim(host);
    assert.ok(claimed);
    const month = async () => (await sql`select topped_up_in_month(${userId}) as cents`)[0]?.["cents"];
    assert.equal(await month(), 2000, "the open one counts");
    assert.equal(await record(host, claimed, "failed", null, "given_up"), "failed");
    assert.equal(await month(), 0);
    await sql`select record_auto_topup(${claimed.id}, 'succeeded', 'pi_late')`;
    assert.equal(await month(), 2000);
  }));

test("claim_auto_topups() cancels what nobody wants any more, and looks up what may have been paid", () =>
  withDatabase(async (database) => {
    const { sql, session } = database;
    const host = await session();
    const untried = await saver(database);
    const tried = await saver(database);
    const worn = await saver(database);
    const changed = await saver(database);
    for (const { userId } of [untried, tried, worn, changed]) await sql`select request_auto_topup(${userId})`;
    await sql`update auto_topup_requests set attempts = 1 where user_id = ${tried.userId}`;
    await sql`update auto_topup_requests set attempts = 6 where user_id = ${worn.userId}`;
    for (const { userId } of [untried, tried]) await sql`select setup_auto_topup(${userId}, false)`;
    await sql`select save_payment_method(${changed.userId}, ${changed.customerId}, 'pm_another')`;
    const claimed = await claim(host);
    const ids = new Map(
      await Promise.all(
        [tried, worn].map(async ({ userId }) => [(await topupsOf(sql, userId))[0]?.id, userId] as const),
      ),
    );
    assert.deepEqual(
      claimed.map(({ id, look_up }) => [ids.get(id), look_up]).toSorted(),
      [
        [tried.userId, true],
        [worn.userId, true],
      ].toSorted(),
    );
    for (const { userId } of [untried, changed]) {
      assert.deepEqual(
        (await topupsOf(sql, userId)).map(({ state, reason }) => [state, reason]),
        [["cancelled", "not_wanted"]],
      );
    }
  }));

test("request_due_auto_topups() walks everybody in pages", () =>
  withDatabase(async (database) => {
    const { sql } = database;
    const savers = [];
    for (let count = 0; count < 5; count++)
      savers.push(await saver(database, count === 4 ? 9_000_000 : 1_000_000));
    const seen: string[] = [];
    let pageCount = 0;
    for (let after: string | null = null; pageCount === 0 || after !== null; pageCount++) {
      const [row]: {
        page: { outcomes: { user_id: string; outcome: string }[]; next_after: string | null };
      }[] = await sql`select request_due_auto_topups(${after}, 2) as page`;
      for (const { user_id, outcome } of row?.page.outcomes ?? []) {
        assert.equal(outcome, "requested");
        seen.push(user_id);
      }
      after = row?.page.next_after ?? null;
    }
    assert.equal(pageCount, 3);
    assert.deepEqual(
      seen,
      savers
        .slice(0, 4)
        .map(({ userId }) => userId)
        .toSorted(),
    );
  }));

test("retries wait longer and longer, a few hours in all: Stripe remembers a key for a day", () =>
  withDatabase(async ({ sql }) => {
    let total = 0;
    for (let attempts = 1; attempts <= 6; attempts++) {
      const [row] = await sql`
        select extract(epoch from auto_topup_retry_delay(${attempts}))::float8 as seconds`;
      const expected = 30 * 2 ** (attempts - 1);
      const seconds = Number(row?.["seconds"]);
      assert.ok(seconds >= expected * 0.75 && seconds <= expected * 1.25, `${attempts}: ${seconds}`);
      total += seconds;
    }
    assert.ok(total < 3 * 3600);
  }));

test("on Supabase the timer has the charging function called, only when something is due", () =>
  withDatabase(async (database) => {
    const { sql, session } = database;
    const { userId } = await saver(database);
    const tick = () => sql`select request_auto_topup_charges()`;
    // Stand-ins for Supabase's extensions, which PostgreSQL alone does not have.
    await sql.query(`
      create schema vault; create schema net;
      create table vault.decrypted_secrets (name text, decrypted_secret text);
      insert into vault.decrypted_secrets values
        ('darkroom_functions_url', 'https://ref.supabase.co/functions/v1'), ('darkroom_service_key', 'sb_secret_x');
      create table net.requests (url text, headers jsonb, body jsonb);
      create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}',
        timeout_milliseconds integer default 5000) returns bigint language sql as $$
        insert into net.requests values (url, headers, body); select 1::bigint $$;`);
    await tick();
    assert.equal((await sql`select from net.requests`).length, 0);
    await sql`select request_auto_topup(${userId})`;
    await tick();
    assert.deepEqual(
      [...(await sql`select url, headers ->> 'apikey' as key from net.requests`)],
      [{ url: "https://ref.supabase.co/functions/v1/trigger-auto-topup", key: "sb_secret_x" }],
    );
    await claim(await session());
    await tick();
    assert.equal((await sql`select from net.requests`).length, 1);

    // And the reconciler, where there is somebody who buys.
    await sql`select request_reconciliation()`;
    await sql`delete from stripe_customers`;
    await sql`select request_reconciliation()`;
    assert.deepEqual(
      (await sql`select url from net.requests offset 1`).map(({ url }) => url as string),
      ["https://ref.supabase.co/functions/v1/reconcile-payments"],
    );

    // Its function handles the events that are due, too.
    await sql`select receive_stripe_event('evt_1', 'charge.refunded', '{}', false)`;
    await sql`select request_stripe_event_retries()`;
    assert.equal((await sql`select from net.requests offset 2`).length, 0, "not before its time");
    await sql`update stripe_events set retry_at = now()`;
    await sql`select request_stripe_event_retries()`;
    assert.deepEqual(
      (await sql`select url from net.requests offset 2`).map(({ url }) => url as string),
      ["https://ref.supabase.co/functions/v1/reconcile-payments"],
    );
  }));

test("record_payment() credits one of two payments of a request that are told at once; the other is quarantined", () =>
  withDatabase(async ({ sql, session, lockIsWaitedFor }) => {
    const { userId } = await createUser(sql, 0);
    const [asked] = await sql<{ request_id: string }[]>`
      insert into checkout_sessions (user_id, amount_cents, success_url, cancel_url)
      values (${userId}, 1000, 'https://app.darkroom.test/', 'https://app.darkroom.test/') returning request_id`;
    const record = (on: Session, intent: string) => {
      const told = { amount_cents: 1000, currency: "usd", user_id: userId, purpose: "checkout" };
      const payment = { ...told, state: "paid", request_id: asked?.request_id };
      const facts = JSON.stringify({ payment_intent_id: intent, payment });
      return on.query<{ done: object }>("select record_payment($1::text::jsonb, now()) as done", [facts]);
    };
    const [first, second] = [await session(), await session()];
    await first.query("begin");
    await record(first, "pi_first");
    const meanwhile = record(second, "pi_second");
    await lockIsWaitedFor();
    await first.query("commit");
    assert.deepEqual((await meanwhile).rows[0]?.done, { state: "quarantined", reason: "paid_twice" });
    const [account] =
      await sql`select balance_microusd::int as balance from credit_accounts where user_id = ${userId}`;
    assert.equal(account?.["balance"], 10_000_000);
    assert.deepEqual(
      (await sql`select subject from billing_alerts`).map(({ subject }) => subject as string),
      ["pi_second"],
    );
    assert.deepEqual([...(await sql`select * from find_payment_faults()`)], []);
  }));
