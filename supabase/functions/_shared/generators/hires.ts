import { z } from "zod";
import { optional } from "./family.ts";
import { present } from "./payload.ts";

const loraStrength = z.number().min(0).max(2);

/** A second pass at a larger size, and how strongly the model's fast LoRA counts in each. */
export const hiresFields = {
  hires_scale: optional(z.number().min(1).max(4), "no second pass", "hires_scale"),
  hires_steps: optional(z.int().min(1).max(100), "the worker's", "hires_steps"),
  hires_denoise: optional(z.number().min(0).max(1), "the worker's", "hires_denoise"),
  lightning_lora_strength_phase_1: optional(loraStrength, "the worker's", "lightning_lora_strength_phase_1"),
  lightning_lora_strength_phase_2: optional(loraStrength, "the worker's", "lightning_lora_strength_phase_2"),
};

/** The same of edits, where browsers send them as one object, with the steps. */
export const editPassFields = {
  num_inference_steps: optional(z.int().min(1).max(100), "the worker's", "num_inference_steps"),
  ...hiresFields,
};
export const hiresFix = optional(
  z.object(editPassFields),
  "nothing; its fields count before those of the same name",
  "the keys of the same names",
);

export function hiresParams(input: z.output<z.ZodObject<typeof hiresFields>>): Record<string, unknown> {
  return present({
    hires_scale: input.hires_scale,
    hires_steps: input.hires_steps,
    hires_denoise: input.hires_denoise,
    lightning_lora_strength_phase_1: input.lightning_lora_strength_phase_1,
    lightning_lora_strength_phase_2: input.lightning_lora_strength_phase_2,
  });
}

type EditPass = z.output<z.ZodObject<typeof editPassFields>>;

export function editPassParams({
  hires_fix,
  ...input
}: EditPass & { hires_fix?: EditPass | null | undefined }): Record<string, unknown> {
  const [own, nested] = [input, hires_fix ?? {}].map((given) => ({
    ...present({ num_inference_steps: given.num_inference_steps }),
    ...hiresParams(given as EditPass),
  }));
  return { ...own, ...nested };
}
