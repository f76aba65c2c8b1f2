import { setTimeout as pause } from "node:timers/promises";
import { FileNotFetched } from "../../outgoing/fetch-file.ts";
import type { TargetPolicy } from "../../outgoing/target.ts";
import { harmless } from "../../providers/fal-fault.ts";
import { FalCallError, type FalQueue, type FalStatus } from "../../providers/fal-queue.ts";
import {
  fetchMedium,
  fetchOutputs,
  fetchWeights,
  outputsOf,
  UnusableResult,
} from "../../providers/fal-result.ts";
import { type SubmittedJob, withdrawDue } from "../../providers/withdrawals.ts";
import {
  type ClaimedTask,
  DarkroomApiError,
  type OutputFile,
  type ProviderJobNote,
  type ProviderStep,
} from "../client.ts";
import {
  type Delegation,
  ProviderUnusable,
  type RenderedOutput,
  RenderError,
  type RunContext,
  RunOver,
} from "../provider.ts";
import { placeFiles } from "./inputs.ts";
import { BadParams } from "./params.ts";
import { type FalJobResult, type FalJobs, type FalRecipe, type FalRequest, mostSteps } from "./recipe.ts";

/** How often FAL is asked, and how long it is waited for. */
export interface Pace {
  /** Between two questions how a job stands; they grow apart to the longest. */
  pollSeconds: number;
  longestPollSeconds: number;
  /** How long FAL may be away before the run is given up, and its jobs left to the next one. */
  patienceSeconds: number;
  /** How long a job may take from its beginning; then it is cancelled. */
  longestJobSeconds: number;
  /** How long the webhook is waited for to tell of a job of which it is not known whether it was submitted. */
  webhookSeconds: number;
}

export interface Surroundings {
  fal: FalQueue;
  /** The same queue, for jobs that no task needs any more. */
  withdrawing: FalQueue;
  pace: Pace;
  /** The pace of jobs whose end the webhook does not tell. */
  paceWithoutWebhook: Pace;
  policy: TargetPolicy;
  storageUrls: readonly string[];
  webhook: string | undefined;
  /** The largest file of a result, where that is less than storage takes. */
  mostFileBytes: number | undefined;
}

export const providerName = "fal";
const cancelMilliseconds = 5_000;
/** By which the server fails the task whose job it refuses. */
const endingRefusals = new Set(["sold_below_cost", "unpaid_provider_limit"]);
/** Jobs of one task at FAL at the same time, so that a long film leaves room for the tasks of others. */
const jobsAtOnce = 6;

/** A job at FAL that is known by its id. */
interface Job {
  step: number;
  model: string;
  requestId: string;
  beganAt: number;
}

type EndedStatus = Extract<FalStatus, { state: "ended" }>;

/**
 * The jobs of one run of a task: begun or found again, followed to their end, their files fetched. The server keeps each step's job, so
 * that a run which ends before its jobs do leaves them to the next one.
 */
export class FalTaskJobs implements FalJobs {
  readonly #task: ClaimedTask;
  readonly #context: RunContext;
  readonly #around: Surroundings;
  /** What the server knows of earlier runs, by step. */
  readonly #known: ReadonlyMap<number, ProviderStep>;
  /** Aborted when the recipe has ended: what it has left running is not followed. */
  readonly #recipeOver = new AbortController();
  /** Of the run, and of the recipe. */
  readonly #signal: AbortSignal;
  readonly #steps = new Set<number>();
  /** Jobs of which the intent is noted and the id is not yet. */
  readonly #submissions = new Set<Promise<Job>>();
  readonly #prepared = new WeakMap<FalRequest, Promise<void>>();
  /** Steps whose job ended well, and in an error. */
  readonly #finished = new Set<number>();
  readonly #failed = new Set<number>();
  /** Steps whose job FAL does not bill, because it failed there. */
  readonly #unbilled = new Set<number>();
  readonly #warnings: string[] = [];
  readonly #queue: (() => void)[] = [];
  #atFal = 0;
  #expected = 1;
  readonly #fractions = new Map<number, number>();

  constructor(task: ClaimedTask, context: RunContext, around: Surroundings) {
    this.#task = task;
    this.#context = context;
    this.#around = around;
    this.#signal = AbortSignal.any([context.signal, this.#recipeOver.signal]);
    this.#known = new Map(knownSteps(task).map((job) => [job.step, job]));
  }

  /** Runs the recipe. When it ends, nothing of it goes on in this process. @throws RenderError, ProviderUnusable, or the signal's reason */
  async carryOut(recipe: FalRecipe): Promise<RenderedOutput | Delegation> {
    try {
      const output = await recipe(this.#task, this, this.#context);
      await this.#end();
      if ("delegated" in output) return output;
      const warnings = [...this.#warnings, ...(output.warnings ?? [])];
      return warnings.length > 0 ? { ...output, warnings } : output;
    } catch (error) {
      await this.#end();
      await this.#letGo(error);
      throw this.#withEndedSteps(explained(error));
    }
  }

  run(step: number, request: FalRequest): Promise<FalJobResult> {
    if (!Number.isInteger(step) || step < 0 || step >= mostSteps) {
      throw new RangeError(`step ${step} is not from 0 to ${mostSteps - 1}`);
    }
    if (this.#steps.has(step)) throw new Error(`step ${step} was run before`);
    this.#steps.add(step);
    return handled(
      this.#atOnce(() => this.#finish(step, request)).catch((error: unknown) => this.#refuse(error, step)),
    );
  }

  prepare(step: number, request: FalRequest): Promise<void> {
    if (this.#known.has(step)) return Promise.resolve();
    return handled(this.#atOnce(() => this.#place(request)).catch((error: unknown) => this.#refuse(error)));
  }

  expect(jobs: number): void {
    this.#expected = jobs;
  }

  async fetch(url: string, medium: "image" | "video" | "weights", filename: string): Promise<OutputFile> {
    const { policy, mostFileBytes: mostBytes } = this.#around;
    const options = { policy, mostBytes, signal: this.#signal };
    try {
      const { bytes, contentType } = await this.#patiently(() =>
        medium === "weights" ? fetchWeights(url, options) : fetchMedium(url, medium, options),
      );
      return { bytes, contentType, filename };
    } catch (error) {
      throw explained(error);
    }
  }

  async output(data: unknown): Promise<RenderedOutput> {
    const { policy, mostFileBytes: mostBytes } = this.#around;
    this.#context.progress(0.95, "FAL: fetching");
    try {
      // What is not paid is not fetched.
      const outputs = outputsOf(data).slice(0, this.#task.billed?.images);
      const [first, ...more] = await this.#patiently(() =>
        fetchOutputs(this.#task.task_id, outputs, { policy, mostBytes, signal: this.#signal }),
      );
      if (!first) throw new UnusableResult("FAL's result has no files");
      return {
        file: first,
        facts: first.facts,
        more: more.map((output) => ({ file: output, facts: output.facts })),
      };
    } catch (error) {
      throw explained(error);
    }
  }

  async upload(bytes: Uint8Array, contentType: string): Promise<string> {
    try {
      return await this.#patiently(() => this.#around.fal.upload(bytes, contentType));
    } catch (error) {
      throw explained(error);
    }
  }

  warn(message: string): void {
    if (!this.#warnings.includes(message)) this.#warnings.push(message);
  }

  /** Ends what the recipe has left running. A submission on its way is noted first. */
  async #end(): Promise<void> {
    this.#recipeOver.abort(new Error("the recipe has ended"));
    await Promise.allSettled(this.#submissions);
  }

  #refuse(error: unknown, step?: number): never {
    const reason = explained(error);
    if (step !== undefined && reason instanceof RenderError && reason.endsJob) this.#failed.add(step);
    if (step !== undefined && reason instanceof RenderError && reason.isUnbilled) this.#unbilled.add(step);
    throw reason;
  }

  /** Which jobs the next run begins again, or which need not be withdrawn because they have ended. */
  #withEndedSteps(error: unknown): unknown {
    if (!(error instanceof RenderError)) return error;
    const { message, isRetryable, endsJob } = error;
    // A recipe that ends the job without saying which one means those that ended well, unless one of them failed.
    const own = error.endedSteps ?? (endsJob && this.#failed.size === 0 ? this.#finished : []);
    const endedSteps = [...new Set([...this.#failed, ...own, ...(isRetryable ? [] : this.#finished)])];
    return new RenderError(message, { isRetryable, endsJob, endedSteps, unbilledSteps: [...this.#unbilled] });
  }

  async #finish(step: number, request: FalRequest): Promise<FalJobResult> {
    const pace = this.#paceOf(request);
    const job = (await this.#earlierJob(step)) ?? (await this.#begin(step, request));
    const status = await this.#follow(job, pace);
    const data = await this.#result(job, status);
    this.#finished.add(step);
    if (this.#steps.size > 1) this.#progress(step, 0.95, "a job has ended");
    return { requestId: job.requestId, data };
  }

  #paceOf(request: FalRequest): Pace {
    return this.#isCompletedByWebhook(request) ? this.#around.pace : this.#around.paceWithoutWebhook;
  }

  #isCompletedByWebhook({ completes = false }: FalRequest): boolean {
    return completes && this.#warnings.length === 0;
  }

  /** The job of a run before this one, if it has one; where it is not known whether it has, the webhook's word is waited for. */
  async #earlierJob(step: number): Promise<Job | undefined> {
    const known = this.#known.get(step);
    if (!known) return undefined;
    const { model, request_id: requestId, webhook_key: webhookKey } = known;
    const beganAt = Date.parse(known.began_at);
    if (requestId !== null) return { step, model, requestId, beganAt };
    return await this.#waitForWebhook({ step, model, beganAt, webhookKey });
  }

  /**
   * The webhook notes the id of a job that it tells of, or ends the run from outside. The intent is noted again from time to time,
   * with the same key, which the server refuses as soon as it knows the job. @returns nothing where no job was told of
   */
  async #waitForWebhook({
    step,
    model,
    beganAt,
    webhookKey,
  }: Omit<Job, "requestId"> & { webhookKey: string | undefined }): Promise<Job | undefined> {
    const { webhook, pace } = this.#around;
    if (!webhook) return undefined;
    this.#progress(step, 0.1, "waiting for word of the job");
    const until = beganAt + pace.webhookSeconds * 1000;
    for (;;) {
      const left = until - Date.now();
      if (left <= 0) return undefined;
      if (webhookKey !== undefined) {
        const job = await this.#askForJob({
          provider: providerName,
          step,
          model,
          webhook_key: webhookKey,
        });
        if (job) return job;
      }
      await this.#pause(Math.min(left / 1000, pace.longestPollSeconds));
    }
  }

  /** @returns nothing also while the server is away, because it is asked again */
  async #askForJob(intent: ProviderJobNote & { step: number }): Promise<Job | undefined> {
    try {
      return await this.#noteIntent(intent);
    } catch (error) {
      if (isRefusal(error)) throw error;
      return undefined;
    }
  }

  /** Has the server keep that a job is about to be submitted; it refuses what costs more than is paid. @returns the step's job, where the server knows one */
  async #noteIntent(intent: ProviderJobNote & { step: number }): Promise<Job | undefined> {
    try {
      await this.#context.noteJob(intent);
      return undefined;
    } catch (error) {
      if (error instanceof DarkroomApiError && endingRefusals.has(error.code)) {
        throw new RenderError(error.message, { isRetryable: false });
      }
      const known =
        error instanceof DarkroomApiError && error.code === "provider_job_open" ? error.details : {};
      const { model, request_id: requestId } = fieldsOf(known["provider_job"]);
      if (typeof model !== "string" || typeof requestId !== "string") throw error;
      return { step: intent.step, model, requestId, beganAt: Date.now() };
    }
  }

  async #begin(step: number, request: FalRequest): Promise<Job> {
    const { model, input, units } = request;
    const completes = this.#isCompletedByWebhook(request);
    const { webhook } = this.#around;
    this.#progress(step, 0.02, "preparing");
    await this.#place(request);
    const webhookKey = webhook && crypto.randomUUID();
    this.#signal.throwIfAborted();
    const intent = {
      provider: providerName,
      step,
      model,
      units: { ...units },
      completes,
      ...(webhookKey && { webhook_key: webhookKey }),
    };
    const submission = this.#submitNoted(intent, input);
    this.#submissions.add(submission);
    try {
      const job = await submission;
      this.#signal.throwIfAborted();
      return job;
    } finally {
      this.#submissions.delete(submission);
    }
  }

  /**
   * Between FAL's taking the job and the note of its id a run that dies leaves a job that no run knows: as little as can be is
   * between.
   */
  async #submitNoted(
    intent: ProviderJobNote & { step: number },
    input: Record<string, unknown>,
  ): Promise<Job> {
    const { step, model, webhook_key: webhookKey } = intent;
    const known = await this.#noteIntent(intent);
    if (known) return known;
    if (this.#signal.aborted) {
      // Nothing was submitted, so there is nothing to wait for.
      this.#failed.add(step);
      this.#signal.throwIfAborted();
    }
    const job = await this.#submit({ step, model, beganAt: Date.now(), webhookKey }, input);
    await this.#note(job);
    return job;
  }

  /** Each file once, also where the recipe has prepared the request. */
  async #place(request: FalRequest): Promise<void> {
    const { policy, storageUrls, fal } = this.#around;
    let placing = this.#prepared.get(request);
    if (!placing) {
      placing = placeFiles(request.files, {
        policy,
        storageUrls,
        signal: this.#signal,
        upload: (bytes, contentType) => this.#patiently(() => fal.upload(bytes, contentType)),
      });
      this.#prepared.set(request, placing);
    }
    await placing;
  }

  /** Notes which job was submitted. A job that the server does not keep is withdrawn, because no run will ask for it. */
  async #note({ step, model, requestId, beganAt }: Job): Promise<void> {
    const note = { provider: providerName, step, model, request_id: requestId };
    try {
      await this.#noteUntilKept(note);
    } catch (error) {
      const { task_id, attempt } = this.#task;
      const isKept = await this.#withdraw({ task_id, attempt, step, request_id: requestId });
      if (!isKept) await this.#cancel({ step, model, requestId, beganAt });
      throw error;
    }
  }

  /** Not cut short by the end of the run, because the run must know what it has submitted. */
  async #submit(
    intent: Omit<Job, "requestId"> & { webhookKey: string | undefined },
    input: Record<string, unknown>,
  ): Promise<Job> {
    const { step, model, beganAt, webhookKey } = intent;
    const { fal, webhook } = this.#around;
    const webhookUrl = webhook && withKey(webhook, webhookKey ?? "");
    let mayBeSubmitted = false;
    try {
      return await this.#patiently(async () => {
        try {
          const requestId = await fal.submit(model, input, webhookUrl);
          return { step, model, requestId, beganAt };
        } catch (error) {
          if (error instanceof FalCallError && error.isAmbiguous) {
            mayBeSubmitted = true;
            const job = await this.#waitForWebhook(intent);
            if (job) return job;
          }
          throw error;
        }
      });
    } catch (error) {
      if (!mayBeSubmitted) this.#failed.add(step);
      if (mayBeSubmitted || !mayPass(error)) throw error;
      throw new RenderError((error as Error).message, { isRetryable: true, endsJob: true });
    }
  }

  async #follow(job: Job, pace: Pace): Promise<EndedStatus> {
    const { fal } = this.#around;
    this.#progress(job.step, 0.05, "submitted");
    for (let seconds = pace.pollSeconds; ; seconds = Math.min(pace.longestPollSeconds, seconds * 1.2)) {
      const status = await this.#patiently(() => fal.status(job.model, job.requestId));
      if (status.state === "ended") return status;
      this.#showStatus(job.step, status);
      if (Date.now() - job.beganAt > pace.longestJobSeconds * 1000) {
        await this.#cancel(job);
        throw new RenderError("FAL: the job took too long", { isRetryable: true, endsJob: true });
      }
      await this.#pause(seconds);
    }
  }

  #showStatus(step: number, status: Exclude<FalStatus, { state: "ended" }>): void {
    if (status.state === "waiting") {
      const place = status.position === undefined ? "" : `, ${status.position} before it`;
      return this.#progress(step, 0.05, `in the queue${place}`);
    }
    const said = status.logs.map((line) => harmless(line)).findLast((line) => line !== "");
    const percent = status.logs.map((line) => /(\d{1,3})\s?%/.exec(line)?.[1]).findLast(Boolean);
    this.#progress(step, 0.1 + 0.8 * Math.min(1, Number(percent ?? 0) / 100), said || "running");
  }

  /** Of all jobs together: of those that are expected, or have begun. */
  #progress(step: number, fraction: number, message: string): void {
    this.#fractions.set(step, Math.max(fraction, this.#fractions.get(step) ?? 0));
    const jobs = Math.max(this.#expected, this.#fractions.size);
    if (jobs === 1) return this.#context.progress(fraction, `FAL: ${message}`);
    const sum = [...this.#fractions.values()].reduce((total, one) => total + one, 0);
    this.#context.progress(sum / jobs, `FAL: ${this.#finished.size} of ${jobs} jobs done; ${message}`);
  }

  async #result(job: Job, { hasFailed, failedAs }: EndedStatus): Promise<unknown> {
    const { fal } = this.#around;
    if (failedAs !== undefined) {
      // Its result can say why; a job that has ended so makes nothing any more, whatever is waited for.
      const reason = await fal.result(job.model, job.requestId).catch((error: unknown) => error);
      if (reason instanceof FalCallError && reason.kind === "callers" && reason.isSaid) throw reason;
      const said = reason instanceof FalCallError && reason.isSaid ? `: ${reason.message}` : "";
      throw new RenderError(`FAL: the job ended as ${failedAs}${said}`, {
        isRetryable: true,
        endsJob: true,
        isUnbilled: true,
      });
    }
    let refusals = 0;
    return await this.#patiently(async () => {
      try {
        return await fal.result(job.model, job.requestId);
      } catch (error) {
        // What a model failed with stays what it is. FAL's own trouble passes; it looks the same, so it has two more tries.
        const isSaid = error instanceof FalCallError && error.isSaid && error.kind === "passing";
        if (!isSaid || error.retryAfterSeconds !== undefined || !(hasFailed || ++refusals > 2)) throw error;
        throw new RenderError(error.message, { isRetryable: true, endsJob: true, isUnbilled: true });
      }
    });
  }

  /** Jobs of which nobody wants the output are withdrawn; otherwise they are the next run's. */
  async #letGo(error: unknown): Promise<void> {
    const { signal } = this.#context;
    const reason: unknown = signal.aborted ? signal.reason : error;
    if (reason instanceof RunOver && reason.isCancelled && this.#steps.size > 0) await this.#withdraw();
  }

  /**
   * Withdraws what the server has kept to be withdrawn, this run's jobs with it; the outcome decides what the run costs, so only
   * the party that the server gave such a job to cancels it. @returns whether the server knew the submitted job
   */
  async #withdraw(submitted?: SubmittedJob): Promise<boolean> {
    const { client, log } = this.#context;
    try {
      const exchange = (request: Parameters<typeof client.providerWithdrawals>[0]) =>
        client.providerWithdrawals(request);
      return (await withdrawDue({ exchange, fal: this.#around.withdrawing, log }, { submitted })).noted;
    } catch (error) {
      // The next party that tends the provider does it.
      log.warn({ err: error, task_id: this.#task.task_id }, "a job could not be withdrawn");
      return false;
    }
  }

  /** As far as it can be: one that runs may end all the same. */
  async #cancel({ model, requestId }: Job): Promise<void> {
    const cancelling = this.#around.fal.cancel(model, requestId).catch(() => undefined);
    await Promise.race([cancelling, pause(cancelMilliseconds, undefined, { ref: false })]);
  }

  /** Repeats the note until the server has it, or the run is over. The end of the recipe does not cut it short. */
  async #noteUntilKept(note: ProviderJobNote): Promise<void> {
    await this.#patiently(async () => {
      try {
        await this.#context.noteJob(note);
      } catch (error) {
        if (isRefusal(error)) throw error;
        throw new FalCallError("the job could not be noted", { kind: "passing" });
      }
    }, this.#context.signal);
  }

  /** Repeats what may pass, further and further apart, for as long as the pace allows, or FAL asks. */
  async #patiently<Result>(call: () => Promise<Result>, signal = this.#signal): Promise<Result> {
    const { patienceSeconds, pollSeconds } = this.#around.pace;
    const begun = Date.now();
    for (let tries = 0; ; tries++) {
      try {
        return await call();
      } catch (error) {
        signal.throwIfAborted();
        if (!mayPass(error)) throw error;
        const asked = (error as FalCallError | FileNotFetched).retryAfterSeconds;
        const seconds = asked ?? Math.min(30, pollSeconds * 2 ** tries) * (0.75 + Math.random() / 2);
        if (Date.now() - begun + seconds * 1000 > patienceSeconds * 1000) throw error;
        await this.#pause(seconds, signal);
      }
    }
  }

  async #pause(seconds: number, signal = this.#signal): Promise<void> {
    await pause(seconds * 1000, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }

  /** At most so many of a task's jobs at the same time; the others wait, in their order. */
  async #atOnce<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#atFal >= jobsAtOnce) await new Promise<void>((begin) => this.#queue.push(begin));
    else this.#atFal++;
    try {
      this.#signal.throwIfAborted();
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#atFal--;
    }
  }
}

/** A recipe that ends by one step's error does not look at the others; their errors must not end the process. */
function handled<Result>(running: Promise<Result>): Promise<Result> {
  running.catch(() => undefined);
  return running;
}

/** The jobs of earlier runs at FAL; of an older server the first step alone. */
function knownSteps({ provider_jobs: jobs, provider_job: first }: ClaimedTask): ProviderStep[] {
  const known = jobs ?? (first ? [{ ...first, step: 0 }] : []);
  return known.filter(({ provider }) => provider === providerName);
}

function mayPass(error: unknown): boolean {
  return (
    (error instanceof FalCallError && error.kind === "passing") ||
    (error instanceof FileNotFetched && error.isPassing)
  );
}

/** The server has said no; anything else may pass. */
function isRefusal(error: unknown): boolean {
  const { status } = error as { status?: unknown };
  return typeof status === "number" && status < 500;
}

/** What the worker is to make of it. */
function explained(error: unknown): unknown {
  if (error instanceof BadParams) return new RenderError(error.message, { isRetryable: false });
  // Paid, and of no use: another job would make the same of the same params, and be paid as well.
  if (error instanceof UnusableResult)
    return new RenderError(error.message, { isRetryable: false, endsJob: true });
  if (error instanceof FileNotFetched) {
    return new RenderError(error.message, { isRetryable: error.isPassing, endsJob: !error.isPassing });
  }
  if (!(error instanceof FalCallError)) return error;
  if (error.kind === "ours") return new ProviderUnusable(error.message);
  const isRetryable = error.kind !== "callers";
  const endsJob = error.kind !== "passing";
  return new RenderError(error.message, { isRetryable, endsJob, isUnbilled: endsJob && error.isSaid });
}

function withKey(webhook: string, key: string): string {
  const url = new URL(webhook);
  url.searchParams.set("key", key);
  return url.href;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
