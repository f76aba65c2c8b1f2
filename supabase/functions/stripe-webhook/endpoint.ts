import { z } from "zod";
import { handleEvent, verifiedEvent } from "../_shared/billing/stripe-events.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text as textOf } from "../_shared/http/fields.ts";

/** What every event has; the signature is over the text as it came. */
const body = z.looseObject({
  id: textOf(255).min(1),
  type: textOf(200).min(1),
  created: z.int(),
  livemode: z.boolean(),
  data: z.looseObject({}),
});

/** 200 stored and done, or left alone · 400 not signed by Stripe lately · 5xx send it again */
export const stripeWebhookEndpoint = endpoint({
  name: "stripe-webhook",
  summary: "Takes Stripe's events, in any order and any number.",
  callers: ["anyone"],
  signed: true,
  body,
  requestsPerMinute: 6000,
  answers: {
    200: {
      description:
        "Stored, and done or left alone; an event that does not fit is kept for somebody to look at.",
      schema: z.object({
        received: z.literal(true),
        duplicate: z.literal(true).optional(),
        state: z.enum(["handled", "ignored", "quarantined"]),
      }),
    },
  },
  errors: [
    "invalid_signature",
    "provider_not_configured",
    "provider_failed",
    "provider_unavailable",
    "provider_timeout",
  ],
  async run({ text, headers, database, stripe, log }) {
    const event = await verifiedEvent(stripe, text, headers.get("stripe-signature"));
    const { state, isDuplicate } = await handleEvent({ database, stripe, log }, event);
    return json(200, { received: true, ...(isDuplicate && { duplicate: true }), state });
  },
});
