import type { ClaimedTask, DarkroomClient } from "../client.ts";
import { RenderError } from "../provider.ts";

/** The output of another task of the same project. @throws RenderError where that task has no output */
export async function outputOf(
  client: DarkroomClient,
  { project_id }: Pick<ClaimedTask, "project_id">,
  taskId: string,
): Promise<string> {
  const { status, output_location } = (await client.taskOutput(taskId, project_id)) ?? {
    status: "not in this project",
  };
  if (status === "Complete" && output_location) return output_location;
  const isRetryable = status === "Queued" || status === "In Progress";
  throw new RenderError(`the output of task ${taskId} is needed, and the task is ${status}`, { isRetryable });
}
