import { z } from "zod";

/** Width and height of a picture for each aspect ratio that a project may have. */
const sizes: Record<string, readonly [number, number]> = {
  "21:9": [1024, 438],
  "16:9": [902, 508],
  "4:3": [768, 576],
  "3:2": [768, 512],
  "1:1": [670, 670],
  Square: [670, 670],
  "2:3": [512, 768],
  "3:4": [576, 768],
  "9:16": [508, 902],
  "9:21": [438, 1024],
};

const square = [670, 670] as const;

/** One of the aspect ratios above. */
export const aspectRatio = z.enum(Object.keys(sizes) as [string, ...string[]]);

/** `WxH` in pixels; blank counts as not said. */
export const resolution = z
  .string()
  .trim()
  .max(11)
  .regex(/^$|^[1-9]\d{1,4}x[1-9]\d{1,4}$/, "must be WIDTHxHEIGHT")
  .refine(
    (value) =>
      value
        .split("x")
        .map(Number)
        .every((side) => side <= 8192),
    "has a side of more than 8192 pixels",
  );

/** The explicit resolution, or that of the aspect ratio (a square when there is none), scaled to whole pixels. */
export function resolutionFor(
  explicit: string | null | undefined,
  aspectRatio: string | null | undefined,
  scale = 1,
): string {
  if (explicit) return explicit;
  const size = (aspectRatio && Object.hasOwn(sizes, aspectRatio) && sizes[aspectRatio]) || square;
  return size.map((side) => Math.round(side * scale)).join("x");
}

/** The same as a pair, as some workers read it. */
export function sizeFor(...given: Parameters<typeof resolutionFor>): number[] {
  return resolutionFor(...given)
    .split("x")
    .map(Number);
}
