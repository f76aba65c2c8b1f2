import { z } from "zod";
import { defineFamily, optional, required } from "./family.ts";
import { mediaUrl, prompt, seed } from "./fields.ts";
import { newRun, present } from "./payload.ts";
import { randomSeed } from "./seeds.ts";

export const characterAnimate = defineFamily({
  summary: "A character that moves like somebody in a video, by `animate_character`.",
  input: z.object({
    character_image_url: required(mediaUrl, "character_image_url"),
    motion_video_url: required(mediaUrl, "motion_video_url"),
    prompt: optional(prompt, "empty", "prompt"),
    mode: optional(
      z.enum(["replace", "animate"]),
      "animate",
      "mode: into the video in place of who is there, or the image itself",
    ),
    resolution: optional(z.enum(["480p", "720p"]), "480p", "resolution, which the price depends on"),
    seconds: optional(
      z.number().min(1).max(3600),
      "5, as many as the price includes",
      "seconds: how much of the motion video is paid, begun seconds; a longer video is refused",
    ),
    seed: optional(seed, "random", "seed"),
    random_seed: optional(z.boolean(), "false", "if true the seed is random whatever was sent"),
  }),
  names: {},
  build(request) {
    const { runId, readableId } = newRun("character_animate");
    const chosen = request.random_seed ? randomSeed() : (request.seed ?? randomSeed());
    const params = present({
      orchestrator_task_id: readableId,
      run_id: runId,
      character_image_url: request.character_image_url,
      motion_video_url: request.motion_video_url,
      prompt: request.prompt ?? "",
      mode: request.mode ?? "animate",
      resolution: request.resolution ?? "480p",
      seconds: request.seconds,
      seed: chosen,
    });
    return { tasks: [{ task_type: "animate_character", params }], meta: { seeds: [chosen], run_id: runId } };
  },
});
