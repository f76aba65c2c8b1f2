import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { taskStatus, timestamp, uuid } from "../_shared/http/fields.ts";
import { getTaskStatus } from "../_shared/tasks/get-task-status.ts";

/** 200 where the task is · 404 unknown task */
export const getTaskStatusEndpoint = endpoint({
  name: "get-task-status",
  summary: "Tells where a task is.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({ task_id: uuid }),
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
        lease_expires_at: timestamp.nullable(),
        generation_id: uuid.nullable(),
        created_at: timestamp,
        generation_started_at: timestamp.nullable(),
        generation_processed_at: timestamp.nullable(),
      }),
    },
  },
  errors: ["insufficient_scope", "task_not_found"],
  async run({ body, caller, database }) {
    return json(200, await getTaskStatus(database, caller, body.task_id));
  },
});
