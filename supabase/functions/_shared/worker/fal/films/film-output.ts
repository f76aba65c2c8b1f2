import type { ClaimedTask } from "../../client.ts";
import type { RenderedOutput } from "../../provider.ts";
import type { FalJobs } from "../recipe.ts";
import { record } from "../../orchestration/task-params.ts";
import { filmOf, scaleRequest, trimRequest } from "../stitches/film-tools.ts";
import type { FilmInput } from "./clips.ts";
import { measureFilm } from "../stitches/measure-film.ts";
import { seed } from "./film-params.ts";
import type { Size } from "./sizes.ts";

/** A film as it was asked for. */
export interface WantedFilm {
  frames: number;
  framesPerSecond: number;
  /** Undefined where any size does. */
  size: Size | undefined;
}

/** A film that a job has made. */
export interface MadeFilm extends FilmInput {
  frames: number;
  framesPerSecond: number;
}

/** Cuts a film that the model made longer than it was asked for, and gives it the size. */
export async function fitFilm(
  jobs: FalJobs,
  film: MadeFilm,
  wanted: WantedFilm,
  steps: { trim: number; scale: number },
): Promise<MadeFilm> {
  const { framesPerSecond } = film;
  const frames = Math.max(1, Math.round((wanted.frames * framesPerSecond) / wanted.framesPerSecond));
  let fitted = film;
  if (film.frames - frames > 1) {
    const request = trimRequest(film.url, { from: 0, to: frames, of: film.frames }, framesPerSecond);
    fitted = { ...film, frames, url: filmOf((await jobs.run(steps.trim, request)).data) };
  }
  if (!wanted.size) return fitted;
  const request = scaleRequest(fitted.url, wanted.size, "crop", fitted.frames / framesPerSecond);
  return { ...fitted, url: filmOf((await jobs.run(steps.scale, request)).data) };
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
