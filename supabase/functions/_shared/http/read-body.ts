import { Buffer } from "node:buffer";
import { AppError } from "../errors/app-error.ts";
import { readBytes } from "./body-bytes.ts";

/** How deep a JSON body may be nested. */
export const maxDepth = 64;
const mostParts = 32;

/** The request's JSON object; see `readJson`. */
export async function readJsonObject(
  request: Request,
  limitBytes: number,
): Promise<Record<string, unknown> | undefined> {
  return (await readJson(request, limitBytes))?.object;
}

/**
 * The request's JSON object and its text, read within a limit that does not trust `Content-Length`.
 * @throws AppError `body_too_large`, `invalid_json`, `unsupported_media_type`
 */
export async function readJson(
  request: Request,
  limitBytes: number,
): Promise<{ object: Record<string, unknown>; text: string } | undefined> {
  const bytes = await readLimited(request, limitBytes);
  if (bytes.byteLength === 0) return undefined;
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    throw new AppError("invalid_json", {}, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new AppError("invalid_json");
  if (isDeeperThan(value, maxDepth)) throw new AppError("invalid_json", { limit_depth: maxDepth });
  return { object: value as Record<string, unknown>, text };
}

export function isForm(request: Request): boolean {
  return /^multipart\/form-data\b/i.test(request.headers.get("content-type") ?? "");
}

/**
 * The fields of a form, files among them; of a field that is sent twice the last counts.
 * @throws AppError `body_too_large`, `invalid_request`, `unsupported_media_type`
 */
export async function readForm(request: Request, limitBytes: number): Promise<Record<string, unknown>> {
  const bytes = await readLimited(request, limitBytes);
  const contentType = request.headers.get("content-type") ?? "";
  // Before they are parsed: a part costs more than its bytes.
  if (hasMorePartsThan(bytes, contentType, mostParts)) {
    throw new AppError("invalid_request", {
      issues: [{ path: "", message: `has more than ${mostParts} parts` }],
    });
  }
  try {
    const form = await new Response(bytes, { headers: { "content-type": contentType } }).formData();
    return Object.fromEntries(form);
  } catch (error) {
    throw new AppError(
      "invalid_request",
      { issues: [{ path: "", message: "is no form" }] },
      { cause: error },
    );
  }
}

function hasMorePartsThan(bytes: Uint8Array, contentType: string, most: number): boolean {
  const [, quoted, plain] = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType) ?? [];
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The one that ends the form is no part.
  let left = most + 1;
  for (let at = -1; left >= 0; left--) {
    at = body.indexOf(`--${quoted ?? plain ?? ""}`, at + 1, "latin1");
    if (at === -1) return false;
  }
  return true;
}

/** The body's bytes, however long it says it is. */
async function readLimited(request: Request, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const encoding = request.headers.get("content-encoding");
  // Inflating is where a small body becomes a large one; no client of ours compresses.
  if (encoding && encoding.toLowerCase() !== "identity") throw new AppError("unsupported_media_type");
  const announced = request.headers.get("content-length");
  if (announced !== null && !/^\d+$/.test(announced)) throw new AppError("invalid_request");
  if (Number(announced ?? 0) > limitBytes) throw new AppError("body_too_large", { limit_bytes: limitBytes });
  return await readBytes(
    request,
    limitBytes,
    () => new AppError("body_too_large", { limit_bytes: limitBytes }),
  );
}

/** Level by level, not by recursion: the input decides the depth. */
export function isDeeperThan(value: object, limit: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limit) return true;
    level = level.flatMap((item) =>
      typeof item === "object" && item !== null
        ? Object.values(item).filter((child) => typeof child === "object" && child !== null)
        : [],
    );
  }
  return false;
}
