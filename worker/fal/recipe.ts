import type { ClaimedTask, OutputFile } from "../client.ts";
import type { RenderedOutput, RunContext } from "../provider.ts";
import type { FileInput } from "./params.ts";

/** How much of each unit FAL bills for a job, at most. The price list of the provider says which of them counts. */
export interface BilledUnits {
  /** Pictures that the job makes. */
  images?: number;
  /** Of all pictures together, each rounded up to a whole one; a megapixel is 1,000,000 pixels, as FAL counts. */
  megapixels?: number;
  /** Of the film that the job makes. */
  seconds?: number;
  /** Steps of a training. */
  training_steps?: number;
}

/** One job at FAL: the endpoint, its input, and the files that the input names. */
export interface FalRequest {
  model: string;
  input: Record<string, unknown>;
  /** Files in the input that are not yet addresses that FAL can fetch. */
  files: FileInput[];
  units: BilledUnits;
}

/** A job that ended well. */
export interface FalJobResult {
  requestId: string;
  /** What FAL answered: the output type of the endpoint, as it came. */
  data: unknown;
}

/** Runs the jobs of one task at FAL. */
export interface FalJobs {
  /**
   * Submits a job and follows it to its end. `step` numbers the jobs of a task from 0; the same params give the same steps. A step
   * that an earlier run of the task submitted is not submitted again: its job is followed, or its result is read. Steps may run
   * at the same time.
   * @throws RenderError, ProviderUnusable, or the signal's reason
   */
  run(step: number, request: FalRequest): Promise<FalJobResult>;
  /** Fetches the file at an address of a result, within limits, and checks that it is complete. @throws RenderError */
  fetch(url: string, medium: "image" | "video" | "weights", filename: string): Promise<OutputFile>;
  /** Brings bytes to FAL, for a later job. @returns the address */
  upload(bytes: Uint8Array, contentType: string): Promise<string>;
  /** Reports what the model could not do of what was asked; the text is stored with the output. */
  warn(message: string): void;
}

/** How FAL runs a task of one type. */
export type FalRecipe = (task: ClaimedTask, jobs: FalJobs, context: RunContext) => Promise<RenderedOutput>;
