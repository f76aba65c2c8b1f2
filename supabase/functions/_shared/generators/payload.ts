import { runNames } from "./identifiers.ts";

/** The same without the keys that hold nothing: a payload has none that say nothing. */
export function present<Payload extends object>(payload: Payload): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(payload).filter(([, value]) => value !== undefined && value !== null),
  );
}

/**
 * The rule of lists that hold something of each part: one entry is for all; where fewer were sent than there are parts,
 * the rest is `rest`, or like the last. Lists that are too long were refused.
 */
export function forEachPart<Item>(items: readonly Item[], parts: number, rest?: Item): Item[] {
  const [only] = items;
  if (items.length === 1 && only !== undefined) return Array.from({ length: parts }, () => only);
  const last = rest ?? items.at(-1);
  if (last === undefined) return [...items];
  return Array.from({ length: parts }, (_, index) => items[index] ?? last);
}

/** Of lists in which null stands for "like everywhere": as long as there are parts, or nothing when all are null. */
export function exceptionsOfParts<Item>(
  items: readonly (Item | null)[] | null | undefined,
  parts: number,
): (Item | null)[] | undefined {
  const list = Array.from({ length: parts }, (_, index) => items?.[index] ?? null);
  return list.some((item) => item !== null) ? list : undefined;
}

/** The names of a new run: see `runNames`. */
export function newRun(prefix: string): { runId: string; readableId: string } {
  return runNames(prefix, new Date(), crypto.randomUUID());
}
