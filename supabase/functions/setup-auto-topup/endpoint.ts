import { z } from "zod";
import { setupAutoTopup } from "../_shared/billing/auto-topup.ts";
import { autoTopupFields, autoTopupOf } from "../_shared/billing/fields.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";

/** Of older clients. */
const ignored = z.unknown().optional().describe("ignored: the card is saved by a checkout");

const body = z.object({
  ...autoTopupFields,
  autoTopupEnabled: z.boolean("autoTopupEnabled must be a boolean"),
  stripeCustomerId: ignored,
  stripePaymentMethodId: ignored,
});

const cents = z.int().nullable().describe("US cents");

/** 200 switched on or off, now or before */
export const setupAutoTopupEndpoint = endpoint({
  name: "setup-auto-topup",
  summary:
    "Switches automatic top-ups on or off. The card is saved by a checkout, and kept when they are off.",
  callers: ["user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "As it is now. Nothing is bought before a card is saved.",
      schema: z.object({
        success: z.literal(true),
        message: z.string(),
        auto_topup_enabled: z.boolean(),
        auto_topup_amount: cents,
        auto_topup_threshold: cents,
        auto_topup_monthly_cap: cents,
        auto_topup_setup_completed: z.boolean().describe("whether a card is saved"),
      }),
    },
  },
  errors: ["user_not_found"],
  async run({ body, database }) {
    return json(200, await setupAutoTopup(database, autoTopupOf(body)));
  },
});
