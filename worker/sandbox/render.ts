import { parentPort } from "node:worker_threads";
import { Resvg, type ResvgRenderOptions } from "@resvg/resvg-js";
import { fontFiles, sans } from "./font.ts";
import { pictureSvg, signature } from "./picture.ts";
import { withPngText } from "./png-text.ts";
import type { PictureDescription } from "./description.ts";

const thumbnailSide = 400;

export interface RenderedPicture {
  png: Uint8Array;
  thumbnail: Uint8Array;
}

/** The same description gives the same bytes. Takes a processor for a while: call it in a thread. */
export function renderPicture(picture: PictureDescription): RenderedPicture {
  const svg = pictureSvg(picture);
  return {
    png: withPngText(new Resvg(svg, options).render().asPng(), textsOf(picture)),
    thumbnail: withPngText(renderThumbnail(svg, picture), { Software: signature }),
  };
}

const options: ResvgRenderOptions = {
  // System fonts would make the bytes depend on the machine.
  font: { loadSystemFonts: false, fontFiles, defaultFontFamily: sans.family },
  logLevel: "off",
};

function renderThumbnail(svg: string, { width, height }: PictureDescription): Buffer {
  const scale = Math.min(1, thumbnailSide / Math.max(width, height));
  // Only one side can be asked for; the longer one, or the shorter might round to more than the limit.
  const value = Math.round(Math.max(width, height) * scale);
  const fitTo = width >= height ? { mode: "width" as const, value } : { mode: "height" as const, value };
  return new Resvg(svg, { ...options, fitTo }).render().asPng();
}

function textsOf(picture: PictureDescription): Record<string, string> {
  return {
    Software: signature,
    Description: picture.prompt,
    "Darkroom task type": picture.taskType,
    ...(picture.model !== undefined && { "Darkroom model": picture.model }),
    ...(picture.seed !== undefined && { "Darkroom seed": picture.seed }),
  };
}

parentPort?.on("message", (picture: PictureDescription) => parentPort?.postMessage(renderPicture(picture)));
