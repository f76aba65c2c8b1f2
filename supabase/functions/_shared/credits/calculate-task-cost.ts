import { type Database, json } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

export interface Quote {
  cost: number;
  cost_microusd: number;
  quote_id?: string | null;
  estimated_cost_microusd: number;
  hold_microusd: number;
  upper_bound_microusd: number;
  exact: boolean;
}

/** What such a task would cost; a user may hold us to it for ten minutes. */
export async function quoteTask(
  database: Pick<Database, "call">,
  caller: Caller,
  taskType: string,
  params: Record<string, unknown>,
): Promise<Quote> {
  return await database.call("calculate_task_cost", {
    for_user: forUser(caller),
    for_task_type: taskType,
    params: json(params),
  });
}

/** What this task will cost, or did cost. */
export async function costOfTask(
  database: Pick<Database, "call">,
  caller: Caller,
  taskId: string,
): Promise<Quote> {
  return await database.call("calculate_cost_of_task", { for_user: forUser(caller), for_task: taskId });
}
