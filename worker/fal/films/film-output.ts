import type { ClaimedTask } from "../../client.ts";
import type { RenderedOutput } from "../../provider.ts";
import type { FalJobs } from "../recipe.ts";
import { type Clip, filmUrl, measureFilm, scaleRequest, trimRequest } from "./clips.ts";
import { record, seed } from "./film-params.ts";
import type { Size } from "./sizes.ts";

/** A film as it was asked for. */
export interface WantedFilm {
  frames: number;
  framesPerSecond: number;
  /** Undefined where any size does. */
  size: Size | undefined;
}

/** Cuts a film that the model made longer than it was asked for, and gives it the size. @returns where the film is */
export async function fitFilm(
  jobs: FalJobs,
  film: Omit<Clip, "seconds">,
  wanted: WantedFilm,
  steps: { trim: number; scale: number },
): Promise<string> {
  const frames = Math.max(1, Math.round((wanted.frames * film.framesPerSecond) / wanted.framesPerSecond));
  let fitted = film;
  if (film.frames - frames > 1) {
    const clip = { ...film, seconds: film.frames / film.framesPerSecond };
    fitted = { ...film, frames, url: filmUrl(await jobs.run(steps.trim, trimRequest(clip, 0, frames))) };
  }
  if (!wanted.size) return fitted.url;
  return filmUrl(await jobs.run(steps.scale, scaleRequest(fitted, wanted.size)));
}

/** Fetches a film, and warns by how much it is not what was asked for. */
export async function deliverFilm(
  { task_id }: Pick<ClaimedTask, "task_id">,
  jobs: FalJobs,
  film: { url: string; seed: number | undefined },
  wanted: WantedFilm,
): Promise<RenderedOutput> {
  const file = await jobs.fetch(film.url, "video", `${task_id}_fal_0.mp4`);
  const facts = await measureFilm(file.bytes);
  const seconds = wanted.frames / wanted.framesPerSecond;
  if (!facts) {
    jobs.warn(`The length of the film cannot be read; ${spoken(wanted.frames, seconds)} were asked for.`);
  } else {
    if (Math.abs(facts.seconds - seconds) > 1.05 / wanted.framesPerSecond) {
      jobs.warn(
        `The film has ${spoken(facts.frames, facts.seconds)}; ${spoken(wanted.frames, seconds)} were asked for.`,
      );
    }
    if (Math.abs(facts.framesPerSecond - wanted.framesPerSecond) > 0.5) {
      jobs.warn(
        `The film runs at ${Math.round(facts.framesPerSecond)} frames a second instead of ${wanted.framesPerSecond}.`,
      );
    }
    if (wanted.size && (facts.width !== wanted.size.width || facts.height !== wanted.size.height)) {
      jobs.warn(
        `The film has ${facts.width} × ${facts.height} pixels instead of ${wanted.size.width} × ${wanted.size.height}.`,
      );
    }
  }
  return { file, ...(film.seed !== undefined && { facts: { seed: film.seed } }) };
}

/** The seed in a job's answer. */
export function seedOf(data: unknown): number | undefined {
  return seed(record(data)["seed"]);
}

function spoken(frames: number, seconds: number): string {
  return `${frames} frames (${seconds.toFixed(2)} seconds)`;
}
