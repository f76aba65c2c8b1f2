import { AppError } from "../errors/app-error.ts";
import { storagePath } from "./storage-path.ts";

/** Where outputs of tasks live; clients rely on this name in public URLs. */
export const mediaBucket = "image_uploads";

/** The storage service (Supabase's own, or the standalone host's, which speaks the same). */
export interface Storage {
  /** Writes an object, replacing what is there. @throws AppError `invalid_output`, `storage_unavailable` */
  upload(path: string, bytes: Uint8Array, contentType: string): Promise<void>;
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
      response = await request(`${base}${path}`, { ...init, signal: AbortSignal.timeout(60_000) });
    } catch (error) {
      throw new AppError("storage_unavailable", { retry_after: 2 }, { cause: error });
    }
    if (response.status >= 500) {
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
      if (!response.ok) throw new AppError("invalid_output", {}, { cause: await answerOf(response) });
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

async function answerOf(response: Response): Promise<Error> {
  return new Error(`storage answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
