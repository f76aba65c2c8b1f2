import type { ClaimedTask, DarkroomClient } from "../../supabase/functions/_shared/worker/client.ts";
import { RenderError } from "../../supabase/functions/_shared/worker/provider.ts";
import {
  finalStitch,
  type Stitch,
  travelStitch,
} from "../../supabase/functions/_shared/worker/orchestration/stitch.ts";
import {
  count,
  detailsOf,
  frameRate,
  nth,
  number,
  type Params,
  record,
  text,
  texts,
} from "../../supabase/functions/_shared/worker/orchestration/task-params.ts";
import { transitionOutput } from "../../supabase/functions/_shared/worker/orchestration/transition-output.ts";
import { nameOf, readSize, scalar } from "./description.ts";
import type { Clip, FilmDescription, RenderedFilm, Shot, Still } from "./film.ts";
import type { Inputs } from "./inputs.ts";

/** What a run needs to describe its film. */
export interface Shoot {
  task: ClaimedTask;
  inputs: Inputs;
  client: DarkroomClient;
}

type Describe = (shoot: Shoot) => Promise<FilmDescription>;

/** As long as a passage is drawn, whatever the params ask for: five seconds. */
const longestPassage = 81;
const defaultFrames = 61;
const defaultRate = 16;

const films: Record<string, Describe> = {
  travel_segment: describeSegment,
  individual_travel_segment: describeSegment,
  wan_2_2_i2v: describeTurboTravel,
  animate_character: describeCharacter,
  rife_interpolate_images: describeInterpolation,
  video_enhance: describeEnhancement,
  wgp: describeRaw,
  join_clips_segment: describeJoin,
  edit_video_segment: describeJoin,
  travel_stitch: describeTravelStitch,
  join_final_stitch: describeFinalStitch,
};

/** The task types whose output is a film. */
export const filmTaskTypes: readonly string[] = Object.keys(films);

/** @throws RenderError when params lack what such a film is made of */
export async function describeFilm(shoot: Shoot): Promise<FilmDescription> {
  const describe = films[shoot.task.task_type];
  if (!describe) throw new Error(`${shoot.task.task_type} makes no film`);
  return await describe(shoot);
}

/**
 * What the output of a transition says beside where it is: the final stitch has to know how much of its clips it stands
 * for. Nothing for any other film.
 */
export function transitionText(
  { task_type, params }: ClaimedTask,
  { taken, frames }: RenderedFilm,
): ((url: string) => string) | undefined {
  const isTransition =
    /^(join_clips|edit_video)_segment$/.test(task_type) && params["transition_only"] === true;
  const [before, , after] = taken;
  if (!isTransition || !before || !after) return undefined;
  const contexts = [before.to - before.from, after.to - after.from] as const;
  const facts = {
    frames,
    gap_frames: frames - contexts[0] - contexts[1],
    gap_from_clip1: before.of - before.to,
    gap_from_clip2: after.from,
    context_from_clip1: contexts[0],
    context_from_clip2: contexts[1],
    blend_frames: Math.min(contexts[0], count(params["blend_frames"]) ?? 15),
  };
  return (url) => transitionOutput(url, facts);
}

async function describeSegment({ task, inputs, client }: Shoot): Promise<FilmDescription> {
  const { params } = task;
  const details = detailsOf(params);
  const own = record(params["individual_segment_params"]);
  const index = count(params["segment_index"]) ?? 0;
  const isIndividual = task.task_type === "individual_travel_segment";
  const wanted =
    count(own["num_frames"]) ??
    count(params["num_frames"]) ??
    count(params["segment_frames_target"]) ??
    count(nth(details["segment_frames_expanded"], index));
  const frames = passageFrames(wanted);
  const title =
    text(own["enhanced_prompt"]) ??
    text(own["base_prompt"]) ??
    text(params["enhanced_prompt"]) ??
    text(params["base_prompt"]) ??
    text(nth(details["enhanced_prompts_expanded"], index)) ??
    text(nth(details["base_prompts_expanded"], index)) ??
    text(details["base_prompt"]) ??
    "";
  const seed = scalar(own["seed_to_use"]) ?? scalar(params["seed_to_use"]) ?? scalar(details["seed_base"]);

  // Its own pair of pictures, or its place among those of the whole travel.
  const pair = [own, params]
    .map((source) => texts(source["input_image_paths_resolved"]))
    .find((list) => list.length > 0);
  const all = isIndividual && pair ? pair : texts(details["input_image_paths_resolved"]);
  const at = isIndividual && pair ? 0 : index;
  const start = text(own["start_image_url"]) ?? text(all[at]);
  const end = text(own["end_image_url"]) ?? text(all[at + 1]);
  const place = (offset: number): string =>
    JSON.stringify(["place", details["run_id"], index + offset, seed]);
  const from = await still(inputs, start, place(0));
  const to =
    start !== undefined && end === undefined && all.length === 1 ? from : await still(inputs, end, place(1));

  const parts = Math.max(index + 1, count(details["num_new_segments_to_generate"]) ?? 1);
  const caption = {
    title,
    details: written(parts > 1 || !isIndividual ? `segment ${index + 1} of ${parts}` : undefined, task, seed),
    part: index,
    parts,
  };
  const previous = await client.predecessorOutput(task.task_id);
  const shots: Shot[] = [];
  let passage: Still = from;
  let overlap = 0;
  if (previous !== null) {
    const clip = await inputs.clip(previous);
    // It goes on from where the one before ends, and says its last frames again.
    overlap = Math.min(frames - 1, count(params["frame_overlap_from_previous"]) ?? 0);
    if (overlap > 0) shots.push(slice(clip, -overlap));
    passage = { kind: "frame", clip, at: "last", away: 0 };
  }
  shots.push({ kind: "passage", from: passage, to, frames: frames - overlap, caption, overlap: 0 });
  return {
    ...film(task, title, seed, shots),
    size: readSize(own) ?? readSize(params) ?? readSize(details),
    framesPerSecond: frameRate(params["fps_helpers"]) ?? frameRate(details["fps_helpers"]) ?? defaultRate,
  };
}

async function describeTurboTravel({ task, inputs }: Shoot): Promise<FilmDescription> {
  const params: Params = { ...task.params, ...detailsOf(task.params) };
  const images = texts(params["input_image_paths_resolved"]);
  const prompts = texts(params["base_prompts_expanded"]);
  const seed = scalar(params["seed_base"]) ?? scalar(params["seed"]);
  const passages = Math.max(1, images.length - 1);
  const seconds = Math.min(60, Math.max(0.5, number(params["duration"]) ?? 5));
  const all = passageFrames(Math.round(seconds * defaultRate) + 1);
  const stills = await Promise.all(
    Array.from({ length: passages + 1 }, (_, index) =>
      still(inputs, text(images[index]), JSON.stringify(["turbo", seed, prompts, index])),
    ),
  );
  const title = text(prompts[0]) ?? text(params["base_prompt"]) ?? text(params["prompt"]) ?? "";
  const shots = Array.from({ length: passages }, (_, index): Shot => {
    const [from, to] = [stills[index], stills[index + 1]];
    if (!from || !to) throw new Error("a passage has two ends");
    const frames = Math.max(
      1,
      Math.floor((all * (index + 1)) / passages) - Math.floor((all * index) / passages),
    );
    const details = written(passages > 1 ? `part ${index + 1} of ${passages}` : undefined, task, seed);
    const caption = { title: text(prompts[index]) ?? title, details, part: index, parts: passages };
    return { kind: "passage", from, to: images.length === 1 ? from : to, frames, caption, overlap: 0 };
  });
  return { ...film(task, title, seed, shots), size: readSize(params), framesPerSecond: defaultRate };
}

async function describeCharacter({ task, inputs }: Shoot): Promise<FilmDescription> {
  const { params } = task;
  const [character, motion] = [text(params["character_image_url"]), text(params["motion_video_url"])];
  if (!character || !motion) throw missing(character ? "motion_video_url" : "character_image_url");
  const seed = scalar(params["seed"]);
  const title = text(params["prompt"]) ?? `${nameOf(character) ?? "A character"} moves`;
  const [from, to] = await Promise.all([
    still(inputs, character, JSON.stringify(["character", character])),
    still(inputs, undefined, JSON.stringify(["motion", motion, seed])),
  ]);
  const details = written(`${text(params["mode"]) ?? "animate"} · ${nameOf(motion) ?? "motion"}`, task, seed);
  const caption = { title, details, part: 0, parts: 1 };
  // There and back again.
  const shots: Shot[] = [
    { kind: "passage", from, to, frames: 25, caption: { ...caption, parts: 2 }, overlap: 0 },
    {
      kind: "passage",
      from: to,
      to: from,
      frames: 24,
      caption: { ...caption, part: 1, parts: 2 },
      overlap: 0,
    },
  ];
  const size = params["resolution"] === "720p" ? { width: 1280, height: 720 } : readSize(params);
  return { ...film(task, title, seed, shots), size, framesPerSecond: defaultRate };
}

async function describeInterpolation({ task, inputs }: Shoot): Promise<FilmDescription> {
  const { params } = task;
  const [first, second] = [text(params["input_image_path1"]), text(params["input_image_path2"])];
  if (!first || !second) throw missing(first ? "input_image_path2" : "input_image_path1");
  const [from, to] = await Promise.all(
    [first, second].map((url) => still(inputs, url, JSON.stringify(["image", url]))),
  );
  if (!from || !to) throw new Error("an interpolation has two ends");
  const title = `${nameOf(first) ?? "one"} → ${nameOf(second) ?? "other"}`;
  const caption = { title, details: written(undefined, task, undefined), part: 0, parts: 1 };
  const frames = passageFrames(count(params["frames"]));
  const shots: Shot[] = [{ kind: "passage", from, to, frames, caption, overlap: 0 }];
  return { ...film(task, title, undefined, shots), size: readSize(params), framesPerSecond: defaultRate };
}

/** The film itself, as large as the sandbox draws: it has no model that adds anything. */
async function describeEnhancement({ task, inputs }: Shoot): Promise<FilmDescription> {
  const url = text(task.params["video_url"]);
  if (!url) throw missing("video_url");
  return film(task, nameOf(url) ?? "A film", undefined, [slice(await inputs.clip(url), 0)]);
}

async function describeRaw({ task, inputs }: Shoot): Promise<FilmDescription> {
  const { params } = task;
  const title = text(params["prompt"]) ?? "";
  const seed = scalar(params["seed"]);
  const [start, end] = [text(params["image_start"]), text(params["image_end"])];
  const from = await still(inputs, start, JSON.stringify(["raw", seed, title, 0]));
  const to = await still(inputs, end, JSON.stringify(["raw", seed, title, 1]));
  const caption = { title, details: written(undefined, task, seed), part: 0, parts: 1 };
  const frames = passageFrames(count(params["video_length"]));
  const shots: Shot[] = [{ kind: "passage", from, to, frames, caption, overlap: 0 }];
  return { ...film(task, title, seed, shots), size: readSize(params), framesPerSecond: defaultRate };
}

/** The end of one clip, what is drawn between, the beginning of another; whole clips, or as much as a stitch needs. */
async function describeJoin({ task, inputs, client }: Shoot): Promise<FilmDescription> {
  const { params } = task;
  const details = detailsOf(params);
  const setting = (name: string): unknown => params[name] ?? details[name];
  const ending = text(params["ending_video_path"]);
  const starting =
    text(params["starting_video_path"]) ?? (await client.predecessorOutput(task.task_id)) ?? undefined;
  if (!starting || !ending) throw missing(starting ? "ending_video_path" : "starting_video_path");
  const [before, after] = [await inputs.clip(starting), await inputs.clip(ending)];
  const context = Math.max(1, count(setting("context_frame_count")) ?? 8);
  const gap = Math.min(longestPassage, Math.max(1, count(setting("gap_frame_count")) ?? 53));
  // Replacing, the new frames stand for as many of the clips' own.
  const replaced = setting("replace_mode") === true ? gap : 0;
  const [fromFirst, fromSecond] = [Math.floor(replaced / 2), Math.ceil(replaced / 2)];
  const isTransition = params["transition_only"] === true;
  const cut = fromFirst === 0 ? undefined : -fromFirst;
  const seed = scalar(setting("seed"));
  const index = count(params["join_index"]) ?? 0;
  const title = text(setting("prompt")) ?? "";
  const caption = { title, details: written(`join ${index + 1}`, task, seed), part: 0, parts: 1 };
  const from: Still = { kind: "frame", clip: before, at: "last", away: fromFirst };
  const to: Still = { kind: "frame", clip: after, at: "first", away: fromSecond };
  const shots: Shot[] = [
    slice(before, isTransition ? -(context + fromFirst) : 0, cut),
    { kind: "passage", from, to, frames: gap, caption, overlap: 0 },
    slice(after, fromSecond, isTransition ? fromSecond + context : undefined),
  ];
  return {
    ...film(task, title, seed, shots),
    // As the first clip is, unless another rate is asked for.
    framesPerSecond: setting("use_input_video_fps") === true ? undefined : frameRate(setting("fps")),
  };
}

async function describeTravelStitch({ task, inputs, client }: Shoot): Promise<FilmDescription> {
  const details = detailsOf(task.params);
  const title =
    texts(details["base_prompts_expanded"]).filter(Boolean).join(" · ") ||
    (text(details["base_prompt"]) ?? "");
  const stitch = await travelStitch(task, client);
  return await describeStitch(task, inputs, stitch, { title, seed: scalar(details["seed_base"]) });
}

async function describeFinalStitch({ task, inputs, client }: Shoot): Promise<FilmDescription> {
  const { params } = task;
  const details = detailsOf(params);
  const title = text(params["prompt"]) ?? text(details["prompt"]) ?? "";
  const stitch = await finalStitch(task, client);
  return await describeStitch(task, inputs, stitch, { title, seed: scalar(details["seed"]) });
}

async function describeStitch(
  task: ClaimedTask,
  inputs: Inputs,
  { clips, framesPerSecond }: Stitch,
  { title, seed }: { title: string; seed: string | undefined },
): Promise<FilmDescription> {
  const shots: Shot[] = [];
  for (const { url, from, to, overlap } of clips) {
    const clip = await inputs.clip(url, task.task_type === "travel_stitch" ? defaultFrames : undefined);
    shots.push({ ...slice(clip, from, to), overlap });
  }
  return { ...film(task, title, seed, shots), framesPerSecond };
}

/** A picture of ours, or what is drawn for it; two tasks that name the same picture show the same. */
async function still(inputs: Inputs, url: string | undefined, fingerprint: string): Promise<Still> {
  const picture = await inputs.picture(url);
  const name = url === undefined ? fingerprint : JSON.stringify(["image", url]);
  return picture ? { kind: "picture", picture, fingerprint: name } : { kind: "artwork", fingerprint: name };
}

function slice(clip: Clip, from: number, to?: number): Shot {
  return { kind: "clip", clip, from, to, overlap: 0 };
}

function film(
  { task_type }: ClaimedTask,
  title: string,
  seed: string | undefined,
  shots: Shot[],
): FilmDescription {
  return { taskType: task_type, title, seed, size: undefined, framesPerSecond: undefined, shots };
}

function written(first: string | undefined, { task_type }: ClaimedTask, seed: string | undefined): string {
  return [first, task_type, seed === undefined ? undefined : `seed ${seed}`].filter(Boolean).join(" · ");
}

function passageFrames(wanted: number | undefined): number {
  return Math.min(longestPassage, Math.max(1, wanted ?? defaultFrames));
}

function missing(field: string): RenderError {
  return new RenderError(`${field} is missing`, { isRetryable: false });
}
