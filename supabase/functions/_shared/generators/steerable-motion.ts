import { z } from "zod";
import { idempotencyKey, text, uuid } from "../http/fields.ts";
import { loraMap, loras, mediaUrl, prompt, seed } from "./fields.ts";
import type { BuiltTask, Place } from "./generate.ts";
import { runNames } from "./identifiers.ts";
import { resolution, resolutionFor } from "./resolution.ts";

const maxImages = 101;
const flag = z.boolean().nullish();

const fade = z
  .union([
    text(2000),
    z.object({
      low_point: z.number(),
      high_point: z.number(),
      curve_type: text(50),
      duration_factor: z.number(),
    }),
  ])
  .nullish();

/** What of each segment: as many as there are segments, or one for all. */
function perSegment<Item extends z.ZodType>(item: Item) {
  return z
    .array(item)
    .min(1)
    .max(maxImages - 1);
}

export const steerableMotionInput = z
  .object({
    project_id: uuid,
    image_urls: z.array(mediaUrl).min(1).max(maxImages),
    base_prompts: perSegment(prompt),
    negative_prompts: perSegment(prompt).nullish(),
    segment_frames: perSegment(z.int().min(1).max(1000)),
    frame_overlap: perSegment(z.int().min(0).max(500)),
    resolution: resolution.nullish().describe("WIDTHxHEIGHT; of the project's aspect ratio unless said"),
    model_name: text(200).trim().min(1).nullish().describe("vace_14B unless said"),
    seed: seed.nullish().describe("789 unless said"),
    steps: z.int().min(1).max(200).nullish().describe("20 unless said"),
    params_json_str: text(20_000)
      .nullish()
      .describe("JSON whose number `steps` counts where `steps` is not sent"),
    loras: loras.nullish(),
    shot_id: uuid.nullish(),
    add_in_position: flag.describe(
      "true: the film stands at the end of the shot's timeline; default: in the shot alone",
    ),
    idempotency_key: idempotencyKey,
    debug: flag.describe("true unless said"),
    apply_reward_lora: flag,
    colour_match_videos: flag,
    apply_causvid: flag,
    use_lighti2x_lora: flag,
    use_styleboost_loras: flag.describe("true unless said"),
    enhance_prompt: flag,
    show_input_images: flag,
    accelerated_mode: flag,
    fade_in_duration: fade,
    fade_out_duration: fade,
    after_first_post_generation_saturation: z.number().min(0).max(10).nullish(),
    after_first_post_generation_brightness: z.number().min(-10).max(10).nullish(),
    main_output_dir_for_run: text(500).nullish(),
    generation_mode: z.enum(["batch", "timeline"]).nullish(),
    dimension_source: z.enum(["project", "firstImage", "custom"]).nullish(),
  })
  .superRefine((input, context) => {
    const segments = segmentsOf(input);
    for (const name of ["base_prompts", "negative_prompts", "segment_frames", "frame_overlap"] as const) {
      const length = input[name]?.length ?? 1;
      if (length === 1 || length === segments) continue;
      context.addIssue({
        code: "custom",
        path: [name],
        message: `has ${length} entries: send 1 or ${segments}`,
      });
    }
  });

export type SteerableMotionInput = z.output<typeof steerableMotionInput>;

/** One `travel_orchestrator` task: a video through all images. Keys of providers are not taken along. */
export function buildSteerableMotion(input: SteerableMotionInput, place: Place): BuiltTask[] {
  const { runId, readableId } = runNames("sm_travel_orchestrator", new Date(), crypto.randomUUID());
  const segments = segmentsOf(input);
  const additionalLoras = loraMap(input.loras);
  const details = {
    orchestrator_task_id: readableId,
    run_id: runId,
    input_image_paths_resolved: input.image_urls,
    num_new_segments_to_generate: segments,
    base_prompts_expanded: spread(input.base_prompts, segments),
    negative_prompts_expanded: spread(input.negative_prompts ?? [""], segments),
    segment_frames_expanded: spread(input.segment_frames, segments),
    frame_overlap_expanded: spread(input.frame_overlap, segments),
    parsed_resolution_wh: resolutionFor(input.resolution, place.aspect_ratio),
    model_name: input.model_name ?? "vace_14B",
    seed_base: input.seed ?? 789,
    steps: input.steps ?? stepsIn(input.params_json_str) ?? 20,
    apply_reward_lora: input.apply_reward_lora ?? false,
    colour_match_videos: input.colour_match_videos ?? false,
    apply_causvid: input.apply_causvid ?? false,
    use_lighti2x_lora: input.use_lighti2x_lora ?? false,
    use_styleboost_loras: input.use_styleboost_loras ?? true,
    fade_in_params_json_str: fadeText(input.fade_in_duration),
    fade_out_params_json_str: fadeText(input.fade_out_duration),
    after_first_post_generation_saturation: input.after_first_post_generation_saturation ?? 1,
    after_first_post_generation_brightness: input.after_first_post_generation_brightness ?? 0,
    debug_mode_enabled: input.debug ?? true,
    main_output_dir_for_run: input.main_output_dir_for_run ?? "./outputs/default_travel_output",
    enhance_prompt: input.enhance_prompt ?? false,
    show_input_images: input.show_input_images ?? false,
    generation_mode: input.generation_mode ?? "batch",
    dimension_source: input.dimension_source ?? "project",
    accelerated_mode: input.accelerated_mode ?? false,
    // What workers do without these: each segment goes on from the one before, and a stitch makes one film of them.
    model_type: "vace",
    chain_segments: true,
    independent_segments: false,
    ...(input.shot_id && { shot_id: input.shot_id }),
    ...(input.shot_id && input.add_in_position && { add_in_position: true }),
    ...(additionalLoras && { additional_loras: additionalLoras }),
  };
  return [
    { task_type: "travel_orchestrator", params: { orchestrator_details: details, task_id: readableId } },
  ];
}

function segmentsOf(input: { image_urls: string[] }): number {
  return Math.max(1, input.image_urls.length - 1);
}

function spread<Item>(items: Item[], length: number): Item[] {
  const [only] = items;
  return items.length === 1 && only !== undefined ? Array.from({ length }, () => only) : items;
}

/** `steps` of the older clients' parameters; what is no such JSON says nothing. */
function stepsIn(parameters: string | null | undefined): number | undefined {
  if (!parameters) return undefined;
  try {
    const parsed = z.object({ steps: z.int().min(1).max(200) }).safeParse(JSON.parse(parameters));
    return parsed.success ? parsed.data.steps : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function fadeText(given: SteerableMotionInput["fade_in_duration"]): string {
  if (typeof given === "string") return given;
  return JSON.stringify(
    given ?? { low_point: 0, high_point: 1, curve_type: "ease_in_out", duration_factor: 0 },
  );
}
