import { Buffer } from "node:buffer";
import { setTimeout as pause } from "node:timers/promises";
import type { WithdrawalAnswer, WithdrawalRequest } from "../providers/withdrawals.ts";
import type { FalRule } from "../providers/variables.ts";
import type { RenderedOutput } from "./provider.ts";

/** A job that runs a task at a provider of models. */
export interface ProviderJob {
  provider: string;
  model: string;
  /** Null where it is not known whether it was submitted. */
  request_id: string | null;
  began_at: string;
}

/** One of the jobs of a task that takes several. */
export interface ProviderStep extends ProviderJob {
  /** Numbers the jobs of the task from 0. */
  step: number;
  /** Where it is not known whether the job was submitted: its name to the provider's webhook. */
  webhook_key?: string;
}

/** What a run says of its job: before it is submitted without an id, afterwards with the one that it was given. */
export interface ProviderJobNote {
  provider: string;
  model: string;
  request_id?: string;
  /** Names the job to the provider's webhook; a UUID. */
  webhook_key?: string;
  /** Which job of the task, from 0 to 63; default: 0. */
  step?: number;
  /** How much of each unit the provider bills for the job, at most. */
  units?: Record<string, number | string>;
  /** Whether the job's result is the output of the task, so that the webhook may complete the run; default: true. */
  completes?: boolean;
}

/** What is known of an output beside its task's params. */
export interface OutputFacts {
  seed?: number;
  has_nsfw_concepts?: boolean;
}

/** What a task is paid for. */
export interface BilledValues {
  /** How many outputs; absent where the price is by the second. */
  images?: number;
  seconds?: number;
  frames?: number;
  /** Of one image. */
  megapixels?: number;
  /** Of a join: the frames between its clips, and those of each clip. */
  gap_frames?: number;
  context_frames?: number;
  resolution?: string;
  model?: string;
}

export interface ClaimedTask {
  task_id: string;
  task_type: string;
  project_id: string;
  /** As the client sent them; whatever the price depends on says what is billed. */
  params: Record<string, unknown>;
  billed?: BilledValues;
  /** Names this run in every later call. */
  attempt: number;
  attempts: number;
  lease_expires_at: string;
  /** What earlier runs began at a provider, and may still run there. */
  provider_jobs?: ProviderStep[];
  /** The same of the first step alone. */
  provider_job?: ProviderJob;
}

/** A run that the server knows: the task, and which time it is. */
export type Run = Pick<ClaimedTask, "task_id" | "attempt" | "billed">;

export interface OutputFile {
  bytes: Uint8Array;
  filename: string;
  contentType: string;
}

/** A task as create-task takes it. */
export interface NewTask {
  /** Chosen by the worker, so that the same task sent twice is one. */
  task_id: string;
  task_type: string;
  params: Record<string, unknown>;
  dependant_on?: readonly string[];
}

/** A task as its orchestrator's worker sees it. */
export interface ChildTask {
  id: string;
  task_type: string;
  status: string;
  params: Record<string, unknown>;
  output_location: string | null;
}

export interface StatusUpdate {
  status: "Queued" | "In Progress" | "Failed";
  progress?: number;
  progress_message?: string;
  error_details?: string;
  /** Null: there is no job at a provider any more. */
  provider_job?: ProviderJobNote | null;
  /** Steps whose job has ended and that the next run begins again. */
  ended_provider_steps?: readonly number[];
  /** Steps whose job failed at the provider, which does not bill it. */
  unbilled_provider_steps?: readonly number[];
  /** With Queued: no run failed, so none is counted. */
  given_back?: boolean;
}

export interface HeartbeatReport {
  status?: "active" | "terminating" | "terminated" | "crashed";
  /** The runs that the worker believes it has; the server keeps these with it, and no others. */
  tasks: readonly Run[];
  /** Null forgets it. */
  current_model?: string | null;
  provider?: "fal" | "sandbox";
}

export interface HeartbeatAnswer {
  /** What became of each run: whatever is not `running` is to be dropped. */
  tasks?: { task_id: string; state: "running" | "cancelled" | "stale" | "ended" | "unknown" }[];
  /** How long tasks stay with the worker without another word. */
  lease_seconds?: number;
}

export interface ClientOptions {
  /** Base URL without `/functions/v1`. */
  url: string;
  /** The service key, or a personal access token. */
  token: string;
  workerId: string;
  fetch?: typeof fetch;
  /** Tries of one call, the first included. */
  tries?: number;
}

/** A refusal of the server: `{error, message, request_id}`. */
export class DarkroomApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string | undefined;
  /** What else the answer says. */
  readonly details: Record<string, unknown>;

  constructor(
    status: number,
    code: string,
    message: string,
    requestId: string | undefined,
    details: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "DarkroomApiError";
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.details = details;
  }
}

/** Bodies above this go by upload URL: base64 would hold the file in memory several times over. */
const largestInlineFile = 2 * 1024 * 1024;
/** What a create takes at once: 100 tasks, 4 MiB. */
const largestBatch = { tasks: 100, characters: 3_000_000 };
/** Under this path everybody reads media, at whatever address a host is reached. */
const publicMedia = "/storage/v1/object/public/image_uploads/";
const retried = new Set([429, 500, 502, 503, 504]);

/** What a worker says to Darkroom. Every call may be repeated safely, and is, on network errors and overload. */
export class DarkroomClient {
  readonly workerId: string;
  readonly #url: string;
  readonly #functions: string;
  readonly #token: string;
  readonly #fetch: typeof fetch;
  readonly #tries: number;

  constructor({ url, token, workerId, fetch: request = fetch, tries = 5 }: ClientOptions) {
    this.workerId = workerId;
    this.#url = url.replace(/\/+$/, "");
    this.#functions = `${this.#url}/functions/v1`;
    this.#token = token;
    this.#fetch = request;
    this.#tries = tries;
  }

  /** The next task, or nothing. `waitSeconds`: how long the server may hold the request until there is one. */
  async claimNextTask(
    options: {
      taskTypes?: readonly string[];
      runType?: "gpu" | "api";
      models?: readonly string[];
      waitSeconds?: number;
      /** What runs the tasks, where that is no own worker; of FAL also its rule. */
      provider?: "fal" | "sandbox";
      falRuns?: FalRule;
      falAfterSeconds?: number;
    },
    signal?: AbortSignal,
  ): Promise<ClaimedTask | undefined> {
    const body = {
      worker_id: this.workerId,
      task_types: options.taskTypes,
      run_type: options.runType,
      models: options.models,
      wait_seconds: options.waitSeconds,
      provider: options.provider,
      fal_runs: options.falRuns,
      fal_after_seconds: options.falAfterSeconds,
    };
    // A short claim is let end: were its answer lost, its task would wait for the lease to expire.
    const call = { signal, abortsRequest: Boolean(options.waitSeconds) };
    return (await this.#call("claim-next-task", body, call)) as ClaimedTask | undefined;
  }

  /** Where the task is: as soon as it is no longer in progress with this run, or when the time is over. */
  async runState(
    run: Run,
    waitSeconds: number,
    signal: AbortSignal,
  ): Promise<{ status: string; attempt: number }> {
    const body = { task_id: run.task_id, while_status: "In Progress", wait_seconds: waitSeconds };
    const call = { signal, abortsRequest: true };
    return (await this.#call("get-task-status", body, call)) as { status: string; attempt: number };
  }

  async updateTaskStatus(run: Run, update: StatusUpdate): Promise<void> {
    await this.#call("update-task-status", { ...this.#runFields(run), ...update });
  }

  /** Says what became of jobs at a provider that no task needs any more, and asks for the next ones. */
  async providerWithdrawals(request: WithdrawalRequest): Promise<WithdrawalAnswer> {
    // Not repeated: what was not reported is given out again.
    const call = { tries: 1, timeoutMilliseconds: 10_000 };
    return (await this.#call("provider-withdrawals", request, call)) as WithdrawalAnswer;
  }

  async updateWorkerModel(model: string | null): Promise<void> {
    await this.#call("update-worker-model", { worker_id: this.workerId, current_model: model });
  }

  /** A sign of life. Not repeated: the next one says the same. */
  async heartbeat(report: HeartbeatReport): Promise<HeartbeatAnswer> {
    const tasks = report.tasks.map(({ task_id, attempt }) => ({ task_id, attempt }));
    const body = { worker_id: this.workerId, ...report, tasks };
    const call = { tries: 1, timeoutMilliseconds: 10_000 };
    return (await this.#call("worker-heartbeat", body, call)) as HeartbeatAnswer;
  }

  /**
   * Stores the output, and what is paid of all that was made beside it, and completes the task. `textOf` makes the text that stands for the
   * output from where it can be read. @returns where the output can be read
   */
  async completeTask(run: Run, output: RenderedOutput): Promise<string> {
    const { file, thumbnail, facts, more = [], warnings = [] } = output;
    // More than is paid would be refused.
    const paid = more.slice(0, run.billed?.images === undefined ? undefined : run.billed.images - 1);
    const moreOutputs: { storage_path: string; output_facts?: OutputFacts }[] = [];
    for (const extra of paid) {
      const { storage_path } = await this.#upload(run, extra.file);
      moreOutputs.push({ storage_path, ...(extra.facts && { output_facts: extra.facts }) });
    }
    const fields = {
      ...this.#runFields(run),
      ...(facts && { output_facts: facts }),
      ...(moreOutputs.length > 0 && { more_outputs: moreOutputs }),
      ...(warnings.length > 0 && { output_warnings: warnings }),
    };
    const completed = (
      file.bytes.byteLength < largestInlineFile && !output.textOf
        ? await this.#call("complete_task", {
            ...fields,
            file_data: Buffer.from(file.bytes).toString("base64"),
            filename: file.filename,
            ...(thumbnail && {
              first_frame_data: Buffer.from(thumbnail.bytes).toString("base64"),
              first_frame_filename: thumbnail.filename,
            }),
          })
        : await this.#completeByUpload(run, fields, output)
    ) as { public_url: string };
    return completed.public_url;
  }

  /** Creates tasks of an orchestrator's project: those of one request all or not at all, the last two always so. */
  async createTasks(projectId: string, tasks: readonly NewTask[]): Promise<void> {
    let batch: (NewTask & { project_id: string })[] = [];
    let characters = 0;
    const send = async (): Promise<void> => {
      if (batch.length > 0) await this.#call("create-task", { tasks: batch });
      [batch, characters] = [[], 0];
    };
    for (const [index, task] of tasks.entries()) {
      const size = JSON.stringify(task).length;
      const isFull =
        batch.length + (index === tasks.length - 2 ? 2 : 1) > largestBatch.tasks ||
        characters + size > largestBatch.characters;
      if (isFull && index < tasks.length - 1) await send();
      batch.push({ ...task, project_id: projectId });
      characters += size;
    }
    await send();
  }

  /** All of an orchestrator's children, oldest first. */
  async orchestratorChildren(orchestratorId: string): Promise<ChildTask[]> {
    const children: ChildTask[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = (await this.#call("get-orchestrator-children", {
        orchestrator_task_id: orchestratorId,
        ...(cursor && { cursor }),
      })) as { tasks: ChildTask[]; next_cursor: string | null };
      children.push(...page.tasks);
      cursor = page.next_cursor;
    }
    return children;
  }

  /**
   * What a task of the same project has made; nothing for any other: its id may have been written by anybody, and the
   * service key reads everybody's.
   */
  async taskOutput(
    taskId: string,
    projectId: string,
  ): Promise<{ status: string; output_location: string | null } | undefined> {
    try {
      const output = (await this.#call("get-task-output", { task_id: taskId })) as {
        project_id: string;
        status: string;
        output_location: string | null;
      };
      return output.project_id === projectId ? output : undefined;
    } catch (error) {
      if (error instanceof DarkroomApiError && (error.status === 404 || error.status === 400))
        return undefined;
      throw error;
    }
  }

  /** The output of the first task that this one depends on; null without one, or before it is complete. */
  async predecessorOutput(taskId: string): Promise<string | null> {
    const answer = await this.#call("get-predecessor-output", { task_id: taskId });
    return (answer as { output_location: string | null }).output_location;
  }

  /** The outputs of a run's finished segments, by index. */
  async completedSegments(
    runId: string,
    projectId: string,
  ): Promise<{ segment_index: number; output_location: string }[]> {
    const body = { run_id: runId, project_id: projectId };
    return (await this.#call("get-completed-segments", body)) as {
      segment_index: number;
      output_location: string;
    }[];
  }

  /** Stores a file beside a running task's output. @returns where it can be read */
  async storeFile(run: Run, file: OutputFile): Promise<string> {
    const { storage_path } = await this.#upload(run, file);
    return this.#publicUrl(storage_path);
  }

  /**
   * Reads media of this host, from the host that the worker works for: of the URL only the path counts, so that nobody's
   * params can send the worker elsewhere. @returns nothing where the URL is foreign, there is no such file, or it has more
   * than `mostBytes` @throws while the host cannot give it
   */
  async readMedia(url: string, mostBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const path = mediaPath(url);
    if (path === undefined) return undefined;
    const timeout = AbortSignal.timeout(60_000);
    const response = await this.#fetch(this.#publicUrl(path), {
      redirect: "error",
      signal: AbortSignal.any([timeout, signal]),
    });
    if (!response.ok) {
      await response.body?.cancel();
      if (response.status >= 500) throw new Error(`${path} cannot be read: HTTP ${response.status}`);
      return undefined;
    }
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.byteLength;
      if (length > mostBytes) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  async #completeByUpload(
    run: Run,
    fields: object,
    { file, thumbnail, textOf }: RenderedOutput,
  ): Promise<unknown> {
    const stored = await this.#upload(run, file, thumbnail);
    return await this.#call("complete_task", {
      ...fields,
      ...stored,
      ...(textOf && { output_location: textOf(this.#publicUrl(stored.storage_path)) }),
    });
  }

  /** Puts files into storage. @returns where they are, as completing names them */
  async #upload(
    run: Run,
    file: OutputFile,
    thumbnail?: OutputFile,
  ): Promise<{ storage_path: string; thumbnail_storage_path?: string }> {
    const target = await this.#uploadTarget(run, file, thumbnail !== undefined);
    await this.#put(target.upload_url, file);
    const { thumbnail_upload_url: thumbnailUrl, thumbnail_storage_path: thumbnailPath } = target;
    // The work is done: an output without its preview is worth more than a task that is run again.
    const hasThumbnail =
      thumbnail && thumbnailUrl
        ? await this.#put(thumbnailUrl, thumbnail).then(
            () => true,
            () => false,
          )
        : false;
    return {
      storage_path: target.storage_path,
      ...(hasThumbnail && thumbnailPath && { thumbnail_storage_path: thumbnailPath }),
    };
  }

  async #uploadTarget(run: Run, file: OutputFile, withThumbnail: boolean): Promise<UploadTarget> {
    return (await this.#call("generate-upload-url", {
      ...this.#runFields(run),
      filename: file.filename,
      content_type: file.contentType,
      generate_thumbnail_url: withThumbnail,
    })) as UploadTarget;
  }

  #publicUrl(path: string): string {
    return `${this.#url}${publicMedia}${path}`;
  }

  #runFields({ task_id, attempt }: Run): Record<string, unknown> {
    return { task_id, attempt, worker_id: this.workerId };
  }

  async #put(url: string, { bytes, contentType }: OutputFile): Promise<void> {
    await this.#retry(async () => {
      const response = await this.#fetch(url, {
        method: "PUT",
        headers: { "content-type": contentType },
        body: bytes as BodyInit,
        signal: AbortSignal.timeout(600_000),
      });
      if (!response.ok) throw await refusalOf(response);
      await response.body?.cancel();
    });
  }

  async #call(
    name: string,
    body: object,
    { signal, abortsRequest = false, tries, timeoutMilliseconds = 90_000 }: CallOptions = {},
  ): Promise<unknown> {
    return await this.#retry(
      async () => {
        const timeout = AbortSignal.timeout(timeoutMilliseconds);
        const response = await this.#fetch(`${this.#functions}/${name}`, {
          method: "POST",
          headers: { authorization: `Bearer ${this.#token}`, "content-type": "application/json" },
          body: JSON.stringify(body),
          signal: signal && abortsRequest ? AbortSignal.any([timeout, signal]) : timeout,
        });
        if (response.status === 204) return undefined;
        if (!response.ok) throw await refusalOf(response);
        return await response.json();
      },
      { signal, tries },
    );
  }

  async #retry<Result>(
    call: () => Promise<Result>,
    { signal, tries = this.#tries }: Pick<CallOptions, "signal" | "tries"> = {},
  ): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        const final = error instanceof DarkroomApiError && !retried.has(error.status);
        if (final || attempt >= tries || signal?.aborted) throw error;
        const asked = error instanceof RetryableError ? error.retryAfterSeconds : undefined;
        const seconds = asked ?? Math.min(30, 0.25 * 2 ** attempt) * (0.5 + Math.random());
        await pause(seconds * 1000, undefined, signal ? { signal } : {});
      }
    }
  }
}

interface UploadTarget {
  upload_url: string;
  storage_path: string;
  thumbnail_upload_url?: string;
  thumbnail_storage_path?: string;
}

/** What a public URL of media names within the bucket, as written in it; nothing for any other URL. */
function mediaPath(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  // Parsed, it holds no "..": what begins with the path stays below it.
  const { protocol, pathname } = new URL(url);
  const at = pathname.indexOf(publicMedia);
  return /^https?:$/.test(protocol) && at >= 0 ? pathname.slice(at + publicMedia.length) : undefined;
}

interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Whether the signal ends a request under way, not only the pause before the next try. */
  abortsRequest?: boolean;
  tries?: number | undefined;
  timeoutMilliseconds?: number;
}

class RetryableError extends DarkroomApiError {
  retryAfterSeconds: number | undefined;
}

async function refusalOf(response: Response): Promise<DarkroomApiError> {
  const text = await response.text();
  const { error, message, request_id: requestId, ...details } = parsed(text);
  const type = retried.has(response.status) ? RetryableError : DarkroomApiError;
  const refusal = new type(
    response.status,
    typeof error === "string" ? error : `http_${response.status}`,
    typeof message === "string" ? message : text.slice(0, 200),
    typeof requestId === "string" ? requestId : undefined,
    details,
  );
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  if (refusal instanceof RetryableError && retryAfter >= 0)
    refusal.retryAfterSeconds = Math.min(retryAfter, 60);
  return refusal;
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // A proxy's page, not ours; its text is the message.
  }
}
