import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { timestamp, uuid } from "../_shared/http/fields.ts";
import { rotateSecret } from "../_shared/webhooks/webhooks.ts";

const body = z.object({
  webhook_id: uuid,
  overlap_seconds: z
    .int()
    .min(0)
    .max(604_800)
    .optional()
    .describe("how long the secret before signs beside the new one; a day unless said; 0 when it has leaked"),
});

/** 200 the new secret · 404 not a webhook of this user */
export const rotateWebhookSecretEndpoint = endpoint({
  name: "rotate-webhook-secret",
  summary: "Gives a webhook another secret; the one before stays valid for an overlap.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 10,
  answers: {
    200: {
      description: "The new secret, shown now and never again.",
      schema: z.object({ webhook_id: uuid, secret: z.string(), earlier_secret_until: timestamp }),
    },
  },
  errors: ["webhook_not_found"],
  async run({ body, caller, database }) {
    return json(200, await rotateSecret(database, caller, body.webhook_id, body.overlap_seconds));
  },
});
