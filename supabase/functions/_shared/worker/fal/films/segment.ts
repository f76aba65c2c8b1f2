import type { ClaimedTask } from "../../client.ts";
import {
  count,
  detailsOf,
  frameRate,
  nth,
  type Params,
  record,
  text,
  texts,
} from "../../orchestration/task-params.ts";
import { readTransition } from "../../orchestration/transition-output.ts";
import type { RunContext } from "../../provider.ts";
import type { FalJobs, FalRecipe, FalRequest } from "../recipe.ts";
import { filmOf, frameRequest, pictureOf, trimRequest } from "../stitches/film-tools.ts";
import { type Clip, mergeRequest, readClip } from "./clips.ts";
import { deliverFilm, fitFilm, seedOf, type WantedFilm } from "./film-output.ts";
import { firstText, lorasOf, missing, samplingOf, seed, unavailableParams } from "./film-params.ts";
import { type Passage, passageRequest, type Source } from "./image-to-video.ts";
import { makeableLength, rateToMake, requirePaidFrames } from "./lengths.ts";
import { falSize, readFilmSize, readResolutionName, type Size, sizeWarning } from "./sizes.ts";

const steps = { film: 0, startFrame: 1, trim: 2, scale: 3, tail: 4, merge: 5 };
const defaultFrames = 61;
const defaultRate = 16;

/** What a segment of a travel shows, as workers read it: its own params, then the task's, then the travel's. */
interface Segment extends WantedFilm {
  /** Frames of the segment before it, with which it begins. */
  overlap: number;
  start: Source | undefined;
  end: Source | undefined;
  passage: Omit<Passage, "start" | "end" | "length" | "framesPerSecond">;
  warnings: string[];
}

/**
 * A segment of a travel: a film from one image to the next. One that follows another begins with the last frames of that one and goes
 * on from its last frame.
 */
export const runSegment: FalRecipe = async (task, jobs, context) => {
  const segment = readSegment(task);
  const { warnings, start } = segment;
  const previous = await previousClip(task, jobs, context);
  if (!previous && !start) throw missing("input_image_paths_resolved");
  for (const warning of warnings) jobs.warn(warning);
  // A segment that follows another has its size, because the parts are joined.
  const size = previous ? evenSize(previous) : segment.size;
  const overlap = previous ? Math.min(segment.overlap, previous.frames) : 0;
  const own = { ...segment, size, frames: segment.frames - overlap, start: previous ? undefined : start };
  const { request, made: making } = requestOf(own, task, jobs);
  jobs.expect((previous ? 2 : 1) + (size ? 1 : 0) + (overlap > 0 ? 2 : 0));
  await jobs.prepare(steps.film, request);
  if (previous) {
    const { data } = await jobs.run(steps.startFrame, frameRequest(previous.url, "last"));
    request.input["image_url"] = pictureOf(data);
  }
  const { data } = await jobs.run(steps.film, request);
  let made = { ...making, url: filmOf(data), field: "film" };
  made = await fitFilm(jobs, made, own, steps);
  if (previous && overlap > 0) {
    const slice = { from: previous.frames - overlap, to: previous.frames, of: previous.frames };
    const tail = await jobs.run(steps.tail, trimRequest(previous.url, slice, previous.framesPerSecond));
    const parts = [{ url: filmOf(tail.data), field: "the segment before" }, made];
    const merged = await jobs.run(steps.merge, mergeRequest(parts, { ...segment, ...evenSize(previous) }));
    made.url = filmOf(merged.data);
  }
  const film = { url: made.url, seed: seedOf(data) };
  return await deliverFilm(task, jobs, film, { ...own, frames: segment.frames });
};

/** The job that makes a segment's own frames, and what it makes. A start that is not known yet is placed before it is run. */
function requestOf(
  { frames, framesPerSecond, start, end, passage }: Segment,
  { billed }: ClaimedTask,
  jobs: FalJobs,
): { request: FalRequest; made: { frames: number; framesPerSecond: number } } {
  const length = makeableLength(frames);
  requirePaidFrames([length], billed);
  if (length.interpolated > 0) {
    jobs.warn(
      `FAL's model makes 161 frames at most: ${length.generated} are made, and ${length.interpolated} interpolated between each two.`,
    );
  }
  const made = { frames: length.total, framesPerSecond: rateToMake(frames, framesPerSecond, length) };
  const timing = { length, framesPerSecond: made.framesPerSecond };
  return { request: passageRequest({ ...passage, start: start ?? { url: "" }, end, ...timing }), made };
}

function readSegment({ task_type, params }: ClaimedTask): Segment {
  const details = detailsOf(params);
  const own = record(params["individual_segment_params"]);
  const index = count(params["segment_index"]) ?? 0;
  const places = [own, params, details];
  const first = (name: string): unknown =>
    places.map((place) => place[name]).find((value) => value !== undefined && value !== null && value !== "");
  const frames =
    count(own["num_frames"]) ??
    count(params["num_frames"]) ??
    count(params["segment_frames_target"]) ??
    count(nth(details["segment_frames_expanded"], index)) ??
    defaultFrames;
  const phaseConfig = record(
    own["phase_config"] ??
      params["phase_config"] ??
      nth(details["phase_configs_expanded"], index) ??
      details["phase_config"],
  );
  const ownLoras =
    own["segment_loras"] ?? params["segment_loras"] ?? nth(details["loras_per_segment_expanded"], index);
  const { loras, hasSteppedMultipliers } = lorasOf(places, phaseConfig, ownLoras);
  const enhanced = firstText(
    own["enhanced_prompt"],
    params["enhanced_prompt"],
    nth(details["enhanced_prompts_expanded"], index),
  );
  const said =
    enhanced ??
    firstText(
      own["base_prompt"],
      params["base_prompt"],
      nth(details["base_prompts_expanded"], index),
      details["base_prompt"],
    ) ??
    "";
  const prompt = [first("text_before_prompts"), said, first("text_after_prompts")]
    .map(text)
    .filter(Boolean)
    .join(" ");
  const size = readSize(places);
  const safety = first("enable_safety_checker");
  const motion = record(nth(details["motion_settings_expanded"], index));
  return {
    frames: Math.max(1, frames),
    framesPerSecond: frameRate(params["fps_helpers"]) ?? frameRate(details["fps_helpers"]) ?? defaultRate,
    size: size.exact,
    overlap: Math.min(Math.max(0, frames - 1), count(params["frame_overlap_from_previous"]) ?? 0),
    ...imagesOf(task_type, params, details, index),
    passage: {
      prompt: prompt === "" ? undefined : prompt,
      negativePrompt: firstText(
        own["negative_prompt"],
        params["negative_prompt"],
        nth(details["negative_prompts_expanded"], index),
        details["negative_prompt"],
      ),
      size: size.fal,
      seed: seed(own["seed_to_use"], params["seed_to_use"], details["seed_base"]),
      loras,
      sampling: samplingOf(phaseConfig),
      enableSafetyChecker: typeof safety === "boolean" ? safety : undefined,
      expandsPrompt: enhanced === undefined && first("enhance_prompt") === true,
    },
    warnings: [
      ...(size.warning === undefined ? [] : [size.warning]),
      ...unavailableParams([...places, motion]).map(
        (name) => `FAL's models do not know ${name}; it was ignored.`,
      ),
      ...(hasSteppedMultipliers
        ? [
            "phase_config: FAL loads a LoRA at one strength for all its phases and steps; it has the mean of them.",
          ]
        : []),
    ],
  };
}

/** A size that a task asks for: FAL's name for it, and the pixels that the film is to have. */
export function readSize(places: readonly Params[]): {
  fal: Passage["size"];
  exact: Size | undefined;
  warning: string | undefined;
} {
  const sent = places.flatMap((place) => [place["parsed_resolution_wh"], place["resolution"]]);
  const asked = sent.find((value) => readFilmSize(value) ?? readResolutionName(value));
  const name = readResolutionName(asked);
  const exact = readFilmSize(asked);
  return {
    fal: name ? { resolution: name, aspectRatio: "auto" } : falSize(exact),
    exact,
    warning: asked === undefined ? sizeWarning(sent) : undefined,
  };
}

/** The pair of images of a segment: its own, or those at its place in the travel. */
function imagesOf(
  taskType: string,
  params: Params,
  details: Params,
  index: number,
): { start: Source | undefined; end: Source | undefined } {
  const own = record(params["individual_segment_params"]);
  const pair =
    taskType === "individual_travel_segment"
      ? [own, params]
          .map((place) => texts(place["input_image_paths_resolved"]))
          .find((list) => list.length > 0)
      : undefined;
  const [all, at] = pair ? [pair, 0] : [texts(details["input_image_paths_resolved"]), index];
  const source = (name: string, url: string | undefined): Source | undefined => {
    const named = text(own[name]);
    if (named !== undefined) return { url: named, field: name };
    return url ? { url, field: "input_image_paths_resolved" } : undefined;
  };
  return { start: source("start_image_url", all[at]), end: source("end_image_url", all[at + 1]) };
}

async function previousClip(
  task: ClaimedTask,
  jobs: FalJobs,
  context: RunContext,
): Promise<Clip | undefined> {
  const output = await context.client.predecessorOutput(task.task_id);
  // A picture that the task waits for is not a segment before it.
  if (output === null || /\.(png|jpe?g|webp|gif|avif)$/i.test(output)) return undefined;
  return await readClip({ url: readTransition(output).url, field: "dependant_on" }, jobs, context);
}

export function evenSize({ width, height }: Size): Size {
  return { width: 2 * Math.floor(width / 2), height: 2 * Math.floor(height / 2) };
}
