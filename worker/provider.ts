import type { ClaimedTask, DarkroomClient, OutputFile } from "./client.ts";

export interface RunContext {
  /** Aborted when the run is over for the server: cancelled, or given to another worker. */
  signal: AbortSignal;
  /** From 0 to 1. */
  progress(fraction: number, message?: string): void;
  /** For what a run asks of the server besides: inputs, other tasks' outputs, tasks of its own. */
  client: DarkroomClient;
}

export interface RenderedOutput {
  file: OutputFile;
  thumbnail?: OutputFile;
  /** The text that stands for the output, where that is not its URL. */
  textOf?: (url: string) => string;
}

/**
 * An orchestrator's run is over when its parts are created: the task goes on, without the worker's lane, until the server
 * ends it with the last of them.
 */
export interface Delegation {
  /** What was created, to be shown. */
  delegated: string;
}

/** What really does the work of some task types. */
export interface Provider {
  name: string;
  taskTypes: readonly string[];
  /** @throws RenderError, or anything, which counts as one that may be tried again */
  run(task: ClaimedTask, context: RunContext): Promise<RenderedOutput | Delegation>;
}

/** A task that cannot be rendered. */
export class RenderError extends Error {
  /** Whether another try could succeed; if not, the task fails at once. */
  readonly isRetryable: boolean;

  constructor(message: string, { isRetryable }: { isRetryable: boolean }) {
    super(message);
    this.name = "RenderError";
    this.isRetryable = isRetryable;
  }
}
