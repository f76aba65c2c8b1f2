import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { type CuttingProxy, cuttingProxy } from "../../../../test/support/cutting-proxy.ts";
import { type DatabaseUnderTest, withDatabase } from "../../../../test/support/database.ts";
import { ConnectionError } from "./connection-error.ts";
import { openPool, type Pool, type PoolOptions } from "./pool.ts";
import { fragment, identifier, json } from "./sql.ts";

interface Scene {
  database: DatabaseUnderTest;
  proxy: CuttingProxy;
  /** Reaches the database through the proxy. */
  pool: Pool;
}

/** A pool whose connections a test can break, and the same database beside it. */
function withPool(options: Partial<PoolOptions>, play: (scene: Scene) => Promise<void>): Promise<void> {
  return withDatabase(async (database) => {
    const proxy = await cuttingProxy(database.url);
    const pool = openPool({ url: proxy.url, name: "pool-test", connections: 4, ...options });
    try {
      await play({ database, proxy, pool });
    } finally {
      await pool.end({ timeoutMilliseconds: 0 });
      await proxy.close();
    }
  });
}

const failsWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof ConnectionError, String(error));
  assert.equal(error.code, code);
  return true;
};

async function endBackends({ sql }: DatabaseUnderTest): Promise<number> {
  return (
    await sql`
      select pg_terminate_backend(pid, 2000) from pg_stat_activity
       where application_name = 'pool-test' and datname = current_database()`
  ).count;
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

test("values keep their meaning on the way to PostgreSQL and back", () =>
  withPool({}, async ({ pool }) => {
    const at = new Date("2026-02-03T04:05:06.789Z");
    const bytes = Uint8Array.of(0, 1, 254, 255);
    const [row] = await pool`
      select ${"ü ' \\ \" {}"}::text as text, ${7}::int as number, ${2n ** 60n}::bigint as large, ${true}::boolean as yes,
             ${null}::text as nothing, ${at}::timestamptz as at, ${bytes}::bytea as bytes,
             ${["a", 'b"', "", "null"]}::text[] as texts, ${[1, 2]}::int[] as numbers,
             ${json([{ a: 1 }, "b"])}::jsonb as list, ${json("text")}::jsonb as word,
             interval '1 day 2 hours' as duration`;
    assert.deepEqual(row, {
      text: "ü ' \\ \" {}",
      number: 7,
      large: String(2n ** 60n),
      yes: true,
      nothing: null,
      at,
      bytes: Buffer.from(bytes),
      texts: ["a", 'b"', "", "null"],
      numbers: [1, 2],
      list: [{ a: 1 }, "b"],
      word: "text",
      duration: "1 day 02:00:00",
    });
  }));

test("a fragment becomes part of the statement, with its own parameters", () =>
  withPool({}, async ({ pool }) => {
    const order = fragment`order by ${identifier("n")} desc`;
    const rows = await pool<{ n: number }[]>`
      select n from generate_series(1, ${5}) as n where ${fragment`n > ${2}`} ${order}`;
    assert.deepEqual(
      rows.map(({ n }) => n),
      [5, 4, 3],
    );
    assert.equal(rows.count, 3);
  }));

test("an undefined parameter is refused", () =>
  withPool({}, async ({ pool }) => {
    await assert.rejects(pool`select ${undefined as never}`, /parameter of the statement is undefined/);
  }));

test("a transaction whose connection is lost fails, changes nothing, and the pool goes on", () =>
  withPool({}, async ({ database, pool }) => {
    await database.sql`create table kept (n int)`;
    const lost = pool.transaction(async (transaction) => {
      await transaction`insert into kept values (1)`;
      assert.equal(await endBackends(database), 1);
      // Written by the caller as if nothing had happened; on another connection they would be committed.
      await transaction`insert into kept values (2)`.catch(() => undefined);
      await transaction`insert into kept values (3)`;
    });
    await assert.rejects(lost, failsWith("CONNECTION_LOST"));
    assert.deepEqual(await database.sql`select n from kept`, []);
    for (let call = 0; call < 20; call++) assert.equal((await pool`select 1`).length, 1);
  }));

test("a connection that is reset in every state is replaced, and no call hangs", () =>
  withPool({}, async ({ proxy, pool }) => {
    for (let round = 0; round < 10; round++) {
      const calls = [
        pool`select pg_sleep(0.2)`,
        pool.transaction(async (transaction) => {
          await transaction`select 1`;
          await pause(100);
          await transaction`select pg_sleep(0.2)`;
        }),
        pool.transaction((transaction) => transaction`select pg_sleep(0.2)`, { begin: "begin read only" }),
      ];
      const outcomes = Promise.allSettled(calls);
      await pause(50);
      await proxy.down();
      await proxy.up();
      for (const outcome of await outcomes) {
        if (outcome.status === "rejected") assert.ok(outcome.reason instanceof ConnectionError);
      }
      const after = await Promise.all(Array.from({ length: 12 }, () => pool<{ n: number }[]>`select 1 as n`));
      assert.equal(after.length, 12);
    }
    const { lost, open } = pool.statistics();
    assert.ok(lost > 0 && open >= 1 && open <= 4, JSON.stringify({ lost, open }));
  }));

test("idle connections that end do not end the process", () =>
  withPool({}, async ({ database, pool }) => {
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 4 }, () => pool`select pg_sleep(0.02)`));
      assert.equal(await endBackends(database), 4);
      // Until the pool has seen their ends.
      while (pool.statistics().open > 0) await pause(5);
    }
    assert.equal((await pool`select 1`).length, 1);
  }));

test("a silent database is answered for by the deadline, and its connection is destroyed", () =>
  withPool({ deadlineMilliseconds: 300 }, async ({ proxy, pool }) => {
    await pool`select 1`;
    proxy.silence();
    const took = await milliseconds(async () => {
      await assert.rejects(pool`select 1`, failsWith("CONNECTION_DEADLINE"));
      await assert.rejects(
        pool.transaction((transaction) => transaction`select 1`),
        ConnectionError,
      );
    });
    assert.ok(took < 2_000, `${took} ms`);
    assert.equal(pool.statistics().open <= 1, true, "at most the connection that is being made");
    proxy.speak();
    await proxy.down();
    await proxy.up();
    assert.equal((await pool`select 1`).length, 1);
    assert.ok(pool.statistics().deadlines > 0);
  }));

test("after a missed deadline the idle connections are replaced, and no further call waits for a dead one", () =>
  withPool({ deadlineMilliseconds: 300 }, async ({ proxy, pool }) => {
    await Promise.all(Array.from({ length: 4 }, () => pool`select pg_sleep(0.05)`));
    assert.equal(pool.statistics().idle, 4);
    proxy.silence();
    await assert.rejects(pool`select 1`, failsWith("CONNECTION_DEADLINE"));
    // From here on new connections work, while those from before never answer.
    proxy.speak();
    for (let call = 0; call < 6; call++) assert.equal((await pool`select 1`).length, 1);
    assert.equal(pool.statistics().deadlines, 1);
  }));

test("a reserved connection runs nothing after it was released", () =>
  withPool({ connections: 1 }, async ({ pool }) => {
    const reserved = await pool.reserve();
    await reserved`select set_config('test.owner', 'first', false)`;
    reserved.release();
    await assert.rejects(reserved`select 1`, failsWith("CONNECTION_CLOSED"));
    assert.equal((await pool`select 1`).length, 1);
  }));

test("the deadline holds for a transaction as a whole", () =>
  withPool({ deadlineMilliseconds: 300 }, async ({ pool, database }) => {
    await database.sql`create table kept (n int)`;
    const slow = pool.transaction(async (transaction) => {
      await transaction`insert into kept values (1)`;
      for (let step = 0; step < 10; step++) await transaction`select pg_sleep(0.1)`;
    });
    await assert.rejects(slow, failsWith("CONNECTION_DEADLINE"));
    assert.deepEqual(await database.sql`select n from kept`, []);
  }));

test("calls wait a moment for a database that is away, fail at once in a long outage, and go on when it is back", () =>
  withPool({}, async ({ proxy, pool }) => {
    await proxy.down();
    const waiting = pool`select 1`;
    await pause(300);
    await proxy.up();
    assert.equal((await waiting).length, 1);

    await proxy.down();
    // Until the pool has seen that its idle connection has ended.
    while (pool.statistics().open > 0) await pause(5);
    const first = await milliseconds(() => assert.rejects(pool`select 1`, failsWith("CONNECTION_FAILED")));
    assert.ok(first > 2_000, `${first} ms`);
    await pause(500);
    const later = await milliseconds(() => assert.rejects(pool`select 1`, /ECONNREFUSED/));
    assert.ok(later < 500, `${later} ms`);
    await proxy.up();
    const back = await milliseconds(async () => {
      while (
        await pool`select 1`.then(
          () => false,
          () => true,
        )
      )
        await pause(20);
    });
    assert.ok(back < 2_000, `${back} ms`);
    assert.equal(pool.statistics().outages, 2);
  }));

test("a call that finds every connection in use for too long is refused and leaves none behind", () =>
  withPool({ connections: 1, busyMilliseconds: 1_000 }, async ({ pool }) => {
    await pool`select 1`;
    const reserved = await pool.reserve();
    await assert.rejects(pool`select 1`, failsWith("CONNECTION_BUSY"));
    reserved.release();
    assert.equal((await pool`select 1`).length, 1);
    assert.deepEqual(pool.statistics().open, 1);
    assert.equal(pool.statistics().busy, 1);
  }));

test("a prepared statement runs again after its table has changed", () =>
  withPool({}, async ({ database, pool }) => {
    await database.sql`create table changing (a int)`;
    await database.sql`insert into changing values (1)`;
    const read = () => pool`select * from changing`;
    await Promise.all([read(), read(), read(), read()]);
    await database.sql`alter table changing add column b int default 2`;
    for (const [row] of await Promise.all([read(), read(), read(), read(), read()])) {
      assert.deepEqual(row, { a: 1, b: 2 });
    }
    await database.sql`alter table changing add column c int default 3`;
    const inTransaction = () => pool.transaction((transaction) => transaction`select * from changing`);
    for (const [row] of await Promise.all([inTransaction(), read(), inTransaction()])) {
      assert.deepEqual(row, { a: 1, b: 2, c: 3 });
    }
  }));

test("statements of a transaction run in order, and none after its end", () =>
  withPool({}, async ({ database, pool }) => {
    await database.sql`create table steps (n int)`;
    let kept: Parameters<Parameters<Pool["transaction"]>[0]>[0] | undefined;
    await pool.transaction((transaction) => {
      kept = transaction;
      // Not waited for one by one.
      void transaction`select pg_sleep(0.1)`;
      void transaction`insert into steps values (1)`;
      return transaction`insert into steps values (2)`;
    });
    assert.deepEqual(await database.sql`select n from steps`, [{ n: 1 }, { n: 2 }]);
    await assert.rejects(kept!`insert into steps values (3)`, /The transaction has ended/);
    assert.equal((await database.sql`select n from steps`).length, 2);
  }));

test("a transaction in which a statement failed is not reported as committed", () =>
  withPool({}, async ({ pool }) => {
    const ignored = pool.transaction(async (transaction) => {
      await transaction`select 1 / 0`.catch(() => undefined);
    });
    await assert.rejects(ignored, /rolled back/);
  }));

test("no statement runs under another caller's role or settings while connections are lost", () =>
  withPool({ connections: 4 }, async ({ database, pool }) => {
    const over = new AbortController();
    let checked = 0;
    const caller = async (name: string) => {
      while (!over.signal.aborted) {
        const role = checked % 2 === 0 ? "authenticated" : "service_role";
        try {
          const [seen] = await pool.transaction(
            async (transaction) =>
              await transaction`
              select current_user::text as role, current_setting('test.caller', true) as caller, pg_sleep(0.002)::text as slept`,
            {
              begin: `begin; select set_config('role', '${role}', true), set_config('test.caller', '${name}', true)`,
            },
          );
          assert.deepEqual({ ...seen, slept: "" }, { role, caller: name, slept: "" });
          const [outside] = await pool`
            select current_user::text as role, coalesce(current_setting('test.caller', true), '') as caller`;
          assert.deepEqual(outside, { role: "postgres", caller: "" });
          checked++;
        } catch (error) {
          if (!(error instanceof ConnectionError)) throw error;
        }
      }
    };
    const callers = Promise.all(Array.from({ length: 8 }, (_, number) => caller(`caller-${number}`)));
    for (let round = 0; round < 20; round++) {
      await pause(20);
      await endBackends(database);
    }
    over.abort();
    await callers;
    assert.ok(checked > 50, `${checked} transactions`);
  }));

test("a database that refuses the connection is away, for reads and writes, and back when it accepts again", () =>
  withDatabase(async (database) => {
    const wrong = new URL(database.url);
    wrong.password = "wrong";
    const missing = new URL(database.url);
    missing.pathname = "/no_such_database";
    for (const url of [wrong, missing]) {
      const pool = openPool({ url: url.href, name: "refused" });
      const took = await milliseconds(() => assert.rejects(pool`select 1`, failsWith("CONNECTION_FAILED")));
      await pool.end();
      assert.ok(took < 2_000, `${took} ms: waiting does not help`);
    }
  }));

test("a server that has become read-only is away for writes, and is left as soon as another takes them", () =>
  withPool({}, async ({ database, pool }) => {
    await database.sql`create table written (n int)`;
    const setting = (value: string) =>
      database.sql.query(`alter database ${database.name} set default_transaction_read_only = ${value}`);
    await setting("on");
    const write = () => pool`insert into written values (1)`;
    const writeInTransaction = () =>
      pool.transaction((transaction) => transaction`insert into written values (2)`);
    await assert.rejects(write(), failsWith("CONNECTION_FAILED"));
    await assert.rejects(writeInTransaction(), failsWith("CONNECTION_FAILED"));
    assert.equal((await pool`select 1`).length, 1);
    // As after a failover: only new connections reach a server that takes writes.
    await database.sql.query(`set default_transaction_read_only = off`);
    await database.sql.transaction((transaction) =>
      transaction.query(
        `set transaction read write; alter database ${database.name} reset default_transaction_read_only`,
      ),
    );
    await assert.rejects(write(), failsWith("CONNECTION_FAILED"));
    assert.equal((await write()).count, 1);
    assert.equal((await writeInTransaction()).count, 1);
  }));

test("a mode of TLS that would fall back or does not exist is refused by name", () => {
  for (const mode of ["prefer", "banana"]) {
    assert.throws(
      () => openPool({ url: `postgresql://a:b@127.0.0.1:1/c?sslmode=${mode}`, name: "tls" }),
      new RegExp(`sslmode=${mode} is not supported`),
    );
  }
});

test("settings of the pool win over options in the URL, which are kept", () =>
  withDatabase(async (database) => {
    const url = new URL(database.url);
    url.searchParams.set("options", "-c role=postgres -c work_mem=5MB");
    url.searchParams.set("application_name", "other");
    const pool = openPool({ url: url.href, name: "named", settings: { role: "service_role" } });
    try {
      const [row] = await pool`
        select current_user::text as role, current_setting('work_mem') as memory, current_setting('application_name') as name`;
      assert.deepEqual(row, { role: "service_role", memory: "5MB", name: "named" });
    } finally {
      await pool.end();
    }
  }));

test("end() destroys connections that do not end in time", () =>
  withPool({}, async ({ proxy, pool }) => {
    await pool`select 1`;
    const running = pool`select pg_sleep(30)`;
    const failed = assert.rejects(running, failsWith("CONNECTION_CLOSED"));
    await pause(50);
    proxy.silence();
    const took = await milliseconds(() => pool.end({ timeoutMilliseconds: 100 }));
    assert.ok(took < 1_000, `${took} ms`);
    await failed;
    await assert.rejects(pool`select 1`, failsWith("CONNECTION_CLOSED"));
  }));
