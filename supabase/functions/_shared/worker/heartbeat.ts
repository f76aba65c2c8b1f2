import { setTimeout as pause } from "node:timers/promises";
import type { DarkroomClient, HeartbeatReport, Run } from "./client.ts";
import { RunOver } from "./provider.ts";
import type { WorkerLog } from "./worker.ts";

interface KeptRun {
  run: Run;
  /** Aborted when the server says that the run is over. */
  over: AbortController;
}

/** As many as one beat may name. */
const mostRuns = 50;

/** A worker's signs of life, which keep its runs with it, and bring the news of those that are over. */
export class Heartbeat {
  readonly #client: DarkroomClient;
  readonly #log: WorkerLog;
  readonly #provider: HeartbeatReport["provider"];
  readonly #runs = new Set<KeptRun>();
  readonly #ended = new AbortController();
  #seconds: number;
  #status: HeartbeatReport["status"] = "active";
  #beating: Promise<void> | undefined;

  constructor(
    client: DarkroomClient,
    log: WorkerLog,
    seconds: number,
    provider?: HeartbeatReport["provider"],
  ) {
    this.#client = client;
    this.#log = log;
    this.#seconds = seconds;
    this.#provider = provider;
  }

  /** Resolves after the first beat, whether it was heard or not. */
  async start(): Promise<void> {
    await this.#beat();
    this.#beating = this.#goOn();
  }

  /** Keeps a run with this worker, until the function that it answers is called. */
  keep(run: Run, over: AbortController): () => void {
    const kept = { run, over };
    this.#runs.add(kept);
    return () => void this.#runs.delete(kept);
  }

  /** From now on it takes nothing new. */
  wane(): void {
    if (this.#status === "active") this.#status = "terminating";
  }

  /** The last beat. What is not given back by now, the server takes back. */
  async end(): Promise<void> {
    this.#ended.abort();
    // So that no earlier beat comes after it, and revives the worker.
    await this.#beating;
    this.#status = "terminated";
    await this.#beat();
  }

  async #goOn(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await pause(this.#seconds * 1000, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) await this.#beat();
    }
  }

  async #beat(): Promise<void> {
    const kept = [...this.#runs];
    // One beat without runs is a sign of life as well.
    for (let from = 0; from === 0 || from < kept.length; from += mostRuns) {
      await this.#tell(kept.slice(from, from + mostRuns));
    }
  }

  async #tell(kept: readonly KeptRun[]): Promise<void> {
    try {
      const answer = await this.#client.heartbeat({
        ...(this.#status && { status: this.#status }),
        ...(this.#provider && { provider: this.#provider }),
        tasks: kept.map(({ run }) => run),
      });
      // Three beats a lease, so that it outlasts two that are lost.
      if (answer.lease_seconds) this.#seconds = Math.min(this.#seconds, answer.lease_seconds / 3);
      for (const [index, { state }] of (answer.tasks ?? []).entries()) {
        if (state === "running") continue;
        const isCancelled = state === "cancelled";
        kept[index]?.over.abort(new RunOver(`the run is ${state}`, { isCancelled }));
      }
    } catch (error) {
      // The next one says the same; a server that hears none of them takes its tasks back.
      this.#log.warn({ err: error }, "a heartbeat was not heard");
    }
  }
}
