import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { taskStatus, timestamp, uuid, waitSeconds } from "../_shared/http/fields.ts";
import { cancellation } from "../_shared/tasks/cancellation-shapes.ts";
import { getTaskStatus } from "../_shared/tasks/get-task-status.ts";

/** 200 where the task is · 404 unknown task */
export const getTaskStatusEndpoint = endpoint({
  name: "get-task-status",
  summary: "Tells where a task is; with `wait_seconds`, as soon as it is elsewhere.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({
    task_id: uuid,
    wait_seconds: waitSeconds.describe(
      "how long to wait for another status; one that has ended is told at once",
    ),
    while_status: z
      .union([taskStatus, z.array(taskStatus).min(1).max(5)])
      .nullish()
      .describe("wait while the task has this status, or one of these; the present one unless said"),
  }),
  requestsPerMinute: 1200,
  answers: {
    200: {
      description: "Status, progress and outcome.",
      schema: z.object({
        task_id: uuid,
        status: taskStatus,
        task_type: z.string(),
        project_id: uuid,
        progress: z.number().nullable(),
        progress_message: z.string().nullable(),
        attempt: z.int(),
        attempts: z.int(),
        worker_id: z.string().nullable(),
        output_location: z.string().nullable(),
        thumbnail_url: z.string().nullable(),
        error_message: z.string().nullable(),
        failed_part: z
          .object({
            task_id: uuid,
            task_type: z.string(),
            index: z.int().nullable(),
            error_message: z.string().nullable(),
          })
          .nullable()
          .describe(
            "of a failed orchestrator: the part that failed, its segment_index or join_index, and why",
          ),
        cancellation,
        blacked_out: z.int().describe("outputs that a provider's safety checker made black"),
        warnings: z.array(z.string()).describe("what the run could not do of what was asked"),
        lease_expires_at: timestamp.nullable(),
        generation_id: uuid.nullable(),
        reused: z.boolean().describe("true when another task's run made the output"),
        reused_task_id: uuid.nullable().describe("that task"),
        created_at: timestamp,
        generation_started_at: timestamp.nullable(),
        generation_processed_at: timestamp.nullable(),
      }),
    },
  },
  errors: ["insufficient_scope", "task_not_found"],
  async run({ body, caller, database, waiting }) {
    const statuses = body.while_status ?? undefined;
    const options = {
      taskId: body.task_id,
      waitSeconds: body.wait_seconds ?? 0,
      whileStatuses: typeof statuses === "string" ? [statuses] : statuses,
    };
    return json(200, await getTaskStatus({ database, waiting }, caller, options));
  },
});
