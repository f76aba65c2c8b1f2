import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

export interface ClaimOptions {
  workerId: string | undefined;
  runType: "gpu" | "api" | undefined;
  taskTypes: string[] | undefined;
  models: string[] | undefined;
  sameModelOnly: boolean;
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

/** Gives a worker the next task: a token only its owner's, the service anybody's. Nothing: null. */
export async function claimNextTask(
  database: Pick<Database, "call">,
  caller: Caller,
  { workerId, runType, taskTypes, models, sameModelOnly, debug }: ClaimOptions,
): Promise<ClaimedTask | { debug: Record<string, number> } | null> {
  return await database.call("claim_next_task", {
    for_user: forUser(caller),
    for_worker: workerId,
    for_run_type: runType,
    only_task_types: taskTypes,
    only_models: models,
    same_model_only: sameModelOnly,
    debug,
  });
}
