import { z } from "zod";
import { text } from "../http/fields.ts";
import { optional } from "./family.ts";
import { loraMap, loras, modelName, prompt } from "./fields.ts";
import { phaseConfig } from "./phase-config.ts";
import { present } from "./payload.ts";

const flag = z.boolean();
const count = z.int().min(0).max(1000);
const side = z.int().min(16).max(8192);
/** Workers draw one for -1. */
const joinSeed = z
  .int()
  .min(-1)
  .max(2 ** 31 - 1);

/** What a single join may have otherwise than the rest. */
const ownSettings = {
  prompt: prompt.nullish(),
  negative_prompt: prompt.nullish(),
  gap_frame_count: count.nullish(),
  context_frame_count: count.nullish(),
  replace_mode: flag.nullish(),
  model: modelName.nullish(),
  num_inference_steps: z.int().min(1).max(200).nullish(),
  guidance_scale: z.number().min(0).max(100).nullish(),
  seed: joinSeed.nullish(),
  priority: z.int().min(-100).max(100).nullish(),
  resolution: z.tuple([side, side]).nullish(),
  fps: z.number().min(1).max(240).nullish(),
};

export const perJoinSettings = z
  .array(z.object({ ...ownSettings, loras: loras.nullish() }).nullable())
  .max(500);

/** A join's own settings, without what was not said. */
export function joinOverride(
  given: z.output<typeof perJoinSettings>[number] | undefined,
): Record<string, unknown> {
  if (!given) return {};
  const { loras: own, ...settings } = given;
  return present({ ...settings, additional_loras: loraMap(own) });
}

/** The settings of all joins of an orchestration. */
export const joinFields = {
  prompt: optional(prompt, "smooth transition", "prompt"),
  negative_prompt: optional(prompt, "empty", "negative_prompt"),
  gap_frame_count: optional(count, "53", "gap_frame_count"),
  context_frame_count: optional(count, "8", "context_frame_count"),
  replace_mode: optional(flag, "true", "replace_mode"),
  model: optional(modelName, "wan_2_2_vace_lightning_baseline_2_2_2", "model"),
  num_inference_steps: optional(z.int().min(1).max(200), "6", "num_inference_steps"),
  guidance_scale: optional(z.number().min(0).max(100), "3", "guidance_scale"),
  seed: optional(joinSeed, "-1: the worker's", "seed"),
  phase_config: optional(phaseConfig, "the model's", "phase_config"),
};

export function joinParams(input: z.output<z.ZodObject<typeof joinFields>>): Record<string, unknown> {
  return present({
    prompt: input.prompt ?? "smooth transition",
    negative_prompt: input.negative_prompt ?? "",
    gap_frame_count: input.gap_frame_count ?? 53,
    context_frame_count: input.context_frame_count ?? 8,
    replace_mode: input.replace_mode ?? true,
    model: input.model ?? "wan_2_2_vace_lightning_baseline_2_2_2",
    num_inference_steps: input.num_inference_steps ?? 6,
    guidance_scale: input.guidance_scale ?? 3,
    seed: input.seed ?? -1,
    phase_config: input.phase_config,
  });
}

/** How the segments of a travel are joined when they are done; copied as it was sent. */
export const stitchConfig = z.object({
  ...ownSettings,
  phase_config: phaseConfig.nullish(),
  enhance_prompt: flag.nullish(),
  keep_bridging_images: flag.nullish(),
  loop_first_clip: flag.nullish(),
  use_parallel_joins: flag.nullish(),
  use_input_video_resolution: flag.nullish(),
  use_input_video_fps: flag.nullish(),
  vid2vid_init_strength: z.number().min(0).max(1).nullish(),
  motion_mode: text(50).min(1).nullish(),
  selected_phase_preset_id: text(200).nullish(),
  loras: loras.nullish(),
});

export function stitchParams(
  given: z.output<typeof stitchConfig> | null | undefined,
): Record<string, unknown> | undefined {
  return given ? present({ ...given, loras: given.loras?.length ? given.loras : undefined }) : undefined;
}
