import { bytesInMemory, UnusableFile } from "../../../supabase/functions/_shared/media/file-parts.ts";
import { inspectMedia } from "../../../supabase/functions/_shared/media/media-file.ts";
import type { FrameSize } from "../../../supabase/functions/_shared/media/picture-size.ts";
import { type PictureEndpoint } from "../../../supabase/functions/_shared/pictures/endpoints.ts";
import {
  largestSide,
  pixelsOfRatio,
  type PictureWarning,
  smallestSide,
} from "../../../supabase/functions/_shared/pictures/limits.ts";
import { namedSizes } from "../../../supabase/functions/_shared/pictures/wishes.ts";
import type { BilledValues } from "../../client.ts";
import { RenderError } from "../../provider.ts";
import type { FileInput } from "../params.ts";
import type { BilledUnits } from "../recipe.ts";

/** Pixels of a megapixel as prices count them. */
const pricedMegapixel = 1024 * 1024;
/** Pixels of a megapixel as FAL bills them. */
const falMegapixel = 1_000_000;
/** What a model rounds sides to; a size of ours is rounded down, so that it stays within what is paid. */
const sideStep = 16;

export interface BoundPictures {
  units: BilledUnits;
  warnings: PictureWarning[];
}

/**
 * Keeps the pictures of a request within what is paid: the size in its input, or, where the size comes from a picture, the one
 * that is measured before anything is submitted. Where the price does not count megapixels, one of FAL's is paid.
 */
export function boundPictures(
  { size: askedBy }: PictureEndpoint,
  { input, files }: { input: Record<string, unknown>; files: readonly FileInput[] },
  { megapixels }: BilledValues = {},
): BoundPictures {
  const images = typeof input["num_images"] === "number" ? input["num_images"] : 1;
  const units = (pixels: number) => ({ images, megapixels: images * Math.ceil(pixels / falMegapixel) });
  // Of an aspect ratio, models make a little more or less than 1024 × 1024.
  if (askedBy !== "image_size") return { units: { images, megapixels: images * 2 }, warnings: [] };

  const paid = megapixels === undefined ? falMegapixel : megapixels * pricedMegapixel;
  const asked = sizeOfInput(input["image_size"]);
  if (asked) {
    if (asked.width * asked.height <= paid) return { units: units(asked.width * asked.height), warnings: [] };
    const fitting = sizeWithin(asked, paid);
    input["image_size"] = fitting;
    const message =
      `The picture has ${fitting.width}x${fitting.height} instead of ${asked.width}x${asked.height} pixels: ` +
      "the price is for one megapixel.";
    return { units: units(paid), warnings: [{ code: "adjusted", field: "resolution", message }] };
  }
  const source = files.find(({ medium }) => medium === "image");
  if (source) {
    source.inspect = async (bytes) => {
      input["image_size"] = sizeWithin(await sizeOfPicture(source, bytes), paid);
    };
  } else if (paid < pixelsOfRatio) {
    // Less than the size that some models make where none is asked for.
    input["image_size"] = sizeWithin({ width: 1024, height: 1024 }, paid);
  }
  return { units: units(paid), warnings: [] };
}

function sizeOfInput(value: unknown): FrameSize | undefined {
  if (typeof value === "string") return namedSizes[value];
  return value as FrameSize | undefined;
}

/** The same shape, with at most so many pixels, sides of whole steps, and within the largest side. */
export function sizeWithin(size: FrameSize, mostPixels: number): FrameSize {
  const shrink = Math.min(
    1,
    Math.sqrt(mostPixels / (size.width * size.height)),
    largestSide / Math.max(size.width, size.height),
  );
  // A long and narrow picture loses its shape before it has more pixels than are paid.
  const side = (length: number) =>
    Math.max(smallestSide, Math.floor((length * shrink) / sideStep) * sideStep);
  return { width: side(size.width), height: side(size.height) };
}

/** What the picture's file says of its size. @throws RenderError where it is not a picture */
export async function sizeOfPicture({ field }: Pick<FileInput, "field">, bytes: Uint8Array): Promise<FrameSize> {
  try {
    const { width, height } = await inspectMedia(bytesInMemory(bytes));
    if (width !== null && height !== null) return { width, height };
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error;
    throw new RenderError(`${field}: the picture ${error.message}`, { isRetryable: false });
  }
  throw new RenderError(`${field}: the picture has no size`, { isRetryable: false });
}
