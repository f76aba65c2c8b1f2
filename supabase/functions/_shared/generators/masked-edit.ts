import { z } from "zod";
import { uuid } from "../http/fields.ts";
import { editLoraList, editLoras, qwenEditModel } from "./edit-loras.ts";
import { defineFamily, optional, required } from "./family.ts";
import { mediaUrl, onePrompt } from "./fields.ts";
import { editPassFields, editPassParams, hiresFix } from "./hires.ts";
import { lineageFields, lineageNames, lineageParams } from "./lineage.ts";
import { present } from "./payload.ts";

export const maskedEdit = defineFamily({
  summary: "An image edited where a mask, or what was drawn on it, says so.",
  input: z.object({
    task_type: optional(
      z.enum(["image_inpaint", "annotated_image_edit"]),
      "image_inpaint",
      "the task type: inpainting, or an edit by annotations",
    ),
    image_url: required(mediaUrl, "image_url"),
    mask_url: required(mediaUrl, "mask_url"),
    prompt: required(onePrompt, "prompt"),
    num_generations: optional(
      z.int().min(1).max(16),
      "1",
      "how many tasks: each makes one image (num_generations 1)",
    ),
    generation_id: optional(uuid, "no origin", "generation_id and based_on"),
    qwen_edit_model: optional(qwenEditModel, "the worker's", "qwen_edit_model"),
    loras: optional(editLoras, "none", "loras [{url, strength}]"),
    ...editPassFields,
    hires_fix: hiresFix,
    ...lineageFields,
  }),
  names: { ...lineageNames, generation_id: "generation" },
  build(request) {
    const tasks = Array.from({ length: request.num_generations ?? 1 }, () => ({
      task_type: request.task_type ?? "image_inpaint",
      params: present({
        image_url: request.image_url,
        mask_url: request.mask_url,
        prompt: request.prompt,
        num_generations: 1,
        generation_id: request.generation_id,
        qwen_edit_model: request.qwen_edit_model,
        loras: editLoraList(request.loras),
        ...lineageParams({ ...request, based_on: request.generation_id }),
        ...editPassParams(request),
      }),
    }));
    return { tasks, meta: {} };
  },
});
