import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forToken, forUser } from "../http/endpoint.ts";
import { type PicturePlan, type PictureWarning, planSingleImage } from "../pictures/limits.ts";
import { dependencyOrder } from "./dependency-order.ts";

export interface NewTask {
  task_id?: string | undefined;
  task_type: string;
  params: Record<string, unknown>;
  project_id?: string | undefined;
  dependant_on?: string[] | undefined;
  priority?: number | undefined;
  /** ISO 8601. */
  run_after?: string | undefined;
  max_attempts?: number | undefined;
  /** Of calculate-task-cost. */
  quote_id?: string | undefined;
}

export interface CreatedTask {
  task_id: string;
  status: string;
  deduplicated: boolean;
  /** What the model does not do of the params; of `single_image`, and only where there is something. */
  warnings?: PictureWarning[];
}

export interface CreateOptions {
  tasks: NewTask[];
  isBatch: boolean;
  idempotencyKey: string | undefined;
}

interface CreatedBatch {
  tasks: CreatedTask[];
  task_ids: string[];
}

/**
 * Creates, prices, covers and queues tasks, all or none. The service creates in any project. Tasks of a batch may depend on each
 * other in any order; they are created, and locked, with what they depend on first.
 */
export async function createTask(
  database: Pick<Database, "call">,
  caller: Caller,
  { tasks, isBatch, idempotencyKey }: CreateOptions,
): Promise<CreatedTask | CreatedBatch> {
  const found = dependencyOrder(tasks);
  if ("cycle" in found) throw new AppError("invalid_dependency", { cycle: found.cycle });
  const { order } = found;
  const plans = tasks.map(planOf);
  const created = await database.call<CreatedTask | CreatedBatch>("create_task", {
    for_user: forUser(caller),
    for_token: forToken(caller),
    requests: json(order.map((place) => tasks[place])),
    is_batch: isBatch,
    idempotency_key: idempotencyKey,
  });
  if (!("tasks" in created)) return withWarnings(created, plans[0]);
  return {
    ...created,
    tasks: asSent(created.tasks, order).map((task, index) => withWarnings(task, plans[index])),
    task_ids: asSent(created.task_ids, order),
  };
}

/** How a picture will be made, where the model's table says so. @throws AppError `unsupported_by_model` */
function planOf({ task_type, params }: NewTask, index: number): PicturePlan | undefined {
  const plan = task_type === "single_image" ? planSingleImage(params) : undefined;
  if (plan && plan.refusals.length > 0) {
    throw new AppError("unsupported_by_model", { task: index, issues: plan.refusals });
  }
  return plan;
}

function withWarnings(task: CreatedTask, plan: PicturePlan | undefined): CreatedTask {
  return plan && plan.warnings.length > 0 ? { ...task, warnings: plan.warnings } : task;
}

/** What was made in an order, in that of the request. */
function asSent<Item>(made: readonly Item[], order: readonly number[]): Item[] {
  return made
    .map((item, step) => ({ item, place: order[step] ?? step }))
    .sort((one, other) => one.place - other.place)
    .map(({ item }) => item);
}
