import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { withdrawProviderJobs } from "../_shared/providers/withdraw-provider-jobs.ts";

const body = z.object({
  at_most: z.int().min(1).max(100).optional().describe("default: 20"),
});

/** 200 how many were attempted and settled · 503 no key of a provider is set */
export const withdrawProviderJobsEndpoint = endpoint({
  name: "withdraw-provider-jobs",
  summary:
    "Withdraws the jobs at FAL that no task needs any more: what a timer calls where no host does it by itself.",
  callers: ["service"],
  body,
  bodyOptional: true,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "The number of jobs that were tried, and how many of these are settled.",
      schema: z.object({ attempted: z.int(), settled: z.int() }),
    },
  },
  errors: ["provider_not_configured"],
  async run({ body, database, falQueue, log }) {
    return json(200, await withdrawProviderJobs({ database, fal: falQueue, log }, body.at_most ?? 20));
  },
});
