import type { RunContext } from "../../provider.ts";
import type { FalJobs, FalRequest } from "../recipe.ts";
import { type FilmFacts, readFilm } from "../stitches/measure-film.ts";
import { endpoints } from "./endpoints.ts";
import { refusal } from "./film-params.ts";
import type { Size } from "./sizes.ts";

/** A film's address, and the param that names it, for people. */
export interface FilmInput {
  url: string;
  field: string;
}

/** A film at FAL, with what is known of it. */
export interface Clip extends FilmFacts, FilmInput {}

/** What is done with a clip costs by its length, which the price of the task does not count. */
const mostClipSeconds = 300;

/**
 * Reads a film that a param names, measures it and brings it to FAL, so that it cannot be another one when FAL fetches it.
 * @throws RenderError
 */
export async function readClip({ url, field }: FilmInput, jobs: FalJobs, context: RunContext): Promise<Clip> {
  const { file, facts } = await readFilm(url, field, jobs, context);
  if (facts.seconds > mostClipSeconds) {
    throw refusal(
      `${field}: the film is ${facts.seconds.toFixed(0)} seconds long, and at most ${mostClipSeconds} are worked on`,
    );
  }
  return { ...facts, field, url: await jobs.upload(file.bytes, file.contentType) };
}

/**
 * Joins films of one size, one after the other. They are at FAL already: what was brought there, or what a job has made. So a name that
 * cannot be looked up for a moment does not end a task whose films are made.
 */
export function mergeRequest(
  films: readonly FilmInput[],
  film: { frames: number; framesPerSecond: number } & Size,
): FalRequest {
  return {
    model: endpoints.mergeFilms,
    input: {
      video_urls: films.map(({ url }) => url),
      target_fps: Math.max(1, Math.round(film.framesPerSecond)),
    },
    files: [],
    units: { seconds: film.frames / film.framesPerSecond },
  };
}
