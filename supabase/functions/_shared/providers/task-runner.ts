import type { Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";

/** What a call of the runner may use. */
export interface RunLimits {
  workerId: string;
  milliseconds: number;
  /** Tasks at once. */
  atOnce: number;
}

/** What a call did. A task that was given back goes on with its job in a later call. */
export interface RunReport {
  claimed: number;
  completed: number;
  /** Orchestrators whose parts are created; the server ends them with the last part. */
  delegated: number;
  given_back: number;
  /** Runs that failed; the task is queued again, or has failed. */
  failed: number;
}

/** Claims tasks that a provider can run, and runs them until none is left or the time is over. */
export interface TaskRunner {
  provider: string;
  taskTypes: readonly string[];
  /** @throws ProviderRefusal */
  run(limits: RunLimits): Promise<RunReport>;
}

/** The provider takes nothing with this key. */
export class ProviderRefusal extends Error {
  override name = "ProviderRefusal";
}

/** The runner of this installation, and how long its process leaves a call. */
export interface ProviderRuns {
  /** Loaded at the first use; undefined without a key. */
  runner(): Promise<TaskRunner> | undefined;
  atOnce: number;
  longestMilliseconds: number;
  /** Runs at the same time, of all calls. */
  mostRunners: number;
  /** What is left of the process's life; undefined where it has no end. */
  millisecondsLeft(): number | undefined;
  /** Has the process live until work is done; undefined where a caller has to wait for it. */
  keepAlive: ((work: Promise<unknown>) => void) | undefined;
}

interface Dependencies {
  database: Pick<Database, "call">;
  runs: ProviderRuns | undefined;
}

/** A call that may claim tasks, under a worker's name of its own. */
export interface BegunRun {
  workerId: string;
  end(): Promise<RunReport>;
}

const provider = "fal";
/** A run that is shorter would only claim tasks and give them back. */
const shortestMilliseconds = 15_000;
/** For the last reports, before the process ends. */
const reserveMilliseconds = 10_000;
const refusalSeconds = 600;

/**
 * Begins a run of the provider's tasks. @returns undefined where as many run as may, or the process is about to end
 * @throws AppError `provider_not_configured`
 */
export async function beginProviderRun(
  { database, runs }: Dependencies,
  { milliseconds }: { milliseconds: number | undefined },
): Promise<BegunRun | undefined> {
  const runner = await runs?.runner();
  if (!runs || !runner) {
    await database.call("note_provider_runner", { for_provider: provider, task_types: [] });
    throw new AppError("provider_not_configured", { variable: "FAL_KEY", retry_after: 60 });
  }
  const left = (runs.millisecondsLeft() ?? Infinity) - reserveMilliseconds;
  if (left < shortestMilliseconds) return undefined;
  const workerId = await database.call<string | null>("begin_provider_run", {
    for_provider: runner.provider,
    task_types: runner.taskTypes,
    most_runners: runs.mostRunners,
  });
  if (workerId === null) return undefined;
  return {
    workerId,
    async end() {
      try {
        return await runner.run({
          workerId,
          milliseconds: Math.min(milliseconds ?? runs.longestMilliseconds, runs.longestMilliseconds, left),
          atOnce: runs.atOnce,
        });
      } catch (error) {
        if (!(error instanceof ProviderRefusal)) throw error;
        // Timers leave a provider alone that refuses the key: each call would give the same tasks back.
        await database.call("note_provider_runner", {
          for_provider: runner.provider,
          task_types: runner.taskTypes,
          pause_seconds: refusalSeconds,
        });
        throw new AppError("provider_unavailable", { retry_after: refusalSeconds }, { cause: error });
      }
    },
  };
}
