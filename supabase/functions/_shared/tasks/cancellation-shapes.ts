import { z } from "zod";

/** What became of the cost of a run that its owner ended. */
export const cancellation = z
  .object({
    state: z
      .enum(["charged", "withdrawing", "withdrawn", "ran", "failed", "unanswered", "unknown"])
      .describe(
        "`withdrawing`: whether the provider's job had begun is being found out, for ten minutes at most; then what came of it",
      ),
    basis: z.enum(["seconds", "provider_job"]).describe("what was consumed"),
    cost_microusd: z.int(),
  })
  .nullable()
  .describe(
    "of a run that its owner ended: what it costs, and why; null where it costs nothing from the beginning",
  );
