import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { params, taskStatus, uuid } from "../_shared/http/fields.ts";
import { getTaskOutput } from "../_shared/tasks/get-task-output.ts";

/** 200 what the task made, if anything · 404 unknown task */
export const getTaskOutputEndpoint = endpoint({
  name: "get-task-output",
  summary: "Gives a task's output, and what it was made from.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({ task_id: uuid }),
  requestsPerMinute: 1200,
  answers: {
    200: {
      description: "The task, finished or not; archived ones too.",
      schema: z.object({
        task_id: uuid,
        project_id: uuid,
        status: taskStatus,
        output_location: z
          .string()
          .nullable()
          .describe("an output only when the status is Complete; before, progress text or an error"),
        warnings: z.array(z.string()).describe("what the run could not do of what was asked"),
        params: params.describe("as a worker gets them: whatever the price depends on is what is billed"),
        dependant_on: z.array(uuid).nullable(),
      }),
    },
  },
  errors: ["insufficient_scope", "task_not_found"],
  async run({ body, caller, database }) {
    return json(200, await getTaskOutput(database, caller, body.task_id));
  },
});
