import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forToken, forUser } from "../http/endpoint.ts";
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
  const created = await database.call<CreatedTask | CreatedBatch>("create_task", {
    for_user: forUser(caller),
    for_token: forToken(caller),
    requests: json(order.map((place) => tasks[place])),
    is_batch: isBatch,
    idempotency_key: idempotencyKey,
  });
  if (!("tasks" in created)) return created;
  return { ...created, tasks: asSent(created.tasks, order), task_ids: asSent(created.task_ids, order) };
}

/** What was made in an order, in that of the request. */
function asSent<Item>(made: readonly Item[], order: readonly number[]): Item[] {
  return made
    .map((item, step) => ({ item, place: order[step] ?? step }))
    .sort((one, other) => one.place - other.place)
    .map(({ item }) => item);
}
