import type { ClaimedTask, OutputFile } from "./client.ts";

export interface RunContext {
  /** Aborted when the run is over for the server: cancelled, or given to another worker. */
  signal: AbortSignal;
  /** From 0 to 1. */
  progress(fraction: number, message?: string): void;
}

export interface RenderedOutput {
  file: OutputFile;
  thumbnail?: OutputFile;
}

/** What really does the work of some task types. */
export interface Provider {
  name: string;
  taskTypes: readonly string[];
  /** @throws RenderError, or anything, which counts as one that may be tried again */
  run(task: ClaimedTask, context: RunContext): Promise<RenderedOutput>;
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
