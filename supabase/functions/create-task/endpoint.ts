import { z } from "zod";
import { quotedAmounts } from "../_shared/credits/amount-shapes.ts";
import { endpoint, idempotencyKeyOf, json } from "../_shared/http/endpoint.ts";
import { params, text, uuid } from "../_shared/http/fields.ts";
import { createFamily, familyFields, readFamily } from "../_shared/generators/family-request.ts";
import { pictureWarning } from "../_shared/pictures/shapes.ts";
import { createTask, type NewTask } from "../_shared/tasks/create-task.ts";

/** Workers that know no project say so in one of these ways; then the orchestrator's is taken. */
const projectId = z.union([uuid, z.literal("default_project_id"), z.literal("")]).nullish();

/** A uuid, a list of them, or nothing. */
const dependantOn = z
  .union([uuid.transform((id) => [id]), z.array(uuid).max(200), z.literal("").transform(() => [])])
  .nullish()
  .transform((ids) => (ids && ids.length > 0 ? ids : undefined));

const fields = {
  task_id: uuid
    .nullish()
    .describe("the task's id, if the client chooses it; the same request again is answered again"),
  task_type: text(100).min(1).describe("one of the task types, as in the table `task_types`"),
  params: params.describe("what the worker reads; stored as sent"),
  project_id: projectId.describe("required, but for children of an orchestrator, which share its project"),
  dependant_on: dependantOn.describe(
    "tasks of the same project that must be complete before this one may run; of a batch, in any order without a cycle",
  ),
  priority: z.int().min(-100).max(100).nullish().describe("within one's own tasks; 0 unless said"),
  run_after: z.iso
    .datetime({ offset: true })
    .nullish()
    .describe("not before this time, at most a year ahead; it is paid for from the start"),
  max_attempts: z.int().min(1).max(20).nullish().describe("runs before the task fails; 3 unless said"),
  quote_id: uuid.nullish().describe("of calculate-task-cost: this price, within its ten minutes"),
};

/** One task; or `tasks` with up to a hundred, and the fields beside it do not count; or what a family makes. */
const body = z
  .object({
    ...fields,
    task_type: fields.task_type
      .optional()
      .describe(`${fields.task_type.description}; required without \`tasks\` and \`family\``),
    params: fields.params
      .optional()
      .describe(`${fields.params.description}; required without \`tasks\` and \`family\``),
    ...familyFields,
    tasks: z
      .array(z.object(fields))
      .min(1)
      .max(100)
      .optional()
      .describe("a batch, created all or not at all"),
    idempotency_key: text(200).min(1).nullish().describe("or the header Idempotency-Key"),
  })
  .superRefine((request, context) => {
    const latest = Date.now() + 366 * 86_400_000;
    for (const [index, task] of (request.tasks ?? [request]).entries()) {
      if (!task.run_after || Date.parse(task.run_after) <= latest) continue;
      const path = request.tasks ? ["tasks", index, "run_after"] : ["run_after"];
      context.addIssue({ code: "custom", path, message: "is more than a year ahead" });
    }
    for (const field of ["task_type", "params", "tasks", "task_id"] as const) {
      if (!request.family || request[field] === undefined || request[field] === null) continue;
      context.addIssue({ code: "custom", path: [field], message: "is not for a family" });
    }
    if (request.tasks || request.family) return;
    for (const field of ["task_type", "params"] as const) {
      if (request[field] !== undefined) continue;
      context.addIssue({ code: "custom", path: [field], message: "is required, or send tasks, or a family" });
    }
  })
  .transform((request, context) => ({ ...request, family: readFamily(request, context) }));

const created = z.object({
  task_id: uuid,
  status: z
    .enum(["Task queued", "Task complete"])
    .describe("complete with the output of an earlier task, where the project reuses results"),
  task_type: z.string(),
  project_id: uuid,
  ...quotedAmounts,
  exact: z.boolean(),
  price_version: z.int(),
  reused: z.boolean().describe("true when an earlier task made the output"),
  shares_run: z.boolean().describe("true while it waits for the same task, which is under way"),
  held_microusd: z
    .int()
    .describe("reserved on the account now; it grows while work that is paid by the second runs"),
  deduplicated: z.boolean().describe("true when this answers a repeated request"),
  warnings: z
    .array(pictureWarning)
    .optional()
    .describe("of `single_image`: what the model does not do of the params, where there is something"),
});

/** 200 the queued task, the batch, or what a family makes · 402 no cover, in debt, a spend cap · 404 foreign project, quote, or row that an input names · 409 id taken, quote too old · 422 unknown type or family, bad dependency, a limit, reused key */
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
      description: "The queued task; for a batch, all of them; for a family, both, with totals.",
      schema: z.union([
        created.extend({
          family: z.string(),
          task_id: uuid.describe("of the first"),
          task_ids: z.array(uuid),
          tasks: z.array(created),
          cost: created.shape.cost.describe("credits (US cents) of all, as the other amounts are"),
          held_microusd: z.int().describe("of all"),
          meta: z
            .record(z.string(), z.unknown())
            .describe(
              "what was resolved: seeds, resolution, run_id, parent_generation_id, where there is one",
            ),
        }),
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
    "account_in_debt",
    "spend_cap_reached",
    "insufficient_scope",
    "project_not_found",
    "shot_not_found",
    "generation_not_found",
    "variant_not_found",
    "shot_generation_not_found",
    "quote_not_found",
    "quote_expired",
    "quote_mismatch",
    "task_id_conflict",
    "orchestrator_finished",
    "unknown_task_type",
    "unpriced_value",
    "contradicting_values",
    "unsupported_by_model",
    "unknown_family",
    "invalid_dependency",
    "task_limit_reached",
    "idempotency_key_reused",
  ],
  async run({ body, caller, database, headers }) {
    const key = idempotencyKeyOf(body.idempotency_key, headers);
    if (body.family) {
      const queue = queueOptions(body);
      return json(200, await createFamily(database, caller, body.family, { idempotencyKey: key, queue }));
    }
    const isBatch = body.tasks !== undefined;
    const tasks = body.tasks ?? [{ ...body, task_type: body.task_type ?? "", params: body.params ?? {} }];
    return json(
      200,
      await createTask(database, caller, { tasks: tasks.map(newTask), isBatch, idempotencyKey: key }),
    );
  },
});

type Fields = z.output<z.ZodObject<typeof fields>>;

/** The task without what was left out or sent as nothing, and without fields of the batch. */
function newTask(task: Fields): NewTask {
  const { task_id, task_type, params: sent, project_id } = task;
  return {
    task_type,
    params: sent,
    ...(task_id && { task_id }),
    ...(project_id && { project_id }),
    ...queueOptions(task),
  };
}

type QueueFields = Pick<Fields, "dependant_on" | "priority" | "run_after" | "max_attempts" | "quote_id">;

function queueOptions({ dependant_on, priority, run_after, max_attempts, quote_id }: QueueFields) {
  return {
    ...(dependant_on && { dependant_on }),
    ...(priority && { priority }),
    ...(run_after && { run_after }),
    ...(max_attempts && { max_attempts }),
    ...(quote_id && { quote_id }),
  };
}
