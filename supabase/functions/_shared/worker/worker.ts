import { setTimeout as pause } from "node:timers/promises";
import {
  type ClaimedTask,
  type DarkroomClient,
  DarkroomApiError,
  type ProviderJobNote,
  type StatusUpdate,
} from "./client.ts";
import { Heartbeat } from "./heartbeat.ts";
import { type Provider, ProviderUnusable, RenderError, RunOver } from "./provider.ts";
import { RunWatch } from "./run-watch.ts";

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
  /** Between claims when there is nothing to do and the server does not hold them. */
  pollSeconds?: number;
  /** How long a claim, or a question after a run's end, may wait at the server; 0 asks neither to wait. */
  waitSeconds?: number;
  /** Between signs of life, at most; more often where the server's leases are short. */
  heartbeatSeconds?: number;
  /** How long running tasks may take to end when the worker is stopped. */
  stopGraceSeconds?: number;
}

export interface Worker {
  /**
   * Works until `stop()`. Rejects when the server refuses the credentials, or the last provider is of no use; never
   * for a task's sake.
   */
  run(): Promise<void>;
  /** Takes no more tasks, lets the running ones end, and puts back into the queue what takes too long. */
  stop(): Promise<void>;
}

const progressIntervalMilliseconds = 500;
/** How long a finished task waits for a progress call that is on its way. */
const longestSettleMilliseconds = 2_000;
const longestPauseSeconds = 60;
const tendSeconds = 15;

/** Claims tasks that the providers can do, renders them, reports progress, and completes them. */
export function createWorker(options: WorkerOptions): Worker {
  const { client, providers, log, concurrency = 1, pollSeconds = 1, waitSeconds = 25 } = options;
  const byType = new Map(
    providers.flatMap((provider) => provider.taskTypes.map((type) => [type, provider] as const)),
  );
  const claimsAs = providers[0]?.claimsAs;
  if (providers.some((provider) => provider.claimsAs?.provider !== claimsAs?.provider))
    throw new Error("The providers of one worker must claim as the same provider.");
  const stopping = new AbortController();
  /** Ends what still runs after the grace. */
  const cutting = new AbortController();
  const heartbeat = new Heartbeat(client, log, options.heartbeatSeconds ?? 20, claimsAs?.provider);
  let working: Promise<void> | undefined;
  let unusable: ProviderUnusable | undefined;

  async function lane(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        const begun = performance.now();
        const task = await claim();
        failures = 0;
        if (task) await runTask(task);
        // A server that has held the claim is asked again at once: what comes up meanwhile would have to wait.
        else if (performance.now() - begun < pollSeconds * 1000) await idle(pollSeconds);
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (isRefused(error)) {
          stopping.abort();
          throw error;
        }
        failures += 1;
        log.warn({ err: error, failures }, "claiming failed");
        await idle(Math.min(longestPauseSeconds, pollSeconds * 2 ** failures));
      }
    }
  }

  function claim(): Promise<ClaimedTask | undefined> {
    return client.claimNextTask(
      {
        taskTypes: [...byType.keys()],
        waitSeconds,
        ...(options.runType && { runType: options.runType }),
        ...(options.models && { models: options.models }),
        ...claimsAs,
      },
      stopping.signal,
    );
  }

  async function idle(seconds: number): Promise<void> {
    // Jitter, so that many workers do not ask in step.
    const milliseconds = seconds * 1000 * (0.75 + Math.random() / 2);
    await pause(milliseconds, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  async function runTask(task: ClaimedTask): Promise<void> {
    const provider = byType.get(task.task_type);
    const fields = { task_id: task.task_id, task_type: task.task_type, attempt: task.attempt };
    const over = new AbortController();
    const endRun = heartbeat.keep(task, over);
    const report = new ProgressReport(client, task, over);
    const watch = new RunWatch(client, task, waitSeconds);
    const signal = AbortSignal.any([over.signal, watch.over, cutting.signal]);
    let isDelegated = false;
    try {
      if (!provider) throw new ProviderUnusable(`no provider for ${task.task_type}`);
      const output = await provider.run(task, {
        signal,
        progress: (...at) => report.progress(...at),
        client,
        log,
        noteJob: (job) => noteJob(task, job, fields),
      });
      signal.throwIfAborted();
      watch.end();
      await report.settle();
      if ("delegated" in output) {
        await client.updateTaskStatus(task, { status: "In Progress", progress_message: output.delegated });
        log.info({ ...fields, provider: provider.name }, output.delegated);
        isDelegated = true;
        return;
      }
      // Heartbeats go on: an upload may outlast the lease.
      const url = await client.completeTask(task, output).catch((error: unknown) => {
        throw storingFailure(error);
      });
      log.info({ ...fields, provider: provider.name, url }, "task completed");
    } catch (error) {
      report.end();
      watch.end();
      if (over.signal.aborted || watch.over.aborted || isRunOver(error))
        log.info({ ...fields, err: error }, "run is over, result dropped");
      else await giveBack(task, error, fields);
      if (provider && error instanceof ProviderUnusable) withdraw(provider, error);
    } finally {
      // It stays this worker's until the server has ended it, or given it to another.
      if (isDelegated && !over.signal.aborted) over.signal.addEventListener("abort", endRun);
      else endRun();
    }
  }

  async function noteJob(task: ClaimedTask, job: ProviderJobNote, fields: object): Promise<void> {
    try {
      await client.updateTaskStatus(task, { status: "In Progress", provider_job: job });
    } catch (error) {
      // Here, because news that the task has failed may end the run before this answer does.
      if (error instanceof DarkroomApiError && error.code === "sold_below_cost") {
        log.warn({ ...fields, ...error.details }, "task is sold below its cost");
      } else if (error instanceof DarkroomApiError && error.code === "unpaid_provider_limit") {
        log.warn({ ...fields, ...error.details }, "the user's tasks have cost too much without a charge");
      }
      throw error;
    }
  }

  async function giveBack(task: ClaimedTask, error: unknown, fields: object): Promise<void> {
    const stopped = cutting.signal.aborted;
    const failure = error instanceof RenderError && !stopped ? error : undefined;
    const isRetryable = failure?.isRetryable ?? true;
    const reason = stopped ? "worker stopped" : error instanceof Error ? error.message : String(error);
    log.warn({ ...fields, err: error }, isRetryable ? "task requeued" : "task failed");
    try {
      await client.updateTaskStatus(task, {
        status: isRetryable ? "Queued" : "Failed",
        error_details: reason.slice(0, 2000),
        ...((stopped || error instanceof ProviderUnusable) && { given_back: true }),
        ...endedJobs(failure),
      });
    } catch (unheard) {
      // The lease expires by itself, so the task is not lost.
      if (!isRunOver(unheard)) log.warn({ ...fields, err: unheard }, "the failure could not be reported");
    }
  }

  /** Its tasks are left to others. A worker that has nothing else to do ends. */
  function withdraw(provider: Provider, error: ProviderUnusable): void {
    for (const type of provider.taskTypes) byType.delete(type);
    log.warn(
      { err: error, provider: provider.name },
      "the provider takes nothing: its tasks are not claimed any more",
    );
    if (byType.size > 0) return;
    unusable ??= error;
    stopping.abort();
  }

  /** Until the worker is stopped. */
  async function tend(): Promise<void> {
    const { signal } = stopping;
    const tended = providers.filter((provider) => provider.tend);
    while (tended.length > 0 && !signal.aborted) {
      for (const provider of tended) {
        try {
          await provider.tend?.({ client, log });
        } catch (error) {
          log.warn({ err: error, provider: provider.name }, "a provider could not be tended");
        }
      }
      await pause(tendSeconds * 1000, undefined, { signal }).catch(() => undefined);
    }
  }

  async function work(): Promise<void> {
    // Before the first claim, so that its lease is short already.
    await heartbeat.start();
    // Not waited for at the end: what it has under way is given out again.
    void tend();
    const ended = await Promise.allSettled(Array.from({ length: concurrency }, lane));
    await heartbeat.end();
    for (const lane of ended) if (lane.status === "rejected") throw lane.reason;
    if (unusable) throw unusable;
  }

  return {
    async run() {
      working ??= work();
      await working;
    },
    async stop() {
      stopping.abort();
      heartbeat.wane();
      const grace = setTimeout(() => cutting.abort(), (options.stopGraceSeconds ?? 8) * 1000);
      // How it ended is told to whoever awaits run().
      await working?.catch(() => undefined);
      clearTimeout(grace);
    },
  };
}

/** What the server refuses to store it refuses again: neither another try nor another job makes it better. */
function storingFailure(error: unknown): unknown {
  const isFinal = error instanceof DarkroomApiError && [413, 415, 422].includes(error.status);
  if (!isFinal) return error;
  return new RenderError(`the output cannot be stored: ${error.message}`, {
    isRetryable: false,
    endsJob: true,
  });
}

/** Which jobs at the provider the next run does not go on with. */
function endedJobs(
  failure: RenderError | undefined,
): Pick<StatusUpdate, "provider_job" | "ended_provider_steps" | "unbilled_provider_steps"> {
  if (!failure) return {};
  const unbilled = failure.unbilledSteps.length > 0 && { unbilled_provider_steps: failure.unbilledSteps };
  if (failure.endedSteps) {
    return {
      ...(failure.endedSteps.length > 0 && { ended_provider_steps: failure.endedSteps }),
      ...unbilled,
    };
  }
  return { ...(failure.endsJob && { provider_job: null }), ...unbilled };
}

/** The server has ended this run: cancelled, failed, or given to another. */
function isRunOver(error: unknown): boolean {
  if (!(error instanceof DarkroomApiError) || error.code === "provider_job_open") return false;
  return error.status === 409 || error.code === "task_not_found";
}

/** Credentials that are refused do not mend themselves. */
function isRefused(error: unknown): boolean {
  return error instanceof DarkroomApiError && (error.status === 401 || error.status === 403);
}

/** Sends the latest progress, at most twice a second. */
class ProgressReport {
  readonly #client: DarkroomClient;
  readonly #task: ClaimedTask;
  readonly #over: AbortController;
  #latest: { progress: number; progress_message?: string } | undefined;
  #sending: Promise<void> | undefined;
  readonly #settled = new AbortController();

  /** `over` is aborted when an answer says that the run is. */
  constructor(client: DarkroomClient, task: ClaimedTask, over: AbortController) {
    this.#client = client;
    this.#task = task;
    this.#over = over;
  }

  progress(fraction: number, message?: string): void {
    this.#latest = {
      progress: Math.min(1, Math.max(0, fraction)),
      ...(message !== undefined && { progress_message: message.slice(0, 500) }),
    };
    if (!this.#settled.signal.aborted) this.#sending ??= this.#send();
  }

  /** No more progress, so that none comes after the completion. */
  async settle(): Promise<void> {
    this.end();
    await Promise.race([this.#sending, pause(longestSettleMilliseconds, undefined, { ref: false })]);
  }

  end(): void {
    this.#settled.abort();
  }

  async #send(): Promise<void> {
    do {
      const update = this.#latest ?? {};
      this.#latest = undefined;
      try {
        await this.#client.updateTaskStatus(this.#task, { status: "In Progress", ...update });
      } catch (error) {
        // Anything but the end of the run passes: the next report says the same.
        if (isRunOver(error)) {
          const isCancelled = error instanceof DarkroomApiError && error.code === "task_cancelled";
          this.#over.abort(new RunOver("a report was refused", { isCancelled }));
        }
      }
      const signal = this.#settled.signal;
      if (this.#latest)
        await pause(progressIntervalMilliseconds, undefined, { signal }).catch(() => undefined);
    } while (!this.#settled.signal.aborted && this.#latest && !this.#over.signal.aborted);
    this.#sending = undefined;
  }
}
