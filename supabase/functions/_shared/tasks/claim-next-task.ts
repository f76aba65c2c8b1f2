import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

export interface ClaimOptions {
  workerId: string | undefined;
  runType: "gpu" | "api" | undefined;
  taskTypes: string[] | undefined;
  models: string[] | undefined;
  sameModelOnly: boolean;
  /** More than one: `tasks` instead of one task. */
  maxTasks: number | undefined;
  debug: boolean;
}

export interface ClaimedTask {
  task_id: string;
  params: Record<string, unknown>;
  task_type: string;
  project_id: string;
  attempt: number;
  attempts: number;
  lease_expires_at: string;
}

/** Gives a worker the next task or tasks: a token only its owner's, the service anybody's. Nothing: null. */
export async function claimNextTask(
  database: Pick<Database, "call">,
  caller: Caller,
  { workerId, runType, taskTypes, models, sameModelOnly, maxTasks, debug }: ClaimOptions,
): Promise<ClaimedTask | { tasks: ClaimedTask[] } | { debug: Record<string, number> } | null> {
  return await database.call("claim_next_task", {
    for_user: forUser(caller),
    for_worker: workerId,
    for_run_type: runType,
    only_task_types: taskTypes,
    only_models: models,
    same_model_only: sameModelOnly,
    max_tasks: maxTasks,
    debug,
  });
}
