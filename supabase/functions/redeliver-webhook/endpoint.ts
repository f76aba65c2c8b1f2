import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import { redeliverWebhook } from "../_shared/webhooks/webhooks.ts";

const body = z.object({
  webhook_id: uuid,
  delivery_id: uuid.optional().describe("this one, whatever became of it"),
  failed_since: z.iso
    .datetime({ offset: true })
    .optional()
    .describe("every failed one of events since; without `delivery_id`"),
});

/** 200 how many are due again · 404 not of this user · 409 disabled */
export const redeliverWebhookEndpoint = endpoint({
  name: "redeliver-webhook",
  summary: "Sends one delivery again, or all that failed since a time, under the same ids.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "How many are due again; 10,000 at most in one call.",
      schema: z.object({ success: z.literal(true), redelivered: z.int() }),
    },
  },
  errors: ["webhook_not_found", "delivery_not_found", "webhook_disabled"],
  async run({ body, caller, database }) {
    const { webhook_id, delivery_id: deliveryId, failed_since: failedSince } = body;
    if ((deliveryId === undefined) === (failedSince === undefined)) {
      const issues = [{ path: "delivery_id", message: "name either delivery_id or failed_since" }];
      throw new AppError("invalid_request", { issues });
    }
    return json(200, await redeliverWebhook(database, caller, webhook_id, { deliveryId, failedSince }));
  },
});
