import { createRequire } from "node:module";
import { parentPort } from "node:worker_threads";
import { Resvg } from "@resvg/resvg-js";
import { type PictureDescription, pictureSvg } from "./picture.ts";

const require = createRequire(import.meta.url);
// Fonts of our own: the same picture on machines with other fonts, or none.
const fontFiles = ["DejaVuSerif.ttf", "DejaVuSans.ttf"].map((name) =>
  require.resolve(`dejavu-fonts-ttf/ttf/${name}`),
);
const thumbnailSide = 400;

export interface RenderedPicture {
  png: Uint8Array;
  thumbnail: Uint8Array;
}

/** Draws a picture and its thumbnail, as PNG. Takes a processor for a while: call it in a thread. */
export function renderPicture(picture: PictureDescription): RenderedPicture {
  const svg = pictureSvg(picture);
  const font = { loadSystemFonts: false, fontFiles, defaultFontFamily: "DejaVu Sans" };
  const scale = Math.min(1, thumbnailSide / Math.max(picture.width, picture.height));
  return {
    png: new Resvg(svg, { font }).render().asPng(),
    thumbnail: new Resvg(svg, { font, fitTo: { mode: "zoom", value: scale } }).render().asPng(),
  };
}

parentPort?.on("message", (picture: PictureDescription) => {
  const { png, thumbnail } = renderPicture(picture);
  parentPort?.postMessage({ png, thumbnail } satisfies RenderedPicture);
});
