import type { ClaimedTask } from "../../client.ts";
import { count, detailsOf, frameRate, type Params, record, text } from "../../orchestration/task-params.ts";
import { readTransition, transitionOutput } from "../../orchestration/transition-output.ts";
import type { RunContext } from "../../provider.ts";
import type { FalJobs, FalRecipe } from "../recipe.ts";
import { filmOf, frameRequest, pictureOf, scaleRequest, trimRequest } from "../stitches/film-tools.ts";
import { type Clip, mergeRequest, readClip } from "./clips.ts";
import { deliverFilm, fitFilm, seedOf } from "./film-output.ts";
import { lorasOf, missing, samplingOf, seed, unavailableParams } from "./film-params.ts";
import { passageRequest } from "./image-to-video.ts";
import { makeableLength, rateToMake, requirePaidFrames } from "./lengths.ts";
import { evenSize } from "./segment.ts";
import { falSize, type Size } from "./sizes.ts";

const steps = {
  film: 0,
  cutFirst: 1,
  cutSecond: 2,
  lastFrame: 3,
  firstFrame: 4,
  trim: 5,
  scale: 6,
  scaleFirst: 7,
  scaleSecond: 8,
  merge: 9,
};
const usualGap = 53;

/**
 * A transition between two clips: a film from the last frame of the first to the first frame of the second. The output is the
 * transition alone, or both clips with it between them.
 */
export const runJoin: FalRecipe = async (task, jobs, context) => {
  const { params, billed } = task;
  const details = detailsOf(params);
  const setting = (name: string): unknown => params[name] ?? details[name];
  const gap = Math.max(1, count(setting("gap_frame_count")) ?? usualGap);
  const length = makeableLength(gap);
  requirePaidFrames([length], billed);
  const [first, second] = await readClips(task, jobs, context);
  // Replacing, the new frames stand for as many of the clips' own; of a clip at least one frame stays.
  const replaced = setting("replace_mode") === true ? gap : 0;
  const fromFirst = Math.min(Math.floor(replaced / 2), first.frames - 1);
  const fromSecond = Math.min(Math.ceil(replaced / 2), second.frames - 1);
  const isTransition = params["transition_only"] === true;
  const framesPerSecond =
    (setting("use_input_video_fps") === true ? undefined : frameRate(setting("fps"))) ??
    first.framesPerSecond;
  const size = evenSize(first);
  warnOf(params, details, jobs);

  const phaseConfig = record(setting("phase_config"));
  const made = { frames: length.total, framesPerSecond: rateToMake(gap, framesPerSecond, length) };
  const safety = setting("enable_safety_checker");
  const request = passageRequest({
    prompt: text(setting("prompt")),
    negativePrompt: text(setting("negative_prompt")),
    // Both are frames of the clips, which are extracted first.
    start: { url: "" },
    end: { url: "" },
    length,
    framesPerSecond: made.framesPerSecond,
    size: falSize(size),
    seed: seed(setting("seed")),
    loras: lorasOf([params, details], phaseConfig, undefined).loras,
    sampling: samplingOf(phaseConfig),
    enableSafetyChecker: typeof safety === "boolean" ? safety : undefined,
    expandsPrompt: setting("enhance_prompt") === true,
  });
  jobs.expect(4 + (fromFirst > 0 ? 1 : 0) + (fromSecond > 0 ? 1 : 0) + (isTransition ? 0 : 1));
  await jobs.prepare(steps.film, request);
  const [before, after] = await Promise.all([
    fromFirst === 0 ? first : cut(jobs, steps.cutFirst, first, 0, first.frames - fromFirst),
    fromSecond === 0 ? second : cut(jobs, steps.cutSecond, second, fromSecond, second.frames),
  ]);
  const [lastFrame, firstFrame] = await Promise.all([
    jobs.run(steps.lastFrame, frameRequest(before.url, "last")),
    jobs.run(steps.firstFrame, frameRequest(after.url, "first")),
  ]);
  request.input["image_url"] = pictureOf(lastFrame.data);
  request.input["end_image_url"] = pictureOf(firstFrame.data);
  const { data } = await jobs.run(steps.film, request);
  const wanted = { frames: gap, framesPerSecond, size };
  const between = await fitFilm(jobs, { ...made, url: filmOf(data), field: "film" }, wanted, steps);
  const film = { url: between.url, seed: seedOf(data) };
  if (isTransition) {
    const output = await deliverFilm(task, jobs, film, wanted);
    const facts = {
      frames: gap,
      gap_frames: gap,
      gap_from_clip1: fromFirst,
      gap_from_clip2: fromSecond,
      // The model sees one frame of each clip: there is nothing of them in the transition that could be blended.
      context_from_clip1: 0,
      context_from_clip2: 0,
      blend_frames: 0,
    };
    return { ...output, textOf: (stored) => transitionOutput(stored, facts) };
  }

  const framesOf = (clip: Clip): number => Math.round((clip.frames * framesPerSecond) / clip.framesPerSecond);
  const frames = framesOf(before) + gap + framesOf(after);
  const whole = { frames, framesPerSecond, size };
  const parts = [
    await sized(jobs, steps.scaleFirst, before, size),
    between,
    await sized(jobs, steps.scaleSecond, after, size),
  ];
  const merged = await jobs.run(steps.merge, mergeRequest(parts, { frames, framesPerSecond, ...size }));
  return await deliverFilm(task, jobs, { ...film, url: filmOf(merged.data) }, whole);
};

/** A clip in the size of the whole film. */
async function sized(jobs: FalJobs, step: number, clip: Clip, size: Size): Promise<Clip> {
  if (clip.width === size.width && clip.height === size.height) return clip;
  const result = await jobs.run(step, scaleRequest(clip.url, size, "crop", clip.seconds));
  return { ...clip, ...size, url: filmOf(result.data) };
}

/** The clips of a join, at FAL. The first one of a chained join is what the join before it made. */
async function readClips(task: ClaimedTask, jobs: FalJobs, context: RunContext): Promise<[Clip, Clip]> {
  const { params } = task;
  const ending = text(params["ending_video_path"]);
  const named = text(params["starting_video_path"]);
  const starting = named ?? (await context.client.predecessorOutput(task.task_id)) ?? undefined;
  if (starting === undefined) throw missing("starting_video_path");
  if (ending === undefined) throw missing("ending_video_path");
  const first = { url: readTransition(starting).url, field: "starting_video_path" };
  const second = { url: readTransition(ending).url, field: "ending_video_path" };
  // One after the other: two large films at once would be in memory.
  return [await readClip(first, jobs, context), await readClip(second, jobs, context)];
}

async function cut(jobs: FalJobs, step: number, clip: Clip, from: number, to: number): Promise<Clip> {
  const { data } = await jobs.run(
    step,
    trimRequest(clip.url, { from, to, of: clip.frames }, clip.framesPerSecond),
  );
  const frames = to - from;
  return { ...clip, url: filmOf(data), frames, seconds: frames / clip.framesPerSecond };
}

function warnOf(params: Params, details: Params, jobs: FalJobs): void {
  for (const name of unavailableParams([params, details])) {
    jobs.warn(`FAL's models do not know ${name}; it was ignored.`);
  }
  const context = count(params["context_frame_count"] ?? details["context_frame_count"]) ?? 0;
  if (context > 1) {
    jobs.warn(
      `FAL's model sees the last frame of the first clip and the first frame of the second, not ${context} frames of each.`,
    );
  }
}
