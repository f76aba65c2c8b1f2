/**
 * FAL, as far as Darkroom uses it, speaking its HTTP so that the official client runs against it: the queue (submit, status
 * with logs, result, cancel), the upload of files, the files of results, webhooks with their signatures and key set. Its
 * models (`fake-fal/models.ts`) refuse what the real ones refuse, fetch their input files, and answer with real media.
 */
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { FalIssue } from "./fake-fal/check-input.ts";
import type { Fetcher, Medium } from "./fake-fal/input-files.ts";
import { isKnown, runModel } from "./fake-fal/models.ts";
import { flatWeights } from "./fake-fal/weights.ts";
import { film } from "./film.ts";
import { png } from "./png.ts";

/** How a job goes on: one step for each time that somebody asks how it stands; the last one stays. */
export type FalStep = { queue: number } | { logs: string[] } | { state: string } | "ended";

export interface FalJob {
  requestId: string;
  model: string;
  input: Record<string, unknown>;
  /** Where its end is to be told. */
  webhook: string | undefined;
  steps: FalStep[];
  /** What the result answers. Without a body, the model's own answer. */
  result: { status: number; body?: unknown; headers?: Record<string, string> };
  /** What the status says of a failure. */
  error?: string;
  /** Somebody asked for it to be cancelled while it waited or ran. */
  isCancelled: boolean;
  /** It waited then, and never runs. */
  isWithdrawn: boolean;
  timesAsked: number;
}

/** Something that goes wrong, with the next matching requests. */
export interface FalFault {
  /** Such as `POST /fal-ai/z-image/turbo` or `GET .*\/status`. */
  at: RegExp;
  times?: number;
  /** `cut-after`: everything is done, and nothing answered. `half`: the answer ends in its middle. */
  does:
    | "cut"
    | "cut-after"
    | "half"
    | { status: number; body?: unknown; headers?: Record<string, string> }
    | { text: string };
}

export interface FalFile {
  bytes: Uint8Array;
  headers?: Record<string, string>;
  status?: number;
}

export interface FakeFal {
  url: string;
  key: string;
  /** The settings under which Darkroom speaks to this one. */
  variables: { FAL_KEY: string; FAL_QUEUE_URL: string; FAL_REST_URL: string; FAL_JWKS_URL: string };
  /** Every job that was ever submitted, which is what is paid. */
  jobs: FalJob[];
  /** What models refused of inputs: unknown fields, wrong values, files that cannot be fetched. */
  refusals: { model: string; issues: FalIssue[] }[];
  /** Files of the public web by address. Sites below `.example` and huggingface.co have any other. */
  web: Map<string, Uint8Array>;
  /** `METHOD /path?query` of every request. */
  requests: string[];
  faults: FalFault[];
  /** Files of results by path, and those that were uploaded. */
  files: Map<string, FalFile>;
  uploaded: { bytes: Buffer; contentType: string }[];
  /** The job that made these bytes, if one did. */
  maker(bytes: Uint8Array): FalJob | undefined;
  /** What FAL has at an address: an uploaded file, or one of a result. */
  contentAt(address: string): Uint8Array | undefined;
  /** What a new job is to do; called before it is answered. */
  plan: (job: FalJob) => void;
  /** What every request waits for before anything is done. */
  gate: (request: string) => Promise<void> | void;
  /** What its answer waits for when everything is done. */
  answerGate: (request: string) => Promise<void> | void;
  /** A file of a result, and the address under which it is. */
  file(path: string, file?: FalFile): string;
  /** Resolves when so many requests like this have been answered. */
  answered(pattern: RegExp, times?: number): Promise<void>;
  /** Body and signature of the webhook that tells of a job's end. */
  news(job: FalJob, options?: NewsOptions): { body: string; headers: Record<string, string> };
  /** The same, sent to where the job says, unless another place is named. */
  tell(job: FalJob, options?: NewsOptions & { to?: string }): Promise<Response>;
  /** From now on another key signs. The one before stays known, unless it is withdrawn. */
  rotateKey(options?: { withdraw?: boolean }): void;
  close(): Promise<void>;
}

export interface NewsOptions {
  timestamp?: number;
  body?: Record<string, unknown>;
  userId?: string;
}

export function pictures(urls: string[], flags = urls.map(() => false)): Record<string, unknown> {
  return {
    images: urls.map((url) => ({ url, width: 64, height: 64, content_type: "image/png" })),
    seed: 4242,
    prompt: "as it was understood",
    has_nsfw_concepts: flags,
    timings: { inference: 0.5 },
  };
}

export async function startFakeFal(): Promise<FakeFal> {
  const key = "11111111-2222-4333-8444-canary555555:0f0f0f0f0f0f0f0f";
  let signers = [generateKeyPairSync("ed25519")];
  const answered: string[] = [];
  const waiting = new Set<() => void>();
  const uploads = new Map<string, Uint8Array>();
  const makers = new Map<string, FalJob>();

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      // A fault of this fake; the caller sees a connection that is cut.
      console.error("the fake FAL failed", error);
      request.socket.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  interface Answer {
    status: number;
    body?: unknown;
    headers?: Record<string, string>;
    bytes?: Uint8Array;
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const line = `${request.method} ${request.url}`;
    fake.requests.push(line);
    const sent = await buffer(request);
    await fake.gate(line);
    const fault = takeFault(line);
    if (fault === "cut") return void request.socket.destroy();
    if (typeof fault === "object" && "text" in fault) return void response.end(fault.text);
    const answer: Answer = typeof fault === "object" ? fault : await answerTo(request, sent);
    await fake.answerGate(line);
    const bytes = answer.bytes ?? Buffer.from(answer.body === undefined ? "" : JSON.stringify(answer.body));
    if (fault === "cut-after") return void request.socket.destroy();
    const type = answer.bytes ? {} : { "content-type": "application/json" };
    response.writeHead(answer.status, { ...type, "content-length": bytes.length, ...answer.headers });
    if (fault === "half") {
      response.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), () => request.socket.destroy());
    } else {
      response.end(bytes);
      await once(response, "close");
    }
    answered.push(line);
    for (const look of waiting) look();
  }

  function takeFault(line: string): FalFault["does"] | undefined {
    const fault = fake.faults.find(({ at, times = 1 }) => times > 0 && at.test(line));
    if (!fault) return undefined;
    fault.times = (fault.times ?? 1) - 1;
    return fault.does;
  }

  async function answerTo(request: IncomingMessage, sent: Buffer): Promise<Answer> {
    const { pathname, searchParams } = new URL(request.url ?? "/", url);
    const method = request.method ?? "GET";
    if (pathname === "/.well-known/jwks.json") return { status: 200, body: { keys: keySet() } };
    const file = fake.files.get(pathname);
    if (method === "GET" && file)
      return {
        status: file.status ?? 200,
        bytes: file.bytes,
        ...(file.headers && { headers: file.headers }),
      };
    if (method === "PUT" && pathname.startsWith("/uploads/")) {
      fake.uploaded.push({ bytes: sent, contentType: request.headers["content-type"] ?? "" });
      uploads.set(uploadedAt(pathname), sent);
      return { status: 200, body: {} };
    }
    if (request.headers.authorization !== `Key ${key}`) {
      return { status: 401, body: { detail: `Cannot access application: key ${key} is no key` } };
    }
    if (method === "POST" && pathname === "/storage/upload/initiate") {
      const path = `/uploads/${randomUUID()}`;
      return { status: 200, body: { upload_url: url + path, file_url: uploadedAt(path) } };
    }
    const [, model = "", requestId = "", tail = ""] =
      /^\/([^/]+\/[^/]+)\/requests\/([^/]+)(\/status|\/cancel)?$/.exec(pathname) ?? [];
    if (requestId) return answerOfJob(method, model, requestId, tail);
    if (method === "POST")
      return await submit(pathname.slice(1), sent, searchParams.get("fal_webhook") ?? undefined);
    return { status: 404, body: { detail: "Not Found" } };
  }

  async function submit(model: string, sent: Buffer, webhook: string | undefined): Promise<Answer> {
    if (!isKnown(model)) return { status: 404, body: { detail: `Application "${model}" not found` } };
    const job: FalJob = {
      requestId: randomUUID(),
      model,
      input: JSON.parse(sent.toString()) as Record<string, unknown>,
      webhook,
      steps: [{ queue: 1 }, { logs: ["loading", "step 1 of 2, 50%"] }, "ended"],
      result: { status: 200 },
      isCancelled: false,
      isWithdrawn: false,
      timesAsked: 0,
    };
    fake.plan(job);
    fake.jobs.push(job);
    if (job.result.status === 200 && job.result.body === undefined) await runJob(job);
    const base = `${url}/${model.split("/").slice(0, 2).join("/")}/requests/${job.requestId}`;
    const urls = { response_url: base, status_url: `${base}/status`, cancel_url: `${base}/cancel` };
    return {
      status: 200,
      body: { status: "IN_QUEUE", request_id: job.requestId, queue_position: 1, ...urls },
    };
  }

  /** Sets the result to what the model answers. */
  async function runJob(job: FalJob): Promise<void> {
    const answer = await runModel(job.model, job.input, {
      requestId: job.requestId,
      fetch: fetchInput,
      keep(bytes, contentType, extension) {
        makers.set(digestOf(bytes), job);
        const path = `/files/${job.requestId}/${randomUUID()}.${extension}`;
        return fake.file(path, { bytes, headers: { "content-type": contentType } });
      },
    });
    Object.assign(job.result, answer);
    if (answer.status === 200) return;
    const { detail } = answer.body as { detail: FalIssue[] };
    fake.refusals.push({ model: job.model, issues: detail });
    job.error ??= `Invalid status code: ${answer.status}`;
  }

  /** What FAL reaches: its own files, and public https. The files of results are at this server's own address here. */
  const fetchInput: Fetcher = (address, medium) => {
    const found = uploads.get(address) ?? fake.web.get(address);
    if (found) return found;
    if (!URL.canParse(address)) return medium === "weights" ? flatWeights(address) : undefined;
    const { protocol, hostname, origin, pathname } = new URL(address);
    if (origin === url) return fake.files.get(pathname)?.bytes;
    const isThere = hostname.endsWith(".example") || hostname === "huggingface.co";
    return protocol === "https:" && isThere ? exampleFile(pathname, medium) : undefined;
  };

  function answerOfJob(method: string, model: string, requestId: string, tail: string): Answer {
    const job = fake.jobs.find((one) => one.requestId === requestId && one.model.startsWith(model));
    if (!job) return { status: 404, body: { detail: "Request not found" } };
    const step = job.steps[Math.min(job.timesAsked, job.steps.length - 1)] ?? "ended";
    if (job.isWithdrawn) return answerOfWithdrawn(method, requestId, tail);
    if (tail === "/cancel" && method === "PUT") {
      job.isWithdrawn = typeof step === "object" && "queue" in step;
      if (step === "ended") return { status: 400, body: { status: "ALREADY_COMPLETED" } };
      job.isCancelled = true;
      return { status: 202, body: { status: "CANCELLATION_REQUESTED" } };
    }
    if (method !== "GET") return { status: 405, body: { detail: "Method Not Allowed" } };
    if (tail === "/status") {
      job.timesAsked++;
      if (step === "ended")
        return {
          status: 200,
          body: { status: "COMPLETED", request_id: requestId, logs: [], error: job.error },
        };
      if ("state" in step)
        return { status: 200, body: { request_id: requestId, status: step.state, error: job.error } };
      const body =
        "queue" in step
          ? { status: "IN_QUEUE", queue_position: step.queue }
          : { status: "IN_PROGRESS", logs: step.logs.map((message) => ({ message, level: "INFO" })) };
      return { status: 202, body: { request_id: requestId, ...body } };
    }
    if (step !== "ended" && !("state" in step))
      return { status: 400, body: { detail: "Request is still in progress" } };
    return { ...job.result, headers: { "x-fal-request-id": requestId, ...job.result.headers } };
  }

  /** As a job is that was taken from the queue: ended, without a result. */
  function answerOfWithdrawn(method: string, requestId: string, tail: string): Answer {
    if (tail === "/cancel" && method === "PUT") return { status: 400, body: { status: "ALREADY_COMPLETED" } };
    if (method !== "GET") return { status: 405, body: { detail: "Method Not Allowed" } };
    const error = "Request was cancelled";
    if (tail === "/status")
      return { status: 200, body: { status: "COMPLETED", request_id: requestId, logs: [], error } };
    return { status: 499, body: { detail: error, error_type: "request_cancelled" } };
  }

  function keySet(): unknown[] {
    return signers.map(({ publicKey }, index) => ({
      ...publicKey.export({ format: "jwk" }),
      kid: `key-${index}`,
    }));
  }

  const fake: FakeFal = {
    url,
    key,
    variables: {
      FAL_KEY: key,
      FAL_QUEUE_URL: url,
      FAL_REST_URL: url,
      FAL_JWKS_URL: `${url}/.well-known/jwks.json`,
    },
    jobs: [],
    refusals: [],
    web: new Map(),
    requests: [],
    faults: [],
    files: new Map(),
    uploaded: [],
    maker: (bytes) => makers.get(digestOf(bytes)),
    contentAt: (address) =>
      uploads.get(address) ??
      (address.startsWith(`${url}/`) ? fake.files.get(address.slice(url.length))?.bytes : undefined),
    plan: () => undefined,
    gate: () => undefined,
    answerGate: () => undefined,
    file(path, file = { bytes: png(), headers: { "content-type": "image/png" } }) {
      fake.files.set(path, file);
      return url + path;
    },
    answered: (pattern, times = 1) =>
      new Promise((resolve) => {
        const look = () => {
          if (answered.filter((line) => pattern.test(line)).length < times) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    news(job, { timestamp = Math.floor(Date.now() / 1000), body: other, userId = "github|4242" } = {}) {
      const isOk = job.result.status < 400;
      const body = JSON.stringify({
        request_id: job.requestId,
        gateway_request_id: job.requestId,
        status: isOk ? "OK" : "ERROR",
        payload: job.result.body,
        ...(!isOk && { error: `Invalid status code: ${job.result.status}` }),
        ...other,
      });
      const digest = createHash("sha256").update(body).digest("hex");
      const message = [job.requestId, userId, String(timestamp), digest].join("\n");
      const signer = signers.at(-1);
      if (!signer) throw new Error("there is no key");
      return {
        body,
        headers: {
          "content-type": "application/json",
          "x-fal-webhook-request-id": job.requestId,
          "x-fal-webhook-user-id": userId,
          "x-fal-webhook-timestamp": String(timestamp),
          "x-fal-webhook-signature": sign(null, Buffer.from(message), signer.privateKey).toString("hex"),
        },
      };
    },
    async tell(job, { to = job.webhook, ...options } = {}) {
      if (!to) throw new Error("the job has no webhook");
      const { body, headers } = fake.news(job, options);
      return await fetch(to, { method: "POST", headers, body });
    },
    rotateKey({ withdraw = false } = {}) {
      signers = [...(withdraw ? [] : signers), generateKeyPairSync("ed25519")];
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return fake;
}

function uploadedAt(path: string): string {
  return `https://v3.fal.media/files${path}`;
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A site that has any file: a small picture, a small film, weights, or an archive. */
function exampleFile(pathname: string, medium: Medium): Uint8Array {
  if (medium === "weights") return flatWeights(pathname);
  if (medium === "archive") return Buffer.from("PK\x05\x06".padEnd(22, "\0"), "latin1");
  return medium === "film" || /\.(mp4|mov|webm)$/.test(pathname) ? film() : png({ width: 64, height: 64 });
}
