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
  const worker = createWorker({
    client: new DarkroomClient({ url: apiUrl, token: serviceRoleKey, workerId: "sandbox-local" }),
    providers: [sandbox],
    log: log.child({ worker: "sandbox-local" }),
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
