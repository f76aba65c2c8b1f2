import { z } from "zod";
import { text } from "../http/fields.ts";
import { mediaUrl } from "./fields.ts";

/** A strength, or one for each step of the phase. */
const multiplier = z.union([
  text(200)
    .trim()
    .regex(/^-?\d{1,3}(\.\d{1,6})?(,-?\d{1,3}(\.\d{1,6})?)*$/, 'must be "1.2", or "0.5,1" for single steps'),
  z.number().min(-100).max(100).transform(String),
]);

/** How the steps of a video model are shared out; the lists have an entry for each phase. */
export const phaseConfig = z
  .object({
    num_phases: z.int().min(2).max(3),
    steps_per_phase: z.array(z.int().min(1).max(100)).max(3),
    flow_shift: z.number().min(0).max(100),
    sample_solver: text(50).min(1),
    model_switch_phase: z.int().min(1).max(3),
    phases: z
      .array(
        z.object({
          phase: z.int().min(1).max(3),
          guidance_scale: z.number().min(0).max(100),
          loras: z.array(z.object({ url: mediaUrl, multiplier })).max(20),
        }),
      )
      .max(3),
    mode: z.enum(["i2v", "vace"]).optional(),
  })
  .superRefine((config, context) => {
    for (const list of ["steps_per_phase", "phases"] as const) {
      if (config[list].length === config.num_phases) continue;
      const message = `has ${config[list].length} entries for ${config.num_phases} phases`;
      context.addIssue({ code: "custom", path: [list], message });
    }
  });

export type PhaseConfig = z.output<typeof phaseConfig>;

const baseline = "wan_2_2_i2v_lightning_baseline";

/** The model that travels use unless another is named: by phases where these are the user's own. */
export function travelModel(input: {
  model_name?: string | null | undefined;
  advanced_mode?: boolean | null | undefined;
  phase_config?: PhaseConfig | null | undefined;
}): string {
  if (input.model_name) return input.model_name;
  const hasTwoPhases = input.advanced_mode && input.phase_config?.num_phases === 2;
  return `${baseline}_${hasTwoPhases ? "3_3" : "2_2_2"}`;
}
