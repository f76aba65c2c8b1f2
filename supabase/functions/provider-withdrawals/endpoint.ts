import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, uuid } from "../_shared/http/fields.ts";
import { exchangeProviderWithdrawals } from "../_shared/providers/withdraw-provider-jobs.ts";

const requestId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/);

const body = z.object({
  provider: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,49}$/)
    .describe("such as fal"),
  submitted: z
    .object({ task_id: uuid, attempt, step: z.int().min(0).max(63).optional(), request_id: requestId })
    .nullish()
    .describe("a job that the run submitted while its task ended; from now on it can be withdrawn"),
  reports: z
    .array(z.object({ withdrawal_id: uuid, outcome: z.enum(["withdrawn", "ran", "failed", "retry"]) }))
    .max(20)
    .nullish()
    .describe(
      "what became of jobs: `withdrawn` before they began, `ran`, `failed` at the provider; `retry`: the provider did not say",
    ),
  at_most: z.int().min(0).max(20).nullish().describe("how many jobs are asked for; default: 0"),
});

/** 200 what is to be withdrawn */
export const providerWithdrawalsEndpoint = endpoint({
  name: "provider-withdrawals",
  summary:
    "For workers that run tasks at a provider: which jobs are to be withdrawn there, and what became of them. A job is given to one worker at a time.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "The next jobs, each for one minute.",
      schema: z.object({
        noted: z.boolean().describe("whether the submitted job waits to be withdrawn"),
        settled: z.int().describe("how many of the reports settled a withdrawal"),
        withdrawals: z.array(
          z.object({
            withdrawal_id: uuid,
            task_id: uuid,
            model: z.string(),
            request_id: z.string(),
            tries: z.int(),
          }),
        ),
      }),
    },
  },
  errors: ["insufficient_scope"],
  async run({ body, caller, database }) {
    const { provider, submitted, reports, at_most } = body;
    return json(
      200,
      await exchangeProviderWithdrawals(database, caller, {
        provider,
        submitted: submitted ?? undefined,
        reports: reports ?? undefined,
        at_most: at_most ?? undefined,
      }),
    );
  },
});
