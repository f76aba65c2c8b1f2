import { z } from "zod";
import { timestamp } from "../http/fields.ts";

/** What a cancel costs. */
export const cancelTerms = z.object({
  policy: z.enum(["consumed", "free"]).describe("whether a cancelled run is charged for what it consumed"),
  while_queued_microusd: z.literal(0),
  while_running_at_most_microusd: z.int().optional(),
  now_microusd: z
    .int()
    .optional()
    .describe("of a task: at this moment; nothing if its provider's job is withdrawn before it starts"),
  terms: z.string().describe("the same in words"),
});

/** One version of a task type's price. */
export const priceSummary = z.object({
  task_type: z.string(),
  version: z.int(),
  billing_type: z.enum(["per_unit", "per_second"]),
  unit: z.enum(["output", "second"]),
  price: z.number().describe("credits (US cents) for one unit"),
  price_microusd: z.int(),
  cost_factors: z
    .record(z.string(), z.record(z.string(), z.number()))
    .describe("what params multiply it by; see docs/credits.md"),
  cancellation: cancelTerms,
  blacked_out_policy: z
    .enum(["free", "charged"])
    .describe("whether an output is charged that a provider's safety checker made black"),
  reuse_price: z
    .number()
    .describe("credits for an output that an earlier task made, where a project reuses results"),
  reuse_price_microusd: z.int(),
  valid_from: timestamp,
});
