import { z } from "zod";
import { AppError } from "../errors/app-error.ts";
import { idempotencyKey, text, uuid } from "../http/fields.ts";
import { type PictureWarning, planSingleImage } from "../pictures/limits.ts";
import {
  greatestSeed,
  loraMap,
  loras,
  maxTasks,
  mediaUrl,
  onePrompt,
  prompt,
  seed,
  somePrompt,
} from "./fields.ts";
import type { BuiltTask, Place } from "./generate.ts";
import { runNames } from "./identifiers.ts";
import { present } from "./payload.ts";
import { resolution, resolutionFor } from "./resolution.ts";

export const singleImageInput = z
  .object({
    project_id: uuid,
    prompt: onePrompt.nullish(),
    prompts: z
      .array(somePrompt)
      .min(1)
      .max(maxTasks)
      .nullish()
      .describe("several, each a text or {fullPrompt}; then `prompt` is ignored"),
    images_per_prompt: z.int().min(1).max(16).nullish().describe("1 unless said; at most 100 images in all"),
    negative_prompt: prompt.nullish(),
    resolution: resolution
      .nullish()
      .describe("WIDTHxHEIGHT; default: of the project's aspect ratio, or the shape of `image_url`"),
    model_name: text(200)
      .trim()
      .min(1)
      .nullish()
      .describe("a model of the price list, in any case and with any separators; default: optimised-t2i"),
    image_url: mediaUrl.nullish().describe("a picture to edit, or to start from, for models that do so"),
    strength: z
      .number()
      .min(0)
      .max(1)
      .nullish()
      .describe("how far from `image_url`, from 0 to 1; default: the model's"),
    steps: z.int().min(1).max(200).nullish().describe("default: the model's"),
    guidance_scale: z.number().min(0).max(100).nullish().describe("default: the model's"),
    enable_safety_checker: z.boolean().nullish().describe("default: true"),
    enable_prompt_expansion: z.boolean().nullish().describe("default: the model's"),
    output_format: z.enum(["jpeg", "png", "webp"]).nullish().describe("default: the model's"),
    seed: seed.nullish().describe("of the first image, 11111 unless said; each further one adds 1"),
    loras: loras.nullish(),
    shot_id: uuid.nullish(),
    idempotency_key: idempotencyKey,
  })
  .superRefine((input, context) => {
    if (!input.prompt && !input.prompts) {
      context.addIssue({ code: "custom", path: ["prompt"], message: "is required" });
    }
    if ((input.prompts?.length ?? 1) * (input.images_per_prompt ?? 1) > maxTasks) {
      context.addIssue({
        code: "custom",
        path: ["images_per_prompt"],
        message: "asks for more than 100 images",
      });
    }
  });

export type SingleImageInput = z.output<typeof singleImageInput>;

/**
 * A `single_image` task for each image: prompts × images per prompt, in this order; and what the model does not do of the request.
 * @throws AppError `unsupported_by_model`
 */
export function buildSingleImages(
  input: SingleImageInput,
  place: Place,
): { tasks: BuiltTask[]; meta: { warnings: PictureWarning[] } } {
  const prompts = input.prompts ?? [input.prompt ?? ""];
  const each = input.images_per_prompt ?? 1;
  const model = input.model_name ?? "optimised-t2i";
  const isShapedByImage = Boolean(input.image_url) && !input.resolution;
  const size = isShapedByImage ? undefined : resolutionFor(input.resolution, place.aspect_ratio);
  const additionalLoras = loraMap(input.loras);
  const settings = present({
    resolution: size,
    image_url: input.image_url,
    match_image_size: isShapedByImage || undefined,
    strength: input.strength,
    steps: input.steps,
    guidance_scale: input.guidance_scale,
    enable_safety_checker: input.enable_safety_checker,
    enable_prompt_expansion: input.enable_prompt_expansion,
    output_format: input.output_format,
  });
  const tasks = prompts.flatMap((prompt, row) =>
    Array.from({ length: each }, (_, column) => {
      const { runId, readableId } = runNames("single_image", new Date(), crypto.randomUUID());
      const details = {
        prompt,
        model,
        ...(size && { resolution: size }),
        seed: ((input.seed ?? 11111) + row * each + column) % (greatestSeed + 1),
        negative_prompt: input.negative_prompt ?? "",
        ...(additionalLoras && { additional_loras: additionalLoras }),
      };
      return {
        task_type: "single_image",
        params: {
          orchestrator_details: { run_id: runId, ...details },
          task_id: readableId,
          model,
          prompt,
          ...settings,
          ...(input.shot_id && { shot_id: input.shot_id }),
        },
      };
    }),
  );
  return { tasks, meta: { warnings: warningsOfTask(tasks[0]?.params ?? {}) } };
}

/** All images of a request differ in prompt and seed alone, so what holds for one holds for all. */
function warningsOfTask(params: Record<string, unknown>): PictureWarning[] {
  const plan = planSingleImage(params);
  // The price of the type refuses unknown models, with the list.
  if (!plan) return [];
  if (plan.refusals.length > 0) throw new AppError("unsupported_by_model", { issues: plan.refusals });
  return plan.warnings;
}
