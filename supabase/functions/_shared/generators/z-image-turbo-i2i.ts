import { z } from "zod";
import { defineFamily, optional, required } from "./family.ts";
import { greatestSeed, loras, mediaUrl, prompt, seed } from "./fields.ts";
import { basedOn, lineageFields, lineageNames, lineageParams } from "./lineage.ts";
import { present } from "./payload.ts";

const count = z.int().min(1).max(4);

export const zImageTurboI2i = defineFamily({
  summary: "An image made anew from an image, by `z_image_turbo_i2i`.",
  input: z.object({
    image_url: required(mediaUrl, "image_url"),
    prompt: optional(prompt, "empty", "prompt"),
    strength: optional(z.number().min(0).max(1), "0.6", "strength: how far from the image"),
    enable_prompt_expansion: optional(z.boolean(), "false", "enable_prompt_expansion"),
    num_images: optional(count, "1", "how many tasks: each makes one image"),
    numImages: optional(count, "num_images", "the same"),
    seed: optional(seed, "the worker's", "seed; each further image adds 1"),
    loras: optional(loras, "none", "loras [{path, scale}], and then acceleration none instead of high"),
    based_on: basedOn,
    ...lineageFields,
  }),
  names: { ...lineageNames, based_on: "generation" },
  build(request) {
    const seeds = Array.from({ length: request.num_images ?? request.numImages ?? 1 }, (_, index) =>
      request.seed === null || request.seed === undefined
        ? undefined
        : (request.seed + index) % (greatestSeed + 1),
    );
    const hasLoras = Boolean(request.loras?.length);
    const tasks = seeds.map((seed) => ({
      task_type: "z_image_turbo_i2i",
      params: present({
        image_url: request.image_url,
        prompt: request.prompt ?? "",
        strength: request.strength ?? 0.6,
        enable_prompt_expansion: request.enable_prompt_expansion ?? false,
        num_images: 1,
        image_size: "auto",
        num_inference_steps: 8,
        output_format: "png",
        enable_safety_checker: true,
        seed,
        loras: hasLoras ? request.loras?.map(({ path, strength }) => ({ path, scale: strength })) : undefined,
        acceleration: hasLoras ? "none" : "high",
        add_in_position: false,
        ...lineageParams(request),
      }),
    }));
    return { tasks, meta: {} };
  },
});
