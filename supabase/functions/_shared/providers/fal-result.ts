import { checkBytes, type CheckedFile } from "../media/check-outputs.ts";
import { contentTypeOf } from "../media/content-type.ts";
import { faultOfSafetensors } from "../media/safetensors.ts";
import { fetchFile, FileNotFetched } from "../outgoing/fetch-file.ts";
import type { TargetPolicy } from "../outgoing/target.ts";

/** One file that a job made, where it is, and what FAL says of it. */
export interface FalOutput {
  url: string;
  medium: "image" | "video";
  facts: { seed?: number; has_nsfw_concepts?: boolean };
}

/** A job ended well and its result is none that can be used. */
export class UnusableResult extends Error {}

const mostOutputs = 16;
const megabyte = 1024 * 1024;
/** Of one picture; more would be in memory at once. */
export const mostImageBytes = 64 * megabyte;
/** Storage takes files of up to 200 MiB. */
const limits = {
  image: { bytes: mostImageBytes, totalMilliseconds: 120_000, silenceMilliseconds: 20_000 },
  video: { bytes: 200 * megabyte, totalMilliseconds: 600_000, silenceMilliseconds: 20_000 },
};
const extensions: Record<string, string> = {
  "image/png": "png",
  "image/jpeg": "jpg",
  "image/webp": "webp",
  "image/gif": "gif",
  "image/avif": "avif",
  "video/mp4": "mp4",
  "video/webm": "webm",
  "video/quicktime": "mov",
};

/**
 * The outputs of a result: `images`, `image` or `video`, with the seed and the safety checker's flags.
 * @throws UnusableResult
 */
export function outputsOf(result: unknown): FalOutput[] {
  const { images, image, video, seed, has_nsfw_concepts: flags } = fieldsOf(result);
  const pictures = Array.isArray(images) ? images : image === undefined ? [] : [image];
  const found = [
    ...pictures.map((file: unknown, index) => ({
      url: urlOf(file),
      medium: "image" as const,
      flag: Array.isArray(flags) ? (flags as unknown[])[index] : undefined,
    })),
    ...(video === undefined || video === null
      ? []
      : [{ url: urlOf(video), medium: "video" as const, flag: undefined }]),
  ];
  if (found.length === 0) throw new UnusableResult("FAL's result has no picture and no video");
  if (found.length > mostOutputs) throw new UnusableResult(`FAL's result has more than ${mostOutputs} files`);
  return found.map(({ url, medium, flag }) => ({
    url,
    medium,
    facts: {
      ...(Number.isSafeInteger(seed) && { seed: seed as number }),
      ...(typeof flag === "boolean" && { has_nsfw_concepts: flag }),
    },
  }));
}

export interface FetchedOutput {
  bytes: Uint8Array;
  contentType: string;
  filename: string;
  facts: FalOutput["facts"];
  check: Extract<CheckedFile, { state: "sound" }>;
}

export interface FetchOptions {
  policy: TargetPolicy;
  /** Less than the most that storage takes. */
  mostBytes?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * The files of these outputs, one after the other, each proven to be complete and what it is said to be.
 * @throws FileNotFetched, UnusableResult, or the signal's reason
 */
export async function fetchOutputs(
  taskId: string,
  outputs: readonly FalOutput[],
  { policy, mostBytes, signal }: FetchOptions,
): Promise<FetchedOutput[]> {
  const fetched: FetchedOutput[] = [];
  for (const [index, { url, medium, facts }] of outputs.entries()) {
    const { bytes, contentType, check } = await fetchMedium(url, medium, { policy, mostBytes, signal });
    const filename = `${taskId}_fal_${index}.${extensions[contentType]}`;
    fetched.push({ bytes, contentType, filename, facts, check });
  }
  return fetched;
}

/**
 * A picture or video of a result, proven to be complete and what it is said to be.
 * @throws FileNotFetched, UnusableResult, or the signal's reason
 */
export async function fetchMedium(
  url: string,
  medium: FalOutput["medium"],
  { policy, mostBytes, signal }: FetchOptions,
): Promise<Pick<FetchedOutput, "bytes" | "contentType" | "check">> {
  const most = Math.min(limits[medium].bytes, mostBytes ?? Infinity);
  const { bytes } = await fetchFile(url, policy, { ...limits[medium], bytes: most }, signal);
  const contentType = mediumType(bytes, medium);
  if (contentType === undefined) throw new UnusableResult(`FAL's ${medium} is none`);
  const check = await checkBytes(bytes);
  if (check.state === "unsound") throw new UnusableResult(`FAL's ${medium} ${check.problem}`);
  if (check.state !== "sound") throw new Error(`bytes in memory are ${check.state}`);
  return { bytes, contentType, check };
}

/** The weights of a result, proven to be a complete safetensors file. @throws like fetchMedium() */
export async function fetchWeights(
  url: string,
  { policy, mostBytes, signal }: FetchOptions,
): Promise<{ bytes: Uint8Array; contentType: string }> {
  const most = Math.min(limits.video.bytes, mostBytes ?? Infinity);
  const { bytes } = await fetchFile(url, policy, { ...limits.video, bytes: most }, signal);
  const problem = faultOfSafetensors(bytes);
  if (problem !== undefined) throw new UnusableResult(`FAL's weights ${problem}`);
  return { bytes, contentType: "application/octet-stream" };
}

/** What a picture or video proves to be by its first bytes; undefined where it is another thing, or none we know. */
export function mediumType(bytes: Uint8Array, medium: "image" | "video"): string | undefined {
  const contentType = contentTypeOf(bytes);
  return contentType in extensions && contentType.startsWith(`${medium}/`) ? contentType : undefined;
}

/** Whether another try at fetching could do better; if not, the job is of no use. */
export function isPassing(error: unknown): boolean {
  return error instanceof FileNotFetched && error.isPassing;
}

function urlOf(file: unknown): string {
  const { url } = fieldsOf(file);
  if (typeof url !== "string" || url === "" || url.length > 4096) {
    throw new UnusableResult("FAL's result has a file without an address");
  }
  return url;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
