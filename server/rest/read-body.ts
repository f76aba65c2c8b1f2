import { RestError } from "./rest-error.ts";

export interface JsonBody {
  /** As sent: numbers keep all their digits on the way to PostgreSQL. */
  text: string;
  value: unknown;
}

/** The JSON of a request, read within a limit that does not trust `Content-Length`; undefined when there is none. */
export async function readJson(request: Request, limitBytes: number): Promise<JsonBody | undefined> {
  const encoding = request.headers.get("content-encoding");
  // Inflating is where a small body becomes a large one; no client of ours compresses.
  if (encoding && encoding.toLowerCase() !== "identity") {
    throw new RestError(415, "PGRST102", "Send the body not encoded");
  }
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type && !/^application\/(json|[\w.+-]+\+json)$/.test(type)) {
    throw new RestError(400, "PGRST102", `Content-Type not acceptable: ${type.slice(0, 100)}`);
  }
  const bytes = await readBytes(request, limitBytes);
  if (bytes.byteLength === 0) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return { text, value: JSON.parse(text) };
  } catch (error) {
    throw new RestError(400, "PGRST102", "Empty or invalid json", { cause: error });
  }
}

async function readBytes(request: Request, limitBytes: number): Promise<Uint8Array> {
  const tooLarge = () => new RestError(413, "body_too_large", `The body is larger than ${limitBytes} bytes.`);
  if (Number(request.headers.get("content-length") ?? 0) > limitBytes) throw tooLarge();
  const reader = request.body?.getReader();
  if (!reader) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > limitBytes) {
      await reader.cancel();
      throw tooLarge();
    }
    chunks.push(value);
  }
  return Buffer.concat(chunks, size);
}
