import { sliceOf } from "../../supabase/functions/_shared/worker/orchestration/frame-slice.ts";
import { drawArtwork } from "./artwork.ts";
import { makePalette } from "./colour.ts";
import { type PictureSource, clean } from "./description.ts";
import { sans, serif } from "./font.ts";
import { drawBar, fittedTo, type Frame, frameOfPixels, lay, mixed, windowOf } from "./frame.ts";
import { decode, encode, isDecodable } from "./h264.ts";
import { readFilm, type StoredFilm, writeMp4 } from "./mp4.ts";
import { signature } from "./picture.ts";
import { rasterize, thumbnailOf } from "./raster.ts";
import { seededRandom } from "./seeded-random.ts";
import { element, escapeXml } from "./svg.ts";
import { sourceImage } from "./source-image.ts";
import { directed, faceFor, fitLine, isRightToLeft } from "./typesetting.ts";

/**
 * What a still shows: a picture that was given, a frame of a clip, as many frames away from one of its ends, or what the
 * sandbox draws for a text.
 */
export type Still =
  | { kind: "artwork"; fingerprint: string }
  | { kind: "picture"; fingerprint: string; picture: PictureSource }
  | { kind: "frame"; clip: Clip; at: "first" | "last"; away: number };

/** A film that was given; one that cannot be seen here is drawn, as long as it is or is said to be. */
export interface Clip {
  name: string;
  bytes: Uint8Array | undefined;
  /** How many frames to draw where the bytes do not tell. */
  frames: number;
}

/** A part of a film. Its first `overlap` frames fade out of the last ones of the part before. */
export type Shot = { overlap: number } & (
  | {
      kind: "clip";
      clip: Clip;
      /** Frames from this number up to, not including, that one; negative ones count from the end, as slices do. */
      from: number;
      to: number | undefined;
    }
  | { kind: "passage"; from: Still; to: Still; frames: number; caption: Caption }
);

export interface Caption {
  title: string;
  details: string;
  /** Which part of how many it is. */
  part: number;
  parts: number;
}

/** What a film shows. Like a picture's description, it is all that drawing needs. */
export interface FilmDescription {
  taskType: string;
  title: string;
  seed: string | undefined;
  /** That of the first clip, unless said. */
  size: { width: number; height: number } | undefined;
  framesPerSecond: number | undefined;
  shots: Shot[];
}

export interface RenderedFilm {
  mp4: Uint8Array;
  /** Of the first frame. */
  thumbnail: Uint8Array;
  frames: number;
  framesPerSecond: number;
  /** What each shot that is a clip took of it: from which frame up to, not including, which, of how many. */
  taken: ({ from: number; to: number; of: number } | undefined)[];
}

export interface RenderControl {
  isCancelled(): boolean;
  /** From 0 to 1. */
  progress(fraction: number): void;
}

/** The longer side and the pixels of a film: what takes seconds to draw. */
const longestSide = 480;
const mostPixels = 480 * 270;
const smallestSide = 64;
const defaultSize = { width: 480, height: 270 };
const defaultRate = 16;
/** Frames of all shots together; of more, every second, third … is shown, for as long. */
const mostFrames = 1296;
/** What of a clip is decoded, in pixels of all its frames; larger ones are drawn. */
const mostClipPixels = 400_000_000;

/** Takes a processor for seconds: call it in a thread. @throws RenderCancelled between two frames */
export async function renderFilm(film: FilmDescription, control: RenderControl): Promise<RenderedFilm> {
  const clips = new Map<Clip, OpenClip>();
  for (const clip of clipsOf(film)) if (!clips.has(clip)) clips.set(clip, await openClip(clip));
  const [first] = clips.values();
  const size = filmSize(film.size ?? first?.stored ?? defaultSize);
  const rate = film.framesPerSecond ?? first?.stored?.framesPerSecond ?? defaultRate;
  const studio = new Studio(film, size, clips);
  const shots = film.shots.map((shot) => studio.open(shot));
  const total = shots.reduce((sum, { frames }) => sum + frames, 0);
  const step = Math.ceil(total / mostFrames);
  let thumbnail: Uint8Array | undefined;
  let count = 0;

  function* shown(): Generator<Frame> {
    let number = 0;
    for (const frame of joined(shots)) {
      if (control.isCancelled()) throw new RenderCancelled();
      control.progress(Math.min(1, number / total));
      if (number % step === 0) {
        thumbnail ??= thumbnailOf(frame);
        count += 1;
        yield frame;
      }
      number += 1;
    }
  }
  const encoded = await encode(shown(), { ...size, framesPerSecond: rate / step });
  const mp4 = await writeMp4(encoded, {
    title: clean(film.title, 200),
    artist: signature,
    comment: film.seed === undefined ? film.taskType : `${film.taskType}, seed ${film.seed}`,
  });
  return {
    mp4,
    thumbnail: thumbnail ?? new Uint8Array(),
    frames: count,
    framesPerSecond: rate / step,
    taken: shots.map(({ taken }) => taken),
  };
}

/** One frame of a clip. @throws Error when the clip cannot be seen */
export async function frameOfClip(clip: Clip, number: number): Promise<Frame> {
  const { stored, count } = await openClip(clip);
  if (!stored || !isDecodable(stored))
    throw new Error(`${clip.name} cannot be read: only H.264 (baseline) can`);
  const [frame] = decode(stored, Math.min(count - 1, Math.max(0, number < 0 ? count + number : number)));
  if (!frame) throw new Error(`${clip.name} has no such frame`);
  return frame;
}

/** Somebody does not want it any more. */
export class RenderCancelled extends Error {
  constructor() {
    super("cancelled");
    this.name = "RenderCancelled";
  }
}

interface OpenClip {
  stored: StoredFilm | undefined;
  count: number;
}

interface OpenShot {
  frames: number;
  overlap: number;
  taken: { from: number; to: number; of: number } | undefined;
  draw(): Iterable<Frame>;
}

async function openClip({ bytes, frames }: Clip): Promise<OpenClip> {
  const stored = bytes && (await readFilm(bytes, mostFrames));
  return { stored, count: stored?.packets.length ?? Math.min(mostFrames, Math.max(1, frames)) };
}

function clipsOf({ shots }: FilmDescription): Clip[] {
  return shots.flatMap((shot) => {
    if (shot.kind === "clip") return [shot.clip];
    return [shot.from, shot.to].flatMap((still) => (still.kind === "frame" ? [still.clip] : []));
  });
}

/** Even, and small enough. */
function filmSize({ width, height }: { width: number; height: number }): { width: number; height: number } {
  const scale = Math.min(1, longestSide / Math.max(width, height), Math.sqrt(mostPixels / (width * height)));
  const side = (length: number): number => 2 * Math.max(smallestSide / 2, Math.round((length * scale) / 2));
  return { width: side(width), height: side(height) };
}

/** The shots one after the other, with overlaps faded. */
function* joined(shots: readonly OpenShot[]): Generator<Frame> {
  /** What a later shot may still fade into: it can reach over one that is shorter. */
  const held: Frame[] = [];
  for (const [index, { overlap, draw }] of shots.entries()) {
    const longest = Math.max(0, ...shots.slice(index + 1).map((later) => later.overlap));
    let number = 0;
    const start = Math.max(0, held.length - overlap);
    const fading = held.length - start;
    for (const frame of draw()) {
      const before = number < fading ? held[start + number] : undefined;
      number += 1;
      if (before) {
        const share = number / (fading + 1);
        held[start + number - 1] = mixed(before, frame, () => share);
        continue;
      }
      held.push(frame);
      while (held.length > longest) yield held.shift() as Frame;
    }
  }
  yield* held;
}

/** Draws the parts of one film. */
class Studio {
  readonly #film: FilmDescription;
  readonly #width: number;
  readonly #height: number;
  readonly #clips: Map<Clip, OpenClip>;
  readonly #stills = new Map<string, Frame>();
  readonly #strip: number;

  constructor(
    film: FilmDescription,
    { width, height }: { width: number; height: number },
    clips: Map<Clip, OpenClip>,
  ) {
    this.#film = film;
    this.#width = width;
    this.#height = height;
    this.#clips = clips;
    this.#strip = 2 * Math.round(Math.max(18, height * 0.19) / 2);
  }

  open(shot: Shot): OpenShot {
    const { overlap } = shot;
    if (shot.kind === "passage") {
      return { frames: shot.frames, overlap, taken: undefined, draw: () => this.#passage(shot) };
    }
    const taken = sliceOf(this.#clips.get(shot.clip)?.count ?? 1, shot.from, shot.to);
    return {
      frames: taken.to - taken.from,
      overlap,
      taken,
      draw: () => this.#framesOf(shot.clip, taken.from, taken.to),
    };
  }

  *#framesOf(clip: Clip, from: number, to: number): Generator<Frame> {
    const { stored, count } = this.#clips.get(clip) ?? { stored: undefined, count: 1 };
    const pixels = (stored?.width ?? 0) * (stored?.height ?? 0) * count;
    if (!stored || !isDecodable(stored) || pixels > mostClipPixels) {
      yield* this.#unseen(clip, count, from, to);
      return;
    }
    let number = from;
    for (const frame of decode(stored, from)) {
      if (number === to) return;
      yield fittedTo(frame, this.#width, this.#height);
      number += 1;
    }
    // Where nothing could be decoded, which the record did not tell.
    yield* this.#unseen(clip, count, number, to);
  }

  /** What stands for a clip that cannot be seen: moving, named, and as long. */
  *#unseen(clip: Clip, count: number, from: number, to: number): Generator<Frame> {
    const still: Still = { kind: "artwork", fingerprint: JSON.stringify(["clip", clip.name]) };
    const caption = { title: clip.name, details: "not readable here, so drawn", part: 0, parts: 1 };
    const passage = { from: still, to: still, frames: count, caption };
    let number = 0;
    for (const frame of this.#passage(passage, from, to)) {
      yield frame;
      number += 1;
      if (number === to - from) return;
    }
  }

  /** From one still to another: both move, and the second comes in from a side. */
  *#passage(
    passage: { from: Still; to: Still; frames: number; caption: Caption },
    first = 0,
    end = passage.frames,
  ): Generator<Frame> {
    const { frames, caption } = passage;
    const [from, to] = [this.#still(passage.from), this.#still(passage.to)];
    const strip = this.#drawStrip(caption);
    const random = seededRandom(`movement ${this.#film.seed} ${caption.title} ${caption.part}`);
    const [fromRight, panLeft, panUp] = [random.chance(0.5), random.chance(0.5), random.chance(0.5)];
    for (let number = first; number < end; number += 1) {
      const time = frames === 1 ? 1 : number / (frames - 1);
      const [a, b] = [from, to].map((still) =>
        this.#pan(still, panLeft ? 1 - time : time, panUp ? 1 - time : time),
      );
      if (!a || !b) return;
      const softness = 0.6;
      const frame =
        passage.from === passage.to
          ? a
          : mixed(a, b, (x) => {
              const at = (time * (1 + softness) - (fromRight ? 1 - x : x)) / softness;
              const share = Math.min(1, Math.max(0, at));
              return share * share * (3 - 2 * share);
            });
      const top = this.#height - this.#strip;
      lay(strip, frame, top);
      const length = (this.#width * (caption.part + time)) / caption.parts;
      drawBar(frame, top, 2, 2 * Math.round(length / 2));
      yield frame;
    }
  }

  /** A still of a clip keeps its place, so that the film goes on from there without a jump. */
  #pan(still: Frame, across: number, down: number): Frame {
    const [x, y] = [still.width - this.#width, still.height - this.#height];
    const at = { x: Math.round(x * across), y: Math.round(y * down) };
    return windowOf(still, at, this.#width, this.#height);
  }

  #still(still: Still): Frame {
    if (still.kind === "frame") {
      const count = this.#clips.get(still.clip)?.count ?? 1;
      const number = still.at === "first" ? still.away : count - 1 - still.away;
      const place = Math.min(count - 1, Math.max(0, number));
      const [frame] = this.#framesOf(still.clip, place, place + 1);
      if (!frame) throw new Error("a clip has no frames");
      return frame;
    }
    const known = this.#stills.get(still.fingerprint);
    if (known) return known;
    // Larger than the film by what it moves.
    const room = (side: number): number => 2 * Math.round((side * 1.12) / 2);
    const size = { width: room(this.#width), height: room(this.#height) };
    const palette = makePalette(seededRandom(`palette ${still.fingerprint}`));
    const svg = element(
      "svg",
      { xmlns: "http://www.w3.org/2000/svg", ...size },
      drawArtwork(still.fingerprint, size, palette, "a"),
      still.kind === "picture" ? sourceImage(still.picture, size) : "",
    );
    const frame = frameOfPixels(rasterize(svg), size.width, size.height);
    this.#stills.set(still.fingerprint, frame);
    return frame;
  }

  /** What is written below: opaque, so that the writing of a clip that goes on here is covered. */
  #drawStrip({ title, details }: Caption): Frame {
    const [width, height] = [this.#width, this.#strip];
    const written = clean(title, 200);
    const font = faceFor(written);
    const [large, small] = [height * 0.34, height * 0.22];
    const left = height * 0.3;
    const room = width - 2 * left;
    const line = (
      y: number,
      size: number,
      family: string,
      text: string,
      more: Record<string, string | number>,
    ) =>
      element(
        "text",
        { y, "font-family": family, "font-size": size, fill: "#fff", ...more },
        escapeXml(text),
      );
    const rightToLeft = isRightToLeft(written);
    const edge = rightToLeft ? { x: width - left, "text-anchor": "end" } : { x: left };
    const name = fitLine(signature, sans, room / small);
    const rest = room - (sans.width(name) + 2) * small;
    const svg = element(
      "svg",
      { xmlns: "http://www.w3.org/2000/svg", width, height },
      element("rect", { width, height, fill: "#14161c" }),
      line(
        height * 0.5,
        large,
        (font ?? serif).family,
        directed(fitLine(written, font, room / large), rightToLeft),
        edge,
      ),
      line(height * 0.84, small, sans.family, name, { x: left, "fill-opacity": 0.9 }),
      rest > 3 * small
        ? line(height * 0.84, small, sans.family, fitLine(clean(details, 120), sans, rest / small), {
            x: width - left,
            "text-anchor": "end",
            "fill-opacity": 0.62,
          })
        : "",
    );
    return frameOfPixels(rasterize(svg), width, height);
  }
}
