import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { taskStatus, uuid } from "../_shared/http/fields.ts";
import { getPredecessorOutput } from "../_shared/tasks/get-predecessor-output.ts";

const predecessorStatus = z.union([taskStatus, z.literal("not_found")]);

/** 200 the outputs of what the task depends on, as far as they are there · 404 unknown task */
export const getPredecessorOutputEndpoint = endpoint({
  name: "get-predecessor-output",
  summary: "Gives the outputs of the tasks that a task depends on.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({ task_id: uuid }),
  requestsPerMinute: 1200,
  answers: {
    200: {
      description: "The predecessors in the order of `dependant_on`.",
      schema: z.object({
        predecessor_id: uuid.nullable().describe("the first; null for a task that depends on none"),
        output_location: z.string().nullable().describe("the first one's, once all are complete"),
        status: predecessorStatus
          .nullable()
          .describe("Complete once all are; else that of the first which is not"),
        all_complete: z.boolean(),
        predecessors: z.array(
          z.object({
            predecessor_id: uuid,
            status: predecessorStatus,
            output_location: z.string().nullable().describe("null until it is complete"),
          }),
        ),
      }),
    },
  },
  errors: ["insufficient_scope", "task_not_found"],
  async run({ body, caller, database }) {
    return json(200, await getPredecessorOutput(database, caller, body.task_id));
  },
});
