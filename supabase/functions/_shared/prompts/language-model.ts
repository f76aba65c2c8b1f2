import type Groq from "groq-sdk";
import { AppError } from "../errors/app-error.ts";
import type { PromptVariables } from "./variables.ts";

/** One question to a language model. */
export interface Completion {
  system: string;
  user: string;
  /** Addresses of pictures that the model shall look at, in this order. */
  images?: readonly string[];
  /** 0 to 2. */
  temperature: number;
  maxTokens: number;
}

/** Its answer; `usage` are the tokens as the provider counts them. */
export interface Completed {
  text: string;
  model: string;
  usage: unknown;
}

/** Groq, or another server that speaks its API. Failures are 502, 503 or 504 and say nothing of its answer. */
export interface LanguageModel {
  /** False without a key: then every call is 503 `provider_not_configured`. */
  readonly isConfigured: boolean;
  complete(request: Completion): Promise<Completed>;
  /** Yields the text in pieces and returns the whole. */
  stream(request: Completion): AsyncGenerator<string, Completed>;
  /** What is said in a recording. */
  transcribe(audio: File): Promise<string>;
}

/** Browsers wait 20 to 30 s; a second model must fit in. */
const budgetMilliseconds = 25_000;
const tryMilliseconds = 14_000;
const retries = 2;

const defaults = {
  model: "moonshotai/kimi-k2-instruct-0905",
  fallback: "llama-3.3-70b-versatile",
  vision: "meta-llama/llama-4-scout-17b-16e-instruct",
  transcription: "whisper-large-v3-turbo",
};

export function createLanguageModel(variables: PromptVariables): LanguageModel {
  const apiKey = variables.GROQ_API_KEY;
  let made: Promise<Groq> | undefined;

  async function client(): Promise<Groq> {
    if (!apiKey) throw new AppError("provider_not_configured", { variable: "GROQ_API_KEY", retry_after: 60 });
    return await (made ??= createClient(apiKey, variables.GROQ_BASE_URL));
  }

  /** The first model, and once the other where the first cannot answer. Pictures are shown to one that sees. */
  function modelsFor({ images }: Pick<Completion, "images">): string[] {
    if (images?.length) return [variables.AI_PROMPT_VISION_MODEL ?? defaults.vision];
    return [
      variables.AI_PROMPT_MODEL ?? defaults.model,
      variables.AI_PROMPT_FALLBACK_MODEL ?? defaults.fallback,
    ];
  }

  return {
    isConfigured: apiKey !== undefined,
    async complete(request) {
      const groq = await client();
      return await withFallback(modelsFor(request), async (model, options) => {
        const answer = await groq.chat.completions.create(
          { ...question(request), model, stream: false },
          options,
        );
        const text = answer.choices?.[0]?.message?.content;
        if (typeof text !== "string") throw new MalformedAnswer(`${model} answered without a text`);
        return { text, model, usage: answer.usage ?? null };
      });
    },
    async *stream(request) {
      const groq = await client();
      const opened = await withFallback(modelsFor(request), async (model, options) => {
        const chunks = await groq.chat.completions.create(
          { ...question(request), model, stream: true },
          options,
        );
        return { model, chunks };
      });
      let text = "";
      let usage: unknown = null;
      try {
        for await (const chunk of opened.chunks) {
          const piece = chunk.choices?.[0]?.delta?.content ?? "";
          usage = chunk.x_groq?.usage ?? usage;
          text += piece;
          if (piece !== "") yield piece;
        }
      } catch (error) {
        // A connection that ends is no error of the SDK's here, but of the body that it reads.
        if (isOfSdk(error)) throw providerError(error);
        throw new AppError("provider_unavailable", { retry_after: 10 }, { cause: error });
      }
      return { text, model: opened.model, usage };
    },
    async transcribe(audio) {
      const groq = await client();
      return await withFallback(
        [variables.AI_TRANSCRIPTION_MODEL ?? defaults.transcription],
        async (model, options) => {
          const answer = await groq.audio.transcriptions.create(
            { file: audio, model, temperature: 0, response_format: "verbose_json" },
            options,
          );
          if (typeof answer.text !== "string") throw new MalformedAnswer(`${model} answered without a text`);
          return answer.text;
        },
      );
    },
  };
}

/** Loaded when it is first needed, like Stripe's. */
async function createClient(apiKey: string, baseUrl: string | undefined): Promise<Groq> {
  const { default: Sdk } = await import("groq-sdk");
  if (baseUrl !== undefined && !URL.canParse(baseUrl)) {
    throw new AppError("provider_not_configured", { variable: "GROQ_BASE_URL", retry_after: 60 });
  }
  const base = baseUrl?.replace(/\/+$/, "");
  return new Sdk({
    apiKey,
    ...(base && { baseURL: base }),
    // The SDK asks for /openai/v1/…, as Groq has it; other servers of this API have /v1/…
    ...(base?.endsWith("/v1") && {
      fetch: (url: string | URL | Request, init?: RequestInit) =>
        fetch(String(url).replace(`${base}/openai/v1/`, `${base}/`), init),
    }),
    timeout: tryMilliseconds,
    maxRetries: retries,
    logLevel: "off",
  });
}

function question({ system, user, images = [], temperature, maxTokens }: Completion) {
  return {
    messages: [
      { role: "system" as const, content: system },
      {
        role: "user" as const,
        content:
          images.length === 0
            ? user
            : [
                { type: "text" as const, text: user },
                ...images.map((url) => ({ type: "image_url" as const, image_url: { url } })),
              ],
      },
    ],
    temperature,
    max_completion_tokens: maxTokens,
    top_p: 1,
  };
}

interface TryOptions {
  signal: AbortSignal;
  maxRetries: number;
}

/** The work with each model in turn, until one answers or the time is over. */
async function withFallback<Result>(
  models: string[],
  work: (model: string, options: TryOptions) => Promise<Result>,
): Promise<Result> {
  const signal = AbortSignal.timeout(budgetMilliseconds);
  for (const [index, model] of models.entries()) {
    try {
      return await work(model, { signal, maxRetries: index === 0 ? retries : 0 });
    } catch (error) {
      if (index === models.length - 1 || signal.aborted || !anotherMayAnswer(error))
        throw providerError(error);
    }
  }
  throw new Error("there is no model");
}

class MalformedAnswer extends Error {}

function isMalformed(error: unknown): error is Error {
  return error instanceof MalformedAnswer || error instanceof SyntaxError;
}

function statusOf(error: unknown): number | undefined {
  return error instanceof Error && "status" in error && typeof error.status === "number"
    ? error.status
    : undefined;
}

/** Whether the SDK made this error; its class is there only once the SDK is loaded. */
function isOfSdk(error: unknown): error is Error {
  return error instanceof Error && "status" in error && "headers" in error;
}

/** A key that is refused is refused for every model; what is wrong with one model may not be with another. */
function anotherMayAnswer(error: unknown): boolean {
  const status = statusOf(error);
  return isMalformed(error) || (isOfSdk(error) && status !== 401 && status !== 403);
}

/** The provider's failures as ours; any other error stays what it is. */
function providerError(error: unknown): unknown {
  if (isMalformed(error)) {
    return new AppError("provider_failed", {}, { cause: error });
  }
  if (!isOfSdk(error)) return error;
  const status = statusOf(error);
  const cause = { cause: new Error(`${error.constructor.name} ${status ?? ""}`.trim()) };
  const isTimeout = /Timeout|UserAbort/.test(error.constructor.name);
  if (isTimeout) return new AppError("provider_timeout", { retry_after: 5 }, cause);
  if (status === undefined || status === 429 || status >= 500) {
    return new AppError("provider_unavailable", { retry_after: 10 }, cause);
  }
  return new AppError("provider_failed", {}, cause);
}
