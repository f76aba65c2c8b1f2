import { BufferSource, Input, type InputVideoTrack, MATROSKA, MP4, QTFF, WEBM } from "./film-container.ts";
import { bytesInMemory, UnusableFile } from "../../media/file-parts.ts";
import { inspectMedia, type MediaFile } from "../../media/media-file.ts";
import { type FrameSize, isTooLarge } from "../../media/picture-size.ts";
import { mostImageBytes } from "../../providers/fal-result.ts";
import type { BilledValues } from "../client.ts";
import { RenderError } from "../provider.ts";
import type { FileInput } from "./params.ts";
import type { FalRequest } from "./recipe.ts";

/** Pixels of a megapixel, as prices count them: 1024 × 1024. */
export const megapixel = 1024 * 1024;
/** Pixels of a megapixel, as FAL bills them. */
export const falMegapixel = 1_000_000;
/** Frames beyond these are further seconds, so that a fast film is not a cheap one. */
const framesPerSecond = 30;
const largestSide = 2048;
const smallestSide = 64;
/** What a pixel of a result takes at most. */
const bytesPerPixel = { png: 4, jpeg: 2 };

/**
 * Each `bound…` sees to it that a job cannot cost the provider more than is paid, and that its result can be stored; and sets the units
 * that FAL bills for the job. What only a file says is looked at before anything is submitted. Such a file is brought to FAL, so
 * that it stays the one that was looked at. What does not fit ends the task with a reason and without a charge.
 */

export function boundUpscale({ input, files, units }: FalRequest): void {
  units.images = 1;
  units.megapixels = Math.ceil(mostImageBytes / bytesPerPixel.jpeg / falMegapixel);
  for (const file of files.filter(({ medium }) => medium === "image")) {
    file.inspect = async (bytes) => {
      units.megapixels = billedMegapixels(await checkUpscale(file, bytes, input));
    };
  }
}

/** For models that move a character as a film does: the result is as long as that film. */
export function boundMotion({ input, files, units }: FalRequest, { seconds }: BilledValues): void {
  if (typeof input["resolution"] === "string") units.variant = input["resolution"];
  if (seconds === undefined) return;
  units.seconds = seconds;
  for (const file of files.filter(({ medium }) => medium === "video")) {
    file.inspect = (bytes) => requirePaidFilm(file, bytes, seconds);
  }
}

/** What a recipe is going to make. */
export interface PlannedOutput {
  /** Of the film. */
  seconds?: number;
  images?: number;
  /** Of one picture, or of one frame of the film. */
  pixels?: number;
}

/**
 * What a recipe makes must be paid; it is asked before the first job is submitted. What the price does not count is not limited.
 * @throws RenderError that says what is paid
 */
export function requirePaid({ seconds, images, pixels }: PlannedOutput, billed: BilledValues = {}): void {
  // A frame more than a whole second is not worth a refusal.
  if (seconds !== undefined && billed.seconds !== undefined && seconds > billed.seconds + 0.1) {
    throw refusal(
      `the film takes ${seconds.toFixed(1)} seconds, and ${billed.seconds} are paid. ` +
        `Create the task with \`seconds\`: ${Math.ceil(seconds - 0.1)}, or ask for a shorter film`,
    );
  }
  if (images !== undefined && billed.images !== undefined && images > billed.images) {
    throw refusal(`${images} pictures are asked for, and ${billed.images} are paid`);
  }
  if (pixels !== undefined && billed.megapixels !== undefined && pixels > billed.megapixels * megapixel) {
    throw refusal(
      `${pixels} pixels are asked for, and ${billed.megapixels} megapixels are paid, of ${megapixel} pixels each`,
    );
  }
}

/** Megapixels of a picture as FAL bills them. */
export function billedMegapixels({ width, height }: FrameSize): number {
  return Math.ceil((width * height) / falMegapixel);
}

async function checkUpscale(
  { field }: FileInput,
  bytes: Uint8Array,
  input: Record<string, unknown>,
): Promise<FrameSize> {
  const { width, height } = await sizeOf({ field }, bytes);
  const scale = typeof input["scale"] === "number" ? input["scale"] : 2;
  const result = { width: Math.ceil(width * scale), height: Math.ceil(height * scale) };
  const format = input["output_format"] === "jpeg" ? "jpeg" : "png";
  const mostPixels = mostImageBytes / bytesPerPixel[format];
  if (isTooLarge(result) || result.width * result.height > mostPixels) {
    throw refusal(
      `${field}: ${scale} times ${width} × ${height} are ${result.width} × ${result.height} pixels, and ` +
        `at most ${Math.floor(mostPixels / 1e6)} million pixels of ${format} can be stored. Send a smaller scale_factor`,
    );
  }
  return result;
}

/** A film that decides how long the result is must not be longer than what is paid. @throws RenderError */
export async function requirePaidFilm(
  { field }: Pick<FileInput, "field">,
  bytes: Uint8Array,
  paidSeconds: number,
): Promise<void> {
  const seconds = await secondsOfFilm(bytes, paidSeconds);
  if (seconds === undefined) throw refusal(`${field}: the length of the video cannot be read`);
  // A frame more than a whole second is not worth a refusal.
  if (seconds > paidSeconds + 0.1) {
    throw refusal(
      `${field}: the video is ${seconds.toFixed(1)} seconds long, and ${paidSeconds} are paid. ` +
        `Create the task with \`seconds\`: ${Math.ceil(seconds - 0.1)}, or send a shorter video`,
    );
  }
}

/** How long a film is by its frames, not by what its header says. Of a much longer one, at least more than was paid. */
export async function secondsOfFilm(bytes: Uint8Array, paidSeconds: number): Promise<number | undefined> {
  // The check bounds the counts of tracks and tables, which the library does not.
  const file = await inspect(bytes);
  if (file instanceof UnusableFile || file.medium !== "video") return undefined;
  const input = new Input({ source: new BufferSource(bytes), formats: [MP4, QTFF, WEBM, MATROSKA] });
  try {
    const tracks = await input.getVideoTracks();
    const lengths = await Promise.all(tracks.map((track) => secondsOfTrack(track, paidSeconds)));
    return lengths.length === 0 ? undefined : Math.max(...lengths);
  } catch {
    return undefined; // A film that the library cannot read has no length that could be paid.
  } finally {
    input.dispose();
  }
}

async function secondsOfTrack(track: InputVideoTrack, paidSeconds: number): Promise<number> {
  const enough = framesPerSecond * (paidSeconds + 1);
  const { packetCount } = await track.computePacketStats(enough);
  if (packetCount >= enough) return Math.max(packetCount / framesPerSecond, await track.computeDuration());
  const duration = await track.computeDuration();
  return Math.max(duration, packetCount / framesPerSecond);
}

export async function sizeOf({ field }: Pick<FileInput, "field">, bytes: Uint8Array): Promise<FrameSize> {
  const file = await inspect(bytes);
  if (file instanceof UnusableFile) throw refusal(`${field}: the picture ${file.message}`);
  if (file.width === null || file.height === null) throw refusal(`${field}: the picture has no size`);
  return { width: file.width, height: file.height };
}

async function inspect(bytes: Uint8Array): Promise<MediaFile | UnusableFile> {
  try {
    return await inspectMedia(bytesInMemory(bytes));
  } catch (error) {
    if (error instanceof UnusableFile) return error;
    throw error;
  }
}

/** The same size, or a smaller one of the same shape with at most so many pixels. */
export function sizeWithin(size: FrameSize, mostPixels: number): FrameSize {
  const shrink = Math.min(
    1,
    Math.sqrt(mostPixels / (size.width * size.height)),
    largestSide / Math.max(size.width, size.height),
  );
  if (shrink === 1) return size;
  // A long and narrow picture loses its shape before it has more pixels than are paid.
  const side = (length: number) => Math.max(smallestSide, Math.floor(length * shrink));
  return { width: side(size.width), height: side(size.height) };
}

function refusal(message: string): RenderError {
  return new RenderError(message, { isRetryable: false });
}
