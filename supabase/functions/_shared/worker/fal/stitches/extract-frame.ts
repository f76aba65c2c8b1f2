import { sliceOf } from "../../orchestration/frame-slice.ts";
import { outputOf } from "../../orchestration/task-output.ts";
import { number, text } from "../../orchestration/task-params.ts";
import { readTransition } from "../../orchestration/transition-output.ts";
import { RenderError } from "../../provider.ts";
import type { FalRecipe } from "../recipe.ts";
import { filmOf, frameRequest, pictureOf, trimRequest } from "./film-tools.ts";
import { readFilm } from "./measure-film.ts";

const field = "input_video_task_id";

/** One frame of another task's film. FAL's tool knows the first and the last; for another the film is cut at that frame. */
export const extractFrame: FalRecipe = async (task, jobs, context) => {
  const id = text(task.params[field]);
  if (!id) throw new RenderError(`${field} is missing`, { isRetryable: false });
  const output = readTransition(await outputOf(context.client, task, id));
  const { file, facts } = await readFilm(output.url, field, jobs, context);
  const film = await jobs.upload(file.bytes, file.contentType);
  const index = Math.trunc(number(task.params["frame_index"]) ?? 0);
  const { from } = sliceOf(facts.frames, index, index === -1 ? undefined : index + 1);
  const isAtEnd = from === 0 || from === facts.frames - 1;
  jobs.expect(isAtEnd ? 1 : 2);
  let request = frameRequest(film, from === 0 ? "first" : "last");
  if (!isAtEnd) {
    const second = {
      from,
      to: Math.min(facts.frames, from + Math.ceil(facts.framesPerSecond)),
      of: facts.frames,
    };
    const { data } = await jobs.run(0, trimRequest(film, second, facts.framesPerSecond));
    request = frameRequest(filmOf(data), "first");
  }
  const { data } = await jobs.run(isAtEnd ? 0 : 1, request);
  const picture = await jobs.fetch(pictureOf(data), "image", "frame");
  const extension = picture.contentType.replace("image/", "").replace("jpeg", "jpg");
  return { file: { ...picture, filename: `${task.task_id}_fal_0.${extension}` } };
};
