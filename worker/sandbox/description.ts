import { number, text } from "../../supabase/functions/_shared/worker/orchestration/task-params.ts";

export type EditKind = "whole" | "region" | "annotated" | "upscale" | "pose";

/** A picture that was given: a file that can be drawn, and its size. */
export interface PictureSource {
  bytes: Uint8Array;
  mediaType: string;
  width: number;
  height: number;
}

/** What a picture shows, read once from params that anybody may have written. */
export interface PictureDescription {
  taskType: string;
  /** One line of printable text, cut to a length that can be typeset. */
  prompt: string;
  seed: string | undefined;
  model: string | undefined;
  width: number;
  height: number;
  edit:
    | {
        kind: EditKind;
        /** The name of what is edited; and itself, where it can be had. */
        source: string | undefined;
        picture: PictureSource | undefined;
        /** Bright where it is edited. */
        mask: PictureSource | undefined;
      }
    | undefined;
  /** Equal for equal pictures. */
  fingerprint: string;
}

const edits: Record<string, EditKind> = {
  z_image_turbo_i2i: "whole",
  qwen_image_edit: "whole",
  image_edit: "whole",
  magic_edit: "whole",
  edit_travel_kontext: "whole",
  edit_travel_flux: "whole",
  image_inpaint: "region",
  annotated_image_edit: "annotated",
  image_upscale: "upscale",
  "image-upscale": "upscale",
  generate_openpose: "pose",
};

/** What the sandbox draws. */
export const pictureTaskTypes: readonly string[] = [
  "qwen_image",
  "qwen_image_2512",
  "qwen_image_style",
  "z_image_turbo",
  "single_image",
  "wan_2_2_t2i",
  ...Object.keys(edits),
];

const defaultSize = { width: 1024, height: 1024 };
const smallestSide = 64;
const largestSide = 4096;
const mostPixels = 16_000_000;
/** What of a prompt is looked at for the picture's text; the fingerprint takes all of it. */
const readCharacters = 8_000;
const shownCharacters = 900;

export function describePicture(
  taskType: string,
  params: Record<string, unknown>,
  given: { picture?: PictureSource | undefined; mask?: PictureSource | undefined } = {},
): PictureDescription {
  const prompt = text(params["prompt"]) ?? text(params["base_prompt"]) ?? "";
  const seed = scalar(params["seed"]);
  const model = scalar(params["model"]) ?? scalar(params["model_name"]);
  const kind = Object.hasOwn(edits, taskType) ? edits[taskType] : undefined;
  return {
    taskType: clean(taskType, 60),
    prompt: clean(prompt, shownCharacters),
    seed: seed === undefined ? undefined : clean(seed, 24),
    model: model === undefined ? undefined : clean(model, 48),
    ...sizeOf(params, kind === undefined ? undefined : given.picture, kind === "upscale"),
    edit:
      kind === undefined
        ? undefined
        : {
            kind,
            source: nameOf(pictureUrl(params)),
            picture: given.picture,
            mask: kind === "region" ? given.mask : undefined,
          },
    fingerprint: JSON.stringify([seed, prompt, model]),
  };
}

/** Printable, on one line, in whole characters, ended by an ellipsis where it was longer. */
export function clean(written: string, limit: number): string {
  const printable = written
    .slice(0, readCharacters)
    .normalize("NFC")
    // Line breaks and tabs part words. Other controls, direction marks, joiners, unpaired surrogates, tags say
    // nothing that can be seen, or make what can be seen lie.
    .replace(/[\s\p{Zl}\p{Zp}]+/gu, " ")
    .replace(/[\p{C}\p{Variation_Selector}]/gu, "")
    // Letters under a tower of accents would reach over the whole picture.
    .replace(/(\p{M}{2})\p{M}+/gu, "$1")
    .trim();
  const characters = Array.from(printable);
  const whole = characters.length <= limit && written.length <= readCharacters;
  return whole ? printable : `${characters.slice(0, limit).join("").trimEnd()}…`;
}

/** As the params say, else as large as the picture that is edited; an upscale makes that larger. */
function sizeOf(
  params: Record<string, unknown>,
  picture: PictureSource | undefined,
  isUpscale: boolean,
): { width: number; height: number } {
  const size = readSize(params);
  if (!isUpscale || !picture) return boundedSize(size ?? picture ?? defaultSize);
  const factor = number(params["scale_factor"]) ?? number(params["upscale_factor"]) ?? 2;
  const scale = Math.min(8, Math.max(1, factor));
  return boundedSize({ width: picture.width * scale, height: picture.height * scale });
}

/** The size that params ask for, if they do. */
export function readSize(params: Record<string, unknown>): { width: number; height: number } | undefined {
  const size =
    pair(params["resolution"]) ??
    pair(params["parsed_resolution_wh"]) ??
    pair(params["image_size"]) ??
    pair(params["size"]) ??
    pair({ width: params["width"], height: params["height"] });
  return size && { width: size[0], height: size[1] };
}

function boundedSize({ width, height }: { width: number; height: number }): {
  width: number;
  height: number;
} {
  // Shrunk as a whole first, so that the shape stays; then each side by itself.
  const fit = Math.min(1, largestSide / Math.max(1, width, height));
  const sides = { width: bounded(width * fit), height: bounded(height * fit) };
  const scale = Math.min(1, Math.sqrt(mostPixels / (sides.width * sides.height)));
  return { width: Math.floor(sides.width * scale), height: Math.floor(sides.height * scale) };
}

/** "1024x768", "1024*768", [1024, 768] or {width, height}; "auto" and whatever else is no size. */
function pair(value: unknown): [number, number] | undefined {
  if (typeof value === "string") {
    const [, width, height] = /^\s*(\d{1,9})\s*[x×*]\s*(\d{1,9})\s*$/i.exec(value) ?? [];
    return width && height ? [Number(width), Number(height)] : undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  const width = fields["width"] ?? fields["0"];
  const height = fields["height"] ?? fields["1"];
  const numbers = typeof width === "number" && typeof height === "number";
  return numbers && Number.isFinite(width) && Number.isFinite(height) ? [width, height] : undefined;
}

function bounded(side: number): number {
  return Math.min(largestSide, Math.max(smallestSide, Math.round(side)));
}

/** Where the picture is that is edited. */
export function pictureUrl(params: Record<string, unknown>): string | undefined {
  return text(params["image_url"]) ?? text(params["image"]) ?? text(params["input_image"]);
}

/** The last part of a URL's path, for people to read. */
export function nameOf(url: string | undefined): string | undefined {
  const path = url?.slice(0, readCharacters).split(/[?#]/)[0];
  const name = path?.split("/").findLast((part) => part !== "");
  return name && !url?.startsWith("data:") ? clean(name, 40) : undefined;
}

export function scalar(value: unknown): string | undefined {
  return typeof value === "number" ? String(value) : text(value);
}
