import { setTimeout as pause } from "node:timers/promises";
import { type ClaimedTask, type DarkroomClient, DarkroomApiError } from "./client.ts";
import { type Provider, RenderError } from "./provider.ts";

export interface WorkerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface WorkerOptions {
  client: DarkroomClient;
  providers: readonly Provider[];
  log: WorkerLog;
  runType?: "gpu" | "api";
  models?: readonly string[];
  /** Tasks at once. */
  concurrency?: number;
  /** Between claims when there is nothing to do. */
  pollSeconds?: number;
  /** How long a claim may wait at the server. */
  waitSeconds?: number;
  /** Between signs of life while a provider says nothing. */
  heartbeatSeconds?: number;
}

export interface Worker {
  /** Works until `stop()`. Never rejects for a task's sake. */
  run(): Promise<void>;
  /** Takes no more tasks, puts the running ones back into the queue, and waits until that is done. */
  stop(): Promise<void>;
}

const progressIntervalMilliseconds = 500;

/** Claims tasks that the providers can do, renders them, reports progress, and completes them. */
export function createWorker(options: WorkerOptions): Worker {
  const { client, providers, log, concurrency = 1, pollSeconds = 1, waitSeconds = 0 } = options;
  const byType = new Map(
    providers.flatMap((provider) => provider.taskTypes.map((type) => [type, provider] as const)),
  );
  const stopping = new AbortController();
  let working: Promise<void> | undefined;

  async function lane(): Promise<void> {
    while (!stopping.signal.aborted) {
      const task = await claim();
      if (task) await runTask(task);
      else await idle();
    }
  }

  async function claim(): Promise<ClaimedTask | undefined> {
    try {
      return await client.claimNextTask(
        {
          taskTypes: [...byType.keys()],
          waitSeconds,
          ...(options.runType && { runType: options.runType }),
          ...(options.models && { models: options.models }),
        },
        stopping.signal,
      );
    } catch (error) {
      if (!stopping.signal.aborted) log.warn({ err: error }, "claiming failed");
      return undefined;
    }
  }

  async function idle(): Promise<void> {
    // Jitter, so that many workers do not ask in step.
    const milliseconds = pollSeconds * 1000 * (0.75 + Math.random() / 2);
    await pause(milliseconds, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  async function runTask(task: ClaimedTask): Promise<void> {
    const provider = byType.get(task.task_type);
    const fields = { task_id: task.task_id, task_type: task.task_type, attempt: task.attempt };
    const report = new ProgressReport(client, task, options.heartbeatSeconds ?? 15);
    const signal = AbortSignal.any([report.over, stopping.signal]);
    try {
      if (!provider) throw new RenderError(`no provider for ${task.task_type}`, { isRetryable: true });
      const { file, thumbnail } = await provider.run(task, {
        signal,
        progress: (...at) => report.progress(...at),
      });
      signal.throwIfAborted();
      await report.end();
      const url = await client.completeTask(task, file, thumbnail);
      log.info({ ...fields, provider: provider.name, url }, "task completed");
    } catch (error) {
      await report.end();
      if (report.over.aborted || isRunOver(error))
        log.info({ ...fields, err: error }, "run is over, result dropped");
      else await giveBack(task, error, fields);
    }
  }

  async function giveBack(task: ClaimedTask, error: unknown, fields: object): Promise<void> {
    const stopped = stopping.signal.aborted;
    const isRetryable = stopped || !(error instanceof RenderError) || error.isRetryable;
    const reason = stopped ? "worker stopped" : error instanceof Error ? error.message : String(error);
    log.warn({ ...fields, err: error }, isRetryable ? "task requeued" : "task failed");
    try {
      await client.updateTaskStatus(task, {
        status: isRetryable ? "Queued" : "Failed",
        error_details: reason.slice(0, 2000),
      });
    } catch (failure) {
      // The lease expires by itself, so the task is not lost.
      if (!isRunOver(failure)) log.warn({ ...fields, err: failure }, "the failure could not be reported");
    }
  }

  return {
    async run() {
      working ??= Promise.all(Array.from({ length: concurrency }, lane)).then(() => undefined);
      await working;
    },
    async stop() {
      stopping.abort();
      await working;
    },
  };
}

/** The server has ended this run: cancelled, failed, or given to another. */
function isRunOver(error: unknown): boolean {
  return error instanceof DarkroomApiError && (error.status === 409 || error.status === 404);
}

/** Sends the latest progress, at most twice a second, and a sign of life when there is none. */
class ProgressReport {
  readonly #client: DarkroomClient;
  readonly #task: ClaimedTask;
  readonly #over = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;
  #latest: { progress: number; progress_message?: string } | undefined;
  #sending: Promise<void> | undefined;
  #ended = false;

  constructor(client: DarkroomClient, task: ClaimedTask, heartbeatSeconds: number) {
    this.#client = client;
    this.#task = task;
    this.#heartbeat = setInterval(() => (this.#sending ??= this.#send()), heartbeatSeconds * 1000);
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  progress(fraction: number, message?: string): void {
    this.#latest = {
      progress: Math.min(1, Math.max(0, fraction)),
      ...(message !== undefined && { progress_message: message.slice(0, 500) }),
    };
    if (!this.#ended) this.#sending ??= this.#send();
  }

  /** Nothing is sent after this, so that no report comes after the completion. */
  async end(): Promise<void> {
    this.#ended = true;
    clearInterval(this.#heartbeat);
    await this.#sending;
  }

  async #send(): Promise<void> {
    do {
      const update = this.#latest ?? {};
      this.#latest = undefined;
      try {
        await this.#client.updateTaskStatus(this.#task, { status: "In Progress", ...update });
      } catch (error) {
        // Anything but the end of the run passes: the next report says the same.
        if (isRunOver(error)) this.#over.abort(error);
      }
      if (!this.#ended && this.#latest) await pause(progressIntervalMilliseconds);
    } while (!this.#ended && this.#latest && !this.over.aborted);
    this.#sending = undefined;
  }
}
