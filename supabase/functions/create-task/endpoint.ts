import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { params, text, uuid } from "../_shared/http/fields.ts";
import { createTask } from "../_shared/tasks/create-task.ts";

/** Workers that know no project say so in one of these ways; then the orchestrator's is taken. */
const projectId = z.union([uuid, z.literal("default_project_id"), z.literal("")]).nullish();

/** A uuid, a list of them, or nothing. */
const dependantOn = z
  .union([uuid.transform((id) => [id]), z.array(uuid).max(200), z.literal("").transform(() => [])])
  .nullish()
  .transform((ids) => (ids && ids.length > 0 ? ids : undefined));

const newTask = z
  .object({
    task_id: uuid.nullish(),
    task_type: text(100).min(1),
    params,
    project_id: projectId,
    dependant_on: dependantOn,
    priority: z.int().min(-100).max(100).nullish(),
    max_attempts: z.int().min(1).max(20).nullish(),
  })
  .transform(({ task_id, project_id, priority, max_attempts, ...task }) => ({
    ...task,
    task_id: task_id ?? undefined,
    project_id: project_id || undefined,
    priority: priority ?? undefined,
    max_attempts: max_attempts ?? undefined,
  }));

const idempotencyKey = text(200).min(1).nullish();

const body = z.union([
  z.object({ tasks: z.array(newTask).min(1).max(100), idempotency_key: idempotencyKey }),
  newTask.and(z.object({ tasks: z.undefined().optional(), idempotency_key: idempotencyKey })),
]);

const created = z.object({
  task_id: uuid,
  status: z.literal("Task queued"),
  task_type: z.string(),
  project_id: uuid,
  cost: z.number().describe("credits (US cents): the exact price, or the upper bound of an estimate"),
  upper_bound_microusd: z.int(),
  exact: z.boolean(),
  price_version: z.int(),
  held_microusd: z.int().describe("reserved on the account until the task ends"),
  deduplicated: z.boolean().describe("true when this answers a repeated request"),
});

/** 200 the queued task, or the batch · 402 no cover · 404 foreign project · 409 id taken · 422 unknown type, bad dependency, reused key */
export const createTaskEndpoint = endpoint({
  name: "create-task",
  summary: "Creates a task, or up to 100 at once: priced, covered by a hold, queued.",
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:write",
  body,
  bodyLimit: 4 * 1024 * 1024,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "The queued task; for a batch, all of them.",
      schema: z.union([
        created,
        z.object({
          status: z.literal("Task queued"),
          task_ids: z.array(uuid),
          tasks: z.array(created),
          deduplicated: z.boolean(),
        }),
      ]),
    },
  },
  errors: [
    "insufficient_credits",
    "insufficient_scope",
    "project_not_found",
    "task_id_conflict",
    "orchestrator_finished",
    "unknown_task_type",
    "invalid_dependency",
    "idempotency_key_reused",
  ],
  async run({ body, caller, database, headers }) {
    const key = body.idempotency_key ?? headers.get("idempotency-key") ?? undefined;
    if (key !== undefined && (key.length === 0 || key.length > 200)) throw new AppError("invalid_request");
    const isBatch = body.tasks !== undefined;
    const { idempotency_key: _key, tasks: _tasks, ...single } = { tasks: undefined, ...body };
    const tasks = body.tasks ?? [single as z.output<typeof newTask>];
    return json(200, await createTask(database, caller, { tasks, isBatch, idempotencyKey: key }));
  },
});
