/**
 * One account by the written rules (docs/credits.md), in which credit expires the moment its time is over, without
 * locks, chains or lateness. The property test compares the database with it.
 */

/** One thing that happens to an account. Payments and holds are named by number; amounts are in micro-dollars. */
export type Step =
  | { op: "buy"; payment: number; amount: number }
  | { op: "grant"; amount: number; hours: number | null }
  | { op: "hold"; hold: number; amount: number }
  | { op: "extend"; hold: number; amount: number }
  | { op: "settle"; hold: number; cost: number }
  | { op: "release"; hold: number }
  | { op: "refund" | "dispute" | "win"; payment: number; amount: number }
  /** An hour passes. */
  | { op: "pass" }
  /** Somebody looks for what has expired. */
  | { op: "sweep" };

/** What a call answered: the refusal's code, what it charged, or `done`. */
export type Answer = string | number;

interface Lot {
  isPaid: boolean;
  payment: number | null;
  remaining: number;
  /** The hour in which it ends. */
  expires: number;
}

export interface Hold {
  amount: number;
  state: "held" | "settled" | "released";
  charged: number;
  writtenOff: number;
}

/** What is compared at the end. Others' sides are sums over all entries. */
export interface AccountState {
  balance: number;
  held: number;
  debt: number;
  /** What is left of each grant, the oldest first. */
  lots: number[];
  holds: Record<string, Hold>;
  revenue: number;
  purchases: number;
  grants: number;
  writeOff: number;
}

export class LedgerModel {
  #hour = 0;
  #debt = 0;
  #lots: Lot[] = [];
  #holds = new Map<number, Hold>();
  #books = { revenue: 0, purchases: 0, grants: 0, writeOff: 0 };

  clone(): LedgerModel {
    const copy = new LedgerModel();
    copy.#hour = this.#hour;
    copy.#debt = this.#debt;
    copy.#lots = this.#lots.map((lot) => ({ ...lot }));
    copy.#holds = new Map([...this.#holds].map(([number, hold]) => [number, { ...hold }]));
    copy.#books = { ...this.#books };
    return copy;
  }

  get balance(): number {
    return this.#lots.reduce((sum, { remaining }) => sum + remaining, 0);
  }

  get held(): number {
    let sum = 0;
    for (const { state, amount } of this.#holds.values()) if (state === "held") sum += amount;
    return sum;
  }

  get debt(): number {
    return this.#debt;
  }

  get available(): number {
    return this.balance - this.held;
  }

  holdOf(number: number): Hold | undefined {
    return this.#holds.get(number);
  }

  state(): AccountState {
    return {
      balance: this.balance,
      held: this.held,
      debt: this.#debt,
      lots: this.#lots.map(({ remaining }) => remaining),
      holds: Object.fromEntries([...this.#holds].map(([number, hold]) => [number, { ...hold }])),
      ...this.#books,
    };
  }

  apply(step: Step): Answer {
    const answer = this.#answer(step);
    this.#expire();
    return answer;
  }

  #answer(step: Step): Answer {
    switch (step.op) {
      case "buy":
      case "win":
        this.#books.purchases -= step.amount;
        this.#add({ isPaid: true, payment: step.payment, remaining: step.amount, expires: Infinity });
        return "done";
      case "grant": {
        this.#books.grants -= step.amount;
        const expires = step.hours === null ? Infinity : this.#hour + step.hours;
        this.#add({ isPaid: false, payment: null, remaining: step.amount, expires });
        return "done";
      }
      case "hold": {
        const refusal = this.#refusalOf(step.amount);
        if (refusal) return refusal;
        this.#holds.set(step.hold, { amount: step.amount, state: "held", charged: 0, writtenOff: 0 });
        return "done";
      }
      case "extend": {
        const hold = this.#openHold(step.hold);
        if (!hold || hold.amount >= step.amount) return "done";
        const refusal = this.#refusalOf(step.amount - hold.amount);
        if (refusal) return refusal;
        hold.amount = step.amount;
        return "done";
      }
      case "settle":
        return this.#close(step.hold, step.cost);
      case "release":
        return this.#close(step.hold, 0);
      case "refund":
      case "dispute":
        this.#takeBack(step.payment, step.amount);
        return "done";
      case "pass":
        this.#hour++;
        return "done";
      case "sweep":
        return "done";
    }
  }

  #openHold(number: number): Hold | undefined {
    const hold = this.#holds.get(number);
    return hold?.state === "held" ? hold : undefined;
  }

  #refusalOf(amount: number): string | undefined {
    if (this.#debt > 0) return "account_in_debt";
    return this.available < amount ? "insufficient_credits" : undefined;
  }

  #add(lot: Lot): void {
    this.#lots.push(lot);
    this.#payDebt();
  }

  #payDebt(): void {
    const payable = Math.min(this.#debt, this.available);
    this.#debt -= payable;
    this.#draw(payable, bySpending);
  }

  #close(number: number, cost: number): number {
    const hold = this.#openHold(number);
    if (!hold) return 0;
    const charged = Math.min(cost, hold.amount);
    const writtenOff = cost - charged;
    Object.assign(hold, { state: charged > 0 ? "settled" : "released", charged, writtenOff });
    this.#books.revenue += cost;
    this.#books.writeOff -= writtenOff;
    this.#draw(charged, bySpending);
    this.#payDebt();
    return charged;
  }

  #takeBack(payment: number, amount: number): void {
    const taken = Math.min(amount, this.available);
    this.#debt += amount - taken;
    this.#books.purchases += amount;
    const own = this.#lots.find((lot) => lot.payment === payment && lot.remaining > 0);
    this.#draw(
      taken,
      (one, other) =>
        Number(other === own) - Number(one === own) ||
        Number(other.isPaid) - Number(one.isPaid) ||
        bySpending(one, other),
    );
  }

  /** Sorting is stable: of what is equal, the oldest comes first. */
  #draw(amount: number, order: (one: Lot, other: Lot) => number): void {
    let missing = amount;
    for (const lot of [...this.#lots].sort(order)) {
      const taken = Math.min(lot.remaining, missing);
      lot.remaining -= taken;
      missing -= taken;
    }
    if (missing > 0) throw new Error(`${missing} of ${amount} is in no grant`);
  }

  /** What is over, but for what is held: that is of what would be spent first. */
  #expire(): void {
    const over = this.#lots.filter(({ expires }) => expires <= this.#hour).sort(bySpending);
    let kept = this.held;
    for (const lot of over) {
      const stays = Math.min(lot.remaining, kept);
      kept -= stays;
      this.#books.grants += lot.remaining - stays;
      lot.remaining = stays;
    }
  }
}

function bySpending(one: Lot, other: Lot): number {
  if (one.expires !== other.expires) return one.expires < other.expires ? -1 : 1;
  return Number(one.isPaid) - Number(other.isPaid);
}
