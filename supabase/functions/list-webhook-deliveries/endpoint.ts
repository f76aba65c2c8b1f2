import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import { deliveryStates, deliverySummary } from "../_shared/webhooks/webhook-shapes.ts";
import { listDeliveries } from "../_shared/webhooks/webhooks.ts";

const body = z.object({
  webhook_id: uuid,
  state: z.enum(deliveryStates).optional(),
  before_seq: z.int().min(1).optional().describe("`next_before_seq` of the page before"),
  limit: z.int().min(1).max(100).optional().describe("50 unless said"),
});

/** 200 a page of deliveries · 404 not a webhook of this user */
export const listWebhookDeliveriesEndpoint = endpoint({
  name: "list-webhook-deliveries",
  summary: "Lists a webhook's deliveries, newest first, with what came of their attempts.",
  callers: ["service", "user"],
  body,
  requestsPerMinute: 120,
  answers: {
    200: {
      description: "A page of deliveries.",
      schema: z.object({
        deliveries: z.array(deliverySummary),
        next_before_seq: z.int().nullable().describe("null on the last page"),
      }),
    },
  },
  errors: ["webhook_not_found"],
  async run({ body, caller, database }) {
    const page = { state: body.state, beforeSeq: body.before_seq, pageSize: body.limit };
    return json(200, await listDeliveries(database, caller, body.webhook_id, page));
  },
});
