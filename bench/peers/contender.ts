import type { Stopwatch } from "../support.ts";

/** A queue that takes part in the measurement of whole lives of tasks. */
export interface Contender {
  name: string;
  /** What must be there before the clock starts. */
  prepare?(tasks: number, concurrency: number): Promise<void>;
  /**
   * Brings so many tasks from creation to completion, so many at a time, each call for itself.
   * @returns the seconds that it took, without connecting
   */
  run(tasks: number, concurrency: number, watch: Stopwatch): Promise<number>;
  close(): Promise<void>;
}

/**
 * Work that each of so many workers repeats until all together have done it so many times.
 * @returns the seconds that it took
 */
export async function spread(
  times: number,
  concurrency: number,
  work: (worker: number) => Promise<void>,
): Promise<number> {
  const start = performance.now();
  let begun = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async (_, worker) => {
      while (begun < times) {
        begun++;
        await work(worker);
      }
    }),
  );
  return (performance.now() - start) / 1000;
}

/** Connections of a peer; more would only queue up inside PostgreSQL on a small machine. The host has 12. */
export const peerConnections = 16;
