import { hostname } from "node:os";
import type { Logger } from "pino";
import type { FalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import { DarkroomClient } from "../worker/client.ts";
import { createFalProvider } from "../worker/fal/provider.ts";
import type { Provider } from "../worker/provider.ts";
import { createSandboxProvider } from "../worker/sandbox/provider.ts";
import { createWorker } from "../worker/worker.ts";

export interface LocalWorker {
  stop(): Promise<void>;
}

export interface LocalWorkerOptions {
  apiUrl: string;
  /** How the outside calls this host. */
  publicUrl: string;
  serviceRoleKey: string;
  /** With FAL_KEY, FAL runs the task types that it can, and the sandbox the rest. */
  fal?: FalVariables | undefined;
  log: Logger;
}

const sandboxConcurrency = 2;
const falConcurrency = 8;
/** Of the time that a stop of the host leaves to the workers; what takes longer goes back into the queue. */
const stopGraceSeconds = 2;

/** The workers inside the standalone host: the sandbox, so that a fresh installation makes pictures by itself, and FAL. */
export function startLocalWorker(options: LocalWorkerOptions): LocalWorker {
  const { apiUrl, publicUrl, fal } = options;
  const sandbox = createSandboxProvider();
  const remote = fal?.FAL_KEY
    ? createFalProvider({ variables: fal, storageUrls: [apiUrl, publicUrl] })
    : undefined;
  const rest = sandbox.taskTypes.filter((type) => !remote?.taskTypes.includes(type));
  const workers = [
    startWorker(options, { ...sandbox, taskTypes: rest }, sandboxConcurrency),
    ...(remote ? [startWorker(options, remote, Number(fal?.FAL_CONCURRENCY ?? falConcurrency))] : []),
  ];
  return {
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()));
      await sandbox.close();
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
