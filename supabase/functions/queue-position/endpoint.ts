import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { taskStatus, timestamp, uuid } from "../_shared/http/fields.ts";
import { queuePosition } from "../_shared/tasks/queue-position.ts";

/** 200 where it stands · 404 unknown task */
export const queuePositionEndpoint = endpoint({
  name: "queue-position",
  summary: "Tells where a queued task stands and when it may start, as far as that is known.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({ task_id: uuid }),
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "The place, and an estimate from the workers there are and the run times seen so far.",
      schema: z.object({
        task_id: uuid,
        status: taskStatus,
        position: z.int().nullable().describe("among its owner's tasks that may run; 1 is next"),
        position_is_bound: z.boolean().describe("true when only this many were counted"),
        tasks_ahead: z.int().nullable().describe("likely served before it, other users' in turns included"),
        estimated_start_seconds: z
          .object({
            p50: z.number().describe("at even odds"),
            p90: z.number().describe("nine times in ten"),
          })
          .nullable()
          .describe("null when it is not known; then `reason` says why"),
        waits_for: z
          .enum(["worker", "fal", "worker_or_fal"])
          .nullable()
          .describe("what may take it: a worker, FAL, or either; null when it does not wait"),
        fal_takes_it_in_seconds: z
          .number()
          .nullable()
          .describe("when FAL may take it, if no worker has by then; 0 is now, null never"),
        reason: z
          .enum([
            "running",
            "ended",
            "shares_run",
            "blocked_by_dependency",
            "scheduled",
            "generation_is_off",
            "local_off",
            "left_to_fal",
            "no_workers",
            "no_run_times_yet",
            "at_capacity",
          ])
          .nullable(),
        run_after: timestamp.nullable(),
        based_on: z
          .object({
            busy_workers: z.int(),
            idle_workers: z.int(),
            free_slots: z.int(),
            run_time_samples: z.int(),
            run_time_p50_seconds: z.number().nullable(),
            run_time_p90_seconds: z.number().nullable(),
          })
          .nullable(),
      }),
    },
  },
  errors: ["insufficient_scope", "task_not_found"],
  async run({ body, caller, database }) {
    return json(200, await queuePosition(database, caller, body.task_id));
  },
});
