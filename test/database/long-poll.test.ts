import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { openWaitingRoom } from "../../server/functions/news.ts";
import { MessageStream } from "../../server/realtime/message-stream.ts";
import { eventually } from "../../server/realtime/realtime-under-test.ts";
import { claimNextTaskEndpoint } from "../../supabase/functions/claim-next-task/endpoint.ts";
import { getTaskStatusEndpoint } from "../../supabase/functions/get-task-status/endpoint.ts";
import { bind } from "../../supabase/functions/_shared/http/bind.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";
import { createEnvironment } from "../../supabase/functions/_shared/runtime/environment.ts";
import { hashToken, newToken } from "../../supabase/functions/_shared/tokens/token-format.ts";
import type { WaitingRoom } from "../../supabase/functions/_shared/waiting/waiting-room.ts";
import { countingProxy } from "../support/counting-proxy.ts";
import { type DatabaseUnderTest, withDatabase } from "../support/database.ts";
import {
  claim,
  createUser,
  queueTask,
  setStatus,
  type TestUser,
  checkedFiles,
} from "../support/factories.ts";

interface LongPollUnderTest {
  room: WaitingRoom;
  stream: MessageStream;
  /** One request to an endpoint, as the host makes it. */
  call(
    endpoint: Endpoint,
    body: object,
    options?: { token?: string; signal?: AbortSignal },
  ): Promise<Response>;
  /** The same to `claim-next-task`; what was claimed. */
  claims(
    body: object,
    options?: { token?: string; signal?: AbortSignal },
  ): Promise<Record<string, unknown> | null>;
  /** A user's token. */
  token(user: TestUser): Promise<string>;
  roundTrips(): number;
  logged(): string;
}

/** The functions as the standalone host serves them, on a database whose round trips are counted. */
function withLongPolls(
  use: (subject: LongPollUnderTest, database: DatabaseUnderTest) => Promise<void>,
  { polling = false } = {},
): Promise<void> {
  return withDatabase(async (database) => {
    const lines: string[] = [];
    const log = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
    const proxy = await countingProxy(database.url);
    const sql = openPool({ url: database.url, name: "test", connections: 2 });
    const stream = new MessageStream({ sql, databaseUrl: database.url, log, polling });
    const room = openWaitingRoom(stream, log);
    const environment = {
      ...createEnvironment({
        settings: {
          SUPABASE_URL: "https://darkroom.example",
          SUPABASE_DB_URL: proxy.url,
          SUPABASE_SERVICE_ROLE_KEY: "service-key",
          DARKROOM_CHECK_ANSWERS: "on",
        },
        log,
      }),
      waitingRoom: room,
    };
    await stream.start();

    const call: LongPollUnderTest["call"] = (endpoint, body, { token = "service-key", signal } = {}) =>
      bind(
        endpoint,
        environment,
      )(
        new Request(`https://darkroom.example/functions/v1/${endpoint.contract.name}`, {
          method: "POST",
          headers: { authorization: `Bearer ${token}` },
          body: JSON.stringify(body),
          ...(signal && { signal }),
        }),
      );
    try {
      await use(
        {
          room,
          stream,
          call,
          async claims(body, options) {
            const response = await call(claimNextTaskEndpoint, body, options);
            if (response.status === 204) return null;
            assert.equal(response.status, 200, await response.clone().text());
            return (await response.json()) as Record<string, unknown>;
          },
          async token({ userId }) {
            const token = newToken();
            await database.sql`
              select generate_pat(${userId}, ${Buffer.from(await hashToken(token))}, 'abcd', 'worker',
                                  ${["tasks:run", "tasks:read"]})`;
            return token;
          },
          roundTrips: () => proxy.roundTrips(),
          logged: () => lines.join(""),
        },
        database,
      );
    } finally {
      room.close();
      await stream.stop();
      await environment.database.close();
      await sql.end();
      proxy.close();
    }
  });
}

/** Long enough for looks that follow news after a while: 20, 100, 420 and 1,700 ms later. */
const aftermathMilliseconds = 2_600;

test("50 idle workers cost a look of one of them now and then, and a task a few claims, however many wait", () =>
  withLongPolls(async ({ room, stream, claims, roundTrips }, { sql }) => {
    const user = await createUser(sql);
    assert.ok(stream.isLive);
    const claimed: unknown[] = [];
    const waits = Array.from({ length: 50 }, async (_, number) => {
      const task = await claims({ worker_id: `w${number}`, wait_seconds: 50 });
      if (task) claimed.push(task["task_id"]);
    });
    await eventually(() => room.size === 50, "all wait");
    await pause(500);
    roundTrips();

    await pause(2_500);
    const idle = roundTrips();
    assert.ok(idle <= 1, `${idle} round trips of idle workers in 2.5 s`);

    const one = await queueTask(sql, user);
    await eventually(() => claimed.length === 1, "the task is claimed");
    await pause(aftermathMilliseconds);
    const forOne = roundTrips();
    // The claim, the look for more, four looks afterwards, perhaps the one of every five seconds.
    assert.ok(forOne <= 8, `${forOne} round trips for one task`);

    // Five slots: the owner of five running tasks has no more for now, so these are of five users.
    const users = await Promise.all(Array.from({ length: 5 }, () => createUser(sql)));
    const many = (
      await Promise.all(
        users.flatMap((owner) => Array.from({ length: 4 }, async () => await queueTask(sql, owner))),
      )
    ).sort();
    await eventually(() => claimed.length === 21, "all tasks are claimed");
    await pause(aftermathMilliseconds);
    const forMany = roundTrips();
    assert.ok(forMany <= 60, `${forMany} round trips for twenty tasks`);
    assert.equal(claimed[0], one);
    assert.deepEqual(claimed.slice(1).sort(), many);
    assert.equal(room.size, 29);
    room.close();
    await Promise.all(waits);
  }));

for (const polling of [false, true]) {
  test(`a task comes within ${polling ? "a second, where the log cannot be followed" : "a moment of its creation"}`, () =>
    withLongPolls(
      async ({ room, claims }, { sql, session }) => {
        const user = await createUser(sql);
        // The tests' server flushes its log every 200 ms, and only what is flushed is decoded.
        const creator = await session();
        await creator.query("set synchronous_commit = on");
        const latencies: number[] = [];
        for (let round = 0; round < 5; round++) {
          const wait = claims({ worker_id: "w", wait_seconds: 20 });
          await eventually(() => room.size === 1, "it waits");
          const task = await queueTask(creator, user);
          const created = performance.now();
          assert.equal((await wait)?.["task_id"], task);
          latencies.push(performance.now() - created);
          await setStatus(sql, task, "Cancelled");
        }
        const median = latencies.sort((a, b) => a - b)[2] ?? Infinity;
        assert.ok(median < (polling ? 1_000 : 250), `median ${median} ms`);
      },
      { polling },
    ));
}

test("a lane that opens by other ways wakes too: a free slot, a dependency, the owner's choice", () =>
  withLongPolls(async ({ room, claims }, { sql }) => {
    const user = await createUser(sql);
    const running: string[] = [];
    for (let slot = 0; slot < 5; slot++) {
      running.push(await queueTask(sql, user));
      await claim(sql, "w");
    }
    async function wakesBy(event: () => Promise<unknown>): Promise<unknown> {
      const wait = claims({ worker_id: "w", wait_seconds: 20 });
      await eventually(() => room.size === 1, "it waits");
      const happened = performance.now();
      await event();
      const task = await wait;
      // Sooner than the look of every five seconds, which is at least 3.75 s away.
      assert.ok(performance.now() - happened < 2_500);
      return task?.["task_id"];
    }
    const sixth = await queueTask(sql, user);
    assert.equal(await wakesBy(() => setStatus(sql, running[0] ?? "", "Cancelled")), sixth);

    const chooser = await createUser(sql);
    const chosen = await queueTask(sql, chooser);
    const choose = (inCloud: boolean) => sql`
      update users set settings = jsonb_build_object('ui', jsonb_build_object(
        'generationMethods', jsonb_build_object('inCloud', ${inCloud}::boolean))) where id = ${chooser.userId}`;
    await choose(false);
    assert.equal(await wakesBy(() => choose(true)), chosen);

    const other = await createUser(sql);
    const first = await queueTask(sql, other);
    await claim(sql, "w");
    const second = await queueTask(sql, other, { dependantOn: [first] });
    assert.equal(
      await wakesBy(async () => {
        const path = `${other.userId}/tasks/${first}/1-o.png`;
        await sql`insert into storage.objects (bucket_id, name) values ('image_uploads', ${path})`;
        await sql`select complete_task(null, ${first}, ${path}, 'https://x.example/o.png',
                                       checked_files => ${sql.json(checkedFiles([path]))})`;
      }),
      second,
    );
  }));

test("a lane is announced when it turns ready or open, not for each of its tasks", () =>
  withLongPolls(async ({ stream }, database) => {
    const { sql } = database;
    const session = await database.session();
    const [user, last] = [await createUser(sql), await createUser(sql)];
    const announced: Record<string, unknown>[] = [];
    stream.onLogMessage("darkroom.queue", (content) => {
      announced.push(JSON.parse(content) as Record<string, unknown>);
    });
    await session.query("begin");
    await queueTask(session, user);
    await session.query("rollback");
    const upscale = { taskType: "image_upscale", params: {} };
    for (let task = 0; task < 3; task++) await queueTask(session, user, upscale);
    // The log is in order: with this one here, all before it are.
    await queueTask(session, last);
    await eventually(() => announced.some(({ user_id }) => user_id === last.userId), "the last one comes");
    const announcements = announced
      .filter(({ user_id }) => user_id === user.userId)
      .map(({ task_types, ...rest }) => ({ ...rest, task_types: (task_types as string[]).toSorted() }));
    assert.deepEqual(announcements, [
      {
        user_id: user.userId,
        run_type: "gpu",
        task_types: ["image-upscale", "image_upscale"],
        model: "",
        is_open: true,
      },
    ]);
  }));

test("a worker bound to its model is woken for that model alone", () =>
  withLongPolls(async ({ room, claims, roundTrips }, { sql }) => {
    const user = await createUser(sql);
    await sql`select update_worker_model('bound', 'flux')`;
    const wait = claims({ worker_id: "bound", same_model_only: true, wait_seconds: 20 });
    await eventually(() => room.size === 1, "it waits");
    await pause(50);
    roundTrips();
    await queueTask(sql, user, { params: { model: "wan" } });
    // The stream is in order: with this news here, that of the task before it is here too.
    const before = room.now();
    await queueTask(sql, user, { params: { model: "flux" } });
    const claimed = await wait;
    assert.deepEqual(claimed?.["params"], { model: "flux" });
    assert.ok(room.now() > before);
    assert.equal(roundTrips(), 1);
  }));

test("a token that is revoked while it waits gets no task, and its wait counts as one request", () =>
  withLongPolls(async ({ room, call, claims, token }, { sql }) => {
    const user = await createUser(sql);
    const [revoked, valid] = [await token(user), await token(user)];
    const refused = call(claimNextTaskEndpoint, { worker_id: "w", wait_seconds: 20 }, { token: revoked });
    await eventually(() => room.size === 1, "it waits");
    const wait = claims({ worker_id: "v", wait_seconds: 20 }, { token: valid });
    await eventually(() => room.size === 2, "both wait");
    const counted = async () =>
      (
        await sql<{ count: number }[]>`
        select sum(count)::int as count from rate_limits, unnest(counts) as count
         where key = ${`claim-next-task:${user.userId}`}`
      )[0]?.count;
    assert.equal(await counted(), 2);

    await sql`update personal_access_tokens set revoked_at = now() where token_hash = ${Buffer.from(await hashToken(revoked))}`;
    const task = await queueTask(sql, user);
    const answer = await refused;
    assert.equal(answer.status, 401);
    assert.equal(((await answer.json()) as { error: string }).error, "unauthenticated");
    assert.equal((await wait)?.["task_id"], task);
    assert.equal(await counted(), 2);
  }));

test("a client that is gone claims nothing; one that goes in the midst of its claim gives the task back", () =>
  withLongPolls(async ({ room, call, claims, logged }, database) => {
    const { sql } = database;
    const user = await createUser(sql);
    const [early, late] = [new AbortController(), new AbortController()];
    const gone = claims({ worker_id: "early", wait_seconds: 20 }, { signal: early.signal });
    await eventually(() => room.size === 1, "it waits");
    early.abort();
    assert.equal(await gone, null);
    assert.equal(room.size, 0);

    // Its claim is held up by a lock on its worker's model until the client has gone.
    const session = await database.session();
    const task = await queueTask(sql, user);
    await session.query("begin");
    await session.query("lock table workers in access exclusive mode");
    const claiming = call(claimNextTaskEndpoint, { worker_id: "late" }, { signal: late.signal });
    for (let waiting = 0; waiting === 0;) {
      const { rows } = await session.query(
        "select from pg_locks where not granted and relation = 'workers'::regclass",
      );
      waiting = rows.length;
    }
    late.abort();
    await session.query("commit");
    assert.equal((await claiming).status, 204);
    const [state] =
      await sql`select status, attempt, attempts, slot, worker_id from tasks where id = ${task}`;
    assert.deepEqual(
      { ...state },
      { status: "Queued", attempt: 1, attempts: 0, slot: null, worker_id: null },
    );
    const next = await claims({ worker_id: "next" });
    assert.deepEqual([next?.["task_id"], next?.["attempt"], next?.["attempts"]], [task, 2, 0]);
    assert.equal(logged(), "");
  }));

test("unclaim_task() gives back the last run a task has, and no other's", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const task = await queueTask(sql, user);
    const unclaim = async (attempt: number, forUser: string | null = null) =>
      (await sql<{ done: boolean }[]>`select unclaim_task(${forUser}, ${task}, ${attempt}) as done`)[0]?.done;
    await claim(sql, "w");
    await sql`update tasks set attempts = max_attempts - 1 where id = ${task}`;
    const stranger = await createUser(sql);
    assert.equal(await unclaim(1, stranger.userId), false);
    assert.equal(await unclaim(2), false);
    assert.equal(await unclaim(1), true);
    assert.equal(await unclaim(1), false);
    const again = await claim(sql, "w");
    assert.deepEqual([again?.task_id, again?.attempt, again?.attempts], [task, 2, 2]);
    // Also where the first run is the last.
    await sql`update tasks set attempts = 0, max_attempts = 1 where id = ${task}`;
    assert.equal(await unclaim(2), true);
    assert.equal((await claim(sql, "w"))?.attempt, 3);
  }));

test("whoever asks for a task's status is told when it changes, of progress not", () =>
  withLongPolls(async ({ room, stream, call, roundTrips }, { sql }) => {
    const user = await createUser(sql);
    const told: unknown[] = [];
    stream.on("task-updates:", ({ payload }) =>
      told.push((JSON.parse(payload) as { status: string }).status),
    );
    const task = await queueTask(sql, user);
    await claim(sql, "w");
    await eventually(() => told.includes("In Progress"), "the claim is told");
    const status = async (body: object) => {
      const response = await call(getTaskStatusEndpoint, { task_id: task, wait_seconds: 20, ...body });
      return ((await response.json()) as { status: string }).status;
    };
    assert.equal(await status({ while_status: "Queued" }), "In Progress");
    const waits = [
      status({}),
      status({ while_status: ["Queued", "In Progress"], task_id: task.toUpperCase() }),
    ];
    await eventually(() => room.size === 2, "both wait");
    await pause(50);
    roundTrips();
    await setStatus(sql, task, "In Progress", { worker: "w", attempt: 1, changes: { progress: 0.5 } });
    await eventually(() => told.length === 3, "the progress is told");
    assert.equal(roundTrips(), 0);
    await setStatus(sql, task, "Cancelled");
    assert.deepEqual(await Promise.all(waits), ["Cancelled", "Cancelled"]);
    // What has ended is told at once, unless somebody waits for it to be retried.
    assert.equal(await status({}), "Cancelled");
    assert.equal(await status({ while_status: "Cancelled", wait_seconds: 0.1 }), "Cancelled");
    const stranger = await call(getTaskStatusEndpoint, { task_id: user.userId, wait_seconds: 20 });
    assert.equal(stranger.status, 404);
  }));

test("a FAL worker that waits is woken when the own worker is gone, and when a task has waited long enough", () =>
  withLongPolls(async ({ room, claims }, { sql }) => {
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const falClaims = (more = {}) =>
      claims({
        worker_id: "fal-1",
        provider: "fal",
        task_types: ["z_image_turbo"],
        wait_seconds: 20,
        ...more,
      });
    async function wakesBy(event: () => Promise<unknown>): Promise<unknown> {
      await sql`select tend_queue()`;
      const wait = falClaims();
      await eventually(() => room.size === 1, "it waits");
      // Past the looks that follow the news of the task.
      await pause(aftermathMilliseconds);
      assert.equal(room.size, 1);
      const happened = performance.now();
      await event();
      const task = (await wait)?.["task_id"];
      const milliseconds = performance.now() - happened;
      assert.ok(milliseconds < 1_000, `${milliseconds} ms`);
      return task;
    }
    await claims({ worker_id: "fal-1", provider: "fal", fal_runs: "missing", task_types: ["z_image_turbo"] });
    const first = await queueTask(sql, user, { params: { prompt: "a" } });
    await sql`select worker_heartbeat(null, 'api-1')`;
    await sql`select claim_next_task(for_worker => 'api-1', only_task_types => array['z_image_turbo'], only_models => array['none'])`;
    assert.equal(
      await wakesBy(async () => {
        await sql`update workers set status = 'terminated' where id = 'api-1'`;
        await sql`select tend_queue()`;
      }),
      first,
    );
    await sql`update workers set status = 'active' where id = 'api-1'`;
    const second = await queueTask(sql, other, { params: { prompt: "b" } });
    assert.equal(
      await wakesBy(async () => {
        await sql`update tasks set ready_at = now() - interval '301 seconds' where id = ${second}`;
        await sql`update task_lanes set waits_since = now() - interval '301 seconds' where is_open`;
        await sql`select tend_queue()`;
      }),
      second,
    );
  }));

test("an own worker and FAL that wait for the same task types are looked for apart", () =>
  withLongPolls(async ({ room, claims }, { sql }) => {
    const user = await createUser(sql);
    const same = { task_types: ["z_image_turbo"], wait_seconds: 20 };
    await claims({ worker_id: "own", task_types: ["z_image_turbo"] });
    const fal = claims({ worker_id: "fal-1", provider: "fal", ...same });
    await eventually(() => room.size === 1, "FAL waits first");
    const own = claims({ worker_id: "own", ...same });
    await eventually(() => room.size === 2, "both wait");
    const task = await queueTask(sql, user);
    assert.equal((await own)?.["task_id"], task);
    room.close();
    assert.equal(await fal, null);
  }));
