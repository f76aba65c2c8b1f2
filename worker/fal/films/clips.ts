import { BufferSource, Input, MATROSKA, MP4, QTFF, WEBM } from "mediabunny";
import { bytesInMemory } from "../../../supabase/functions/_shared/media/file-parts.ts";
import { inspectMedia } from "../../../supabase/functions/_shared/media/media-file.ts";
import { mediumType } from "../../../supabase/functions/_shared/providers/fal-result.ts";
import { RenderError, type RunContext } from "../../provider.ts";
import type { FalJobResult, FalJobs, FalRequest } from "../recipe.ts";
import { endpoints } from "./endpoints.ts";
import { record, refusal, text } from "./film-params.ts";
import { megapixelsOf, type Source } from "./image-to-video.ts";
import { billedSeconds } from "./lengths.ts";
import type { Size } from "./sizes.ts";

/** What the bytes of a film say. */
export interface FilmFacts extends Size {
  frames: number;
  seconds: number;
  framesPerSecond: number;
}

/** A film at FAL, with what is known of it. */
export interface Clip extends FilmFacts {
  url: string;
}

const mostClipBytes = 200 * 1024 * 1024;
const mostFrames = 20_000;
/** What is done with a clip costs by its length, which the price of the task does not count. */
const mostClipSeconds = 300;

/** Counts a film's frames; its header is not believed. Undefined where the bytes are not a film that can be read. */
export async function measureFilm(bytes: Uint8Array): Promise<FilmFacts | undefined> {
  const input = new Input({ source: new BufferSource(bytes), formats: [MP4, QTFF, WEBM, MATROSKA] });
  try {
    // The check bounds the counts of tracks and tables, which the library does not.
    if ((await inspectMedia(bytesInMemory(bytes))).medium !== "video") return undefined;
    const track = await input.getPrimaryVideoTrack();
    if (!track) return undefined;
    const { packetCount } = await track.computePacketStats(mostFrames);
    const [first, end] = [await track.getFirstTimestamp(), await track.computeDuration()];
    // A film that was cut without being encoded again keeps frames before its beginning; players skip them.
    const seconds = end - Math.max(0, first);
    const frames = first < 0 ? Math.round((packetCount * end) / (end - first)) : packetCount;
    if (frames < 1 || packetCount >= mostFrames || seconds <= 0) return undefined;
    const framesPerSecond = Math.round((frames / seconds) * 1000) / 1000;
    return { frames, seconds, framesPerSecond, width: track.displayWidth, height: track.displayHeight };
  } catch {
    return undefined; // A film that the library cannot read has no length that could be kept to.
  } finally {
    input.dispose();
  }
}

/**
 * Reads a film that a param names, measures it and brings it to FAL, so that it cannot be another one when FAL fetches it.
 * @throws RenderError
 */
export async function readClip(
  { url, field }: Required<Source>,
  jobs: FalJobs,
  { client, signal }: RunContext,
): Promise<Clip> {
  const bytes = (await client.readMedia(url, mostClipBytes, signal)) ?? (await fetchClip(url, field, jobs));
  const facts = await measureFilm(bytes);
  const contentType = mediumType(bytes, "video");
  if (!facts || contentType === undefined) throw refusal(`${field}: the film cannot be read`);
  if (facts.seconds > mostClipSeconds) {
    throw refusal(
      `${field}: the film is ${facts.seconds.toFixed(0)} seconds long, and at most ${mostClipSeconds} are worked on`,
    );
  }
  return { ...facts, url: await jobs.upload(bytes, contentType) };
}

async function fetchClip(url: string, field: string, jobs: FalJobs): Promise<Uint8Array> {
  try {
    return (await jobs.fetch(url, "video", "clip")).bytes;
  } catch (error) {
    if (!(error instanceof RenderError)) throw error;
    const { isRetryable } = error;
    throw new RenderError(`${field}: the film cannot be fetched: ${error.message}`, { isRetryable });
  }
}

/** The address of the film in a job's answer. @throws RenderError */
export function filmUrl({ data }: FalJobResult): string {
  const url = text(record(record(data)["video"])["url"]);
  if (url === undefined) throw refusal("FAL's answer has no film");
  return url;
}

/** The address of the picture in a job's answer. @throws RenderError */
export function pictureUrl({ data }: FalJobResult): string {
  const { images, image } = record(data);
  const url = text(record(Array.isArray(images) ? images[0] : image)["url"]);
  if (url === undefined) throw refusal("FAL's answer has no picture");
  return url;
}

/** The frames of a clip from one up to, not including, another. */
export function trimRequest(clip: Clip, from: number, to: number): FalRequest {
  // Between two frames, so that rounding does not take one more or less.
  const at = (frame: number): number =>
    frame === 0 ? 0 : Math.round(((frame - 0.25) / clip.framesPerSecond) * 1e4) / 1e4;
  return {
    model: endpoints.trimFilm,
    input: { video_url: clip.url, start_time: at(from), end_time: at(to) },
    files: [],
    units: unitsOf(to - from, clip),
  };
}

export function scaleRequest(film: Omit<Clip, "seconds">, { width, height }: Size): FalRequest {
  return {
    model: endpoints.scaleFilm,
    input: { video_url: film.url, width, height, mode: "crop" },
    files: [],
    units: unitsOf(film.frames, { width, height }),
  };
}

export function mergeRequest(
  urls: readonly string[],
  film: { frames: number; framesPerSecond: number } & Size,
): FalRequest {
  return {
    model: endpoints.mergeFilms,
    input: { video_urls: [...urls], target_fps: Math.max(1, Math.round(film.framesPerSecond)) },
    files: [],
    units: unitsOf(film.frames, film),
  };
}

export function frameRequest(url: string, frame: "first" | "last"): FalRequest {
  return {
    model: endpoints.extractFrame,
    input: { video_url: url, frame_type: frame },
    files: [],
    units: { images: 1 },
  };
}

function unitsOf(frames: number, { width, height }: Size): FalRequest["units"] {
  return { seconds: billedSeconds(frames), megapixels: megapixelsOf(frames, width * height) };
}
