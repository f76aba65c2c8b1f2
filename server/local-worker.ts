import { hostname } from "node:os";
import type { Logger } from "pino";
import { DarkroomClient } from "../worker/client.ts";
import { createSandboxProvider } from "../worker/sandbox/provider.ts";
import { createWorker } from "../worker/worker.ts";

export interface LocalWorker {
  stop(): Promise<void>;
}

export interface LocalWorkerOptions {
  apiUrl: string;
  serviceRoleKey: string;
  log: Logger;
}

/** The sandbox worker inside the standalone host, so that a fresh installation makes pictures by itself. */
export function startLocalWorker({ apiUrl, serviceRoleKey, log }: LocalWorkerOptions): LocalWorker {
  const sandbox = createSandboxProvider();
  // A name belongs to one worker: hosts that share a database have one each.
  const workerId = `sandbox-${hostname()}-${new URL(apiUrl).port}`;
  const worker = createWorker({
    client: new DarkroomClient({ url: apiUrl, token: serviceRoleKey, workerId }),
    providers: [sandbox],
    log: log.child({ worker: workerId }),
    concurrency: 2,
  });
  const running = worker
    .run()
    .catch((error: unknown) => log.error({ err: error }, "the local worker was refused"));
  return {
    async stop() {
      await worker.stop();
      await running;
      await sandbox.close();
    },
  };
}
