import { z } from "zod";
import { text, uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { loraMap, loras, mediaUrl, modelName, prompt, seed } from "./fields.ts";
import { stitchConfig, stitchParams } from "./join-settings.ts";
import { exceptionsOfParts, forEachPart, newRun, present } from "./payload.ts";
import { phaseConfig, travelModel } from "./phase-config.ts";
import { placeholderFor } from "./placeholder.ts";
import { resolution, resolutionFor } from "./resolution.ts";
import { seedOfTravel } from "./seeds.ts";
import { guidanceFields, structureGuidance } from "./structure-guidance.ts";

const maxImages = 101;
const flag = z.boolean();
const motion = z.number().min(0).max(1);
export const motionMode = z.enum(["basic", "presets", "advanced"]);

/** Something of each segment. */
function ofSegments<Item extends z.ZodType>(item: Item): z.ZodArray<Item> {
  return z
    .array(item)
    .min(1)
    .max(maxImages - 1);
}

const input = z
  .object({
    image_urls: required(
      z.array(mediaUrl).min(1).max(maxImages),
      "input_image_paths_resolved; num_new_segments_to_generate is one less, at least 1",
    ),
    base_prompts: optional(
      ofSegments(prompt),
      "base_prompt for all",
      "base_prompts_expanded; an empty one stands for base_prompt",
    ),
    base_prompt: optional(prompt, "required without base_prompts", "base_prompt"),
    segment_frames: required(ofSegments(z.int().min(1).max(1000)), "segment_frames_expanded"),
    frame_overlap: optional(ofSegments(z.int().min(0).max(500)), "10", "frame_overlap_expanded"),
    negative_prompts: optional(
      ofSegments(prompt),
      "negative_prompt for all",
      "negative_prompts_expanded; those not sent are negative_prompt",
    ),
    negative_prompt: optional(prompt, "empty", "negative_prompts_expanded"),
    enhanced_prompts: optional(
      ofSegments(prompt),
      "empty ones with enhance_prompt, else none",
      "enhanced_prompts_expanded",
    ),
    enhance_prompt: optional(flag, "false", "enhance_prompt"),
    text_before_prompts: optional(prompt, "none", "text_before_prompts"),
    text_after_prompts: optional(prompt, "none", "text_after_prompts"),
    turbo_mode: optional(flag, "false", "the task type: wan_2_2_i2v instead of travel_orchestrator"),
    model_name: optional(
      modelName,
      "wan_2_2_i2v_lightning_baseline_2_2_2; _3_3 for two phases in advanced_mode",
      "model_name",
    ),
    model_type: optional(z.enum(["i2v", "vace"]), "i2v", "model_type"),
    seed: optional(seed, "789", "seed_base"),
    random_seed: optional(flag, "false", "seed_base: drawn, below a million"),
    steps: optional(z.int().min(1).max(200), "20", "steps; not in advanced_mode"),
    amount_of_motion: optional(motion, "0.5", "amount_of_motion; not in advanced_mode"),
    advanced_mode: optional(flag, "false", "advanced_mode; if true also regenerate_anchors false"),
    motion_mode: optional(motionMode, "not said", "motion_mode"),
    phase_config: optional(phaseConfig, "the model's", "phase_config"),
    selected_phase_preset_id: optional(text(200).min(1), "none", "selected_phase_preset_id"),
    loras: optional(loras, "none", "additional_loras {path: strength}"),
    pair_phase_configs: optional(
      z.array(phaseConfig.nullable()).max(maxImages),
      "phase_config for all",
      "phase_configs_expanded, if one is not null",
    ),
    pair_loras: optional(
      z.array(loras.nullable()).max(maxImages),
      "loras for all",
      "loras_per_segment_expanded [{path, strength}], if one is not null",
    ),
    pair_motion_settings: optional(
      z
        .array(z.object({ amount_of_motion: motion.nullish(), motion_mode: motionMode.nullish() }).nullable())
        .max(maxImages),
      "the same for all",
      "motion_settings_expanded, if one is not null",
    ),
    image_generation_ids: optional(
      z.array(uuid).min(1).max(maxImages),
      "not said",
      "input_image_generation_ids",
    ),
    pair_shot_generation_ids: optional(ofSegments(uuid), "not said", "pair_shot_generation_ids"),
    resolution: optional(resolution, "of the project's aspect ratio", "parsed_resolution_wh"),
    shot_id: optional(uuid, "no shot", "shot_id"),
    parent_generation_id: optional(
      uuid,
      "with shot_id, a new placeholder in the shot; else made with the first segment",
      "parent_generation_id, beside orchestrator_details too",
    ),
    generation_name: optional(text(300).min(1), "none", "generation_name, beside orchestrator_details too"),
    independent_segments: optional(flag, "true", "independent_segments"),
    chain_segments: optional(flag, "the worker's", "chain_segments"),
    stitch_config: optional(stitchConfig, "no stitch", "stitch_config, as sent"),
    generation_mode: optional(z.enum(["batch", "timeline", "by-pair"]), "batch", "generation_mode"),
    dimension_source: optional(z.enum(["project", "firstImage", "custom"]), "project", "dimension_source"),
    show_input_images: optional(flag, "false", "show_input_images"),
    debug: optional(flag, "true", "debug_mode_enabled"),
    after_first_post_generation_saturation: optional(
      z.number().min(0).max(10),
      "1",
      "after_first_post_generation_saturation",
    ),
    after_first_post_generation_brightness: optional(
      z.number().min(-10).max(10),
      "0",
      "after_first_post_generation_brightness",
    ),
    main_output_dir_for_run: optional(
      text(500).min(1),
      "./outputs/default_travel_output",
      "main_output_dir_for_run",
    ),
    ...guidanceFields,
  })
  .superRefine((request, context) => {
    const segments = segmentsOf(request);
    const most = {
      base_prompts: segments,
      segment_frames: segments,
      frame_overlap: segments,
      negative_prompts: segments,
      enhanced_prompts: segments,
      pair_shot_generation_ids: segments,
      image_generation_ids: request.image_urls.length,
    };
    for (const [name, limit] of Object.entries(most) as [keyof typeof most, number][]) {
      const length = request[name]?.length ?? 0;
      if (length <= limit) continue;
      context.addIssue({ code: "custom", path: [name], message: `has ${length} entries: at most ${limit}` });
    }
    if (!request.base_prompts && !request.base_prompt) {
      context.addIssue({ code: "custom", path: ["base_prompts"], message: "is required, or base_prompt" });
    }
  });

export const travelBetweenImages = defineFamily({
  summary:
    "A video through images: an orchestration with a segment between each two, or one task in turbo mode.",
  input,
  names: {
    shot_id: "shot",
    parent_generation_id: "generation",
    image_generation_ids: "generation",
    pair_shot_generation_ids: "shot_generation",
  },
  build(request, place) {
    const { runId, readableId } = newRun("sm_travel_orchestrator");
    const segments = segmentsOf(request);
    const size = resolutionFor(request.resolution, place.aspect_ratio);
    const seed = seedOfTravel(request);
    const placeholder = placeholderFor(request, true);
    const parent = request.parent_generation_id ?? placeholder?.id;
    const isAdvanced = request.advanced_mode ?? false;
    const enhanced = request.enhanced_prompts ?? (request.enhance_prompt ? [""] : undefined);
    const details = present({
      generation_source: "batch",
      orchestrator_task_id: readableId,
      run_id: runId,
      input_image_paths_resolved: request.image_urls,
      input_image_generation_ids: request.image_generation_ids,
      pair_shot_generation_ids: request.pair_shot_generation_ids,
      num_new_segments_to_generate: segments,
      base_prompt: request.base_prompt,
      base_prompts_expanded: forEachPart(request.base_prompts ?? [""], segments, ""),
      negative_prompts_expanded: forEachPart(
        request.negative_prompts ?? [request.negative_prompt ?? ""],
        segments,
        request.negative_prompt ?? "",
      ),
      enhanced_prompts_expanded: enhanced && forEachPart(enhanced, segments, ""),
      segment_frames_expanded: forEachPart(request.segment_frames, segments),
      frame_overlap_expanded: forEachPart(request.frame_overlap ?? [10], segments),
      phase_configs_expanded: exceptionsOfParts(request.pair_phase_configs, segments),
      loras_per_segment_expanded: exceptionsOfParts(request.pair_loras, segments),
      motion_settings_expanded: exceptionsOfParts(
        request.pair_motion_settings?.map((own) => own && present(own)),
        segments,
      ),
      parsed_resolution_wh: size,
      model_name: travelModel(request),
      model_type: request.model_type ?? "i2v",
      seed_base: seed,
      ...(isAdvanced
        ? { regenerate_anchors: false }
        : { steps: request.steps ?? 20, amount_of_motion: request.amount_of_motion ?? 0.5 }),
      advanced_mode: isAdvanced,
      motion_mode: request.motion_mode,
      phase_config: request.phase_config,
      selected_phase_preset_id: request.selected_phase_preset_id,
      additional_loras: loraMap(request.loras),
      structure_guidance: structureGuidance(request),
      enhance_prompt: request.enhance_prompt ?? false,
      text_before_prompts: request.text_before_prompts || undefined,
      text_after_prompts: request.text_after_prompts || undefined,
      generation_mode: request.generation_mode ?? "batch",
      dimension_source: request.dimension_source ?? "project",
      independent_segments: request.independent_segments ?? true,
      chain_segments: request.chain_segments,
      use_svi: false,
      stitch_config: stitchParams(request.stitch_config),
      shot_id: request.shot_id,
      parent_generation_id: parent,
      generation_name: request.generation_name,
      main_output_dir_for_run: request.main_output_dir_for_run ?? "./outputs/default_travel_output",
      after_first_post_generation_saturation: request.after_first_post_generation_saturation ?? 1,
      after_first_post_generation_brightness: request.after_first_post_generation_brightness ?? 0,
      debug_mode_enabled: request.debug ?? true,
      show_input_images: request.show_input_images ?? false,
    });
    const params = present({
      tool_type: "travel-between-images",
      orchestrator_details: details,
      parent_generation_id: parent,
      generation_name: request.generation_name,
    });
    const task_type = request.turbo_mode ? "wan_2_2_i2v" : "travel_orchestrator";
    return {
      tasks: [{ task_type, params, ...(placeholder && { placeholder }) }],
      meta: present({ resolution: size, seeds: [seed], run_id: runId, parent_generation_id: parent }),
    };
  },
});

function segmentsOf(request: { image_urls: string[] }): number {
  return Math.max(1, request.image_urls.length - 1);
}
