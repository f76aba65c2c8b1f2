import { hostname } from "node:os";
import type { Logger } from "pino";
import type { FalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import { DarkroomClient } from "../supabase/functions/_shared/worker/client.ts";
import { falTaskTypes } from "../supabase/functions/_shared/worker/fal/recipes.ts";
import { createFalProvider } from "../supabase/functions/_shared/worker/fal/provider.ts";
import type { Provider } from "../supabase/functions/_shared/worker/provider.ts";
import { createSandboxProvider, sandboxTaskTypes } from "../worker/sandbox/provider.ts";
import { createWorker } from "../supabase/functions/_shared/worker/worker.ts";
import { falRuleOf } from "./task-runners.ts";

export interface LocalWorker {
  stop(): Promise<void>;
}

export interface LocalWorkerOptions {
  apiUrl: string;
  /** How the outside calls this host. */
  publicUrl: string;
  serviceRoleKey: string;
  plan: LocalWorkPlan;
  log: Logger;
}

/** Which workers run in this process, and for which task types. */
export interface LocalWorkPlan {
  /** FAL's key and addresses, where FAL runs tasks. */
  fal: FalVariables | undefined;
  /** What the sandbox asks for: all that FAL cannot run, or nothing. */
  sandboxTypes: readonly string[];
  /** What neither of them asks for. */
  notServed: readonly string[];
}

/**
 * With FAL_KEY, FAL runs the task types that it can, unless DARKROOM_FAL_RUNS is `none`; the sandbox, where it runs, never asks for
 * these. What both ask for, the server decides.
 */
export function localWorkPlan({
  fal,
  sandbox,
}: {
  fal: FalVariables | undefined;
  sandbox: boolean;
}): LocalWorkPlan {
  const rule = falRuleOf(fal);
  const rest = sandboxTaskTypes.filter((type) => !rule || !falTaskTypes.includes(type));
  const sandboxTypes = sandbox ? rest : [];
  const served = rule === undefined || rule === "none" ? sandboxTypes : [...falTaskTypes, ...sandboxTypes];
  return {
    fal: rule === "none" ? undefined : rule && fal,
    sandboxTypes,
    notServed: sandboxTaskTypes.filter((type) => !served.includes(type)),
  };
}

const sandboxConcurrency = 2;
const falConcurrency = 8;
/** Of the time that a stop of the host leaves to the workers; what takes longer goes back into the queue. */
const stopGraceSeconds = 2;

/** The workers inside the standalone host: the sandbox, so that a fresh installation makes pictures by itself, and FAL. */
export function startLocalWorker(options: LocalWorkerOptions): LocalWorker {
  const { apiUrl, publicUrl, plan } = options;
  const { fal, sandboxTypes } = plan;
  const sandbox = sandboxTypes.length > 0 ? createSandboxProvider() : undefined;
  const remote = fal ? createFalProvider({ variables: fal, storageUrls: [apiUrl, publicUrl] }) : undefined;
  const workers = [
    ...(sandbox ? [startWorker(options, { ...sandbox, taskTypes: sandboxTypes }, sandboxConcurrency)] : []),
    ...(remote ? [startWorker(options, remote, Number(fal?.FAL_CONCURRENCY ?? falConcurrency))] : []),
  ];
  return {
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()));
      await sandbox?.close();
    },
  };
}

function startWorker(
  { apiUrl, serviceRoleKey, log }: LocalWorkerOptions,
  provider: Provider,
  concurrency: number,
): LocalWorker {
  // A name belongs to one worker: hosts that share a database have one each.
  const workerId = `${provider.name}-${hostname()}-${new URL(apiUrl).port}`;
  const worker = createWorker({
    client: new DarkroomClient({ url: apiUrl, token: serviceRoleKey, workerId }),
    providers: [provider],
    log: log.child({ worker: workerId }),
    concurrency,
    stopGraceSeconds,
  });
  const running = worker
    .run()
    .catch((error: unknown) => log.error({ err: error, worker: workerId }, "a local worker has ended"));
  return {
    async stop() {
      await worker.stop();
      await running;
    },
  };
}
