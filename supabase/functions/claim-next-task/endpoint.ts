import { z } from "zod";
import { endpoint, json, noContent } from "../_shared/http/endpoint.ts";
import { billedValues } from "../_shared/tasks/billed-values.ts";
import { params, text, timestamp, uuid, waitSeconds, workerId } from "../_shared/http/fields.ts";
import { claimNextTask } from "../_shared/tasks/claim-next-task.ts";
import { workerProviders } from "../_shared/workers/worker-heartbeat.ts";
import { falRules, longestFalWait } from "../_shared/providers/variables.ts";

const body = z.object({
  worker_id: workerId.nullish().describe("the worker's name; an unknown one is registered"),
  run_type: z.enum(["gpu", "api"]).nullish().describe("any unless said"),
  task_types: z.array(text(100)).min(1).max(100).nullish().describe("only these"),
  models: z.array(text(200)).min(1).max(100).nullish().describe("only tasks for these models"),
  same_model_only: z.boolean().nullish().describe("only tasks for the model that the worker has loaded"),
  max_tasks: z.int().min(1).max(50).nullish().describe("up to so many at once; 1 unless said"),
  wait_seconds: waitSeconds.describe("how long to wait for a task when there is none"),
  provider: z
    .enum(workerProviders)
    .nullish()
    .describe(
      "what runs the tasks, where that is not the worker itself: it gets only what is left to it (docs/workers.md)",
    ),
  fal_runs: z
    .enum(falRules)
    .nullish()
    .describe(
      "with the provider fal: its rule, which the service sets for all; left out, the rule that is set",
    ),
  fal_after_seconds: z
    .int()
    .min(0)
    .max(longestFalWait)
    .nullish()
    .describe("with the provider fal: how long a task waits for an own worker first"),
  debug: z.boolean().nullish().describe("explain an empty claim, in numbers of queued tasks"),
});

const providerJob = z.object({
  provider: z.string(),
  model: z.string(),
  request_id: z.string().nullable(),
  began_at: timestamp,
});

const claimed = z.object({
  task_id: uuid,
  params: params.describe("what the client sent; whatever the price depends on is what is billed"),
  billed: billedValues,
  task_type: z.string(),
  project_id: uuid,
  attempt: z.int().describe("names this run in later calls"),
  attempts: z.int().describe("earlier runs that failed"),
  lease_expires_at: timestamp,
  provider_jobs: z
    .array(
      providerJob.extend({
        step: z.int(),
        webhook_key: uuid.optional().describe("where it is not known whether the job was submitted"),
      }),
    )
    .optional()
    .describe("the jobs that earlier runs began and that may still run, or have ended well: go on with them"),
  provider_job: providerJob.optional().describe("the same of step 0, for workers that have one job a task"),
});

/** 200 the task · 204 nothing to do · 401 unknown caller · 403 a user's session, or no scope */
export const claimNextTaskEndpoint = endpoint({
  name: "claim-next-task",
  summary: "Gives a worker the next task: of anybody's to the service, of its owner's to an access token.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  bodyOptional: true,
  requestsPerMinute: 1200,
  answers: {
    200: {
      description: "The task, now in progress with this worker; with `debug`, why there is none.",
      schema: z.union([
        claimed,
        z.object({ tasks: z.array(claimed).describe("the answer where `max_tasks` is more than 1") }),
        z.object({ debug: z.record(z.string(), z.int()) }),
      ]),
    },
    204: { description: "There is nothing to do; with `wait_seconds`, nothing came up meanwhile." },
  },
  errors: ["insufficient_scope"],
  async run({ body, caller, database, waiting, log }) {
    const options = {
      workerId: body.worker_id ?? undefined,
      runType: body.run_type ?? undefined,
      taskTypes: body.task_types ?? undefined,
      models: body.models ?? undefined,
      sameModelOnly: body.same_model_only ?? false,
      maxTasks: body.max_tasks ?? undefined,
      waitSeconds: body.wait_seconds ?? 0,
      debug: body.debug ?? false,
      provider: body.provider ?? undefined,
      falRuns: body.fal_runs ?? undefined,
      falAfterSeconds: body.fal_after_seconds ?? undefined,
    };
    const answer = await claimNextTask({ database, waiting, log }, caller, options);
    return answer ? json(200, answer) : noContent();
  },
});
