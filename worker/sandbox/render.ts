import { parentPort } from "node:worker_threads";
import type { PictureDescription } from "./description.ts";
import {
  type Clip,
  type FilmDescription,
  frameOfClip,
  RenderCancelled,
  type RenderControl,
  type RenderedFilm,
  renderFilm,
} from "./film.ts";
import { pictureSvg, signature } from "./picture.ts";
import { withPngText } from "./png.ts";
import { pngOfFrame, rasterizeToPng, thumbnailOf, thumbnailOfDrawing } from "./raster.ts";

export interface RenderedPicture {
  png: Uint8Array;
  thumbnail: Uint8Array;
}

/** What there is to draw: a picture, one frame of a clip as a picture, or a film. */
export type Drawing =
  | { kind: "picture"; picture: PictureDescription }
  | { kind: "frame"; clip: Clip; number: number }
  | { kind: "film"; film: FilmDescription };

export interface Rendered {
  picture: RenderedPicture;
  frame: RenderedPicture;
  film: RenderedFilm;
}

/** What a thread that draws is told; another turns the flag to 1 when nobody wants it any more. */
export interface RenderOrder {
  drawing: Drawing;
  cancelled: Int32Array;
}

export type RenderReply =
  { progress: number } | { rendered: Rendered[keyof Rendered] } | { failed: string; isCancelled: boolean };

/** The same description gives the same bytes. Takes a processor for a while: call it in a thread. */
export function renderPicture(picture: PictureDescription): RenderedPicture {
  const svg = pictureSvg(picture);
  return {
    png: withPngText(rasterizeToPng(svg, picture), textsOf(picture)),
    thumbnail: thumbnailOfDrawing(svg, picture),
  };
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

async function render(drawing: Drawing, control: RenderControl): Promise<Rendered[keyof Rendered]> {
  if (drawing.kind === "picture") return renderPicture(drawing.picture);
  if (drawing.kind === "film") return await renderFilm(drawing.film, control);
  const frame = await frameOfClip(drawing.clip, drawing.number);
  return { png: pngOfFrame(frame), thumbnail: thumbnailOf(frame) };
}

/** A thread sends as often as a bar can be seen to move. */
const smallestProgress = 0.02;

async function obey(
  { drawing, cancelled }: RenderOrder,
  reply: (message: RenderReply) => void,
): Promise<void> {
  let told = 0;
  const control: RenderControl = {
    isCancelled: () => Atomics.load(cancelled, 0) === 1,
    progress(fraction) {
      if (fraction - told < smallestProgress) return;
      told = fraction;
      reply({ progress: fraction });
    },
  };
  try {
    reply({ rendered: await render(drawing, control) });
  } catch (error) {
    const failed = error instanceof Error ? error.message : String(error);
    reply({ failed, isCancelled: error instanceof RenderCancelled });
  }
}

const parent = parentPort;
parent?.on("message", (order: RenderOrder) => void obey(order, (message) => parent.postMessage(message)));
