import {
  count,
  detailsOf,
  nth,
  number,
  type Params,
  record,
  text,
  texts,
} from "../../orchestration/task-params.ts";
import { type FalRecipe, mostSteps } from "../recipe.ts";
import { filmOf } from "../stitches/film-tools.ts";
import { mergeRequest } from "./clips.ts";
import { deliverFilm, fitFilm, seedOf } from "./film-output.ts";
import {
  firstText,
  lorasOf,
  missing,
  refusal,
  samplingOf,
  seed,
  unavailableParams,
  within,
} from "./film-params.ts";
import { type Passage, passageRequest, turboRequest } from "./image-to-video.ts";
import { passageLengths, rateToMake, requirePaidFrames, turboFrames } from "./lengths.ts";
import { readSize } from "./segment.ts";

const framesPerSecond = 16;
const usualSeconds = 5;
const mostPassages = mostSteps - 3;

/**
 * A travel in one task: a film through all images, of `duration` seconds in all, divided as the segments were planned; without
 * it, as long as the segments together. A film is made for each two images, all at the same time, and they are joined. The
 * turbo endpoint makes films of its own length without LoRAs.
 */
export const runTurboTravel: FalRecipe = async (task, jobs) => {
  const params: Params = { ...task.params, ...detailsOf(task.params) };
  const images = texts(params["input_image_paths_resolved"]).filter((url) => url !== "");
  if (images.length === 0) throw missing("input_image_paths_resolved");
  const passages = Math.max(1, images.length - 1);
  if (passages > mostPassages)
    throw refusal(`input_image_paths_resolved has more than ${mostPassages + 1} images`);
  const size = readSize([params]);
  const planned = Array.from({ length: passages }, (_, index) =>
    count(nth(params["segment_frames_expanded"], index)),
  );
  const frames = framesAsked(params, planned);
  const wanted = { frames, framesPerSecond, size: size.exact };
  const lengths = passageLengths(frames, planned);
  const made = lengths.reduce((sum, { total }) => sum + total, 0);
  const ownOf = (index: number) => {
    const phaseConfig = record(nth(params["phase_configs_expanded"], index) ?? params["phase_config"]);
    const { loras } = lorasOf([params], phaseConfig, nth(params["loras_per_segment_expanded"], index));
    return { loras, sampling: samplingOf(phaseConfig) };
  };
  const isOpen = images.length === 1;
  // A film without a last image may be cut; one that travels must end where it ends.
  const isTurbo =
    lengths.every(({ total }) => (isOpen ? total <= turboFrames : total === turboFrames)) &&
    lengths.every((_, index) => ownOf(index).loras.length === 0);
  requirePaidFrames(isTurbo && isOpen ? [{ total: frames, interpolated: 0 }] : lengths, task.billed);
  // Many images in a short film: each passage has the model's fewest frames, and runs faster.
  const madeRate = isTurbo ? framesPerSecond : rateToMake(frames, framesPerSecond, { total: made });

  const seedOfFirst = seed(params["seed_base"], params["seed"]);
  const films = lengths.map((length, index): Passage => {
    const source = (url: string) => ({ url, field: "input_image_paths_resolved" });
    const end = images[index + 1];
    const safety = params["enable_safety_checker"];
    const enhanced = text(nth(params["enhanced_prompts_expanded"], index));
    return {
      prompt: firstText(
        enhanced,
        nth(params["base_prompts_expanded"], index),
        params["base_prompt"],
        params["prompt"],
      ),
      negativePrompt: firstText(nth(params["negative_prompts_expanded"], index), params["negative_prompt"]),
      start: source(images[index] ?? ""),
      end: end === undefined ? undefined : source(end),
      length,
      framesPerSecond: madeRate,
      size: size.fal,
      seed: seedOfFirst === undefined ? undefined : seedOfFirst + index,
      ...ownOf(index),
      enableSafetyChecker: typeof safety === "boolean" ? safety : undefined,
      expandsPrompt: enhanced === undefined && params["enhance_prompt"] === true,
    };
  });
  if (size.warning !== undefined) jobs.warn(size.warning);
  for (const name of unavailableParams([params]))
    jobs.warn(`FAL's models do not know ${name}; it was ignored.`);
  if (lengths.some(({ interpolated }) => interpolated > 0)) {
    jobs.warn(
      "FAL's model makes 161 frames at most for each two images: others are interpolated between them.",
    );
  }
  if (isTurbo && films.some(({ negativePrompt }) => text(negativePrompt) !== undefined)) {
    jobs.warn("FAL's turbo model does not know negative_prompt; it was ignored.");
  }

  const requests = films.map((film) => (isTurbo ? turboRequest(film) : passageRequest(film)));
  jobs.expect(passages + (passages > 1 ? 1 : 0) + (size.exact ? 1 : 0));
  await Promise.all(requests.map((request, step) => jobs.prepare(step, request)));
  const results = await Promise.all(requests.map((request, step) => jobs.run(step, request)));
  const madeFrames = isTurbo ? passages * turboFrames : made;
  const parts = results.map(({ data }) => ({ url: filmOf(data), field: "film" }));
  let film = { ...(parts[0] ?? { url: "", field: "film" }), frames: madeFrames, framesPerSecond: madeRate };
  if (passages > 1) {
    // Joined at the film's own rate.
    const joined = { frames: Math.round((madeFrames * framesPerSecond) / madeRate), framesPerSecond };
    const sides = size.exact ?? { width: 1280, height: 720 };
    const { data } = await jobs.run(passages, mergeRequest(parts, { ...joined, ...sides }));
    film = { ...film, ...joined, url: filmOf(data) };
  }
  const { url } = await fitFilm(jobs, film, wanted, { trim: passages + 1, scale: passages + 2 });
  return await deliverFilm(task, jobs, { url, seed: seedOf(results[0]?.data) }, wanted);
};

/**
 * The length of the film. A claim whose task has no `duration` has there what is paid, which is the begun seconds of each segment: then
 * the film has the segments' own frames. Another duration was asked for.
 */
function framesAsked(params: Params, planned: readonly (number | undefined)[]): number {
  const asked = number(params["duration"]) ?? number(params["seconds"]);
  const segments = planned.filter((frames) => frames !== undefined && frames > 0) as number[];
  if (segments.length === planned.length) {
    const paid = segments.reduce(
      (sum, frames) => sum + Math.max(1, Math.ceil((frames - 1) / framesPerSecond)),
      0,
    );
    if (asked === undefined || asked === paid) return segments.reduce((sum, frames) => sum + frames, 0);
  }
  return Math.round((within(asked ?? usualSeconds, 0.5, 3600) ?? usualSeconds) * framesPerSecond) + 1;
}
