import type { Logger } from "pino";
import { onNpmGone } from "../worker/on-npm-gone.ts";
import type { StopList } from "./stop-list.ts";

export interface ProcessEnd {
  /** Whether this process is to end, for a signal or a failure. */
  readonly isRequested: boolean;
}

/** The list ends before that by itself. This is for a process in which even its timers' promises do not run. */
const longestMilliseconds = 9_900;
/** A terminal and npm pass on the same Ctrl-C: two signals within this time are one. */
const sameSignalMilliseconds = 200;

/**
 * Ends the process in order on SIGTERM, SIGINT, SIGHUP and when `npm run` is gone; exit code 0. A second signal closes
 * everything within a second, a third ends the process at once; both exit 1, as a failure does. `before` runs first.
 */
export function endOnSignals(opened: StopList, log: Logger, before: () => Promise<void>): ProcessEnd {
  let requestedAt: number | undefined;
  let isForced = false;

  function end(reason: string, exitCode: number): void {
    requestedAt = performance.now();
    setTimeout(() => {
      log.error({ reason }, "stopping took too long; the process ends now");
      process.exit(exitCode);
    }, longestMilliseconds);
    log.info({ reason }, "stopping; once more to force it");
    const prepared = before().catch((error: unknown) =>
      log.error({ err: error }, "running.json was not removed"),
    );
    void Promise.all([prepared, opened.stop()]).then(() => {
      log.info({}, "stopped");
      process.exit(isForced ? 1 : exitCode);
    });
  }

  function onSignal(signal: NodeJS.Signals): void {
    if (requestedAt === undefined) return end(signal, 0);
    // A closed terminal signals several times; nobody is there who could mean to force it.
    if (signal === "SIGHUP" || performance.now() - requestedAt < sameSignalMilliseconds) return;
    if (isForced) process.exit(1);
    isForced = true;
    log.warn({ reason: signal }, "stopping at once");
    void opened.force();
  }

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  onNpmGone(() => {
    if (requestedAt === undefined) end("npm is gone", 0);
  });
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "unexpected failure");
    if (requestedAt === undefined) end("failure", 1);
  });
  return {
    get isRequested() {
      return requestedAt !== undefined;
    },
  };
}
