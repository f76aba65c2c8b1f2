import { fetchFile, FileNotFetched } from "../../outgoing/fetch-file.ts";
import { checkedUrl, findTarget, type TargetPolicy, TargetRefused } from "../../outgoing/target.ts";
import { mediumType } from "../../providers/fal-result.ts";
import { RenderError } from "../provider.ts";
import { audioType } from "./audio-type.ts";
import type { Archive, FileContent, FileInput } from "./params.ts";

export interface InputOptions {
  policy: TargetPolicy;
  /** Base URLs under which our own storage is known. */
  storageUrls: readonly string[];
  /** Puts a file where FAL's models can fetch it. */
  upload(bytes: Uint8Array, contentType: string): Promise<string>;
  signal: AbortSignal;
}

const publicFiles = "/storage/v1/object/public/";
const megabyte = 1024 * 1024;
const limits = {
  image: { bytes: 64 * megabyte, totalMilliseconds: 60_000, silenceMilliseconds: 15_000 },
  video: { bytes: 200 * megabyte, totalMilliseconds: 300_000, silenceMilliseconds: 15_000 },
  audio: { bytes: 64 * megabyte, totalMilliseconds: 120_000, silenceMilliseconds: 15_000 },
};

/**
 * Sees to it that FAL can fetch each file, and is not sent to anything but somebody's public server. What is in our own
 * storage, where that is not such a server, is brought to FAL, and so is a file that decides what is paid; nothing else is
 * fetched by us.
 * @throws RenderError
 */
export async function placeFiles(files: readonly FileInput[], options: InputOptions): Promise<void> {
  const brought: { file: FileInput; url: string; policy: TargetPolicy }[] = [];
  for (const file of files) {
    if (file.archive) continue;
    const own = ownFile(file, options);
    if (own !== undefined) {
      brought.push({ file, url: own.url, policy: { ...options.policy, trustedOrigins: [own.origin] } });
      continue;
    }
    await checkAddress(file, options.policy);
    if (file.inspect) brought.push({ file, url: file.url, policy: options.policy });
  }
  for (const { file, url, policy } of brought) {
    file.place(await broughtToFal(file, url, { ...options, policy }));
  }
  for (const { archive, place } of files) {
    if (!archive) continue;
    const { bytes, contentType } = await packed(archive, options);
    place(await options.upload(bytes, contentType));
  }
}

/** The files of an archive are fetched one after the other: together they are in memory once. */
async function packed({ parts, mostBytes, pack }: Archive, options: InputOptions): Promise<FileContent> {
  const contents: FileContent[] = [];
  let total = 0;
  for (const part of parts) {
    const own = ownFile(part, options);
    if (!own) await checkAddress(part, options.policy);
    const policy = own ? { ...options.policy, trustedOrigins: [own.origin] } : options.policy;
    const content = await fetched(part, own?.url ?? part.url, { policy, signal: options.signal });
    total += content.bytes.byteLength;
    if (total > mostBytes) {
      throw new RenderError(`${part.field}: the files have more than ${mostBytes / megabyte} MiB together`, {
        isRetryable: false,
      });
    }
    contents.push(content);
  }
  return pack(contents);
}

/** The address of a file in our storage that FAL could not reach, with the origin that is trusted for it. */
function ownFile(
  { url, medium }: Pick<FileInput, "url" | "medium">,
  { storageUrls, policy }: InputOptions,
): { url: string; origin: string } | undefined {
  if (medium === "weights" || !URL.canParse(url)) return undefined;
  const { origin, pathname, search } = new URL(url);
  const isOurs = storageUrls.some(
    (base) =>
      new URL(base).origin === origin && pathname.startsWith(publicFiles) && !isPublic(origin, policy),
  );
  // Of the parsed URL, which has no dots that climb out of the folder.
  return isOurs ? { url: `${origin}${pathname}${search}`, origin } : undefined;
}

function isPublic(origin: string, policy: TargetPolicy): boolean {
  try {
    checkedUrl(origin, { ...policy, trustedOrigins: [] });
    return true;
  } catch {
    return false;
  }
}

async function broughtToFal(
  file: FileInput,
  url: string,
  { upload, policy, signal }: InputOptions,
): Promise<string> {
  const { bytes, contentType } = await fetched(file, url, { policy, signal });
  await file.inspect?.(bytes);
  return await upload(bytes, contentType);
}

async function fetched(
  { field, medium }: Pick<FileInput, "field" | "medium">,
  url: string,
  { policy, signal }: Pick<InputOptions, "policy" | "signal">,
): Promise<FileContent> {
  if (medium === "weights") throw new TypeError("weights are not kept in our storage");
  let bytes: Uint8Array;
  try {
    ({ bytes } = await fetchFile(url, policy, limits[medium], signal));
  } catch (error) {
    if (!(error instanceof FileNotFetched)) throw error;
    throw new RenderError(`${field}: ${error.message}`, { isRetryable: error.isPassing });
  }
  const contentType = medium === "audio" ? audioType(bytes) : mediumType(bytes, medium);
  if (contentType === undefined) {
    const kind = { image: "an image", video: "a video", audio: "a sound file" }[medium];
    throw new RenderError(`${field}: the file is not ${kind}`, { isRetryable: false });
  }
  return { bytes, contentType };
}

async function checkAddress(
  { field, url }: Pick<FileInput, "field" | "url">,
  policy: TargetPolicy,
): Promise<void> {
  try {
    checkedUrl(url, policy);
  } catch (error) {
    if (!(error instanceof TargetRefused)) throw error;
    throw new RenderError(`${field}: ${error.message}`, { isRetryable: false });
  }
  try {
    await findTarget(url, policy);
  } catch (error) {
    if (!(error instanceof TargetRefused)) throw error;
    // A name that cannot be looked up now may be found later; one that leads inside is never sent.
    throw new RenderError(`${field}: ${error.message}`, { isRetryable: true });
  }
}
