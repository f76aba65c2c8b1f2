import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import { testWebhook } from "../_shared/webhooks/webhooks.ts";

const body = z.object({ webhook_id: uuid });

/** 200 on its way · 404 not a webhook of this user · 409 disabled */
export const testWebhookEndpoint = endpoint({
  name: "test-webhook",
  summary: "Sends a message of type `webhook.test`.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 30,
  answers: {
    200: {
      description: "It is on its way; `list-webhook-deliveries` tells what came of it.",
      schema: z.object({ success: z.literal(true), delivery_id: uuid }),
    },
  },
  errors: ["webhook_not_found", "webhook_disabled"],
  async run({ body, caller, database }) {
    return json(200, await testWebhook(database, caller, body.webhook_id));
  },
});
