/** Check 24: whatever breaks while an event is handled, its next delivery comes to the same money. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../../supabase/functions/_shared/database/sql.ts";
import type Stripe from "stripe";
import {
  chargeAutoTopup,
  type ClaimedTopup,
} from "../../../supabase/functions/_shared/billing/charge-auto-topup.ts";
import { stripeClient } from "../../../supabase/functions/_shared/billing/stripe.ts";
import { connect, type Database } from "../../../supabase/functions/_shared/database/database.ts";
import { switchOnAutoTopup } from "../../support/auto-topups.ts";
import { type CutPlace, cuttingProxy } from "../../support/cutting-proxy.ts";
import { type Books, booksOf, deliverUntilTaken, makeCheckout, moneyFaults } from "../../support/payments.ts";
import { type Shop, type ShopAnswer, withShop } from "../../support/shop.ts";

/** An event that is about to be delivered for the first time, and whose account it moves. */
interface Pending {
  event: Stripe.Event;
  userId: string;
}

/** One of each way that an event takes through the handler. */
const scenarios: Record<string, (shop: Shop) => Promise<Pending>> = {
  async "a checkout whose card is kept"({ sql, fakeStripe, person }) {
    const { userId } = await person({ balanceMicrousd: 0 });
    const autoTopup = { amount: 2_000, threshold: 400 };
    const checkout = await makeCheckout({ sql, fakeStripe }, userId, { cents: 2_000, autoTopup });
    checkout.pay();
    return { userId, event: checkout.event("checkout.session.completed") };
  },
  async "an automatic top-up"({ sql, fakeStripe, environment, person }) {
    const { userId } = await person({ balanceMicrousd: 1_000_000 });
    await switchOnAutoTopup(sql, fakeStripe, userId);
    await sql`select request_auto_topup(${userId})`;
    const [row] = await sql<{ claimed: ClaimedTopup[] }[]>`select claim_auto_topups(1, ${userId}) as claimed`;
    const [request] = row?.claimed ?? [];
    assert.ok(request);
    const { intent } = await chargeAutoTopup(await stripeClient(environment.stripe), request);
    const event = fakeStripe
      .events("payment_intent.succeeded")
      .find(({ data }) => (data.object as { id: string }).id === intent?.id);
    assert.ok(event);
    return { userId, event };
  },
  async "a refund of what was spent already"(shop) {
    const one = await shop.purchase(1_000);
    one.pay();
    await shop.send(one.event("checkout.session.completed"));
    await shop.sql`select take_back_credit(${one.buyer.userId}, 'refund', 8000000, null)`;
    shop.fakeStripe.refund(one.intentId());
    return { userId: one.buyer.userId, event: one.event("charge.refunded") };
  },
  async "a dispute"(shop) {
    const one = await shop.purchase(1_000);
    one.pay();
    await shop.send(one.event("checkout.session.completed"));
    shop.fakeStripe.dispute(one.intentId(), 600);
    return { userId: one.buyer.userId, event: one.event("charge.dispute.created") };
  },
};

/** What an event has done to its account once it is handled: the same, however often it broke before. */
async function outcomeOf(sql: Sql, { event, userId }: Pending): Promise<Books> {
  const [stored] = await sql`
    select state, (select auto_topup_setup_completed from users where id = ${userId}) as has_card
      from stripe_events where id = ${event.id}`;
  return { ...stored, ...(await booksOf(sql, userId)) };
}

interface Breaking {
  shop: Shop;
  send(event: Stripe.Event): Promise<ShopAnswer>;
  /** Has the next delivery break at this statement. */
  arm(statement: number): Promise<void>;
  /** Whether it broke. */
  disarm(): Promise<boolean>;
}

/** Breaks a scenario's delivery at every statement, each time on a new purchase. Answers how many there are. */
async function breakEverywhere(scenario: string, { shop, send, arm, disarm }: Breaking): Promise<number> {
  const prepare = scenarios[scenario];
  assert.ok(prepare);
  const control = await prepare(shop);
  assert.equal((await send(control.event)).status, 200);
  const expected = await outcomeOf(shop.sql, control);
  for (let statement = 1; ; statement++) {
    const pending: Pending = await prepare(shop);
    const before = await booksOf(shop.sql, pending.userId);
    await arm(statement);
    const { status } = await send(pending.event);
    const hasBroken = await disarm();
    if (!hasBroken) {
      assert.equal(status, 200);
      assert.ok(statement > 1, "nothing was broken");
      return statement - 1;
    }
    const where = `${scenario}, statement ${statement}`;
    assert.equal(status, 503, where);
    // Done with its row, or neither.
    const [stored] = await shop.sql<{ state: string }[]>`
      select state from stripe_events where id = ${pending.event.id}`;
    const books = await booksOf(shop.sql, pending.userId);
    const isDone = stored?.state === "handled";
    const { balance, debt, entries } = expected;
    assert.deepEqual(books, isDone ? { balance, debt, entries } : before, where);
    assert.deepEqual(await moneyFaults(shop.sql), [], where);
    for (let delivery = 0; delivery < 2; delivery++) {
      await deliverUntilTaken(() => send(pending.event));
      assert.deepEqual(await outcomeOf(shop.sql, pending), expected, where);
    }
  }
}

/** Has the backend that comes to a certain write die right after it. */
async function armBackends(sql: Sql): Promise<Pick<Breaking, "arm" | "disarm">> {
  await sql.query(`
    create schema dying;
    create table dying.wanted (statement bigint);
    insert into dying.wanted values (null);
    create sequence dying.statements;
    create function dying.count() returns trigger language plpgsql security definer as $$
    begin
      if nextval('dying.statements') = (select statement from dying.wanted) then
        perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(10); -- dies here
      end if;
      return null;
    end $$;
    do $$ declare named regclass; begin
      for named in select format('%I.%I', schemaname, tablename) from pg_tables
                    where schemaname = 'public' or (schemaname, tablename) = ('realtime', 'messages')
      loop
        execute format('create trigger zz_dying after insert or update or delete on %s
                        for each statement execute function dying.count()', named);
      end loop;
    end $$;`);
  return {
    async arm(statement) {
      await sql`select setval('dying.statements', 1, false)`;
      await sql`update dying.wanted set statement = ${statement}`;
    },
    async disarm() {
      const [row] = await sql<{ has_come: boolean }[]>`
        select is_called and last_value >= statement as has_come from dying.statements, dying.wanted`;
      await sql`update dying.wanted set statement = null`;
      return row?.has_come ?? false;
    },
  };
}

async function over<Result>(url: string, work: (database: Database) => Promise<Result>): Promise<Result> {
  const database = connect({ url, connections: 1 });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

test("check 24: a backend that dies after any statement of the handler; redelivered, one credit, and no event done without it", (context) =>
  withShop(async (shop) => {
    const backends = await armBackends(shop.sql);
    let deaths = 0;
    for (const scenario of Object.keys(scenarios)) {
      const count = await over(shop.databaseUrl, (database) =>
        breakEverywhere(scenario, { shop, send: shop.sendOver(database), ...backends }),
      );
      // The event twice, the payment and the ledger at least.
      assert.ok(count >= 5, `${scenario} has ${count} statements`);
      deaths += count;
    }
    context.diagnostic(`${deaths} deaths, one after each write of ${Object.keys(scenarios).length} events`);
  }));

test("check 24: a connection that ends before any call, or after COMMIT was sent and before its answer", (context) =>
  withShop(async (shop) => {
    const proxy = await cuttingProxy(shop.databaseUrl);
    let cuts = 0;
    try {
      for (const scenario of Object.keys(scenarios)) {
        for (const place of ["before", "after"] satisfies CutPlace[]) {
          const breaking = {
            arm: async (statement: number) => proxy.cutAt(statement, place),
            disarm: async () => proxy.disarm(),
          };
          cuts += await over(proxy.url, (database) =>
            breakEverywhere(scenario, { shop, send: shop.sendOver(database), ...breaking }),
          );
        }
      }
    } finally {
      await proxy.close();
    }
    context.diagnostic(`${cuts} connections cut, before each statement and before each answer`);
  }));
