import { imageSize } from "image-size";
import type { PictureSource } from "./description.ts";
import { type Attributes, element } from "./svg.ts";

/** What can be drawn within a picture. */
const types: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
};
const mostPixels = 50_000_000;

/** What a file is, from its header alone; nothing where it is no picture that can be drawn here. */
export function pictureSource(bytes: Uint8Array): PictureSource | undefined {
  try {
    const { width, height, type = "" } = imageSize(bytes);
    const mediaType = Object.hasOwn(types, type) ? types[type] : undefined;
    const isDrawable = mediaType !== undefined && width > 0 && height > 0 && width * height <= mostPixels;
    return isDrawable ? { bytes, mediaType, width, height } : undefined;
  } catch {
    return undefined; // Not a picture at all.
  }
}

/** The picture over all of a drawing; what stands over is cut off evenly. */
export function sourceImage(
  { bytes, mediaType }: PictureSource,
  { width, height }: { width: number; height: number },
  more: Attributes = {},
): string {
  const href = `data:${mediaType};base64,${Buffer.from(bytes).toString("base64")}`;
  return element("image", { href, width, height, preserveAspectRatio: "xMidYMid slice", ...more });
}
