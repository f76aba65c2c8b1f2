import { signatureType } from "../../supabase/functions/_shared/media/content-type.ts";
import {
  headBytes,
  isTooLarge,
  longestSide,
  mostPixels,
  sizeOfImage,
} from "../../supabase/functions/_shared/media/picture-size.ts";
import { StorageError } from "./errors.ts";

/** What a browser may show in place; everything else is a download of bytes without a meaning. */
const shown = new Set([
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "image/avif",
  "video/mp4",
  "video/quicktime",
  "video/webm",
]);
/** Kept on the sender's word, for they have no signature, and do nothing in a browser that may not guess. */
const believed = new Set(["text/plain", "text/csv", "application/json", "application/zip"]);

const plainBytes = "application/octet-stream";

export interface MediaFacts {
  mimetype: string;
  width?: number;
  height?: number;
}

/** The type under which an object is sent, and whether it is only ever saved. Rows may say anything. */
export function servedAs(mimetype: string | undefined): { type: string; attachment: boolean } {
  if (mimetype && shown.has(mimetype)) return { type: mimetype, attachment: false };
  if (mimetype && isBelieved(mimetype)) return { type: mimetype, attachment: false };
  return { type: plainBytes, attachment: true };
}

/** Whether a bucket takes a type; `video/*` stands for all of them. */
export function isAllowed(mimetype: string, allowed: string[] | null): boolean {
  if (!allowed || allowed.length === 0) return true;
  const family = `${mimetype.split("/")[0]}/*`;
  return allowed.includes(mimetype) || allowed.includes(family) || allowed.includes("*/*");
}

/**
 * Reads what passes by until it knows enough: the type by its signature, an image's size from its header.
 * Nothing is decoded, so what a decoder would suffer from is refused before there is one.
 */
export class MediaInspection {
  readonly #declared: string;
  #head: Buffer = Buffer.alloc(0);
  #wanted = 64;
  #facts: MediaFacts | undefined;

  constructor(declaredType: string | undefined) {
    this.#declared = (declaredType ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  }

  /** @throws StorageError `InvalidImage` as soon as the header says so. */
  take(chunk: Uint8Array): void {
    if (this.#facts) return;
    if (this.#head.length < this.#wanted) {
      this.#head = Buffer.concat([
        this.#head,
        chunk.subarray(0, headBytes["image/jpeg"] - this.#head.length),
      ]);
    }
    if (this.#head.length < this.#wanted) return;
    this.#wanted = headBytes[signatureType(this.#head) ?? ""] ?? 64;
    if (this.#head.length >= this.#wanted) this.finish();
  }

  /** The facts, from what has passed so far. @throws StorageError `InvalidImage` */
  finish(): MediaFacts {
    this.#facts ??= factsOf(this.#head, this.#declared);
    this.#head = Buffer.alloc(0);
    return this.#facts;
  }
}

function factsOf(head: Buffer, declared: string): MediaFacts {
  const type = signatureType(head);
  if (type?.startsWith("image/")) {
    const size = sizeOfImage(head.subarray(0, headBytes[type]));
    // What cannot be measured cannot be refused for its size either, so it does not count as an image.
    if (!size) return { mimetype: plainBytes };
    if (isTooLarge(size)) {
      throw new StorageError(
        "InvalidImage",
        `The image is ${size.width} × ${size.height}; at most ${longestSide} a side and ${mostPixels / 1e6} megapixels are taken`,
      );
    }
    return { mimetype: type, ...size };
  }
  return { mimetype: type ?? (isBelieved(declared) ? declared : plainBytes) };
}

function isBelieved(type: string): boolean {
  return believed.has(type) || /^audio\/[a-z0-9.+-]+$/.test(type);
}
