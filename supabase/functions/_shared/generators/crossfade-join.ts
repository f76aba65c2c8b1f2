import { z } from "zod";
import { text, uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { mediaUrl } from "./fields.ts";
import { forEachPart, newRun, present } from "./payload.ts";

const input = z
  .object({
    clip_urls: required(z.array(mediaUrl).min(2).max(100), "clip_urls"),
    frame_overlap_settings_expanded: required(
      z.array(z.int().min(1).max(500)).min(1).max(99),
      "frame_overlap_settings_expanded: frames of each crossfade",
    ),
    audio_url: optional(mediaUrl, "no sound", "audio_url"),
    shot_id: optional(uuid, "no shot", "shot_id"),
    parent_generation_id: optional(
      uuid,
      "a generation of its own",
      "parent_generation_id, which shows the whole from then on",
    ),
    tool_type: optional(text(100).min(1), "the task type's", "tool_type"),
  })
  .superRefine((request, context) => {
    const [fades, given] = [request.clip_urls.length - 1, request.frame_overlap_settings_expanded.length];
    if (given <= fades) return;
    const message = `has ${given} entries for ${fades} crossfades`;
    context.addIssue({ code: "custom", path: ["frame_overlap_settings_expanded"], message });
  });

export const crossfadeJoin = defineFamily({
  summary:
    "Clips joined by crossfades, without a model: one `travel_stitch` with `clip_urls`, for workers that read them.",
  input,
  names: { shot_id: "shot", parent_generation_id: "generation" },
  build(request) {
    const { runId } = newRun("crossfade_join");
    const shared = present({
      shot_id: request.shot_id,
      parent_generation_id: request.parent_generation_id,
      clip_urls: request.clip_urls,
      frame_overlap_settings_expanded: forEachPart(
        request.frame_overlap_settings_expanded,
        request.clip_urls.length - 1,
      ),
      audio_url: request.audio_url,
      tool_type: request.tool_type,
    });
    const params = { ...shared, full_orchestrator_payload: { run_id: runId, ...shared } };
    return {
      tasks: [{ task_type: "travel_stitch", params }],
      meta: present({ run_id: runId, parent_generation_id: request.parent_generation_id }),
    };
  },
});
