import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** Where a task is: status, progress, output. @throws AppError `task_not_found` */
export async function getTaskStatus(
  database: Pick<Database, "call">,
  caller: Caller,
  taskId: string,
): Promise<Record<string, unknown>> {
  return await database.call("get_task_status", { for_user: forUser(caller), for_task: taskId });
}
