import { z } from "zod";
import { timestamp } from "../http/fields.ts";

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
  reuse_price: z
    .number()
    .describe("credits for an output that an earlier task made, where a project reuses results"),
  reuse_price_microusd: z.int(),
  valid_from: timestamp,
});
