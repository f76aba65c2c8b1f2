import { count, frameRate, type Params, text } from "../../orchestration/task-params.ts";
import type { FalRecipe, FalRequest } from "../recipe.ts";
import { filmOf } from "../stitches/film-tools.ts";
import { endpoints } from "./endpoints.ts";
import { deliverFilm, fitFilm } from "./film-output.ts";
import { firstText, missing } from "./film-params.ts";
import { placeFile } from "./image-to-video.ts";
import { billedSeconds, requirePaidFrames } from "./lengths.ts";
import { readFilmSize, sizeWarning } from "./sizes.ts";

const defaultFrames = 61;
const defaultRate = 16;
/** Frames that RIFE makes between two images, and the images themselves. */
const mostInterpolated = 64 + 2;
const drawModes = [
  "full-pose",
  "body-pose",
  "face-pose",
  "hand-pose",
  "face-hand-mask",
  "face-mask",
  "hand-mask",
];

/** The pose of the people in a picture, drawn. */
export const runPose: FalRecipe = async (task, jobs) => {
  const { data } = await jobs.run(0, { ...poseRequest(task.params), completes: true });
  return await jobs.output(data);
};

export function poseRequest(params: Params): FalRequest {
  const names = ["image_url", "image", "input_image_path", "input_image"];
  const field = names.find((name) => text(params[name]) !== undefined);
  if (!field) throw missing("image_url");
  const mode = params["draw_mode"];
  const request: FalRequest = {
    model: endpoints.pose,
    input: { ...(typeof mode === "string" && drawModes.includes(mode) && { draw_mode: mode }) },
    files: [],
    units: { images: 1 },
  };
  placeFile(request, "image_url", { url: firstText(params[field]) ?? "", field }, "image");
  return request;
}

/** A film from one image to another, by frames that are interpolated. */
export const runInterpolation: FalRecipe = async (task, jobs) => {
  const { params, billed } = task;
  const frames = Math.max(2, count(params["frames"]) ?? defaultFrames);
  const framesPerSecond = frameRate(params["fps"]) ?? defaultRate;
  const size = readFilmSize(params["resolution"]);
  const warning = size ? undefined : sizeWarning([params["resolution"]]);
  if (warning !== undefined) jobs.warn(warning);
  requirePaidFrames([{ total: frames, interpolated: 0 }], billed);
  const { request, made } = interpolationRequest(params, frames, framesPerSecond);
  const wanted = { frames, framesPerSecond, size };
  const film = { ...made, url: filmOf((await jobs.run(0, request)).data), field: "film" };
  const fitted = await fitFilm(jobs, film, wanted, { trim: 1, scale: 2 });
  return await deliverFilm(task, jobs, { url: fitted.url, seed: undefined }, wanted);
};

function interpolationRequest(
  params: Params,
  frames: number,
  framesPerSecond: number,
): { request: FalRequest; made: { frames: number; framesPerSecond: number } } {
  const madeFrames = Math.min(Math.max(3, frames), mostInterpolated);
  // A film of more frames than RIFE makes runs slower, so that it lasts as long.
  const slowed = Math.max(1, Math.round((framesPerSecond * madeFrames) / frames));
  const made = { frames: madeFrames, framesPerSecond: madeFrames < frames ? slowed : framesPerSecond };
  const request: FalRequest = {
    model: endpoints.interpolateImages,
    input: {
      num_frames: madeFrames - 2,
      include_start: true,
      include_end: true,
      output_type: "video",
      fps: Math.round(made.framesPerSecond),
    },
    files: [],
    units: { seconds: billedSeconds(madeFrames), images: madeFrames },
  };
  for (const [name, field] of [
    ["start_image_url", "input_image_path1"],
    ["end_image_url", "input_image_path2"],
  ] as const) {
    const url = text(params[field]);
    if (!url) throw missing(field);
    placeFile(request, name, { url, field }, "image");
  }
  return { request, made };
}
