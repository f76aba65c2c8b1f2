import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { LedgerModel, Step } from "./ledger-model.ts";

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
export const wish = fc.oneof(
  { weight: 3, arbitrary: buy },
  { weight: 4, arbitrary: grant },
  { weight: 6, arbitrary: hold },
  { weight: 7, arbitrary: onHold },
  { weight: 4, arbitrary: onPayment },
  { weight: 4, arbitrary: onTime },
);
export type Wish = typeof wish extends fc.Arbitrary<infer W> ? W : never;

/** Makes steps of wishes: what there is to hold, to close, to pay back. */
export class Scene {
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
