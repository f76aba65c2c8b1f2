import type { Database } from "../database/database.ts";

export interface WorkerModel {
  workerId: string;
  model: string | null;
  instanceType: string | undefined;
}

/** Notes what a cloud worker has loaded, so that claims can prefer tasks for it. */
export async function updateWorkerModel(
  database: Pick<Database, "call">,
  { workerId, model, instanceType }: WorkerModel,
): Promise<Record<string, unknown>> {
  return await database.call("update_worker_model", {
    for_worker: workerId,
    loaded_model: model,
    new_instance_type: instanceType,
  });
}
