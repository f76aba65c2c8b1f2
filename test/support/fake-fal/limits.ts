import type { FieldShape } from "./shapes.ts";

interface Limit {
  endpoints: RegExp;
  field: string;
  min: number;
  max: number;
}

/** Ranges that the pages of the models state (`https://fal.ai/models/<endpoint>/llms.txt`) and the client's types do not. */
const limits: readonly Limit[] = [
  { endpoints: /./, field: "num_images", min: 1, max: 4 },
  { endpoints: /^fal-ai\/flux\/(dev|krea|srpo)$/, field: "num_inference_steps", min: 1, max: 50 },
  { endpoints: /^fal-ai\/flux-2(\/|$)/, field: "num_inference_steps", min: 4, max: 50 },
  { endpoints: /^fal-ai\/flux-2(\/|$)/, field: "guidance_scale", min: 0, max: 20 },
  { endpoints: /^fal-ai\/qwen-image/, field: "num_inference_steps", min: 1, max: 50 },
  { endpoints: /^fal-ai\/qwen-image/, field: "guidance_scale", min: 0, max: 20 },
  { endpoints: /^fal-ai\/z-image\/turbo/, field: "num_inference_steps", min: 1, max: 8 },
  { endpoints: /^fal-ai\/ffmpeg-api\/merge-videos$/, field: "target_fps", min: 1, max: 60 },
  { endpoints: /^fal-ai\/esrgan$/, field: "scale", min: 1, max: 8 },
];

/** A field of an endpoint's input with the range that holds for it. */
export function withLimits(endpoint: string, name: string, field: FieldShape): FieldShape {
  const limit = limits.find((one) => one.field === name && one.endpoints.test(endpoint));
  return limit ? { min: limit.min, max: limit.max, ...field } : field;
}
