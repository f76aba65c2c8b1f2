/** Checks 20 to 23, 26 and 28, and Adaptive Pricing: whatever Stripe sends, however often and in whatever order, comes to the same money. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type Stripe from "stripe";
import { inParallel, permutations, randomFrom, shuffled } from "../../support/orders.ts";
import { booksOf, moneyFaults } from "../../support/payments.ts";
import { type Shop, withShop } from "../../support/shop.ts";

test("check 20: one event 50 times at once is one credit, and every answer 200; x10", (context) =>
  withShop(async (shop) => {
    let sent = 0;
    for (let round = 0; round < 10; round++) {
      const one = await shop.purchase(1_000 + round);
      one.pay();
      const event = one.event(round % 2 === 0 ? "checkout.session.completed" : "payment_intent.succeeded");
      const answers = await Promise.all(Array.from({ length: 50 }, () => shop.send(event)));
      sent += answers.length;
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
      assert.deepEqual(await booksOf(shop.sql, one.buyer.userId), {
        balance: (1_000 + round) * 10_000,
        debt: 0,
        entries: 1,
      });
      const [stored] = await shop.sql`select state, deliveries from stripe_events where id = ${event.id}`;
      assert.deepEqual({ ...stored }, { state: "handled", deliveries: 50 });
    }
    assert.deepEqual(await moneyFaults(shop.sql), []);
    context.diagnostic(`${sent} deliveries of 10 events: 10 credits`);
  }));

/** The same event as another one: Stripe's own resend has a new id. */
function resent(event: Stripe.Event): Stripe.Event {
  return { ...event, id: `${event.id}_again` };
}

test("check 21: all events of one payment and the success page, in all orders, are one credit", (context) =>
  withShop(async (shop) => {
    const tellers = ["completed", "async_succeeded", "intent", "resend", "page"] as const;
    const orders = permutations(tellers);
    const tell = async (order: readonly (typeof tellers)[number][], isAtOnce: boolean) => {
      const one = await shop.purchase(1_500);
      one.pay({ card: "delayed" });
      const completed = one.event("checkout.session.completed");
      shop.fakeStripe.settle(one.session.id, true);
      const paid = one.event("checkout.session.async_payment_succeeded");
      const sends = {
        completed: () => shop.send(completed),
        async_succeeded: () => shop.send(paid),
        intent: () => shop.send(one.event("payment_intent.succeeded")),
        resend: () => shop.send(resent(paid)),
        page: () => shop.confirm(one),
      };
      const answers: { status: number }[] = [];
      if (isAtOnce) answers.push(...(await Promise.all(order.map((teller) => sends[teller]()))));
      else for (const teller of order) answers.push(await sends[teller]());
      assert.ok(
        answers.every(({ status }) => status === 200),
        JSON.stringify(answers),
      );
      assert.deepEqual(await booksOf(shop.sql, one.buyer.userId), {
        balance: 15_000_000,
        debt: 0,
        entries: 1,
      });
    };
    await inParallel(orders, 4, (order) => tell(order, false));
    for (let round = 0; round < 30; round++) await tell(tellers, true);
    assert.deepEqual(await moneyFaults(shop.sql), []);
    context.diagnostic(`${orders.length} orders of ${tellers.length}, and 30 times at once: one credit each`);
  }));

test("check 22: a completed checkout that is not paid is no credit; async_payment_succeeded is, async_payment_failed is not", () =>
  withShop(async (shop) => {
    for (const isPaid of [true, false]) {
      const one = await shop.purchase(2_000);
      one.pay({ card: "delayed" });
      const completed = one.event("checkout.session.completed");
      const processing = one.event("payment_intent.processing");
      assert.equal((completed.data.object as Stripe.Checkout.Session).payment_status, "unpaid");
      for (const event of [completed, processing]) assert.equal((await shop.send(event)).status, 200);
      const page = await shop.confirm(one);
      assert.deepEqual([page.body["paymentStatus"], page.body["credited"]], ["unpaid", false]);
      assert.deepEqual(await booksOf(shop.sql, one.buyer.userId), { balance: 0, debt: 0, entries: 0 });
      shop.fakeStripe.settle(one.session.id, isPaid);
      const ended = one.event(`checkout.session.async_payment_${isPaid ? "succeeded" : "failed"}`);
      assert.equal((await shop.send(ended)).status, 200);
      // What comes late undoes neither.
      assert.equal((await shop.send(resent(completed))).status, 200);
      const [payment] =
        await shop.sql`select state from payments where payment_intent_id = ${one.intentId()}`;
      assert.equal(payment?.["state"], isPaid ? "paid" : "failed");
      assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, isPaid ? 20_000_000 : 0);
    }
    assert.deepEqual(await moneyFaults(shop.sql), []);
  }));

test("check 23: what Stripe did not sign, lately and exactly so, is refused and leaves no row", (context) =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_000);
    one.pay();
    const event = one.event("checkout.session.completed");
    const { body, headers } = shop.fakeStripe.signed(event);
    const now = Math.floor(Date.now() / 1000);
    const signed = (options: Parameters<typeof shop.fakeStripe.signed>[1]) =>
      shop.fakeStripe.signed(event, options).headers;
    const forged: [string, string, Record<string, string>][] = [
      ["no header", body, {}],
      ["an empty header", body, { "stripe-signature": "" }],
      ["no time", body, { "stripe-signature": String(headers["stripe-signature"]).replace(/^t=\d+,/, "") }],
      ["another secret", body, signed({ secrets: ["whsec_of_somebody_else"] })],
      ["v0 alone", body, signed({ scheme: "v0" })],
      ["301 s old", body, signed({ timestamp: now - 302 })],
      ["301 s ahead", body, signed({ timestamp: now + 310 })],
      ["written anew", JSON.stringify(JSON.parse(body)), headers],
      ["a space more", `${body} `, headers],
      [
        "another time",
        body,
        { "stripe-signature": String(headers["stripe-signature"]).replace(/t=\d+/, `t=${now - 1}`) },
      ],
    ];
    const random = randomFrom(23);
    for (let flip = 0; flip < 100; flip++) {
      const bytes = Buffer.from(body);
      const at = Math.floor(random() * bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 7));
      forged.push([`byte ${at} flipped`, bytes.toString(), headers]);
    }
    for (const [what, text, credentials] of forged) {
      const { status } = await shop.post(text, credentials);
      assert.equal(status, 400, what);
    }
    const rows =
      await shop.sql`select id from stripe_events union all select payment_intent_id from payments`;
    assert.equal(rows.length, 0);
    const rotating = { secrets: ["whsec_the_older_one", shop.fakeStripe.webhookSecret] };
    for (const timestamp of [now - 290, now + 290]) {
      assert.equal((await shop.send(event, { ...rotating, timestamp })).status, 200);
    }
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 10_000_000);
    context.diagnostic(`${forged.length} forgeries: all refused, 0 rows`);
  }));

/** Twelve events of one purchase, several in the same second: paid late, refunded twice (once in vain), disputed and won. */
async function longHistory(shop: Shop, cents: number): Promise<{ events: Stripe.Event[]; ids: string[] }> {
  const { fakeStripe } = shop;
  let now = 1_790_000_000;
  fakeStripe.books.clock = () => now;
  const one = await shop.purchase(cents);
  one.pay({ card: "delayed" });
  const completed = one.event("checkout.session.completed");
  now += 60;
  fakeStripe.settle(one.session.id, true);
  const intentId = one.intentId();
  // Both refunds and what became of them within one second.
  now += 60;
  const kept = fakeStripe.refund(intentId, 300, "pending");
  const charge = structuredClone(one.event("charge.refunded")) as Stripe.ChargeRefundedEvent;
  charge.data.object.refunds = { object: "list", data: [structuredClone(kept)], has_more: false, url: "" };
  fakeStripe.changeRefund(kept.id, "succeeded");
  const failing = fakeStripe.refund(intentId, 200);
  fakeStripe.changeRefund(failing.id, "failed");
  now += 60;
  const dispute = fakeStripe.dispute(intentId, 400);
  now += 60;
  fakeStripe.changeDispute(dispute.id, "under_review");
  fakeStripe.changeDispute(dispute.id, "won");
  fakeStripe.books.clock = () => Math.floor(Date.now() / 1000);
  const of = (type: string) => one.events().filter((event) => event.type === type);
  const events = [
    completed,
    one.event("checkout.session.async_payment_succeeded"),
    one.event("payment_intent.succeeded"),
    charge,
    ...of("refund.created"),
    ...of("refund.updated"),
    ...of("refund.failed"),
    ...of("charge.dispute.created"),
    ...of("charge.dispute.updated"),
    ...of("charge.dispute.closed"),
  ];
  assert.equal(events.length, 12, events.map(({ type }) => type).join());
  const [session] = await shop.sql`select request_id from checkout_sessions where id = ${one.session.id}`;
  const objects = events.map(({ data }) => (data.object as { id: string }).id);
  return {
    events,
    ids: [
      ...new Set([
        ...events.map(({ id }) => id),
        ...objects,
        intentId,
        one.buyer.userId,
        String(session?.["request_id"]),
      ]),
    ],
  };
}

test("check 26: 500 orders of a history of 12 events, with repeats, come to the same state", (context) =>
  withShop(async (shop) => {
    const random = randomFrom(26);
    const history = await longHistory(shop, 1_000);
    const [original] = await shop.sql`select * from checkout_sessions`;
    assert.ok(original);
    let delivered = 0;

    /** The history as somebody else's: the same events about other ids. */
    const copy = async (
      round: number,
    ): Promise<{ userId: string; intentId: string; events: Stripe.Event[] }> => {
      const { userId } = await shop.person({ balanceMicrousd: 0 });
      const [asked] = await shop.sql<{ request_id: string }[]>`
        insert into checkout_sessions (id, user_id, amount_cents, success_url, cancel_url, url, expires_at)
        select ${`cs_copy_${round}`}, ${userId}, amount_cents, success_url, cancel_url, url, expires_at
          from checkout_sessions where request_id = ${String(original["request_id"])} returning request_id`;
      let text = JSON.stringify(history.events);
      for (const id of history.ids) {
        const other =
          id === original["user_id"]
            ? userId
            : id === original["request_id"]
              ? String(asked?.request_id)
              : id === original["id"]
                ? `cs_copy_${round}`
                : `${id}_${round}`;
        text = text.replaceAll(`"${id}"`, `"${other}"`);
      }
      const intent = history.ids.find((id) => id.startsWith("pi_"));
      return { userId, intentId: `${intent}_${round}`, events: JSON.parse(text) as Stripe.Event[] };
    };
    const states = new Set<string>();
    await inParallel(Array.from({ length: 500 }), 8, async (_, round) => {
      const { userId, intentId, events } = await copy(round);
      const repeated = events.filter(() => random() < 0.25);
      for (const event of shuffled([...events, ...repeated], random)) {
        delivered++;
        const { status, body } = await shop.send(event);
        assert.deepEqual([status, body["state"]], [200, "handled"], event.type);
      }
      const [state] = await shop.sql`
        select payment.state, payment.amount_cents, payment.credited_microusd::int, payment.paid_at,
               account.balance_microusd::int, account.debt_microusd::int, session.status,
               (select jsonb_agg(jsonb_build_array(amount_cents, status, told_at) order by amount_cents)
                  from payment_refunds where payment_id = payment.id) as refunds,
               (select jsonb_agg(jsonb_build_array(amount_cents, status, told_at))
                  from payment_disputes where payment_id = payment.id) as disputes
          from payments as payment
          join credit_accounts as account on account.user_id = payment.user_id
          join checkout_sessions as session on session.request_id = payment.request_id
         where payment.payment_intent_id = ${intentId} and payment.user_id = ${userId}`;
      states.add(JSON.stringify(state));
    });
    assert.equal(states.size, 1, [...states].join("\n"));
    const state = JSON.parse([...states].join()) as Record<string, unknown>;
    assert.deepEqual(
      [
        state["state"],
        state["balance_microusd"],
        state["credited_microusd"],
        state["debt_microusd"],
        state["status"],
      ],
      ["paid", 7_000_000, 7_000_000, 0, "complete"],
    );
    assert.deepEqual(
      (state["refunds"] as unknown[][]).map((refund) => refund.slice(0, 2)),
      [
        [200, "failed"],
        [300, "succeeded"],
      ],
    );
    assert.deepEqual(
      (state["disputes"] as unknown[][]).map((dispute) => dispute.slice(0, 2)),
      [[400, "won"]],
    );
    assert.equal((await shop.sql`select from billing_alerts`).length, 0);
    assert.deepEqual(await moneyFaults(shop.sql), []);
    context.diagnostic(`500 orders of 12 events, ${delivered} deliveries: ${states.size} final state`);
  }));

test("check 28: what does not fit what was asked for credits nothing, is kept, and is alerted of once", (context) =>
  withShop(async (shop) => {
    type Paid = Stripe.CheckoutSessionCompletedEvent;
    const spoils: Record<string, (event: Paid, one: { other: string }) => void> = {
      wrong_amount: ({ data }) => void (data.object.amount_total = 100_000),
      wrong_currency: ({ data }) => void (data.object.currency = "jpy"),
      wrong_livemode: (event) => void (event.livemode = true),
      wrong_account: (event) => void (event.account = "acct_of_another"),
      unknown_user: ({ data }, { other }) =>
        void (data.object.metadata = { ...data.object.metadata, userId: other }),
      unknown_request: ({ data }) =>
        void (data.object.metadata = { ...data.object.metadata, requestId: "none" }),
    };
    const stranger = await shop.person({ balanceMicrousd: 0 });
    for (const [reason, spoil] of Object.entries(spoils)) {
      const one = await shop.purchase(1_000);
      one.pay();
      const event = structuredClone(one.event("checkout.session.completed")) as Paid;
      spoil(event, { other: stranger.userId });
      for (let delivery = 0; delivery < 3; delivery++) {
        const { status, body } = await shop.send(event);
        assert.deepEqual([status, body["state"]], [200, "quarantined"], reason);
      }
      const [stored] = await shop.sql`select state, reason from stripe_events where id = ${event.id}`;
      assert.deepEqual({ ...stored }, { state: "quarantined", reason });
      assert.deepEqual(
        await booksOf(shop.sql, one.buyer.userId),
        { balance: 0, debt: 0, entries: 0 },
        reason,
      );
      assert.deepEqual(await booksOf(shop.sql, stranger.userId), { balance: 0, debt: 0, entries: 0 }, reason);
      const alerts =
        await shop.sql`select reason, state from billing_alerts where subject = ${one.intentId()}`;
      assert.deepEqual(
        alerts.map((alert) => ({ ...alert })),
        [{ reason, state: "open" }],
      );

      // Dismissed, it stays so however often it is sent.
      const [alert] = await shop.sql`select id from billing_alerts where subject = ${one.intentId()}`;
      await shop.sql`select resolve_billing_alert(${String(alert?.["id"])}, 'dismiss', 'seen')`;
      await shop.send(event);
      assert.equal((await shop.sql`select from billing_alerts where state = 'open'`).length, 0);
    }
    // Paid in another currency, as Stripe itself tells it.
    const yen = await shop.purchase(1_000);
    yen.pay({ currency: "jpy" });
    for (const event of yen.events()) await shop.send(event);
    assert.equal((await shop.confirm(yen)).body["credited"], false);
    assert.deepEqual(await booksOf(shop.sql, yen.buyer.userId), { balance: 0, debt: 0, entries: 0 });
    const alerts = await shop.sql`select reason from billing_alerts where state = 'open'`;
    assert.deepEqual(
      alerts.map((alert) => alert["reason"]),
      ["wrong_currency"],
    );
    assert.deepEqual(await moneyFaults(shop.sql), []);
    context.diagnostic(`${Object.keys(spoils).length + 1} that do not fit: 0 credits, one alert each`);
  }));

test("check 28: what was quarantined is credited when it is tried again after what was wrong was set right", () =>
  withShop(async (shop) => {
    const one = await shop.purchase(1_000);
    one.pay();
    await shop.sql`update checkout_sessions set amount_cents = 999 where id = ${one.session.id}`;
    const events = [one.event("checkout.session.completed"), one.event("payment_intent.succeeded")];
    for (const event of events) assert.equal((await shop.send(event)).body["state"], "quarantined");
    await shop.sql`update checkout_sessions set amount_cents = 1000 where id = ${one.session.id}`;
    const [alert] = await shop.sql`select id from billing_alerts`;
    const [released] =
      await shop.sql`select resolve_billing_alert(${String(alert?.["id"])}, 'retry', 'set right') as it`;
    assert.ok(released);
    assert.equal((released["it"] as { events: unknown[] }).events.length, 2);
    for (const event of events) assert.equal((await shop.send(event)).body["state"], "handled");
    assert.deepEqual(await booksOf(shop.sql, one.buyer.userId), { balance: 10_000_000, debt: 0, entries: 1 });
    assert.deepEqual(await moneyFaults(shop.sql), []);
  }));

test("check 28: who pays in a currency of their own is credited what we asked for, in every order of events", (context) =>
  withShop(async (shop) => {
    let orders = 0;
    for (const legacy of [false, true]) {
      for (const order of permutations(["checkout.session.completed", "payment_intent.succeeded", "page"])) {
        const one = await shop.purchase(1_000);
        // 9.20 euros are no 920 cents, nor are 155,000 yen 155,000.
        const presentment = { amount: orders % 2 === 0 ? 920 : 155_000, currency: "eur", legacy };
        one.pay({ presentment });
        for (const teller of order) {
          const { status } = await (teller === "page" ? shop.confirm(one) : shop.send(one.event(teller)));
          assert.equal(status, 200);
        }
        assert.deepEqual(
          await booksOf(shop.sql, one.buyer.userId),
          { balance: 10_000_000, debt: 0, entries: 1 },
          `${order.join()} ${String(legacy)}`,
        );
        assert.equal(
          (await shop.sql`select from billing_alerts where state = 'open'`).length,
          0,
          order.join(),
        );
        orders++;
      }
    }
    assert.deepEqual(await moneyFaults(shop.sql), []);
    context.diagnostic(`${orders} orders of 3 tellers, old and new API: 10.00 dollars each`);
  }));

test("check 28: a refund in a currency of the customer's is never counted as cents of ours", () =>
  withShop(async (shop) => {
    // Newer sessions: the refund is in our currency, and what the customer gets is beside it.
    const one = await shop.purchase(1_000);
    one.pay({ presentment: { amount: 920, currency: "eur" } });
    await shop.send(one.event("checkout.session.completed"));
    const refund = shop.fakeStripe.refund(one.intentId(), 250);
    refund.presentment_details = { presentment_amount: 230, presentment_currency: "eur" };
    await shop.send(one.event("refund.created"));
    assert.equal((await booksOf(shop.sql, one.buyer.userId)).balance, 7_500_000);

    // Older ones: it is in theirs, and how much that is of ours is for somebody to say.
    const old = await shop.purchase(1_000);
    old.pay({ presentment: { amount: 92_000, currency: "jpy", legacy: true } });
    await shop.send(old.event("checkout.session.completed"));
    shop.fakeStripe.refund(old.intentId(), 500);
    shop.fakeStripe.dispute(old.intentId(), 500);
    for (const type of ["refund.created", "charge.dispute.created"]) {
      const { status, body } = await shop.send(old.event(type));
      assert.deepEqual([status, body["state"]], [200, "quarantined"], type);
    }
    assert.equal((await booksOf(shop.sql, old.buyer.userId)).balance, 10_000_000);
    const alerts = await shop.sql`select subject, reason from billing_alerts where state = 'open'`;
    assert.deepEqual(
      alerts.map((alert) => ({ ...alert })),
      [{ subject: old.intentId(), reason: "wrong_currency" }],
    );
    // Of a payment that is nothing of ours they are nothing of ours.
    const foreign = structuredClone(old.event("refund.created")) as Stripe.RefundCreatedEvent;
    foreign.id = "evt_of_another_shop";
    foreign.data.object.payment_intent = "pi_of_another_shop";
    assert.equal((await shop.send(foreign)).body["state"], "ignored");
    assert.deepEqual(await moneyFaults(shop.sql), []);
  }));
