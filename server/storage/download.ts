import type { ObjectRow } from "./catalogue.ts";
import { StorageError } from "./errors.ts";
import { servedAs } from "./media-type.ts";
import type { ByteRange, ObjectStore } from "./object-store.ts";

export interface DownloadRequest {
  headers: Headers;
  isHead: boolean;
  /** `?download=`: to be saved under this name, or under its own when empty. */
  saveAs: string | undefined;
  /** Whether caches that serve many may keep it. */
  shared: boolean;
}

/** Sends an object, whole or in part. Undefined when its content is gone: it was replaced after its row was read. */
export async function download(
  store: ObjectStore,
  row: ObjectRow,
  { headers, isHead, saveAs, shared }: DownloadRequest,
): Promise<Response | undefined> {
  const size = row.metadata?.size;
  if (size === undefined || row.version === null) throw new StorageError("NoSuchKey");
  const { type, attachment } = servedAs(row.metadata?.mimetype);
  const eTag = row.metadata?.eTag ?? `"${row.version}"`;
  const cacheControl = row.metadata?.cacheControl ?? "no-cache";
  const common: Record<string, string> = {
    etag: eTag,
    "last-modified": row.updated_at.toUTCString(),
    "cache-control": shared ? cacheControl : `private, ${cacheControl}`,
    "accept-ranges": "bytes",
    "content-type": type,
    // A browser that guesses would find a page in what we do not call one.
    "x-content-type-options": "nosniff",
    // Nor may what one opens by itself run anything, or load more.
    "content-security-policy":
      "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
  };
  if (attachment || saveAs !== undefined) {
    common["content-disposition"] = contentDisposition(saveAs || (row.name.split("/").at(-1) ?? "file"));
  }

  if (isUnchanged(headers, eTag, row.updated_at)) return new Response(null, { status: 304, headers: common });

  const range = requestedRange(headers, size, eTag);
  if (range === "unsatisfiable") {
    return new Response(null, { status: 416, headers: { ...common, "content-range": `bytes */${size}` } });
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  const status = range ? 206 : 200;
  const responseHeaders = {
    ...common,
    "content-length": String(end - start + 1),
    ...(range ? { "content-range": `bytes ${start}-${end}/${size}` } : {}),
  };
  if (isHead) return new Response(null, { status, headers: responseHeaders });
  const content = await store.read(row.bucket_id, row.version, { start, end });
  return content && new Response(content, { status, headers: responseHeaders });
}

/** The tag, if it was sent, is the better witness; times are told in seconds. */
function isUnchanged(headers: Headers, eTag: string, changedAt: Date): boolean {
  const tags = headers.get("if-none-match");
  if (tags !== null) return matches(tags, eTag);
  const since = Date.parse(headers.get("if-modified-since") ?? "");
  return Math.floor(changedAt.getTime() / 1000) * 1000 <= since;
}

function matches(header: string, eTag: string): boolean {
  const tags = header.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(eTag) || tags.includes("*");
}

/** One range of bytes. Several at once, or what is no range, is answered with the whole, as HTTP allows. */
function requestedRange(
  headers: Headers,
  size: number,
  eTag: string,
): ByteRange | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(headers.get("range")?.trim() ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const condition = headers.get("if-range");
  if (condition !== null && condition !== eTag) return undefined;

  if (match[1] === "") {
    const length = Math.min(Number(match[2]), size);
    return length === 0 ? "unsatisfiable" : { start: size - length, end: size - 1 };
  }
  const start = Number(match[1]);
  const end = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== "" && Number(match[2]) < start) return undefined;
  return start >= size ? "unsatisfiable" : { start, end };
}

function contentDisposition(name: string): string {
  const characters = [...name.replace(/[\p{Cc}\p{Cs}/\\]/gu, "_")];
  const clean = characters.slice(0, 200).join("");
  const ascii = clean.replace(/[^\x20-\x7e]|["%]/g, "_");
  const encoded = encodeURIComponent(clean).replace(
    /['()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16)}`,
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
