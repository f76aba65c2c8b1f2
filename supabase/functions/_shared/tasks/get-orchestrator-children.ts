import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

export interface ChildrenOptions {
  orchestratorId: string;
  /** 1000 unless said. */
  limit?: number | null | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | null | undefined;
}

/** A page of an orchestrator's children, oldest first. @throws AppError `task_not_found` */
export async function getOrchestratorChildren(
  database: Pick<Database, "call">,
  caller: Caller,
  { orchestratorId, limit, cursor }: ChildrenOptions,
): Promise<Record<string, unknown>> {
  return await database.call("get_orchestrator_children", {
    for_user: forUser(caller),
    for_orchestrator: orchestratorId,
    page_limit: limit ?? undefined,
    after_cursor: cursor ?? undefined,
  });
}
