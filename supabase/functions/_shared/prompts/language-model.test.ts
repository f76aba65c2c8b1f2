import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import {
  type FakeGroq,
  type GroqBehaviour,
  Pace,
  startFakeGroq,
} from "../../../../test/support/fake-groq.ts";
import { AppError } from "../errors/app-error.ts";
import {
  type Completed,
  createLanguageModel,
  type LanguageModel,
  usualWaits,
  type Waits,
} from "./language-model.ts";
import type { PromptVariables } from "./variables.ts";

const question = { system: "Write.", user: "{}", temperature: 0.5, maxTokens: 100 };
const recording = new File([new Uint8Array(100)], "recording.webm", { type: "audio/webm" });
const never = new AbortController().signal;
const first = "openai/gpt-oss-120b";
const other = "openai/gpt-oss-20b";
const [sees, seesToo] = ["qwen/qwen3.6-27b", "qwen/qwen3.8-27b"];
const images = ["https://media.example/1.png"];
/** What a provider may say in a body, and nobody of ours may repeat. */
const canary = "org_secret";

let groq: FakeGroq;
before(async () => void (groq = await startFakeGroq()));
beforeEach(() => void (groq.asked.length = 0));
after(() => groq.close());

const model = (waits: Partial<Waits> = {}, variables: PromptVariables = {}) =>
  createLanguageModel(
    { GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url, ...variables },
    { waits: { ...usualWaits, ...waits } },
  );

/** The ways in which a model is asked. */
const ways: Record<string, (asked: LanguageModel, signal?: AbortSignal) => Promise<Completed | string>> = {
  "a whole answer": (asked, signal = never) => asked.complete(question, signal),
  "an answer in pieces": async (asked, signal = never) => {
    const pieces = asked.stream(question, signal);
    for (;;) {
      const { done, value } = await pieces.next();
      if (done) return value;
    }
  },
  "a transcription": (asked, signal = never) => asked.transcribe(recording, signal),
};

async function failureOf(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => assert.fail("it did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof AppError, String(error));
  // Neither what is answered nor what is logged, which is the cause with its stack.
  const told = [
    error.message,
    JSON.stringify(error.details),
    String((error.cause as Error | undefined)?.stack),
  ];
  assert.ok(!told.join().includes(canary), told.join());
  assert.ok(!told.join().includes("gsk_test"), told.join());
  return error;
}

for (const [way, ask] of Object.entries(ways)) {
  const isStream = way === "an answer in pieces";
  describe(way, () => {
    const malformed: GroqBehaviour[] = [
      { raw: `not JSON: ${canary}` },
      { raw: `{"choices": [{"message": {"content": "${canary}` },
      { raw: "" },
      { raw: "null" },
      { raw: "[]" },
      { raw: `{"error": {"message": "${canary}"}}` },
      { raw: '{"choices": []}' },
      { raw: '{"choices": [{}]}' },
      { raw: '{"choices": [{"message": {"content": 5}}], "text": 5}' },
      { raw: `{"choices": [{"message": {"content": ["${canary}"]}}], "text": ["${canary}"]}` },
    ];
    const failures: [string, GroqBehaviour[], RegExp][] = [
      ["our key is refused", [{ status: 401, code: "invalid_api_key" }], /^provider_failed$/],
      ["our key may not do this", [{ status: 403 }], /^provider_failed$/],
      ["what we send is refused", [{ status: 400 }], /^provider_failed$/],
      ["it is too much for it", [{ status: 413 }], /^provider_failed$/],
      ["there is no such model", [{ status: 404, code: "model_not_found" }], /^provider_failed$/],
      ["it breaks", [{ status: 500, retryAfter: 0 }], /^provider_unavailable$/],
      ["its gateway breaks", [{ status: 502, retryAfter: 0 }], /^provider_unavailable$/],
      ["it is overloaded", [{ status: 503, retryAfter: 0 }], /^provider_unavailable$/],
      ["we ask too often", [{ status: 429, retryAfter: 0 }], /^provider_unavailable$/],
      ["it hangs up at once", [{ cut: "at once" }], /^provider_unavailable$/],
      ["it hangs up in the middle", [{ cut: "in the middle" }], /^provider_unavailable$/],
      // A stream that ends without an end; JSON that is cut.
      [
        "it ends in the middle",
        [{ half: canary }],
        isStream ? /^provider_unavailable$/ : /^provider_failed$/,
      ],
      ["it sends us elsewhere", [{ status: 302 }], /^provider_(unavailable|failed)$/],
    ];
    for (const [title, behaviours, expected] of failures) {
      test(`${title}: ${String(expected)}, with nothing of its words`, async () => {
        groq.behaves(...behaviours);
        const { code } = await failureOf(ask(model()));
        assert.match(code, expected);
      });
    }

    test("what is no answer is a failure, never half of one", async () => {
      for (const behaviour of malformed) {
        groq.behaves(behaviour);
        const { code } = await failureOf(ask(model()));
        // For a stream, a body without events has ended before its end.
        assert.match(
          code,
          isStream ? /^provider_(failed|unavailable)$/ : /^provider_failed$/,
          JSON.stringify(behaviour),
        );
      }
    });

    test("a provider that is not there: provider_unavailable", async () => {
      const nowhere = createLanguageModel({ GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: "http://127.0.0.1:1" });
      assert.equal((await failureOf(ask(nowhere))).code, "provider_unavailable");
    });

    test("one that says nothing: provider_timeout, and it is hung up on", async () => {
      groq.behaves({ silent: true });
      assert.equal((await failureOf(ask(model({ model: 100 })))).code, "provider_timeout");
      assert.ok(groq.asked.length > 0);
      for (const { left } of groq.asked) await left;
    });

    test("429 with Retry-After: a short wait is waited, a long one is told", async () => {
      groq.behaves({ status: 429, retryAfter: 1 }, "after a while");
      const answer = await ask(model());
      assert.equal(typeof answer === "string" ? answer : answer.text, "after a while");
      groq.asked.length = 0;
      groq.behaves({ status: 429, retryAfter: 40 });
      const { code, details } = await failureOf(ask(model()));
      assert.deepEqual([code, details["retry_after"]], ["provider_unavailable", 40]);
      // Once of each model: nobody waits so long for a prompt.
      assert.equal(groq.asked.length, 2);
    });

    test("whoever leaves ends the provider's request", async () => {
      const leaving = new AbortController();
      groq.behaves(() => {
        leaving.abort();
        return { silent: true };
      });
      assert.equal((await failureOf(ask(model(), leaving.signal))).code, "provider_timeout");
      assert.equal(groq.asked.length, 1, "no other model is asked for nobody");
      await groq.asked[0]?.left;
    });
  });
}

describe("the other model", () => {
  test("answers where the first is gone, broken, busy or slow, and not where our key is refused", async () => {
    for (const trouble of [
      { status: 404, code: "model_not_found" },
      { status: 400 },
      { status: 429, retryAfter: 60 },
      { raw: "{}" },
      { refusal: "I will not." },
      { cut: "in the middle" },
    ] as const) {
      for (const way of ["a whole answer", "an answer in pieces"]) {
        // A stream that has begun is its reader's: nobody else goes on with it.
        if ("cut" in trouble && way === "an answer in pieces") continue;
        groq.behaves(trouble, "by the other");
        const answer = (await ways[way]?.(model())) as Completed;
        assert.deepEqual([answer.text, answer.model], ["by the other", other], JSON.stringify(trouble));
      }
    }
    groq.asked.length = 0;
    groq.behaves({ status: 401 }, "by the other");
    await failureOf(model().complete(question, never));
    assert.deepEqual(
      groq.asked.map((asked) => asked.model),
      [first],
    );
  });

  test("also where the first says nothing, or opens a stream and says nothing", async () => {
    for (const trouble of [{ silent: true }, { paced: new Pace() }] as const) {
      groq.asked.length = 0;
      groq.behaves((asked) => (asked.model === first ? trouble : "by the other"));
      const way = "paced" in trouble ? "an answer in pieces" : "a whole answer";
      const answer = (await ways[way]?.(model({ model: 1500 }))) as Completed;
      assert.deepEqual([answer.text, answer.model], ["by the other", other]);
      await groq.asked[0]?.left;
    }
  });

  test("of pictures is one that sees, too", async () => {
    groq.behaves({ status: 404 });
    await failureOf(model().complete({ ...question, images }, never));
    assert.deepEqual(
      groq.asked.map((asked) => asked.model),
      [sees, seesToo],
    );
  });

  test("hears where the first is gone", async () => {
    groq.behaves({ status: 404, code: "model_not_found" }, "by the other");
    assert.equal(await model().transcribe(recording, never), "by the other");
    assert.deepEqual(
      groq.asked.map(({ form }) => form?.["model"]),
      ["whisper-large-v3-turbo", "whisper-large-v3"],
    );
  });
});

describe("an answer with nothing in it", () => {
  const empty: GroqBehaviour[] = [
    "",
    " \n\t ",
    "\u200b\u202e",
    { pieces: [" ", "\n"], finish: "length" },
    { pieces: ["<think>", "all the room is used up"], finish: "length" },
    { pieces: ["<think>thought</think>", "\n\n"] },
  ];
  for (const way of ["a whole answer", "an answer in pieces"]) {
    test(`${way}: a model that says nothing is replaced by the other; where both do, it is a failure`, async () => {
      for (const behaviour of empty) {
        groq.behaves(behaviour, "by the other");
        const answer = (await ways[way]?.(model())) as Completed;
        assert.deepEqual([answer.text, answer.model], ["by the other", other], JSON.stringify(behaviour));
        groq.behaves(behaviour);
        const { code } = await failureOf(ways[way]?.(model()) ?? Promise.resolve());
        assert.equal(code, "provider_failed", JSON.stringify(behaviour));
      }
    });
  }

  test("a text that is not what was asked for is replaced as well", async () => {
    groq.behaves("```", "a fox");
    const asked = { ...question, isAnswer: (text: string) => text !== "```" };
    const { text, model: by } = await model().complete(asked, never);
    assert.deepEqual([text, by], ["a fox", other]);
  });
});

describe("reasoning", () => {
  test("each model is told only what it takes, and has room for its thoughts", async () => {
    groq.behaves("an answer");
    await model().complete(question, never);
    await model().complete({ ...question, images }, never);
    await model({}, { AI_PROMPT_MODEL: "someone/own-model" }).complete(question, never);
    const told = groq.asked.map(
      ({ model: named, reasoning_effort, reasoning_format, include_reasoning, max_completion_tokens }) => [
        named,
        reasoning_effort,
        reasoning_format,
        include_reasoning,
        max_completion_tokens,
      ],
    );
    assert.deepEqual(told, [
      [first, "low", undefined, false, question.maxTokens + 2048],
      [sees, "none", "hidden", undefined, question.maxTokens],
      ["someone/own-model", undefined, undefined, undefined, question.maxTokens + 2048],
    ]);
  });

  test("a model that refuses what its name promises is asked without, from then on", async () => {
    const variables = { AI_PROMPT_MODEL: "openai/gpt-oss-120b-preview" };
    groq.behaves(({ reasoning_effort }): GroqBehaviour =>
      reasoning_effort === undefined
        ? "an answer"
        : { status: 400, code: "unsupported_parameter", param: "reasoning_effort" },
    );
    const asked = model({}, variables);
    for (let turn = 0; turn < 2; turn++) {
      const { text, model: by } = await asked.complete(question, never);
      assert.deepEqual([text, by], ["an answer", variables.AI_PROMPT_MODEL]);
    }
    assert.deepEqual(
      groq.asked.map(({ reasoning_effort }) => reasoning_effort),
      ["low", undefined, undefined],
    );
  });

  test("thoughts are in no answer, whole or in pieces, wherever a provider puts them", async () => {
    for (const variables of [{}, { AI_PROMPT_MODEL: "someone/thinks-aloud" }]) {
      for (const way of ["a whole answer", "an answer in pieces"]) {
        groq.behaves({ thinks: "they want a fox", text: "a fox" });
        const answer = (await ways[way]?.(model({}, variables))) as Completed;
        assert.equal(answer.text, "a fox", JSON.stringify([variables, way]));
      }
    }
  });

  test("a block that ends without a beginning: dropped from a whole answer, a failure where its thoughts were shown", async () => {
    const pieces = ["they want ", "a fox</think>\n\n", "a fox"];
    groq.behaves({ pieces });
    assert.equal((await model().complete(question, never)).text, "a fox");
    groq.behaves({ pieces });
    const { code } = await failureOf(ways["an answer in pieces"]?.(model()) ?? Promise.resolve());
    assert.equal(code, "provider_failed");
  });
});

describe("a model that is dead", () => {
  after(() => groq.dead.clear());

  for (const [code, status] of [
    ["model_not_found", 404],
    ["model_decommissioned", 400],
  ] as const) {
    test(`${status} ${code}: named in the log once, listed, and the other answers at once`, async () => {
      groq.dead.clear();
      groq.dead.set(first, code);
      groq.behaves("by the other");
      const logged: [Record<string, unknown>, string][] = [];
      const note = (fields: Record<string, unknown>, message: string) => void logged.push([fields, message]);
      const asked = createLanguageModel(
        { GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url },
        { log: { info: note, warn: note, error: note } },
      );
      for (let turn = 0; turn < 3; turn++) {
        assert.equal((await asked.complete(question, never)).model, other);
      }
      // Once to find out; afterwards the other is asked first.
      assert.deepEqual(
        groq.asked.map((one) => one.model),
        [first, other, other, other],
      );
      assert.equal(logged.length, 1);
      assert.deepEqual(logged[0]?.[0], { model: first, reason: code });
      assert.match(logged[0]?.[1] ?? "", new RegExp(first));
      assert.deepEqual(
        asked.deadModels().map(({ model: named, reason }) => [named, reason]),
        [[first, code]],
      );
      groq.dead.set(other, code);
      assert.equal((await failureOf(asked.complete(question, never))).code, "provider_failed");
      assert.equal(asked.deadModels().length, 2);
      groq.dead.clear();
      await asked.checkModels(never);
      assert.deepEqual(asked.deadModels(), [], "what is served again is not dead");
    });
  }

  test("is found before anybody asks it, by the provider's list", async () => {
    groq.dead.clear();
    groq.listed.delete("whisper-large-v3");
    try {
      const asked = model();
      await asked.checkModels(never);
      assert.deepEqual(
        asked.deadModels().map(({ model: named, reason }) => [named, reason]),
        [["whisper-large-v3", "not_listed"]],
      );
    } finally {
      groq.listed.add("whisper-large-v3");
    }
  });

  test("nothing else counts as dead: a bad request, a bad key, a fault", async () => {
    for (const behaviour of [
      { status: 400 },
      { status: 401 },
      { status: 404 },
      { status: 500, retryAfter: 0 },
      { status: 413 },
    ]) {
      groq.behaves(behaviour);
      const asked = model();
      await failureOf(asked.complete(question, never));
      assert.deepEqual(asked.deadModels(), [], JSON.stringify(behaviour));
    }
  });
});

describe("an answer in pieces", () => {
  test("that stalls between two pieces: provider_timeout, and it is hung up on", async () => {
    groq.behaves({ paced: new Pace("one") });
    const stream = model({ piece: 50 }).stream(question, never);
    assert.equal((await stream.next()).value, "one");
    assert.equal((await failureOf(stream.next())).code, "provider_timeout");
    await groq.asked[0]?.left;
  });

  test("that does not end is ended", async () => {
    groq.behaves({ paced: endless("and so on ".repeat(100)) });
    const { code } = await failureOf(ways["an answer in pieces"]?.(model()) ?? Promise.resolve());
    assert.equal(code, "provider_failed");
    await groq.asked[0]?.left;
  });

  test("that nobody reads on is hung up on", async () => {
    groq.behaves({ paced: new Pace("one") });
    const stream = model().stream(question, never);
    await stream.next();
    await stream.return(undefined as never);
    await groq.asked[0]?.left;
  });
});

describe("OpenAI, where Groq has no key", () => {
  test("its paths, models and key; how many tokens, asked for", async () => {
    const openAi = await startFakeGroq("/v1");
    try {
      const asked = createLanguageModel({ OPENAI_API_KEY: "sk_test", OPENAI_BASE_URL: `${openAi.url}/v1` });
      assert.ok(asked.isConfigured);
      const stream = (await ways["an answer in pieces"]?.(asked)) as Completed;
      assert.deepEqual([stream.text, stream.model], ["an answer", "gpt-4.1-mini"]);
      await asked.complete({ ...question, images: ["https://media.example/1.png"] }, never);
      await asked.transcribe(recording, never);
      assert.deepEqual(
        openAi.asked.map(({ path, authorization, model: named, form }) => [
          path,
          authorization,
          named ?? form?.["model"],
        ]),
        [
          ["/v1/chat/completions", "Bearer sk_test", "gpt-4.1-mini"],
          ["/v1/chat/completions", "Bearer sk_test", "gpt-4.1-mini"],
          ["/v1/audio/transcriptions", "Bearer sk_test", "whisper-1"],
        ],
      );
      assert.deepEqual((openAi.asked[0] as { stream_options?: unknown }).stream_options, {
        include_usage: true,
      });
    } finally {
      await openAi.close();
    }
  });

  test("Groq is asked where both have a key", async () => {
    groq.behaves("an answer");
    await model({}, { OPENAI_API_KEY: "sk_test", OPENAI_BASE_URL: "http://127.0.0.1:1" }).complete(
      question,
      never,
    );
    assert.equal(groq.asked[0]?.authorization, "Bearer gsk_test");
  });

  test("without a key, or with an address that is none, the variable is named", async () => {
    for (const [variables, variable] of [
      [{}, "GROQ_API_KEY"],
      [{ GROQ_BASE_URL: "http://127.0.0.1:1" }, "GROQ_API_KEY"],
      [{ GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: "groq" }, "GROQ_BASE_URL"],
      [{ GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: "file:///etc/passwd" }, "GROQ_BASE_URL"],
      [{ OPENAI_API_KEY: "sk_test", OPENAI_BASE_URL: "openai" }, "OPENAI_BASE_URL"],
    ] as const) {
      const { code, details } = await failureOf(createLanguageModel(variables).complete(question, never));
      assert.deepEqual([code, details["variable"]], ["provider_not_configured", variable]);
    }
  });
});

test("of the tokens' counts only numbers are passed on", async () => {
  groq.behaves("an answer");
  const { usage } = await model().complete(question, never);
  assert.deepEqual(usage, { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 });
});

async function* endless(text: string): AsyncGenerator<string> {
  for (;;) {
    yield text;
    await new Promise((sent) => setImmediate(sent));
  }
}
