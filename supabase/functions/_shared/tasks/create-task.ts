import { type Database, json } from "../database/database.ts";
import { type Caller, forToken, forUser } from "../http/endpoint.ts";

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

/** Creates, prices, covers and queues tasks, all or none. The service creates in any project. */
export async function createTask(
  database: Pick<Database, "call">,
  caller: Caller,
  { tasks, isBatch, idempotencyKey }: CreateOptions,
): Promise<CreatedTask | { tasks: CreatedTask[] }> {
  return await database.call("create_task", {
    for_user: forUser(caller),
    for_token: forToken(caller),
    requests: json(tasks),
    is_batch: isBatch,
    idempotency_key: idempotencyKey,
  });
}
