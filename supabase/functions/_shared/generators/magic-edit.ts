import { z } from "zod";
import { editLoraList, editLoras, qwenEditModel } from "./edit-loras.ts";
import { defineFamily, optional, required } from "./family.ts";
import { mediaUrl, onePrompt, prompt, seed } from "./fields.ts";
import { editPassFields, editPassParams, hiresFix } from "./hires.ts";
import { basedOn, lineageFields, lineageNames, lineageParams } from "./lineage.ts";
import { present } from "./payload.ts";
import { resolution, resolutionFor } from "./resolution.ts";
import { seedOfImage } from "./seeds.ts";

const count = z.int().min(1).max(16);
const flag = z.boolean();

export const magicEdit = defineFamily({
  summary: "An image edited as a prompt says, by `qwen_image_edit`.",
  input: z.object({
    prompt: required(onePrompt, "prompt"),
    image_url: required(mediaUrl, "image"),
    negative_prompt: optional(prompt, "none", "negative_prompt"),
    resolution: optional(resolution, "of the project's aspect ratio", "resolution"),
    seed: optional(seed, "random for each image", "seed; each further image adds 1"),
    in_scene: optional(flag, "not said", "in_scene"),
    num_images: optional(count, "1", "how many tasks: each makes one image"),
    numImages: optional(count, "num_images", "the same"),
    output_format: optional(z.enum(["jpeg", "png", "webp"]), "jpeg", "output_format"),
    qwen_edit_model: optional(qwenEditModel, "qwen-edit", "qwen_edit_model"),
    enable_sync_mode: optional(flag, "false", "enable_sync_mode"),
    max_wait_seconds: optional(z.int().min(1).max(3600), "300", "max_wait_seconds"),
    enable_base64_output: optional(flag, "false", "enable_base64_output"),
    loras: optional(editLoras, "none", "loras [{url, strength}]"),
    ...editPassFields,
    hires_fix: hiresFix,
    based_on: basedOn,
    ...lineageFields,
  }),
  names: { ...lineageNames, based_on: "generation" },
  build(request, place) {
    const size = resolutionFor(request.resolution, place.aspect_ratio);
    const tasks = Array.from({ length: request.num_images ?? request.numImages ?? 1 }, (_, index) => ({
      task_type: "qwen_image_edit",
      params: present({
        image: request.image_url,
        prompt: request.prompt,
        negative_prompt: request.negative_prompt || undefined,
        seed: seedOfImage(request.seed, index),
        output_format: request.output_format ?? "jpeg",
        qwen_edit_model: request.qwen_edit_model ?? "qwen-edit",
        resolution: size,
        in_scene: request.in_scene,
        loras: editLoraList(request.loras),
        enable_sync_mode: request.enable_sync_mode ?? false,
        max_wait_seconds: request.max_wait_seconds ?? 300,
        enable_base64_output: request.enable_base64_output ?? false,
        add_in_position: false,
        ...lineageParams(request),
        ...editPassParams(request),
      }),
    }));
    return { tasks, meta: { resolution: size, seeds: tasks.map(({ params }) => params["seed"]) } };
  },
});
