import { z } from "zod";
import { idempotencyKey, text, uuid } from "../http/fields.ts";
import { greatestSeed, loraMap, loras, maxTasks, onePrompt, prompt, seed, somePrompt } from "./fields.ts";
import type { BuiltTask, Place } from "./generate.ts";
import { runNames } from "./identifiers.ts";
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
    resolution: resolution.nullish().describe("WIDTHxHEIGHT; of the project's aspect ratio unless said"),
    model_name: text(200).trim().min(1).nullish().describe("optimised-t2i unless said"),
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

/** A `single_image` task for each image: prompts × images per prompt, in this order. */
export function buildSingleImages(input: SingleImageInput, place: Place): BuiltTask[] {
  const prompts = input.prompts ?? [input.prompt ?? ""];
  const each = input.images_per_prompt ?? 1;
  const model = input.model_name ?? "optimised-t2i";
  const size = resolutionFor(input.resolution, place.aspect_ratio);
  const additionalLoras = loraMap(input.loras);
  return prompts.flatMap((prompt, row) =>
    Array.from({ length: each }, (_, column) => {
      const { runId, readableId } = runNames("single_image", new Date(), crypto.randomUUID());
      const details = {
        prompt,
        model,
        resolution: size,
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
          resolution: size,
          ...(input.shot_id && { shot_id: input.shot_id }),
        },
      };
    }),
  );
}
