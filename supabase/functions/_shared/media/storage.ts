import { AppError } from "../errors/app-error.ts";
import { storagePath } from "./storage-path.ts";

/** Where outputs of tasks live; clients rely on this name in public URLs. */
export const mediaBucket = "image_uploads";

/** The storage service (Supabase's own, or the standalone host's, which speaks the same). */
export interface Storage {
  /**
   * Writes an object, replacing what is there. Answers with its entity tag where the service tells it.
   * @throws AppError `invalid_output`, `storage_unavailable`
   */
  upload(path: string, bytes: Uint8Array, contentType: string): Promise<string | undefined>;
  /**
   * Bytes of an object from `start` up to `end`, which is not included, with the rights of the service. Undefined where there are
   * none: no such object, or it ends before. @throws AppError `storage_unavailable`
   */
  readPart(path: string, start: number, end: number, signal: AbortSignal): Promise<ObjectPart | undefined>;
  /** Answers false where there is no object to copy. @throws AppError `storage_unavailable` */
  copy(from: string, to: string): Promise<boolean>;
  /** Deletes objects; that one is not there is no error. @throws AppError `storage_unavailable` */
  remove(paths: readonly string[]): Promise<void>;
  /** An absolute URL that takes PUTs without further credentials until it expires. */
  signUpload(path: string): Promise<{ url: string; token: string }>;
  /** Where anybody can read the object. */
  publicUrl(path: string): string;
  /** The path of such a URL of this very storage; undefined for any other text. */
  pathOfPublicUrl(text: string): string | undefined;
  /** Whether anybody who has this address may read what is there: a public or signed one of this very storage. */
  isOpenAddress(text: string): boolean;
  /**
   * The bytes behind such an address, read without credentials of ours; a word where there is no such file, or a larger
   * one. @throws AppError `storage_unavailable`
   */
  readOpenFile(
    text: string,
    limitBytes: number,
    signal: AbortSignal,
  ): Promise<Uint8Array | "not found" | "too large">;
}

export interface ObjectPart {
  bytes: Uint8Array;
  /** Of the whole object. */
  size: number;
  /** Entity tag without quotes; the same for the same version. */
  eTag: string | undefined;
}

const openFolders = ["public", "sign"];

export interface StorageOptions {
  /** Base URL as the outside sees it, e.g. `https://<ref>.supabase.co`. */
  publicUrl: string;
  serviceKey: string;
  /** Reaches the storage service without the network, when it runs in this process. */
  fetch?: typeof fetch;
}

export function createStorage({ publicUrl, serviceKey, fetch: request = fetch }: StorageOptions): Storage {
  const base = `${publicUrl}/storage/v1`;
  const publicBase = `${base}/object/public/${mediaBucket}/`;
  const credentials: Record<string, string> = serviceKey.startsWith("sb_")
    ? { apikey: serviceKey }
    : { apikey: serviceKey, authorization: `Bearer ${serviceKey}` };

  /** As parsed: dots that climb are gone by then. */
  function openAddress(text: string): string | undefined {
    const address = URL.canParse(text) ? new URL(text).href : "";
    return openFolders.some((folder) => address.startsWith(`${base}/object/${folder}/`))
      ? address
      : undefined;
  }

  async function send(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      const timeout = AbortSignal.timeout(60_000);
      const signal = init.signal ? AbortSignal.any([timeout, init.signal]) : timeout;
      response = await request(`${base}${path}`, { ...init, signal });
    } catch (error) {
      throw new AppError("storage_unavailable", { retry_after: 2 }, { cause: error });
    }
    if (response.status >= 500 || response.status === 429) {
      throw new AppError("storage_unavailable", { retry_after: 2 }, { cause: await answerOf(response) });
    }
    return response;
  }

  return {
    async upload(path, bytes, contentType) {
      const headers = { ...credentials, "content-type": contentType, "x-upsert": "true" };
      const response = await send(`/object/${mediaBucket}/${encodePath(path)}`, {
        method: "POST",
        headers,
        body: bytes as BodyInit,
      });
      // Too large, an image beyond all bounds: what a worker sent, not how we stored it.
      if (!response.ok) throw await refusedUpload(path, response);
      await response.body?.cancel();
      return plainTag(response.headers.get("etag"));
    },
    async readPart(path, start, end, signal) {
      if (!isObjectPath(path)) return undefined;
      const response = await send(`/object/authenticated/${mediaBucket}/${encodePath(path)}`, {
        headers: { ...credentials, range: `bytes=${start}-${end - 1}` },
        redirect: "error",
        signal,
      });
      if (response.status !== 206 && response.status !== 200) {
        await response.body?.cancel();
        return undefined;
      }
      try {
        return await partOf(response, start, end);
      } catch (error) {
        throw new AppError("storage_unavailable", { retry_after: 2 }, { cause: error });
      }
    },
    async copy(from, to) {
      const response = await send("/object/copy", {
        method: "POST",
        headers: { ...credentials, "content-type": "application/json" },
        body: JSON.stringify({ bucketId: mediaBucket, sourceKey: from, destinationKey: to }),
      });
      await response.body?.cancel();
      return response.ok;
    },
    async remove(paths) {
      if (paths.length === 0) return;
      const response = await send(`/object/${mediaBucket}`, {
        method: "DELETE",
        headers: { ...credentials, "content-type": "application/json" },
        body: JSON.stringify({ prefixes: paths }),
      });
      if (!response.ok) throw await answerOf(response);
      await response.body?.cancel();
    },
    async signUpload(path) {
      const headers = { ...credentials, "content-type": "application/json", "x-upsert": "true" };
      const response = await send(`/object/upload/sign/${mediaBucket}/${encodePath(path)}`, {
        method: "POST",
        headers,
        body: "{}",
      });
      if (!response.ok) throw await answerOf(response);
      const { url } = (await response.json()) as { url: string };
      const absolute = `${base}${url}`;
      return { url: absolute, token: new URL(absolute).searchParams.get("token") ?? "" };
    },
    publicUrl: (path) => `${publicBase}${encodePath(path)}`,
    pathOfPublicUrl: (text) =>
      text.startsWith(publicBase) ? storagePath(text.slice(publicBase.length)) : undefined,
    isOpenAddress: (text) => openAddress(text) !== undefined,
    async readOpenFile(text, limitBytes, signal) {
      const address = openAddress(text);
      if (address === undefined) return "not found";
      try {
        const response = await request(address, { redirect: "error", signal });
        if (response.status >= 500) throw await answerOf(response);
        if (!response.ok) {
          await response.body?.cancel();
          return "not found";
        }
        return await readAtMost(response, limitBytes);
      } catch (error) {
        throw new AppError("storage_unavailable", { retry_after: 2 }, { cause: error });
      }
    },
  };
}

async function readAtMost(response: Response, limitBytes: number): Promise<Uint8Array | "too large"> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > limitBytes) return "too large";
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

/** The part that was asked for, of an answer that may hold all of the object. */
async function partOf(response: Response, start: number, end: number): Promise<ObjectPart> {
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const size = Number(range?.[2] ?? response.headers.get("content-length") ?? NaN);
  const first = Number(range?.[1] ?? 0);
  if (!Number.isSafeInteger(size) || first !== start) {
    await response.body?.cancel();
    throw new Error(`storage answered ${response.status} to a request for the bytes from ${start}`);
  }
  const wanted = Math.min(end, size) - start;
  const bytes = new Uint8Array(wanted);
  let filled = 0;
  for await (const chunk of response.body ?? []) {
    const piece = chunk.subarray(0, wanted - filled);
    bytes.set(piece, filled);
    filled += piece.byteLength;
    // Leaving the loop cancels the rest.
    if (filled === wanted) break;
  }
  if (filled < wanted) throw new Error(`storage sent ${filled} of ${wanted} bytes`);
  return { bytes, size, eTag: plainTag(response.headers.get("etag")) };
}

/** An entity tag without quotes, and without the mark that proxies put before it. */
function plainTag(header: string | null): string | undefined {
  return header?.replace(/^W\//, "").replaceAll('"', "") || undefined;
}

/** Whether a path names an object and nothing above it: a URL with dots in it would lead elsewhere. */
function isObjectPath(path: string): boolean {
  // Half a surrogate pair is not in any object's name, nor can a URL hold it.
  if (/[\p{Cs}\p{Cc}]/u.test(path)) return false;
  return path.split("/").every((segment) => segment !== "" && segment !== "." && segment !== "..");
}

/** The service's own sentence says what is wrong with the file. */
async function refusedUpload(path: string, response: Response): Promise<AppError> {
  const cause = await answerOf(response);
  const details = { path, reason: "refused_by_storage" };
  return new AppError(
    "invalid_output",
    { ...details, message: `Storage refused the output file "${path}".` },
    { cause },
  );
}

async function answerOf(response: Response): Promise<Error> {
  return new Error(`storage answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
