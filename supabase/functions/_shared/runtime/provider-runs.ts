import { claimNextTaskEndpoint } from "../../claim-next-task/endpoint.ts";
import { completeTaskEndpoint } from "../../complete_task/endpoint.ts";
import { createTaskEndpoint } from "../../create-task/endpoint.ts";
import { generateUploadUrlEndpoint } from "../../generate-upload-url/endpoint.ts";
import { getCompletedSegmentsEndpoint } from "../../get-completed-segments/endpoint.ts";
import { getOrchestratorChildrenEndpoint } from "../../get-orchestrator-children/endpoint.ts";
import { getPredecessorOutputEndpoint } from "../../get-predecessor-output/endpoint.ts";
import { getTaskOutputEndpoint } from "../../get-task-output/endpoint.ts";
import { getTaskStatusEndpoint } from "../../get-task-status/endpoint.ts";
import { providerWithdrawalsEndpoint } from "../../provider-withdrawals/endpoint.ts";
import { updateTaskStatusEndpoint } from "../../update-task-status/endpoint.ts";
import { workerHeartbeatEndpoint } from "../../worker-heartbeat/endpoint.ts";
import { bind, type Environment } from "../http/bind.ts";
import type { ProviderRuns, TaskRunner } from "../providers/task-runner.ts";
import type { FalVariables } from "../providers/variables.ts";

/** What a worker calls. A call from this process needs no network and is not another invocation of a function. */
const workerEndpoints = [
  claimNextTaskEndpoint,
  completeTaskEndpoint,
  createTaskEndpoint,
  generateUploadUrlEndpoint,
  getCompletedSegmentsEndpoint,
  getOrchestratorChildrenEndpoint,
  getPredecessorOutputEndpoint,
  getTaskOutputEndpoint,
  getTaskStatusEndpoint,
  providerWithdrawalsEndpoint,
  updateTaskStatusEndpoint,
  workerHeartbeatEndpoint,
];

export interface ProviderRunsOptions {
  variables: FalVariables;
  apiUrl: string;
  serviceKey: string;
  environment: Environment;
  /** Reaches storage; default: over the network. */
  fetch?: typeof fetch;
  /** Of a process that the platform ends. */
  life?: ProcessLife | undefined;
  /** Without work for so long, a call ends; default: 2 seconds. */
  idleMilliseconds?: number;
}

/** A process that the platform ends after a time, and that lives on after an answer while work is under way. */
export interface ProcessLife {
  millisecondsLeft(): number;
  ending: AbortSignal;
  keepAlive(work: Promise<unknown>): void;
}

/** Outputs are in memory while they are stored, and an isolate has 256 MB. */
const usualConcurrency = 4;
export const usualRunSeconds = 100;
const mostRunners = 4;

export function createProviderRuns(options: ProviderRunsOptions): ProviderRuns {
  const { variables, life } = options;
  let runner: Promise<TaskRunner> | undefined;
  return {
    runner: () => (variables.FAL_KEY ? (runner ??= loadRunner(options)) : undefined),
    atOnce: within(variables.FAL_CONCURRENCY, 64) ?? usualConcurrency,
    longestMilliseconds: runSeconds(variables) * 1000,
    mostRunners,
    millisecondsLeft: () => life?.millisecondsLeft(),
    keepAlive: life && ((work) => life.keepAlive(work)),
  };
}

/** How long one call runs, in seconds. */
export function runSeconds({ FAL_RUN_SECONDS }: FalVariables): number {
  return within(FAL_RUN_SECONDS, 3600) ?? usualRunSeconds;
}

function within(value: string | undefined, most: number): number | undefined {
  const number = Number(value);
  return Number.isInteger(number) && number >= 1 && number <= most ? number : undefined;
}

/** Only a call with work to do loads the worker. */
async function loadRunner({
  variables,
  apiUrl,
  serviceKey,
  environment,
  fetch: network = fetch,
  life,
  idleMilliseconds,
}: ProviderRunsOptions): Promise<TaskRunner> {
  const { createFalTaskRunner } = await import("../providers/fal-task-runner.ts");
  const handlers = new Map(
    workerEndpoints.map((served) => [served.contract.name, bind(served, environment)]),
  );
  const functions = `${apiUrl}/functions/v1/`;
  return createFalTaskRunner({
    variables,
    apiUrl,
    serviceKey,
    log: environment.log,
    ending: life?.ending ?? new AbortController().signal,
    ...(idleMilliseconds !== undefined && { idleMilliseconds }),
    async fetch(input, init) {
      const url = input instanceof Request ? input.url : String(input);
      const handler = url.startsWith(functions) ? handlers.get(url.slice(functions.length)) : undefined;
      if (!handler) return await network(input, init);
      const request = new Request(input, init);
      // Keys of the new kind are known in this header alone.
      request.headers.set("apikey", serviceKey);
      return await handler(request);
    },
  });
}
