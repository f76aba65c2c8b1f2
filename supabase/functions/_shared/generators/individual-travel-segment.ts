import { z } from "zod";
import { text, uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { loraMap, loras, mediaUrl, modelName, prompt, seed } from "./fields.ts";
import { present } from "./payload.ts";
import { phaseConfig, type PhaseConfig, travelModel } from "./phase-config.ts";
import { placeholderFor } from "./placeholder.ts";
import { resolution, resolutionFor } from "./resolution.ts";
import { seedOfTravel } from "./seeds.ts";
import { guidanceFields, structureGuidance } from "./structure-guidance.ts";
import { motionMode } from "./travel-between-images.ts";

const flag = z.boolean();
const motion = z.number().min(0).max(1);
const modelType = z.enum(["i2v", "vace"]);

/** What a segment keeps of the travel that it was made in; everything else, its orchestrator above all, is left behind. */
const formerDetails = z.object({
  parsed_resolution_wh: resolution.nullish(),
  model_name: modelName.nullish(),
  model_type: modelType.nullish(),
  phase_config: phaseConfig.nullish(),
  advanced_mode: flag.nullish(),
  motion_mode: motionMode.nullish(),
  amount_of_motion: motion.nullish(),
});

const input = z
  .object({
    segment_index: required(z.int().min(0).max(999), "segment_index"),
    start_image_url: required(
      mediaUrl,
      "input_image_paths_resolved, individual_segment_params.start_image_url",
    ),
    end_image_url: optional(
      mediaUrl,
      "the last segment, which has none",
      "input_image_paths_resolved, individual_segment_params.end_image_url",
    ),
    parent_generation_id: optional(
      uuid,
      "with shot_id, a new placeholder in the shot",
      "parent_generation_id; one of it, child_generation_id and shot_id is required",
    ),
    child_generation_id: optional(uuid, "the one at this place, or a new one", "child_generation_id"),
    shot_id: optional(uuid, "no shot", "shot_id"),
    pair_shot_generation_id: optional(uuid, "not said", "pair_shot_generation_id"),
    start_image_generation_id: optional(uuid, "not said", "start_image_generation_id"),
    end_image_generation_id: optional(uuid, "not said", "end_image_generation_id"),
    start_image_variant_id: optional(uuid, "not said", "individual_segment_params.start_image_variant_id"),
    end_image_variant_id: optional(uuid, "not said", "individual_segment_params.end_image_variant_id"),
    base_prompt: optional(prompt, "empty", "base_prompt"),
    enhanced_prompt: optional(prompt, "none", "enhanced_prompt"),
    negative_prompt: optional(prompt, "empty", "negative_prompt"),
    num_frames: optional(z.int().min(1).max(81), "49", "num_frames"),
    seed: optional(seed, "789", "seed_to_use, seed_base"),
    random_seed: optional(flag, "false", "random_seed; if true the seed is drawn, below a million"),
    resolution: optional(
      resolution,
      "parsed_resolution_wh of originalParams, else of the project's aspect ratio",
      "parsed_resolution_wh",
    ),
    model_name: optional(modelName, "of originalParams, else as in travel_between_images", "model_name"),
    model_type: optional(modelType, "of originalParams, else i2v", "orchestrator_details.model_type"),
    phase_config: optional(
      phaseConfig,
      "of originalParams, else the model's",
      "individual_segment_params.phase_config; guidance_scale, guidance2_scale, guidance_phases, flow_shift, sample_solver, model_switch_phase, num_inference_steps, lora_multipliers",
    ),
    num_inference_steps: optional(
      z.int().min(1).max(200),
      "the sum of phase_config's steps, else 6",
      "num_inference_steps",
    ),
    guidance_scale: optional(z.number().min(0).max(100), "the first phase's, else 1", "guidance_scale"),
    advanced_mode: optional(flag, "of originalParams, else false", "advanced_mode"),
    motion_mode: optional(motionMode, "of originalParams, else basic", "motion_mode"),
    amount_of_motion: optional(motion, "of originalParams, else 0.5", "amount_of_motion"),
    selected_phase_preset_id: optional(
      text(200).min(1),
      "none",
      "individual_segment_params.selected_phase_preset_id",
    ),
    loras: optional(
      loras,
      "none",
      "additional_loras {path: strength}, individual_segment_params.segment_loras [{path, strength}]",
    ),
    make_primary_variant: optional(flag, "true", "make_primary_variant: shown from then on"),
    generation_name: optional(text(300).min(1), "none", "generation_name"),
    originalParams: optional(
      z.object({ orchestrator_details: formerDetails.nullish() }),
      "nothing",
      "what the segment was made with: its orchestrator_details count where the input says nothing",
    ),
    ...guidanceFields,
  })
  .superRefine((request, context) => {
    if (request.parent_generation_id || request.child_generation_id || request.shot_id) return;
    const message = "is required, or child_generation_id, or shot_id";
    context.addIssue({ code: "custom", path: ["parent_generation_id"], message });
  });

export const individualTravelSegment = defineFamily({
  summary: "One segment of a travel made anew, billed by itself.",
  input,
  names: {
    parent_generation_id: "generation",
    child_generation_id: "generation",
    shot_id: "shot",
    pair_shot_generation_id: "shot_generation",
    start_image_generation_id: "generation",
    end_image_generation_id: "generation",
    start_image_variant_id: "variant",
    end_image_variant_id: "variant",
  },
  build(request, place) {
    const former = request.originalParams?.orchestrator_details ?? {};
    const phases = request.phase_config ?? former.phase_config ?? undefined;
    const isAdvanced = request.advanced_mode ?? former.advanced_mode ?? false;
    const size = resolutionFor(request.resolution ?? former.parsed_resolution_wh, place.aspect_ratio);
    const seed = seedOfTravel(request);
    const placeholder = request.child_generation_id ? undefined : placeholderFor(request, false);
    const parent = request.parent_generation_id ?? placeholder?.id;
    const images = [request.start_image_url, ...(request.end_image_url ? [request.end_image_url] : [])];
    const model_name = travelModel({
      model_name: request.model_name ?? former.model_name,
      advanced_mode: isAdvanced,
      phase_config: phases,
    });
    const base_prompt = request.base_prompt ?? "";
    const negative_prompt = request.negative_prompt ?? "";
    const num_frames = request.num_frames ?? 49;
    const motions = {
      amount_of_motion: request.amount_of_motion ?? former.amount_of_motion ?? 0.5,
      motion_mode: request.motion_mode ?? former.motion_mode ?? "basic",
      advanced_mode: isAdvanced,
    };
    const named = {
      start_image_generation_id: request.start_image_generation_id,
      end_image_generation_id: request.end_image_generation_id,
      pair_shot_generation_id: request.pair_shot_generation_id,
    };
    const additional_loras = loraMap(request.loras) ?? {};
    const params = present({
      segment_index: request.segment_index,
      base_prompt,
      enhanced_prompt: request.enhanced_prompt || undefined,
      negative_prompt,
      num_frames,
      seed_to_use: seed,
      model_name,
      parsed_resolution_wh: size,
      ...samplingOf(request, phases),
      additional_loras,
      amount_of_motion: motions.amount_of_motion,
      input_image_paths_resolved: images,
      ...named,
      parent_generation_id: parent,
      child_generation_id: request.child_generation_id,
      shot_id: request.shot_id,
      make_primary_variant: request.make_primary_variant ?? true,
      generation_name: request.generation_name,
      orchestrator_details: present({
        generation_source: "individual_segment",
        model_name,
        model_type: request.model_type ?? former.model_type ?? "i2v",
        parsed_resolution_wh: size,
        input_image_paths_resolved: images,
        seed_base: seed,
        ...motions,
        phase_config: phases,
        additional_loras,
        structure_guidance: structureGuidance(request),
        independent_segments: true,
        parent_generation_id: parent,
        shot_id: request.shot_id,
      }),
      individual_segment_params: present({
        start_image_url: request.start_image_url,
        end_image_url: request.end_image_url,
        input_image_paths_resolved: images,
        base_prompt,
        enhanced_prompt: request.enhanced_prompt || undefined,
        negative_prompt,
        num_frames,
        seed_to_use: seed,
        random_seed: request.random_seed ?? false,
        ...motions,
        phase_config: phases,
        segment_loras: request.loras?.length ? request.loras : undefined,
        selected_phase_preset_id: request.selected_phase_preset_id,
        ...named,
        start_image_variant_id: request.start_image_variant_id,
        end_image_variant_id: request.end_image_variant_id,
      }),
    });
    return {
      tasks: [{ task_type: "individual_travel_segment", params, ...(placeholder && { placeholder }) }],
      meta: present({ resolution: size, seeds: [seed], parent_generation_id: parent }),
    };
  },
});

/** How it is sampled: as the phases say, else as the worker does unless told otherwise. */
function samplingOf(
  request: { num_inference_steps?: number | null | undefined; guidance_scale?: number | null | undefined },
  phases: PhaseConfig | undefined,
): Record<string, unknown> {
  const [first, second] = phases?.phases ?? [];
  return {
    guidance_scale: request.guidance_scale ?? first?.guidance_scale ?? 1,
    guidance2_scale: second?.guidance_scale ?? 1,
    guidance_phases: phases?.num_phases ?? 3,
    num_inference_steps:
      request.num_inference_steps ?? phases?.steps_per_phase.reduce((sum, steps) => sum + steps, 0) ?? 6,
    model_switch_phase: phases?.model_switch_phase ?? 2,
    flow_shift: phases?.flow_shift ?? 5,
    sample_solver: phases?.sample_solver ?? "euler",
    lora_multipliers: phases?.phases.flatMap(({ loras }) => loras) ?? [],
  };
}
