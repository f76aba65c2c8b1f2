import { z } from "zod";
import { timestamp, uuid } from "../http/fields.ts";
import { ledgerEntry } from "./ledger-shapes.ts";

/** What one kind of work came to; of what was written off, the total alone. */
const receiptLine = z.object({
  item: z
    .string()
    .describe("the task type or call, or `written_off`: cost beyond what was held, which is not charged"),
  count: z.int().optional().describe("tasks"),
  quantity: z.number().optional().describe("outputs, seconds, or reuses of an earlier output"),
  unit: z.enum(["output", "second", "reuse"]).optional(),
  price_version: z.int().optional(),
  each_microusd: z.int().optional(),
  factors: z
    .array(z.object({ factor: z.string(), value: z.string().nullable(), multiplier: z.number() }))
    .optional(),
  multiplier: z.number().optional().describe("the product of the factors"),
  reason: z
    .enum(["cancelled", "failed"])
    .optional()
    .describe("of work that was not completed: what a run had consumed when its owner ended it"),
  total_microusd: z.int(),
});

export const receiptFields = z.object({
  receipt_number: z.string(),
  entry: ledgerEntry,
  task_type: z.string().nullable(),
  customer: z
    .object({ id: uuid, name: z.string().nullable(), email: z.string().nullable() })
    .nullable()
    .describe("null when the person is gone"),
  seller: z.array(z.string()).describe("name and address lines, as the operator set them"),
  lines: z.array(receiptLine).describe("they add up to the total"),
  grants_drawn: z
    .array(
      z.object({
        grant_id: z.int(),
        category: z.enum(["promotional", "paid"]),
        amount_microusd: z.int(),
        expires_at: timestamp.nullable(),
      }),
    )
    .describe("which credit it was taken from"),
  provider_cost_microusd: z
    .int()
    .optional()
    .describe("for the service alone: what providers bill the operator for the task and its parts"),
  currency: z.literal("usd"),
  total: z.number().describe("credits (US cents), without a sign"),
  total_microusd: z.int(),
});
