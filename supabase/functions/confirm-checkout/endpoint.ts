import { z } from "zod";
import { confirmCheckout } from "../_shared/billing/confirm-checkout.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text } from "../_shared/http/fields.ts";

/** 200 how it stands, credited if it is paid · 404 unknown or somebody else's checkout · 502, 503, 504 Stripe */
export const confirmCheckoutEndpoint = endpoint({
  name: "confirm-checkout",
  summary:
    "Tells what became of one's checkout, and credits it if it is paid: for the page that people come back to.",
  callers: ["user"],
  body: z.object({ sessionId: text(255).min(1) }),
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The checkout, and the balance.",
      schema: z.object({
        sessionId: z.string(),
        status: z.string().describe("open, complete or expired"),
        paymentStatus: z.string().describe("paid or unpaid; some ways to pay take days"),
        credited: z.boolean(),
        credits: z.number().describe("the balance (US cents)"),
      }),
    },
  },
  errors: [
    "checkout_not_found",
    "provider_not_configured",
    "provider_failed",
    "provider_unavailable",
    "provider_timeout",
  ],
  async run({ body, database, stripe }) {
    return json(200, await confirmCheckout(database, stripe, body.sessionId));
  },
});
