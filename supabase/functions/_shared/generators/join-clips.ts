import { z } from "zod";
import { text, uuid } from "../http/fields.ts";
import { defineFamily, optional } from "./family.ts";
import { loraMap, loras, mediaUrl } from "./fields.ts";
import { joinFields, joinOverride, joinParams, perJoinSettings } from "./join-settings.ts";
import { newRun, present } from "./payload.ts";

const flag = z.boolean();
const side = z.int().min(16).max(8192);
const clips = z
  .array(z.object({ url: mediaUrl, name: text(300).nullish() }))
  .min(2)
  .max(100);

const input = z
  .object({
    clips: optional(clips, "clip_source", "clip_list [{url, name?}]"),
    clip_source: optional(
      z.object({ kind: z.literal("clips"), clips }),
      "clips",
      "clip_list; one of the two is required",
    ),
    ...joinFields,
    keep_bridging_images: optional(flag, "not said", "keep_bridging_images"),
    enhance_prompt: optional(flag, "true", "enhance_prompt"),
    priority: optional(z.int().min(-100).max(100), "0", "priority"),
    motion_mode: optional(z.enum(["basic", "presets", "advanced"]), "basic", "motion_mode"),
    selected_phase_preset_id: optional(text(200).min(1), "none", "selected_phase_preset_id"),
    resolution: optional(z.tuple([side, side]), "the worker's", "resolution [width, height]"),
    fps: optional(z.number().min(1).max(240), "the worker's", "fps"),
    use_input_video_resolution: optional(flag, "not said", "use_input_video_resolution"),
    use_input_video_fps: optional(flag, "not said", "use_input_video_fps"),
    use_parallel_joins: optional(flag, "the worker's", "use_parallel_joins"),
    vid2vid_init_strength: optional(z.number().min(0).max(1), "none", "vid2vid_init_strength, above 0"),
    loop_first_clip: optional(
      flag,
      "false",
      "loop_first_clip, if true: the last clip is joined to the first",
    ),
    loras: optional(loras, "none", "additional_loras {path: strength}"),
    per_join_settings: optional(
      perJoinSettings,
      "the same for all",
      "per_join_settings: an object for each join, {} where nothing differs; left out where none does",
    ),
    audio_url: optional(mediaUrl, "no sound", "audio_url"),
    shot_id: optional(uuid, "no shot", "shot_id"),
    parent_generation_id: optional(
      uuid,
      "made with the first join",
      "parent_generation_id, beside orchestrator_details too",
    ),
    tool_type: optional(text(100).min(1), "the task type's", "tool_type, beside orchestrator_details"),
  })
  .superRefine((request, context) => {
    const list = request.clips ?? request.clip_source?.clips;
    if (!list) return context.addIssue({ code: "custom", path: ["clips"], message: "is required" });
    const [joins, own] = [joinsOf(list.length, request), request.per_join_settings?.length ?? 0];
    if (own <= joins) return;
    const message = `has ${own} entries for ${joins} joins`;
    context.addIssue({ code: "custom", path: ["per_join_settings"], message });
  });

export const joinClips = defineFamily({
  summary: "Clips joined by made transitions: an orchestration with a join between each two.",
  input,
  names: { shot_id: "shot", parent_generation_id: "generation" },
  build(request) {
    const { runId, readableId } = newRun("join_clips_orchestrator");
    const list = request.clips ?? request.clip_source?.clips ?? [];
    const overrides = Array.from({ length: joinsOf(list.length, request) }, (_, index) =>
      joinOverride(request.per_join_settings?.[index]),
    );
    const details = present({
      orchestrator_task_id: readableId,
      run_id: runId,
      clip_list: list.map(present),
      ...joinParams(request),
      keep_bridging_images: request.keep_bridging_images,
      enhance_prompt: request.enhance_prompt ?? true,
      priority: request.priority ?? 0,
      parent_generation_id: request.parent_generation_id,
      advanced_mode: true,
      motion_mode: request.motion_mode ?? "basic",
      selected_phase_preset_id: request.selected_phase_preset_id,
      resolution: request.resolution,
      fps: request.fps,
      use_input_video_resolution: request.use_input_video_resolution,
      use_input_video_fps: request.use_input_video_fps,
      use_parallel_joins: request.use_parallel_joins,
      vid2vid_init_strength: request.vid2vid_init_strength || undefined,
      loop_first_clip: request.loop_first_clip || undefined,
      additional_loras: loraMap(request.loras),
      per_join_settings: overrides.some((own) => Object.keys(own).length > 0) ? overrides : undefined,
      audio_url: request.audio_url,
      shot_id: request.shot_id,
    });
    const params = present({
      orchestrator_details: details,
      parent_generation_id: request.parent_generation_id,
      tool_type: request.tool_type,
    });
    return {
      tasks: [{ task_type: "join_clips_orchestrator", params }],
      meta: present({ run_id: runId, parent_generation_id: request.parent_generation_id }),
    };
  },
});

function joinsOf(clips: number, request: { loop_first_clip?: boolean | null | undefined }): number {
  return request.loop_first_clip ? clips : clips - 1;
}
