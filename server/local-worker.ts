import type { Logger } from "pino";

// Placeholder until this part is written.
export function startLocalWorker(_options: { apiUrl: string; serviceRoleKey: string; log: Logger }): {
  stop(): Promise<void>;
} {
  return { stop: () => Promise.resolve() };
}
