import { z } from "zod";
import { receiveEvent } from "../_shared/billing/stripe-events.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";

/**
 * What every event has. Nothing is required: the signature decides what is taken, and an event that cannot be read is
 * stored and quarantined, for a refusal would only have Stripe send it again.
 */
const body = z.object({
  id: z.unknown().optional().describe("of the event"),
  type: z.unknown().optional().describe("such as `payment_intent.succeeded`"),
  created: z.unknown().optional().describe("seconds since the epoch"),
  livemode: z.unknown().optional().describe("whether it is of real money"),
  data: z.unknown().optional().describe("`object` is what the event is about"),
});

/** 200 stored, and handled now or later · 400 not signed by Stripe lately · 503 it could not be stored: send it again */
export const stripeWebhookEndpoint = endpoint({
  name: "stripe-webhook",
  summary: "Takes Stripe's events, in any order and any number.",
  callers: ["anyone"],
  signed: true,
  body,
  madeSafe: ["id", "type", "created", "livemode", "data"],
  requestsPerMinute: 6000,
  answers: {
    200: {
      description:
        "Stored, and handled or of no interest. `quarantined`: it does not fit or cannot be read, and an operator is alerted. `received`: it is handled later.",
      schema: z.object({
        received: z.literal(true),
        duplicate: z.literal(true).optional(),
        state: z.enum(["handled", "ignored", "quarantined", "received"]),
      }),
    },
  },
  errors: ["invalid_signature", "provider_not_configured"],
  async run({ text, headers, database, stripe, log }) {
    const signature = headers.get("stripe-signature");
    const { state, isDuplicate } = await receiveEvent({ database, stripe, log }, text, signature);
    return json(200, { received: true, ...(isDuplicate && { duplicate: true }), state });
  },
});
