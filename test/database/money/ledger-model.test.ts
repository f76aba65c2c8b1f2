/** Check 4: whatever happens to an account, in whatever order and at once, it is as the written rules say. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { type DatabaseUnderTest, type Session, withDatabase } from "../../support/database.ts";
import { type AccountState, type Answer, LedgerModel, type Step } from "../../support/ledger-model.ts";
import { createPlayer, type Entry, type Played, type Report } from "../../support/ledger-player.ts";

// More than usual, with other seeds: DARKROOM_CHECK_RUNS=200000 DARKROOM_CHECK_SEED=7
const runs = Number(process.env["DARKROOM_CHECK_RUNS"] ?? 10_000);
const histories = Math.ceil(runs / 10);
const seed = Number(process.env["DARKROOM_CHECK_SEED"] ?? 4);

// ---- What can happen. Small amounts, so that they often are equal. Numbers name one of those that there are.

const amount = fc.integer({ min: 1, max: 40 });
const index = fc.nat(100);
const buy = fc.record({ does: fc.constant("buy" as const), amount });
const grant = fc.record({
  does: fc.constant("grant" as const),
  amount,
  hours: fc.constantFrom(null, 1, 1, 2, 3),
});
const hold = fc.record({ does: fc.constant("hold" as const), amount: fc.integer({ min: 0, max: 30 }) });
const onHold = fc.record({
  does: fc.constantFrom(
    "settle" as const,
    "settle" as const,
    "release" as const,
    "extend" as const,
    "retry" as const,
  ),
  of: index,
  amount: fc.integer({ min: 0, max: 50 }),
});
const onPayment = fc.record({
  does: fc.constantFrom("refund" as const, "dispute" as const, "win" as const, "lose" as const),
  of: index,
  amount,
});
const onTime = fc.record({ does: fc.constantFrom("pass" as const, "pass" as const, "sweep" as const) });
const wish = fc.oneof(
  { weight: 3, arbitrary: buy },
  { weight: 4, arbitrary: grant },
  { weight: 6, arbitrary: hold },
  { weight: 7, arbitrary: onHold },
  { weight: 4, arbitrary: onPayment },
  { weight: 4, arbitrary: onTime },
);
type Wish = typeof wish extends fc.Arbitrary<infer W> ? W : never;

/** Makes steps of wishes: what there is to hold, to close, to pay back. */
class Scene {
  readonly steps: Step[] = [];
  holdCount = 0;
  /** Of each payment, what it is still worth; and what is disputed of it. */
  readonly #payments: { worth: number; disputed: number }[] = [];
  /** Holds that a retry may open again, once. */
  readonly #retried = new Set<number>();

  constructor(readonly model: LedgerModel) {}

  /** The step that was wished for, if there is one. A step of a history that is yet to come is not in the model. */
  add(wished: Wish): Step | undefined {
    const step = this.#stepOf(wished);
    if (step) this.steps.push(step);
    return step;
  }

  #stepOf(wished: Wish): Step | undefined {
    switch (wished.does) {
      case "buy":
        this.#payments.push({ worth: wished.amount, disputed: 0 });
        return { op: "buy", payment: this.#payments.length - 1, amount: wished.amount };
      case "grant":
        return { op: "grant", amount: wished.amount, hours: wished.hours };
      case "hold":
        return { op: "hold", hold: this.holdCount++, amount: wished.amount };
      case "settle":
      case "release":
      case "extend":
      case "retry":
        return this.holdCount === 0
          ? undefined
          : this.#onHold(wished.does, wished.of % this.holdCount, wished.amount);
      case "refund":
      case "dispute":
      case "win":
      case "lose":
        return this.#payments.length === 0
          ? undefined
          : this.#onPayment(wished.does, wished.of % this.#payments.length, wished.amount);
      case "pass":
      case "sweep":
        return { op: wished.does };
    }
  }

  #onHold(does: "settle" | "release" | "extend" | "retry", number: number, of: number): Step | undefined {
    if (does === "settle") return { op: "settle", hold: number, cost: of };
    if (does === "release") return { op: "release", hold: number };
    if (does === "extend") return { op: "extend", hold: number, amount: of };
    // As retry_task() has it: what was charged or written off is not held again.
    const known = this.model.holdOf(number);
    if (known?.state !== "released" || known.writtenOff > 0 || this.#retried.has(number)) return undefined;
    this.#retried.add(number);
    return { op: "hold", hold: number, amount: of };
  }

  #onPayment(does: "refund" | "dispute" | "win" | "lose", number: number, of: number): Step | undefined {
    const payment = this.#payments[number];
    assert.ok(payment);
    if (does === "refund" || does === "dispute") {
      const taken = does === "dispute" ? payment.worth : Math.min(of, payment.worth);
      if (taken === 0) return undefined;
      payment.worth -= taken;
      if (does === "dispute") payment.disputed = taken;
      return { op: does, payment: number, amount: taken };
    }
    const { disputed } = payment;
    payment.disputed = 0;
    if (does === "lose" || disputed === 0) return undefined;
    payment.worth += disputed;
    return { op: "win", payment: number, amount: disputed };
  }
}

async function playAll(on: Session, userId: string, steps: readonly Step[]): Promise<Played[]> {
  const { rows } = await on.query<{ played: Played[] }>("select play_all($1, $2::jsonb) as played", [
    userId,
    steps,
  ]);
  return rows[0]?.played ?? [];
}

async function reportOf(on: Session, userId: string, holdCount: number): Promise<Report> {
  const { rows } = await on.query<{ report: Report }>("select report($1, $2) as report", [userId, holdCount]);
  assert.ok(rows[0]);
  return rows[0].report;
}

/** Plays the journal from its first entry: every line balanced, every balance as it says; what comes out is what is stored. */
function assertReplay({ state, entries }: Report): void {
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

test(`check 4: ${runs} sequences of all that happens to an account leave it as the written rules say`, (context) =>
  withDatabase(async (database) => {
    await createPlayer(database.sql);
    const counts = new Map<string, number>();
    const half = (part: number, on: Session) =>
      fc.assert(
        fc.asyncProperty(fc.array(wish, { minLength: 2, maxLength: 14, size: "max" }), async (wishes) => {
          const model = new LedgerModel();
          const scene = new Scene(model);
          const expected: Played[] = [];
          for (const wished of wishes) {
            const step = scene.add(wished);
            if (!step) continue;
            const answer = model.apply(step);
            expected.push({ answer, balance: model.balance, held: model.held, debt: model.debt });
            const key = typeof answer === "string" && answer !== "done" ? answer : step.op;
            counts.set(key, (counts.get(key) ?? 0) + 1);
          }
          const userId = randomUUID();
          assert.deepEqual(await playAll(on, userId, scene.steps), expected);
          const report = await reportOf(on, userId, scene.holdCount);
          assert.deepEqual(report.state, model.state());
          assertReplay(report);
        }),
        { seed: seed + part, numRuns: Math.ceil(runs / 2) },
      );
    await Promise.all([half(0, await database.session()), half(1, await database.session())]);
    await assertBooks(database);
    context.diagnostic(
      `seed ${seed}, ${runs} sequences: ${[...counts].map(([name, count]) => `${count} ${name}`).join(", ")}`,
    );
  }));

async function assertBooks({ sql }: DatabaseUnderTest): Promise<void> {
  assert.deepEqual([...(await sql`select rule, row_id from find_ledger_faults()`)], []);
  const [books] = await sql`
    select coalesce(sum(amount_microusd + revenue_microusd + purchases_microusd + grants_microusd + write_off_microusd
                        + debt_microusd), 0)::int as sum from credits_ledger`;
  assert.equal(books?.["sum"], 0);
}

/** A call of a concurrent history, with the moments of its begin and its answer. */
interface Call {
  step: Step;
  begun: number;
  ended: number;
  answer: Answer;
}

/** Whether some order of the calls, in which none comes before one that had ended when it began, has these answers and this end. */
function fits(model: LedgerModel, calls: readonly Call[], end: AccountState): boolean {
  if (calls.length === 0) return isSame(model.state(), end);
  const firstEnd = Math.min(...calls.map(({ ended }) => ended));
  return calls.some((call, at) => {
    if (call.begun > firstEnd) return false;
    const next = model.clone();
    return next.apply(call.step) === call.answer && fits(next, calls.toSpliced(at, 1), end);
  });
}

function isSame(one: AccountState, other: AccountState): boolean {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

test(`check 4: ${histories} histories of three clients at once are what one after the other could have made`, (context) =>
  withDatabase(async (database) => {
    await createPlayer(database.sql);
    const [gate, ...clients] = await Promise.all(Array.from({ length: 4 }, () => database.session()));
    assert.ok(gate);
    let calls = 0;
    let outOfTurn = 0;
    const history = fc.record({
      before: fc.array(wish, { minLength: 2, maxLength: 8, size: "max" }),
      // The first of each client meet; the others come when they come.
      atOnce: fc.array(wish, { minLength: 6, maxLength: 6, size: "max" }),
    });
    await fc.assert(
      fc.asyncProperty(history, async ({ before, atOnce }) => {
        const model = new LedgerModel();
        const scene = new Scene(model);
        for (const wished of [{ does: "buy", amount: 40 } as const, ...before]) {
          const step = scene.add(wished);
          if (step) model.apply(step);
        }
        const userId = randomUUID();
        await playAll(gate, userId, scene.steps);
        const steps = atOnce.flatMap((wished) => scene.add(wished) ?? []);
        let moment = 0;
        const made: Call[] = [];
        await gate.query("begin");
        await gate.query("select from credit_accounts where user_id = $1 for update", [userId]);
        const playing = clients.map(async (client, number) => {
          for (const step of steps.filter((_, at) => at % clients.length === number)) {
            const begun = ++moment;
            const { rows } = await client.query<{ answer: Answer }>("select play($1, $2::jsonb) as answer", [
              userId,
              step,
            ]);
            made.push({ step, begun, ended: ++moment, answer: rows[0]?.answer ?? "" });
          }
        });
        await gate.query("commit");
        await Promise.all(playing);
        const report = await reportOf(gate, userId, scene.holdCount);
        assertReplay(report);
        assert.ok(
          fits(model, made, report.state),
          `no order of ${JSON.stringify(made)} makes ${JSON.stringify(report.state)} of ${JSON.stringify(model.state())}`,
        );
        calls += made.length;
        if (made.some(({ ended }, at) => made.slice(at + 1).some((later) => later.begun < ended)))
          outOfTurn++;
      }),
      // What met by chance may not meet again: the first failure is the one to read.
      { seed, numRuns: histories, endOnFailure: true },
    );
    await assertBooks(database);
    context.diagnostic(
      `seed ${seed}, ${histories} histories, ${calls} calls, ${outOfTurn} with calls at the same time`,
    );
  }));
