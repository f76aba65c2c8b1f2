import { readBytes as readBody } from "../../supabase/functions/_shared/http/body-bytes.ts";
import type { CallBody } from "./choose-routine.ts";
import { RestError } from "./rest-error.ts";

export interface JsonBody {
  /** As sent: numbers keep all their digits on the way to PostgreSQL. */
  text: string;
  value: unknown;
}

/** The JSON of a request, read within a limit that does not trust `Content-Length`; undefined when there is none. */
export async function readJson(request: Request, limitBytes: number): Promise<JsonBody | undefined> {
  const type = contentType(request);
  if (type !== undefined && !isJson(type)) throw unacceptable(type);
  const bytes = await readBytes(request, limitBytes);
  return bytes.byteLength === 0 ? undefined : parseJson(bytes);
}

/** What a function is called with: JSON, or one value of another kind for functions that take it whole. */
export async function readCallBody(request: Request, limitBytes: number): Promise<CallBody> {
  const type = contentType(request) ?? "application/json";
  if (type !== "text/plain" && type !== "application/octet-stream" && !isJson(type)) throw unacceptable(type);
  const bytes = await readBytes(request, limitBytes);
  if (type === "text/plain") return { kind: "text", text: decode(bytes), names: undefined };
  if (type === "application/octet-stream") {
    return { kind: "binary", text: `\\x${Buffer.from(bytes).toString("hex")}`, names: undefined };
  }
  if (bytes.byteLength === 0) return { kind: "json", text: "{}", names: [] };
  const { text, value } = parseJson(bytes);
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return { kind: "json", text, names: isObject ? Object.keys(value) : undefined };
}

function contentType(request: Request): string | undefined {
  const encoding = request.headers.get("content-encoding");
  // Inflating is where a small body becomes a large one; no client of ours compresses.
  if (encoding && encoding.toLowerCase() !== "identity") {
    throw new RestError(415, "PGRST102", "Send the body not encoded");
  }
  return request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase() || undefined;
}

function isJson(type: string): boolean {
  return /^application\/(json|[\w.+-]+\+json)$/.test(type);
}

function unacceptable(type: string): RestError {
  return new RestError(400, "PGRST102", `Content-Type not acceptable: ${type.slice(0, 100)}`);
}

function parseJson(bytes: Uint8Array): JsonBody {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return { text, value: JSON.parse(text) };
  } catch (error) {
    throw new RestError(400, "PGRST102", "Empty or invalid json", { cause: error });
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new RestError(400, "PGRST102", "The body is no text in UTF-8", { cause: error });
  }
}

async function readBytes(request: Request, limitBytes: number): Promise<Uint8Array> {
  const tooLarge = () => new RestError(413, "body_too_large", `The body is larger than ${limitBytes} bytes.`);
  if (Number(request.headers.get("content-length") ?? 0) > limitBytes) throw tooLarge();
  return await readBody(request, limitBytes, tooLarge);
}
