import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import { deleteWebhook } from "../_shared/webhooks/webhooks.ts";

const body = z.object({ webhook_id: uuid });

/** 200 gone · 404 not a webhook of this user, or gone before */
export const deleteWebhookEndpoint = endpoint({
  name: "delete-webhook",
  summary: "Deletes a webhook, its secrets and its deliveries.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "It is gone.",
      schema: z.object({ success: z.literal(true), webhook_id: uuid }),
    },
  },
  errors: ["webhook_not_found"],
  async run({ body, caller, database }) {
    return json(200, await deleteWebhook(database, caller, body.webhook_id));
  },
});
