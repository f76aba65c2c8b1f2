import type { FalRecipe } from "../recipe.ts";
import { filmUrl, mergeRequest } from "./clips.ts";
import { deliverFilm, fitFilm, seedOf } from "./film-output.ts";
import {
  detailsOf,
  firstText,
  lorasOf,
  missing,
  nth,
  number,
  type Params,
  record,
  refusal,
  samplingOf,
  seed,
  text,
  texts,
  unavailableParams,
  within,
} from "./film-params.ts";
import { type Passage, passageRequest, turboRequest } from "./image-to-video.ts";
import { billedFramesPerSecond, passageLengths, requirePaid, turboFrames } from "./lengths.ts";
import { readSize } from "./segment.ts";

const framesPerSecond = 16;
const usualSeconds = 5;
const mostPassages = 100;

/**
 * A travel in one task: a film through all images, of `duration` seconds in all. A film is made for each two images, all at the same
 * time, and they are joined. The turbo endpoint makes those that have its length and no LoRAs.
 */
export const runTurboTravel: FalRecipe = async (task, jobs) => {
  const params: Params = { ...task.params, ...detailsOf(task.params) };
  const images = texts(params["input_image_paths_resolved"]).filter((url) => url !== "");
  if (images.length === 0) throw missing("input_image_paths_resolved");
  const passages = Math.max(1, images.length - 1);
  if (passages > mostPassages)
    throw refusal(`input_image_paths_resolved has more than ${mostPassages + 1} images`);
  const seconds = within(number(params["duration"]) ?? number(params["seconds"]) ?? usualSeconds, 0.5, 3600);
  const frames = Math.round((seconds ?? usualSeconds) * framesPerSecond) + 1;
  const size = readSize([params]);
  const wanted = { frames, framesPerSecond, size: size.exact };
  const lengths = passageLengths(frames, passages);
  const made = lengths.reduce((sum, { total }) => sum + total, 0);
  if (made - frames > 3 && passages > 1) {
    const needed = Math.ceil((made - 4) / framesPerSecond);
    throw refusal(
      `${images.length} images need a film of ${needed} seconds at least, and ${seconds} were asked for. ` +
        `Create the task with \`duration\`: ${needed}, or with fewer images`,
    );
  }
  const phaseConfig = record(params["phase_config"]);
  const { loras } = lorasOf([params], phaseConfig, undefined);
  const isOpen = images.length === 1;
  // A film without a last image may be cut; one that travels must end where it ends.
  const isTurbo =
    loras.length === 0 &&
    lengths.every(({ total }) => (isOpen ? total <= turboFrames : total === turboFrames));
  requirePaid(isTurbo && isOpen ? frames : made, task.billed, passages);

  const seedOfFirst = seed(params["seed_base"], params["seed"]);
  const films = lengths.map((length, index): Passage => {
    const source = (url: string) => ({ url, field: "input_image_paths_resolved" });
    const end = images[index + 1];
    const safety = params["enable_safety_checker"];
    return {
      prompt: firstText(
        nth(params["enhanced_prompts_expanded"], index),
        nth(params["base_prompts_expanded"], index),
        params["base_prompt"],
        params["prompt"],
      ),
      negativePrompt: firstText(nth(params["negative_prompts_expanded"], index), params["negative_prompt"]),
      start: source(images[index] ?? ""),
      end: end === undefined ? undefined : source(end),
      length,
      framesPerSecond,
      size: size.fal,
      seed: seedOfFirst === undefined ? undefined : seedOfFirst + index,
      loras,
      sampling: samplingOf(phaseConfig),
      enableSafetyChecker: typeof safety === "boolean" ? safety : undefined,
    };
  });
  for (const name of unavailableParams([params]))
    jobs.warn(`FAL's models do not know ${name}; it was ignored.`);
  if (isTurbo && films.some(({ negativePrompt }) => text(negativePrompt) !== undefined)) {
    jobs.warn("FAL's turbo model does not know negative_prompt; it was ignored.");
  }

  const results = await Promise.all(
    films.map((film, step) => jobs.run(step, isTurbo ? turboRequest(film) : passageRequest(film))),
  );
  const total = isTurbo ? passages * turboFrames : made;
  const sides = size.exact ?? { width: 1280, height: 720 };
  const urls = results.map(filmUrl);
  const merged =
    passages === 1
      ? urls[0]
      : filmUrl(await jobs.run(passages, mergeRequest(urls, { frames: total, framesPerSecond, ...sides })));
  const film = { url: merged ?? "", frames: total, framesPerSecond, ...sides };
  const url = await fitFilm(jobs, film, wanted, { trim: passages + 1, scale: passages + 2 });
  return await deliverFilm(task, jobs, { url, seed: seedOf(results[0]?.data) }, wanted);
};

// The film's own rate is the one that FAL bills by.
framesPerSecond satisfies typeof billedFramesPerSecond;
