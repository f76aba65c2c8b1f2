import type { z } from "zod";
import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import type { taskRow } from "./task-row.ts";

export interface TasksListOptions {
  projectId: string;
  statuses?: string[] | null | undefined;
  taskTypes?: string[] | null | undefined;
  orchestratorId?: string | null | undefined;
  /** 1000 unless said. */
  limit?: number | null | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | null | undefined;
}

export interface TasksPage {
  tasks: z.output<typeof taskRow>[];
  limit: number;
  next_cursor: string | null;
}

/** A page of a project's tasks, newest first. An empty filter is none. @throws AppError `project_not_found` */
export async function tasksList(
  database: Pick<Database, "call">,
  caller: Caller,
  { projectId, statuses, taskTypes, orchestratorId, limit, cursor }: TasksListOptions,
): Promise<TasksPage> {
  return await database.call("tasks_list", {
    for_user: forUser(caller),
    for_project: projectId,
    statuses: statuses?.length ? statuses : undefined,
    types: taskTypes?.length ? taskTypes : undefined,
    for_orchestrator: orchestratorId ?? undefined,
    page_limit: limit ?? undefined,
    after_cursor: cursor ?? undefined,
  });
}
