import { Buffer } from "node:buffer";
import { createFalClient } from "@fal-ai/client";
import { faultOf, type FalFaultKind } from "./fal-fault.ts";
import { falAddresses } from "./variables.ts";

/** How FAL says that a job stands. */
export type FalStatus =
  | { state: "waiting"; position: number | undefined }
  | { state: "running"; logs: string[] }
  | { state: "ended"; hasFailed: boolean; failedAs?: string };

/** A call that FAL refused, or that never came to an end. */
export class FalCallError extends Error {
  readonly kind: FalFaultKind;
  /** Whether FAL may have done what was asked, though it did not say so. */
  readonly isAmbiguous: boolean;
  /** Whether FAL, or the model, said so itself; a proxy's page or no answer is not its word. */
  readonly isSaid: boolean;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    message: string,
    options: {
      kind: FalFaultKind;
      isAmbiguous?: boolean;
      isSaid?: boolean;
      retryAfterSeconds?: number | undefined;
    },
  ) {
    super(message);
    this.name = "FalCallError";
    this.kind = options.kind;
    this.isAmbiguous = options.isAmbiguous ?? false;
    this.isSaid = options.isSaid ?? false;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** What FAL answers to a cancel. `requested` says of a job that waits that it never runs, and of one that runs nothing. */
export type FalCancelAnswer = "requested" | "over" | "gone";

export interface FalQueue {
  /** @returns the job's id @throws FalCallError */
  submit(model: string, input: Record<string, unknown>, webhookUrl?: string): Promise<string>;
  status(model: string, requestId: string): Promise<FalStatus>;
  /** What the job made, unread. */
  result(model: string, requestId: string): Promise<unknown>;
  /** @returns `over`: the job has ended; `gone`: FAL knows no such job @throws FalCallError */
  cancel(model: string, requestId: string): Promise<FalCancelAnswer>;
  /** Puts a file where models can fetch it. @returns its address */
  upload(bytes: Uint8Array, contentType: string): Promise<string>;
}

export interface FalAddresses {
  queueUrl?: string | undefined;
  restUrl?: string | undefined;
  /** How long a call may take; default: 30 seconds. */
  callMilliseconds?: number;
}

const uploadMilliseconds = 600_000;
const largestAnswer = 4 * 1024 * 1024;
const loggedLines = 20;

/**
 * FAL's queue by its official client, which is told apart from FAL by one thing: it never repeats a call by itself. It would
 * repeat a submission whose answer was lost, and so pay twice.
 */
export function createFalQueue(
  key: string,
  { queueUrl, restUrl, callMilliseconds = 30_000 }: FalAddresses = {},
): FalQueue {
  const addresses = new Map([
    [falAddresses.queue, (queueUrl ?? falAddresses.queue).replace(/\/+$/, "")],
    [falAddresses.rest, (restUrl ?? falAddresses.rest).replace(/\/+$/, "")],
  ]);
  const trusted = [...addresses.values()].map((address) => new URL(address).origin);
  const fal = createFalClient({
    credentials: key,
    suppressLocalCredentialsWarning: true,
    fetch: (input, init) => send(String(input), init, trusted, callMilliseconds),
    // The key goes to FAL, and to what stands for it, and nowhere else.
    requestMiddleware: (request) => {
      for (const [official, ours] of addresses) {
        if (request.url.startsWith(`${official}/`)) {
          return Promise.resolve({ ...request, url: ours + request.url.slice(official.length) });
        }
      }
      return Promise.reject(
        new FalCallError("the client asks for an address that is not FAL's", { kind: "ours" }),
      );
    },
  });

  return {
    async submit(model, input, webhookUrl) {
      const answer: unknown = await fal.queue.submit(model, { input, ...(webhookUrl && { webhookUrl }) });
      const { request_id: id } = fieldsOf(answer);
      if (typeof id === "string" && /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/.test(id)) return id;
      throw new FalCallError("FAL took a job and does not say which", { kind: "passing", isAmbiguous: true });
    },
    async status(model, requestId) {
      const answer: unknown = await fal.queue.status(model, { requestId, logs: true });
      return statusOf(answer);
    },
    async result(model, requestId) {
      const { data } = await fal.queue.result(model, { requestId });
      return data as unknown;
    },
    async cancel(model, requestId) {
      try {
        await fal.queue.cancel(model, { requestId });
        return "requested";
      } catch (error) {
        if (error instanceof FalCallError && error.kind === "callers") return "over";
        if (error instanceof FalCallError && error.kind === "gone") return "gone";
        throw error;
      }
    },
    async upload(bytes, contentType) {
      const extension = contentType.split("/")[1] ?? "bin";
      const file = new File([bytes as BlobPart], `input.${extension}`, { type: contentType });
      const url: unknown = await fal.storage.upload(file, { lifecycle: { expiresIn: "1d" } });
      if (typeof url === "string" && /^https?:\/\//.test(url)) return url;
      throw new FalCallError("FAL took a file and does not say where it is", { kind: "passing" });
    },
  };
}

/** Not in FAL's documents of its queue, where a failed job is `COMPLETED` with an error; seen by its users all the same. */
const failedStates = new Set(["FAILED", "ERROR", "CANCELLED", "CANCELED", "TIMEOUT", "EXPIRED"]);

function statusOf(answer: unknown): FalStatus {
  const { status, queue_position: position, logs, error } = fieldsOf(answer);
  if (status === "IN_QUEUE") {
    return { state: "waiting", position: Number.isSafeInteger(position) ? (position as number) : undefined };
  }
  if (status === "IN_PROGRESS") {
    const lines = Array.isArray(logs)
      ? logs.slice(-loggedLines).map((line: unknown) => fieldsOf(line)["message"])
      : [];
    return { state: "running", logs: lines.filter((line): line is string => typeof line === "string") };
  }
  if (status === "COMPLETED") return { state: "ended", hasFailed: Boolean(error) };
  if (typeof status === "string" && failedStates.has(status)) {
    return { state: "ended", hasFailed: true, failedAs: status };
  }
  throw new FalCallError("FAL says nothing of how the job stands", { kind: "passing" });
}

/** One request, within limits of time and size; whatever is not the JSON of a success is a FalCallError. */
async function send(
  url: string,
  init: RequestInit | undefined,
  trusted: readonly string[],
  callMilliseconds: number,
): Promise<Response> {
  const { origin, protocol } = new URL(url);
  if (protocol !== "https:" && !trusted.includes(origin)) {
    throw new FalCallError("FAL names an address that is not https", { kind: "passing" });
  }
  const isUpload = init?.method === "PUT" && init.body instanceof Blob;
  const timeout = AbortSignal.timeout(isUpload ? uploadMilliseconds : callMilliseconds);
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { ...init, redirect: "error", signal: timeout });
    text = await limitedText(response);
  } catch (error) {
    if (error instanceof FalCallError) throw error;
    // Without a cause: the client takes those of the network for a reason to try again by itself.
    throw new FalCallError(`FAL cannot be reached: ${codeOf(error)}`, {
      kind: "passing",
      isAmbiguous: !wasNeverSent(error),
    });
  }
  const body = parsed(text);
  if (!response.ok) {
    const { kind, message } = faultOf(response.status, body, response.headers.get("x-fal-retryable"));
    const retryAfter = /^\d{1,9}$/.exec(response.headers.get("retry-after") ?? "")?.[0];
    throw new FalCallError(message, {
      kind,
      // A gateway that gives up says nothing of what is behind it.
      isAmbiguous:
        response.status === 408 ||
        response.status === 502 ||
        response.status === 504 ||
        response.status === 500,
      isSaid: body !== undefined,
      retryAfterSeconds: retryAfter ? Number(retryAfter) : undefined,
    });
  }
  if (body === undefined && !isUpload && text !== "") {
    throw new FalCallError("FAL answers what is no JSON", { kind: "passing", isAmbiguous: true });
  }
  return new Response(text, {
    status: response.status === 204 ? 200 : response.status,
    headers: contentTypeIn(response, body),
  });
}

function contentTypeIn(response: Response, body: unknown): Headers {
  const headers = new Headers({ "content-type": body === undefined ? "text/plain" : "application/json" });
  const id = response.headers.get("x-fal-request-id");
  if (id) headers.set("x-fal-request-id", id);
  return headers;
}

async function limitedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > largestAnswer)
      throw new FalCallError("FAL's answer is too long", { kind: "passing", isAmbiguous: true });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parsed(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined; // A proxy's page, not FAL's.
  }
}

function codeOf(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: unknown }; name?: unknown };
  return typeof cause?.code === "string" ? cause.code : typeof name === "string" ? name : "no answer";
}

/** Nobody was there to take it. */
function wasNeverSent(error: unknown): boolean {
  return [
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "UND_ERR_CONNECT_TIMEOUT",
  ].includes(codeOf(error));
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
