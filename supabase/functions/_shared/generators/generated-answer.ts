import type { GeneratedTasks } from "./generate.ts";

/** The answer of a generator: the first task's row with the ids of all, and what they may cost together. */
export function generatedAnswer({
  rows,
  task_ids,
  tasks,
  deduplicated,
}: GeneratedTasks): Record<string, unknown> {
  const bound = tasks.reduce((sum, task) => sum + Number(task["upper_bound_microusd"]), 0);
  return {
    ...rows[0],
    task_id: task_ids[0],
    task_ids,
    cost: bound / 10_000,
    upper_bound_microusd: bound,
    deduplicated,
  };
}
