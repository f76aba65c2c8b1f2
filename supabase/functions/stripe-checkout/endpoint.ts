import { z } from "zod";
import { openCheckout } from "../_shared/billing/checkout.ts";
import { centsOf } from "../_shared/billing/dollars.ts";
import { autoTopupFields, autoTopupOf, paymentAmount } from "../_shared/billing/fields.ts";
import { returnPages } from "../_shared/billing/return-pages.ts";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, uuid } from "../_shared/http/fields.ts";

const body = z.object({
  amount: paymentAmount("Amount").describe("dollars"),
  ...autoTopupFields,
  successUrl: text(2000).nullish().describe("where to return to when paid; the frontend's page unless said"),
  cancelUrl: text(2000).nullish().describe("where to return to when given up"),
  idempotency_key: text(200).min(1).nullish().describe("or the header Idempotency-Key"),
});

/** 200 a page to pay on · 422 key of another checkout, or a page to return to that is not allowed · 502–504 Stripe */
export const stripeCheckoutEndpoint = endpoint({
  name: "stripe-checkout",
  summary: "Opens a page of Stripe's on which to buy credits, and to save the card for automatic top-ups.",
  callers: ["user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 30,
  answers: {
    200: {
      description: "Where to pay. A repeat gets the same page, or a new one when that has expired unpaid.",
      schema: z.object({
        checkoutUrl: z
          .string()
          .describe("where to pay; where there is nothing left to pay, the page to return to"),
        sessionId: z.string(),
        status: z
          .enum(["open", "processing", "paid"])
          .describe("of a repeat whose purchase is paid, or whose money is under way: not `open`"),
        amount: z.number().describe("dollars"),
        userId: uuid,
      }),
    },
  },
  errors: [
    "user_not_found",
    "idempotency_key_reused",
    "return_url_refused",
    "provider_failed",
    "provider_not_configured",
    "provider_unavailable",
    "provider_timeout",
  ],
  async run({ body, database, stripe, checkout: settings, headers }) {
    const idempotencyKey = body.idempotency_key ?? headers.get("idempotency-key") ?? undefined;
    if (idempotencyKey !== undefined && (idempotencyKey === "" || idempotencyKey.length > 200)) {
      const issue = { path: "idempotency_key", message: "has 1 to 200 characters" };
      throw new AppError("invalid_request", { issues: [issue] });
    }
    const checkout = await openCheckout(database, stripe, {
      amountCents: centsOf(body.amount) ?? 0,
      autoTopup: autoTopupOf(body),
      ...returnPages(body, settings),
      idempotencyKey,
      productName: settings.productName,
    });
    return json(200, { ...checkout, amount: body.amount });
  },
});
