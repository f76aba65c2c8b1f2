import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text } from "../_shared/http/fields.ts";
import { falRules } from "../_shared/providers/variables.ts";
import { wantedWorkers } from "../_shared/workers/scale.ts";

const count = z.int();

/** From a query these are texts. */
const body = z.object({
  run_type: z.enum(["gpu", "api"]).nullish().describe("only these; both unless said"),
  model: text(200).nullish().describe("only tasks for this model"),
  target_wait_seconds: z.coerce
    .number()
    .int()
    .min(1)
    .max(86_400)
    .default(60)
    .describe("what is claimable should be finished within this time; 60 unless said"),
  min_workers: z.coerce.number().int().min(0).max(10_000).default(0),
  max_workers: z.coerce.number().int().min(0).max(10_000).default(100),
});

/** 200 how many workers are wanted · 403 not the service */
export const scaleEndpoint = endpoint({
  name: "scale",
  summary: "Tells how many workers of which run type and model are wanted now, and why; for autoscalers.",
  methods: ["GET", "POST"],
  callers: ["service"],
  body,
  bodyOptional: true,
  requestsPerMinute: 600,
  answers: {
    200: {
      description:
        "`value` is what KEDA's metrics-api scaler reads. Parameters may be sent as a query by GET.",
      schema: z.object({
        value: count.describe("the same as `wanted_workers`"),
        wanted_workers: count,
        unbounded: count.describe("before `min_workers` and `max_workers`"),
        target_wait_seconds: count,
        min_workers: count,
        max_workers: count,
        reason: z.enum(["work", "min_workers", "max_workers"]),
        fal: z
          .object({
            runs: z.enum(falRules).describe("which tasks FAL takes of those that own workers could run"),
            is_active: z.boolean(),
            left: count.describe("ready tasks that are left to FAL: no worker is wanted for them"),
            running: count.describe("tasks that run at FAL"),
          })
          .describe("what FAL has to do with it"),
        by_run_type: z.array(
          z.object({
            run_type: z.enum(["gpu", "api"]),
            wanted: count,
            busy: count.describe("tasks that run"),
            claimable: count.describe("tasks that could be claimed now, slots considered"),
            ready: count.describe("tasks that are ready, beyond their owners' slots too"),
            models: z.array(
              z.object({
                model: z.string().describe("empty: the tasks name none"),
                wanted: count,
                running: count,
                claimable: count,
                ready: count,
                oldest_wait_seconds: z.number().nullable(),
                mean_run_seconds: z.number().nullable(),
                expected_work_seconds: z.number().nullable(),
                reason: z.string(),
              }),
            ),
          }),
        ),
      }),
    },
  },
  errors: [],
  async run({ body, database }) {
    return json(
      200,
      await wantedWorkers(database, {
        runType: body.run_type ?? undefined,
        model: body.model ?? undefined,
        targetWaitSeconds: body.target_wait_seconds,
        minWorkers: body.min_workers,
        maxWorkers: body.max_workers,
      }),
    );
  },
});
