import { randomBytes } from "node:crypto";
import Stripe from "stripe";
import type { Made } from "./objects.ts";
import { missing } from "./refusal.ts";

/** How a bank answers for a card. */
export type CardBehaviour =
  | "approved"
  | "card_declined"
  | "insufficient_funds"
  | "expired_card"
  | "authentication_required"
  | "processing_error"
  | "processing";

interface Kept {
  customer: Stripe.Customer;
  payment_method: Stripe.PaymentMethod;
  payment_intent: Stripe.PaymentIntent;
  charge: Stripe.Charge;
  refund: Stripe.Refund;
  dispute: Stripe.Dispute;
  session: Stripe.Checkout.Session;
}
export type Kind = keyof Kept;

const prefixes = {
  customer: "cus_",
  payment_method: "pm_",
  payment_intent: "pi_",
  charge: "ch_",
  refund: "re_",
  dispute: "du_",
  session: "cs_test_",
  event: "evt_",
  balance_transaction: "txn_",
};

export interface BooksOptions {
  livemode?: boolean;
  /** Seconds since the epoch; the time of everything that is made. */
  clock?: () => number;
}

/** What an account at Stripe holds: objects by kind, newest last, and the events that tell of their changes. */
export class StripeBooks {
  readonly events: Stripe.Event[] = [];
  readonly behaviours = new Map<string, CardBehaviour>();
  /** What intents are to be made of a session when it is paid. */
  readonly plans = new Map<string, Partial<Stripe.PaymentIntent>>();
  readonly livemode: boolean;
  clock: () => number;
  readonly #kept: { [K in Kind]: Map<string, Kept[K]> } = {
    customer: new Map(),
    payment_method: new Map(),
    payment_intent: new Map(),
    charge: new Map(),
    refund: new Map(),
    dispute: new Map(),
    session: new Map(),
  };
  readonly #run = randomBytes(6).toString("hex");
  #count = 0;

  constructor({ livemode = false, clock = () => Math.floor(Date.now() / 1000) }: BooksOptions = {}) {
    this.livemode = livemode;
    this.clock = clock;
  }

  /** Id and time of something new. Ids differ between fakes, and sort in the order of making within one. */
  made(kind: keyof typeof prefixes): Made {
    const id = `${prefixes[kind]}${this.#run}${String(++this.#count).padStart(8, "0")}`;
    return { id, created: this.clock(), livemode: this.livemode };
  }

  keep<K extends Kind>(kind: K, object: Kept[K]): Kept[K] {
    this.#kept[kind].set(object.id, object);
    return object;
  }

  /** The object; Stripe's refusal when there is none. `param` is where its id stood, unless in the URL. */
  find<K extends Kind>(kind: K, id: string, param?: string): Kept[K] {
    const found = this.#kept[kind].get(id);
    if (!found) throw missing(kind === "payment_method" ? "PaymentMethod" : kind, id, param);
    return found;
  }

  remove(kind: Kind, id: string): void {
    this.#kept[kind].delete(id);
  }

  /** Newest first, as lists come. */
  all<K extends Kind>(kind: K): Kept[K][] {
    return [...this.#kept[kind].values()].toReversed();
  }

  /** Whatever has this id, of any kind. */
  lookUp(id: string): object | undefined {
    for (const kept of Object.values(this.#kept)) {
      const found = kept.get(id);
      if (found) return found;
    }
    return undefined;
  }

  /** Notes an event: the object as it is now. */
  tell(type: string, object: object, previous?: object): Stripe.Event {
    const event = {
      ...this.made("event"),
      object: "event",
      api_version: Stripe.API_VERSION,
      data: { object: structuredClone(object), ...(previous && { previous_attributes: previous }) },
      pending_webhooks: 1,
      request: { id: null, idempotency_key: null },
      type,
    } as unknown as Stripe.Event;
    this.events.push(event);
    return event;
  }
}
