import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { type DatabaseUnderTest, withDatabase } from "../../test/support/database.ts";
import { withOwnCluster } from "../../test/support/own-cluster.ts";
import { migrate } from "../migrate.ts";
import { MessageTable } from "./message-table.ts";
import { type Message, MessageStream, type MessageStreamOptions } from "./message-stream.ts";
import { eventually } from "./realtime-under-test.ts";

interface StreamUnderTest {
  stream: MessageStream;
  messages: Message[];
  topics(): string[];
  warnings: string[];
}

async function withStream(
  database: DatabaseUnderTest,
  use: (subject: StreamUnderTest) => Promise<void>,
  options: Partial<MessageStreamOptions> = {},
): Promise<void> {
  const warnings: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
  const stream = new MessageStream({
    sql: database.sql,
    databaseUrl: database.url,
    log,
    pollMilliseconds: 20,
    checkpointMilliseconds: 100,
    ...options,
  });
  const messages: Message[] = [];
  stream.on("", (message) => messages.push(message));
  await stream.start();
  try {
    await use({ stream, messages, warnings, topics: () => messages.map(({ topic }) => topic) });
  } finally {
    await stream.stop();
  }
}

const send = (topic: string) => `select realtime.send('{"n": 1}', 'e', '${topic}')`;

for (const source of ["the write-ahead log", "polling"]) {
  const options = { polling: source === "polling" };

  test(`from ${source}, messages come when they are committed, and in that order`, () =>
    withDatabase((database) =>
      withStream(
        database,
        async ({ stream, topics, messages }) => {
          if (!options.polling) await eventually(() => stream.isLive, "the log is followed");
          const [first, second] = [await database.session(), await database.session()];
          await first.query("begin");
          await first.query(send("begun first"));
          await second.query(send("committed first"));
          await eventually(() => topics().length === 1, "the committed message comes");
          // A transaction that was rolled back, whole or to a savepoint, sends nothing.
          await second.query("begin");
          await second.query(send("rolled back"));
          await second.query("rollback");
          await first.query("savepoint here");
          await first.query(send("undone"));
          await first.query("rollback to here");
          await first.query("savepoint there");
          await first.query(send("after a savepoint"));
          await second.query(send("in between"));
          await eventually(() => topics().length === 2, "the next one comes");
          await first.query("commit");
          await eventually(() => topics().length === 4, "those of the long transaction come");
          await second.query(send("last"));
          await eventually(() => topics().length === 5, "the last one comes");
          assert.deepEqual(topics(), [
            "committed first",
            "in between",
            "begun first",
            "after a savepoint",
            "last",
          ]);
          assert.equal(messages[0]?.private, true);
          assert.deepEqual(JSON.parse(messages[0]?.payload ?? ""), { n: 1, id: messages[0]?.id });
        },
        options,
      ),
    ));

  test(`from ${source}, messages of many writers come once each, those of one writer in order`, () =>
    withDatabase((database) =>
      withStream(
        database,
        async ({ messages }) => {
          const writers = await Promise.all(Array.from({ length: 6 }, () => database.session()));
          await Promise.all(
            writers.map(async (writer, number) => {
              for (let round = 0; round < 40; round++) {
                await writer.query("begin");
                await writer.query(`select realtime.send('[${round}, 0]', 'e', 'writer:${number}')`);
                await writer.query(`select realtime.send('[${round}, 1]', 'e', 'writer:${number}')`);
                await writer.query(round % 7 === 3 ? "rollback" : "commit");
              }
            }),
          );
          const rounds = Array.from({ length: 40 }, (_, round) => round).filter((round) => round % 7 !== 3);
          const expected = rounds.flatMap((round) => [`[${round}, 0]`, `[${round}, 1]`]);
          await eventually(() => messages.length >= expected.length * 6, "all messages come");
          for (const number of writers.keys()) {
            const payloads = messages
              .filter(({ topic }) => topic === `writer:${number}`)
              .map(({ payload }) => payload);
            assert.deepEqual(payloads, expected);
          }
          assert.equal(messages.length, expected.length * 6);
        },
        options,
      ),
    ));
}

test("a lost connection to the log loses no message and repeats none", () =>
  withDatabase((database) =>
    withStream(database, async ({ stream, messages, warnings }) => {
      const long = await database.session();
      await long.query("begin");
      await long.query(send("long"));
      const over = new AbortController();
      let sent = 0;
      const writing = (async () => {
        const writer = await database.session();
        while (!over.signal.aborted) {
          await writer.query(`select realtime.send('${sent}', 'e', 'numbers')`);
          sent++;
        }
      })();
      for (let round = 0; round < 4; round++) {
        await eventually(() => stream.isLive, "the log is followed");
        const before = messages.length;
        await eventually(() => messages.length > before + 50, "messages come");
        await database.sql`
          select pg_terminate_backend(active_pid) from pg_replication_slots
           where database = current_database() and active`;
        await eventually(() => !stream.isLive, "the loss is noticed");
        if (round === 0) {
          // The log cannot be opened while somebody writes, and there is news all the same.
          const news = messages.length;
          await eventually(() => messages.length > news + 50, "messages come without the log");
          assert.equal(stream.isLive, false);
          await long.query("commit");
        }
      }
      over.abort();
      await writing;
      await eventually(() => messages.length >= sent + 1, "every message comes");
      const numbers = messages
        .filter(({ topic }) => topic === "numbers")
        .map(({ payload }) => Number(payload));
      assert.deepEqual(
        numbers,
        Array.from({ length: sent }, (_, number) => number),
      );
      assert.equal(messages.length, sent + 1);
      assert.match(warnings.join(""), /lost the write-ahead log/);
    }),
  ));

test("what was sent before the stream began is not delivered", () =>
  withDatabase(async (database) => {
    await database.sql.query(send("before"));
    for (const polling of [true, false]) {
      await withStream(
        database,
        async ({ topics }) => {
          await database.sql.query(send("after"));
          await eventually(() => topics().length > 0, "the message comes");
          assert.deepEqual(topics(), ["after"]);
        },
        { polling },
      );
    }
  }));

test("a message from before is not delivered either when an older transaction is still running", () =>
  withDatabase(async (database) => {
    const running = await database.session();
    await running.query("begin");
    await running.query("select pg_current_xact_id()");
    await database.sql.query(send("before"));
    for (const polling of [true, false]) {
      await withStream(
        database,
        async ({ topics }) => {
          await database.sql.query(send("after"));
          await eventually(() => topics().length > 0, "the message comes");
          await pause(300);
          assert.deepEqual(topics(), ["after"]);
        },
        { polling },
      );
    }
  }));

test("a server that is told to shut down ends at once, though a stream follows its log", () =>
  withOwnCluster(async (cluster) => {
    const sql = openPool({ url: cluster.url, name: "test", connections: 3 });
    await migrate(sql, { log: pino({ level: "silent" }) });
    const stream = new MessageStream({ sql, databaseUrl: cluster.url, log: pino({ level: "silent" }) });
    await stream.start();
    try {
      await eventually(() => stream.isLive, "the log is followed");
      await sql.query(send("before"));
      const [file] = await sql<{ text: string }[]>`select pg_read_file('postmaster.pid') as text`;
      const postmaster = Number.parseInt(file?.text ?? "", 10);
      // What pg_ctl sends for its default mode, fast.
      process.kill(postmaster, "SIGINT");
      await eventually(() => !isAlive(postmaster), "the server has ended");
    } finally {
      await stream.stop();
      await sql.end({ timeoutMilliseconds: 0 });
    }
  }));

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("polling says so, and why", () =>
  withDatabase(async (database) => {
    await database.sql.query("drop publication supabase_realtime_messages");
    await withStream(database, async ({ stream, topics, warnings }) => {
      assert.equal(stream.isLive, false);
      assert.match(
        warnings.join(""),
        /there is no publication supabase_realtime_messages.*realtime polls the database/,
      );
      await database.sql.query(send("polled"));
      await eventually(() => topics().length === 1, "the message comes");
    });
  }));

test("a stopped stream leaves no slot behind, and the database can be dropped", () =>
  withDatabase(async (database) => {
    await withStream(database, async ({ stream }) => {
      await eventually(() => stream.isLive, "the log is followed");
      const slots = await database.sql`select from pg_replication_slots where database = current_database()`;
      assert.equal(slots.length, 1);
    });
    const slots = await database.sql`select from pg_replication_slots where database = current_database()`;
    assert.equal(slots.length, 0);
  }));

test("a stream can be stopped while it waits for the log", () =>
  withDatabase(async (database) => {
    const writer = await database.session();
    await writer.query("begin");
    await writer.query(send("long"));
    const begun = Date.now();
    await withStream(database, async ({ stream }) => {
      assert.equal(stream.isLive, false);
      await writer.query("select 1");
    });
    assert.ok(Date.now() - begun < 9_000);
    const slots = await database.sql`select from pg_replication_slots where database = current_database()`;
    assert.equal(slots.length, 0);
  }));

test("on() calls back for topics that begin so, until it is ended", () =>
  withDatabase((database) =>
    withStream(database, async ({ stream, topics }) => {
      const heard: string[] = [];
      const end = stream.on("task-updates:", ({ topic }) => heard.push(topic));
      await database.sql.query(`${send("task-updates:1")}; ${send("credits:1")}`);
      await eventually(() => topics().length === 2, "both come");
      end();
      await database.sql.query(send("task-updates:2"));
      await eventually(() => topics().length === 3, "the third comes");
      assert.deepEqual(heard, ["task-updates:1"]);
    }),
  ));

test("messages are deleted when they are a day old, by any number of hosts at once", () =>
  withDatabase(async (database) => {
    await database.sql.query(`
      insert into realtime.messages (topic, extension, event, inserted_at)
      select 'old', 'broadcast', 'e', now() - interval '25 hours' from generate_series(1, 12000)
      union all select 'young', 'broadcast', 'e', now() - interval '23 hours' from generate_series(1, 3)`);
    const hosts = [new MessageTable(database.sql), new MessageTable(database.sql)];
    await Promise.all(hosts.map((host) => host.deleteOlderThan(24)));
    await hosts[0]?.deleteOlderThan(24);
    const rows = await database.sql<{ topic: string }[]>`select topic from realtime.messages`;
    assert.deepEqual(
      rows.map(({ topic }) => topic),
      ["young", "young", "young"],
    );
  }));
