/** Check 29: what Stripe's books and ours differ in is found, exactly, and what is missing here is set right. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { text } from "node:stream/consumers";
import type Stripe from "stripe";
import { projectPath } from "../../../server/migrate.ts";
import { createUser } from "../../support/factories.ts";
import { makeIntent } from "../../support/fake-stripe/objects.ts";
import { cancel, refund, succeed } from "../../support/fake-stripe/payments.ts";
import { randomFrom, shuffled } from "../../support/orders.ts";
import { booksOf, moneyFaults } from "../../support/payments.ts";
import { type Shop, withShop } from "../../support/shop.ts";
import { factsOfIntent } from "../../support/payment-facts.ts";

interface Bought {
  userId: string;
  intent: Stripe.PaymentIntent;
}

/** So many payments of many people at Stripe, whose checkouts are in our rows; nothing is recorded of them yet. */
async function boughtAtStripe({ sql, fakeStripe: { books } }: Shop, count: number): Promise<Bought[]> {
  const random = randomFrom(29);
  const buyers = await Promise.all(Array.from({ length: 50 }, () => createUser(sql, 0)));
  const asked = Array.from({ length: count }, (_, at) => ({
    user_id: buyers[at % buyers.length]?.userId ?? "",
    amount_cents: 500 + Math.floor(random() * 9_501),
  }));
  const rows = await sql<{ request_id: string; user_id: string; amount_cents: number }[]>`
    insert into checkout_sessions (user_id, amount_cents, success_url, cancel_url)
    select asked.user_id, asked.amount_cents, 'https://app.darkroom.test/', 'https://app.darkroom.test/'
      from jsonb_to_recordset(${sql.json(asked)}) as asked (user_id uuid, amount_cents integer)
    returning request_id, user_id, amount_cents`;
  return rows.map(({ request_id, user_id: userId, amount_cents: amount }) => {
    const metadata = { kind: "checkout", userId, requestId: request_id };
    const intent = makeIntent(books.made("payment_intent"), { amount, metadata });
    return { userId, intent: succeed(books, books.keep("payment_intent", intent)) };
  });
}

/** As their events would have recorded them. */
async function record({ sql }: Shop, intents: Stripe.PaymentIntent[]): Promise<void> {
  const told = intents.map((intent) => ({ ...factsOfIntent(intent), paid_at: intent.created }));
  const states = await sql<{ state: string }[]>`
    select record_payment(facts, to_timestamp((facts ->> 'paid_at')::bigint)) ->> 'state' as state
      from jsonb_array_elements(${sql.json(told as never)}) as facts`;
  assert.ok(states.every(({ state }) => state === "handled"));
}

interface Difference {
  fault: string;
  subject: string;
  healed: boolean;
}

/** A minute from now: what was made in this second is not before now. */
function soon(): string {
  return new Date(Date.now() + 60_000).toISOString();
}

/** A whole run, as the timer and an operator ask for it; `subject fault healed`, sorted. */
async function reconciled(shop: Shop): Promise<string[]> {
  const found: Difference[] = [];
  const to = soon();
  let after: unknown = null;
  do {
    const { status, body } = await shop.reconcile({ to, after });
    assert.equal(status, 200);
    found.push(...(body["differences"] as Difference[]));
    after = body["next_after"];
  } while (after !== null);
  return found.map(({ subject, fault, healed }) => `${subject} ${fault} ${healed}`).sort();
}

test("check 29: of 1,000 payments the 5 lost, 3 ghosts and 2 wrong amounts are found, and the 5 set right, within a minute", (context) =>
  withShop(async (shop) => {
    const { books } = shop.fakeStripe;
    const payments = shuffled(await boughtAtStripe(shop, 1_000), randomFrom(290));
    const [lost, ghosts, wrong] = [payments.slice(0, 5), payments.slice(5, 8), payments.slice(8, 10)];
    await record(
      shop,
      payments.slice(5).map(({ intent }) => intent),
    );
    // Two that Stripe has never heard of, and one whose money never came.
    for (const { intent } of ghosts.slice(0, 2)) books.remove("payment_intent", intent.id);
    for (const { intent } of ghosts.slice(2)) intent.status = "canceled";
    for (const { intent } of wrong) intent.amount_received -= 100;
    // What is as it should be: refunds that were told of, what was never paid, and what others sell.
    for (const { intent } of payments.slice(10, 30)) {
      const { id, amount } = refund(books, { charge: String(intent.latest_charge), amount: 100 });
      const facts = {
        payment_intent_id: intent.id,
        refunds: [{ id, amount_cents: amount, status: "succeeded" }],
      };
      await shop.sql`select record_payment(${shop.sql.json(facts)}, now())`;
    }
    for (let other = 0; other < 50; other++) {
      const intent = makeIntent(books.made("payment_intent"), { amount: 5_000 });
      succeed(books, books.keep("payment_intent", intent));
      const unpaid = makeIntent(books.made("payment_intent"), {
        amount: 5_000,
        metadata: payments[other]?.intent.metadata ?? {},
      });
      cancel(books, books.keep("payment_intent", unpaid));
    }

    const left = [
      ...ghosts.slice(0, 2).map(({ intent }) => `${intent.id} unknown_at_stripe false`),
      ...ghosts.slice(2).map(({ intent }) => `${intent.id} not_paid_at_stripe false`),
      ...wrong.map(({ intent }) => `${intent.id} amount_differs false`),
    ];
    const missing = lost.map(({ intent }) => `${intent.id} payment_not_recorded true`);
    const balances = async () => {
      const [row] = await shop.sql`select sum(balance_microusd)::float8 as sum from credit_accounts`;
      return Number(row?.["sum"]);
    };
    const before = await balances();
    const begun = performance.now();
    assert.deepEqual(await reconciled(shop), [...left, ...missing].sort());
    const seconds = (performance.now() - begun) / 1000;
    assert.ok(seconds < 60, `${seconds} s`);
    const added = lost.reduce((sum, { intent }) => sum + intent.amount * 10_000, 0);
    assert.equal((await balances()) - before, added);

    // Again: what cannot be set right, and nothing else; of each one alert.
    for (let run = 0; run < 2; run++) assert.deepEqual(await reconciled(shop), left.sort());
    assert.equal((await balances()) - before, added);
    const alerts = await shop.sql`select subject, reason from billing_alerts where state = 'open'`;
    assert.deepEqual(alerts.map(({ subject, reason }) => `${subject} ${reason} false`).sort(), left);
    assert.deepEqual(await moneyFaults(shop.sql), []);
    context.diagnostic(
      `1,000 payments in ${seconds.toFixed(1)} s: 10 differences, 5 set right; then 5, and 5 alerts`,
    );
  }));

test("check 29: `npm run reconcile` tells what differs, sets it right, and exits with 1 while something does", () =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_234);
    one.pay();
    const run = async (...options: string[]) => {
      const child = spawn(
        process.execPath,
        ["--import", "tsx", projectPath("server/cli.ts"), "reconcile", "--to", soon(), ...options],
        { env: { ...process.env, ...shop.fakeStripe.variables, DATABASE_URL: shop.databaseUrl } },
      );
      const [output, [exitCode]] = await Promise.all([text(child.stdout), once(child, "exit")]);
      return [exitCode, output.trim().split("\n")];
    };
    const id = one.intentId();
    const differs = [1, [`differs  payment_not_recorded  ${id}`, "checked 1, differences 1"]];
    assert.deepEqual(await run("--dry-run"), differs);
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 0);
    assert.deepEqual(await run(), [
      0,
      [`set right  payment_not_recorded  ${id}`, "checked 1, differences 1"],
    ]);
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 12_340_000);
    assert.deepEqual(await run("--from", "2026-01-01T00:00:00Z"), [0, ["checked 1, differences 0"]]);
  }));
