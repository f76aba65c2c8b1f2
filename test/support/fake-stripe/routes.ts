import type { Kind, StripeBooks } from "./books.ts";
import { attach, detach, expireSession, newCard, removeCustomer } from "./checkouts.ts";
import { type Form, formOf, listOf, textOf, textsOf } from "./form.ts";
import { makeCustomer, makeIntent, makeSession } from "./objects.ts";
import { cancel, confirm, refund } from "./payments.ts";
import { invalid, missing } from "./refusal.ts";
import { listPage } from "./lists.ts";

export interface Call {
  books: StripeBooks;
  /** What the pattern's `:names` stand for, in order. */
  ids: string[];
  form: Form;
}

interface Route {
  method: "GET" | "POST" | "DELETE";
  pattern: RegExp;
  /** Parameters it takes; others are refused, as Stripe does. Undefined: those of a list or of none. */
  params: readonly string[];
  answer(call: Call): object;
}

const routes: Route[] = [
  route("POST", "/v1/customers", ["email", "name", "description", "metadata"], ({ books, form }) => {
    const customer = makeCustomer(books.made("customer"), {
      email: textOf(form["email"]) ?? null,
      name: textOf(form["name"]) ?? null,
      description: textOf(form["description"]) ?? null,
      metadata: textsOf(form["metadata"]),
    });
    books.tell("customer.created", customer);
    return books.keep("customer", customer);
  }),
  route("DELETE", "/v1/customers/:id", [], ({ books, ids }) => removeCustomer(books, first(ids))),
  route("GET", "/v1/customers/:id/payment_methods", listParams("type"), ({ books, ids, form }) => {
    const customer = books.find("customer", first(ids)).id;
    const cards = books.all("payment_method").filter((card) => card.customer === customer);
    return listPage(`/v1/customers/${customer}/payment_methods`, cards, form, ["type"]);
  }),
  ...reads("customer", "/v1/customers", ["email"]),

  route("POST", "/v1/checkout/sessions", sessionParams(), createSession),
  route("POST", "/v1/checkout/sessions/:id/expire", [], ({ books, ids }) => expireSession(books, first(ids))),
  ...reads("session", "/v1/checkout/sessions", ["payment_intent", "customer", "status"]),

  route("POST", "/v1/payment_intents", intentParams(), createIntent),
  route("POST", "/v1/payment_intents/:id/confirm", ["payment_method", "off_session"], confirmIntent),
  route("POST", "/v1/payment_intents/:id/cancel", ["cancellation_reason"], ({ books, ids }) =>
    cancel(books, books.find("payment_intent", first(ids))),
  ),
  ...reads("payment_intent", "/v1/payment_intents", ["customer"]),

  ...reads("charge", "/v1/charges", ["customer", "payment_intent"]),

  route("POST", "/v1/refunds", ["charge", "payment_intent", "amount", "reason", "metadata"], createRefund),
  ...reads("refund", "/v1/refunds", ["charge", "payment_intent"]),
  ...reads("dispute", "/v1/disputes", ["charge", "payment_intent"]),

  route("POST", "/v1/payment_methods/:id/attach", ["customer"], ({ books, ids, form }) =>
    attach(books, testCard(books, first(ids)), textOf(form["customer"]) ?? ""),
  ),
  route("POST", "/v1/payment_methods/:id/detach", [], ({ books, ids }) => detach(books, first(ids))),
  ...reads("payment_method", "/v1/payment_methods", ["customer", "type"]),

  route("GET", "/v1/events", listParams("type", "types"), ({ books, form }) => {
    const types = listOf(form["types"]);
    const told = books.events.toReversed().filter(({ type }) => types.length === 0 || types.includes(type));
    return listPage("/v1/events", told, form, ["type"]);
  }),
  route("GET", "/v1/events/:id", [], ({ books, ids }) => {
    const found = books.events.find(({ id }) => id === ids[0]);
    if (!found) throw missing("event", first(ids));
    return found;
  }),
];

/** What a request is answered with, before anything is expanded; Stripe's refusals are thrown. */
export function answerTo(method: string, path: string, books: StripeBooks, form: Form): object {
  for (const { method: expected, pattern, params, answer } of routes) {
    const match = pattern.exec(path);
    if (!match || method !== expected) continue;
    const unknown = Object.keys(form).find((name) => name !== "expand" && !params.includes(name));
    if (unknown) {
      const message = `Received unknown parameter: ${unknown}`;
      throw invalid(message, { code: "parameter_unknown", param: unknown });
    }
    return answer({ books, form, ids: match.slice(1) });
  }
  throw invalid(`Unrecognized request URL (${method}: ${path}).`, {}, 404);
}

function createSession({ books, form }: Call): object {
  const items = listOf(form["line_items"]).map(formOf);
  if (textOf(form["mode"]) !== "payment")
    throw invalid("Only mode payment is played here.", { param: "mode" });
  if (items.length === 0) throw invalid("Missing required param: line_items.", { param: "line_items" });
  const customer = textOf(form["customer"]);
  if (customer) books.find("customer", customer, "customer");
  if (customer && form["customer_email"] !== undefined) {
    throw invalid("You may only specify one of these parameters: customer, customer_email.");
  }
  const planned = formOf(form["payment_intent_data"]);
  const adaptive = textOf(formOf(form["adaptive_pricing"])["enabled"]);
  const session = makeSession(books.made("session"), {
    amount_total: items.reduce((sum, item) => sum + priceOf(item), 0),
    currency: textOf(formOf(items[0]?.["price_data"])["currency"]) ?? "usd",
    cancel_url: webAddress(form, "cancel_url"),
    success_url: webAddress(form, "success_url"),
    client_reference_id: textOf(form["client_reference_id"]) ?? null,
    customer: customer ?? null,
    customer_email: textOf(form["customer_email"]) ?? null,
    metadata: textsOf(form["metadata"]),
    // Unless said, as the account's settings have it: on.
    adaptive_pricing: { enabled: adaptive !== "false" },
  });
  books.plans.set(session.id, {
    metadata: textsOf(planned["metadata"]),
    description: textOf(planned["description"]) ?? null,
    setup_future_usage: textOf(planned["setup_future_usage"]) ?? null,
  });
  return books.keep("session", session);
}

function priceOf(item: Form): number {
  const unit = wholeNumber(formOf(item["price_data"]), "unit_amount");
  if (textOf(formOf(formOf(item["price_data"])["product_data"])["name"]) === undefined) {
    throw invalid("Missing required param: line_items[0][price_data][product_data][name].");
  }
  return unit * wholeNumber(item, "quantity");
}

function createIntent(call: Call): object {
  const { books, form } = call;
  const customer = textOf(form["customer"]);
  const method = textOf(form["payment_method"]);
  if (customer) books.find("customer", customer, "customer");
  const amount = wholeNumber(form, "amount");
  if (amount < 50)
    throw invalid("Amount must be at least $0.50 usd", { code: "amount_too_small", param: "amount" });
  const card = method ? books.find("payment_method", testCard(books, method), "payment_method") : undefined;
  if (card && card.customer !== (customer ?? null)) {
    throw invalid(
      "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a connected account without Customer attachment, or was detached from a Customer. It may not be used again.",
    );
  }
  const intent = makeIntent(books.made("payment_intent"), {
    amount,
    currency: textOf(form["currency"]) ?? "usd",
    customer: customer ?? null,
    description: textOf(form["description"]) ?? null,
    metadata: textsOf(form["metadata"]),
    payment_method: card?.id ?? null,
    status: card ? "requires_confirmation" : "requires_payment_method",
  });
  books.keep("payment_intent", intent);
  books.tell("payment_intent.created", intent);
  return form["confirm"] === "true" ? confirm(books, intent) : intent;
}

function confirmIntent({ books, ids, form }: Call): object {
  const intent = books.find("payment_intent", first(ids));
  const method = textOf(form["payment_method"]);
  if (method) intent.payment_method = books.find("payment_method", method, "payment_method").id;
  if (!/^requires_(confirmation|payment_method|action)$/.test(intent.status) || !intent.payment_method) {
    throw invalid(`You cannot confirm this PaymentIntent: its status is ${intent.status}.`, {
      code: "payment_intent_unexpected_state",
    });
  }
  return confirm(books, intent);
}

function createRefund({ books, form }: Call): object {
  const intent = textOf(form["payment_intent"]);
  const charge = intent
    ? books.find("payment_intent", intent, "payment_intent").latest_charge
    : textOf(form["charge"]);
  const amount = form["amount"] === undefined ? undefined : wholeNumber(form, "amount");
  return refund(books, { charge: String(charge), amount, metadata: textsOf(form["metadata"]) });
}

function reads(kind: Kind, path: string, filters: readonly string[]): Route[] {
  return [
    route("GET", path, listParams(...filters), ({ books, form }) =>
      listPage(path, books.all(kind), form, filters),
    ),
    route("GET", `${path}/:id`, [], ({ books, ids }) => books.find(kind, first(ids))),
  ];
}

function route(
  method: Route["method"],
  path: string,
  params: readonly string[],
  answer: Route["answer"],
): Route {
  return { method, pattern: new RegExp(`^${path.replaceAll(":id", "([^/]+)")}$`), params, answer };
}

function listParams(...filters: string[]): string[] {
  return ["limit", "starting_after", "ending_before", "created", ...filters];
}

function sessionParams(): string[] {
  // prettier-ignore
  return [
    "mode", "line_items", "success_url", "cancel_url", "client_reference_id", "metadata", "expires_at", "customer",
    "customer_email", "customer_creation", "customer_update", "payment_intent_data", "payment_method_types",
    "saved_payment_method_options", "submit_type", "locale", "adaptive_pricing",
  ];
}

function intentParams(): string[] {
  // prettier-ignore
  return [
    "amount", "currency", "customer", "payment_method", "confirm", "off_session", "description", "metadata",
    "receipt_email", "statement_descriptor_suffix", "payment_method_types", "error_on_requires_action",
  ];
}

/** Stripe's names of test cards make a card of their kind. */
function testCard(books: StripeBooks, id: string): string {
  const behaviours = {
    pm_card_visa: "approved",
    pm_card_chargeDeclined: "card_declined",
    pm_card_chargeDeclinedInsufficientFunds: "insufficient_funds",
    pm_card_chargeDeclinedExpiredCard: "expired_card",
    pm_card_chargeDeclinedProcessingError: "processing_error",
    pm_card_authenticationRequired: "authentication_required",
  } as const;
  return id in behaviours ? newCard(books, behaviours[id as keyof typeof behaviours]).id : id;
}

function wholeNumber(form: Form, name: string): number {
  const text = textOf(form[name]);
  if (text === undefined)
    throw invalid(`Missing required param: ${name}.`, { code: "parameter_missing", param: name });
  if (!/^-?\d+$/.test(text)) {
    throw invalid(`Invalid integer: ${text}`, { code: "parameter_invalid_integer", param: name });
  }
  return Number(text);
}

function webAddress(form: Form, name: string): string | null {
  const text = textOf(form[name]);
  if (text !== undefined && !/^https?:\/\/[^/]+/.test(text)) {
    throw invalid("Not a valid URL", { code: "url_invalid", param: name });
  }
  return text ?? null;
}

function first(ids: string[]): string {
  return ids[0] ?? "";
}
