import type { FalRule } from "../providers/variables.ts";
import type { ClaimedTask, DarkroomClient, OutputFacts, OutputFile, ProviderJobNote } from "./client.ts";

export interface RunContext {
  /**
   * Aborted when the run is over for the server, with a `RunOver` as reason, or when the worker is stopped, and then the
   * task goes back into the queue.
   */
  signal: AbortSignal;
  /** From 0 to 1. */
  progress(fraction: number, message?: string): void;
  /** For what a run asks of the server besides: inputs, other tasks' outputs, tasks of its own. */
  client: DarkroomClient;
  log: ProviderLog;
  /** Has the server keep what job runs this task, for the run after this one. Rejects when it does not. */
  noteJob(job: ProviderJobNote): Promise<void>;
}

export interface RenderedOutput {
  file: OutputFile;
  thumbnail?: OutputFile;
  facts?: OutputFacts;
  /** What was made beside it. */
  more?: readonly { file: OutputFile; facts?: OutputFacts }[];
  /** The text that stands for the output, where that is not its URL. */
  textOf?: (url: string) => string;
  /** What could not be done of what was asked; stored with the output. */
  warnings?: readonly string[];
}

/**
 * An orchestrator's run is over when its parts are created: the task goes on, without the worker's lane, until the server
 * ends it with the last of them.
 */
export interface Delegation {
  /** What was created, to be shown. */
  delegated: string;
}

/** Names a provider to the server; of FAL also the rule by which it takes tasks, where that is not left to the server. */
export type ClaimsAs =
  { provider: "sandbox" } | { provider: "fal"; falRuns?: FalRule; falAfterSeconds?: number };

/** What really does the work of some task types. */
export interface Provider {
  name: string;
  taskTypes: readonly string[];
  /** As what its worker claims, where it is no own GPU or API worker: the server gives it only what is left to it. */
  claimsAs?: ClaimsAs;
  /** @throws RenderError, ProviderUnusable, or anything, which counts as an error that may be tried again */
  run(task: ClaimedTask, context: RunContext): Promise<RenderedOutput | Delegation>;
  /** What there is to do now and then beside the runs, such as withdrawing jobs that no task needs any more. */
  tend?(context: { client: DarkroomClient; log: ProviderLog }): Promise<void>;
}

export interface ProviderLog {
  warn(fields: object, message: string): void;
}

/** A task that cannot be rendered. */
export class RenderError extends Error {
  /** Whether another try could succeed; if not, the task fails at once. */
  readonly isRetryable: boolean;
  /** Whether the provider's job has ended: the next run begins another. */
  readonly endsJob: boolean;
  /** Of a task of several jobs, those that have ended and are begun again; undefined: all, where `endsJob` says so. */
  readonly endedSteps: readonly number[] | undefined;
  /** Whether the provider said that the job failed, and so bills nothing for it. */
  readonly isUnbilled: boolean;
  /** Of a task of several jobs, those that the provider does not bill. */
  readonly unbilledSteps: readonly number[];

  constructor(
    message: string,
    {
      isRetryable,
      endsJob = false,
      endedSteps,
      isUnbilled = false,
      unbilledSteps = [],
    }: {
      isRetryable: boolean;
      endsJob?: boolean;
      endedSteps?: readonly number[];
      isUnbilled?: boolean;
      unbilledSteps?: readonly number[];
    },
  ) {
    super(message);
    this.name = "RenderError";
    this.isRetryable = isRetryable;
    this.endsJob = endsJob;
    this.endedSteps = endedSteps;
    this.isUnbilled = isUnbilled;
    this.unbilledSteps = unbilledSteps;
  }
}

/** The provider takes nothing from this worker, whatever the task: its key is refused, say. No run has failed. */
export class ProviderUnusable extends Error {
  override name = "ProviderUnusable";
}

/** Why a run is over for the server. */
export class RunOver extends Error {
  override name = "RunOver";
  /** Nobody wants the output any more; otherwise another run may go on with the provider's job. */
  readonly isCancelled: boolean;

  constructor(message: string, { isCancelled }: { isCancelled: boolean }) {
    super(message);
    this.isCancelled = isCancelled;
  }
}
