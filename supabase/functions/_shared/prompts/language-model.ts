import type Groq from "groq-sdk";
import { AppError } from "../errors/app-error.ts";
import type { Log } from "../observability/log.ts";
import { MalformedAnswer, providerError } from "./provider-error.ts";
import { Patience, within } from "./patience.ts";
import { type DeadModel, ModelHealth } from "./model-health.ts";
import { isConfigured, type ModelUse, type Provider, providerOf } from "./provider.ts";
import { reasoningOf, roomForReasoning } from "./reasoning.ts";
import { ThinkFilter, withoutThinking } from "./think-filter.ts";
import type { PromptVariables } from "./variables.ts";
import { plainText } from "./written-text.ts";

/** One question to a language model. */
export interface Completion {
  system: string;
  user: string;
  /** Addresses of pictures that the model shall look at, in this order. */
  images?: readonly string[];
  /** 0 to 2. */
  temperature: number;
  /** Of the answer; a model that reasons is given more. */
  maxTokens: number;
  /** Whether a text is what was asked for; a text without a visible character never is. */
  isAnswer?: (text: string) => boolean;
}

/** Its answer, which has at least one visible character; `usage` are the tokens as the provider counts them. */
export interface Completed {
  text: string;
  model: string;
  usage: Usage;
  /** The model had more to say than `maxTokens`. */
  isCut: boolean;
}

/** Counts by name, as the provider names them; null where it gives none. */
export type Usage = Record<string, number> | null;

/**
 * Groq, or another server that speaks its API. Failures are 502, 503 or 504 and say nothing of its answer; a signal that
 * aborts ends the provider's request.
 */
export interface LanguageModel {
  /** False without a key: then every call is 503 `provider_not_configured`. */
  readonly isConfigured: boolean;
  complete(request: Completion, signal: AbortSignal): Promise<Completed>;
  /** Yields the text in pieces and returns the whole. */
  stream(request: Completion, signal: AbortSignal): AsyncGenerator<string, Completed>;
  /** What is said in a recording; empty where nothing is. */
  transcribe(audio: File, signal: AbortSignal): Promise<string>;
  /** The models in use that their provider does not serve. */
  deadModels(): DeadModel[];
  /** Asks the provider which models it serves, so that a dead one is known before somebody needs it. */
  checkModels(signal: AbortSignal): Promise<void>;
}

/** How long is waited, in milliseconds. */
export interface Waits {
  /** For a whole answer, by whichever model: browsers wait 20 to 30 s. */
  answer: number;
  /** For one model's answer, or the first piece of it: a second model must fit in. */
  model: number;
  /** Between two pieces. */
  piece: number;
}

export const usualWaits: Waits = { answer: 25_000, model: 14_000, piece: 15_000 };

const retries = 2;
/** Longer than whatever `maxTokens` allow; a model that does not stop is broken. */
const longestAnswer = 64_000;

export interface LanguageModelOptions {
  waits?: Waits;
  /** Where a model that turns out to be dead is named. */
  log?: Log | undefined;
}

export function createLanguageModel(
  variables: PromptVariables,
  { waits = usualWaits, log }: LanguageModelOptions = {},
): LanguageModel {
  let made: Promise<Groq> | undefined;
  const client = async (provider: Provider) => await (made ??= createClient(provider, waits));
  const health = new ModelHealth(({ model, reason }) =>
    log?.error(
      { model, reason },
      `the provider does not serve the model ${model}: set another (docs/prompts.md)`,
    ),
  );
  /** Models that refused what they were told about reasoning: their names promise more than they take. */
  const plain = new Set<string>();

  /** The first model, and once the other where the first cannot answer. Pictures are shown to one that sees. */
  function useOf({ images }: Completion): ModelUse {
    return images?.length ? "vision" : "writing";
  }

  /** One question, with what this model takes. One that refuses that is asked once more without. */
  async function asking<Answer>(
    { isGroq }: Provider,
    model: string,
    request: Completion,
    ask: (question: Question) => Promise<Answer>,
  ): Promise<Answer> {
    const { parameters, tokens } = reasoningOf(model);
    const bare = question(request, model, roomForReasoning);
    if (!isGroq || plain.has(model) || Object.keys(parameters).length === 0) return await ask(bare);
    try {
      return await ask({ ...question(request, model, tokens), ...parameters });
    } catch (error) {
      if (!isAboutReasoning(error)) throw error;
      plain.add(model);
      return await ask(bare);
    }
  }

  return {
    isConfigured: isConfigured(variables),
    async complete(request, signal) {
      const provider = providerOf(variables);
      const groq = await client(provider);
      const { result, patience } = await withFallback(
        provider.models[useOf(request)],
        health,
        AbortSignal.any([signal, AbortSignal.timeout(waits.answer)]),
        waits,
        async (model, options) => {
          const answer = await asking(provider, model, request, (question) =>
            groq.chat.completions.create({ ...question, stream: false }, options),
          );
          const choice = answer?.choices?.[0];
          const written = choice?.message?.content;
          if (typeof written !== "string") throw new MalformedAnswer(`${model} answered without a text`);
          if (written.length > longestAnswer) throw new MalformedAnswer(`${model} did not stop`);
          const text = withoutThinking(written);
          if (!isVisible(text)) throw new MalformedAnswer(`${model} answered nothing`);
          const isAnswer = request.isAnswer?.(text) ?? true;
          if (!isAnswer) throw new MalformedAnswer(`${model} answered something else`);
          return { text, model, usage: usageOf(answer.usage), isCut: choice?.finish_reason === "length" };
        },
      );
      patience.end();
      return result;
    },
    async *stream(request, signal) {
      const provider = providerOf(variables);
      const groq = await client(provider);
      const { result, patience } = await withFallback(
        provider.models[useOf(request)],
        health,
        signal,
        waits,
        async (model, options) => {
          const chunks = await asking(provider, model, request, (question) =>
            groq.chat.completions.create(
              {
                ...question,
                stream: true,
                // Groq counts without being asked.
                ...(!provider.isGroq && { stream_options: { include_usage: true } }),
              },
              options,
            ),
          );
          const reading = new StreamReading(model, chunks[Symbol.asyncIterator](), options.signal);
          const first = await reading.next();
          if (first === undefined) throw new MalformedAnswer(`${model} answered nothing`);
          return { reading, first };
        },
      );
      const { reading, first } = result;
      try {
        for (
          let piece: string | undefined = first;
          piece !== undefined;
          piece = await within(reading.signal, reading.next())
        ) {
          patience.renew(waits.piece);
          yield piece;
        }
        return reading.whole();
      } catch (error) {
        throw providerError(error, reading.signal);
      } finally {
        patience.end();
        await reading.end();
      }
    },
    async transcribe(audio, signal) {
      const provider = providerOf(variables);
      const groq = await client(provider);
      const { result, patience } = await withFallback(
        provider.models.transcription,
        health,
        AbortSignal.any([signal, AbortSignal.timeout(waits.answer)]),
        waits,
        async (model, options) => {
          const answer = await groq.audio.transcriptions.create(
            { file: audio, model, temperature: 0, response_format: "verbose_json" },
            options,
          );
          if (typeof answer?.text !== "string") throw new MalformedAnswer(`${model} answered without a text`);
          if (answer.text.length > longestAnswer) throw new MalformedAnswer(`${model} did not stop`);
          return answer.text;
        },
      );
      patience.end();
      return result;
    },
    deadModels: () => health.list(),
    async checkModels(signal) {
      const provider = providerOf(variables);
      // Other servers of this API may serve models that they do not list.
      if (!provider.isGroq) return;
      const groq = await client(provider);
      const served = await servedModels(groq, signal);
      for (const model of new Set(Object.values(provider.models).flat())) {
        if (served.has(model)) health.markAlive(model);
        else health.markDead(model, "not_listed");
      }
    },
  };
}

async function servedModels(groq: Groq, signal: AbortSignal): Promise<Set<string>> {
  try {
    const { data } = await groq.models.list({ signal });
    return new Set(data.map(({ id }) => id));
  } catch (error) {
    throw providerError(error, signal);
  }
}

/** Loaded when it is first needed, like Stripe's. */
async function createClient({ apiKey, baseUrl }: Provider, waits: Waits): Promise<Groq> {
  const { default: Sdk } = await import("groq-sdk");
  return new Sdk({
    apiKey,
    baseURL: baseUrl,
    fetch: async (url: string | URL | Request, init?: RequestInit) => {
      // The SDK asks for /openai/v1/…, as Groq has it; other servers of this API have /v1/…
      const address = baseUrl.endsWith("/v1")
        ? String(url).replace(`${baseUrl}/openai/v1/`, `${baseUrl}/`)
        : url;
      // The key is for this server and no other.
      return withoutLongWaits(await fetch(address, { ...init, redirect: "error" }));
    },
    timeout: waits.model,
    maxRetries: retries,
    logLevel: "off",
  });
}

const longestPauseSeconds = 3;

/** The SDK waits as long as it is told to before it asks again; nobody waits so long for a prompt. */
function withoutLongWaits(response: Response): Response {
  const pause = response.headers.get("retry-after");
  const isShort = pause === null || Number(pause) <= longestPauseSeconds;
  if (response.ok || (isShort && !response.headers.has("retry-after-ms"))) return response;
  const headers = new Headers(response.headers);
  headers.set("x-should-retry", "false");
  return new Response(response.body, { status: response.status, headers });
}

type Question = ReturnType<typeof question> & ReturnType<typeof reasoningOf>["parameters"];

function question(
  { system, user, images = [], temperature, maxTokens }: Completion,
  model: string,
  reasoningTokens: number,
) {
  return {
    model,
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
    max_completion_tokens: maxTokens + reasoningTokens,
    top_p: 1,
  };
}

function isVisible(text: string): boolean {
  return plainText(text).trim() !== "";
}

/** Whether what a model was told about its reasoning is what it refuses. */
function isAboutReasoning(error: unknown): boolean {
  const { status, error: body } = (error ?? {}) as { status?: unknown; error?: unknown };
  const { param, message } = ((body as { error?: unknown } | undefined)?.error ?? {}) as {
    param?: unknown;
    message?: unknown;
  };
  return (
    status === 400 && [param, message].some((text) => /(include_reasoning|reasoning_\w+)/.test(String(text)))
  );
}

/** An answer in pieces, as it is read, without what the model thinks aloud. */
class StreamReading {
  #text = "";
  #length = 0;
  #hasShown = false;
  #isOver = false;
  readonly #filter = new ThinkFilter();
  #usage: Usage = null;
  #finish: string | undefined;
  readonly #model: string;
  readonly #chunks: AsyncIterator<Groq.Chat.ChatCompletionChunk>;
  readonly signal: AbortSignal;

  constructor(model: string, chunks: AsyncIterator<Groq.Chat.ChatCompletionChunk>, signal: AbortSignal) {
    this.#model = model;
    this.#chunks = chunks;
    this.signal = signal;
  }

  /** The next piece with something in it; undefined after the last. The first has a visible character. */
  async next(): Promise<string | undefined> {
    while (!this.#isOver) {
      const { done, value: chunk } = await this.#chunks.next();
      // The SDK ends quietly when it is aborted, and when the connection is closed between two events.
      this.signal.throwIfAborted();
      if (done) {
        if (this.#finish === undefined) throw new TypeError("the answer ended in the middle");
        this.#isOver = true;
        return this.#shown(this.#filter.end());
      }
      const choice = chunk?.choices?.[0];
      this.#usage =
        usageOf(chunk?.x_groq?.usage ?? (chunk as { usage?: unknown } | null)?.usage) ?? this.#usage;
      this.#finish = choice?.finish_reason ?? this.#finish;
      const piece = choice?.delta?.content;
      if (typeof piece !== "string" || piece === "") continue;
      this.#length += piece.length;
      if (this.#length > longestAnswer) throw new MalformedAnswer(`${this.#model} did not stop`);
      const shown = this.#shown(this.#filter.add(piece));
      // What its reader has seen was thought, not answered.
      if (this.#filter.hasOrphan && this.#hasShown) {
        throw new MalformedAnswer(`${this.#model} mixed thoughts and answer`);
      }
      if (shown !== undefined) return shown;
    }
    return undefined;
  }

  /** Blanks alone are held back until something can be seen. */
  #shown(piece: string): string | undefined {
    this.#text += piece;
    if (this.#hasShown) return piece === "" ? undefined : piece;
    if (!isVisible(this.#text)) return undefined;
    this.#hasShown = true;
    return this.#text;
  }

  whole(): Completed {
    return { text: this.#text, model: this.#model, usage: this.#usage, isCut: this.#finish === "length" };
  }

  /** Ends the provider's request, unless it is over. Not waited for: what hangs is aborted by its signal. */
  async end(): Promise<void> {
    if (this.#finish !== undefined) return;
    this.#chunks.return?.().catch(() => undefined);
  }
}

/** Numbers alone: whatever else a provider puts there is its own. */
function usageOf(given: unknown): Usage {
  if (typeof given !== "object" || given === null) return null;
  const counts = Object.entries(given).filter(
    (entry): entry is [string, number] => typeof entry[1] === "number" && /^[a-z_]{1,40}$/.test(entry[0]),
  );
  return counts.length === 0 ? null : Object.fromEntries(counts.slice(0, 20));
}

interface TryOptions {
  signal: AbortSignal;
  maxRetries: number;
}

/** The work with each model in turn, until one answers or the time is over. Whoever is answered ends the patience. */
async function withFallback<Result>(
  models: readonly string[],
  health: ModelHealth,
  whole: AbortSignal,
  waits: Waits,
  work: (model: string, options: TryOptions) => Promise<Result>,
): Promise<{ result: Result; patience: Patience }> {
  for (const [index, model] of health.ordered(models).entries()) {
    const isLast = index === models.length - 1;
    const patience = new Patience(waits.model);
    const signal = AbortSignal.any([whole, patience.signal]);
    try {
      const result = await within(signal, work(model, { signal, maxRetries: index === 0 ? retries : 0 }));
      health.markAlive(model);
      return { result, patience };
    } catch (error) {
      patience.end();
      const isDead = health.note(model, error);
      const failure = providerError(error, signal);
      if (isLast || whole.aborted || !(isDead || anotherMayAnswer(failure))) throw failure;
    }
  }
  throw new Error("there is no model");
}

/** A key that is refused is refused for every model; what is wrong with one model may not be with another. */
function anotherMayAnswer(failure: AppError): boolean {
  const status = (failure.cause as { status?: unknown } | undefined)?.status;
  return status !== 401 && status !== 403;
}
