import { type Caller, type EndpointContext, forUser } from "../http/endpoint.ts";
import type { TaskStatus } from "./update-task-status.ts";

export interface StatusOptions {
  taskId: string;
  /** How long to wait for another status. */
  waitSeconds: number;
  /** Other than this; than the one it has when asked, unless said. */
  whileStatus: TaskStatus | undefined;
}

interface TaskState extends Record<string, unknown> {
  status: TaskStatus;
}

/** Statuses that nobody waits to see changed, unless they say so: a task leaves them by retrying at most. */
const ended: readonly TaskStatus[] = ["Complete", "Failed", "Cancelled"];

/** Where a task is: status, progress, output. @throws AppError `task_not_found` */
export async function getTaskStatus(
  { database, waiting }: Pick<EndpointContext<unknown>, "database" | "waiting">,
  caller: Caller,
  { taskId, waitSeconds, whileStatus }: StatusOptions,
): Promise<Record<string, unknown>> {
  const look = () =>
    database.call<TaskState>("get_task_status", { for_user: forUser(caller), for_task: taskId });
  const since = waiting.now();
  const first = await look();
  const notStatus = whileStatus ?? first.status;
  const isWorthWaiting = waitSeconds > 0 && first.status === notStatus;
  if (!isWorthWaiting || (whileStatus === undefined && ended.includes(first.status))) return first;

  const wanted = { kind: "task", taskId: taskId.toLowerCase(), notStatus } as const;
  const changed = await waiting.hold(wanted, { seconds: waitSeconds, since }, async () => {
    const now = await look();
    return now.status === notStatus ? null : now;
  });
  if (changed) return changed;
  // The same status, but perhaps further on.
  return waiting.isAbandoned() ? first : await look();
}
