import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

export interface Segment {
  segment_index: number;
  output_location: string;
}

/** The outputs of a run's finished segments, by index. @throws AppError `project_not_found` */
export async function getCompletedSegments(
  database: Pick<Database, "call">,
  caller: Caller,
  { runId, projectId }: { runId: string; projectId: string | undefined },
): Promise<Segment[]> {
  return await database.call("get_completed_segments", {
    for_user: forUser(caller),
    for_run: runId,
    for_project: projectId,
  });
}
