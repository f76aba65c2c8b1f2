import { type Database, json } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

export const workerStatuses = [
  "inactive",
  "spawning",
  "active",
  "error",
  "crashed",
  "terminating",
  "terminated",
] as const;
export type WorkerStatus = (typeof workerStatuses)[number];

/** What runs tasks, where that is no own GPU or API worker. */
export const workerProviders = ["fal", "sandbox"] as const;
export type WorkerProvider = (typeof workerProviders)[number];

export interface Heartbeat {
  workerId: string;
  /** What is left out stays as it is; null for the model forgets it. */
  report: {
    status?: WorkerStatus | undefined;
    current_model?: string | null | undefined;
    vram_total_mb?: number | undefined;
    vram_used_mb?: number | undefined;
    /** The runs that the worker believes it has. */
    tasks?: { task_id: string; attempt?: number | undefined }[] | undefined;
    metadata?: Record<string, unknown> | undefined;
    /** What runs its tasks, where that is not the machine itself. */
    provider?: WorkerProvider | undefined;
  };
  /** Sent on as text: what a line holds must not make the heartbeat fail. */
  logs: unknown[] | undefined;
}

/** Notes that a worker lives, keeps its running tasks with it, and tells it which of its runs are over. */
export async function workerHeartbeat(
  database: Pick<Database, "call">,
  caller: Caller,
  { workerId, report, logs }: Heartbeat,
): Promise<Record<string, unknown>> {
  return await database.call("worker_heartbeat", {
    for_user: forUser(caller),
    for_worker: workerId,
    report: json(report),
    log_lines: logs && JSON.stringify(logs),
  });
}
