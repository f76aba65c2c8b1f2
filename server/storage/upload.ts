import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { type Actor, type Bucket, type Catalogue, UnknownOutcome, type WriteRules } from "./catalogue.ts";
import type { ContentInDoubt } from "./content-in-doubt.ts";
import { StorageError } from "./errors.ts";
import { isAllowed, MediaInspection } from "./media-type.ts";
import { readFilePart } from "./multipart.ts";
import type { ObjectStore } from "./object-store.ts";
import { requireStorable } from "./storable.ts";

export interface UploadDependencies {
  catalogue: Catalogue;
  store: ObjectStore;
  inDoubt: ContentInDoubt;
  log: Logger;
}

export interface UploadTarget {
  actor: Actor;
  bucket: Bucket;
  name: string;
  ownerId: string | undefined;
  rules: WriteRules;
}

/** For buckets that set none. */
const defaultSizeLimit = 50 * 1024 * 1024;
/** What a form may add around its file. */
const formOverhead = 1024 * 1024;
const mostPassedOver = 64 * 1024 * 1024;
const longestMetadata = 16 * 1024;

/**
 * Takes the body of a request as an object's content. The bytes are complete on disk before the row names
 * them, and the row changes at once: readers see the old object or the new one, never a part.
 */
export async function upload(
  dependencies: UploadDependencies,
  request: Request,
  { actor, bucket, name, ownerId, rules }: UploadTarget,
): Promise<{ id: string; eTag: string }> {
  const { catalogue, store } = dependencies;
  const limit = sizeLimit(bucket);
  const contentType = request.headers.get("content-type") ?? "";
  const isForm = /^multipart\/form-data\b/i.test(contentType);
  if (Number(request.headers.get("content-length") ?? 0) > limit + (isForm ? formOverhead : 0)) {
    throw new StorageError("EntityTooLarge");
  }
  // Before a gigabyte is sent for nothing.
  await catalogue.checkWrite(actor, bucket.id, name, rules);

  const sent = isForm ? await formUpload(request, contentType) : plainUpload(request, contentType);
  const inspection = new MediaInspection(sent.type);
  const version = randomUUID();
  const stored = await store.put(bucket.id, version, inspected(sent.content, limit, inspection));
  try {
    const facts = inspection.finish();
    if (!isAllowed(facts.mimetype, bucket.allowed_mime_types)) {
      throw new StorageError("InvalidMimeType", `mime type ${facts.mimetype} is not supported`);
    }
    const metadata = {
      ...stored,
      ...facts,
      cacheControl: sent.cacheControl,
      lastModified: new Date().toISOString(),
      contentLength: stored.size,
      httpStatusCode: 200,
    };
    const object = { bucket: bucket.id, name, version, metadata, userMetadata: sent.userMetadata, ownerId };
    const { id, replaced } = await catalogue.write(actor, object, rules);
    await dependencies.inDoubt.settle([{ bucket: bucket.id, version }]);
    if (replaced) await discard(dependencies, bucket.id, replaced);
    return { id, eTag: stored.eTag };
  } catch (error) {
    await discardUnlessInDoubt(dependencies, bucket.id, version, error);
    throw error;
  }
}

export function sizeLimit(bucket: Bucket): number {
  return bucket.file_size_limit ?? defaultSizeLimit;
}

/** After a change that failed: deletes the new content, unless the change may have been committed. */
export async function discardUnlessInDoubt(
  dependencies: Pick<UploadDependencies, "store" | "inDoubt" | "log">,
  bucket: string,
  version: string,
  error: unknown,
): Promise<void> {
  if (error instanceof UnknownOutcome) await dependencies.inDoubt.add(error.contents);
  else await discard(dependencies, bucket, version);
}

/**
 * Deletes content that certainly no row names any more. That it failed is no reason to fail what is done already: it
 * is tried again later.
 */
export async function discard(
  { store, inDoubt, log }: Pick<UploadDependencies, "store" | "inDoubt" | "log">,
  bucket: string,
  version: string | null,
): Promise<void> {
  if (version === null) return;
  try {
    await store.remove(bucket, version);
    await inDoubt.settle([{ bucket, version }]);
  } catch (error) {
    log.error({ err: error, bucket, version }, "content without an object was not deleted");
    await inDoubt.add([{ bucket, version }]);
  }
}

interface SentContent {
  content: AsyncIterable<Uint8Array>;
  type: string | undefined;
  cacheControl: string;
  userMetadata: Record<string, unknown> | undefined;
}

function plainUpload(request: Request, contentType: string): SentContent {
  const metadata = request.headers.get("x-metadata");
  return {
    content: bytesOf(request),
    type: contentType || undefined,
    cacheControl: cacheControl(request.headers.get("cache-control")),
    userMetadata: userMetadata(metadata === null ? undefined : Buffer.from(metadata, "base64").toString()),
  };
}

async function formUpload(request: Request, contentType: string): Promise<SentContent> {
  const { fields, ...part } = await readFilePart(bytesOf(request), contentType);
  const seconds = fields.get("cacheControl");
  return {
    content: part.content,
    type: part.contentType,
    cacheControl: cacheControl(seconds && /^\d+$/.test(seconds) ? `max-age=${seconds}` : seconds),
    userMetadata: userMetadata(fields.get("metadata")),
  };
}

/** The body of a request; that it breaks off is the sender's doing. */
async function* bytesOf(request: Request): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  let ended = false;
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((error: unknown) => {
        ended = true;
        throw new StorageError("Aborted", undefined, { cause: error });
      });
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) void passOver(reader);
  }
}

/**
 * Lets a sender who is refused half-way finish, within bounds: many clients read no answer before they have
 * sent everything, and a connection with unread bytes cannot be used again.
 */
async function passOver(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    for (let passed = 0; passed < mostPassedOver;) {
      const { value, done } = await reader.read();
      if (done) return;
      passed += value.byteLength;
    }
  } catch {
    // The sender went away, which is what we were waiting for.
  }
}

async function* inspected(
  content: AsyncIterable<Uint8Array>,
  limit: number,
  inspection: MediaInspection,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of content) {
    size += chunk.byteLength;
    if (size > limit) throw new StorageError("EntityTooLarge");
    inspection.take(chunk);
    yield chunk;
  }
}

/** Goes into a header of responses: only what belongs there is kept. */
function cacheControl(value: string | null | undefined): string {
  return value && /^[\w=,\- ]{1,100}$/.test(value) ? value : "no-cache";
}

function userMetadata(json: string | undefined): Record<string, unknown> | undefined {
  if (json === undefined) return undefined;
  if (json.length > longestMetadata) throw new StorageError("InvalidRequest", "The metadata is too long");
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new StorageError("InvalidRequest", "The metadata is not JSON", { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new StorageError("InvalidRequest", "The metadata is not an object");
  }
  requireStorable("metadata", value);
  return value as Record<string, unknown>;
}
