import { type Context, Hono } from "hono";
import { z } from "zod";
import { isContention, isDatabaseAway } from "../../supabase/functions/_shared/database/connection-error.ts";
import { isRoleFault } from "../../supabase/functions/_shared/database/role-fault.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { readBytes } from "../../supabase/functions/_shared/http/body-bytes.ts";
import { corsHeaders } from "../../supabase/functions/_shared/http/cors.ts";
import type { HostContext } from "../context.ts";
import { hostIdentifier } from "../identifier.ts";
import {
  type Actor,
  actorOf,
  type Bucket,
  createCatalogue,
  type ObjectRow,
  serviceActor,
  UnknownOutcome,
} from "./catalogue.ts";
import { download } from "./download.ts";
import { exhaustionOf, StorageError } from "./errors.ts";
import { objectName } from "./object-name.ts";
import { isContentHeld } from "./content-hold.ts";
import { createContentInDoubt } from "./content-in-doubt.ts";
import { createDiskStore, deleteRemoved, hasRemoved, removeAbandoned } from "./disk-store.ts";
import { createS3Store } from "./s3-store.ts";
import { createUrlSigner } from "./signed-urls.ts";
import { copyObject, moveObject } from "./relocate.ts";
import { requireStorable } from "./storable.ts";
import { discard, upload } from "./upload.ts";

const uploadUrlSeconds = 2 * 60 * 60;
const longestSignature = 10 * 365 * 24 * 60 * 60;
const sweepMilliseconds = 10_000;
const longestJson = 1024 * 1024;

const expiresIn = z.number().int().min(1).max(longestSignature);
const signBody = z.object({ expiresIn });
const signManyBody = z.object({ expiresIn, paths: z.array(z.string()).max(1000) });
const removeBody = z.object({
  prefixes: z
    .array(z.union([z.string(), z.object({ path: z.string() }).transform(({ path }) => path)]))
    .max(1000),
});
const relocateBody = z.object({
  bucketId: z.string(),
  sourceKey: z.string(),
  destinationKey: z.string(),
  destinationBucket: z.string().nullish(),
  copyMetadata: z.boolean().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});
const listBody = z.object({
  prefix: z.string().max(1024).default(""),
  limit: z.number().int().min(1).max(1000).default(100),
  offset: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  search: z.string().max(1024).nullish(),
  sortBy: z
    .object({
      column: z.enum(["name", "updated_at", "created_at", "last_accessed_at"]).default("name"),
      order: z.enum(["asc", "desc"]).default("asc"),
    })
    .nullish(),
});

interface Relocation {
  actor: Actor;
  source: ObjectRow;
  bucket: Bucket;
  name: string;
  sent: z.infer<typeof relocateBody>;
}

const responseHeaders = {
  ...corsHeaders,
  "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  "access-control-allow-headers": `${corsHeaders["access-control-allow-headers"]}, if-none-match, if-range`,
  "access-control-expose-headers": `${corsHeaders["access-control-expose-headers"]}, etag, content-length, accept-ranges, content-disposition`,
};

export interface Storage {
  app: Hono;
  /** Decides about content whose change had no answer; it also happens by itself, now and then. */
  sweep(): Promise<void>;
  stop(): Promise<void>;
}

/** Buckets and objects, as Supabase's storage speaks of them. Routes are relative to `/storage/v1`. */
export function createStorage(context: HostContext): Storage {
  const { log, storageDirectory } = context;
  const identifier = hostIdentifier(context);
  const catalogue = createCatalogue(context.sql, (contents) => inDoubt.expect(contents));
  const store = context.s3
    ? createS3Store(context.s3, log)
    : createDiskStore(storageDirectory, () => isContentHeld(context.sql));
  const inDoubt = createContentInDoubt({ directory: storageDirectory, catalogue, store, log });
  const dependencies = { catalogue, store, inDoubt, log };
  const signer = createUrlSigner(context.keys.jwtSecret);
  const app = new Hono();

  const sweepUploads = removeAbandoned(storageDirectory).then(
    (count) => count > 0 && log.info({ count }, "abandoned uploads deleted"),
    (error: unknown) => log.warn({ err: error }, "abandoned uploads were not deleted"),
  );
  /** Kept for a backup that was killed, or while the database did not say whether one ran. */
  async function sweepRemoved(): Promise<void> {
    if (!(await hasRemoved(storageDirectory))) return;
    // The lock, held to the end, lets no backup begin meanwhile.
    await context.sql.transaction(async (transaction) => {
      if (!(await isContentHeld(transaction))) await deleteRemoved(storageDirectory);
    });
  }
  let sweeping: Promise<void> | undefined;
  function sweep(): Promise<void> {
    sweeping ??= inDoubt
      .sweep()
      .then(sweepRemoved)
      .catch((error: unknown) => log.warn({ err: error }, "content kept for a backup was not deleted"))
      .finally(() => (sweeping = undefined));
    return sweeping;
  }
  void sweep();
  const sweeps = setInterval(() => void sweep(), sweepMilliseconds);
  sweeps.unref();

  app.use(async (c, next) => {
    // Before anything looks at the path: names must be text that can be shown and stored.
    if (!isReadable(c.req.url)) throw new StorageError("InvalidKey");
    if (c.req.method === "OPTIONS") return new Response(null, { status: 204, headers: responseHeaders });
    await next();
    for (const [name, value] of Object.entries(responseHeaders)) c.res.headers.set(name, value);
    return undefined;
  });

  app.onError((error, c) => {
    const refusal = asStorageError(error);
    if (refusal.code === "Aborted") log.info({ path: c.req.path }, "client_closed_request");
    else if (refusal.httpStatus >= 500) log.error({ err: error, path: c.req.path }, "storage failed");
    const status = refusal.httpStatus as 400;
    const headers = {
      ...responseHeaders,
      ...(refusal.retryAfterSeconds && { "retry-after": String(refusal.retryAfterSeconds) }),
    };
    if (c.req.method === "HEAD") return new Response(null, { status, headers });
    return c.json(refusal.body(), status, headers);
  });

  const actor = async (c: Context): Promise<Actor> => actorOf(await identifier.identify(c.req.raw.headers));

  async function bucketOf(c: Context): Promise<Bucket> {
    const bucket = await catalogue.bucket(c.req.param("bucket") ?? "");
    if (!bucket) throw new StorageError("NoSuchBucket");
    return bucket;
  }

  async function objectOf(reader: Actor | "everybody", bucket: string, name: string): Promise<ObjectRow> {
    const row =
      reader === "everybody"
        ? await catalogue.findPublic(bucket, name)
        : await catalogue.find(reader, bucket, name);
    if (!row) throw new StorageError("NoSuchKey");
    return row;
  }

  async function send(
    c: Context,
    reader: Actor | "everybody",
    { bucket, name, shared }: { bucket: string; name: string; shared: boolean },
  ) {
    const isHead = c.req.method === "HEAD";
    const request = { headers: c.req.raw.headers, isHead, saveAs: c.req.query("download"), shared };
    let missing: string | null = null;
    for (let attempt = 1; attempt <= 5; attempt++) {
      const row = await objectOf(reader, bucket, name);
      const response = await download(store, row, request);
      if (response) return response;
      // A replacement deletes the content it replaces: the row read anew names what came instead.
      if (row.version === missing) {
        log.error({ bucket, name, version: row.version }, "the content of an object is missing");
        throw new StorageError("NoSuchKey");
      }
      missing = row.version;
    }
    // Replaced faster than it can be read.
    throw new StorageError("Unavailable");
  }

  // Signed uploads

  app.post("/object/upload/sign/:bucket/:name{.+}", async (c) => {
    const uploader = await actor(c);
    const name = nameOf(c);
    const bucket = await bucketOf(c);
    const upsert = c.req.header("x-upsert") === "true";
    await catalogue.checkWrite(uploader, bucket.id, name, { upsert });
    const token = await signer.sign(
      { purpose: "upload", bucket: bucket.id, name, upsert, ownerId: uploader.userId },
      uploadUrlSeconds,
    );
    return c.json({ url: `/object/upload/sign/${encodePath(`${bucket.id}/${name}`)}?token=${token}`, token });
  });

  app.put("/object/upload/sign/:bucket/:name{.+}", async (c) => {
    const name = nameOf(c);
    const { upsert, ownerId } = await signer.verify(
      c.req.query("token"),
      "upload",
      c.req.param("bucket"),
      name,
    );
    const bucket = await bucketOf(c);
    // The right to write was asked for when the URL was made; what may change until now is the task.
    const { id, eTag } = await upload(dependencies, c.req.raw, {
      actor: serviceActor,
      bucket,
      name,
      ownerId,
      rules: { upsert },
    });
    return c.json({ Id: id, Key: `${bucket.id}/${name}` }, 200, { etag: eTag });
  });

  // Signed downloads

  app.post("/object/sign/:bucket", async (c) => {
    const reader = await actor(c);
    const { paths, expiresIn: seconds } = await readJson(c, signManyBody);
    const bucket = await bucketOf(c);
    // Names that no object can have are as absent as any other.
    const existing = await catalogue.existing(reader, bucket.id, paths.filter(isObjectName));
    const signed = paths.map(async (path) =>
      existing.has(path)
        ? { path, error: null, signedURL: await signedUrl(bucket.id, path, seconds) }
        : {
            path,
            error: "Either the object does not exist or you do not have access to it",
            signedURL: null,
          },
    );
    return c.json(await Promise.all(signed));
  });

  app.post("/object/sign/:bucket/:name{.+}", async (c) => {
    const reader = await actor(c);
    const { expiresIn: seconds } = await readJson(c, signBody);
    const name = nameOf(c);
    const bucket = await bucketOf(c);
    await objectOf(reader, bucket.id, name);
    return c.json({ signedURL: await signedUrl(bucket.id, name, seconds) });
  });

  /** Not encoded: clients encode it themselves, and a second time would break it. */
  async function signedUrl(bucket: string, name: string, seconds: number): Promise<string> {
    const token = await signer.sign({ purpose: "download", bucket, name }, seconds);
    return `/object/sign/${bucket}/${name}?token=${token}`;
  }

  app.get("/object/sign/:bucket/:name{.+}", async (c) => {
    const name = nameOf(c);
    await signer.verify(c.req.query("token"), "download", c.req.param("bucket"), name);
    return await send(c, serviceActor, { bucket: c.req.param("bucket"), name, shared: false });
  });

  // Downloads

  app.get("/object/public/:bucket/:name{.+}", async (c) => {
    try {
      const name = nameOf(c);
      const bucket = await catalogue.bucket(c.req.param("bucket"));
      if (!bucket?.public) throw new StorageError("NoSuchBucket");
      return await send(c, "everybody", { bucket: bucket.id, name, shared: true });
    } catch (error) {
      // Read by browsers and players, which know a missing file by its status alone.
      if (error instanceof StorageError && error.code.startsWith("NoSuch")) return c.json(error.body(), 404);
      throw error;
    }
  });

  async function info(c: Context): Promise<Response> {
    const reader = await actor(c);
    const { metadata, user_metadata, ...row } = await objectOf(reader, (await bucketOf(c)).id, nameOf(c));
    return c.json({
      id: row.id,
      name: row.name,
      version: row.version,
      bucket_id: row.bucket_id,
      size: metadata?.size,
      content_type: metadata?.mimetype,
      cache_control: metadata?.cacheControl,
      etag: metadata?.eTag,
      metadata: user_metadata ?? {},
      last_modified: row.updated_at,
      created_at: row.created_at,
    });
  }

  async function sendToReader(c: Context): Promise<Response> {
    const reader = await actor(c);
    const name = nameOf(c);
    return await send(c, reader, { bucket: (await bucketOf(c)).id, name, shared: false });
  }

  app.get("/object/info/authenticated/:bucket/:name{.+}", info);
  app.get("/object/info/:bucket/:name{.+}", info);
  app.get("/object/authenticated/:bucket/:name{.+}", sendToReader);
  app.get("/object/:bucket/:name{.+}", sendToReader);

  // Lists, deletions, direct uploads

  app.post("/object/list/:bucket", async (c) => {
    const reader = await actor(c);
    const { prefix, sortBy, search, ...page } = await readJson(c, listBody);
    const bucket = await bucketOf(c);
    const folder = prefix.replace(/^\/+|\/+$/g, "");
    const listing = {
      ...page,
      prefix: folder ? `${folder}/` : "",
      search: search ?? "",
      column: sortBy?.column ?? "name",
      order: sortBy?.order ?? "asc",
    } as const;
    return c.json(await catalogue.list(reader, bucket.id, listing));
  });

  async function remove(remover: Actor, bucket: string, names: string[]): Promise<ObjectRow[]> {
    let rows: ObjectRow[];
    try {
      rows = await catalogue.remove(remover, bucket, names);
    } catch (error) {
      if (error instanceof UnknownOutcome) await inDoubt.add(error.contents);
      throw error;
    }
    for (const { version } of rows) await discard(dependencies, bucket, version);
    return rows;
  }

  // Copies and moves

  const relocation = async (c: Context): Promise<Relocation> => {
    const actorOfRequest = await actor(c);
    const sent = await readJson(c, relocateBody);
    const from = await catalogue.bucket(sent.bucketId);
    const to = await catalogue.bucket(sent.destinationBucket ?? sent.bucketId);
    if (!from || !to) throw new StorageError("NoSuchBucket");
    const source = await objectOf(actorOfRequest, from.id, objectName(sent.sourceKey));
    return { actor: actorOfRequest, source, bucket: to, name: objectName(sent.destinationKey), sent };
  };

  app.post("/object/copy", async (c) => {
    const { sent, ...target } = await relocation(c);
    const { copyMetadata, metadata } = sent;
    const userMetadata = copyMetadata === false ? (metadata ?? undefined) : undefined;
    const upsert = c.req.header("x-upsert") === "true";
    const { id } = await copyObject(dependencies, { ...target, userMetadata, rules: { upsert } });
    return c.json({ Id: id, Key: `${target.bucket.id}/${target.name}`, name: target.name });
  });

  app.post("/object/move", async (c) => {
    const { sent: _sent, ...target } = await relocation(c);
    const id = await moveObject(dependencies, target);
    return c.json({ message: "Successfully moved", Id: id, Key: `${target.bucket.id}/${target.name}` });
  });

  app.delete("/object/:bucket", async (c) => {
    const remover = await actor(c);
    const { prefixes } = await readJson(c, removeBody);
    return c.json(await remove(remover, (await bucketOf(c)).id, prefixes.filter(isObjectName)));
  });

  app.delete("/object/:bucket/:name{.+}", async (c) => {
    const remover = await actor(c);
    const name = nameOf(c);
    const removed = await remove(remover, (await bucketOf(c)).id, [name]);
    if (removed.length === 0) throw new StorageError("NoSuchKey");
    return c.json({ message: "Successfully deleted" });
  });

  app.on(["POST", "PUT"], "/object/:bucket/:name{.+}", async (c) => {
    const uploader = await actor(c);
    const name = nameOf(c);
    const bucket = await bucketOf(c);
    const rules = { upsert: c.req.method === "PUT" || c.req.header("x-upsert") === "true" };
    const target = { actor: uploader, bucket, name, ownerId: uploader.userId, rules };
    const { id, eTag } = await upload(dependencies, c.req.raw, target);
    return c.json({ Id: id, Key: `${bucket.id}/${name}` }, 200, { etag: eTag });
  });

  // Buckets: made by migrations, so only read here.

  app.get("/bucket", async (c) => c.json(await catalogue.buckets(await actor(c))));

  app.get("/bucket/:bucket", async (c) => {
    const [bucket] = await catalogue.buckets(await actor(c), c.req.param("bucket"));
    if (!bucket) throw new StorageError("NoSuchBucket");
    return c.json(bucket);
  });

  app.all("*", () => {
    throw new StorageError("NoSuchRoute");
  });

  return {
    app,
    sweep,
    async stop() {
      clearInterval(sweeps);
      await Promise.all([sweepUploads, sweeping]);
    },
  };
}

function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  if (error instanceof AppError) {
    if (error.status === 401 || error.status === 403)
      return new StorageError("InvalidJWT", undefined, { cause: error });
    if (error.code === "client_closed_request")
      return new StorageError("Aborted", undefined, { cause: error });
    if (error.status === 503) return new StorageError("Unavailable", undefined, { cause: error });
  }
  if (isDatabaseAway(error) || isContention(error) || isRoleFault(error)) {
    return new StorageError("Unavailable", undefined, { cause: error });
  }
  return exhaustionOf(error) ?? new StorageError("InternalError", undefined, { cause: error });
}

function nameOf(c: Context): string {
  return objectName(c.req.param("name") ?? "");
}

function isReadable(url: string): boolean {
  try {
    return !/\p{Cc}/u.test(decodeURIComponent(new URL(url).pathname));
  } catch {
    return false; // Percent signs that encode nothing, or no text.
  }
}

function isObjectName(name: string): boolean {
  try {
    return objectName(name) === name;
  } catch (error) {
    if (error instanceof StorageError) return false;
    throw error;
  }
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

async function readJson<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const bytes = await readBytes(c.req.raw, longestJson, () => new StorageError("EntityTooLarge"));
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new StorageError("InvalidRequest", "The body is not JSON", { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    // What the schema left out is ignored, and may hold anything.
    requireStorable("body", parsed.data);
    return parsed.data;
  }
  const [issue] = parsed.error.issues;
  throw new StorageError("InvalidRequest", `body/${issue?.path.join("/") ?? ""} ${issue?.message ?? ""}`);
}
