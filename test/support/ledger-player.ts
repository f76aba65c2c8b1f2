import assert from "node:assert/strict";
import { json, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { Session } from "./database.ts";
import type { AccountState, Answer, Step } from "./ledger-model.ts";

/** After a step: what a look at the account would show if what is over had been ended. */
export interface Played {
  answer: Answer;
  balance: number;
  held: number;
  debt: number;
}

export interface Entry {
  type: string;
  amount: number;
  /** All sides of the entry; 0 when it is balanced. */
  sum: number;
  debt: number;
  balanceAfter: number;
  /** The grant that it made, by number. */
  made: number | null;
  /** What it took from which grant, by number. */
  draws: [lot: number, amount: number][];
}

/** An account as its tables have it, after what is over has been ended, and the journal that led there. */
export interface Report {
  state: AccountState;
  entries: Entry[];
}

/**
 * Functions of a test's own database that do steps of the model by the functions of the product. An hour passes by
 * setting back the times in the rows. `play_all` does a sequence in one call; `play` one step in a transaction of its own.
 */
export async function createPlayer(sql: Sql): Promise<void> {
  await sql.query(`
    create function play(for_user uuid, step jsonb) returns jsonb language plpgsql as $$
    declare
      amount constant bigint := (step ->> 'amount')::bigint;
      payment constant uuid := md5(for_user || ' payment ' || (step ->> 'payment'))::uuid;
      task constant uuid := md5(for_user || ' task ' || (step ->> 'hold'))::uuid;
    begin
      case step ->> 'op'
        when 'buy' then
          perform add_credit(for_user, 'stripe', amount, null, '{}', payment);
        when 'grant' then
          -- By the account's time: grants of one hour end at one moment, whichever of two transactions began first.
          perform add_credit(for_user, 'manual', amount,
                             expires_at => (select created_at from credit_accounts where user_id = for_user)
                                           + make_interval(hours => (step ->> 'hours')::int, mins => -30));
        when 'hold' then
          perform open_hold(for_user, task, amount, null);
        when 'extend' then
          perform extend_hold(task, amount);
        when 'settle' then
          return close_hold(task, (step ->> 'cost')::bigint);
        when 'release' then
          return close_hold(task, 0);
        when 'refund' then
          perform take_back_credit(for_user, 'refund', amount, null, '{}', payment);
        when 'dispute' then
          perform take_back_credit(for_user, 'dispute', amount, null, '{}', payment);
        when 'win' then
          perform add_credit(for_user, 'dispute', amount, null, '{}', payment);
        when 'pass' then
          update credit_accounts set next_expiry_at = next_expiry_at - interval '1 hour' where user_id = for_user;
          update credit_grants set expires_at = expires_at - interval '1 hour'
           where user_id = for_user and expires_at is not null;
        when 'sweep' then
          perform expire_due_grants();
      end case;
      return '"done"';
    exception when sqlstate 'PT402' then
      return to_jsonb(sqlerrm);
    end $$;

    create function play_all(for_user uuid, steps jsonb) returns jsonb language plpgsql as $$
    declare
      step jsonb;
      answer jsonb;
      played jsonb := '[]';
    begin
      perform open_credit_account(for_user);
      for step in select value from jsonb_array_elements(steps) loop
        answer := play(for_user, step);
        played := played || (
          select jsonb_build_object(
              'answer', answer, 'held', held_microusd, 'debt', debt_microusd, 'balance', balance_microusd - greatest(
                coalesce((select sum(remaining_microusd) from credit_grants
                           where user_id = for_user and is_open and expires_at <= now()), 0) - held_microusd, 0))
            from credit_accounts where user_id = for_user);
      end loop;
      return played;
    end $$;

    create function report(for_user uuid, hold_count int) returns jsonb language plpgsql as $$
    begin
      perform expire_grants(for_user);
      return (
        with lot as (
          select id, entry_id, remaining_microusd, row_number() over (order by id) - 1 as number
            from credit_grants where user_id = for_user
        ), hold as (
          select number, reserved.* from generate_series(0, hold_count - 1) as number
            join credit_holds as reserved on task_id = md5(for_user || ' task ' || number)::uuid
        ), entry as (select * from credits_ledger where user_id = for_user)
        select jsonb_build_object(
          'state', jsonb_build_object(
            'balance', balance_microusd, 'held', held_microusd, 'debt', debt_microusd,
            'lots', (select coalesce(jsonb_agg(remaining_microusd order by number), '[]') from lot),
            'holds', (select coalesce(jsonb_object_agg(number, jsonb_build_object(
                'amount', amount_microusd, 'state', state, 'charged', charged_microusd,
                'writtenOff', written_off_microusd)), '{}') from hold),
            'revenue', (select coalesce(sum(revenue_microusd), 0) from entry),
            'purchases', (select coalesce(sum(purchases_microusd), 0) from entry),
            'grants', (select coalesce(sum(grants_microusd), 0) from entry),
            'writeOff', (select coalesce(sum(write_off_microusd), 0) from entry)),
          'entries', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'type', type, 'amount', amount_microusd, 'debt', debt_microusd, 'balanceAfter', balance_after_microusd,
                'sum', amount_microusd + revenue_microusd + purchases_microusd + grants_microusd + write_off_microusd
                       + debt_microusd,
                'made', (select number from lot where entry_id = entry.id),
                'draws', (select coalesce(jsonb_agg(jsonb_build_array(number, draw.amount_microusd)), '[]')
                            from credit_grant_draws as draw join lot on lot.id = grant_id where draw.entry_id = entry.id))
                order by sequence), '[]') from entry))
          from credit_accounts where user_id = for_user);
    end $$`);
}

export async function playAll(on: Session, userId: string, steps: readonly Step[]): Promise<Played[]> {
  const { rows } = await on.query<{ played: Played[] }>("select play_all($1, $2::jsonb) as played", [
    userId,
    json(steps),
  ]);
  return rows[0]?.played ?? [];
}

export async function reportOf(on: Session, userId: string, holdCount: number): Promise<Report> {
  const { rows } = await on.query<{ report: Report }>("select report($1, $2) as report", [userId, holdCount]);
  assert.ok(rows[0]);
  return rows[0].report;
}

/** Plays the journal from its first entry: every line balanced, every balance as it says; what comes out is what is stored. */
export function assertReplay({ state, entries }: Report): void {
  const lots: number[] = [];
  let balance = 0;
  let debt = 0;
  const take = ({ draws, made, amount: moved }: Entry) => {
    if (made !== null) lots[made] = moved;
    for (const [lot, drawn] of draws) lots[lot] = (lots[lot] ?? 0) - drawn;
  };
  for (const entry of entries) {
    assert.equal(entry.sum, 0, "an entry is balanced");
    balance += entry.amount;
    debt -= entry.debt;
    take(entry);
    assert.ok(balance >= 0 && debt >= 0 && lots.every((left) => left >= 0));
    assert.equal(entry.balanceAfter, balance);
  }
  assert.deepEqual({ balance, debt, lots }, { balance: state.balance, debt: state.debt, lots: state.lots });
  const { revenue, purchases, grants, writeOff } = state;
  assert.equal(
    balance + revenue + purchases + grants + writeOff - debt,
    0,
    "all accounts together are nothing",
  );
  const open = Object.values(state.holds).filter((known) => known.state === "held");
  assert.equal(
    state.held,
    open.reduce((sum, { amount: held }) => sum + held, 0),
  );
  assert.ok(state.balance >= state.held);
}

/** The same of all accounts, and what the doctor says of them. */
export async function assertBooks(sql: Sql): Promise<void> {
  assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
  const [books] = await sql`
    select coalesce(sum(amount_microusd + revenue_microusd + purchases_microusd + grants_microusd + write_off_microusd
                        + debt_microusd), 0)::int as sum from credits_ledger`;
  assert.equal(books?.["sum"], 0);
}
