import type { ClaimedTask, OutputFile } from "../client.ts";
import type { Delegation, RenderedOutput, RunContext } from "../provider.ts";
import type { FileInput } from "./params.ts";

/** How much of each unit FAL bills for a job, at most. The price list of the provider says which of them counts. */
export interface BilledUnits {
  /** Pictures that the job makes. */
  images?: number;
  /** Of all pictures together, each rounded up to a whole one; of a film, of all its frames together. A megapixel is 1,000,000 pixels, as FAL counts. */
  megapixels?: number;
  /** Of the film that the job makes, at 16 frames a second for models that FAL bills so. */
  seconds?: number;
  /** Steps of a training. */
  training_steps?: number;
  /** What decides the price of a unit, as the price list names it: "720p". Default: the dearest that is listed. */
  variant?: string;
}

/** One job at FAL: the endpoint, its input, and the files that the input names. */
export interface FalRequest {
  model: string;
  input: Record<string, unknown>;
  /** Files in the input that are not yet addresses that FAL can fetch. */
  files: FileInput[];
  units: BilledUnits;
  /**
   * The files of the job's result are the output of the task, so the webhook may complete the run with them. Default: false. A run
   * that has warned of something completes the task itself, because the webhook does not know the warning.
   */
  completes?: boolean;
}

/** A job that ended well. */
export interface FalJobResult {
  requestId: string;
  /** What FAL answered: the output type of the endpoint, as it came. */
  data: unknown;
}

/** How many jobs a task may have. */
export const mostSteps = 64;

/** Runs the jobs of one task at FAL. */
export interface FalJobs {
  /**
   * Submits a job and follows it to its end. `step` numbers the jobs of a task from 0 to 63; the same params give the same steps. A
   * step that an earlier run of the task submitted is not submitted again: its job is followed, or its result is read. Steps may run
   * at the same time; the jobs of a task that are at FAL at the same time are limited, and the others wait.
   * @throws RenderError, ProviderUnusable, or the signal's reason
   */
  run(step: number, request: FalRequest): Promise<FalJobResult>;
  /**
   * Checks the files of a job and places them where FAL can fetch them, before it is run. A recipe of several jobs prepares all of
   * them first, so that a file which cannot be used costs nothing. Does nothing for a step that was submitted before.
   * @throws RenderError, or the signal's reason
   */
  prepare(step: number, request: FalRequest): Promise<void>;
  /** Says how many jobs the task takes, for the progress that is shown. Default: one more than have begun. */
  expect(jobs: number): void;
  /** Fetches the file at an address of a result, within limits, and checks that it is complete. @throws RenderError */
  fetch(url: string, medium: "image" | "video" | "weights", filename: string): Promise<OutputFile>;
  /** The pictures or the video of a result as the task's output: fetched and checked, as many as are paid. @throws RenderError */
  output(data: unknown): Promise<RenderedOutput>;
  /** Brings bytes to FAL, for a later job. @returns the address */
  upload(bytes: Uint8Array, contentType: string): Promise<string>;
  /** Reports what the model could not do of what was asked; the text is stored with the output. */
  warn(message: string): void;
}

/** How FAL runs a task of one type. An orchestrator's run ends when its parts are created. */
export type FalRecipe = (
  task: ClaimedTask,
  jobs: FalJobs,
  context: RunContext,
) => Promise<RenderedOutput | Delegation>;
