/** What is known of a task of a batch before it is created. */
export interface BatchTask {
  task_id?: string | undefined;
  dependant_on?: readonly string[] | undefined;
}

/** The places of a batch's tasks in an order in which each stands after those that it depends on; or tasks that have none. */
export type DependencyOrder = { order: number[] } | { cycle: string[] };

/**
 * Orders a batch by its dependencies on tasks of its own. Of tasks that do not depend on each other, the one that was sent
 * first stands first: a batch that is in order stays as it is. In a cycle each task depends on the next, the last on the first.
 */
export function dependencyOrder(tasks: readonly BatchTask[]): DependencyOrder {
  const places = new Map<string, number>();
  for (const [place, { task_id }] of tasks.entries()) {
    // Of an id that is sent twice, the second is a repeat of the first.
    if (task_id && !places.has(task_id.toLowerCase())) places.set(task_id.toLowerCase(), place);
  }
  const needed = tasks.map(
    ({ dependant_on = [] }) =>
      new Set(dependant_on.map((id) => places.get(id.toLowerCase())).filter((place) => place !== undefined)),
  );
  const order: number[] = [];
  const left = new Set(tasks.keys());
  while (left.size > 0) {
    const next = [...left].find((place) => [...(needed[place] ?? [])].every((other) => !left.has(other)));
    if (next === undefined)
      return { cycle: cycleAmong(left, needed).map((place) => tasks[place]?.task_id ?? "") };
    left.delete(next);
    order.push(next);
  }
  return { order };
}

/** Every place that is left depends on another that is: following them comes back to one that was seen. */
function cycleAmong(left: ReadonlySet<number>, needed: readonly ReadonlySet<number>[]): number[] {
  const path: number[] = [];
  let [place = 0] = left;
  while (!path.includes(place)) {
    path.push(place);
    place = [...(needed[place] ?? [])].find((other) => left.has(other)) ?? place;
  }
  return path.slice(path.indexOf(place));
}
