import { createHash } from "node:crypto";
import type { ChildTask, ClaimedTask, NewTask } from "../client.ts";
import { detailsOf, type Params, text } from "./task-params.ts";

/** The position of a child among its siblings of one type: the param that holds it, and its value. */
export type Position = readonly [field: string, index: number];

/**
 * The children of an orchestrator: those that exist, and those to create. A child's id follows from its orchestrator, type and
 * position, so that two runs of an orchestrator create the same children.
 */
export class ChildPlan {
  /** The children to create, in order. */
  readonly missing: NewTask[] = [];
  readonly #orchestrator: ClaimedTask;
  readonly #existing: readonly ChildTask[];

  constructor(orchestrator: ClaimedTask, existing: readonly ChildTask[]) {
    this.#orchestrator = orchestrator;
    this.#existing = existing;
  }

  /** An existing child, which may have been created by another worker under another id. */
  find(taskType: string, position?: Position): ChildTask | undefined {
    return this.#existing.find(
      ({ task_type, params }) => task_type === taskType && (!position || params[position[0]] === position[1]),
    );
  }

  /** Plans a child unless it exists. @returns its id */
  add(
    taskType: string,
    params: Params,
    { after, position }: { after: readonly string[]; position?: Position },
  ): string {
    const existing = this.find(taskType, position);
    if (existing) return existing.id;
    const id = uuidOf(`${this.#orchestrator.task_id} ${taskType} ${position?.[1] ?? ""}`);
    this.missing.push({
      task_id: id,
      task_type: taskType,
      params,
      ...(after.length > 0 && { dependant_on: after }),
    });
    return id;
  }
}

/** The params that each child takes from its orchestrator. */
export function inheritedParams({ task_id, project_id, params }: ClaimedTask): Params {
  const details = detailsOf(params);
  return {
    orchestrator_task_id_ref: task_id,
    orchestrator_run_id: text(details["run_id"]) ?? task_id,
    project_id,
    parent_generation_id:
      text(params["parent_generation_id"]) ?? text(details["parent_generation_id"]) ?? null,
    // Clients write a readable name here. Children refer to the row.
    orchestrator_details: { ...details, orchestrator_task_id: task_id },
  };
}

/** The same UUID for the same text. */
function uuidOf(name: string): string {
  const bytes = createHash("sha256").update(name).digest().subarray(0, 16);
  // Version 8: the layout of the bits is the application's own.
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
