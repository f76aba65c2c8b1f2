import type { Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { CheckedFiles } from "../media/check-outputs.ts";
import { prepareOutput } from "../media/prepare-output.ts";
import { outputName } from "../media/output-name.ts";
import type { Storage } from "../media/storage.ts";
import type { TargetPolicy } from "../outgoing/target.ts";
import { completeTaskWithPath, type MoreOutput } from "../tasks/complete-task.ts";
import { updateTaskStatus } from "../tasks/update-task-status.ts";
import { type FalFault, faultOf, harmless } from "./fal-fault.ts";
import { fetchOutputs, type FetchedOutput, outputsOf } from "./fal-result.ts";
import { createFalSignatures, type FalSignatures, KeysUnavailable } from "./fal-signature.ts";
import { falAddresses, type FalVariables, trustedFalOrigins } from "./variables.ts";

/** What FAL's webhooks need; undefined where they are not switched on. */
export interface FalWebhooks {
  signatures: FalSignatures;
  policy: TargetPolicy;
}

/** Undefined where no webhook's address is set: FAL is not told one, so there is nothing to take. */
export function createFalWebhooks(variables: FalVariables): FalWebhooks | undefined {
  if (!variables.FAL_WEBHOOK) return undefined;
  return {
    signatures: createFalSignatures({ jwksUrl: variables.FAL_JWKS_URL ?? falAddresses.jwks }),
    policy: { allowPrivate: false, trustedOrigins: trustedFalOrigins(variables) },
  };
}

/** The body of a webhook: how a job ended. */
export interface FalNews {
  request_id: string;
  gateway_request_id?: string | null | undefined;
  status: "OK" | "ERROR";
  payload?: unknown;
  error?: string | null | undefined;
}

export const falNewsStates = ["completed", "failed", "requeued", "left", "noted", "over", "unknown"] as const;
/**
 * `left`: the run has to fetch the result by itself. `noted`: the task takes further jobs, and its run goes on by itself. `over`: there is no run that it could end. `unknown`: no job of ours.
 */
export type FalNewsState = (typeof falNewsStates)[number];

interface Dependencies {
  database: Pick<Database, "call">;
  storage: Storage;
  log: { warn(fields: object, message: string): void };
}

interface FoundJob {
  task_id: string;
  attempt: number;
  /** How many outputs are paid; null where the price is by the second. */
  paid_outputs: number | null;
  /** Whether the job's result is the task's output; a task of several jobs is completed by its run. */
  completes: boolean;
  /** Which job of the task. */
  step: number;
  is_running: boolean;
  /** Another worker than FAL's runs the task since. */
  is_left_behind: boolean;
}

/** Larger files are left to the run: here they are in memory, beside others. */
const mostBytes = 64 * 1024 * 1024;

/** @throws AppError `provider_not_configured`, `invalid_signature`, `provider_unavailable` */
export async function verifyFalNews(
  fal: FalWebhooks | undefined,
  text: string,
  headers: Headers,
): Promise<FalWebhooks> {
  if (!fal) throw new AppError("provider_not_configured", { variable: "FAL_WEBHOOK", retry_after: 60 });
  try {
    if (!(await fal.signatures.fits(text, headers))) throw new AppError("invalid_signature");
  } catch (error) {
    if (!(error instanceof KeysUnavailable)) throw error;
    throw new AppError("provider_unavailable", { retry_after: 30 }, { cause: error });
  }
  return fal;
}

/**
 * Ends the run that a job belongs to: with its files, or as it failed. Any number of times, in any order with the run
 * that asks FAL by itself: the run's number fences it, so there is one completion and one charge.
 */
export async function endByFalNews(
  { database, storage, log }: Dependencies,
  { policy }: FalWebhooks,
  news: FalNews,
  webhookKey: string | undefined,
): Promise<FalNewsState> {
  const ids = [news.request_id, news.gateway_request_id].filter((id): id is string => isRequestId(id));
  if (ids.length === 0) return "unknown";
  const job = await database.call<FoundJob | null>("find_provider_job", {
    for_provider: "fal",
    for_request_ids: ids,
    for_webhook_key: webhookKey,
  });
  if (!job) return (await settleUnwanted(database, ids, webhookKey, news)) ? "over" : "unknown";
  if (!job.is_running) return "over";
  if (job.is_left_behind && news.status === "ERROR") {
    // The worker that runs the task now has nothing to do with it.
    await database.call("forget_failed_job", {
      for_task: job.task_id,
      for_provider: "fal",
      for_step: job.step,
    });
    return "over";
  }
  if (!job.completes) return "noted";
  const fields = { task_id: job.task_id, attempt: job.attempt };
  try {
    if (news.status === "ERROR") return await fail({ database, storage }, job, faultOfNews(news));
    let files: FetchedOutput[];
    try {
      files = await fetchOutputs(
        job.task_id,
        outputsOf(news.payload).slice(0, job.paid_outputs ?? undefined),
        { policy, mostBytes },
      );
    } catch (error) {
      // The run asks FAL itself, with more patience, and says what is wrong.
      log.warn({ ...fields, err: error }, "a result of FAL could not be fetched");
      return "left";
    }
    return await complete({ database, storage }, job, files);
  } catch (error) {
    if (error instanceof AppError && (error.status === 409 || error.code === "task_not_found")) {
      // Perhaps cancelled a moment ago: then the cancelled run costs what the job's end says.
      await settleUnwanted(database, ids, webhookKey, news);
      return "over";
    }
    if (error instanceof AppError && (error.status === 413 || error.status === 422)) {
      // What cannot be stored now never can be. The run says so, once, and ends.
      log.warn({ ...fields, err: error }, "a result of FAL could not be stored");
      return "left";
    }
    throw error;
  }
}

/** The end of a job that no task needs any more decides what its cancelled run costs. */
async function settleUnwanted(
  database: Pick<Database, "call">,
  ids: readonly string[],
  webhookKey: string | undefined,
  { status }: FalNews,
): Promise<boolean> {
  return await database.call("settle_withdrawal_by_news", {
    for_provider: "fal",
    for_request_ids: ids,
    for_webhook_key: webhookKey,
    has_failed: status === "ERROR",
  });
}

async function complete(
  { database, storage }: Pick<Dependencies, "database" | "storage">,
  { task_id: taskId, attempt }: FoundJob,
  files: readonly FetchedOutput[],
): Promise<FalNewsState> {
  const caller = { kind: "service" } as const;
  const run = { taskId, attempt, workerId: undefined };
  const names = files.map(({ filename }) => outputName(filename));
  const prepared = await prepareOutput(database, caller, run, { fileNames: names });
  if ("completed" in prepared) return "completed";
  const stored: MoreOutput[] = [];
  const checked: CheckedFiles = {};
  for (const [index, { bytes, contentType, facts, check }] of files.entries()) {
    const path = prepared.paths[index];
    if (path === undefined) throw new Error("no path was issued for an output");
    try {
      checked[path] = { ...check, etag: await storage.upload(path, bytes, contentType) };
    } catch (error) {
      // The run, or the same news sent twice, has completed the task, whose files are kept from then on.
      if ("completed" in (await prepareOutput(database, caller, run))) return "completed";
      throw error;
    }
    stored.push({ path, facts });
  }
  const [first, ...more] = stored;
  if (!first) return "left";
  const wishes = { text: undefined, thumbnailPath: undefined, skipGeneration: false, warnings: [] };
  const { status } = await completeTaskWithPath({ database, storage }, caller, run, {
    ...first,
    ...wishes,
    more,
    checked,
  });
  return status === "Failed" ? "failed" : "completed";
}

async function fail(
  dependencies: Pick<Dependencies, "database" | "storage">,
  { task_id: taskId, attempt, step }: FoundJob,
  { kind, message }: FalFault,
): Promise<FalNewsState> {
  const answer = await updateTaskStatus(
    dependencies,
    { kind: "service" },
    {
      taskId,
      status: kind === "callers" ? "Failed" : "Queued",
      workerId: undefined,
      attempt,
      changes: { error_details: message, provider_job: null, unbilled_provider_steps: [step] },
    },
  );
  return answer["status"] === "Failed" ? "failed" : "requeued";
}

/** `error` names the status where the model answered one, as in "Invalid status code: 422"; `payload` is its body. */
function faultOfNews({ error, payload }: FalNews): FalFault {
  const status = /\b([45]\d\d)\b/.exec(error ?? "")?.[1];
  if (status) return faultOf(Number(status), payload);
  return { kind: "passing", message: `FAL failed: ${harmless(error) || "without a word"}` };
}

function isRequestId(id: string | null | undefined): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/.test(id ?? "");
}
