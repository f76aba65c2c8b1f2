import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import {
  eventList,
  webhookDescription,
  webhookEvents,
  webhookUrl,
  webhookWithSecret,
} from "../_shared/webhooks/webhook-shapes.ts";
import { createWebhook } from "../_shared/webhooks/webhooks.ts";

const body = z.object({
  project_id: uuid,
  url: webhookUrl,
  events: eventList.optional().describe("which changes of status to be told of; all unless said"),
  description: webhookDescription.nullish(),
});

/** 200 the webhook and its secret · 404 not a project of this user · 422 the address, or one too many */
export const createWebhookEndpoint = endpoint({
  name: "create-webhook",
  summary: "Registers an address that is told of what becomes of a project's tasks.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 30,
  answers: {
    200: {
      description: "The webhook, and its secret.",
      schema: webhookWithSecret,
    },
  },
  errors: ["project_not_found", "webhook_limit_reached", "webhook_url_refused"],
  async run({ body, caller, database, webhooks }) {
    const webhook = {
      projectId: body.project_id,
      url: body.url,
      events: body.events ?? webhookEvents,
      description: body.description ?? undefined,
    };
    return json(200, await createWebhook(database, webhooks, caller, webhook));
  },
});
