import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** What waits and what runs, of one run type or of both. */
export async function countTasks(
  database: Pick<Database, "call">,
  caller: Caller,
  { runType, isApiWorker }: { runType: "gpu" | "api" | undefined; isApiWorker: boolean },
): Promise<Record<string, unknown>> {
  return await database.call("task_counts_for", {
    for_user: forUser(caller),
    for_run_type: runType,
    is_api_worker: isApiWorker,
  });
}
