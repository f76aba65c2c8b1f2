import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import { checkStored, withCause } from "../media/check-outputs.ts";
import type { Storage } from "../media/storage.ts";

export type TaskStatus = "Queued" | "In Progress" | "Complete" | "Failed" | "Cancelled";

export interface ProviderJob {
  provider: string;
  model: string;
  request_id?: string | null | undefined;
  webhook_key?: string | null | undefined;
  step?: number | null | undefined;
  units?: Record<string, number | string | undefined> | null | undefined;
  completes?: boolean | null | undefined;
}

export interface StatusUpdate {
  taskId: string;
  status: TaskStatus;
  workerId: string | undefined;
  attempt: number | undefined;
  changes: {
    output_location?: string | null | undefined;
    error_details?: string | undefined;
    progress?: number | undefined;
    progress_message?: string | undefined;
    reset_generation_started_at?: boolean | undefined;
    /** Null: the task has no job at a provider any more. */
    provider_job?: ProviderJob | null;
    /** Steps whose job has ended, and that the next run begins again. */
    ended_provider_steps?: number[] | undefined;
    /** Steps whose job failed at the provider, which does not bill it. */
    unbilled_provider_steps?: number[] | undefined;
    given_back?: boolean | undefined;
  };
}

/**
 * Moves a task by the transition table, or notes its progress; keeps a running task with its worker. A running task that becomes
 * Complete with the URL of a file in our storage has that file checked.
 * @throws AppError `sold_below_cost`, and the task has failed, where its job at a provider would cost more than the task;
 *   `unpaid_provider_limit`, likewise, where the user's tasks have cost too much there without a charge
 */
export async function updateTaskStatus(
  { database, storage }: { database: Pick<Database, "call">; storage: Storage },
  caller: Caller,
  { taskId, status, workerId, attempt, changes }: StatusUpdate,
): Promise<Record<string, unknown>> {
  const mayComplete = status === "Complete" && caller.kind !== "user";
  const path = mayComplete ? storage.pathOfPublicUrl(changes.output_location ?? "") : undefined;
  const { files, failure } = await checkStored(storage, path === undefined ? [] : [path]);
  try {
    const answer = await database.call<Record<string, unknown>>("update_task_status", {
      for_user: forUser(caller),
      caller_kind: caller.kind,
      for_task: taskId,
      new_status: status,
      for_worker: workerId,
      for_attempt: attempt,
      changes: json(changes),
      output_path: path,
      ...(path !== undefined && { checked_files: json(files) }),
    });
    // The task has failed with it, so it is committed and not raised.
    if (answer["refused"] === "sold_below_cost") {
      throw new AppError("sold_below_cost", answer["details"] as Record<string, unknown>);
    }
    if (answer["refused"] === "unpaid_provider_limit") {
      throw new AppError("unpaid_provider_limit", answer["details"] as Record<string, unknown>);
    }
    return answer;
  } catch (error) {
    throw withCause(error, failure);
  }
}
