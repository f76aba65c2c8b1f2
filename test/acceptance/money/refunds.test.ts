/** Check 27: what is given back, or disputed, is taken back, whatever of it is spent already. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type Stripe from "stripe";
import { switchOnAutoTopup, topupEventsOf, topupsOf } from "../../support/auto-topups.ts";
import { queueTask } from "../../support/factories.ts";
import type { DisputeRequest, DisputeStatus, RefundStatus } from "../../support/fake-stripe/payments.ts";
import { inParallel, randomFrom, shuffled } from "../../support/orders.ts";
import { booksOf, moneyFaults } from "../../support/payments.ts";
import { type Purchase, type Shop, withShop } from "../../support/shop.ts";

const paidCents = 1_000;

/** Refunds in their order: how much, and what becomes of each. */
type RefundPlan = [cents: number, ...statuses: RefundStatus[]][];
const refundPlans: Record<string, RefundPlan> = {
  "no refund": [],
  "a partial one": [[300, "succeeded"]],
  "three partial ones": [
    [300, "succeeded"],
    [200, "succeeded"],
    [100, "succeeded"],
  ],
  "three partial ones and the rest": [
    [300, "succeeded"],
    [200, "pending", "succeeded"],
    [100, "succeeded"],
    [400, "succeeded"],
  ],
  "a full one": [[1_000, "succeeded"]],
  "a slow one": [[300, "pending", "succeeded"]],
  "one that failed": [[300, "succeeded", "failed"]],
  "a full one that failed": [[1_000, "pending", "failed"]],
  "one that failed and one that did not": [
    [1_000, "succeeded", "failed"],
    [600, "succeeded"],
  ],
  "one that was called off and one under way": [
    [300, "requires_action", "canceled"],
    [200, "pending"],
  ],
};

/** How a dispute begins, and what becomes of it. */
type DisputePlan = [begins: DisputeRequest, ...statuses: DisputeStatus[]] | undefined;
const inquiry = { status: "warning_needs_response" } as const;
const disputePlans: Record<string, DisputePlan> = {
  "no dispute": undefined,
  "an inquiry": [inquiry, "warning_under_review", "warning_closed"],
  "an inquiry that became a dispute": [inquiry, "needs_response", "lost"],
  "an open one": [{}],
  "one that was won": [{}, "under_review", "won"],
  "one that was lost": [{}, "lost"],
  "a partial one that was lost": [{ amount: 400 }, "under_review", "lost"],
  "one that was lost and is appealed": [{}, "lost", "appeal_needs_response"],
  "one that was lost, then won": [{}, "lost", "appeal_needs_response", "appeal_under_review", "won"],
  "one that was lost twice": [{}, "lost", "appeal_under_review", "lost"],
  "one that was prevented": [{ status: "prevented" }],
  "one that was prevented by giving back": [{ status: "prevented", givenBack: true }],
};

/** Which events tell it: those of older versions of Stripe's API, the same without what they left out later, or the newest. */
const formats = ["charges with refunds", "charges", "refunds"] as const;
type Format = (typeof formats)[number];

interface Plan {
  name: string;
  refunds: RefundPlan;
  dispute: DisputePlan;
  format: Format;
  spentCents: number;
}

/** Every combination by every format, if so many runs are asked for; else by one each, in turn. */
const isFull = Number(process.env["DARKROOM_CHECK_RUNS"] ?? 0) >= 360;

function plans(): Plan[] {
  const random = randomFrom(27);
  return Object.entries(refundPlans).flatMap(([refund, refunds], row) =>
    Object.entries(disputePlans).flatMap(([begun, dispute], column) =>
      formats
        .filter((_, turn) => isFull || turn === (row + column) % formats.length)
        .map((format) => ({
          name: `${refund}, ${begun}, by ${format}`,
          refunds,
          dispute,
          format,
          spentCents: [0, 400, paidCents][Math.floor(random() * 3)] ?? 0,
        })),
    ),
  );
}

/** Plays a plan at Stripe, and gives the events that a webhook of this format gets of it. */
function play({ fakeStripe }: Shop, one: Purchase, { refunds, dispute, format }: Plan): Stripe.Event[] {
  const intentId = one.intentId();
  const begun = one.events().length;
  for (const [cents, first, ...later] of refunds) {
    const { id } = fakeStripe.refund(intentId, cents, first);
    // Stripe attached all refunds so far.
    const charge = one.event("charge.refunded") as Stripe.ChargeRefundedEvent;
    if (format === "charges with refunds") {
      const data = fakeStripe.books.all("refund").filter(({ payment_intent }) => payment_intent === intentId);
      charge.data.object.refunds = { object: "list", data: structuredClone(data), has_more: false, url: "" };
    }
    for (const status of later) fakeStripe.changeRefund(id, status);
  }
  if (dispute) {
    const [{ amount, ...begins }, ...later] = dispute;
    const { id } = fakeStripe.dispute(intentId, amount, begins);
    for (const status of later) fakeStripe.changeDispute(id, status);
  }
  const left = format === "refunds" ? /^charge\.refund/ : /^refund\./;
  return one
    .events()
    .slice(begun)
    .filter(({ type }) => !left.test(type));
}

/** What Stripe's own books leave of a payment, in cents. */
function leftAtStripe({ fakeStripe: { books } }: Shop, one: Purchase): number {
  const charge = books.find("charge", String(books.find("payment_intent", one.intentId()).latest_charge));
  const moved = books
    .all("dispute")
    .filter((dispute) => dispute.charge === charge.id)
    .flatMap(({ balance_transactions }) => balance_transactions)
    .reduce((sum, { amount }) => sum + amount, 0);
  return Math.max(charge.amount - charge.amount_refunded + moved, 0);
}

test("check 27: refunds and disputes in every combination leave what Stripe left; what was spent of it is debt, and later credit pays it", (context) =>
  withShop(async (shop) => {
    const { sql } = shop;
    const random = randomFrom(127);
    // No two events in one second: their order is theirs.
    let now = 1_790_000_000;
    shop.fakeStripe.books.clock = () => ++now;
    let [delivered, indebted] = [0, 0];
    await inParallel(plans(), 8, async (plan) => {
      const one = await shop.purchase(paidCents);
      const { userId } = one.buyer;
      one.pay();
      await shop.send(one.event("checkout.session.completed"));
      if (plan.spentCents > 0) {
        await sql`select take_back_credit(${userId}, 'refund', ${plan.spentCents * 10_000}, null)`;
      }
      const events = play(shop, one, plan);
      for (const event of random() < 0.5 ? shuffled(events, random) : events) {
        delivered++;
        const { status, body } = await shop.send(event);
        assert.deepEqual([status, body["state"]], [200, "handled"], `${plan.name}: ${event.type}`);
      }
      const net = leftAtStripe(shop, one) - plan.spentCents;
      const { balance, debt } = await booksOf(sql, userId);
      assert.deepEqual([balance, debt], [Math.max(net, 0) * 10_000, Math.max(-net, 0) * 10_000], plan.name);
      if (debt === 0) return;

      indebted++;
      await assert.rejects(queueTask(sql, one.buyer), { code: "PT402", message: "account_in_debt" });
      await sql`select add_credit(${userId}, 'manual', ${debt + 70_000})`;
      assert.deepEqual(await booksOf(sql, userId).then((books) => [books.balance, books.debt]), [70_000, 0]);
      await queueTask(sql, one.buyer);
    });
    assert.deepEqual(await moneyFaults(sql), []);
    assert.equal((await sql`select from billing_alerts`).length, 0);
    const { length } = plans();
    context.diagnostic(
      `${length} histories, ${delivered} deliveries: 0 differ; ${indebted} debts, all collected`,
    );
  }));

test("check 27: a held credit is not taken back: its task is charged, and the rest is debt", () =>
  withShop(async (shop) => {
    const { sql } = shop;
    const one = await shop.purchase(paidCents);
    const { userId } = one.buyer;
    one.pay();
    await shop.send(one.event("checkout.session.completed"));
    await sql`select reserve_credit(${userId}, 6000000)`;
    shop.fakeStripe.refund(one.intentId());
    await shop.send(one.event("charge.refunded"));
    const [account] = await sql`
      select balance_microusd::int as balance, held_microusd::int as held, debt_microusd::int as debt
        from credit_accounts where user_id = ${userId}`;
    assert.deepEqual({ ...account }, { balance: 6_000_000, held: 6_000_000, debt: 6_000_000 });
  }));

test("who disputes a payment, or was given back an automatic one, is not charged automatically again", () =>
  withShop(async (shop) => {
    const { sql, fakeStripe } = shop;
    for (const [reason, undo] of [
      ["payment_disputed", (intentId: string) => void fakeStripe.dispute(intentId)],
      ["payment_refunded", (intentId: string) => void fakeStripe.refund(intentId)],
    ] as const) {
      const { userId } = await shop.person({ balanceMicrousd: 0 });
      const { customerId } = await switchOnAutoTopup(sql, fakeStripe, userId);
      await sql`select request_auto_topup(${userId})`;
      await shop.topUp();
      const [intent] = fakeStripe.books
        .all("payment_intent")
        .filter(({ customer }) => customer === customerId);
      assert.ok(intent);
      await sql`update users set auto_topup_last_triggered = null where id = ${userId}`;
      undo(intent.id);
      for (const event of fakeStripe.events("charge.dispute.created", "refund.created"))
        await shop.send(event);
      const [user] = await sql`
        select auto_topup_enabled, auto_topup_disabled_reason, auto_topup_setup_completed from users where id = ${userId}`;
      assert.deepEqual(Object.values(user ?? {}), [false, reason, true]);
      // The balance that fell asked for one in the same transaction.
      await shop.topUp();
      assert.deepEqual(
        (await topupsOf(sql, userId)).map(({ state }) => state),
        ["succeeded", "cancelled"],
      );
      assert.deepEqual(
        (await topupEventsOf(sql, userId)).map((told) => told.reason),
        [null, reason],
      );
      assert.equal(
        fakeStripe.books.all("payment_intent").filter(({ customer }) => customer === customerId).length,
        1,
      );
    }
    assert.deepEqual(await moneyFaults(sql), []);
  }));
