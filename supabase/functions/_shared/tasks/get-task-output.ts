import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** A task's output and what it was made from. @throws AppError `task_not_found` */
export async function getTaskOutput(
  database: Pick<Database, "call">,
  caller: Caller,
  taskId: string,
): Promise<Record<string, unknown>> {
  return await database.call("get_task_output", { for_user: forUser(caller), for_task: taskId });
}
