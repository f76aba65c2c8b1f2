import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { withDatabase } from "../test/support/database.ts";
import { databaseState } from "./database-state.ts";
import { type DatabaseState, type Liveness, type WatchedPool, watchLiveness } from "./liveness.ts";

const log = pino({ level: "silent" });
const never = () => new Promise<never>(() => undefined);

test("a pool that does not answer while the database does is an obstacle, until it answers again", () =>
  watching({ ping: never, askDatabase: () => "answers" }, async (liveness, pool) => {
    assert.equal(liveness.obstacle(), undefined);
    const obstacle = await until(() => liveness.obstacle());
    assert.match(obstacle, /^the pool "?main"? has not answered for \d+ s although the database answers$/);
    pool.ping = () => Promise.resolve();
    await until(() => (liveness.obstacle() === undefined ? "answers" : undefined));
  }));

test("a pool whose every call fails while the database answers is an obstacle too", () =>
  watching({ ping: () => Promise.reject(new Error("ended")), askDatabase: () => "answers" }, (liveness) =>
    until(() => liveness.obstacle()),
  ));

for (const state of ["does not answer", "waits for locks"] as const) {
  test(`a pool that does not answer is no obstacle while the database ${state}, nor right after it`, () => {
    let now: DatabaseState = state;
    return watching({ ping: never, askDatabase: () => now }, async (liveness) => {
      await pause(400);
      assert.equal(liveness.obstacle(), undefined);
      const begun = performance.now();
      now = "answers";
      await until(() => liveness.obstacle());
      // The time without the database does not count.
      assert.ok(performance.now() - begun >= limitMilliseconds - 1);
    });
  });
}

test("a pool whose statements end is no obstacle, though its pings have to wait", () =>
  watching(
    { ping: never, askDatabase: () => "answers", lastAnswer: () => performance.now() },
    async (liveness) => {
      await pause(400);
      assert.equal(liveness.obstacle(), undefined);
    },
  ));

test("pings of a pool that does not answer do not pile up", () => {
  let pings = 0;
  const ping = () => {
    pings++;
    return never();
  };
  return watching({ ping, askDatabase: () => "does not answer" }, async () => {
    await pause(400);
    // Four in the time of the limit.
    assert.ok(pings >= 4 && pings <= 24, String(pings));
  });
});

test("databaseState() tells a database that answers from one that waits for locks and one that is away", () =>
  withDatabase(async (database) => {
    assert.equal(await databaseState(database.url), "answers");
    const [holder, waiter] = [await database.session(), await database.session()];
    await waiter.query("set application_name = 'darkroom-host'");
    await holder.query("begin; lock table tasks");
    const waiting = waiter.query("select count(*) from tasks");
    while ((await databaseState(database.url)) !== "waits for locks") await pause(20);
    await holder.query("commit");
    await waiting;
    assert.equal(await databaseState(database.url), "answers");

    const away = new URL(database.url);
    away.port = "1";
    assert.equal(await databaseState(away.href), "does not answer");
  }));

const limitMilliseconds = 100;

async function watching(
  of: { ping: WatchedPool["ping"]; askDatabase: () => DatabaseState; lastAnswer?: () => number },
  work: (liveness: Liveness, pool: WatchedPool) => Promise<unknown>,
): Promise<void> {
  const { askDatabase, ...rest } = of;
  const pool: WatchedPool = { name: "main", ...rest };
  const liveness = watchLiveness({
    pools: [pool],
    askDatabase: () => Promise.resolve(askDatabase()),
    log,
    intervalMilliseconds: 10,
    limitMilliseconds,
  });
  try {
    await work(liveness, pool);
  } finally {
    liveness.stop();
  }
}

async function until<Value>(look: () => Value | undefined): Promise<Value> {
  for (const end = performance.now() + 5_000; performance.now() < end; await pause(5)) {
    const value = look();
    if (value !== undefined) return value;
  }
  throw new Error("It did not come.");
}
