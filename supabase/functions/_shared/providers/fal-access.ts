import type { FalQueue } from "./fal-queue.ts";
import type { FalVariables } from "./variables.ts";

/**
 * A withdrawal is one party's for a minute, and takes five calls at most.
 */
export const withdrawalCallMilliseconds = 10_000;

/** FAL's queue, loaded at the first use, because most isolates never ask for it; undefined without a key. */
export type FalAccess = () => Promise<FalQueue> | undefined;

export function createFalAccess(variables: FalVariables): FalAccess {
  let queue: Promise<FalQueue> | undefined;
  const { FAL_KEY: key, FAL_QUEUE_URL: queueUrl, FAL_REST_URL: restUrl } = variables;
  return () =>
    key === undefined
      ? undefined
      : (queue ??= import("./fal-queue.ts").then(({ createFalQueue }) =>
          createFalQueue(key, { queueUrl, restUrl, callMilliseconds: withdrawalCallMilliseconds }),
        ));
}
