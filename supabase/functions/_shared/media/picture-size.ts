import { imageSize } from "image-size";

export const longestSide = 16_384;
export const mostPixels = 100_000_000;

export interface FrameSize {
  width: number;
  height: number;
}

/**
 * How far into a file an image's size may stand. Cameras and editors put kilobytes of notes before a JPEG's; how much
 * of an AVIF is searched is kept small, because the search takes the square of it.
 */
export const headBytes: Record<string, number> & { "image/jpeg": number } = {
  "image/jpeg": 256 * 1024,
  "image/avif": 16 * 1024,
  "image/png": 64,
  "image/gif": 64,
  "image/webp": 64,
};

/** The size of an image by its first bytes; undefined where they do not say it. Nothing is decoded. */
export function sizeOfImage(head: Uint8Array): FrameSize | undefined {
  try {
    // A copy in a buffer of its own: small Buffers share one with others, which a parser need not see.
    const { width, height } = imageSize(new Uint8Array(head));
    return isSize(width) && isSize(height) ? { width, height } : undefined;
  } catch {
    return undefined; // The only way in which the parser says that it is not an image.
  }
}

export function isSize(length: number | null | undefined): length is number {
  return typeof length === "number" && Number.isInteger(length) && length > 0;
}

/** Whether a decoder could suffer from a frame of this size. */
export function isTooLarge({ width, height }: FrameSize): boolean {
  return width > longestSide || height > longestSide || width * height > mostPixels;
}
