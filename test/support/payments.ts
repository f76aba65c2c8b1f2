import { setTimeout as pause } from "node:timers/promises";
import assert from "node:assert/strict";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type Stripe from "stripe";
import { createStripe } from "../../supabase/functions/_shared/billing/stripe.ts";
import type { FakeStripe } from "./fake-stripe.ts";
import type { Payment } from "./fake-stripe/checkouts.ts";

export interface CheckoutMade {
  session: Stripe.Checkout.Session;
  requestId: string;
  /** The person pays; Stripe's events of it are among `events()`. */
  pay(payment?: Payment): void;
  /** Stripe's events of this checkout so far, oldest first. */
  events(): Stripe.Event[];
  event(type: string): Stripe.Event;
  /** Once there is one. */
  intentId(): string;
}

export interface CheckoutOptions {
  cents?: number;
  /** Of both, in cents; a card is saved then. */
  autoTopup?: { amount: number; threshold: number };
}

/** A checkout as `stripe-checkout` leaves it, at the fake and in our rows. */
export async function makeCheckout(
  { sql, fakeStripe }: { sql: Sql; fakeStripe: FakeStripe },
  userId: string,
  { cents = 1_000, autoTopup }: CheckoutOptions = {},
): Promise<CheckoutMade> {
  const stripe = await createStripe(fakeStripe.variables).client();
  assert.ok(stripe);
  const customer = await stripe.customers.create({ metadata: { userId } });
  await sql`
    insert into stripe_customers (user_id, customer_id) values (${userId}, ${customer.id}) on conflict (user_id) do nothing`;
  const [asked] = await sql<{ request_id: string }[]>`
    insert into checkout_sessions (user_id, amount_cents, success_url, cancel_url, auto_topup_amount_cents,
                                   auto_topup_threshold_cents, auto_topup_monthly_cap_cents)
    values (${userId}, ${cents}, 'https://app.darkroom.test/', 'https://app.darkroom.test/', ${autoTopup?.amount ?? null},
            ${autoTopup?.threshold ?? null}, ${autoTopup ? autoTopup.amount * 10 : null}) returning request_id`;
  const requestId = asked?.request_id ?? "";
  const metadata = { kind: "checkout", userId, requestId };
  const session = await stripe.checkout.sessions.create({
    mode: "payment",
    customer: customer.id,
    line_items: [
      { quantity: 1, price_data: { currency: "usd", unit_amount: cents, product_data: { name: "Credits" } } },
    ],
    success_url: "https://app.darkroom.test/",
    cancel_url: "https://app.darkroom.test/",
    metadata,
    payment_intent_data: { metadata, ...(autoTopup && { setup_future_usage: "off_session" }) },
  });
  await sql`
    update checkout_sessions set id = ${session.id}, url = ${session.url ?? ""}, expires_at = now() + interval '1 day'
     where request_id = ${requestId}`;

  const intentId = () => {
    const { payment_intent } = fakeStripe.books.find("session", session.id);
    assert.ok(typeof payment_intent === "string", "nobody has paid yet");
    return payment_intent;
  };
  const events = () => {
    const { payment_intent } = fakeStripe.books.find("session", session.id);
    return fakeStripe.events().filter(({ data }) => {
      const object = data.object as { id?: string; payment_intent?: string | null };
      return object.id === session.id || [object.id, object.payment_intent].includes(String(payment_intent));
    });
  };
  return {
    session,
    requestId,
    pay: (payment) => void fakeStripe.pay(session.id, payment),
    events,
    event(type) {
      const told = events().findLast((event) => event.type === type);
      assert.ok(
        told,
        `${type} is not among ${events()
          .map((event) => event.type)
          .join(", ")}`,
      );
      return told;
    },
    intentId,
  };
}

export interface Books {
  balance: number;
  debt: number;
  /** What was taken back or collected counts. */
  entries: number;
}

/** A user's account in micro-dollars. */
export async function booksOf(sql: Sql, userId: string): Promise<Books> {
  const [row] = await sql<Books[]>`
    select balance_microusd::float8 as balance, debt_microusd::float8 as debt,
           (select count(*)::int from credits_ledger where user_id = ${userId}) as entries
      from credit_accounts where user_id = ${userId}`;
  assert.ok(row);
  return { ...row };
}

/** What is wrong with payments or the ledger; nothing is as it must be. */
export async function moneyFaults(sql: Sql): Promise<string[]> {
  const rows = await sql<{ rule: string; row_id: string }[]>`
    select rule, row_id from find_payment_faults() union all select rule, row_id from find_ledger_faults()`;
  return rows.map(({ rule, row_id }) => `${rule} ${row_id}`);
}

/** Delivers until it is accepted, as Stripe does: in a long outage deliveries fail at once, until the next attempt to connect. */
export async function deliverUntilTaken(deliver: () => Promise<{ status: number }>): Promise<void> {
  const statuses: number[] = [];
  for (const deadline = Date.now() + 5_000; Date.now() < deadline; await pause(100)) {
    statuses.push((await deliver()).status);
    if (statuses.at(-1) === 200) break;
  }
  assert.equal(statuses.at(-1), 200, statuses.join());
}
