import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";
import { webhookSummary } from "../_shared/webhooks/webhook-shapes.ts";
import { listWebhooks } from "../_shared/webhooks/webhooks.ts";

const body = z.object({ project_id: uuid });

/** 200 the project's webhooks · 404 not a project of this user */
export const listWebhooksEndpoint = endpoint({
  name: "list-webhooks",
  summary: "Lists a project's webhooks, oldest first, without their secrets.",
  callers: ["service", "user"],
  body,
  requestsPerMinute: 120,
  answers: {
    200: {
      description: "At most ten.",
      schema: z.object({ webhooks: z.array(webhookSummary) }),
    },
  },
  errors: ["project_not_found"],
  async run({ body, caller, database }) {
    return json(200, await listWebhooks(database, caller, body.project_id));
  },
});
