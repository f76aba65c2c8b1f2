import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { StopList } from "./stop-list.ts";

const never = () => new Promise<void>(() => undefined);

test("StopList stops its parts in the order of the stages, and those of a stage together", async () => {
  const { list, lines } = listOf();
  const order: string[] = [];
  const part = (name: string, milliseconds: number) => async () => {
    order.push(`${name} begins`);
    await pause(milliseconds);
    order.push(`${name} ends`);
  };
  list.add("database", "database", part("database", 0));
  list.add("services", "slow", part("slow", 40));
  list.add("services", "fast", part("fast", 5));
  list.add("announce", "announce", part("announce", 5));
  await list.stop();
  assert.deepEqual(order, [
    "announce begins",
    "announce ends",
    "slow begins",
    "fast begins",
    "fast ends",
    "slow ends",
    "database begins",
    "database ends",
  ]);
  assert.deepEqual(lines, []);
});

test("StopList ends within its total when every part hangs, names each, and tells it before it gives it up", async () => {
  const { list, lines } = listOf({ total: 950, urgent: 40 });
  const told: string[] = [];
  const stages = ["announce", "requests", "services", "pools", "database", "port", "folder"] as const;
  for (const stage of stages) {
    list.add(stage, `hanging ${stage}`, (signal) => {
      signal.addEventListener("abort", () => told.push(stage));
      return never();
    });
  }
  const begun = performance.now();
  await list.stop();
  const milliseconds = performance.now() - begun;
  assert.ok(milliseconds < 1_150, `${milliseconds} ms`);
  assert.deepEqual(told, stages);
  assert.deepEqual(
    lines.map(({ part, msg }) => `${part}: ${msg}`),
    stages.map((stage) => `hanging ${stage}: a part did not stop in time; going on without it`),
  );
});

test("StopList gives time that early stages do not need to the later ones", async () => {
  const { list, lines } = listOf({ total: 950, urgent: 40 });
  list.add("announce", "quick", () => undefined);
  // Of 950 ms, 180 are kept for this stage however long the others take.
  list.add("database", "slow", () => pause(600));
  await list.stop();
  assert.deepEqual(lines, []);
});

test("StopList goes on after a part that fails, and logs it by name", async () => {
  const { list, lines } = listOf();
  let isStopped = false;
  list.add("services", "broken", () => Promise.reject(new Error("out of order")));
  list.add("services", "throws", () => {
    throw new Error("at once");
  });
  list.add("pools", "later", () => {
    isStopped = true;
  });
  await list.stop();
  assert.ok(isStopped);
  assert.deepEqual(lines.map(({ part, msg, err }) => `${part}: ${msg}: ${err?.message}`).sort(), [
    "broken: a part did not stop cleanly: out of order",
    "throws: a part did not stop cleanly: at once",
  ]);
});

test("force() cuts short a stop that hangs, and the database is still told to end", async () => {
  const { list, lines } = listOf();
  let databaseTold = false;
  list.add("announce", "worker", never);
  list.add("database", "database", (signal) => {
    databaseTold = signal.aborted;
  });
  const stopping = list.stop();
  await pause(20);
  const begun = performance.now();
  await Promise.all([stopping, list.force()]);
  assert.ok(performance.now() - begun < 1_000);
  assert.ok(databaseTold);
  assert.deepEqual(
    lines.map(({ part }) => part),
    ["worker"],
  );
});

test("a part that is added after the stop stops at once, and a start under way hears of the stop", async () => {
  const { list } = listOf();
  const cut = assert.rejects(list.whenStopped(), /cut short/);
  assert.equal(list.signal.aborted, false);
  await list.stop();
  await cut;
  assert.equal(list.signal.aborted, true);
  let isStopped = false;
  list.add("pools", "late", () => {
    isStopped = true;
  });
  assert.ok(isStopped);
});

interface Line {
  part: string;
  msg: string;
  err?: { message: string };
}

function listOf(times?: { total: number; urgent: number }): { list: StopList; lines: Line[] } {
  const lines: Line[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
  return { list: new StopList(log, times), lines };
}
