import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { deliverDue } from "../_shared/webhooks/deliver-webhooks.ts";

const body = z.object({
  at_most: z.int().min(1).max(1000).optional().describe("200 unless said"),
});

/** Well within what an Edge Function may take, with one more timeout at the end. */
const forMilliseconds = 40_000;

/** 200 how many were attempted and delivered */
export const deliverWebhooksEndpoint = endpoint({
  name: "deliver-webhooks",
  summary: "Sends the webhooks that are due: what a timer calls where no host does it by itself.",
  callers: ["service"],
  body,
  bodyOptional: true,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "What was attempted, and how much of it was delivered.",
      schema: z.object({ attempted: z.int(), delivered: z.int() }),
    },
  },
  errors: [],
  async run({ body, database, webhooks }) {
    return json(200, await deliverDue(database, webhooks, { atMost: body.at_most ?? 200, forMilliseconds }));
  },
});
