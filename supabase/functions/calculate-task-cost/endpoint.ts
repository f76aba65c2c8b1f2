import { z } from "zod";
import { quotedAmounts } from "../_shared/credits/amount-shapes.ts";
import { costOfTask, quoteTask } from "../_shared/credits/calculate-task-cost.ts";
import { cancelTerms } from "../_shared/credits/price-shapes.ts";
import { AppError } from "../_shared/errors/app-error.ts";
import { familyFields, quoteFamily, readFamily } from "../_shared/generators/family-request.ts";
import { quoteTool } from "../_shared/generators/quote-tool.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { params, taskStatus, text, timestamp, uuid } from "../_shared/http/fields.ts";

const body = z
  .object({
    task_id: uuid.nullish(),
    task_type: text(100).min(1).nullish(),
    tool_id: text(100)
      .min(1)
      .nullish()
      .describe("a tool, a generator, a family or a task type; `params` decide between those of a tool"),
    params: params
      .nullish()
      .describe("what would be sent to create; `input` is another name of it for tool_id"),
    ...familyFields,
    project_id: uuid
      .nullish()
      .describe("of a family or a tool: without it, the size is that of a project without an aspect ratio"),
  })
  .transform((request, context) => ({
    ...request,
    family: request.task_id ? undefined : readFamily(request, context, { needsProject: false }),
  }));

const quote = z.object({
  success: z.literal(true),
  task_type: z.string(),
  ...quotedAmounts,
  exact: z.boolean(),
  billing_type: z.enum(["per_unit", "per_second"]),
  price_version: z.int(),
  cancellation: cancelTerms,
  breakdown: z
    .array(z.record(z.string(), z.unknown()))
    .describe("line by line; the totals add up to the cost"),
});

/** 200 the quote, or the task's cost · 404 unknown task, project, or row that an input names · 422 unknown type, family or tool */
export const calculateTaskCostEndpoint = endpoint({
  name: "calculate-task-cost",
  summary: "Quotes a task that is to be, or tells what one costs or did cost. Charges nothing.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "The price and how it comes about.",
      schema: z.union([
        quote.extend({
          task_id: uuid,
          status: taskStatus,
          final: z.boolean(),
          held_microusd: z
            .int()
            .describe("reserved now; 0 when it has ended, and for a part of an orchestration"),
          charged_with: uuid.nullable().describe("the orchestrator whose charge includes this one"),
        }),
        quote.extend({
          quote_id: uuid
            .nullable()
            .describe("for create-task; null for the service, which is nobody's quote"),
          quote_expires_at: timestamp.nullable(),
          billed: z
            .record(z.string(), z.unknown())
            .describe(
              "what the price depends on, as it was read from params; of an orchestrator, of its children",
            ),
          tool_id: z.string().optional().describe("as it was sent"),
          family: z.string().optional().describe("which creates the same for create-task"),
          generator: z.string().optional().describe("the endpoint that creates the same"),
          warnings: z
            .array(z.object({ code: z.string(), field: z.string(), message: z.string() }))
            .optional()
            .describe("what the quote could not know"),
          task_count: z
            .int()
            .optional()
            .describe(
              "of a family or a generator: how many tasks the costs are of; the quote is for each of them",
            ),
        }),
      ]),
    },
  },
  errors: [
    "insufficient_scope",
    "task_not_found",
    "project_not_found",
    "shot_not_found",
    "generation_not_found",
    "variant_not_found",
    "shot_generation_not_found",
    "unknown_task_type",
    "unpriced_value",
    "contradicting_values",
    "unknown_family",
    "unknown_tool",
    "unclear_task_type",
  ],
  async run({ body, caller, database }) {
    if (body.task_id) return json(200, await costOfTask(database, caller, body.task_id));
    if (body.family) return json(200, await quoteFamily(database, caller, body.family));
    if (body.task_type)
      return json(200, await quoteTask(database, caller, body.task_type, body.params ?? {}));
    if (body.tool_id) {
      const sent = body.params ?? body.input ?? {};
      const request = { tool: body.tool_id, params: sent, projectId: body.project_id ?? undefined };
      return json(200, await quoteTool(database, caller, request));
    }
    const message = "send tool_id or task_type with params, or family, or task_id";
    throw new AppError("invalid_request", { issues: [{ path: "tool_id", message }] });
  },
});
