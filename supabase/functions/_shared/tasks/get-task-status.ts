import { type Caller, type EndpointContext, forUser } from "../http/endpoint.ts";
import type { TaskStatus } from "./update-task-status.ts";

export interface StatusOptions {
  taskId: string;
  /** How long to wait for another status. */
  waitSeconds: number;
  /** Other than these; than the one it has when asked, unless said. */
  whileStatuses: readonly TaskStatus[] | undefined;
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
  { taskId, waitSeconds, whileStatuses }: StatusOptions,
): Promise<Record<string, unknown>> {
  const look = () =>
    database.call<TaskState>("get_task_status", { for_user: forUser(caller), for_task: taskId });
  const since = waiting.now();
  const first = await look();
  const notStatuses = whileStatuses ?? (ended.includes(first.status) ? [] : [first.status]);
  if (waitSeconds === 0 || !notStatuses.includes(first.status)) return first;

  const wanted = { kind: "task", taskId: taskId.toLowerCase(), notStatuses } as const;
  const changed = await waiting.hold(wanted, { seconds: waitSeconds, since }, async () => {
    const now = await look();
    return notStatuses.includes(now.status) ? null : now;
  });
  if (changed) return changed;
  // The same status, but perhaps further on.
  return waiting.isAbandoned() ? first : await look();
}
