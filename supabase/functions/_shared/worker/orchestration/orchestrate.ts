import { DarkroomApiError } from "../client.ts";
import { type Delegation, RenderError } from "../provider.ts";
import { ChildPlan } from "./child-plan.ts";
import { planEdit } from "./edit-video.ts";
import { planJoin } from "./join-clips.ts";
import type { Orchestration, OrchestratorRun } from "./orchestration.ts";
import { planTravel } from "./travel.ts";

const orchestrations: Record<string, Orchestration> = {
  travel_orchestrator: planTravel,
  join_clips_orchestrator: planJoin,
  edit_video_orchestrator: planEdit,
};

export const orchestratorTaskTypes: readonly string[] = Object.keys(orchestrations);

/**
 * Creates the children that do not exist yet, and returns. A second run, after the first one was lost, creates nothing twice.
 * @throws RenderError when the params cannot be planned
 */
export async function orchestrate(run: OrchestratorRun): Promise<Delegation> {
  const { task, client, signal } = run;
  const planChildren = orchestrations[task.task_type];
  if (!planChildren) throw new Error(`${task.task_type} is not an orchestrator`);
  const plan = new ChildPlan(task, await client.orchestratorChildren(task.task_id));
  const delegated = await planChildren(run, plan);
  signal.throwIfAborted();
  try {
    await client.createTasks(task.project_id, plan.missing);
  } catch (error) {
    throw isFinalRefusal(error) ? new RenderError(error.message, { isRetryable: false }) : error;
  }
  return { delegated };
}

/** A refusal that a second try would get too, such as children that the account does not cover. */
function isFinalRefusal(error: unknown): error is DarkroomApiError {
  return error instanceof DarkroomApiError && [400, 402, 403, 413, 422].includes(error.status);
}
