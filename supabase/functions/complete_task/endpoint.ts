import { Buffer } from "node:buffer";
import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, text, uuid, workerId } from "../_shared/http/fields.ts";
import { completeTaskWithFile, completeTaskWithPath } from "../_shared/tasks/complete-task.ts";

const megabyte = 1024 * 1024;
const storagePath = text(1024).min(1);
const base64 = z.string().min(1);

const body = z.object({
  task_id: uuid,
  worker_id: workerId.nullish(),
  attempt: attempt.nullish(),
  file_data: base64.nullish().describe("base64, without a data: prefix"),
  filename: text(500).min(1).nullish(),
  first_frame_data: base64.nullish(),
  first_frame_filename: text(500).min(1).nullish(),
  storage_path: storagePath.nullish().describe("of a file that was uploaded before; wins over file_data"),
  thumbnail_storage_path: storagePath.nullish(),
});

/** 200 stored, now or before · 400 no usable file · 403 a foreign path · 404 unknown task or file · 409 not this caller's run */
export const completeTaskEndpoint = endpoint({
  name: "complete_task",
  summary: "Ends a run with its output: stores it, makes the generation, settles the charge. Safe to repeat.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  bodyLimit: 40 * megabyte,
  requestsPerMinute: 600,
  limitsRefusedOnly: true,
  answers: {
    200: {
      description: "The task is complete; a repeat by the same worker gets the same answer.",
      schema: z.object({
        success: z.literal(true),
        task_id: uuid,
        public_url: z.string().nullable(),
        thumbnail_url: z.string().nullable(),
        message: z.string(),
        attempt: z.int(),
        generation_id: uuid.nullable(),
        variant_id: uuid.nullable(),
        cost_microusd: z.int(),
        warnings: z.array(z.object({ field: z.string(), message: z.string() })),
      }),
    },
  },
  errors: [
    "invalid_output",
    "insufficient_scope",
    "task_not_found",
    "output_not_found",
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
    if (body.storage_path) {
      const paths = { path: body.storage_path, thumbnailPath: body.thumbnail_storage_path ?? undefined };
      return json(200, await completeTaskWithPath({ database, storage }, caller, run, paths));
    }
    if (!body.file_data || !body.filename) {
      throw new AppError("invalid_request", {
        issues: [{ path: "file_data", message: "send file_data and filename, or storage_path" }],
      });
    }
    if (Boolean(body.first_frame_data) !== Boolean(body.first_frame_filename)) {
      throw new AppError("invalid_request", {
        issues: [{ path: "first_frame_data", message: "goes with first_frame_filename" }],
      });
    }
    const file = { bytes: decoded(body.file_data, "file_data"), filename: body.filename };
    const firstFrame =
      body.first_frame_data && body.first_frame_filename
        ? { bytes: decoded(body.first_frame_data, "first_frame_data"), filename: body.first_frame_filename }
        : undefined;
    return json(200, await completeTaskWithFile({ database, storage }, caller, run, { file, firstFrame }));
  },
});

function decoded(data: string, field: string): Uint8Array {
  if (data.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) {
    throw new AppError("invalid_request", { issues: [{ path: field, message: "is not base64" }] });
  }
  return Buffer.from(data, "base64");
}
