import type { Resolve, TargetPolicy } from "../../outgoing/target.ts";
import { withdrawalCallMilliseconds } from "../../providers/fal-access.ts";
import { createFalQueue } from "../../providers/fal-queue.ts";
import { type FalVariables, trustedFalOrigins } from "../../providers/variables.ts";
import { withdrawDue } from "../../providers/withdrawals.ts";
import { orchestratorTaskTypes } from "../orchestration/orchestrate.ts";
import { type Provider, RenderError } from "../provider.ts";
import { falClaimsAs } from "./claims-as.ts";
import { FalTaskJobs, type Pace, providerName, type Surroundings } from "./jobs.ts";
import type { FalRecipe } from "./recipe.ts";
import { falRecipes } from "./recipes.ts";

export interface FalOptions {
  /** `FAL_KEY` and the addresses; see docs/fal.md. */
  variables: FalVariables;
  /** Base URLs under which Darkroom's storage is known: this worker's, and the public one. */
  storageUrls: readonly string[];
  /** How names are looked up. */
  resolve?: Resolve;
  pace?: Partial<Pace>;
  /** The largest file of a result that this process takes; default: what storage takes. */
  mostFileBytes?: number | undefined;
  /** How FAL runs each task type; default: all that it can run. */
  recipes?: Record<string, FalRecipe>;
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

/**
 * Runs tasks at FAL. The server keeps each task's jobs, so that a run which ends before its jobs do leaves them to the next one:
 * each job is paid for once. docs/fal.md says where that has its limits.
 */
export function createFalProvider({
  variables,
  storageUrls,
  resolve,
  pace,
  mostFileBytes,
  recipes = falRecipes,
}: FalOptions): Provider {
  const key = variables.FAL_KEY;
  if (!key) throw new Error("FAL_KEY is not set.");
  const webhook = variables.FAL_WEBHOOK;
  const addresses = { queueUrl: variables.FAL_QUEUE_URL, restUrl: variables.FAL_REST_URL };
  const policy: TargetPolicy = {
    allowPrivate: false,
    trustedOrigins: trustedFalOrigins(variables),
    ...(resolve && { resolve }),
  };
  const around: Surroundings = {
    fal: createFalQueue(key, addresses),
    withdrawing: createFalQueue(key, { ...addresses, callMilliseconds: withdrawalCallMilliseconds }),
    pace: {
      ...usualPace,
      ...(webhook && { pollSeconds: pollSecondsWithWebhook, longestPollSeconds: pollSecondsWithWebhook }),
      ...pace,
    },
    paceWithoutWebhook: { ...usualPace, ...pace },
    policy,
    storageUrls,
    webhook,
    mostFileBytes,
  };
  return {
    name: providerName,
    taskTypes: Object.keys(recipes),
    claimsAs: falClaimsAs(variables),
    async run(task, context) {
      const recipe = Object.hasOwn(recipes, task.task_type) ? recipes[task.task_type] : undefined;
      if (!recipe) throw new RenderError(`${task.task_type} is not run at FAL`, { isRetryable: false });
      // A progress message of an orchestrator tells the server that all its children exist.
      const isOrchestrator = orchestratorTaskTypes.includes(task.task_type);
      const reported = isOrchestrator ? { ...context, progress: () => undefined } : context;
      return await new FalTaskJobs(task, reported, around).carryOut(recipe);
    },
    async tend({ client, log }) {
      const { withdrawing: fal } = around;
      await withdrawDue({ exchange: (request) => client.providerWithdrawals(request), fal, log });
    },
  };
}
