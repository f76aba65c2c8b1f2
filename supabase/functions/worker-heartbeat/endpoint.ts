import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, text, timestamp, uuid, workerId } from "../_shared/http/fields.ts";
import { workerHeartbeat, workerProviders, workerStatuses } from "../_shared/workers/worker-heartbeat.ts";

const megabytes = z.number().min(0).max(1e9).nullish();

const body = z.object({
  worker_id: workerId,
  status: z
    .enum(workerStatuses)
    .nullish()
    .describe("active unless said; crashed, error and terminated give the worker's tasks back at once"),
  current_model: text(200)
    .trim()
    .nullish()
    .describe("the model it has loaded; null or an empty text forgets it"),
  vram_total_mb: megabytes,
  vram_used_mb: megabytes,
  tasks: z
    .array(z.object({ task_id: uuid, attempt: attempt.nullish() }))
    .max(50)
    .nullish()
    .describe("the runs it believes it has: these leases are extended; left out, those of all its tasks"),
  logs: z
    .array(z.unknown())
    .max(100)
    .nullish()
    .describe("lines {timestamp, level, message, task_id?, metadata?}; odd ones are mended or dropped"),
  provider: z
    .enum(workerProviders)
    .nullish()
    .describe("what runs its tasks, where that is not the machine itself"),
  metadata: z
    .record(z.string(), z.unknown())
    .refine((value) => JSON.stringify(value).length <= 8192, "must be at most 8192 characters of JSON")
    .nullish()
    .describe("whatever else there is to know of the machine; replaces what it reported before"),
});

/** 200 noted, and what became of each run · 403 a user's session, or no scope */
export const workerHeartbeatEndpoint = endpoint({
  name: "worker-heartbeat",
  summary: "A worker's sign of life: keeps its running tasks with it and tells which of its runs are over.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  // Lines that cannot be kept are dropped or cleaned: a sign of life is worth more than a log.
  madeSafe: ["logs"],
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "Noted; an unknown worker was registered.",
      schema: z.object({
        success: z.literal(true),
        worker_id: z.string(),
        status: z.enum(workerStatuses).describe("an operator's error, terminating or terminated stays"),
        current_model: z.string().nullable(),
        last_heartbeat: timestamp,
        lease_seconds: z.number().describe("how long its tasks stay with it without another word"),
        tasks: z.array(
          z.object({
            task_id: uuid,
            state: z
              .enum(["running", "cancelled", "stale", "ended", "unknown"])
              .describe("stop working on whatever is not running"),
            attempt: z.int().nullable().describe("the task's latest run"),
            lease_expires_at: timestamp.nullable(),
          }),
        ),
        logs_inserted: z.int(),
        logs_dropped: z.int(),
      }),
    },
  },
  errors: ["insufficient_scope"],
  async run({ body, caller, database }) {
    const { worker_id, logs, current_model, tasks, ...report } = body;
    return json(
      200,
      await workerHeartbeat(database, caller, {
        workerId: worker_id,
        report: {
          status: report.status ?? undefined,
          current_model,
          vram_total_mb: report.vram_total_mb ?? undefined,
          vram_used_mb: report.vram_used_mb ?? undefined,
          tasks: tasks?.map((run) => ({ task_id: run.task_id, attempt: run.attempt ?? undefined })),
          metadata: report.metadata ?? undefined,
          provider: report.provider ?? undefined,
        },
        logs: logs ?? undefined,
      }),
    );
  },
});
