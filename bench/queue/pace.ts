import { setTimeout as pause } from "node:timers/promises";

/**
 * Runs work at a steady rate, by so many workers, until it says to stop. Work whose time has come while all were
 * busy is done as soon as one is free, so a queue that is too slow shows in its rate.
 * `perSecond` of zero: as fast as it goes.
 */
export async function atSteadyRate(
  { perSecond, workers }: { perSecond: number; workers: number },
  hasMore: (round: number, elapsedMilliseconds: number) => boolean,
  work: (round: number, worker: number) => Promise<void>,
): Promise<void> {
  const begun = performance.now();
  let rounds = 0;
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      for (;;) {
        const round = rounds++;
        const early = perSecond === 0 ? 0 : (round / perSecond) * 1000 - (performance.now() - begun);
        if (early > 1) await pause(early);
        if (!hasMore(round, performance.now() - begun)) return;
        await work(round, worker);
      }
    }),
  );
}
