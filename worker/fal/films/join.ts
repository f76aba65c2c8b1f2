import type { ClaimedTask } from "../../client.ts";
import type { RunContext } from "../../provider.ts";
import type { FalJobs, FalRecipe } from "../recipe.ts";
import {
  type Clip,
  filmUrl,
  frameRequest,
  mergeRequest,
  pictureUrl,
  readClip,
  scaleRequest,
  trimRequest,
} from "./clips.ts";
import { deliverFilm, fitFilm, seedOf } from "./film-output.ts";
import {
  count,
  detailsOf,
  lorasOf,
  missing,
  type Params,
  rate,
  record,
  samplingOf,
  seed,
  text,
  unavailableParams,
} from "./film-params.ts";
import { passageRequest } from "./image-to-video.ts";
import { makeableLength, rateToMake, requirePaidFrames } from "./lengths.ts";
import { evenSize } from "./segment.ts";
import { falSize } from "./sizes.ts";
import { transitionText, transitionUrl } from "./transition.ts";

const steps = {
  film: 0,
  cutFirst: 1,
  cutSecond: 2,
  lastFrame: 3,
  firstFrame: 4,
  trim: 5,
  scale: 6,
  scaleSecond: 7,
  merge: 8,
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
  requirePaidFrames(length.total, billed);
  const [first, second] = await readClips(task, jobs, context);
  // Replacing, the new frames stand for as many of the clips' own; of a clip at least one frame stays.
  const replaced = setting("replace_mode") === true ? gap : 0;
  const fromFirst = Math.min(Math.floor(replaced / 2), first.frames - 1);
  const fromSecond = Math.min(Math.ceil(replaced / 2), second.frames - 1);
  const isTransition = params["transition_only"] === true;
  const framesPerSecond =
    (setting("use_input_video_fps") === true ? undefined : rate(setting("fps"))) ?? first.framesPerSecond;
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
  request.input["image_url"] = pictureUrl(lastFrame);
  request.input["end_image_url"] = pictureUrl(firstFrame);
  const result = await jobs.run(steps.film, request);
  const wanted = { frames: gap, framesPerSecond, size };
  const url = await fitFilm(jobs, { url: filmUrl(result), ...made, ...size }, wanted, steps);
  const film = { url, seed: seedOf(result.data) };
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
    return { ...output, textOf: (stored) => transitionText(stored, facts) };
  }

  const isSameSize = after.width === size.width && after.height === size.height;
  const ending = isSameSize
    ? after.url
    : filmUrl(await jobs.run(steps.scaleSecond, scaleRequest(after, size)));
  const framesOf = (clip: Clip): number => Math.round((clip.frames * framesPerSecond) / clip.framesPerSecond);
  const frames = framesOf(before) + gap + framesOf(after);
  const merged = await jobs.run(
    steps.merge,
    mergeRequest([before.url, url, ending], { frames, framesPerSecond, ...size }),
  );
  return await deliverFilm(task, jobs, { ...film, url: filmUrl(merged) }, { frames, framesPerSecond, size });
};

/** The clips of a join, at FAL. The first one of a chained join is what the join before it made. */
async function readClips(task: ClaimedTask, jobs: FalJobs, context: RunContext): Promise<[Clip, Clip]> {
  const { params } = task;
  const ending = text(params["ending_video_path"]);
  const named = text(params["starting_video_path"]);
  const starting = named ?? (await context.client.predecessorOutput(task.task_id)) ?? undefined;
  if (starting === undefined) throw missing("starting_video_path");
  if (ending === undefined) throw missing("ending_video_path");
  const first = { url: transitionUrl(starting), field: "starting_video_path" };
  const second = { url: transitionUrl(ending), field: "ending_video_path" };
  // One after the other: two large films at once would be in memory.
  return [await readClip(first, jobs, context), await readClip(second, jobs, context)];
}

async function cut(jobs: FalJobs, step: number, clip: Clip, from: number, to: number): Promise<Clip> {
  const result = await jobs.run(step, trimRequest(clip, from, to));
  const frames = to - from;
  return { ...clip, url: filmUrl(result), frames, seconds: frames / clip.framesPerSecond };
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
