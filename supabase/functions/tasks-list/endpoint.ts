import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { pageCursor, pageLimit, taskStatus, text, uuid } from "../_shared/http/fields.ts";
import { taskRow } from "../_shared/tasks/task-row.ts";
import { tasksList } from "../_shared/tasks/tasks-list.ts";

const body = z
  .object({
    project_id: uuid.nullish().describe("required, under this or the next name"),
    projectId: uuid.nullish(),
    status: z
      .union([taskStatus.transform((status) => [status]), z.array(taskStatus).max(10)])
      .nullish()
      .describe("of these alone; of all when it is left out or empty"),
    task_types: z.array(text(100)).max(100).nullish(),
    orchestrator_task_id: uuid.nullish().describe("children of this orchestrator alone"),
    limit: pageLimit,
    cursor: pageCursor,
  })
  .superRefine((request, context) => {
    if (request.project_id || request.projectId) return;
    context.addIssue({ code: "custom", path: ["project_id"], message: "is required" });
  });

/** 200 a page of the project's tasks, newest first · 404 foreign project */
export const tasksListEndpoint = endpoint({
  name: "tasks-list",
  summary: "Lists a project's tasks, newest first, archived ones too.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body,
  requestsPerMinute: 600,
  answers: {
    200: {
      description:
        "A page of whole rows; one whose params pass 16 MB ends early. " +
        "A bare list when neither `limit` nor `cursor` is sent: then the next page's cursor is in the header " +
        "`x-next-cursor`, which is missing on the last page.",
      schema: z.union([
        z.object({
          tasks: z.array(taskRow),
          limit: z.int(),
          next_cursor: z.string().nullable().describe("send as `cursor` for the next page; null on the last"),
        }),
        z.array(taskRow),
      ]),
    },
  },
  errors: ["insufficient_scope", "project_not_found"],
  async run({ body, caller, database }) {
    const page = await tasksList(database, caller, {
      projectId: body.project_id ?? body.projectId ?? "",
      statuses: body.status,
      taskTypes: body.task_types,
      orchestratorId: body.orchestrator_task_id,
      limit: body.limit,
      cursor: body.cursor,
    });
    if (body.limit || body.cursor) return json(200, page);
    const response = json(200, page.tasks);
    if (page.next_cursor !== null) response.headers.set("x-next-cursor", page.next_cursor);
    return response;
  },
});
