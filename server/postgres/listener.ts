import { setTimeout as pause } from "node:timers/promises";
import { Client, driverUrl, escapeIdentifier } from "../../supabase/functions/_shared/database/driver.ts";

export interface ListenerOptions {
  url: string;
  channel: string;
  onNotification(payload: string): void;
  /** Called after each connection is made: notifications sent before then were missed. */
  onConnect(): void;
  /** Called at the first failure of each outage. */
  onError(error: unknown): void;
}

export interface Listener {
  stop(): Promise<void>;
}

const longestBackoffMilliseconds = 1_000;

/** Listens on a connection of its own, and connects again whenever it is lost. */
export function startListener(options: ListenerOptions): Listener {
  const stopping = new AbortController();
  const running = run(options, stopping.signal);
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function run(
  { url, channel, onNotification, onConnect, onError }: ListenerOptions,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; !signal.aborted; failures++) {
    const client = new Client({
      connectionString: driverUrl(url).href,
      application_name: "darkroom-listener",
      keepAlive: true,
    });
    const ended = new Promise<unknown>((resolve) => {
      // Always listened to: an error event without a listener would end the process.
      client.on("error", resolve);
      client.on("end", () => resolve(new Error("The connection ended.")));
      signal.addEventListener("abort", resolve, { once: true });
    });
    client.on("notification", ({ payload }) => onNotification(payload ?? ""));
    try {
      await client.connect();
      await client.query(`listen ${escapeIdentifier(channel)}`);
      failures = 0;
      onConnect();
      const reason = await ended;
      if (!signal.aborted) onError(reason);
    } catch (error) {
      if (failures === 0 && !signal.aborted) onError(error);
    }
    // Not waited for: a server that is silent would hold the stop.
    client.end().catch(() => undefined);
    const backoff = Math.min(20 * 2 ** failures, longestBackoffMilliseconds) * (0.5 + Math.random() / 2);
    await pause(backoff, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
