/**
 * Stripe, as far as Darkroom uses it, speaking Stripe's HTTP so that the real SDK runs against it. Tests play the
 * customer (`pay`, `settle`), the bank (`books.behaviours`), the dashboard (`refund`, `dispute`) and the network (`faults`).
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type Stripe from "stripe";
import { type BooksOptions, type CardBehaviour, StripeBooks } from "./fake-stripe/books.ts";
import { attach, detach, expireSession, newCard, type Payment } from "./fake-stripe/checkouts.ts";
import { paySession, removeCustomer, settleSession } from "./fake-stripe/checkouts.ts";
import { type Form, parseForm } from "./fake-stripe/form.ts";
import { expanded } from "./fake-stripe/lists.ts";
import { makeCustomer } from "./fake-stripe/objects.ts";
import * as payments from "./fake-stripe/payments.ts";
import { invalid, StripeRefusal } from "./fake-stripe/refusal.ts";
import { answerTo } from "./fake-stripe/routes.ts";
import { deliver, sign, type SignedEvent, type SigningOptions } from "./fake-stripe/signed-events.ts";

/** Something that goes wrong, with the next matching requests. */
export interface Fault {
  /** Such as `POST /v1/payment_intents`; every request when left out. */
  at?: RegExp;
  /** How many requests; one unless said. */
  times?: number;
  /**
   * `cut` drops the connection with nothing done, `cut-after` when everything is done and nothing answered; a
   * number is answered as that status, with nothing done.
   */
  does: "cut" | "cut-after" | number;
}

/** A request as it came, for what a test wants to count. */
export interface SeenRequest {
  method: string;
  path: string;
  form: Form;
  idempotencyKey: string | undefined;
  apiVersion: string | undefined;
  /** Answered from an earlier one with the same key. */
  isReplay: boolean;
  status: number | undefined;
}

export interface FakeStripeOptions extends BooksOptions {
  secretKey?: string;
  webhookSecret?: string;
}

export interface FakeStripe {
  url: string;
  secretKey: string;
  webhookSecret: string;
  /** The settings under which Darkroom speaks to this one. */
  variables: { STRIPE_SECRET_KEY: string; STRIPE_WEBHOOK_SECRET: string; STRIPE_API_BASE: string };
  books: StripeBooks;
  requests: SeenRequest[];
  faults: Fault[];
  /** What every request waits for before anything is done; a test holds them here to set their order. */
  gate: (request: SeenRequest) => Promise<void> | void;

  /** A customer with a saved card, as a checkout leaves them. */
  customerWithCard(behaviour?: CardBehaviour): { customer: Stripe.Customer; card: Stripe.PaymentMethod };
  pay(sessionId: string, payment?: Payment): Stripe.Checkout.Session;
  settle(sessionId: string, paid: boolean): Stripe.Checkout.Session;
  expire(sessionId: string): Stripe.Checkout.Session;
  /** How a payment that was `processing` ended. */
  settleIntent(intentId: string, paid: boolean): Stripe.PaymentIntent;
  detach(cardId: string): Stripe.PaymentMethod;
  removeCustomer(customerId: string): void;
  refund(intentId: string, amount?: number, status?: payments.RefundStatus): Stripe.Refund;
  changeRefund(refundId: string, status: payments.RefundStatus): Stripe.Refund;
  dispute(
    intentId: string,
    amount?: number,
    begins?: Omit<payments.DisputeRequest, "amount">,
  ): Stripe.Dispute;
  changeDispute(disputeId: string, status: payments.DisputeStatus): Stripe.Dispute;

  /** Events told so far, oldest first, of these types if any are named. */
  events(...types: string[]): Stripe.Event[];
  /** An event's text and signature, with this fake's secret unless others are given. */
  signed(event: Stripe.Event, options?: Partial<SigningOptions>): SignedEvent;
  deliver(event: Stripe.Event, url: string, options?: Partial<SigningOptions>): Promise<Response>;
  close(): Promise<void>;
}

interface AnswerText {
  status: number;
  body: string;
}

/** No answer: the connection is dropped. */
interface Attempt {
  answer: AnswerText | undefined;
  fault?: Fault["does"] | undefined;
}

interface Stored {
  fingerprint: string;
  /** Undefined while the first request is under way. */
  answer: AnswerText | undefined;
}

export async function startFakeStripe(options: FakeStripeOptions = {}): Promise<FakeStripe> {
  const {
    secretKey = "sk_test_canary4eC39HqLyjWDarjtT1zdp7dc",
    webhookSecret = "whsec_canaryTzHq5hE2cUwVb3",
  } = options;
  const books = new StripeBooks(options);
  const keys = new Map<string, Stored>();
  const server = createServer((request, response) => {
    serve(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? "/", url);
    const method = request.method ?? "GET";
    const sent = await text(request);
    const seen: SeenRequest = {
      method,
      path: pathname,
      form: parseForm(method === "POST" ? sent : search.slice(1)),
      idempotencyKey: headerOf(request, "idempotency-key"),
      apiVersion: headerOf(request, "stripe-version"),
      isReplay: false,
      status: undefined,
    };
    fake.requests.push(seen);
    const isKnown = request.headers.authorization === `Bearer ${secretKey}`;
    const { answer, fault } = isKnown
      ? await answerOnce(seen, sent)
      : { answer: refusalAnswer(invalid("Invalid API Key provided: ****", {}, 401)), fault: undefined };
    if (!answer) return void request.socket.destroy();
    if (fault === "cut-after") return void request.socket.destroy();

    seen.status = answer.status;
    response.writeHead(answer.status, {
      "content-type": "application/json",
      "request-id": `req_${fake.requests.length}`,
      "stripe-version": seen.apiVersion ?? "",
      ...(seen.idempotencyKey && { "idempotency-key": seen.idempotencyKey }),
      ...(seen.isReplay && { "idempotent-replayed": "true" }),
    });
    response.end(answer.body);
  }

  /** The answer, or the one before to the same key. What Stripe refuses without beginning is not kept. */
  async function answerOnce(seen: SeenRequest, sent: string): Promise<Attempt> {
    const key = seen.method === "POST" ? seen.idempotencyKey : undefined;
    if (key === undefined) return await attempt(seen);
    const fingerprint = `${seen.method} ${seen.path} ${sent}`;
    const stored = keys.get(key);
    if (stored && stored.fingerprint !== fingerprint) {
      const message = `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`;
      return { answer: refusalAnswer(new StripeRefusal(400, { type: "idempotency_error", message })) };
    }
    if (stored) {
      const fault = takeFault(fake.faults, `${seen.method} ${seen.path}`);
      if (fault === "cut" || fault === "cut-after") return { answer: undefined, fault };
      if (fault !== undefined) return { answer: refusalAnswer(faultRefusal(fault)), fault };
      seen.isReplay = stored.answer !== undefined;
      return { answer: stored.answer ?? refusalAnswer(new StripeRefusal(409, inFlight)) };
    }
    const begun: Stored = { fingerprint, answer: undefined };
    keys.set(key, begun);
    const { answer, fault } = await attempt(seen);
    const isKept = answer && typeof fault !== "number" && ![400, 401, 404, 429].includes(answer.status);
    if (isKept) begun.answer = answer;
    else keys.delete(key);
    return { answer, fault };
  }

  async function attempt(seen: SeenRequest): Promise<Attempt> {
    await fake.gate(seen);
    const fault = takeFault(fake.faults, `${seen.method} ${seen.path}`);
    if (fault === "cut") return { answer: undefined, fault };
    if (typeof fault === "number") return { answer: refusalAnswer(faultRefusal(fault)), fault };
    return { answer: answerNow(seen), fault };
  }

  function answerNow({ method, path, form }: SeenRequest): AnswerText {
    try {
      const answer = expanded(answerTo(method, path, books, form), form, books);
      return { status: 200, body: JSON.stringify(answer, null, 2) };
    } catch (error) {
      if (error instanceof StripeRefusal) return refusalAnswer(error);
      throw error;
    }
  }

  const chargeOf = (intentId: string) => String(books.find("payment_intent", intentId).latest_charge);
  const fake: FakeStripe = {
    url,
    secretKey,
    webhookSecret,
    variables: { STRIPE_SECRET_KEY: secretKey, STRIPE_WEBHOOK_SECRET: webhookSecret, STRIPE_API_BASE: url },
    books,
    requests: [],
    faults: [],
    gate: () => undefined,
    customerWithCard(behaviour) {
      const customer = books.keep("customer", makeCustomer(books.made("customer"), {}));
      return { customer, card: attach(books, newCard(books, behaviour).id, customer.id) };
    },
    pay: (sessionId, payment) => paySession(books, sessionId, payment),
    settle: (sessionId, paid) => settleSession(books, sessionId, paid),
    expire: (sessionId) => expireSession(books, sessionId),
    settleIntent(intentId, paid) {
      const intent = books.find("payment_intent", intentId);
      if (paid) payments.succeed(books, intent);
      else {
        const decline = { code: "card_declined", declineCode: "generic_decline", message: "Declined." };
        payments.fail(books, intent, decline);
      }
      return intent;
    },
    detach: (cardId) => detach(books, cardId),
    removeCustomer: (customerId) => void removeCustomer(books, customerId),
    refund: (intentId, amount, status) =>
      payments.refund(books, { charge: chargeOf(intentId), amount, ...(status && { status }) }),
    changeRefund: (refundId, status) => payments.changeRefund(books, refundId, status),
    dispute: (intentId, amount, begins) =>
      payments.openDispute(books, chargeOf(intentId), { amount, ...begins }),
    changeDispute: (disputeId, status) => payments.changeDispute(books, disputeId, status),
    events: (...types) => books.events.filter(({ type }) => types.length === 0 || types.includes(type)),
    signed: (event, signing) => sign(event, { secrets: [fake.webhookSecret], ...signing }),
    deliver: (event, to, signing) => deliver(event, to, { secrets: [fake.webhookSecret], ...signing }),
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return fake;
}

const inFlight = {
  type: "idempotency_error" as const,
  code: "idempotency_key_in_use",
  message: "There is currently another in-progress request using this Idempotent Key.",
};

function takeFault(faults: Fault[], request: string): Fault["does"] | undefined {
  const at = faults.findIndex((fault) => fault.at?.test(request) ?? true);
  const fault = faults[at];
  if (!fault) return undefined;
  fault.times = (fault.times ?? 1) - 1;
  if (fault.times <= 0) faults.splice(at, 1);
  return fault.does;
}

function faultRefusal(status: number): StripeRefusal {
  if (status === 429) {
    return invalid("Request rate limit exceeded.", { code: "rate_limit" }, 429);
  }
  if (status < 500) return invalid("This is refused by the test.", {}, status);
  return new StripeRefusal(status, { type: "api_error", message: "Something is wrong on Stripe's side." });
}

function refusalAnswer({ status, body }: StripeRefusal): AnswerText {
  return { status, body: JSON.stringify({ error: body }, null, 2) };
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : undefined;
}
