import type { Database } from "../database/database.ts";
import { type Caller, type EndpointContext, forUser } from "../http/endpoint.ts";

export interface ClaimOptions {
  workerId: string | undefined;
  runType: "gpu" | "api" | undefined;
  taskTypes: string[] | undefined;
  models: string[] | undefined;
  sameModelOnly: boolean;
  /** More than one: `tasks` instead of one task. */
  maxTasks: number | undefined;
  /** How long to wait for a task when there is none. */
  waitSeconds: number;
  debug: boolean;
  /** What runs the tasks, where that is no own worker. */
  provider?: "fal" | "sandbox" | undefined;
  /** FAL's rule: see `falRouting`. */
  falRuns?: "missing" | "all" | "none" | undefined;
  falAfterSeconds?: number | undefined;
}

interface ProviderJob {
  provider: string;
  model: string;
  request_id: string | null;
  began_at: string;
}

export interface ClaimedTask {
  task_id: string;
  params: Record<string, unknown>;
  billed: Record<string, unknown>;
  task_type: string;
  project_id: string;
  attempt: number;
  attempts: number;
  lease_expires_at: string;
  provider_jobs?: (ProviderJob & { step: number; webhook_key?: string })[];
  provider_job?: ProviderJob;
}

type Claim = ClaimedTask | { tasks: ClaimedTask[] } | { debug: Record<string, number> };

type Dependencies = Pick<EndpointContext<unknown>, "database" | "waiting" | "log">;

/** Gives a worker the next task or tasks: a token only its owner's, the service anybody's. Nothing: null. */
export async function claimNextTask(
  { database, waiting, log }: Dependencies,
  caller: Caller,
  options: ClaimOptions,
): Promise<Claim | null> {
  const { waitSeconds } = options;
  const since = waiting.now();
  let claimed = await claim(database, caller, { ...options, debug: options.debug && waitSeconds === 0 });
  if (claimed === null && waitSeconds > 0) {
    const wanted = {
      kind: "lane",
      ownerId: waiting.userId(),
      runType: options.runType,
      taskTypes: options.taskTypes,
      models: await wantedModels(database, caller, options),
      provider: options.provider,
    } as const;
    claimed = await waiting.hold(wanted, { seconds: waitSeconds, since }, () =>
      claim(database, caller, { ...options, debug: false }),
    );
    // Only the last empty claim is worth explaining.
    if (claimed === null && options.debug && !waiting.isAbandoned()) {
      claimed = await claim(database, caller, options);
    }
  }
  if (claimed !== null && waiting.isAbandoned()) {
    for (const task of tasksOf(claimed)) {
      await unclaim(database, caller, task).catch((error: unknown) => {
        // The lease ends by itself.
        log.warn({ err: error, task_id: task.task_id }, "a task that nobody took could not be put back");
      });
    }
    return null;
  }
  return claimed;
}

function claim(
  database: Pick<Database, "call">,
  caller: Caller,
  options: ClaimOptions,
): Promise<Claim | null> {
  const { workerId, runType, taskTypes, models, sameModelOnly, maxTasks, debug } = options;
  return database.call("claim_next_task", {
    for_user: forUser(caller),
    for_worker: workerId,
    for_run_type: runType,
    only_task_types: taskTypes,
    only_models: models,
    same_model_only: sameModelOnly,
    max_tasks: maxTasks,
    debug,
    for_provider: options.provider,
    fal_runs: options.falRuns,
    fal_after_seconds: options.falAfterSeconds,
  });
}

/** What a wait is for; asked only by a worker that is bound to its model, which the database alone knows. */
async function wantedModels(
  database: Pick<Database, "call">,
  caller: Caller,
  { workerId, models, sameModelOnly }: ClaimOptions,
): Promise<string[] | undefined> {
  if (!sameModelOnly || workerId === undefined) return models;
  const loaded = await database.call<string | null>("get_worker_model", {
    for_user: forUser(caller),
    for_worker: workerId,
  });
  if (loaded === null) return models;
  return models?.includes(loaded) === false ? [] : [loaded];
}

function tasksOf(claim: Claim): ClaimedTask[] {
  if ("tasks" in claim) return claim.tasks;
  return "debug" in claim ? [] : [claim];
}

/** The worker hung up while it was given a task: another shall have it, rather than wait for the lease to end. */
async function unclaim(
  database: Pick<Database, "call">,
  caller: Caller,
  { task_id, attempt }: ClaimedTask,
): Promise<void> {
  await database.call("unclaim_task", { for_user: forUser(caller), for_task: task_id, for_attempt: attempt });
}
