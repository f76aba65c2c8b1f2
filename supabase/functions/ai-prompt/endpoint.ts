import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { eventStream } from "../_shared/http/event-stream.ts";
import { streamPrompt, writePrompt } from "../_shared/prompts/ai-prompt.ts";
import { promptRequest } from "../_shared/prompts/prompt-request.ts";

const told = {
  usage: z.unknown().describe("tokens, as the provider counts them; null without one"),
  model: z.string().optional(),
  local: z.boolean().describe("true where rules stand in for a model"),
};

/** 200 the text, whole or in pieces · 502, 503, 504 the provider failed, is not there, took too long */
export const aiPromptEndpoint = endpoint({
  name: "ai-prompt",
  summary: "Writes, changes, names and enhances prompts.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body: promptRequest,
  requestsPerMinute: 30,
  countsFirst: true,
  answers: {
    200: {
      description:
        "The text, by task; with `stream` as events `piece`, then `done` with the same, or `error`.",
      schema: z.union([
        z.object({ prompts: z.array(z.string()), ...told }),
        z.object({ success: z.literal(true), newText: z.string(), ...told }),
        z.object({ summary: z.string().nullable(), ...told }),
        z.object({ enhanced_prompt: z.string(), ...told }),
        z.object({
          enhanced_prompts: z.array(z.string()),
          failed: z.array(z.int()).describe("places of those that stayed as they were"),
          ...told,
        }),
      ]),
      otherTypes: ["text/event-stream"],
    },
  },
  errors: [
    "insufficient_scope",
    "provider_failed",
    "provider_not_configured",
    "provider_unavailable",
    "provider_timeout",
  ],
  async run({ body, promptWriter, log }) {
    if (body.stream) return await eventStream(streamPrompt(promptWriter, body), log);
    return json(200, await writePrompt(promptWriter, body));
  },
});
