import { z } from "zod";
import { topUpAll, topUpUser } from "../_shared/billing/auto-topup.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";

const body = z.object({
  userId: uuid.nullish().describe("everybody who is due unless said"),
  after: uuid.nullish().describe("`next_after` of the page before"),
});

/** Well within what an Edge Function may take. */
const forMilliseconds = 40_000;

/** 200 what was tried and what came of it · 404 unknown user · 503 payments are not set up */
export const triggerAutoTopupEndpoint = endpoint({
  name: "trigger-auto-topup",
  summary: "Buys the automatic top-ups that are due: what a timer calls where no host does it by itself.",
  callers: ["service"],
  body,
  bodyOptional: true,
  unknownFields: "refused",
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "What was tried; a page of users when everybody is asked for.",
      schema: z.object({
        success: z.literal(true),
        summary: z.object({
          totalProcessed: z.int(),
          successful: z.int(),
          failed: z.int(),
          errors: z.int(),
          rateLimited: z.int(),
        }),
        results: z.array(
          z.object({
            userId: uuid,
            status: z.enum(["success", "failed", "error", "rate_limited"]),
            amount: z.int().optional().describe("US cents"),
            dollarAmount: z.number().optional(),
            paymentIntentId: z.string().optional(),
            error: z.string().optional(),
            message: z.string().optional(),
          }),
        ),
        next_after: uuid.nullable(),
      }),
    },
  },
  errors: ["user_not_found", "provider_not_configured"],
  async run({ body, database, stripe, log }) {
    const deadline = Date.now() + forMilliseconds;
    const till = { database, stripe, log };
    if (body.userId) return json(200, await topUpUser(till, body.userId));
    return json(200, await topUpAll(till, { after: body.after ?? undefined, deadline }));
  },
});
