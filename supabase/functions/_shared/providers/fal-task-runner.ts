/**
 * The worker inside a function: the same loop and the same provider as a worker process. It is the one file of the functions that
 * imports the worker.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type ClientOptions, DarkroomClient, type Run, type StatusUpdate } from "../worker/client.ts";
import { falTaskTypes } from "../worker/fal/recipes.ts";
import { createFalProvider } from "../worker/fal/provider.ts";
import { type ClaimsAs, type Provider, ProviderUnusable, type RenderedOutput } from "../worker/provider.ts";
import { createWorker, type WorkerLog } from "../worker/worker.ts";
import { ProviderRefusal, type RunReport, type TaskRunner } from "./task-runner.ts";
import type { FalVariables } from "./variables.ts";

export interface FalTaskRunnerOptions {
  variables: FalVariables;
  /** Base URL of the API. */
  apiUrl: string;
  serviceKey: string;
  /** Answers calls of functions in this process, the others over the network. */
  fetch: typeof fetch;
  log: WorkerLog;
  /** Aborted when the process is about to end. */
  ending: AbortSignal;
  /** Without work for so long, a call ends: the timer makes the next one. */
  idleMilliseconds?: number;
}

const usualIdleMilliseconds = 2_000;
const pollSeconds = 1;
const heartbeatSeconds = 10;
/** Files of results are in memory, of several tasks at once, and an isolate has 256 MB. */
const mostFileBytes = 64 * 1024 * 1024;
/** At the end nothing new is claimed: it would only be given back. */
const longestGraceMilliseconds = 12_000;

export function createFalTaskRunner(options: FalTaskRunnerOptions): TaskRunner {
  return {
    provider: "fal",
    taskTypes: falTaskTypes,
    async run({ workerId, milliseconds, atOnce }) {
      const { apiUrl, serviceKey, fetch, log, variables, ending } = options;
      const idle = options.idleMilliseconds ?? usualIdleMilliseconds;
      const report: RunReport = { claimed: 0, completed: 0, delegated: 0, given_back: 0, failed: 0 };
      const grace = Math.min(longestGraceMilliseconds, milliseconds / 4);
      const client = new ReportingClient({ url: apiUrl, token: serviceKey, workerId, fetch }, report);
      const provider = new WatchedProvider(
        createFalProvider({ variables, storageUrls: [apiUrl], mostFileBytes }),
        report,
      );
      const worker = createWorker({
        client,
        providers: [provider],
        log,
        concurrency: atOnce,
        pollSeconds,
        // Questions that wait at the server would each look at the database again and again.
        waitSeconds: 0,
        heartbeatSeconds,
        stopGraceSeconds: grace / 1000,
      });
      const ended = new AbortController();
      const working = worker.run().finally(() => ended.abort());
      // Its failure is read below.
      working.catch(() => undefined);
      const over = AbortSignal.any([ended.signal, ending, AbortSignal.timeout(milliseconds - grace)]);
      while (!over.aborted && provider.idleMilliseconds() < idle) {
        await pause(Math.min(200, idle), undefined, { signal: over }).catch(() => undefined);
      }
      await worker.stop();
      try {
        await working;
      } catch (error) {
        if (error instanceof ProviderUnusable) throw new ProviderRefusal(error.message, { cause: error });
        throw error;
      }
      return report;
    },
  };
}

/** Counts what the worker reports. */
class ReportingClient extends DarkroomClient {
  readonly #report: RunReport;

  constructor(options: ClientOptions, report: RunReport) {
    super(options);
    this.#report = report;
  }

  override async completeTask(run: Run, output: RenderedOutput): Promise<string> {
    const url = await super.completeTask(run, output);
    this.#report.completed += 1;
    return url;
  }

  override async updateTaskStatus(run: Run, update: StatusUpdate): Promise<void> {
    await super.updateTaskStatus(run, update);
    if (update.status === "In Progress") return;
    this.#report[update.given_back ? "given_back" : "failed"] += 1;
  }
}

/** A provider, and since when it has had nothing to do. */
class WatchedProvider implements Provider {
  readonly name: string;
  readonly taskTypes: readonly string[];
  readonly claimsAs: ClaimsAs;
  readonly #inner: Provider;
  readonly #report: RunReport;
  #running = 0;
  #idleSince = performance.now();

  constructor(inner: Provider, report: RunReport) {
    this.name = inner.name;
    this.taskTypes = inner.taskTypes;
    this.claimsAs = inner.claimsAs ?? { provider: "fal" };
    this.#inner = inner;
    this.#report = report;
  }

  idleMilliseconds(): number {
    return this.#running > 0 ? 0 : performance.now() - this.#idleSince;
  }

  async run(...call: Parameters<Provider["run"]>): ReturnType<Provider["run"]> {
    this.#running += 1;
    this.#report.claimed += 1;
    try {
      const output = await this.#inner.run(...call);
      if ("delegated" in output) this.#report.delegated += 1;
      return output;
    } finally {
      this.#running -= 1;
      this.#idleSince = performance.now();
    }
  }

  async tend(context: Parameters<NonNullable<Provider["tend"]>>[0]): Promise<void> {
    await this.#inner.tend?.(context);
  }
}
