import type { ClaimedTask, DarkroomClient } from "../client.ts";
import { RenderError } from "../provider.ts";
import type { ChildPlan } from "./child-plan.ts";

/** Frames of a film: from one number up to, not including, another; without `to`, up to the end. */
export interface FrameRange {
  from: number;
  to: number | undefined;
}

/** What a provider does for an orchestrator. All other steps are the same at every provider. */
export interface FilmCutter {
  /**
   * Cuts a film into pieces and stores them. `frames` is the film's length where the task says it.
   * @returns the address of each piece
   */
  cut(source: string, frames: number | undefined, pieces: readonly FrameRange[]): Promise<string[]>;
}

/** A run of an orchestrator. */
export interface OrchestratorRun {
  task: ClaimedTask;
  client: DarkroomClient;
  cutter: FilmCutter;
  signal: AbortSignal;
}

/** Plans an orchestrator's children. @returns what was planned, for people */
export type Orchestration = (run: OrchestratorRun, plan: ChildPlan) => Promise<string>;

const mostChildren = 200;

/** @throws RenderError unless `count` is from 1 to 200 */
export function childCount(count: number | undefined, field: string): number {
  if (count !== undefined && Number.isInteger(count) && count >= 1 && count <= mostChildren) return count;
  throw new RenderError(`${field} must ask for 1 to ${mostChildren} parts`, { isRetryable: false });
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
