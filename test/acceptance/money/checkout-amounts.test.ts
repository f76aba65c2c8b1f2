/** Check 12, the payments' half: every amount that can be paid is asked for, paid and credited exactly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { centsOf } from "../../../supabase/functions/_shared/billing/dollars.ts";
import { bind } from "../../../supabase/functions/_shared/http/bind.ts";
import { stripeCheckoutEndpoint } from "../../../supabase/functions/stripe-checkout/endpoint.ts";
import { startEnvironment } from "../../support/environment.ts";
import { startFakeStripe } from "../../support/fake-stripe.ts";
import { factsOfIntent } from "../../support/payment-facts.ts";

const atOnce = 16;

test("check 12: all 9,501 cent amounts from $5.00 to $100.00 are asked for, paid and credited exactly", async (context) => {
  const fake = await startFakeStripe();
  const under = await startEnvironment({
    billing: { ...fake.variables, FRONTEND_URL: "https://app.darkroom.test" },
  });
  try {
    const { contract, run } = stripeCheckoutEndpoint;
    const handle = bind({ contract: { ...contract, requestsPerMinute: 1_000_000 }, run }, under.environment);
    const people = await Promise.all(Array.from({ length: 40 }, () => under.person()));
    const amounts = Array.from({ length: 9_501 }, (_, index) => 500 + index);
    // The amount as a person types it: a decimal of two places, not a product of floats.
    const typed = (cents: number) => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;

    // Each as the endpoint reads it; one in twenty by the endpoint and Stripe, the others as those would have noted them.
    const asked = new Map<number, number>();
    for (const cents of amounts) {
      const { amount } = contract.body.parse(JSON.parse(`{"amount":${typed(cents)}}`)) as { amount: number };
      asked.set(cents, centsOf(amount) ?? -1);
    }
    assert.deepEqual([...asked.values()], amounts);

    async function payFor(cents: number): Promise<void> {
      const response = await handle(
        new Request("http://darkroom.test/functions/v1/stripe-checkout", {
          method: "POST",
          headers: { ...people[cents % people.length]?.session, "content-type": "application/json" },
          body: `{"amount":${typed(cents)}}`,
        }),
      );
      const { sessionId } = (await response.json()) as { sessionId: string };
      assert.equal(response.status, 200, typed(cents));
      const { payment_intent } = fake.pay(sessionId);
      assert.equal(
        fake.books.find("payment_intent", String(payment_intent)).amount_received,
        cents,
        typed(cents),
      );
    }
    const sample = amounts.filter((cents) => cents % 20 === 19).values();
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (const cents of sample) await payFor(cents);
      }),
    );
    const facts = fake.books.all("payment_intent").map(factsOfIntent);
    const rest = amounts.filter((cents) => cents % 20 !== 19);
    for (const [index, { userId }] of people.entries()) {
      const theirs = rest.filter((_, place) => place % people.length === index);
      await under.sql`
        with noted as (
          insert into checkout_sessions (user_id, amount_cents, success_url, cancel_url)
          select ${userId}, cents, 'https://app.darkroom.test', 'https://app.darkroom.test'
            from unnest(${theirs.map((cents) => asked.get(cents) ?? 0)}::int[]) as cents
          returning *
        )
        select count(record_payment(jsonb_build_object(
                 'payment_intent_id', 'pi_of_' || amount_cents, 'payment', jsonb_build_object(
                   'state', 'paid', 'amount_cents', amount_cents, 'currency', 'usd', 'user_id', user_id,
                   'purpose', 'checkout', 'request_id', request_id)), now()))
          from noted`;
    }
    await under.sql`
      select count(record_payment(told, now())) from jsonb_array_elements(${under.sql.json(facts as never)}) as told`;
    const paidCents = amounts.reduce((sum, cents) => sum + cents, 0);
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
