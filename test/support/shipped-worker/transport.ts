import { setTimeout as pause } from "node:timers/promises";
import type { HostUnderTest } from "../hosts.ts";

export interface Reply {
  status: number;
  text: string;
  body: unknown;
}

/** What the client reads of an answer; a text that is no JSON stays one. */
async function replyOf(response: Response): Promise<Reply> {
  const text = await response.text();
  try {
    return { status: response.status, text, body: JSON.parse(text) as unknown };
  } catch {
    return { status: response.status, text, body: undefined };
  }
}

/** Thrown where the client's own words would go into the task: `[EDGE_FAIL:<function>:<kind>] …`. */
export class EdgeFailure extends Error {
  constructor(name: string, id: string, attempts: number, { status, text }: Reply) {
    const kind = status === 502 || status === 503 || status === 504 ? "5XX_TRANSIENT" : `HTTP_${status}`;
    super(
      `[EDGE_FAIL:${name}:${kind}] ${status} after ${attempts} attempts for ${id}: ${text.slice(0, 200)}`,
    );
  }
}

/** The calls of the shipped GPU worker, with its headers and its rules for repeating them. */
export class Transport {
  readonly #base: string;
  readonly #accessToken: string;
  readonly #clientKey: string;

  /** `accessToken` is the bearer of functions, `clientKey` the key of `/rest/v1`; the same on a cloud machine. */
  constructor({ apiUrl }: HostUnderTest, accessToken: string, clientKey: string) {
    this.#base = apiUrl;
    this.#accessToken = accessToken;
    this.#clientKey = clientKey;
  }

  get mediaMarker(): string {
    return `${this.#base}/storage/v1/object/public/image_uploads/`;
  }

  /** Tried once. No `apikey`. */
  async once(name: string, body: unknown): Promise<Reply> {
    return await replyOf(
      await fetch(`${this.#base}/functions/v1/${name}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${this.#accessToken}` },
        body: JSON.stringify(body),
      }),
    );
  }

  /** Up to three tries, after 1 and 2 seconds, where an answer may be worth another. */
  async repeated(
    name: string,
    body: unknown,
    { id, tries = 3 }: { id: string; tries?: number },
  ): Promise<Reply> {
    for (let attempt = 1; ; attempt++) {
      const reply = await this.once(name, body);
      if (reply.status === 200 || reply.status === 201) return reply;
      const isMissing =
        reply.status === 404 &&
        ["complete_task", "get-task-output", "get-orchestrator-children"].includes(name) &&
        /not found/i.test(reply.text);
      const isWorthIt = [500, 502, 503, 504].includes(reply.status) || isMissing;
      if (!isWorthIt || attempt === tries) throw new EdgeFailure(name, id, attempt, reply);
      await pause(attempt * 1000);
    }
  }

  /** `/rest/v1` as supabase-py calls it. */
  async rest(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    return await replyOf(
      await fetch(`${this.#base}/rest/v1/${path}`, {
        method,
        headers: {
          apikey: this.#clientKey,
          authorization: `Bearer ${this.#clientKey}`,
          "content-type": "application/json",
          accept: "application/json",
          "accept-profile": "public",
          "content-profile": "public",
          ...(method !== "GET" && { prefer: "return=representation" }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    );
  }

  /** The guard process's beat: `apikey` and no Authorization. */
  async beat(worker: string, status: "active" | "crashed", logs: unknown[] = []): Promise<Reply> {
    return await replyOf(
      await fetch(`${this.#base}/rest/v1/rpc/func_worker_heartbeat_with_logs`, {
        method: "POST",
        headers: {
          apikey: this.#clientKey,
          "content-type": "application/json",
          prefer: "return=representation",
        },
        body: JSON.stringify({
          worker_id_param: worker,
          vram_total_mb_param: 0,
          vram_used_mb_param: 0,
          logs_param: logs,
          status_param: status,
        }),
      }),
    );
  }

  /** Only Content-Type; a repeat sends the same URL again. */
  async put(url: string, bytes: Uint8Array, contentType: string): Promise<number> {
    const response = await fetch(url, {
      method: "PUT",
      headers: { "content-type": contentType },
      body: bytes as BodyInit,
    });
    await response.body?.cancel();
    return response.status;
  }

  /** Inputs are fetched bare. */
  async fetchInput(url: string): Promise<Uint8Array> {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`input ${url}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** An intermediate file, by both headers with the client's key; its public URL is built here, unescaped. */
  async intermediate(taskId: string, filename: string, bytes: Uint8Array): Promise<string> {
    const reply = await replyOf(
      await fetch(`${this.#base}/functions/v1/generate-upload-url`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: `Bearer ${this.#clientKey}`,
          apikey: this.#clientKey,
        },
        body: JSON.stringify({ task_id: taskId, filename, content_type: "video/mp4" }),
      }),
    );
    if (reply.status !== 200) throw new EdgeFailure("generate-upload-url", taskId, 1, reply);
    const { upload_url, storage_path } = reply.body as { upload_url: string; storage_path: string };
    const status = await this.put(upload_url, bytes, "video/mp4");
    if (status !== 200 && status !== 201) throw new Error(`intermediate upload: ${status}`);
    return `${this.mediaMarker}${storage_path}`;
  }
}
