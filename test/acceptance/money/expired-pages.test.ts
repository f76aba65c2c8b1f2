/** Check 75: a checkout key outlives its page, and no page is handed out beside one that can be paid. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { booksOf, moneyFaults } from "../../support/payments.ts";
import { type Shop, withShop } from "../../support/shop.ts";

interface CheckoutAnswer {
  checkoutUrl: string;
  sessionId: string;
  status: string;
}

/** Somebody new, who asks for the same checkout again and again. */
async function asking(shop: Shop) {
  const buyer = await shop.person({ balanceMicrousd: 0 });
  const request = { amount: 10, idempotency_key: "bookmarked" };
  return {
    userId: buyer.userId,
    async ask(): Promise<CheckoutAnswer> {
      const { status, body } = await shop.checkout(buyer, request);
      assert.equal(status, 200, JSON.stringify(body));
      return body as unknown as CheckoutAnswer;
    },
    attempt: async () => await shop.checkout(buyer, request),
  };
}

/** By our clock the page is over. */
async function outOfTime({ sql }: Shop, sessionId: string): Promise<void> {
  await sql`update checkout_sessions set expires_at = now() where id = ${sessionId}`;
}

test("check 75: a key whose page has expired gets a new one, and the old one cannot be paid any more", () =>
  withShop(async (shop) => {
    const { fakeStripe, sql } = shop;
    const { userId, ask } = await asking(shop);
    const pages = [await ask()];
    const ends: ((id: string) => Promise<void>)[] = [
      // Stripe has said so, and its event has come.
      async (id) => {
        fakeStripe.expire(id);
        const [event] = fakeStripe.events("checkout.session.expired");
        assert.ok(event);
        assert.equal((await shop.send(event)).body["state"], "handled");
      },
      // Its time is over, and its event has not come.
      async (id) => {
        fakeStripe.expire(id);
        await outOfTime(shop, id);
      },
      // By our clock alone: still open at Stripe, where somebody may be paying.
      async (id) => await outOfTime(shop, id),
      // Unknown at Stripe.
      async (id) => {
        fakeStripe.books.remove("session", id);
        await outOfTime(shop, id);
      },
    ];
    for (const end of ends) {
      const former = pages.at(-1)?.sessionId ?? "";
      await end(former);
      const next = await ask();
      assert.equal(next.status, "open");
      assert.ok(!pages.some(({ sessionId }) => sessionId === next.sessionId), "a page of its own");
      assert.equal(next.checkoutUrl, fakeStripe.books.find("session", next.sessionId).url);
      assert.equal((await ask()).sessionId, next.sessionId, "and the same again");
      const known = fakeStripe.books.lookUp(former) as { status: string } | undefined;
      if (known) assert.equal(known.status, "expired");
      pages.push(next);
    }
    const last = pages.at(-1)?.sessionId ?? "";
    assert.throws(() => fakeStripe.pay(pages[0]?.sessionId ?? ""), /expired/);
    fakeStripe.pay(last);
    await outOfTime(shop, last);
    const paid = await ask();
    assert.deepEqual(
      [paid.status, paid.sessionId, paid.checkoutUrl],
      ["paid", last, `https://app.darkroom.test/payments/success?session_id=${last}`],
    );
    assert.deepEqual(await booksOf(sql, userId), { balance: 10_000_000, debt: 0, entries: 1 });
    assert.deepEqual(await ask(), paid);
    // One purchase, however often its page was replaced.
    assert.equal((await sql`select from checkout_sessions where user_id = ${userId}`).length, 1);
    assert.deepEqual(await moneyFaults(sql), []);
  }));

test("check 75: a page that is paid while it is being replaced is told as paid, and there is no second one", () =>
  withShop(async (shop) => {
    const { fakeStripe, sql } = shop;
    for (const card of ["approved", "delayed"] as const) {
      const { userId, ask } = await asking(shop);
      const { sessionId } = await ask();
      await outOfTime(shop, sessionId);
      const before = fakeStripe.books.all("session").length;
      // Open when it is looked at; paid before it can be expired.
      fakeStripe.gate = ({ method, path }) => {
        if (method === "POST" && path.endsWith("/expire")) fakeStripe.pay(sessionId, { card });
      };
      const answer = await ask();
      fakeStripe.gate = () => undefined;
      const isDelayed = card === "delayed";
      assert.deepEqual([answer.status, answer.sessionId], [isDelayed ? "processing" : "paid", sessionId]);
      assert.equal((await booksOf(sql, userId)).balance, isDelayed ? 0 : 10_000_000);
      assert.equal(fakeStripe.books.all("session").length, before, "no other session was made");
      if (!isDelayed) continue;
      assert.equal((await ask()).status, "processing");
      // The bank refuses after all: then, and only then, there is another page.
      fakeStripe.settle(sessionId, false);
      const next = await ask();
      assert.deepEqual([next.status, next.sessionId === sessionId], ["open", false]);
      assert.equal((await booksOf(sql, userId)).balance, 0);
    }
    assert.deepEqual(await moneyFaults(sql), []);
  }));

test("check 75: fifty repeats at once of a key whose page has expired are one new page", () =>
  withShop(async (shop) => {
    const { fakeStripe } = shop;
    const { ask, attempt } = await asking(shop);
    const { sessionId } = await ask();
    await outOfTime(shop, sessionId);
    const before = fakeStripe.books.all("session").length;
    const answers = await Promise.all(Array.from({ length: 50 }, attempt));
    const pages = new Set(answers.flatMap(({ status, body }) => (status === 200 ? [body["sessionId"]] : [])));
    assert.equal(pages.size, 1);
    assert.ok(!pages.has(sessionId));
    assert.equal(fakeStripe.books.all("session").length, before + 1);
    // Those that Stripe was busy with for another of them come again.
    assert.ok(
      answers.every(({ status }) => status === 200 || status === 503),
      answers.map(({ status }) => status).join(),
    );
    assert.deepEqual([(await ask()).sessionId], [...pages]);
  }));

test("check 75: while Stripe does not say that the old page is dead, there is no new one", () =>
  withShop(async (shop) => {
    const { fakeStripe } = shop;
    const { ask, attempt } = await asking(shop);
    const { sessionId } = await ask();
    await outOfTime(shop, sessionId);
    const before = fakeStripe.books.all("session").length;
    for (const at of [/GET .*sessions/, /POST .*expire/]) {
      fakeStripe.faults.push({ at, does: 500, times: 5 });
      const { status, body } = await attempt();
      assert.deepEqual([status, body["error"]], [503, "provider_unavailable"]);
      fakeStripe.faults.length = 0;
    }
    assert.equal(fakeStripe.books.all("session").length, before);
  }));
