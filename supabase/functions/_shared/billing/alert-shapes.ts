import { z } from "zod";
import { timestamp, uuid } from "../http/fields.ts";

/** A payment that does not fit what was asked for, or a task type that is sold below its cost. */
export const billingAlert = z.object({
  id: uuid,
  reason: z
    .string()
    .describe(
      "unknown_request, wrong_amount, wrong_currency, unknown_user, paid_twice, wrong_livemode, wrong_account; unreadable_event, handling_failed, card_not_saved; amount_differs, not_paid_at_stripe, unknown_at_stripe, of the reconciler; sold_below_cost, of a task that was not run at a provider; unpaid_provider_limit, of a user whose tasks are not begun at providers on that day",
    ),
  subject: z
    .string()
    .describe(
      "the payment intent, or the event where there is none; of sold_below_cost the task type and the model, of unpaid_provider_limit the user",
    ),
  details: z.record(z.string(), z.unknown()),
  state: z.enum(["open", "released", "dismissed"]),
  note: z.string().nullable(),
  created_at: timestamp,
  closed_at: timestamp.nullable(),
});
