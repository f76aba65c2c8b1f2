import { UnusableResult } from "../../../providers/fal-result.ts";
import type { FrameSize } from "../../../media/picture-size.ts";
import type { FrameSlice } from "../../orchestration/frame-slice.ts";
import { record, records, text } from "../../orchestration/task-params.ts";
import type { FileInput } from "../params.ts";
import type { FalRequest } from "../recipe.ts";

/** A part of a film's timeline: the first `seconds` of a film at FAL. */
export interface TimelinePart {
  url: string;
  seconds: number;
}

// The films of these requests are at FAL already: what was brought there, or what another tool has made.

/** Cuts frames out of a film. No more than the slice is made, whatever the film's length. */
export function trimRequest(url: string, { from, to }: FrameSlice, framesPerSecond: number): FalRequest {
  // Between two frames, so that rounding neither takes a frame more nor one less.
  const start = from === 0 ? 0 : (from - 0.5) / framesPerSecond;
  const end = (to - 0.25) / framesPerSecond;
  return {
    model: "fal-ai/workflow-utilities/trim-video",
    input: { video_url: url, start_time: rounded(start), end_time: rounded(end) },
    files: [],
    units: { seconds: rounded((to - from) / framesPerSecond) },
  };
}

/** Lays a film over another, as long as the shorter one. */
export function blendRequest(
  { top, bottom, opacity }: { top: string; bottom: string; opacity: number },
  seconds: number,
): FalRequest {
  return {
    model: "fal-ai/workflow-utilities/blend-video",
    input: {
      top_video_url: top,
      bottom_video_url: bottom,
      blend_mode: "normal",
      opacity: rounded(opacity),
      shortest: true,
    },
    files: [],
    units: { seconds: rounded(seconds) },
  };
}

/** Resizes a film. `crop` fills the size and cuts off what is left over; `stretch` keeps the whole frame. */
export function scaleRequest(
  url: string,
  { width, height }: FrameSize,
  mode: "crop" | "stretch",
  seconds: number,
): FalRequest {
  return {
    model: "fal-ai/workflow-utilities/scale-video",
    input: { video_url: url, width, height, mode },
    files: [],
    units: { seconds: rounded(seconds) },
  };
}

/** Lays films one after the other, each from its first frame, with a sound track that ends with them. */
export function composeRequest(parts: readonly TimelinePart[], audioUrl: string | undefined): FalRequest {
  let seconds = 0;
  const keyframes = parts.map((part) => {
    const [timestamp, end] = [milliseconds(seconds), milliseconds(seconds + part.seconds)];
    seconds += part.seconds;
    return { url: part.url, timestamp, duration: end - timestamp };
  });
  const tracks: {
    id: string;
    type: string;
    keyframes: { url: string; timestamp: number; duration: number }[];
  }[] = [{ id: "film", type: "video", keyframes }];
  const files: FileInput[] = [];
  if (audioUrl !== undefined) {
    const sound = { url: audioUrl, timestamp: 0, duration: milliseconds(seconds) };
    tracks.push({ id: "sound", type: "audio", keyframes: [sound] });
    files.push({ field: "audio_url", url: audioUrl, medium: "audio", place: (url) => (sound.url = url) });
  }
  return {
    model: "fal-ai/ffmpeg-api/compose",
    input: { tracks },
    files,
    units: { seconds: rounded(seconds) },
  };
}

export function frameRequest(url: string, which: "first" | "last"): FalRequest {
  return {
    model: "fal-ai/ffmpeg-api/extract-frame",
    input: { video_url: url, frame_type: which },
    files: [],
    units: { images: 1 },
  };
}

/** The film of a tool's result. @throws UnusableResult */
export function filmOf(data: unknown): string {
  const { video, video_url: url } = record(data);
  return addressOf(record(video)["url"] ?? url, "video");
}

/** The picture of a tool's result. @throws UnusableResult */
export function pictureOf(data: unknown): string {
  return addressOf(records(record(data)["images"])[0]?.["url"], "picture");
}

export function thumbnailOf(data: unknown): string | undefined {
  return text(record(data)["thumbnail_url"]);
}

function addressOf(value: unknown, medium: string): string {
  const url = text(value);
  if (!url) throw new UnusableResult(`FAL's result has no ${medium}`);
  return url;
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}

function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
