import type { ClaimedTask } from "../../client.ts";
import { sliceOf } from "../../orchestration/frame-slice.ts";
import type { FilmCutter } from "../../orchestration/orchestration.ts";
import { RenderError, type RunContext } from "../../provider.ts";
import { type FalJobs, mostSteps } from "../recipe.ts";
import { filmOf, trimRequest } from "./film-tools.ts";
import { readFilm } from "./measure-film.ts";

const field = "source_video_url";

/**
 * Cuts a film at FAL. A cut at any frame needs a new encoding, which no part of Darkroom can do for films of other makers. The pieces
 * are stored here, because FAL deletes its files.
 */
export function falFilmCutter(task: ClaimedTask, jobs: FalJobs, context: RunContext): FilmCutter {
  return {
    async cut(source, _frames, pieces) {
      if (pieces.length > mostSteps) {
        throw new RenderError(
          `${pieces.length} pieces of a film are more than the ${mostSteps} that FAL cuts`,
          {
            isRetryable: false,
          },
        );
      }
      const { file, facts } = await readFilm(source, field, jobs, context);
      const url = await jobs.upload(file.bytes, file.contentType);
      const results = await Promise.all(
        pieces.map(({ from, to }, step) =>
          jobs.run(step, trimRequest(url, sliceOf(facts.frames, from, to), facts.framesPerSecond)),
        ),
      );
      const urls: string[] = [];
      // One after the other, so that one piece is in memory at a time.
      for (const [index, { data }] of results.entries()) {
        const piece = await jobs.fetch(filmOf(data), "video", `${task.task_id}_part_${index}.mp4`);
        urls.push(await context.client.storeFile(task, piece));
      }
      return urls;
    },
  };
}
