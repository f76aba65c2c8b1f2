import { createHash } from "node:crypto";
import { AwsClient } from "aws4fetch";
import type { Logger } from "pino";
import { exhaustionOf, StorageError } from "./errors.ts";
import { type ByteRange, contentKey, type ObjectStore, type StoredContent } from "./object-store.ts";

/** A bucket of an S3-compatible store, addressed by path: `<endpoint>/<bucket>/<key>`. */
export interface S3Settings {
  endpoint: string;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string | undefined;
}

export interface S3Store extends ObjectStore {
  /** @throws Error when the bucket cannot be reached with these credentials, which is better known at the start. */
  check(): Promise<void>;
}

/** S3 takes at most 10,000 parts, of 5 MiB or more; an upload holds two of them in memory. */
const partBytes = 8 * 1024 * 1024;

interface S3Request {
  query?: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
  /** Whether an absent object is an answer, not a failure. */
  mayBeMissing?: boolean;
}

/** Keeps content in an S3-compatible store: short content in one request, longer in parts. */
export function createS3Store(settings: S3Settings, log: Logger): S3Store {
  const { accessKeyId, secretAccessKey, sessionToken, region } = settings;
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
    region,
    service: "s3",
    retries: 3,
  });
  const bucketUrl = `${settings.endpoint.replace(/\/+$/, "")}/${settings.bucket}`;

  /** @throws StorageError `Unavailable` or `StorageFull` when a later try may do; Error when it will not, such as for a wrong key. */
  async function send(method: string, key: string, request: S3Request = {}): Promise<Response> {
    const { query = "", headers = {}, body = new Uint8Array(), mayBeMissing = false } = request;
    // Signed with the content's own hash, so that what arrives is what was sent.
    const signed = { ...headers, "x-amz-content-sha256": createHash("sha256").update(body).digest("hex") };
    let response: Response;
    try {
      response = await client.fetch(`${bucketUrl}${key && `/${key}`}${query}`, {
        method,
        headers: signed,
        ...(method === "PUT" || method === "POST" ? { body: body as BodyInit } : {}),
      });
    } catch (error) {
      throw exhaustionOf(error) ?? new StorageError("Unavailable", undefined, { cause: error });
    }
    if (response.ok || (mayBeMissing && response.status === 404)) return response;
    const complaint = await complaintOf(response);
    const failure = new Error(`S3 answered ${response.status} to ${method}: ${complaint}`);
    if (response.status === 507 || /^\w*(QuotaExceeded|StorageFull|InsufficientStorage)\b/.test(complaint)) {
      throw new StorageError("StorageFull", undefined, { cause: failure });
    }
    if (/^(SlowDown|TooManyRequests|RequestLimitExceeded)\b/.test(complaint)) {
      throw new StorageError("Unavailable", undefined, { cause: failure });
    }
    if (response.status < 500 && response.status !== 429) throw failure;
    throw new StorageError("Unavailable", undefined, { cause: failure });
  }

  async function sendAll(key: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    let parts: PartedUpload | undefined;
    let held: Uint8Array | undefined;
    try {
      for await (const part of inParts(content)) {
        if (held) {
          parts ??= await PartedUpload.begin(send, key);
          await parts.add(held);
        }
        held = part;
      }
      if (!parts) await (await send("PUT", key, { body: held ?? new Uint8Array() })).body?.cancel();
      else {
        if (held) await parts.add(held);
        await parts.complete();
      }
    } catch (error) {
      await forget(key, parts);
      throw error;
    }
  }

  /** A request that failed here may have been carried out there. */
  async function forget(key: string, parts: PartedUpload | undefined): Promise<void> {
    const results = await Promise.allSettled([parts?.abort(), remove(key)]);
    for (const result of results) {
      if (result.status === "rejected")
        log.warn({ err: result.reason as unknown, key }, "a failed upload may have left parts");
    }
  }

  async function remove(key: string): Promise<void> {
    await (await send("DELETE", key, { mayBeMissing: true })).body?.cancel();
  }

  return {
    async put(bucket, version, content): Promise<StoredContent> {
      const hash = createHash("sha256");
      let size = 0;
      async function* measured() {
        for await (const chunk of content) {
          hash.update(chunk);
          size += chunk.byteLength;
          yield chunk;
        }
      }
      await sendAll(contentKey(bucket, version), measured());
      return { size, eTag: `"${hash.digest("hex").slice(0, 32)}"` };
    },

    async read(bucket, version, { start, end }: ByteRange) {
      const key = contentKey(bucket, version);
      // A range of nothing cannot be said in HTTP.
      if (end < start) return new Blob([]).stream();
      const response = await send("GET", key, {
        headers: { range: `bytes=${start}-${end}` },
        mayBeMissing: true,
      });
      if (response.status === 404) {
        await response.body?.cancel();
        return undefined;
      }
      if (Number(response.headers.get("content-length")) !== end - start + 1) {
        await response.body?.cancel();
        throw new Error(`${key} is not as long as its row says`);
      }
      return response.body ?? undefined;
    },

    remove: (bucket, version) => remove(contentKey(bucket, version)),

    async check() {
      try {
        const response = await send("GET", "", { query: "?list-type=2&max-keys=1" });
        await response.body?.cancel();
      } catch (error) {
        throw new Error(`Files cannot be kept at ${bucketUrl}: ${reasonOf(error)}`, { cause: error });
      }
    },
  };
}

type Send = (method: string, key: string, request?: S3Request) => Promise<Response>;

class PartedUpload {
  readonly #send: Send;
  readonly #key: string;
  readonly #id: string;
  readonly #eTags: string[] = [];

  private constructor(send: Send, key: string, id: string) {
    this.#send = send;
    this.#key = key;
    this.#id = id;
  }

  static async begin(send: Send, key: string): Promise<PartedUpload> {
    const answer = await (await send("POST", key, { query: "?uploads=" })).text();
    const id = /<UploadId>([^<]+)<\/UploadId>/.exec(answer)?.[1];
    if (!id) throw new Error(`S3 began an upload without an id: ${answer.slice(0, 500)}`);
    return new PartedUpload(send, key, id);
  }

  async add(body: Uint8Array): Promise<void> {
    const query = `?partNumber=${this.#eTags.length + 1}&uploadId=${encodeURIComponent(this.#id)}`;
    const response = await this.#send("PUT", this.#key, { query, body });
    await response.body?.cancel();
    const eTag = response.headers.get("etag");
    if (!eTag) throw new Error("S3 took a part without an etag");
    this.#eTags.push(eTag);
  }

  async complete(): Promise<void> {
    const parts = this.#eTags.map(
      (eTag, index) =>
        `<Part><PartNumber>${index + 1}</PartNumber><ETag>${eTag.replaceAll('"', "&quot;")}</ETag></Part>`,
    );
    const body = new TextEncoder().encode(
      `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join("")}</CompleteMultipartUpload>`,
    );
    const answer = await (await this.#send("POST", this.#key, { query: this.#query(), body })).text();
    // It may begin with 200 and fail afterwards.
    if (!answer.includes("<Error>")) return;
    const failure = new Error(`S3 did not put the parts together: ${answer.slice(0, 500)}`);
    if (!/<Code>(InternalError|ServiceUnavailable|SlowDown)</.test(answer)) throw failure;
    throw new StorageError("Unavailable", undefined, { cause: failure });
  }

  async abort(): Promise<void> {
    const response = await this.#send("DELETE", this.#key, { query: this.#query(), mayBeMissing: true });
    await response.body?.cancel();
  }

  #query(): string {
    return `?uploadId=${encodeURIComponent(this.#id)}`;
  }
}

/** The same bytes in pieces of one size, the last as long as it is. */
async function* inParts(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let part: Uint8Array | undefined;
  let filled = 0;
  for await (const chunk of content) {
    for (let taken = 0; taken < chunk.byteLength;) {
      // Small content is not given eight megabytes.
      part = withRoom(part, filled, chunk.byteLength - taken);
      const piece = chunk.subarray(taken, taken + part.byteLength - filled);
      part.set(piece, filled);
      filled += piece.byteLength;
      taken += piece.byteLength;
      if (filled === partBytes) {
        yield part;
        part = undefined;
        filled = 0;
      }
    }
  }
  if (part) yield part.subarray(0, filled);
}

function withRoom(part: Uint8Array | undefined, filled: number, wanted: number): Uint8Array {
  if (part && filled < part.byteLength) return part;
  const grown = new Uint8Array(Math.min(partBytes, Math.max(filled * 2, filled + wanted)));
  if (part) grown.set(part);
  return grown;
}

/** Code and message of S3's XML, or the beginning of what else came. */
async function complaintOf(response: Response): Promise<string> {
  const text = await response.text();
  const [code, message] = ["Code", "Message"].map((tag) => new RegExp(`<${tag}>([^<]*)`).exec(text)?.[1]);
  return code ? `${code}, ${message ?? ""}` : text.slice(0, 500);
}

/** The innermost cause says most. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause !== undefined) return reasonOf(error.cause);
  // Of several addresses tried.
  return error instanceof AggregateError ? reasonOf(error.errors[0]) : error.message;
}
