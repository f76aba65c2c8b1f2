/** Check 12, the payments' half: every amount that can be paid is asked for, paid and credited exactly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { factsOfIntent } from "../../../supabase/functions/_shared/billing/payment-facts.ts";
import { bind } from "../../../supabase/functions/_shared/http/bind.ts";
import { stripeCheckoutEndpoint } from "../../../supabase/functions/stripe-checkout/endpoint.ts";
import { startEnvironment } from "../../support/environment.ts";
import { startFakeStripe } from "../../support/fake-stripe.ts";

const atOnce = 16;

test("check 12: all 9,501 cent amounts from $5.00 to $100.00 are asked for, paid and credited exactly", async (context) => {
  const fake = await startFakeStripe();
  const under = await startEnvironment({
    billing: { ...fake.variables, FRONTEND_URL: "https://app.darkroom.test" },
  });
  try {
    const unlimited = {
      ...stripeCheckoutEndpoint,
      contract: { ...stripeCheckoutEndpoint.contract, requestsPerMinute: 1_000_000 },
    };
    const handle = bind(unlimited, under.environment);
    // Nobody buys a hundred times a minute; 96 people do it between them.
    const people = await Promise.all(Array.from({ length: 96 }, () => under.person()));
    const amounts = Array.from({ length: 9_501 }, (_, index) => 500 + index);
    let paidCents = 0;

    // The amount as a person types it: a decimal of two places, not a product of floats.
    async function payFor(cents: number): Promise<void> {
      const dollars = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
      const response = await handle(
        new Request("http://darkroom.test/functions/v1/stripe-checkout", {
          method: "POST",
          headers: { ...people[cents % 96]?.session, "content-type": "application/json" },
          body: `{"amount":${dollars}}`,
        }),
      );
      const { sessionId } = (await response.json()) as { sessionId: string };
      assert.equal(response.status, 200, dollars);
      const { payment_intent } = fake.pay(sessionId);
      assert.equal(fake.books.find("payment_intent", String(payment_intent)).amount_received, cents, dollars);
      paidCents += cents;
    }

    const queue = amounts.values();
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (const cents of queue) await payFor(cents);
      }),
    );
    const [noted] = await under.sql`
      select count(distinct session.amount_cents)::int as amounts, sum(session.amount_cents)::int as cents,
             count(*) filter (where session.id is null)::int as unknown
        from checkout_sessions as session`;
    assert.deepEqual({ ...noted }, { amounts: 9_501, cents: paidCents, unknown: 0 });
    assert.equal(paidCents, ((500 + 10_000) * 9_501) / 2);

    const facts = fake.books.all("payment_intent").map(factsOfIntent);
    await under.sql`
      select count(record_payment(told, now())) from jsonb_array_elements(${under.sql.json(facts as never)}) as told`;
    const [credited] = await under.sql`
      select count(*)::int as payments, count(distinct payment.amount_cents)::int as amounts,
             sum(entry.amount_microusd)::float8 as microusd,
             count(*) filter (where entry.amount_microusd <> payment.amount_cents * 10000)::int as wrong
        from payments as payment left join credits_ledger as entry on entry.payment_id = payment.id`;
    assert.deepEqual(
      { ...credited },
      { payments: 9_501, amounts: 9_501, microusd: paidCents * 10_000, wrong: 0 },
    );
    context.diagnostic(`9,501 amounts, ${paidCents} cents asked for, paid and credited`);
  } finally {
    await Promise.all([under.close(), fake.close()]);
  }
});
