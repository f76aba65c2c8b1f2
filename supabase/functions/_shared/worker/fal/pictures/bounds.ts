import type { PictureEndpoint } from "../../../pictures/endpoints.ts";
import { type PictureWarning, smallestSide } from "../../../pictures/limits.ts";
import { namedSizes, type Size, sizeOf } from "../../../pictures/picture-params.ts";
import type { BilledValues } from "../../client.ts";
import { falMegapixel, megapixel, sizeOf as sizeOfFile, sizeWithin } from "../paid-inputs.ts";
import type { FalRequest } from "../recipe.ts";

/** What models round sides to; a size of ours is rounded down, so that it stays within what is paid. */
const sideStep = 16;

/**
 * Keeps the pictures of a request within what is paid: the size in its input, or, where the size comes from a picture, the one
 * that is measured before anything is submitted. A price that counts neither megapixels nor sizes pays for one of FAL's megapixels.
 */
export function boundPictures(
  { size: askedBy, usualPixels }: PictureEndpoint,
  request: FalRequest,
  billed: BilledValues = {},
): PictureWarning[] {
  const { input, files, units } = request;
  const images = typeof input["num_images"] === "number" ? input["num_images"] : 1;
  const count = (pixels: number) => (units.megapixels = images * Math.ceil(pixels / falMegapixel));
  units.images = images;
  if (askedBy !== "image_size") {
    // Of an aspect ratio, models make a little more or less than 1024 × 1024.
    units.megapixels = images * 2;
    return [];
  }
  const paid = paidPixels(billed);
  const asked = sizeOfInput(input["image_size"]);
  const source = files.find(({ medium }) => medium === "image");
  count(Math.min(paid, asked ? asked.width * asked.height : source ? paid : usualPixels));
  if (asked && asked.width * asked.height > paid) {
    const fitting = fittingSize(asked, paid);
    input["image_size"] = fitting;
    const message =
      `The picture has ${fitting.width}x${fitting.height} instead of ${asked.width}x${asked.height} pixels: ` +
      "the price is for one megapixel.";
    return [{ code: "adjusted", field: "resolution", message }];
  }
  if (!asked && source) {
    source.inspect = async (bytes) => {
      const size = fittingSize(await sizeOfFile(source, bytes), paid);
      input["image_size"] = size;
      count(size.width * size.height);
    };
  } else if (!asked && usualPixels > paid) {
    input["image_size"] = fittingSize({ width: 1024, height: 1024 }, paid);
  }
  return [];
}

/** What a price without megapixels and sizes is for: one megapixel of FAL's. */
function paidPixels({ megapixels, resolution }: BilledValues): number {
  if (megapixels !== undefined) return megapixels * megapixel;
  const size = sizeOf({ resolution });
  return size ? size.width * size.height : falMegapixel;
}

function sizeOfInput(value: unknown): Size | undefined {
  if (typeof value === "string") return namedSizes[value];
  return value as Size | undefined;
}

/** The same shape in whole steps, with at most so many pixels. */
export function fittingSize(size: Size, mostPixels: number): Size {
  const { width, height } = sizeWithin(size, mostPixels);
  const side = (length: number) => Math.max(smallestSide, Math.floor(length / sideStep) * sideStep);
  return { width: side(width), height: side(height) };
}
