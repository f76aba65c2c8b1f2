/** The bytes of a file, read in parts, so that a large file is never in memory. */
export interface FileBytes {
  readonly size: number;
  /** The bytes from `start` up to `end`, which is not included; fewer where the file ends before. */
  read(start: number, end: number): Promise<Uint8Array>;
}

export type UnusableReason = "empty" | "damaged" | "incomplete" | "too_large" | "too_many_parts";

/** The file is not what it claims to be. The message continues a sentence that begins with the file's name. */
export class UnusableFile extends Error {
  readonly reason: UnusableReason;

  constructor(reason: UnusableReason, problem: string, options?: ErrorOptions) {
    super(problem, options);
    this.name = "UnusableFile";
    this.reason = reason;
  }
}

/** A stretch of a file; `end` is not included. */
export interface Stretch {
  start: number;
  end: number;
}

/** A box of an MP4, a chunk of a RIFF file: what stands behind its header. */
export interface Part extends Stretch {
  type: string;
}

/** Some programs fill up what they write. Longer than that, or other bytes, and something was appended. */
const mostPadding = 4096;

export function bytesInMemory(bytes: Uint8Array): FileBytes {
  return { size: bytes.byteLength, read: (start, end) => Promise.resolve(bytes.subarray(start, end)) };
}

export function incomplete(detail: string): UnusableFile {
  return new UnusableFile("incomplete", `is not complete: ${detail}`);
}

export function damaged(name: string, detail: string): UnusableFile {
  return new UnusableFile("damaged", `is a damaged ${name}: ${detail}`);
}

export function tooManyParts(name: string): UnusableFile {
  return new UnusableFile(
    "too_many_parts",
    `cannot be checked: the ${name} has too many parts, or its table of contents is too long. Write it again without fragments`,
  );
}

/** Counts what a check looks at, so that no file can make it long. */
export class PartCount {
  #left: number;
  readonly #name: string;

  constructor(most: number, name: string) {
    this.#left = most;
    this.#name = name;
  }

  /** @throws UnusableFile */
  add(): void {
    this.#left -= 1;
    if (this.#left < 0) throw tooManyParts(this.#name);
  }
}

/** How many bytes the file has before zeros, spaces and line breaks that fill it up. */
export async function lengthWithoutPadding(file: FileBytes): Promise<number> {
  const start = Math.max(0, file.size - mostPadding);
  const tail = await file.read(start, file.size);
  return start + tail.findLastIndex((byte) => !isPadding(byte)) + 1;
}

/** Whether nothing but padding stands from here to the end. */
export async function isPaddingFrom(file: FileBytes, position: number): Promise<boolean> {
  if (file.size - position > mostPadding) return false;
  return (await file.read(position, file.size)).every(isPadding);
}

function isPadding(byte: number): boolean {
  return byte === 0 || byte === 0x20 || byte === 0x0a || byte === 0x0d;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One character a byte. */
export function ascii(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}
