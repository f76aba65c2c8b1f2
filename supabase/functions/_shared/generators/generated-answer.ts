import { totalAmounts } from "../credits/amount-shapes.ts";
import type { GeneratedTasks } from "./generate.ts";

/** The answer of a generator: the first task's row with the ids of all, and what they may cost together. */
export function generatedAnswer({
  rows,
  task_ids,
  tasks,
  deduplicated,
}: GeneratedTasks): Record<string, unknown> {
  return {
    ...rows[0],
    task_id: task_ids[0],
    task_ids,
    ...totalAmounts(tasks),
    deduplicated,
  };
}
