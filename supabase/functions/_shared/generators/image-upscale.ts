import { z } from "zod";
import { uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { mediaUrl } from "./fields.ts";
import { present } from "./payload.ts";

export const imageUpscale = defineFamily({
  summary: "A larger version of an image, by `image_upscale` (`image-upscale` is another spelling of it).",
  input: z.object({
    image_url: required(mediaUrl, "image"),
    scale_factor: optional(z.number().min(1).max(8), "2", "scale_factor, which the price depends on"),
    output_format: optional(z.enum(["jpeg", "png", "webp"]), "jpeg", "output_format"),
    generation_id: optional(uuid, "no generation", "generation_id: shows the larger version from then on"),
  }),
  names: { generation_id: "generation" },
  build(request) {
    const params = present({
      image: request.image_url,
      scale_factor: request.scale_factor ?? 2,
      output_format: request.output_format ?? "jpeg",
      generation_id: request.generation_id,
    });
    return { tasks: [{ task_type: "image_upscale", params }], meta: {} };
  },
});
