import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, text, timestamp, uuid, workerId } from "../_shared/http/fields.ts";
import { generateUploadUrl } from "../_shared/media/generate-upload-url.ts";

const body = z.object({
  task_id: uuid,
  filename: text(500).min(1),
  content_type: text(200).min(1),
  generate_thumbnail_url: z.boolean().nullish(),
  worker_id: workerId.nullish(),
  attempt: attempt.nullish(),
});

/** 200 URLs to PUT to · 404 unknown task · 409 not this caller's run */
export const generateUploadUrlEndpoint = endpoint({
  name: "generate-upload-url",
  summary: "Signs URLs that take a running task's output and thumbnail.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  madeSafe: ["filename"],
  requestsPerMinute: 600,
  limitsRefusedOnly: true,
  answers: {
    200: {
      description: "Absolute URLs; a repeated PUT is taken until the task ends.",
      schema: z.object({
        upload_url: z.string(),
        storage_path: z.string(),
        token: z.string(),
        expires_at: timestamp,
        thumbnail_upload_url: z.string().optional(),
        thumbnail_storage_path: z.string().optional(),
        thumbnail_token: z.string().optional(),
      }),
    },
  },
  errors: [
    "insufficient_scope",
    "task_not_found",
    "stale_attempt",
    "task_cancelled",
    "task_not_running",
    "storage_unavailable",
  ],
  async run({ body, caller, database, storage }) {
    const run = {
      taskId: body.task_id,
      workerId: body.worker_id ?? undefined,
      attempt: body.attempt ?? undefined,
    };
    const file = { filename: body.filename, withThumbnail: body.generate_thumbnail_url ?? false };
    return json(200, await generateUploadUrl({ database, storage }, caller, run, file));
  },
});
