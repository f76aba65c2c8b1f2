/** Check 25: a database that is down loses no payment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type CuttingProxy, cuttingProxy } from "../../support/cutting-proxy.ts";
import { createUser } from "../../support/factories.ts";
import { startNodeHost, startSecondHost } from "../../support/hosts.ts";
import { booksOf, deliverUntilTaken, makeCheckout, moneyFaults } from "../../support/payments.ts";

test("check 25: while the database is down every delivery is 503; after it, what is delivered again is credited", async (context) => {
  const first = await startNodeHost();
  let proxy: CuttingProxy | undefined;
  try {
    proxy = await cuttingProxy(first.databaseUrl);
    const opened = proxy;
    first.atEnd(() => opened.close());
    const host = await startSecondHost({ ...first, databaseUrl: proxy.url });
    const { sql, fakeStripe } = first;
    const url = `${host.apiUrl}/functions/v1/stripe-webhook`;
    const purchases = await Promise.all(
      Array.from({ length: 12 }, async (_, at) => {
        const { userId } = await createUser(sql, 0);
        const checkout = await makeCheckout(first, userId, { cents: 1_000 + at });
        checkout.pay();
        return { userId, cents: 1_000 + at, event: checkout.event("checkout.session.completed") };
      }),
    );
    await proxy.down();
    for (let delivery = 0; delivery < 2; delivery++) {
      const answers = await Promise.all(purchases.map(({ event }) => fakeStripe.deliver(event, url)));
      for (const answer of answers) {
        assert.equal(answer.status, 503);
        assert.ok(Number(answer.headers.get("retry-after")) > 0);
        const { error } = (await answer.json()) as { error: string };
        assert.equal(error, "database_unavailable");
      }
    }
    assert.equal((await sql`select from stripe_events`).length, 0);
    assert.equal((await sql`select from payments`).length, 0);

    await proxy.up();
    for (const { userId, cents, event } of purchases) {
      await deliverUntilTaken(() => fakeStripe.deliver(event, url));
      assert.deepEqual(await booksOf(sql, userId), { balance: cents * 10_000, debt: 0, entries: 1 });
    }
    assert.deepEqual(await moneyFaults(sql), []);
    context.diagnostic(
      `${2 * purchases.length} deliveries to a database that was down: all 503; then ${purchases.length} credits`,
    );
  } finally {
    await first.stop();
  }
});
