import type { Database } from "../database/database.ts";

export interface ScaleOptions {
  runType: "gpu" | "api" | undefined;
  model: string | undefined;
  targetWaitSeconds: number;
  minWorkers: number;
  maxWorkers: number;
}

/** How many workers are wanted now, by run type and model, and why. */
export async function wantedWorkers(
  database: Pick<Database, "call">,
  { runType, model, targetWaitSeconds, minWorkers, maxWorkers }: ScaleOptions,
): Promise<Record<string, unknown>> {
  return await database.call("scale", {
    for_run_type: runType,
    for_model: model,
    target_wait_seconds: targetWaitSeconds,
    min_workers: minWorkers,
    max_workers: maxWorkers,
  });
}
