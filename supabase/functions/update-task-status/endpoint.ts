import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, taskStatus, text, timestamp, uuid, workerId } from "../_shared/http/fields.ts";
import { cancellation } from "../_shared/tasks/cancellation-shapes.ts";
import { updateTaskStatus } from "../_shared/tasks/update-task-status.ts";

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
  webhook_key: uuid.nullish().describe("names the job to the provider's webhook; before it is submitted"),
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
    if (body.provider_job !== undefined && !body.attempt) {
      throw new AppError("invalid_request", {
        issues: [{ path: "provider_job", message: "goes with attempt" }],
      });
    }
    const changes = {
      ...(body.output_location !== undefined && { output_location: body.output_location }),
      error_details: body.error_details ?? undefined,
      progress: body.progress ?? undefined,
      progress_message: body.progress_message ?? undefined,
      reset_generation_started_at: body.reset_generation_started_at ?? undefined,
      ...(body.provider_job !== undefined && { provider_job: body.provider_job }),
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
