import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text as textOf, uuid } from "../_shared/http/fields.ts";
import { endByFalNews, falNewsStates, verifyFalNews } from "../_shared/providers/fal-webhook.ts";

/** The signature is over the text as it came. */
const body = z.looseObject({
  request_id: textOf(200).min(1),
  gateway_request_id: textOf(200).nullish(),
  status: z.enum(["OK", "ERROR"]),
  payload: z.record(z.string(), z.unknown()).nullish().describe("the model's result, or why there is none"),
  error: textOf(10_000).nullish(),
});

/** 200 done, or nothing to do · 400 not signed by FAL lately · 5xx send it again */
export const falWebhookEndpoint = endpoint({
  name: "fal-webhook",
  summary:
    "Takes FAL's word that a job has ended, and ends the task's run with it; in any order, any number of times.",
  callers: ["anyone"],
  signed: true,
  body,
  bodyLimit: 1024 * 1024,
  requestsPerMinute: 6000,
  answers: {
    200: {
      description:
        "What became of it. `left`: the run fetches the result by itself; `noted`: the run goes on with further jobs; `over`: there is no run to end; `unknown`: no job of ours.",
      schema: z.object({ received: z.literal(true), state: z.enum(falNewsStates) }),
    },
  },
  errors: ["invalid_signature", "provider_not_configured", "provider_unavailable", "storage_unavailable"],
  async run({ body, text, query, headers, database, storage, fal, log }) {
    const verified = await verifyFalNews(fal, text, headers);
    const key = uuid.safeParse(query.get("key"));
    const state = await endByFalNews({ database, storage, log }, verified, body, key.data);
    return json(200, { received: true, state });
  },
});
