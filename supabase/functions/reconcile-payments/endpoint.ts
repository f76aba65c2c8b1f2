import { z } from "zod";
import { reconcilePayments } from "../_shared/billing/reconcile-payments.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text } from "../_shared/http/fields.ts";

const time = z.iso.datetime({ offset: true }).nullish();
const dayMilliseconds = 86_400_000;

/** Well within what an Edge Function may take. */
const forMilliseconds = 40_000;

const body = z
  .object({
    from: time.describe("payments made from then on; three days ago unless said"),
    to: time.describe("up to then; now unless said"),
    heal: z.boolean().nullish().describe("set right what is missing here; true unless said"),
    after: text(300)
      .regex(
        /^(events|intents|refunds|disputes|unseen)\|[\d:.TZ-]{20,30}\|[\w-]{0,255}$/,
        "must be `next_after` of a run before",
      )
      .nullish()
      .describe("`next_after` of a run before, with the same window"),
  })
  .transform(({ from, to, heal, after }, context) => {
    const end = to ? new Date(to) : new Date();
    const begin = from ? new Date(from) : new Date(end.getTime() - 3 * dayMilliseconds);
    if (begin >= end) context.addIssue({ code: "custom", path: ["from"], message: "is not before to" });
    return { from: begin, to: end, heal: heal ?? true, after: after ?? undefined };
  });

/** 200 what differs, and what was set right · 502, 503, 504 Stripe */
export const reconcilePaymentsEndpoint = endpoint({
  name: "reconcile-payments",
  summary:
    "Holds Stripe's payments, refunds and disputes against the ledger, and records what is missing here.",
  callers: ["service"],
  body,
  bodyOptional: true,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The differences of this run.",
      schema: z.object({
        checked: z.int(),
        differences: z.array(
          z.object({
            fault: z.enum([
              "event_not_handled",
              "payment_not_recorded",
              "refund_not_recorded",
              "dispute_not_recorded",
              "unreadable_at_stripe",
              "amount_differs",
              "not_paid_at_stripe",
              "unknown_at_stripe",
            ]),
            subject: z.string().describe("the payment intent, or the event"),
            healed: z.boolean(),
            details: z.record(z.string(), z.unknown()),
          }),
        ),
        next_after: z.string().nullable().describe("where to go on: the time was used up"),
      }),
    },
  },
  errors: ["provider_not_configured", "provider_failed", "provider_unavailable", "provider_timeout"],
  async run({ body, database, stripe, log }) {
    const deadline = Date.now() + forMilliseconds;
    return json(200, await reconcilePayments({ database, stripe, log }, { ...body, deadline }));
  },
});
