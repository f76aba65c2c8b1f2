/** Check 74: an event that Stripe has signed is stored before it is interpreted, and whatever it holds costs no payment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import type Stripe from "stripe";
import { createStripe } from "../../../supabase/functions/_shared/billing/stripe.ts";
import { handleDueEvents } from "../../../supabase/functions/_shared/billing/stripe-events.ts";
import { startReconciler } from "../../../server/billing/reconciler.ts";
import { cancel } from "../../support/fake-stripe/payments.ts";
import { switchOnAutoTopup } from "../../support/auto-topups.ts";
import { inParallel, randomFrom, shuffled } from "../../support/orders.ts";
import { booksOf, moneyFaults } from "../../support/payments.ts";
import { type Purchase, type Shop, withShop } from "../../support/shop.ts";
import { spoiledEvents } from "../../support/spoiled-events.ts";

const seed = 74;
/** Of each event so many of its spoiled forms, of some 700. */
const most = Number(process.env["DARKROOM_CHECK_RUNS"] ?? 60);

/** Something of which events tell. */
interface Subject {
  userId: string;
  events: Stripe.Event[];
  /** What may be on the account at most at any time, and what is there when the true events have come; micro-dollars. */
  most: number;
  balance: number;
}

/** Every event that is handled, as Stripe tells it. */
async function subjects(shop: Shop): Promise<Subject[]> {
  const { fakeStripe } = shop;
  const found: Subject[] = [];
  /** A purchase of so many dollars, of which there may be, and are left, so many. */
  const of = async (
    [dollars, most, left]: [number, number, number],
    tell: (one: Purchase) => Stripe.Event[] | void,
  ) => {
    const one = await shop.purchase(dollars * 100);
    const more = tell(one) ?? [];
    const { userId } = one.buyer;
    found.push({
      userId,
      events: [...one.events(), ...more],
      most: most * 1_000_000,
      balance: left * 1_000_000,
    });
  };
  await of([10, 10, 10], (one) => one.pay());
  await of([11, 11, 11], (one) => {
    one.pay({ card: "delayed" });
    fakeStripe.settle(one.session.id, true);
  });
  await of([12, 0, 0], (one) => {
    one.pay({ card: "delayed" });
    fakeStripe.settle(one.session.id, false);
  });
  await of([12.5, 0, 0], (one) => {
    one.pay({ card: "delayed" });
    cancel(fakeStripe.books, fakeStripe.books.find("payment_intent", one.intentId()));
  });
  await of([13, 0, 0], (one) => void fakeStripe.expire(one.session.id));
  await of([14, 14, 11], (one) => {
    one.pay();
    const refunds = [
      fakeStripe.refund(one.intentId(), 300, "pending"),
      fakeStripe.refund(one.intentId(), 200),
    ];
    fakeStripe.changeRefund(refunds[0]?.id ?? "", "succeeded");
    fakeStripe.changeRefund(refunds[1]?.id ?? "", "failed");
    // As older versions of the API tell it, with its refunds.
    const charge = structuredClone(one.event("charge.refunded")) as Stripe.ChargeRefundedEvent;
    charge.id = `${charge.id}_with_refunds`;
    charge.data.object.refunds = {
      object: "list",
      data: structuredClone(refunds),
      has_more: false,
      url: "/v1/refunds",
    };
    return [charge];
  });
  await of([15, 15, 15], (one) => {
    one.pay();
    const dispute = fakeStripe.dispute(one.intentId(), 400);
    fakeStripe.changeDispute(dispute.id, "under_review");
    fakeStripe.changeDispute(dispute.id, "won");
  });
  await of([16, 16, 12], (one) => {
    one.pay();
    fakeStripe.dispute(one.intentId(), 400, { status: "prevented", givenBack: true });
  });
  const { userId } = await shop.person({ balanceMicrousd: 0 });
  const { customerId, cardId } = await switchOnAutoTopup(shop.sql, fakeStripe, userId);
  fakeStripe.detach(cardId);
  fakeStripe.removeCustomer(customerId);
  const gone = fakeStripe
    .events("payment_method.detached", "customer.deleted")
    .filter(({ data }) => [cardId, customerId].includes((data.object as { id: string }).id));
  found.push({ userId, events: gone, most: 0, balance: 0 });
  return found;
}

/** The true events, later than whatever was told before, and what they must come to. */
async function tellTheTruth(shop: Shop, told: readonly Subject[]): Promise<void> {
  let later = Math.floor(Date.now() / 1000) + 60;
  for (const { userId, events, balance } of told) {
    for (const event of events) {
      const again = { ...event, id: `${event.id}_true`, created: later++ } as Stripe.Event;
      assert.equal((await shop.send(again)).status, 200, event.type);
    }
    const books = await booksOf(shop.sql, userId);
    assert.deepEqual([books.balance, books.debt], [balance, 0], events.map(({ type }) => type).join());
  }
  assert.deepEqual(await moneyFaults(shop.sql), []);
}

const handledTypes = [
  "checkout.session.completed",
  "checkout.session.async_payment_succeeded",
  "checkout.session.async_payment_failed",
  "checkout.session.expired",
  "payment_intent.succeeded",
  "payment_intent.processing",
  "payment_intent.payment_failed",
  "payment_intent.canceled",
  "charge.refunded",
  "refund.created",
  "refund.updated",
  "refund.failed",
  "charge.refund.updated",
  "charge.dispute.created",
  "charge.dispute.updated",
  "charge.dispute.closed",
  "charge.dispute.funds_withdrawn",
  "charge.dispute.funds_reinstated",
  "payment_method.detached",
  "customer.deleted",
];

test("check 74: every field of every event left out, null or of another kind: 200, stored, no wrong credit, and the truth in the end", (context) =>
  withShop(async (shop) => {
    const random = randomFrom(seed);
    const told = await subjects(shop);
    const types = new Set(told.flatMap(({ events }) => events.map(({ type }) => type)));
    for (const type of handledTypes) assert.ok(types.has(type as Stripe.Event.Type), `${type} is not tried`);
    const counts = new Map<string, number>();
    let sent = 0;
    for (const { userId, events, most: atMost } of told) {
      const spoiled = events
        .filter(({ type }) => handledTypes.includes(type))
        .flatMap((event) => shuffled([...spoiledEvents(event)], random).slice(0, most));
      await inParallel(shuffled(spoiled, random), 8, async ({ event, what }, index) => {
        // An id of its own, unless it is the id that is spoiled.
        if (typeof event.id === "string" && event.id.startsWith("evt_")) event.id = `${event.id}_${index}`;
        const { status, body } = await shop.send(event);
        assert.deepEqual([status, body["received"]], [200, true], `${event.type} ${what}`);
        const state = String(body["state"]);
        counts.set(state, (counts.get(state) ?? 0) + 1);
        const { balance } = await booksOf(shop.sql, userId);
        assert.ok(balance <= atMost, `${balance} of ${atMost} after ${event.type} ${what}`);
        sent++;
      });
    }
    assert.equal(counts.get("received") ?? 0, 0, "Stripe answers: nothing has to wait");
    const [stored] = await shop.sql<{ deliveries: number }[]>`
      select sum(deliveries)::int as deliveries from stripe_events`;
    assert.equal(stored?.deliveries, sent, "all of them are stored");
    await tellTheTruth(shop, told);
    const states = [...counts].map(([state, count]) => `${count} ${state}`).sort();
    context.diagnostic(
      `${sent} spoiled events of ${handledTypes.length} types, seed ${seed}: ${states.join(", ")}`,
    );
  }));

test("check 74: while Stripe's API is down every event is taken and stored; when it answers again, maintenance handles them all", (context) =>
  withShop(async (shop) => {
    const random = randomFrom(seed);
    const told = await subjects(shop);
    const { database, log } = shop.environment;
    shop.environment.stripe = createStripe(shop.fakeStripe.variables, {
      timeoutMilliseconds: 5_000,
      maxNetworkRetries: 0,
    });
    shop.fakeStripe.faults.push({ does: 503, times: Infinity });
    let waiting = 0;
    for (const { events } of told) {
      const spoiled = events
        .filter(({ type }) => handledTypes.includes(type))
        .flatMap((event) => shuffled([...spoiledEvents(event)], random).slice(0, 20));
      await inParallel(spoiled, 8, async ({ event, what }, index) => {
        if (typeof event.id === "string" && event.id.startsWith("evt_")) event.id = `${event.id}_${index}`;
        const { status, body } = await shop.send(event);
        assert.equal(status, 200, `${event.type} ${what}`);
        if (body["state"] === "received") waiting++;
      });
    }
    assert.ok(waiting > 0, "some of them need an answer of Stripe's");
    shop.fakeStripe.faults.length = 0;
    const desk = { database, log, stripe: shop.environment.stripe };
    assert.equal(await handleDueEvents(desk), 0, "none before its time");
    await shop.sql`update stripe_events set retry_at = now() where retry_at is not null`;
    const handled = await handleDueEvents(desk);
    assert.ok(handled >= waiting);
    const left = await shop.sql`select id, type, reason from stripe_events where state = 'received'`;
    assert.deepEqual([...left], []);
    await tellTheTruth(shop, told);
    context.diagnostic(`${waiting} events waited; ${handled} handled by maintenance, 0 left`);
  }));

test("check 74: an event is in its table before Stripe is asked or anything is recorded, and stays there when that fails", () =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_000);
    one.pay();
    const event = structuredClone(
      one.event("checkout.session.completed"),
    ) as Stripe.CheckoutSessionCompletedEvent;
    // Has to be asked for.
    delete (event.data.object as { payment_status?: unknown }).payment_status;
    const seen: unknown[] = [];
    shop.fakeStripe.gate = async () => {
      // Another connection sees it: it is committed.
      const [row] = await shop.sql`select state, body from stripe_events where id = ${event.id}`;
      const { body } = shop.fakeStripe.signed(event);
      seen.push([row?.["state"], row?.["body"] === body]);
    };
    assert.equal((await shop.send(event)).body["state"], "handled");
    assert.deepEqual(seen, [["received", true]]);
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 10_000_000);
  }));

test("check 74: a dispute without balance transactions, of an older API, is recorded when it is told", () =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_000);
    one.pay();
    await shop.send(one.event("checkout.session.completed"));
    shop.fakeStripe.dispute(one.intentId(), 600);
    const event = structuredClone(one.event("charge.dispute.created")) as Stripe.ChargeDisputeCreatedEvent;
    delete (event.data.object as { balance_transactions?: unknown }).balance_transactions;
    event.api_version = "2014-09-08";
    const { status, body } = await shop.send(event);
    assert.deepEqual([status, body["state"]], [200, "handled"]);
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 4_000_000);
  }));

test("check 74: values that pass as Stripe's and that no table can hold quarantine their event, and undo nothing else", () =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_000);
    one.pay();
    await shop.send(one.event("checkout.session.completed"));
    // As if a rule of the tables were stricter than what is read.
    await shop.sql`alter table payment_refunds add constraint no_such_refund check (amount_cents <> 333)`;
    shop.fakeStripe.refund(one.intentId(), 333);
    const { status, body } = await shop.send(one.event("refund.created"));
    assert.deepEqual([status, body["state"]], [200, "quarantined"]);
    const [alert] = await shop.sql<{ id: string; reason: string; details: Record<string, unknown> }[]>`
      select id, reason, details from billing_alerts where subject = ${one.intentId()}`;
    assert.deepEqual([alert?.reason, alert?.details["sqlstate"]], ["unreadable_event", "23514"]);
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 10_000_000);
    await shop.sql`alter table payment_refunds drop constraint no_such_refund`;
    await shop.sql`select resolve_billing_alert(${alert?.id ?? ""}, 'retry', 'the rule was wrong')`;
    assert.equal((await shop.send(one.event("refund.created"))).body["state"], "handled");
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 6_670_000);
  }));

test("check 74: a host handles by itself the events that are due, once, whichever of two hosts looks first", () =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_000);
    one.pay();
    const event = structuredClone(
      one.event("checkout.session.completed"),
    ) as Stripe.CheckoutSessionCompletedEvent;
    delete (event.data.object as { payment_status?: unknown }).payment_status;
    shop.fakeStripe.faults.push({ does: 403, times: 1 });
    assert.equal((await shop.send(event)).body["state"], "received");
    await shop.sql`update stripe_events set retry_at = now()`;
    const stripe = createStripe(shop.fakeStripe.variables);
    const options = { databaseUrl: shop.databaseUrl, stripe, log: pino({ level: "silent" }) };
    const hosts = [1, 2].map(() => startReconciler({ ...options, retryMilliseconds: 20 }));
    try {
      const state = async () =>
        (await shop.sql`select state from stripe_events where id = ${event.id}`)[0]?.["state"];
      while ((await state()) !== "handled") await pause(20);
    } finally {
      await Promise.all(hosts.map((host) => host.stop()));
    }
    const [row] = await shop.sql`select attempts, retry_at from stripe_events where id = ${event.id}`;
    assert.deepEqual({ ...row }, { attempts: 0, retry_at: null });
    const asked = shop.fakeStripe.requests.filter(({ path }) => path.startsWith("/v1/checkout/sessions/"));
    assert.equal(asked.length, 2, "refused once, answered once");
    assert.deepEqual(await booksOf(shop.sql, one.buyer.userId), { balance: 10_000_000, debt: 0, entries: 1 });
  }));

test("check 74: of maintenance that begins at once on two connections, each event goes to one", () =>
  withShop(async (shop) => {
    await shop.sql`
      select receive_stripe_event('evt_' || number, 'charge.refunded', '{}', false) from generate_series(1, 40) as number`;
    await shop.sql`update stripe_events set retry_at = now() - interval '1 second'`;
    const claim = async () =>
      (await shop.sql<{ events: { id: string }[] }[]>`select claim_stripe_events(20) as events`)[0]?.events ??
      [];
    const claimed = (await Promise.all([claim(), claim(), claim()])).flat().map(({ id }) => id);
    assert.equal(new Set(claimed).size, claimed.length);
    const left = await claim();
    assert.equal(claimed.length + left.length, 40);
    assert.deepEqual(await claim(), []);
  }));
