import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { writeFromVoice } from "../_shared/prompts/ai-voice-prompt.ts";
import { recordingLimitBytes, voiceRequest } from "../_shared/prompts/voice-request.ts";

/** 200 what was said, and the text · 400 nothing was said · 502, 503, 504 the provider failed, is not there, took too long */
export const aiVoicePromptEndpoint = endpoint({
  name: "ai-voice-prompt",
  summary: "Writes the text of a field from what somebody says.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body: voiceRequest,
  // The other fields and the form's own lines beside the recording.
  formLimit: recordingLimitBytes + 256 * 1024,
  requestsPerMinute: 30,
  countsFirst: true,
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
      }),
    },
  },
  errors: [
    "no_speech_detected",
    "insufficient_scope",
    "provider_failed",
    "provider_not_configured",
    "provider_unavailable",
    "provider_timeout",
  ],
  async run({ body, promptWriter }) {
    return json(200, await writeFromVoice(promptWriter, body));
  },
});
