import { UnusableResult } from "../../../supabase/functions/_shared/providers/fal-result.ts";
import type { FrameSize } from "../../../supabase/functions/_shared/media/picture-size.ts";
import type { FrameSlice } from "../../orchestration/frame-slice.ts";
import { record, records, text } from "../../orchestration/task-params.ts";
import type { FalRequest } from "../recipe.ts";
import type { FileInput } from "../params.ts";

/** A film for one of FAL's tools: the address, and the param that names it, for people. */
export interface FilmInput {
  url: string;
  field: string;
}

/** A part of a film's timeline: the first `seconds` of a film. */
export interface TimelinePart extends FilmInput {
  seconds: number;
}

/** Cuts frames out of a film. The file may be longer or shorter than it was measured: no more than the slice is made. */
export function trimRequest(film: FilmInput, { from, to }: FrameSlice, framesPerSecond: number): FalRequest {
  // Between two frames, so that rounding neither takes a frame more nor one less.
  const start = from === 0 ? 0 : (from - 0.5) / framesPerSecond;
  const end = (to - 0.25) / framesPerSecond;
  return withFiles({
    model: "fal-ai/workflow-utilities/trim-video",
    input: { video_url: film.url, start_time: rounded(start), end_time: rounded(end) },
    films: [["video_url", film]],
    units: { seconds: rounded((to - from) / framesPerSecond) },
  });
}

/** Lays a film over another, as long as the shorter one. */
export function blendRequest(
  { top, bottom, opacity }: { top: FilmInput; bottom: FilmInput; opacity: number },
  seconds: number,
): FalRequest {
  return withFiles({
    model: "fal-ai/workflow-utilities/blend-video",
    input: {
      top_video_url: top.url,
      bottom_video_url: bottom.url,
      blend_mode: "normal",
      opacity: rounded(opacity),
      shortest: true,
    },
    films: [
      ["top_video_url", top],
      ["bottom_video_url", bottom],
    ],
    units: { seconds: rounded(seconds) },
  });
}

/** Resizes a film. `crop` fills the size and cuts off what is left over; `stretch` keeps the whole frame. */
export function scaleRequest(
  film: FilmInput,
  { width, height }: FrameSize,
  mode: "crop" | "stretch",
  seconds: number,
): FalRequest {
  return withFiles({
    model: "fal-ai/workflow-utilities/scale-video",
    input: { video_url: film.url, width, height, mode },
    films: [["video_url", film]],
    units: { seconds: rounded(seconds) },
  });
}

/** Lays films one after the other, each from its first frame, with a sound track that ends with them. */
export function composeRequest(parts: readonly TimelinePart[], audio: FilmInput | undefined): FalRequest {
  let seconds = 0;
  const keyframes = parts.map((part) => {
    const [timestamp, end] = [milliseconds(seconds), milliseconds(seconds + part.seconds)];
    seconds += part.seconds;
    return { url: part.url, timestamp, duration: end - timestamp };
  });
  const sound = audio && { url: audio.url, timestamp: 0, duration: milliseconds(seconds) };
  const files = parts.map((part, index): FileInput => {
    return { ...part, medium: "video", place: (url) => ((keyframes[index] ?? { url }).url = url) };
  });
  if (audio && sound) files.push({ ...audio, medium: "audio", place: (url) => (sound.url = url) });
  const tracks = [
    { id: "film", type: "video", keyframes },
    ...(sound ? [{ id: "sound", type: "audio", keyframes: [sound] }] : []),
  ];
  return {
    model: "fal-ai/ffmpeg-api/compose",
    input: { tracks },
    files,
    units: { seconds: rounded(seconds) },
  };
}

export function frameRequest(film: FilmInput, which: "first" | "last"): FalRequest {
  return withFiles({
    model: "fal-ai/ffmpeg-api/extract-frame",
    input: { video_url: film.url, frame_type: which },
    films: [["video_url", film]],
    units: { images: 1 },
  });
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

function withFiles({
  model,
  input,
  films,
  units,
}: Pick<FalRequest, "model" | "input" | "units"> & { films: [name: string, film: FilmInput][] }): FalRequest {
  const files = films.map(([name, { url, field }]): FileInput => {
    return { url, field, medium: "video", place: (placed) => (input[name] = placed) };
  });
  return { model, input, files, units };
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}

function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
