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
}

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
  };
}

async function answerOf(response: Response): Promise<Error> {
  return new Error(`storage answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
