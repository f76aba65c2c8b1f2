import { z } from "zod";
import { callCharge } from "../_shared/credits/paid-call.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";
import { eventStream } from "../_shared/http/event-stream.ts";
import { writePrompt } from "../_shared/prompts/ai-prompt.ts";
import { wholeOf } from "../_shared/prompts/paid-answer.ts";
import { promptRequest } from "../_shared/prompts/prompt-request.ts";

const told = {
  usage: z.unknown().describe("tokens, as the provider counts them; null without one"),
  model: z.string().optional(),
  local: z.boolean().describe("true where rules stand in for a model"),
  charge: callCharge.optional().describe("what it cost; not there where it was free"),
  deduplicated: z.literal(true).optional().describe("the answer of an earlier call with the same key"),
};

/**
 * 200 the text, whole or in pieces · 402 not covered · 429 the free calls of today are used up · 409 the same call is being answered · 422 the key of another call
 * · 502, 503, 504 the provider failed, is not there, took too long
 */
export const aiPromptEndpoint = endpoint({
  name: "ai-prompt",
  summary: "Writes, changes, names and enhances prompts.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body: promptRequest,
  requestsPerMinute: 30,
  answers: {
    200: {
      description:
        "The text, by task; with `stream` as events `piece`, then `done` with the same, or `error`.",
      schema: z.union([
        z.object({ prompts: z.array(z.string()), ...told }),
        z.object({ success: z.literal(true), newText: z.string(), ...told }),
        z.object({ summary: z.string().nullable(), ...told }),
        z.object({
          success: z.literal(true).optional(),
          enhanced_prompt: z.string(),
          creativity_level: z.number().optional().describe("of enhance_prompt: the level that counted"),
          ...told,
        }),
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
    "insufficient_credits",
    "account_in_debt",
    "spend_cap_reached",
    "free_allowance_used",
    "insufficient_scope",
    "user_not_found",
    "call_in_progress",
    "idempotency_key_reused",
    "provider_failed",
    "provider_not_configured",
    "provider_unavailable",
    "provider_timeout",
  ],
  async run({ body, caller, database, storage, promptWriter, log, headers }) {
    const { stream, user_id: userId, idempotency_key: key, ...request } = body;
    const { pieces, leaving } = await writePrompt(
      { database, storage, writer: promptWriter },
      caller,
      request,
      {
        userId: userId ?? undefined,
        idempotencyKey: idempotencyKeyOf(key, headers),
        inPieces: stream ?? false,
      },
    );
    return stream ? await eventStream(pieces, log, leaving) : json(200, await wholeOf(pieces));
  },
});
