import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { pageCursor, pageLimit, params, taskStatus, timestamp, uuid } from "../_shared/http/fields.ts";
import { getOrchestratorChildren } from "../_shared/tasks/get-orchestrator-children.ts";

/** 200 the children, oldest first · 404 unknown orchestrator */
export const getOrchestratorChildrenEndpoint = endpoint({
  name: "get-orchestrator-children",
  summary: "Lists the tasks that belong to an orchestrator, oldest first.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body: z.object({ orchestrator_task_id: uuid, limit: pageLimit, cursor: pageCursor }),
  requestsPerMinute: 1200,
  answers: {
    200: {
      description: "A page of children; a page whose params pass 64 MB ends early.",
      schema: z.object({
        tasks: z.array(
          z.object({
            id: uuid,
            task_type: z.string(),
            status: taskStatus,
            params,
            output_location: z.string().nullable(),
            dependant_on: z.array(uuid).nullable(),
            error_message: z.string().nullable(),
            created_at: timestamp,
          }),
        ),
        limit: z.int(),
        next_cursor: z.string().nullable().describe("send as `cursor` for the next page; null on the last"),
      }),
    },
  },
  errors: ["insufficient_scope", "task_not_found"],
  async run({ body, caller, database }) {
    const { orchestrator_task_id: orchestratorId, limit, cursor } = body;
    return json(200, await getOrchestratorChildren(database, caller, { orchestratorId, limit, cursor }));
  },
});
