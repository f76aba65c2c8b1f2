import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { timestamp, uuid } from "../_shared/http/fields.ts";
import { countTasks } from "../_shared/tasks/task-counts.ts";

const count = z.int();

/**
 * `include_active` and `debug` of older clients change no answer: all numbers are always there. Shipped API workers send `include_active`
 * false with the run type `api`; it shows that one is active (docs/workers.md).
 */
const body = z.object({
  run_type: z.enum(["gpu", "api"]).nullish().describe("only these; both unless said"),
  include_active: z.boolean().nullish(),
  debug: z.boolean().nullish(),
});

const queuedTask = z.object({ task_id: uuid, task_type: z.string(), user_id: uuid, created_at: timestamp });

/** 200 the counts · 401 unknown caller · 403 a user's session, or no scope */
export const taskCountsEndpoint = endpoint({
  name: "task-counts",
  summary: "Counts what waits and what runs: of everybody for the service, of its owner for an access token.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  bodyOptional: true,
  requestsPerMinute: 1200,
  answers: {
    200: {
      description:
        "Numbers of tasks; `queued_only` is what such a caller could claim now, slots considered. Lists hold up to " +
        "100 tasks, and users who have work. The service gets `users`, a token `user_info` and `debug_summary`.",
      schema: z.object({
        mode: z.literal("count"),
        timestamp,
        run_type_filter: z.string().nullable(),
        totals: z.object({
          queued_only: count.describe("could be claimed at once, and are not left to FAL"),
          left_to_fal: count.describe("could be claimed at once, and are left to FAL"),
          active_only: count.describe("run; not those that are left to FAL and run there"),
          queued_plus_active: count,
          eligible_queued: count.describe("ready, whether or not there is a slot for them"),
          blocked_by_capacity: count.describe("ready, but without a slot"),
          blocked_by_deps: count.describe("wait for other tasks"),
          blocked_by_schedule: count.describe("wait for their time"),
          blocked_by_settings: count.describe("ready, but their owner turned this kind of worker off"),
          potentially_claimable: count.describe("`queued_only` and `blocked_by_capacity`"),
        }),
        queued_plus_active: count,
        available_tasks: count,
        queued_tasks: z.array(queuedTask),
        active_tasks: z.array(
          z.object({
            task_id: uuid,
            task_type: z.string(),
            worker_id: z.string(),
            user_id: uuid,
            started_at: timestamp,
          }),
        ),
        users: z
          .array(
            z.object({
              user_id: uuid,
              credits: z.number(),
              queued_tasks: count,
              in_progress_tasks: count,
              allows_cloud: z.boolean(),
              at_limit: z.boolean(),
            }),
          )
          .optional(),
        user_id: uuid.optional(),
        user_info: z
          .object({
            credits: z.number(),
            allows_local: z.boolean(),
            allows_cloud: z.boolean(),
            settings: z.record(z.string(), z.unknown()),
          })
          .optional(),
        debug_summary: z
          .object({ at_capacity: z.boolean(), capacity_used_pct: z.number(), can_claim_more: z.boolean() })
          .optional(),
      }),
    },
  },
  errors: ["insufficient_scope"],
  async run({ body, caller, database }) {
    const isApiWorker = body.run_type === "api" && body.include_active === false;
    return json(
      200,
      await countTasks(database, caller, { runType: body.run_type ?? undefined, isApiWorker }),
    );
  },
});
