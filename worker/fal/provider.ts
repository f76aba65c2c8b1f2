import { setTimeout as pause } from "node:timers/promises";
import { FileNotFetched } from "../../supabase/functions/_shared/outgoing/fetch-file.ts";
import type { Resolve, TargetPolicy } from "../../supabase/functions/_shared/outgoing/target.ts";
import { withdrawalCallMilliseconds } from "../../supabase/functions/_shared/providers/fal-access.ts";
import { harmless } from "../../supabase/functions/_shared/providers/fal-fault.ts";
import {
  createFalQueue,
  FalCallError,
  type FalQueue,
  type FalStatus,
} from "../../supabase/functions/_shared/providers/fal-queue.ts";
import {
  fetchOutputs,
  outputsOf,
  UnusableResult,
} from "../../supabase/functions/_shared/providers/fal-result.ts";
import {
  type FalVariables,
  trustedFalOrigins,
} from "../../supabase/functions/_shared/providers/variables.ts";
import { type SubmittedJob, withdrawDue } from "../../supabase/functions/_shared/providers/withdrawals.ts";
import type { ClaimedTask } from "../client.ts";
import {
  type Provider,
  ProviderUnusable,
  type RenderedOutput,
  RenderError,
  type RunContext,
  RunOver,
} from "../provider.ts";
import { falClaimsAs } from "./claims-as.ts";
import { placeFiles } from "./inputs.ts";
import { falRequest, falTaskTypes } from "./models.ts";
import { boundByPaid } from "./paid-inputs.ts";
import { BadParams } from "./params.ts";

export interface FalOptions {
  /** `FAL_KEY` and the addresses; see docs/fal.md. */
  variables: FalVariables;
  /** Base URLs under which Darkroom's storage is known: this worker's, and the public one. */
  storageUrls: readonly string[];
  /** How names are looked up. */
  resolve?: Resolve;
  pace?: Partial<Pace>;
}

/** How often FAL is asked, and how long it is waited for. */
export interface Pace {
  /** Between two questions how a job stands; they grow apart to the longest. */
  pollSeconds: number;
  longestPollSeconds: number;
  /** How long FAL may be away before the run is given up, and its job left to the next one. */
  patienceSeconds: number;
  /** How long a job may take from its beginning; then it is cancelled. */
  longestJobSeconds: number;
  /** How long the webhook is waited for to tell of a job of which it is not known whether it was submitted. */
  webhookSeconds: number;
}

const usualPace: Pace = {
  pollSeconds: 1,
  longestPollSeconds: 5,
  patienceSeconds: 300,
  longestJobSeconds: 3600,
  webhookSeconds: 900,
};
/** With a webhook, FAL tells of the end; asking is for when it cannot. */
const pollSecondsWithWebhook = 15;
const cancelMilliseconds = 5_000;
const name = "fal";

/** A job at FAL that is known by its id. */
interface Job {
  model: string;
  requestId: string;
  beganAt: number;
}

/**
 * Runs tasks at FAL. The server keeps each task's job, so that a run which ends before its job does leaves it to the next one:
 * a task is paid for once. docs/fal.md says where that has its limits.
 */
export function createFalProvider({ variables, storageUrls, resolve, pace: given }: FalOptions): Provider {
  const key = variables.FAL_KEY;
  if (!key) throw new Error("FAL_KEY is not set.");
  const webhook = variables.FAL_WEBHOOK;
  const pace = {
    ...usualPace,
    ...(webhook && { pollSeconds: pollSecondsWithWebhook, longestPollSeconds: pollSecondsWithWebhook }),
    ...given,
  };
  const addresses = { queueUrl: variables.FAL_QUEUE_URL, restUrl: variables.FAL_REST_URL };
  const fal = createFalQueue(key, addresses);
  const withdrawing = createFalQueue(key, { ...addresses, callMilliseconds: withdrawalCallMilliseconds });
  const policy: TargetPolicy = {
    allowPrivate: false,
    trustedOrigins: trustedFalOrigins(variables),
    ...(resolve && { resolve }),
  };
  return {
    name,
    taskTypes: falTaskTypes,
    claimsAs: falClaimsAs(variables),
    async run(task, context) {
      const run = new FalRun(task, context, { fal, withdrawing, pace, policy, storageUrls, webhook });
      try {
        return await run.output();
      } catch (error) {
        throw explained(error);
      }
    },
    async tend({ client, log }) {
      await withdrawDue({
        exchange: (request) => client.providerWithdrawals(request),
        fal: withdrawing,
        log,
      });
    },
  };
}

interface Surroundings {
  fal: FalQueue;
  /** The same queue, for jobs that no task needs any more. */
  withdrawing: FalQueue;
  pace: Pace;
  policy: TargetPolicy;
  storageUrls: readonly string[];
  webhook: string | undefined;
}

type EndedStatus = Extract<FalStatus, { state: "ended" }>;

/** One run of a task: its job begun or found again, followed to its end, its files fetched. */
class FalRun {
  readonly #task: ClaimedTask;
  readonly #context: RunContext;
  readonly #around: Surroundings;

  constructor(task: ClaimedTask, context: RunContext, around: Surroundings) {
    this.#task = task;
    this.#context = context;
    this.#around = around;
  }

  async output(): Promise<RenderedOutput> {
    const job = (await this.#earlierJob()) ?? (await this.#begin());
    try {
      return await this.#fetch(job, await this.#follow(job));
    } catch (error) {
      await this.#letGo(error);
      throw error;
    }
  }

  /** The job of a run before this one, if it has one; where it is not known whether it has, the webhook's word is waited for. */
  async #earlierJob(): Promise<Job | undefined> {
    const known = this.#task.provider_job;
    if (known?.provider !== name) return undefined;
    const beganAt = Date.parse(known.began_at);
    if (known.request_id !== null) return { model: known.model, requestId: known.request_id, beganAt };
    await this.#waitForWebhook(beganAt);
    return undefined;
  }

  /** The webhook ends the run from outside, or tells of no job, and then there is none. */
  async #waitForWebhook(beganAt: number): Promise<void> {
    if (!this.#around.webhook) return;
    this.#context.progress(0.1, "FAL: waiting for word of the job");
    const over = beganAt + this.#around.pace.webhookSeconds * 1000 - Date.now();
    if (over > 0) await this.#pause(over / 1000);
  }

  async #begin(): Promise<Job> {
    const { signal, noteJob, progress } = this.#context;
    const { fal, webhook, policy, storageUrls } = this.#around;
    const { task_type: taskType, params, billed } = this.#task;
    const request = falRequest(taskType, params);
    const { model, input, files } = request;
    boundByPaid(taskType, request, billed);
    progress(0.02, "FAL: preparing");
    await placeFiles(files, {
      policy,
      storageUrls,
      signal,
      upload: (bytes, contentType) => this.#patiently(() => fal.upload(bytes, contentType)),
    });
    const webhookKey = webhook && crypto.randomUUID();
    signal.throwIfAborted();
    // From here to the note of the id a run that dies leaves a job that nobody knows: as little as can be is between.
    await noteJob({ provider: name, model, ...(webhookKey && { webhook_key: webhookKey }) });
    const beganAt = Date.now();
    const requestId = await this.#submit(
      model,
      input,
      webhook && withKey(webhook, webhookKey ?? ""),
      beganAt,
    );
    const job = { model, requestId, beganAt };
    try {
      await this.#untilSaid(() => noteJob({ provider: name, model, request_id: requestId }));
    } catch (error) {
      const { task_id, attempt } = this.#task;
      // A job that the server does not keep: nobody will ever ask for it.
      if (!(await this.#withdraw({ task_id, attempt, request_id: requestId }))) await this.#cancel(job);
      throw error;
    }
    if (signal.aborted) {
      await this.#letGo(signal.reason);
      signal.throwIfAborted();
    }
    return job;
  }

  /** Not cut short by the end of the run: who has submitted must know what. */
  async #submit(
    model: string,
    input: Record<string, unknown>,
    webhookUrl: string | undefined,
    beganAt: number,
  ): Promise<string> {
    let mayBeSubmitted = false;
    try {
      return await this.#patiently(async () => {
        try {
          return await this.#around.fal.submit(model, input, webhookUrl);
        } catch (error) {
          if (error instanceof FalCallError && error.isAmbiguous) {
            mayBeSubmitted = true;
            await this.#waitForWebhook(beganAt);
          }
          throw error;
        }
      });
    } catch (error) {
      if (mayBeSubmitted || !mayPass(error)) throw error;
      throw new RenderError((error as Error).message, { isRetryable: true, endsJob: true });
    }
  }

  async #follow(job: Job): Promise<EndedStatus> {
    const { fal, pace } = this.#around;
    this.#context.progress(0.05, "FAL: submitted");
    for (let seconds = pace.pollSeconds; ; seconds = Math.min(pace.longestPollSeconds, seconds * 1.2)) {
      const status = await this.#patiently(() => fal.status(job.model, job.requestId));
      if (status.state === "ended") return status;
      this.#tell(status);
      if (Date.now() - job.beganAt > pace.longestJobSeconds * 1000) {
        await this.#cancel(job);
        throw new RenderError("FAL: the job took too long", { isRetryable: true, endsJob: true });
      }
      await this.#pause(seconds);
    }
  }

  #tell(status: Exclude<FalStatus, { state: "ended" }>): void {
    const { progress } = this.#context;
    if (status.state === "waiting") {
      const place = status.position === undefined ? "" : `, ${status.position} before it`;
      return progress(0.05, `FAL: in the queue${place}`);
    }
    const said = status.logs.map((line) => harmless(line)).findLast((line) => line !== "");
    const percent = status.logs.map((line) => /(\d{1,3})\s?%/.exec(line)?.[1]).findLast(Boolean);
    progress(0.1 + 0.8 * Math.min(1, Number(percent ?? 0) / 100), said ? `FAL: ${said}` : "FAL: running");
  }

  async #fetch(job: Job, status: EndedStatus): Promise<RenderedOutput> {
    const { policy } = this.#around;
    const { signal, progress } = this.#context;
    const result = await this.#result(job, status);
    progress(0.95, "FAL: fetching");
    // What is not paid is not fetched.
    const outputs = outputsOf(result).slice(0, this.#task.billed?.images);
    const [first, ...more] = await this.#patiently(() =>
      fetchOutputs(this.#task.task_id, outputs, { policy, signal }),
    );
    if (!first) throw new UnusableResult("FAL's result has no files");
    return {
      file: first,
      facts: first.facts,
      more: more.map((output) => ({ file: output, facts: output.facts })),
    };
  }

  async #result(job: Job, { hasFailed, failedAs }: EndedStatus): Promise<unknown> {
    const { fal } = this.#around;
    if (failedAs !== undefined) {
      // Its result can say why; a job that has ended so makes nothing any more, whatever is waited for.
      const reason = await fal.result(job.model, job.requestId).catch((error: unknown) => error);
      if (reason instanceof FalCallError && reason.kind === "callers" && reason.isSaid) throw reason;
      const said = reason instanceof FalCallError && reason.isSaid ? `: ${reason.message}` : "";
      throw new RenderError(`FAL: the job ended as ${failedAs}${said}`, { isRetryable: true, endsJob: true });
    }
    let refusals = 0;
    return await this.#patiently(async () => {
      try {
        return await fal.result(job.model, job.requestId);
      } catch (error) {
        // What a model failed with stays what it is. FAL's own trouble passes; it looks the same, so it has two more tries.
        const isSaid = error instanceof FalCallError && error.isSaid && error.kind === "passing";
        if (!isSaid || error.retryAfterSeconds !== undefined || !(hasFailed || ++refusals > 2)) throw error;
        throw new RenderError(error.message, { isRetryable: true, endsJob: true });
      }
    });
  }

  /** A job of which nobody wants the output is withdrawn; otherwise it is the next run's. */
  async #letGo(error: unknown): Promise<void> {
    const { signal } = this.#context;
    const reason: unknown = signal.aborted ? signal.reason : error;
    if (reason instanceof RunOver && reason.isCancelled) await this.#withdraw();
  }

  /**
   * Withdraws what the server has kept to be withdrawn, this run's job with it; the outcome decides what the run costs, so nobody
   * cancels such a job but the party that the server gave it to. @returns whether the server knew the submitted job
   */
  async #withdraw(submitted?: SubmittedJob): Promise<boolean> {
    const { client, log } = this.#context;
    try {
      const exchange = (request: Parameters<typeof client.providerWithdrawals>[0]) =>
        client.providerWithdrawals(request);
      return (await withdrawDue({ exchange, fal: this.#around.withdrawing, log }, { submitted })).noted;
    } catch (error) {
      // Whoever tends the provider next, does it.
      log.warn({ err: error, task_id: this.#task.task_id }, "a job could not be withdrawn");
      return false;
    }
  }

  /** As far as it can be: one that runs may end all the same. */
  async #cancel({ model, requestId }: Job): Promise<void> {
    const cancelling = this.#around.fal.cancel(model, requestId).catch(() => undefined);
    await Promise.race([cancelling, pause(cancelMilliseconds, undefined, { ref: false })]);
  }

  /** Says it until it was heard, or the run is over. */
  async #untilSaid(say: () => Promise<void>): Promise<void> {
    await this.#patiently(async () => {
      try {
        await say();
      } catch (error) {
        const { status } = error as { status?: unknown };
        if (typeof status === "number" && status < 500) throw error;
        throw new FalCallError("the job could not be noted", { kind: "passing" });
      }
    });
  }

  /** Repeats what may pass, further and further apart, for as long as the pace allows, or FAL asks. */
  async #patiently<Result>(call: () => Promise<Result>): Promise<Result> {
    const { patienceSeconds, pollSeconds } = this.#around.pace;
    const begun = Date.now();
    for (let tries = 0; ; tries++) {
      try {
        return await call();
      } catch (error) {
        this.#context.signal.throwIfAborted();
        if (!mayPass(error)) throw error;
        const asked = (error as FalCallError | FileNotFetched).retryAfterSeconds;
        const seconds = asked ?? Math.min(30, pollSeconds * 2 ** tries) * (0.75 + Math.random() / 2);
        if (Date.now() - begun + seconds * 1000 > patienceSeconds * 1000) throw error;
        await this.#pause(seconds);
      }
    }
  }

  async #pause(seconds: number): Promise<void> {
    const { signal } = this.#context;
    await pause(seconds * 1000, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
}

function mayPass(error: unknown): boolean {
  return (
    (error instanceof FalCallError && error.kind === "passing") ||
    (error instanceof FileNotFetched && error.isPassing)
  );
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
  return new RenderError(error.message, { isRetryable, endsJob: error.kind !== "passing" });
}

function withKey(webhook: string, key: string): string {
  const url = new URL(webhook);
  url.searchParams.set("key", key);
  return url.href;
}
