import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import {
  eventList,
  webhookDescription,
  webhookSummary,
  webhookUrl,
} from "../_shared/webhooks/webhook-shapes.ts";
import { updateWebhook } from "../_shared/webhooks/webhooks.ts";

const body = z.object({
  webhook_id: uuid,
  url: webhookUrl.optional(),
  events: eventList.optional(),
  description: webhookDescription.nullable().optional(),
  enabled: z.boolean().optional().describe("false dead-letters what waits; true begins anew"),
});

/** 200 the webhook as it is now · 404 not a webhook of this user · 422 the address */
export const updateWebhookEndpoint = endpoint({
  name: "update-webhook",
  summary: "Changes a webhook: address, events, description; disables and enables it.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The webhook as it is now.",
      schema: webhookSummary,
    },
  },
  errors: ["webhook_not_found", "webhook_url_refused"],
  async run({ body, caller, database, webhooks }) {
    const { webhook_id, ...changes } = body;
    return json(200, await updateWebhook(database, webhooks, caller, webhook_id, changes));
  },
});
