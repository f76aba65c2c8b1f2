import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";

/** What was asked of the fake, as it came in. */
export interface AskedOfGroq {
  path: string;
  authorization: string | undefined;
  /** Of a completion. */
  model?: string;
  messages?: { role: string; content: unknown }[];
  temperature?: number;
  stream?: boolean;
  max_completion_tokens?: number;
  reasoning_effort?: string;
  reasoning_format?: string;
  include_reasoning?: boolean;
  /** Of a transcription: the form's fields, files with their bytes. */
  form?: Record<string, string | { name: string; type: string; size: number }>;
  /** Settles when whoever asked hangs up before the answer is complete. */
  left: Promise<void>;
}

/** How the fake behaves next; a text is answered as the model's. */
export type GroqBehaviour =
  | string
  | { status: number; code?: string; retryAfter?: number; param?: string }
  /** Sends this instead of JSON of its own. */
  | { raw: string }
  /** Ends the connection, before anything or in the middle of a stream. */
  | { cut: "at once" | "in the middle"; text?: string }
  /** Ends the answer properly, as a proxy does that lost its other side, before it is complete. */
  | { half: string }
  /** As fast as these come, and no end before theirs. */
  | { paced: AsyncIterable<string> }
  | { refusal: string }
  /** What the model thinks before it answers, given out as it was asked for. */
  | { thinks: string; text: string }
  /** An answer in exactly these pieces; whole where it is asked for as a whole. */
  | { pieces: readonly string[]; finish?: "stop" | "length" }
  | { silent: true };

/** Decides when it is asked, and in its own time. */
export type GroqAnswers = (asked: AskedOfGroq) => GroqBehaviour | Promise<GroqBehaviour>;

export interface FakeGroq {
  url: string;
  asked: AskedOfGroq[];
  /** Models that are gone, and what is said of them. */
  dead: Map<string, "model_not_found" | "model_decommissioned">;
  /** What the list of models holds beside those that are asked for here. */
  listed: Set<string>;
  /** Taken one for each request; the last one stays. */
  behaves(...behaviours: GroqAnswers[] | GroqBehaviour[]): void;
  close(): Promise<void>;
}

/** What Groq lists today, as far as it is used here. */
const served = [
  "openai/gpt-oss-120b",
  "openai/gpt-oss-20b",
  "qwen/qwen3.6-27b",
  "qwen/qwen3.8-27b",
  "whisper-large-v3",
  "whisper-large-v3-turbo",
];

const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };

/** An answer in pieces that a test gives out one by one. */
export class Pace implements AsyncIterable<string> {
  readonly begun: Promise<void>;
  #begin: () => void = () => undefined;
  #more: () => void = () => undefined;
  readonly #pieces: string[] = [];
  #isOver = false;

  constructor(...pieces: string[]) {
    this.#pieces.push(...pieces);
    this.begun = new Promise((settle) => (this.#begin = settle));
  }

  send(piece: string): void {
    this.#pieces.push(piece);
    this.#more();
  }

  end(): void {
    this.#isOver = true;
    this.#more();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    this.#begin();
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) yield piece;
      else if (this.#isOver) return;
      else await new Promise<void>((settle) => (this.#more = settle));
    }
  }
}

/** A server that speaks Groq's API on the wire, for its official SDK. */
export async function startFakeGroq(prefix = "/openai/v1"): Promise<FakeGroq> {
  const asked: AskedOfGroq[] = [];
  const dead: FakeGroq["dead"] = new Map();
  const listed = new Set(served);
  let queue: (GroqBehaviour | GroqAnswers)[] = ["an answer"];
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const path = request.url ?? "";
    if (request.method === "GET" && path === `${prefix}/models`) {
      const data = [...listed].filter((id) => !dead.has(id)).map((id) => ({ id, object: "model" }));
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ object: "list", data }));
      return;
    }
    const isForm = (request.headers["content-type"] ?? "").startsWith("multipart/");
    const left = new Promise<void>((settle) => {
      response.once("close", () => response.writableFinished || settle());
    });
    const question: AskedOfGroq = {
      left,
      path,
      authorization: request.headers.authorization,
      ...(isForm
        ? { form: await formOf(body, request.headers["content-type"] ?? "") }
        : (JSON.parse(body.toString() || "{}") as Partial<AskedOfGroq>)),
    };
    asked.push(question);
    const model = question.model ?? String(question.form?.["model"]);
    const death = dead.get(model);
    if (death) return refuse(response, death === "model_not_found" ? 404 : 400, death);
    const unsupported = prefix === "/openai/v1" ? unsupportedParameter(question) : undefined;
    if (unsupported) return refuse(response, 400, "unsupported_parameter", undefined, unsupported);
    const next = queue.length > 1 ? queue.shift() : queue[0];
    const behaviour = typeof next === "function" ? await next(question) : (next ?? "an answer");
    if (path !== `${prefix}/chat/completions` && path !== `${prefix}/audio/transcriptions`) {
      return refuse(response, 404, "unknown_url");
    }
    if (typeof behaviour === "string") return answer(response, question, behaviour);
    if ("status" in behaviour)
      return refuse(response, behaviour.status, behaviour.code, behaviour.retryAfter, behaviour.param);
    if ("raw" in behaviour) {
      response.writeHead(200, { "content-type": "application/json" }).end(behaviour.raw);
    } else if ("refusal" in behaviour) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(completion(question, null, { refusal: behaviour.refusal }));
    } else if ("thinks" in behaviour) {
      const { content, reasoning } = thought(question, behaviour);
      if (question.stream) {
        response.writeHead(200, { "content-type": "text/event-stream" });
        if (reasoning) response.write(chunk(question, { reasoning }));
        stream(response, question, content.match(/.{1,5}/gs) ?? []);
      } else {
        response.writeHead(200, { "content-type": "application/json" });
        response.end(completion(question, content, reasoning ? { reasoning } : {}));
      }
    } else if ("pieces" in behaviour) {
      const { pieces, finish = "stop" } = behaviour;
      if (question.stream) {
        response.writeHead(200, { "content-type": "text/event-stream" });
        stream(response, question, pieces, finish);
      } else {
        response.writeHead(200, { "content-type": "application/json" });
        response.end(completion(question, pieces.join(""), {}, finish));
      }
    } else if ("half" in behaviour) {
      begin(response, question, behaviour.half);
      response.end();
    } else if ("paced" in behaviour) {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      for await (const piece of behaviour.paced) {
        if (response.destroyed) break;
        response.write(chunk(question, { content: piece }));
      }
      end(response, question);
    } else if ("cut" in behaviour) {
      if (behaviour.cut === "in the middle") {
        begin(response, question, behaviour.text ?? "half");
        await new Promise((sent) => setImmediate(sent));
      }
      response.destroy();
    }
    // Silent: the connection stays, and nothing comes.
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    dead,
    listed,
    behaves(...behaviours) {
      queue = [...behaviours];
    },
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

function answer(response: ServerResponse, asked: AskedOfGroq, text: string): void {
  if (asked.form) {
    const transcription = { task: "transcribe", language: "English", duration: 1.5, text, segments: [] };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(transcription));
    return;
  }
  if (!asked.stream) {
    response.writeHead(200, { "content-type": "application/json" }).end(completion(asked, text));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  stream(response, asked, text.match(/.{1,5}/gs) ?? []);
}

function stream(
  response: ServerResponse,
  asked: AskedOfGroq,
  pieces: readonly string[],
  finish?: string,
): void {
  for (const piece of pieces) response.write(chunk(asked, { content: piece }));
  end(response, asked, finish);
}

/** The parameter that Groq refuses for this model, if one is. */
function unsupportedParameter({
  model = "",
  reasoning_effort: effort,
  reasoning_format: format,
  include_reasoning: included,
}: AskedOfGroq): string | undefined {
  const efforts = model.startsWith("openai/gpt-oss-")
    ? ["low", "medium", "high"]
    : model.startsWith("qwen/qwen3")
      ? ["none", "default"]
      : [];
  if (effort !== undefined && !efforts.includes(effort)) return "reasoning_effort";
  if (format !== undefined && (!model.startsWith("qwen/") || included !== undefined))
    return "reasoning_format";
  return included !== undefined && efforts.length === 0 ? "include_reasoning" : undefined;
}

/** What is given out of a model's thoughts: with the answer, beside it, or not at all. */
function thought(
  { model = "", reasoning_effort, reasoning_format, include_reasoning }: AskedOfGroq,
  { thinks, text }: { thinks: string; text: string },
): { content: string; reasoning?: string } {
  if (reasoning_effort === "none" || reasoning_format === "hidden" || include_reasoning === false) {
    return { content: text };
  }
  if (reasoning_format === "parsed" || model.startsWith("openai/gpt-oss-")) {
    return { content: text, reasoning: thinks };
  }
  return { content: `<think>\n${thinks}\n</think>\n\n${text}` };
}

function end(response: ServerResponse, asked: AskedOfGroq, finish = "stop"): void {
  response.write(chunk(asked, {}, finish, { id: "req_1", usage }));
  response.end("data: [DONE]\n\n");
}

function completion(
  asked: AskedOfGroq,
  content: string | null,
  more: object = {},
  finish_reason = "stop",
): string {
  const message = { role: "assistant", content, ...more };
  return JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_700_000_000,
    model: asked.model,
    choices: [{ index: 0, message, logprobs: null, finish_reason }],
    usage: { ...usage, note: "Groq's own words: org_secret" },
  });
}

/** The first part of an answer with this text. */
function begin(response: ServerResponse, asked: AskedOfGroq, text: string): void {
  response.writeHead(200, { "content-type": asked.stream ? "text/event-stream" : "application/json" });
  response.write(asked.stream ? chunk(asked, { content: text }) : completion(asked, text).slice(0, -30));
}

function chunk(
  asked: AskedOfGroq,
  delta: object,
  finish_reason: string | null = null,
  x_groq?: object,
): string {
  const data = {
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: asked.model,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    ...(x_groq && { x_groq }),
  };
  return `data: ${JSON.stringify(data)}\n\n`;
}

/** An error as Groq words it; the words must reach nobody. */
function refuse(
  response: ServerResponse,
  status: number,
  code = "some_error",
  retryAfter?: number,
  param?: string,
): void {
  response
    .writeHead(status, {
      "content-type": "application/json",
      ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    })
    .end(
      JSON.stringify({
        error: { message: "Groq's own words: org_secret", type: "invalid_request_error", code, param },
      }),
    );
}

async function formOf(body: Buffer, contentType: string): Promise<NonNullable<AskedOfGroq["form"]>> {
  const form = await new Response(new Uint8Array(body), {
    headers: { "content-type": contentType },
  }).formData();
  return Object.fromEntries(
    [...form].map(([name, value]) => [
      name,
      typeof value === "string" ? value : { name: value.name, type: value.type, size: value.size },
    ]),
  );
}
