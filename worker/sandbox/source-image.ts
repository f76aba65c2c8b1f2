import { signatureType } from "../../supabase/functions/_shared/media/content-type.ts";
import { headBytes, sizeOfImage } from "../../supabase/functions/_shared/media/picture-size.ts";
import type { PictureSource } from "./description.ts";
import { type Attributes, element } from "./svg.ts";

/** What can be drawn within a picture. */
const mediaTypes = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const mostPixels = 50_000_000;

/** What a file is, from its header alone; nothing where it is no picture that can be drawn here. */
export function pictureSource(bytes: Uint8Array): PictureSource | undefined {
  const mediaType = signatureType(bytes.subarray(0, 64));
  if (mediaType === undefined || !mediaTypes.has(mediaType)) return undefined;
  const size = sizeOfImage(bytes.subarray(0, headBytes[mediaType]));
  return size && size.width * size.height <= mostPixels ? { bytes, mediaType, ...size } : undefined;
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
