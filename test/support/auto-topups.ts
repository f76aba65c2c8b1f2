import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { CardBehaviour } from "./fake-stripe/books.ts";
import type { FakeStripe } from "./fake-stripe.ts";

export interface SavedCard {
  customerId: string;
  cardId: string;
}

export interface TopupSettings {
  behaviour?: CardBehaviour;
  amountCents?: number;
  thresholdCents?: number;
  monthlyCapCents?: number;
}

/** Gives somebody a saved card and automatic top-ups, as a paid checkout leaves them: $20 at $5, $200 a month. */
export async function switchOnAutoTopup(
  sql: Sql,
  fake: FakeStripe,
  userId: string,
  { behaviour, amountCents = 2000, thresholdCents = 500, monthlyCapCents = 20_000 }: TopupSettings = {},
): Promise<SavedCard> {
  const { customer, card } = fake.customerWithCard(behaviour);
  await sql`select save_payment_method(${userId}, ${customer.id}, ${card.id})`;
  await sql`
    update users set auto_topup_enabled = true, auto_topup_amount = ${amountCents},
           auto_topup_threshold = ${thresholdCents}, auto_topup_monthly_cap = ${monthlyCapCents}
     where id = ${userId}`;
  return { customerId: customer.id, cardId: card.id };
}

/** Spends until this is left, in micro-dollars. */
export async function spendDownTo(sql: Sql, userId: string, leftMicrousd: number): Promise<void> {
  await sql`
    select take_back_credit(${userId}, 'refund', balance_microusd - ${leftMicrousd}, null)
      from credit_accounts where user_id = ${userId}`;
}

/** An hour later, for this user's top-ups. */
export async function passAnHour(sql: Sql, userId: string): Promise<void> {
  await sql`
    update users set auto_topup_last_triggered = auto_topup_last_triggered - interval '1 hour'
     where id = ${userId}`;
}

export interface TopupRow {
  id: string;
  state: string;
  attempts: number;
  reason: string | null;
  amount_cents: number;
  payment_intent_id: string | null;
  next_attempt_at: Date | null;
}

/** Somebody's requests, oldest first. */
export async function topupsOf(sql: Sql, userId: string): Promise<TopupRow[]> {
  const rows = await sql<TopupRow[]>`
    select id, state, attempts, reason, amount_cents, payment_intent_id, next_attempt_at
      from auto_topup_requests where user_id = ${userId} order by created_at, id`;
  return rows.map((row) => ({ ...row }));
}

/** Makes what waits for another attempt due now. */
export async function makeDue(sql: Sql, userId: string): Promise<void> {
  await sql`
    update auto_topup_requests set next_attempt_at = now() where user_id = ${userId} and state = 'requested'`;
}

export interface TopupEvent {
  status: string;
  reason: string | null;
  amount: number | null;
}

/** What this person's browsers were told of automatic top-ups, in order. */
export async function topupEventsOf(sql: Sql, userId: string): Promise<TopupEvent[]> {
  const rows = await sql<{ payload: TopupEvent }[]>`
    select payload from realtime.messages
     where topic = ${`credits:${userId}`} and event = 'auto_topup' order by inserted_at`;
  return rows.map(({ payload: { status, reason, amount } }) => ({ status, reason, amount }));
}
