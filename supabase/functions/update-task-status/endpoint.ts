import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, taskStatus, text, timestamp, uuid, workerId } from "../_shared/http/fields.ts";
import { cancellation } from "../_shared/tasks/cancellation-shapes.ts";
import { updateTaskStatus } from "../_shared/tasks/update-task-status.ts";

/** Numbers the jobs of a task. */
const providerStep = z.int().min(0).max(63);
const units = z.number().min(0).max(1_000_000_000).optional();
const billedUnits = z.strictObject({
  images: units,
  megapixels: units,
  seconds: units,
  training_steps: units,
  variant: text(100).optional().describe("what decides the price of a unit, such as 720p"),
});

/** A job at a provider; see docs/workers.md. */
const providerJob = z.object({
  provider: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,49}$/)
    .describe("such as fal"),
  model: z
    .string()
    .regex(/^(?=.{1,200}$)[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)+$/)
    .describe("what runs there"),
  request_id: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/)
    .nullish()
    .describe("the provider's id of the job; left out before it is submitted"),
  webhook_key: uuid
    .nullish()
    .describe(
      "names the job to the provider's webhook; before it is submitted. The same key again is the same intent",
    ),
  step: providerStep.nullish().describe("which job of the task; default: 0"),
  units: billedUnits
    .nullish()
    .describe("what the provider bills for the job, at most; before it is submitted"),
  completes: z
    .boolean()
    .nullish()
    .describe(
      "whether the job's result is the output of the task, so that the provider's webhook may complete the run; default: true",
    ),
});

/** `attempts` and `clear_worker` of older workers are taken and not needed: the server counts and clears. */
const body = z.object({
  task_id: uuid,
  status: taskStatus,
  worker_id: workerId.nullish(),
  attempt: attempt.nullish(),
  output_location: text(65_536)
    .nullish()
    .describe("a URL or text; on a Complete task it replaces the output's"),
  error_details: text(10_000).nullish().describe("why it failed or is requeued"),
  progress: z.number().min(0).max(1).nullish(),
  progress_message: text(500).nullish(),
  reset_generation_started_at: z
    .boolean()
    .nullish()
    .describe("the paid time begins now: the model is loaded"),
  provider_job: providerJob
    .nullish()
    .describe("with `attempt`: the job of this run, which the next run gets; null: there is none any more"),
  ended_provider_steps: z
    .array(providerStep)
    .max(64)
    .nullish()
    .describe("with `attempt`: steps whose job has ended, and that the next run begins again"),
  unbilled_provider_steps: z
    .array(providerStep)
    .max(64)
    .nullish()
    .describe("with `attempt`: steps whose job failed at the provider, which does not bill it"),
  given_back: z
    .boolean()
    .nullish()
    .describe("with Queued: no run failed, so none is counted; the worker stops, or its provider is away"),
  clear_worker: z.boolean().nullish().describe("not needed: requeueing clears it"),
  attempts: z.number().nullish().describe("not needed: the server counts"),
});

/** 200 the task's status now · 403 not for this caller · 404 unknown task · 409 the transition table says no */
export const updateTaskStatusEndpoint = endpoint({
  name: "update-task-status",
  summary:
    "Reports progress, fails, requeues, cancels or retries a task. A user's session may cancel and retry.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:run",
  body,
  requestsPerMinute: 3000,
  answers: {
    200: {
      description: "Done. `status` is where the task is now: a requeue past the last attempt is `Failed`.",
      schema: z.object({
        success: z.literal(true),
        task_id: uuid,
        status: taskStatus,
        previous_status: taskStatus,
        attempt: z.int(),
        attempts: z.int(),
        lease_expires_at: timestamp.nullable(),
        cancellation,
        message: z.string(),
      }),
    },
  },
  errors: [
    "insufficient_credits",
    "account_in_debt",
    "spend_cap_reached",
    "insufficient_scope",
    "task_not_found",
    "invalid_transition",
    "stale_attempt",
    "provider_job_open",
    "sold_below_cost",
    "unpaid_provider_limit",
    "task_cancelled",
    "invalid_dependency",
    "task_limit_reached",
    "invalid_output",
    "output_not_found",
    "output_not_final",
    "output_replaceable",
    "output_replaced",
    "storage_unavailable",
  ],
  async run({ body, caller, database, storage }) {
    for (const path of ["provider_job", "ended_provider_steps", "unbilled_provider_steps"] as const) {
      if (body[path] !== undefined && !body.attempt) {
        throw new AppError("invalid_request", { issues: [{ path, message: "goes with attempt" }] });
      }
    }
    const changes = {
      ...(body.output_location !== undefined && { output_location: body.output_location }),
      error_details: body.error_details ?? undefined,
      progress: body.progress ?? undefined,
      progress_message: body.progress_message ?? undefined,
      reset_generation_started_at: body.reset_generation_started_at ?? undefined,
      ...(body.provider_job !== undefined && { provider_job: body.provider_job }),
      ended_provider_steps: body.ended_provider_steps ?? undefined,
      unbilled_provider_steps: body.unbilled_provider_steps ?? undefined,
      given_back: body.given_back ?? undefined,
    };
    return json(
      200,
      await updateTaskStatus({ database, storage }, caller, {
        taskId: body.task_id,
        status: body.status,
        workerId: body.worker_id ?? undefined,
        attempt: body.attempt ?? undefined,
        changes,
      }),
    );
  },
});
