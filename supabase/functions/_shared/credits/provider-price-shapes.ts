import { z } from "zod";
import { timestamp } from "../http/fields.ts";

const microusd = z.int().min(0).max(1_000_000_000);

export const providerUnit = z
  .enum(["job", "image", "megapixel", "second", "training_step"])
  .describe("what the provider counts; `job`: each job costs the same");

/** What a provider bills, as an operator publishes it. */
export const providerPrice = {
  provider: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,49}$/)
    .describe("such as fal"),
  model: z
    .string()
    .regex(/^(?=.{1,200}$)[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)+$/)
    .describe("the provider's endpoint"),
  unit: providerUnit,
  price_microusd: microusd.describe("of one unit"),
};

/** One version of what a provider bills for a model. */
export const providerPriceSummary = z.object({
  ...providerPrice,
  version: z.int(),
  variant_prices: z
    .record(z.string(), z.int())
    .describe("of one unit by variant; a job of another variant costs the highest price of all"),
  minimum_units: z.number().describe("a job counts at least so many units"),
  job_fee_microusd: z.int().describe("of each job, beside its units"),
  note: z.string().nullable(),
  source_url: z.string().nullable(),
  valid_from: timestamp,
  published_by: z.string(),
  reason: z.string(),
});
