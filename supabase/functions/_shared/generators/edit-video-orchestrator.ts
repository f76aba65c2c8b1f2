import { z } from "zod";
import { uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { loras, mediaUrl, prompt } from "./fields.ts";
import { joinFields, joinParams } from "./join-settings.ts";
import { newRun, present } from "./payload.ts";
import { sizeFor } from "./resolution.ts";

const side = z.int().min(16).max(8192);
const frame = z.int().min(0).max(1_000_000);

const portions = z
  .array(
    z.object({
      start_frame: frame,
      end_frame: frame,
      prompt: prompt.nullish(),
      gap_frame_count: z.int().min(0).max(1000).nullish(),
    }),
  )
  .min(1)
  .max(100);

const input = z
  .object({
    source_video_url: required(mediaUrl, "source_video_url"),
    source_video_fps: optional(z.number().min(1).max(240), "16", "source_video_fps"),
    source_video_total_frames: optional(
      z.int().min(1).max(1_000_000),
      "the worker counts them",
      "source_video_total_frames",
    ),
    portions_to_regenerate: required(
      portions,
      "portions_to_regenerate, in this order, each with its frame_count; they may not overlap",
    ),
    ...joinFields,
    enhance_prompt: optional(z.boolean(), "the worker's", "enhance_prompt"),
    resolution: optional(
      z.tuple([side, side]),
      "of the project's aspect ratio",
      "resolution [width, height]",
    ),
    loras: optional(loras, "none", "loras [{path, strength}]"),
    parent_generation_id: optional(
      uuid,
      "made with the first part",
      "parent_generation_id, beside orchestrator_details too",
    ),
  })
  .superRefine((request, context) => {
    let reached = -1;
    for (const [index, { start_frame: start, end_frame: end }] of request.portions_to_regenerate.entries()) {
      const refuse = (field: string, message: string) =>
        context.addIssue({ code: "custom", path: ["portions_to_regenerate", index, field], message });
      if (end <= start) refuse("end_frame", "is not behind start_frame");
      if (end > (request.source_video_total_frames ?? Infinity))
        refuse("end_frame", "is behind the video's end");
      if (start < reached) refuse("start_frame", "is not behind the portion before");
      reached = Math.max(reached, end);
    }
  });

export const editVideoOrchestrator = defineFamily({
  summary: "Portions of a video made anew: an orchestration with a join for each.",
  input,
  names: { parent_generation_id: "generation" },
  build(request, place) {
    const { runId } = newRun("edit_video_orchestrator");
    const size = request.resolution ?? sizeFor(undefined, place.aspect_ratio);
    const details = present({
      run_id: runId,
      source_video_url: request.source_video_url,
      source_video_fps: request.source_video_fps ?? 16,
      source_video_total_frames: request.source_video_total_frames,
      portions_to_regenerate: request.portions_to_regenerate.map((portion) => ({
        ...present(portion),
        frame_count: portion.end_frame - portion.start_frame,
      })),
      ...joinParams(request),
      enhance_prompt: request.enhance_prompt,
      resolution: size,
      loras: request.loras?.length ? request.loras : undefined,
      parent_generation_id: request.parent_generation_id,
    });
    const params = present({
      tool_type: "edit-video",
      orchestrator_details: details,
      parent_generation_id: request.parent_generation_id,
    });
    return {
      tasks: [{ task_type: "edit_video_orchestrator", params }],
      meta: present({
        resolution: size.join("x"),
        run_id: runId,
        parent_generation_id: request.parent_generation_id,
      }),
    };
  },
});
