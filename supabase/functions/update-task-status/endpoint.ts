import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, taskStatus, text, timestamp, uuid, workerId } from "../_shared/http/fields.ts";
import { updateTaskStatus } from "../_shared/tasks/update-task-status.ts";

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
    "task_cancelled",
    "invalid_dependency",
  ],
  async run({ body, caller, database }) {
    const changes = {
      ...(body.output_location !== undefined && { output_location: body.output_location }),
      error_details: body.error_details ?? undefined,
      progress: body.progress ?? undefined,
      progress_message: body.progress_message ?? undefined,
      reset_generation_started_at: body.reset_generation_started_at ?? undefined,
    };
    return json(
      200,
      await updateTaskStatus(database, caller, {
        taskId: body.task_id,
        status: body.status,
        workerId: body.worker_id ?? undefined,
        attempt: body.attempt ?? undefined,
        changes,
      }),
    );
  },
});
