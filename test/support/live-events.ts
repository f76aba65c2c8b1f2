import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { Person } from "./calls.ts";

/** What a person is told on a private topic from now on, each with the name of its event. */
export async function listen({ client }: Person, topic: string): Promise<Record<string, unknown>[]> {
  const seen: Record<string, unknown>[] = [];
  const channel = client.channel(topic, { config: { private: true } });
  channel.on("broadcast", { event: "*" }, ({ event, payload }) => {
    seen.push({ event, ...(payload as Record<string, unknown>) });
  });
  await new Promise<void>((resolve, reject) => {
    channel.subscribe((status, error) => {
      if (status === "SUBSCRIBED") resolve();
      else reject(error ?? new Error(`${topic}: ${status}`));
    });
  });
  return seen;
}

/** Waits until enough was seen, at most ten seconds. */
export async function until<Item>(seen: Item[], isEnough: (seen: Item[]) => boolean): Promise<Item[]> {
  for (const deadline = Date.now() + 10_000; !isEnough(seen); await pause(10)) {
    assert.ok(Date.now() < deadline, `not seen in ten seconds; only ${JSON.stringify(seen)}`);
  }
  return seen;
}
