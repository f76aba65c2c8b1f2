import { z } from "zod";
import { callCharge } from "../_shared/credits/paid-call.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";
import { writeFromVoice } from "../_shared/prompts/ai-voice-prompt.ts";
import { recordingLimitBytes, voiceRequest } from "../_shared/prompts/voice-request.ts";

/**
 * 200 what was said, and the text · 400 nothing was said · 402 not covered · 429 the free calls of today are used up · 409 the same call is being answered
 * · 422 the key of another call · 502, 503, 504 the provider failed, is not there, took too long
 */
export const aiVoicePromptEndpoint = endpoint({
  name: "ai-voice-prompt",
  summary: "Writes the text of a field from what somebody says.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body: voiceRequest,
  // The other fields and the form's own lines beside the recording.
  formLimit: recordingLimitBytes + 256 * 1024,
  requestsPerMinute: 30,
  answers: {
    200: {
      description: "The words, and the text that was made of them.",
      schema: z.object({
        success: z.literal(true),
        transcription: z.string(),
        prompt: z.string().optional(),
        usage: z.unknown(),
        model: z.string().optional(),
        local: z.boolean(),
        warning: z.string().optional().describe("where `prompt` is only what was said"),
        charge: callCharge.optional().describe("what it cost; not there where it was free"),
        deduplicated: z.literal(true).optional().describe("the answer of an earlier call with the same key"),
      }),
    },
  },
  errors: [
    "no_speech_detected",
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
  async run({ body, caller, database, promptWriter, headers }) {
    const { user_id: userId, idempotency_key: key, ...request } = body;
    const order = { userId: userId ?? undefined, idempotencyKey: idempotencyKeyOf(key, headers) };
    return json(200, await writeFromVoice({ database, writer: promptWriter }, caller, request, order));
  },
});
