/** A generation that is made with a task, for its outputs to stand under: see the SQL function `make_placeholder`. */
export interface Placeholder {
  id: string;
  shot_id: string;
  /** It is the task's own, as an orchestrator's; a part makes a generation of its own under it. */
  is_of_task: boolean;
}

/** One for a shot, where no parent was named. */
export function placeholderFor(
  request: { shot_id?: string | null | undefined; parent_generation_id?: string | null | undefined },
  isOfTask: boolean,
): Placeholder | undefined {
  if (!request.shot_id || request.parent_generation_id) return undefined;
  return { id: crypto.randomUUID(), shot_id: request.shot_id, is_of_task: isOfTask };
}
