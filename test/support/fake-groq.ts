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
  /** Of a transcription: the form's fields, files with their bytes. */
  form?: Record<string, string | { name: string; type: string; size: number }>;
  /** Settles when whoever asked hangs up before the answer is complete. */
  left: Promise<void>;
}

/** How the fake behaves next; a text is answered as the model's. */
export type GroqBehaviour =
  | string
  | { status: number; code?: string; retryAfter?: number }
  /** Sends this instead of JSON of its own. */
  | { raw: string }
  /** Ends the connection, before anything or in the middle of a stream. */
  | { cut: "at once" | "in the middle"; text?: string }
  /** Ends the answer properly, as a proxy does that lost its other side, before it is complete. */
  | { half: string }
  /** As fast as these come, and no end before theirs. */
  | { paced: AsyncIterable<string> }
  | { refusal: string }
  | { silent: true };

/** Decides when it is asked, and in its own time. */
export type GroqAnswers = (asked: AskedOfGroq) => GroqBehaviour | Promise<GroqBehaviour>;

export interface FakeGroq {
  url: string;
  asked: AskedOfGroq[];
  /** Taken one for each request; the last one stays. */
  behaves(...behaviours: GroqAnswers[] | GroqBehaviour[]): void;
  close(): Promise<void>;
}

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
  let queue: (GroqBehaviour | GroqAnswers)[] = ["an answer"];
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const path = request.url ?? "";
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
    const next = queue.length > 1 ? queue.shift() : queue[0];
    const behaviour = typeof next === "function" ? await next(question) : (next ?? "an answer");
    if (path !== `${prefix}/chat/completions` && path !== `${prefix}/audio/transcriptions`) {
      return refuse(response, 404, "unknown_url");
    }
    if (typeof behaviour === "string") return answer(response, question, behaviour);
    if ("status" in behaviour)
      return refuse(response, behaviour.status, behaviour.code, behaviour.retryAfter);
    if ("raw" in behaviour) {
      response.writeHead(200, { "content-type": "application/json" }).end(behaviour.raw);
    } else if ("refusal" in behaviour) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(completion(question, null, { refusal: behaviour.refusal }));
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
  for (const piece of text.match(/.{1,5}/gs) ?? []) response.write(chunk(asked, { content: piece }));
  end(response, asked);
}

function end(response: ServerResponse, asked: AskedOfGroq): void {
  response.write(chunk(asked, {}, "stop", { id: "req_1", usage }));
  response.end("data: [DONE]\n\n");
}

function completion(asked: AskedOfGroq, content: string | null, more: object = {}): string {
  const message = { role: "assistant", content, ...more };
  return JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_700_000_000,
    model: asked.model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
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
function refuse(response: ServerResponse, status: number, code = "some_error", retryAfter?: number): void {
  response
    .writeHead(status, {
      "content-type": "application/json",
      ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    })
    .end(
      JSON.stringify({
        error: { message: "Groq's own words: org_secret", type: "invalid_request_error", code },
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
