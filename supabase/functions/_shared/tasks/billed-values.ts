import { z } from "zod";

/** What of a task's params its price depends on, as it was read at creation: docs/credits.md. */
export const billedValues = z
  .object({
    images: z.int().optional().describe("outputs that are paid; of every price by the unit"),
    frames: z.int().optional(),
    gap_frames: z.int().optional().describe("of a join: frames between its clips"),
    context_frames: z.int().optional().describe("of a join: frames of each of its clips"),
    seconds: z.int().optional(),
    megapixels: z.int().optional().describe("of one image, begun ones"),
    scale: z.number().optional(),
    resolution: z.string().optional(),
    model: z.string().optional(),
    model_type: z.string().optional(),
  })
  .describe("what the price depends on, as it was read from params");
