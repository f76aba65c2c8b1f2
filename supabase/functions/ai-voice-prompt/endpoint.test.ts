import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before } from "node:test";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { accountOf } from "../../../test/support/factories.ts";
import { type FakeGroq, startFakeGroq } from "../../../test/support/fake-groq.ts";
import { usualWaits, type Waits } from "../_shared/prompts/language-model.ts";
import { createPromptWriter } from "../_shared/prompts/prompt-writer.ts";
import { aiVoicePromptEndpoint } from "./endpoint.ts";

let groq: FakeGroq;
before(async () => void (groq = await startFakeGroq()));
after(() => groq.close());

const provider = (waits: Partial<Waits> = {}) => ({
  environment: {
    promptWriter: createPromptWriter(
      { GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url },
      { waits: { ...usualWaits, ...waits } },
    ),
  },
});

const price = 2_500;

/** Under a price; afterwards it is free again, and no account is wrong. */
function priced(
  run: (under: EndpointUnderTest) => Promise<void>,
): (under: EndpointUnderTest) => Promise<void> {
  return async (under) => {
    const publish = async (microusd: number) =>
      await under.sql`select publish_price('ai-voice-prompt', 'per_unit', ${microusd}, '{}', null, 'test', 'test', ${randomUUID()})`;
    await publish(price);
    try {
      await run(under);
      assert.deepEqual([...(await under.sql`select * from find_ledger_faults()`)], []);
    } finally {
      await publish(0);
    }
  };
}

/** A recording as a browser sends it. */
function recording(
  fields: Record<string, string> = {},
  { type = "audio/webm;codecs=opus", bytes = 2000 } = {},
): FormData {
  const form = new FormData();
  const content = new Uint8Array(bytes).fill(7);
  content.set(new TextEncoder().encode(bytes > 12 ? "RIFF....WAVE" : ""));
  form.set("audio", new File([content], "../it's mine", { type }));
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
        file: { name: "recording.wav", type: "audio/wav", size: 2000 },
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
      for (const behaviour of [{ status: 400 }, "  "] as const) {
        groq.behaves("make it red", behaviour);
        const { body } = await call(recording(), session, provider());
        assert.deepEqual(
          [body["prompt"], body["usage"], body["warning"], body["charge"]],
          ["make it red", null, "AI enhancement failed, returning raw transcription", undefined],
        );
      }
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
      await refused("invalid_request", recording({}, { bytes: 10 }), session, provider());
      const wordy = recording(
        Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`x${index}`, "x"])),
      );
      await refused("invalid_request", wordy, session, provider());
      await refused("invalid_request", recording({ context: "x".repeat(10_001) }), session, provider());
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
    "paid: a recording that is answered; free: what failed, also the second half of it": priced(
      async (under) => {
        const { sql, call } = under;
        const { session, userId } = await under.person({ balanceMicrousd: 10_000 });
        for (const behaviours of [
          ["make it red", { status: 400 }],
          [{ status: 500, retryAfter: 0 }],
          ["  "],
        ] as const) {
          groq.behaves(...behaviours);
          const { body } = await call(recording(), session, provider());
          assert.equal(body["charge"], undefined);
          assert.deepEqual(await accountOf(sql, userId), { balance: 10_000, held: 0 });
        }
        await under.refused("invalid_request", recording({}, { bytes: 10 }), session, provider());
        groq.behaves("make it red", "a red fox", "another fox");
        groq.asked.length = 0;
        const keyed = () => recording({ idempotency_key: "once" });
        const first = await call(keyed(), session, provider());
        assert.equal((first.body["charge"] as { microusd: number }).microusd, price);
        const again = await call(keyed(), session, provider());
        assert.deepEqual(again.body, { ...first.body, deduplicated: true });
        assert.equal(groq.asked.length, 2);
        await under.refused(
          "idempotency_key_reused",
          recording({ idempotency_key: "once" }, { bytes: 2001 }),
          session,
          provider(),
        );
        assert.deepEqual(await accountOf(sql, userId), { balance: 7_500, held: 0 });
        const heard = await call(recording({ task: "transcribe_only" }), session, provider());
        assert.equal((heard.body["charge"] as { microusd: number }).microusd, price);
        const free = await call(recording(), under.service, provider());
        assert.equal(free.body["charge"], undefined);
      },
    ),
    "402, 403, 404, 409: not covered, another's account, nobody's, the same call at once": priced(
      async (under) => {
        const { sql, refused } = under;
        const poor = await under.person({ balanceMicrousd: price - 1 });
        groq.asked.length = 0;
        await refused("insufficient_credits", recording(), poor.session, provider());
        await sql`select take_back_credit(${poor.userId}, 'refund', 15000, ${randomUUID()})`;
        await refused("account_in_debt", recording(), poor.session, provider());
        const rich = await under.person();
        const token = await rich.token();
        await sql`select set_spend_cap(${rich.userId}, null, ${token.id}, 1)`;
        await refused("spend_cap_reached", recording(), token.credentials, provider());
        await refused("forbidden", recording({ user_id: poor.userId }), rich.session, provider());
        await refused("user_not_found", recording({ user_id: randomUUID() }), under.service, provider());
        assert.deepEqual(groq.asked, []);
        const keyed = { textInstructions: "make it red", idempotency_key: "at once" };
        groq.behaves(async () => {
          // While the first is being answered.
          await refused("call_in_progress", keyed, rich.session, provider());
          return "a red fox";
        });
        const first = await under.call(keyed, rich.session, provider());
        assert.equal(first.body["prompt"], "a red fox");
      },
    ),
    "429 free_allowance_used: a recording that is written from is two model calls": async (under) => {
      const { session } = await under.person();
      const allow = (calls: number) => under.sql`update credit_settings set free_calls_per_day = ${calls}`;
      await allow(3);
      try {
        groq.behaves("make it red", "a red fox");
        assert.equal((await under.call(recording(), session, provider())).status, 200);
        await under.refused("free_allowance_used", recording(), session, provider());
        groq.behaves("make it red");
        const heard = recording({ task: "transcribe_only" });
        assert.equal((await under.call(heard, session, provider())).status, 200);
        await under.refused(
          "free_allowance_used",
          recording({ task: "transcribe_only" }),
          session,
          provider(),
        );
      } finally {
        await allow(100);
      }
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
      await refused("provider_timeout", recording(), session, provider({ model: 50 }));
      const local = { environment: { promptWriter: createPromptWriter({ AI_PROMPT_LOCAL: "1" }) } };
      const { body } = await refused("provider_not_configured", recording(), session, local);
      assert.equal(body["variable"], "GROQ_API_KEY");
    },
  },
});
