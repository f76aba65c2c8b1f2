import { z } from "zod";
import { text, uuid } from "../http/fields.ts";
import { optional, type RowKind } from "./family.ts";
import { present } from "./payload.ts";

/** Where the output of an edit belongs. */
export const lineageFields = {
  shot_id: optional(uuid, "no shot", "shot_id"),
  source_variant_id: optional(uuid, "not said", "source_variant_id"),
  create_as_generation: optional(
    z.boolean(),
    "false: a variant of its origin",
    "create_as_generation, if true",
  ),
  tool_type: optional(text(100).min(1), "the task type's", "tool_type"),
};
export const basedOn = optional(uuid, "no origin", "based_on");

export const lineageNames = { shot_id: "shot", source_variant_id: "variant" } as const satisfies Record<
  string,
  RowKind
>;

export function lineageParams(
  input: z.output<z.ZodObject<typeof lineageFields>> & { based_on?: string | null | undefined },
): Record<string, unknown> {
  return present({
    shot_id: input.shot_id,
    based_on: input.based_on,
    source_variant_id: input.source_variant_id,
    create_as_generation: input.create_as_generation || undefined,
    tool_type: input.tool_type,
  });
}
