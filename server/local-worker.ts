import { hostname } from "node:os";
import type { Logger } from "pino";
import type { FalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import { DarkroomClient } from "../worker/client.ts";
import { falTaskTypes } from "../worker/fal/recipes.ts";
import { createFalProvider } from "../worker/fal/provider.ts";
import type { Provider } from "../worker/provider.ts";
import { createSandboxProvider, sandboxTaskTypes } from "../worker/sandbox/provider.ts";
import { createWorker } from "../worker/worker.ts";

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
  /** FAL's key and addresses, where FAL runs the task types that it can. */
  fal: FalVariables | undefined;
  /** What the sandbox does: all that FAL does not, or nothing. */
  sandboxTypes: readonly string[];
  /** What neither does because the sandbox is off. */
  notServed: readonly string[];
}

/** With FAL_KEY, FAL runs the task types that it can, and the sandbox, where it runs, the rest. */
export function localWorkPlan({
  fal,
  sandbox,
}: {
  fal: FalVariables | undefined;
  sandbox: boolean;
}): LocalWorkPlan {
  const used = fal?.FAL_KEY ? fal : undefined;
  const rest = sandboxTaskTypes.filter((type) => !used || !falTaskTypes.includes(type));
  return { fal: used, sandboxTypes: sandbox ? rest : [], notServed: sandbox ? [] : rest };
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
