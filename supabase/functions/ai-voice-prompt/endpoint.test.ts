import assert from "node:assert/strict";
import { after, before } from "node:test";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { type FakeGroq, startFakeGroq } from "../../../test/support/fake-groq.ts";
import { createPromptWriter } from "../_shared/prompts/prompt-writer.ts";
import { aiVoicePromptEndpoint } from "./endpoint.ts";

let groq: FakeGroq;
before(async () => void (groq = await startFakeGroq()));
after(() => groq.close());

const provider = () => ({
  environment: { promptWriter: createPromptWriter({ GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url }) },
});

/** A recording as a browser sends it. */
function recording(
  fields: Record<string, string> = {},
  { type = "audio/webm;codecs=opus", bytes = 2000 } = {},
): FormData {
  const form = new FormData();
  form.set("audio", new File([new Uint8Array(bytes).fill(7)], "recording.webm", { type }));
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

describeEndpoint(aiVoicePromptEndpoint, {
  async accepted(under) {
    under.environment.promptWriter = createPromptWriter({ AI_PROMPT_LOCAL: "1" });
    const { session } = await under.person();
    return { body: { textInstructions: "a fox at night" }, credentials: session };
  },
  cases: {
    "200: a recording is written down, and made into the field's text": async ({ call, person }) => {
      const { session } = await person();
      groq.behaves("uh, make it, like, a red fox", "a red fox");
      const { status, body, text } = await call(
        recording({ context: "the picture's prompt", example: "a tall ship", existingValue: "a fox" }),
        session,
        provider(),
      );
      assert.equal(status, 200, text);
      assert.deepEqual(
        [body["success"], body["transcription"], body["prompt"]],
        [true, "uh, make it, like, a red fox", "a red fox"],
      );
      const [transcription, writing] = groq.asked.slice(-2);
      assert.deepEqual(transcription?.form, {
        file: { name: "recording.webm", type: "audio/webm;codecs=opus", size: 2000 },
        model: "whisper-large-v3-turbo",
        temperature: "0",
        response_format: "verbose_json",
      });
      assert.deepEqual(JSON.parse(String(writing?.messages?.[1]?.content)), {
        said: "uh, make it, like, a red fox",
        existing: "a fox",
        context: "the picture's prompt",
        example: "a tall ship",
      });
    },
    "200: only written down, where that was asked for": async ({ call, person }) => {
      const { session } = await person();
      groq.asked.length = 0;
      groq.behaves("a red fox");
      const { body } = await call(recording({ task: "transcribe_only" }), session, provider());
      assert.deepEqual(body, { success: true, transcription: "a red fox", usage: null, local: false });
      assert.equal(groq.asked.length, 1);
    },
    "200: text instead of a recording, by a model or by rules": async ({ call, person }) => {
      const { session } = await person();
      groq.behaves("a red fox");
      const request = { textInstructions: "make it red", existingValue: "a fox", task: "transcribe_only" };
      assert.equal((await call(request, session, provider())).body["prompt"], "a red fox");
      const local = { environment: { promptWriter: createPromptWriter({ AI_PROMPT_LOCAL: "1" }) } };
      const { body } = await call(request, session, local);
      assert.deepEqual([body["prompt"], body["local"]], ["a fox, make it red", true]);
    },
    "200: what was said, with a warning, where only the writing fails": async ({ call, person }) => {
      const { session } = await person();
      groq.behaves("make it red", { status: 400 });
      const { body } = await call(recording(), session, provider());
      assert.deepEqual(
        [body["prompt"], body["usage"], body["warning"]],
        ["make it red", null, "AI enhancement failed, returning raw transcription"],
      );
    },
    "400 no_speech_detected, invalid_request: silence, no recording, another kind of file, no form": async ({
      refused,
      person,
    }) => {
      const { session } = await person();
      groq.behaves("  ");
      await refused("no_speech_detected", recording(), session, provider());
      await refused("invalid_request", recording({}, { bytes: 0 }), session, provider());
      await refused("invalid_request", recording({}, { type: "image/png" }), session, provider());
      await refused("invalid_request", new FormData(), session, provider());
      await refused("invalid_request", {}, session, provider());
      await refused("invalid_request", "no form", session, {
        ...provider(),
        headers: { "content-type": "multipart/form-data; boundary=a" },
      });
    },
    "413 body_too_large: a recording beyond the limit": async ({ refused, person }) => {
      const { session } = await person();
      await refused("body_too_large", recording({}, { bytes: 11 * 1024 * 1024 }), session, provider());
      const { body } = await refused(
        "invalid_request",
        recording({}, { bytes: 10 * 1024 * 1024 + 1 }),
        session,
        provider(),
      );
      assert.deepEqual((body["issues"] as { path: string }[])[0]?.path, "audio");
    },
    "502, 503, 504: what fails before anything is written down": async ({ refused, person }) => {
      const { session } = await person();
      for (const [code, behaviour] of [
        ["provider_failed", { status: 401 }],
        ["provider_unavailable", { status: 500, retryAfter: 0 }],
      ] as const) {
        groq.behaves(behaviour);
        await refused(code, recording(), session, provider());
      }
      groq.behaves({ silent: true });
      const impatient = AbortSignal.timeout;
      AbortSignal.timeout = () => impatient.call(AbortSignal, 50);
      try {
        await refused("provider_timeout", recording(), session, provider());
      } finally {
        AbortSignal.timeout = impatient;
      }
      const local = { environment: { promptWriter: createPromptWriter({ AI_PROMPT_LOCAL: "1" }) } };
      const { body } = await refused("provider_not_configured", recording(), session, local);
      assert.equal(body["variable"], "GROQ_API_KEY");
    },
  },
});
