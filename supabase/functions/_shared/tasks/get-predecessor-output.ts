import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** The outputs of what a task depends on. @throws AppError `task_not_found` */
export async function getPredecessorOutput(
  database: Pick<Database, "call">,
  caller: Caller,
  taskId: string,
): Promise<Record<string, unknown>> {
  return await database.call("get_predecessor_output", { for_user: forUser(caller), for_task: taskId });
}
