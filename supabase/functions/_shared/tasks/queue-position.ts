import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** Where a queued task stands, and when it may start. */
export async function queuePosition(
  database: Pick<Database, "call">,
  caller: Caller,
  taskId: string,
): Promise<Record<string, unknown>> {
  return await database.call("queue_position", { for_user: forUser(caller), for_task: taskId });
}
