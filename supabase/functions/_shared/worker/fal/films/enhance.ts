import { number, type Params, record, text } from "../../orchestration/task-params.ts";
import type { FalRecipe, FalRequest } from "../recipe.ts";
import { filmOf } from "../stitches/film-tools.ts";
import { measureFilm } from "../stitches/measure-film.ts";
import { readClip } from "./clips.ts";
import { endpoints } from "./endpoints.ts";
import { seedOf } from "./film-output.ts";
import { missing, refusal, seed, within } from "./film-params.ts";
import { megapixelsOf } from "./image-to-video.ts";
import { billedSeconds } from "./lengths.ts";

const steps = { upscale: 0, interpolate: 1 };
/** Frames beyond these are further seconds, as for motion videos. */
const framesPerSecond = 30;
const billedMegapixel = 1024 * 1024;
const qualities = ["low", "medium", "high", "maximum"];
/** Films that every browser shows; GIF and ProRes are not. */
const formats = ["X264 (.mp4)", "VP9 (.webm)"];
const writeModes = ["fast", "balanced", "small"];

/**
 * A film made larger, smoother, or both: first FlashVSR, then frames between its frames. What is paid is the length of the film and
 * the size of the result, so both are measured first.
 */
export const runEnhancement: FalRecipe = async (task, jobs, context) => {
  const { params, billed } = task;
  const url = text(params["video_url"]);
  if (!url) throw missing("video_url");
  const [isUpscaled, isInterpolated] = [
    params["enable_upscale"] === true,
    params["enable_interpolation"] === true,
  ];
  if (!isUpscaled && !isInterpolated) throw refusal("enable_upscale or enable_interpolation must be true");
  const upscale = record(params["upscale"]);
  const interpolation = record(params["interpolation"]);
  const factor = isUpscaled ? (within(number(upscale["upscale_factor"]), 1, 4) ?? 2) : 1;
  const between = isInterpolated ? Math.round(within(number(interpolation["num_frames"]), 1, 4) ?? 1) : 0;

  const clip = await readClip({ url, field: "video_url" }, jobs, context);
  const seconds = Math.max(clip.seconds, clip.frames / framesPerSecond);
  if (billed?.seconds !== undefined && seconds > billed.seconds + 0.1) {
    throw refusal(
      `video_url: the film is ${seconds.toFixed(1)} seconds long, and ${billed.seconds} are paid. ` +
        `Create the task with \`seconds\`: ${Math.ceil(seconds - 0.1)}`,
    );
  }
  const [width, height] = [clip.width, clip.height].map((side) => Math.ceil(side * factor));
  const pixels = (width ?? 0) * (height ?? 0);
  if (billed?.megapixels !== undefined && pixels > billed.megapixels * billedMegapixel) {
    throw refusal(
      `video_url: the result has ${width} × ${height} pixels, which are ${(pixels / billedMegapixel).toFixed(1)} megapixels, ` +
        `and ${billed.megapixels} are paid. Create the task with \`resolution\`: "${width}x${height}", or with a smaller upscale_factor`,
    );
  }

  const format = upscale["output_format"];
  if (isUpscaled && format !== undefined && !formats.includes(String(format))) {
    jobs.warn(`upscale.output_format ${String(format).slice(0, 40)} is not delivered; the film is an MP4.`);
  }
  let film = clip.url;
  let usedSeed: number | undefined;
  if (isUpscaled) {
    const request = upscaleRequest(film, upscale, factor, params["seed"]);
    const result = await jobs.run(steps.upscale, { ...request, units: unitsOf(clip.frames, pixels) });
    film = filmOf(result.data);
    usedSeed = seedOf(result.data);
  }
  if (isInterpolated) {
    const frames = clip.frames + (clip.frames - 1) * between;
    const request = interpolationRequest(film, interpolation, between);
    const result = await jobs.run(steps.interpolate, { ...request, units: unitsOf(frames, pixels) });
    film = filmOf(result.data);
  }
  const file = await jobs.fetch(film, "video", `${task.task_id}_fal_0.mp4`);
  const facts = await measureFilm(file.bytes);
  const isRetimed = isInterpolated && interpolation["use_calculated_fps"] === false;
  if (facts && !isRetimed && Math.abs(facts.seconds - clip.seconds) > 1.05 / clip.framesPerSecond) {
    jobs.warn(
      `The film lasts ${facts.seconds.toFixed(2)} seconds; the source lasts ${clip.seconds.toFixed(2)}.`,
    );
  }
  return { file, ...(usedSeed !== undefined && { facts: { seed: usedSeed } }) };
};

function upscaleRequest(
  url: string,
  given: Params,
  factor: number,
  wantedSeed: unknown,
): Omit<FalRequest, "units"> {
  const chosen = seed(given["seed"], wantedSeed);
  return {
    model: endpoints.upscaleFilm,
    input: {
      video_url: url,
      upscale_factor: factor,
      ...said("acceleration", oneOf(given["acceleration"], ["regular", "high", "full"])),
      ...said("quality", within(number(given["quality"]), 0, 100)),
      ...said("color_fix", flag(given["color_fix"])),
      ...said("preserve_audio", flag(given["preserve_audio"])),
      output_format: oneOf(given["output_format"], formats) ?? "X264 (.mp4)",
      ...said("output_quality", oneOf(given["output_quality"], qualities)),
      ...said("output_write_mode", oneOf(given["output_write_mode"], writeModes)),
      ...said("seed", chosen),
    },
    files: [],
  };
}

function interpolationRequest(url: string, given: Params, between: number): Omit<FalRequest, "units"> {
  return {
    model: endpoints.interpolateFilm,
    input: {
      video_url: url,
      num_frames: between,
      use_calculated_fps: flag(given["use_calculated_fps"]) ?? true,
      ...said("fps", within(number(given["fps"]), 1, 60)),
      ...said("use_scene_detection", flag(given["use_scene_detection"])),
      ...said("loop", flag(given["loop"])),
      ...said("video_quality", oneOf(given["video_quality"], qualities)),
      ...said("video_write_mode", oneOf(given["video_write_mode"], writeModes)),
    },
    files: [],
  };
}

function unitsOf(frames: number, pixels: number): FalRequest["units"] {
  return { seconds: billedSeconds(frames), megapixels: megapixelsOf(frames, pixels) };
}

function said(name: string, value: unknown): Record<string, unknown> {
  return value === undefined ? {} : { [name]: value };
}

function flag(value: unknown): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

function oneOf(value: unknown, values: readonly string[]): string | undefined {
  return typeof value === "string" && values.includes(value) ? value : undefined;
}
