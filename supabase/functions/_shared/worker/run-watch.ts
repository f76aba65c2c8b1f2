import type { DarkroomClient, Run } from "./client.ts";
import { RunOver } from "./provider.ts";

const ends = new Set(["Queued", "Complete", "Failed", "Cancelled"]);

/**
 * Learns that the server has ended a run, by a cancel say, as soon as it has. A refused report tells the same,
 * only later: so whatever goes wrong here, or a server that does not hold such questions, ends the watch alone.
 */
export class RunWatch {
  readonly #client: DarkroomClient;
  readonly #run: Run;
  readonly #waitSeconds: number;
  readonly #over = new AbortController();
  readonly #ended = new AbortController();

  constructor(client: DarkroomClient, run: Run, waitSeconds: number) {
    this.#client = client;
    this.#run = run;
    this.#waitSeconds = waitSeconds;
    if (waitSeconds > 0) void this.#watch();
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  end(): void {
    this.#ended.abort();
  }

  async #watch(): Promise<void> {
    const { signal } = this.#ended;
    try {
      for (let isHeld = true; isHeld && !signal.aborted;) {
        const begun = performance.now();
        const { status, attempt } = await this.#client.runState(this.#run, this.#waitSeconds, signal);
        const isOver = ends.has(status) || (status === "In Progress" && attempt !== this.#run.attempt);
        if (isOver && !signal.aborted) {
          const isCancelled = status === "Cancelled";
          this.#over.abort(new RunOver(`the task is ${status}, attempt ${attempt}`, { isCancelled }));
          return;
        }
        isHeld = performance.now() - begun > (this.#waitSeconds * 1000) / 2;
      }
    } catch {
      return; // The token may not read, or the server is away: the next report tells.
    }
  }
}
