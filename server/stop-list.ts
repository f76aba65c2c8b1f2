import type { Logger } from "pino";

/**
 * The stages of a stop, in their order. The parts of one stage stop at the same time. `atLeast` is the time in
 * milliseconds that is kept for the stage, however long the earlier ones take; time that they do not need is its too.
 */
const stages = [
  // `/ready` fails, and the local worker ends what it runs.
  { name: "announce", atLeast: 3_800 },
  { name: "requests", atLeast: 2_000 },
  { name: "services", atLeast: 1_000 },
  { name: "pools", atLeast: 500 },
  { name: "database", atLeast: 1_800 },
  { name: "port", atLeast: 200 },
  { name: "folder", atLeast: 200 },
] as const;

export type Stage = (typeof stages)[number]["name"];

/** Stops one part. The signal says that the time is nearly over: what can be cut short should be. */
export type StopPart = (signal: AbortSignal) => void | Promise<void>;

export interface StopTimes {
  /** For everything together. */
  total: number;
  /** Between the signal to a part and the moment when it is given up. */
  urgent: number;
}

/** Sum of the stages, and so much less than 10 s that the process can end within them. */
const defaultTimes: StopTimes = { total: 9_500, urgent: 500 };
/** For each stage when the stop is forced: the database is told to end at once, the rest is left. */
const forcedMilliseconds = (stage: Stage): number => (stage === "database" ? 600 : 50);

interface Part {
  name: string;
  stop: StopPart;
}

/**
 * What a process has opened, and how it closes it: in stages, each within its time. A part that fails or does not
 * stop is logged by name and left; `stop()` always resolves.
 */
export class StopList {
  readonly #parts = new Map<Stage, Part[]>();
  readonly #log: Logger;
  readonly #times: StopTimes;
  #isForced = false;
  /** Of the parts that are stopping. */
  readonly #forceParts = new Set<() => void>();
  readonly #begun = new AbortController();
  readonly #ended = new Set<Stage>();
  #stopped: Promise<void> | undefined;

  constructor(log: Logger, times: StopTimes = defaultTimes) {
    this.#log = log;
    this.#times = times;
  }

  /** A part that is added after its stage was stopped, as by a start that was cut short, stops at once. */
  add(stage: Stage, name: string, stop: StopPart): void {
    const part = { name, stop };
    if (this.#ended.has(stage)) void this.#stopPart(stage, part, this.#times.urgent);
    else this.#parts.set(stage, [...(this.#parts.get(stage) ?? []), part]);
  }

  /** Aborted when the stop begins: for a start that is still under way. */
  get signal(): AbortSignal {
    return this.#begun.signal;
  }

  /** Rejects when the stop begins. */
  whenStopped(): Promise<never> {
    const { signal } = this.#begun;
    return new Promise((_, reject) => {
      const stopped = () => reject(new Error("The start was cut short by a stop."));
      if (signal.aborted) stopped();
      else signal.addEventListener("abort", stopped, { once: true });
    });
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#run();
    this.#begun.abort();
    return this.#stopped;
  }

  /** Cuts short what still stops: everything is over within a second. */
  force(): Promise<void> {
    this.#isForced = true;
    for (const forcePart of this.#forceParts) forcePart();
    return this.stop();
  }

  async #run(): Promise<void> {
    const deadline = performance.now() + this.#times.total;
    // With a smaller total, as in tests, less is kept for each stage.
    const share = Math.min(1, this.#times.total / defaultTimes.total);
    for (const [index, { name }] of stages.entries()) {
      const kept = stages.slice(index + 1).reduce((sum, { atLeast }) => sum + atLeast, 0);
      const allowed = Math.max(0, deadline - performance.now() - kept * share);
      this.#ended.add(name);
      await Promise.all((this.#parts.get(name) ?? []).map((part) => this.#stopPart(name, part, allowed)));
    }
  }

  async #stopPart(stage: Stage, part: Part, allowed: number): Promise<void> {
    const urgent = new AbortController();
    const begun = performance.now();
    const timers: NodeJS.Timeout[] = [];
    let giveUp: ((outcome: "late") => void) | undefined;
    const late = new Promise<"late">((resolve) => (giveUp = resolve));
    const limit = (milliseconds: number) =>
      timers.push(
        setTimeout(() => urgent.abort(), Math.max(0, milliseconds - this.#times.urgent)),
        setTimeout(() => giveUp?.("late"), milliseconds),
      );
    const force = () => {
      urgent.abort();
      limit(forcedMilliseconds(stage));
    };
    limit(allowed);
    this.#forceParts.add(force);
    if (this.#isForced) force();
    try {
      const stopping = (async () => await part.stop(urgent.signal))();
      if ((await Promise.race([stopping, late])) === "late") {
        const milliseconds = Math.round(performance.now() - begun);
        this.#log.error(
          { part: part.name, milliseconds },
          "a part did not stop in time; going on without it",
        );
        // It may still fail later: that is told, and does not end the process otherwise than it was to end.
        stopping.catch((error: unknown) => this.#report(part, error));
      }
    } catch (error) {
      this.#report(part, error);
    } finally {
      for (const timer of timers) clearTimeout(timer);
      this.#forceParts.delete(force);
    }
  }

  #report({ name }: Part, error: unknown): void {
    this.#log.error({ err: error, part: name }, "a part did not stop cleanly");
  }
}
