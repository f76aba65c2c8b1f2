import { Resvg, type ResvgRenderOptions } from "@resvg/resvg-js";
import { fontFiles, sans } from "./font.ts";
import { coloursOfFrame, type Frame } from "./frame.ts";
import { signature } from "./picture.ts";
import { pngOfColours, withPngText } from "./png.ts";
import { element } from "./svg.ts";

const thumbnailSide = 400;

const options: ResvgRenderOptions = {
  // System fonts would make the bytes depend on the machine.
  font: { loadSystemFonts: false, fontFiles, defaultFontFamily: sans.family },
  logLevel: "off",
};

/** A drawing's pixels, four bytes each. */
export function rasterize(svg: string): Uint8Array {
  return new Resvg(svg, options).render().pixels;
}

/** A drawing as a PNG, no longer on either side than asked for. */
export function rasterizeToPng(
  svg: string,
  { width, height }: { width: number; height: number },
  longestSide = Infinity,
): Buffer {
  const scale = Math.min(1, longestSide / Math.max(width, height));
  if (scale === 1) return new Resvg(svg, options).render().asPng();
  // Only one side can be asked for; the longer one, or the shorter might round to more than the limit.
  const value = Math.round(Math.max(width, height) * scale);
  const fitTo = width >= height ? { mode: "width" as const, value } : { mode: "height" as const, value };
  return new Resvg(svg, { ...options, fitTo }).render().asPng();
}

export function pngOfFrame(frame: Frame): Buffer {
  return withPngText(pngOfColours(coloursOfFrame(frame), frame.width, frame.height), { Software: signature });
}

/** A small picture of a drawing. */
export function thumbnailOfDrawing(svg: string, size: { width: number; height: number }): Buffer {
  return withPngText(rasterizeToPng(svg, size, thumbnailSide), { Software: signature });
}

export function thumbnailOf(frame: Frame): Buffer {
  const { width, height } = frame;
  const href = `data:image/png;base64,${pngOfFrame(frame).toString("base64")}`;
  const svg = element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height },
    element("image", { href, width, height }),
  );
  return thumbnailOfDrawing(svg, frame);
}
