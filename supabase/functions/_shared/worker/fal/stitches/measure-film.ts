import { BufferSource, Input, MATROSKA, MP4, QTFF, WEBM } from "../film-container.ts";
import { bytesInMemory } from "../../../media/file-parts.ts";
import { inspectMedia } from "../../../media/media-file.ts";
import { contentTypeOf } from "../../../media/content-type.ts";
import type { FrameSize } from "../../../media/picture-size.ts";
import type { OutputFile } from "../../client.ts";
import { RenderError, type RunContext } from "../../provider.ts";
import type { FalJobs } from "../recipe.ts";

/** A film by its frames, not by its header. */
export interface FilmFacts extends FrameSize {
  frames: number;
  seconds: number;
  framesPerSecond: number;
}

const mostFrames = 100_000;
const largestFilm = 200 * 1024 * 1024;

/** @returns undefined where the bytes are not a film that can be read */
export async function measureFilm(bytes: Uint8Array): Promise<FilmFacts | undefined> {
  const input = new Input({ source: new BufferSource(bytes), formats: [MP4, QTFF, WEBM, MATROSKA] });
  try {
    // The check bounds the counts of tracks and tables, which the library does not.
    if ((await inspectMedia(bytesInMemory(bytes))).medium !== "video") return undefined;
    const track = await input.getPrimaryVideoTrack();
    if (!track) return undefined;
    const { packetCount } = await track.computePacketStats(mostFrames);
    const [first, end] = [await track.getFirstTimestamp(), await track.computeDuration()];
    const seconds = end - Math.max(0, first);
    // A film that was cut without a new encoding keeps frames before its beginning, which players skip.
    const frames = first < 0 ? Math.round((packetCount * end) / (end - first)) : packetCount;
    if (frames < 1 || packetCount >= mostFrames || !(seconds > 0)) return undefined;
    const { displayWidth: width, displayHeight: height } = track;
    return { frames, seconds, framesPerSecond: frames / seconds, width, height };
  } catch {
    return undefined; // Neither the check nor the library can read it.
  } finally {
    input.dispose();
  }
}

/** A film that a task names, measured. */
export interface MeasuredFilm {
  file: OutputFile;
  facts: FilmFacts;
}

/**
 * Reads a film from the host's storage, or from a public address, and measures it.
 * @throws RenderError where it cannot be read or measured
 */
export async function readFilm(
  url: string,
  field: string,
  jobs: Pick<FalJobs, "fetch">,
  { client, signal }: Pick<RunContext, "client" | "signal">,
): Promise<MeasuredFilm> {
  const bytes = await client.readMedia(url, largestFilm, signal);
  const file = bytes
    ? { bytes, filename: "film.mp4", contentType: contentTypeOf(bytes) }
    : await fetchFilm(url, field, jobs);
  const facts = await measureFilm(file.bytes);
  if (!facts)
    throw new RenderError(`${field}: the length of the video cannot be read`, { isRetryable: false });
  return { file, facts };
}

async function fetchFilm(url: string, field: string, jobs: Pick<FalJobs, "fetch">): Promise<OutputFile> {
  try {
    return await jobs.fetch(url, "video", "film.mp4");
  } catch (error) {
    if (!(error instanceof RenderError)) throw error;
    throw new RenderError(`${field}: ${error.message}`, { isRetryable: error.isRetryable });
  }
}
