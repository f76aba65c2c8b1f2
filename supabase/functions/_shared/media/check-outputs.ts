import { AppError } from "../errors/app-error.ts";
import { bytesInMemory, type FileBytes, tooManyParts, UnusableFile } from "./file-parts.ts";
import { inspectMedia, type MediaFile } from "./media-file.ts";
import type { ObjectPart, Storage } from "./storage.ts";

/**
 * What a check found, as `complete_task()` takes it. Size and tag name the version that was read: the completing transaction
 * compares them with the object's, so a file that is replaced after its check does not complete a task.
 */
export type CheckedFile =
  | ({ state: "sound"; size: number; etag: string | undefined } & MediaFile)
  | { state: "unsound"; reason: string; problem: string }
  /** There were no bytes: no such object, or an empty one. The transaction knows which. */
  | { state: "absent" }
  /** It changed from one read to the next. */
  | { state: "replaced" }
  | { state: "unreadable" };

/** By path. */
export type CheckedFiles = Record<string, CheckedFile>;

export interface OutputCheck {
  files: CheckedFiles;
  /** Why a file is `unreadable`. */
  failure: AppError | undefined;
}

/** Less than workers wait for their answer. */
const longestCheckMilliseconds = 20_000;
const checksAtOnce = 4;
/** One read of this length is most images, and the head of every film. */
const windowBytes = 64 * 1024;
/** Where one read follows the other, each is twice as long, up to this. */
const longestWindow = 1024 * 1024;
/** Of one file: a GIF of 16 MiB is read through; the table of contents of a film takes less. */
const mostBytes = 20 * 1024 * 1024;
const mostReads = 64;

/** Checks a file before it is stored. */
export async function checkBytes(bytes: Uint8Array): Promise<CheckedFile> {
  return await outcomeOf(async () => ({
    state: "sound",
    size: bytes.byteLength,
    etag: undefined,
    ...(await inspectMedia(bytesInMemory(bytes))),
  }));
}

/** Checks files in storage by reading parts of them. What cannot be read just now is said, and is not a fault of the file. */
export async function checkStored(storage: Storage, paths: Iterable<string>): Promise<OutputCheck> {
  const signal = AbortSignal.timeout(longestCheckMilliseconds);
  const waiting = [...new Set(paths)];
  const found: [string, CheckedFile][] = [];
  let failure: AppError | undefined;
  async function work(): Promise<void> {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      try {
        found.push([path, await checkObject(storage, path, signal)]);
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== "storage_unavailable") throw error;
        failure ??= error;
        found.push([path, { state: "unreadable" }]);
      }
    }
  }
  await Promise.all(Array.from({ length: checksAtOnce }, work));
  return { files: Object.fromEntries(found), failure };
}

/** A refusal because storage could not be read, with the reason why it could not. */
export function withCause(error: unknown, failure: AppError | undefined): unknown {
  const isUnreadable = error instanceof AppError && error.code === "storage_unavailable";
  return isUnreadable && failure ? failure : error;
}

async function checkObject(storage: Storage, path: string, signal: AbortSignal): Promise<CheckedFile> {
  return await outcomeOf(async () => {
    const first = await storage.readPart(path, 0, windowBytes, signal);
    if (!first) return { state: "absent" };
    const file = new StoredBytes(first, (start, end) => storage.readPart(path, start, end, signal));
    return { state: "sound", size: first.size, etag: first.eTag, ...(await inspectMedia(file)) };
  });
}

async function outcomeOf(check: () => Promise<CheckedFile>): Promise<CheckedFile> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof Replaced) return { state: "replaced" };
    if (!(error instanceof UnusableFile)) throw error;
    return { state: "unsound", reason: error.reason, problem: error.message };
  }
}

class Replaced extends Error {}

/** An object in storage; its head and what was read last are kept, so that small steps cost no requests. */
class StoredBytes implements FileBytes {
  readonly size: number;
  readonly #eTag: string | undefined;
  readonly #head: Uint8Array;
  readonly #readPart: (start: number, end: number) => Promise<ObjectPart | undefined>;
  #last: { start: number; bytes: Uint8Array } | undefined;
  #bytesRead: number;
  #reads = 1;
  #window = windowBytes;

  constructor(first: ObjectPart, readPart: (start: number, end: number) => Promise<ObjectPart | undefined>) {
    this.size = first.size;
    this.#eTag = first.eTag;
    this.#head = first.bytes;
    this.#readPart = readPart;
    this.#bytesRead = first.bytes.byteLength;
  }

  async read(from: number, to: number): Promise<Uint8Array> {
    const [start, end] = [Math.min(from, this.size), Math.min(to, this.size)];
    const known =
      cut({ start: 0, bytes: this.#head }, start, end) ?? (this.#last && cut(this.#last, start, end));
    if (known) return known;
    // Up to the end where that is near: a tail is read once.
    const behind = this.#last ? start - this.#last.start - this.#last.bytes.byteLength : Infinity;
    const follows = behind <= windowBytes && behind > -windowBytes;
    this.#window = follows ? Math.min(longestWindow, 2 * this.#window) : windowBytes;
    const wanted = Math.min(this.size, Math.max(end, start + this.#window));
    this.#bytesRead += wanted - start;
    this.#reads += 1;
    if (this.#bytesRead > mostBytes || this.#reads > mostReads) {
      throw tooManyParts("file");
    }
    const part = await this.#readPart(start, wanted);
    if (!part || part.size !== this.size || part.eTag !== this.#eTag) throw new Replaced();
    this.#last = { start, bytes: part.bytes };
    return part.bytes.subarray(0, end - start);
  }
}

function cut(
  { start: first, bytes }: { start: number; bytes: Uint8Array },
  start: number,
  end: number,
): Uint8Array | undefined {
  return start >= first && end <= first + bytes.byteLength
    ? bytes.subarray(start - first, end - first)
    : undefined;
}
