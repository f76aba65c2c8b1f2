import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { ClaimedDelivery } from "../../supabase/functions/_shared/webhooks/sender.ts";
import { type Session, withDatabase } from "../support/database.ts";
import { claim, complete, createUser, queueTask, refusedWith, setStatus } from "../support/factories.ts";
import { createWebhook, sendTests, webhookSecret } from "../support/webhooks.ts";

interface Message {
  type: string;
  timestamp: string;
  data: Record<string, unknown>;
}

async function outbox(sql: Sql): Promise<Message[]> {
  const rows = await sql<{ payload: string }[]>`select payload from webhook_deliveries order by seq`;
  return rows.map(({ payload }) => JSON.parse(payload) as Message);
}

async function claimed(connection: Sql | Session, atMost = 50): Promise<ClaimedDelivery[]> {
  const text = "select claim_webhook_deliveries($1) as claimed";
  const rows =
    typeof connection === "function"
      ? await connection.query<{ claimed: ClaimedDelivery[] }[]>(text, [atMost])
      : (await connection.query<{ claimed: ClaimedDelivery[] }>(text, [atMost])).rows;
  return rows[0]?.claimed ?? [];
}

async function record(
  sql: Sql,
  { delivery_id, claim_id }: ClaimedDelivery,
  { status, error, retryAfter }: { status?: number; error?: string; retryAfter?: number },
): Promise<string | null> {
  const [row] = await sql<{ state: string | null }[]>`
    select record_webhook_delivery(${delivery_id}, ${claim_id}, 12, ${status ?? null}, ${error ?? null},
                                   ${retryAfter ?? null}) as state`;
  return row?.state ?? null;
}

/** Until a statement waits for a lock: then both of a race are where they should be. */
async function someoneWaits(sql: Sql): Promise<void> {
  for (;;) {
    const waiting = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (waiting.length > 0) return;
  }
}

async function one<Row extends object>(sql: Sql, text: string, values: string[] = []): Promise<Row> {
  const [row] = await sql.query<Row[]>(text, values);
  assert.ok(row);
  return row;
}

test("each change of status writes one message to each subscriber, and never the params", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await createWebhook(sql, user);
    const taskId = await queueTask(sql, user, { params: { prompt: "a secret prompt" } });
    const run = await claim(sql, "worker-1");
    await setStatus(sql, taskId, "In Progress", { worker: "worker-1", changes: { progress: 0.5 } });
    await complete(sql, taskId, { worker: "worker-1" });

    const messages = await outbox(sql);
    assert.deepEqual(
      messages.map(({ type, data }) => [type, data["previous_status"], data["status"], data["attempt"]]),
      [
        ["task.queued", null, "Queued", 0],
        ["task.in_progress", "Queued", "In Progress", 1],
        ["task.complete", "In Progress", "Complete", 1],
      ],
    );
    assert.equal(run?.task_id, taskId);
    const [, , last] = messages;
    const [generation] = await sql`select id, primary_variant_id from generations`;
    assert.equal(last?.data["generation_id"], generation?.["id"]);
    assert.equal(last?.data["variant_id"], generation?.["primary_variant_id"]);
    assert.equal(last?.data["progress"], 1);
    assert.match(String(last?.data["output_location"]), /output\.png$/);
    assert.match(last?.timestamp ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    for (const { data } of messages) {
      assert.deepEqual(
        [data["task_id"], data["project_id"], data["task_type"]],
        [taskId, user.projectId, "z_image_turbo"],
      );
    }
    const numbers = messages.map(({ data }) => Number(data["seq"]));
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
    assert.doesNotMatch(JSON.stringify(messages), /prompt|params/);
  }));

test("failed and cancelled tasks are told of with their error, and who does not subscribe hears nothing", () =>
  withDatabase(async ({ sql }) => {
    const [user, other] = [await createUser(sql), await createUser(sql)];
    const all = await createWebhook(sql, user);
    const failures = await createWebhook(sql, user, { events: ["task.failed"] });
    const disabled = await createWebhook(sql, user);
    await sql`select update_webhook(null, ${disabled.id}, '{"enabled": false}')`;
    await createWebhook(sql, other);

    const failing = await queueTask(sql, user);
    await claim(sql, "worker-1");
    await setStatus(sql, failing, "Failed", {
      worker: "worker-1",
      changes: { error_details: "out of memory ".repeat(500) },
    });
    await setStatus(sql, await queueTask(sql, user), "Cancelled");

    const rows = await sql`
      select endpoint_id, type, length(payload::json -> 'data' ->> 'error_message') as length
        from webhook_deliveries order by seq, endpoint_id`;
    const of = (id: string) =>
      rows.filter((row) => row["endpoint_id"] === id).map((row) => row["type"] as string);
    assert.deepEqual(of(all.id), [
      "task.queued",
      "task.in_progress",
      "task.failed",
      "task.queued",
      "task.cancelled",
    ]);
    assert.deepEqual(of(failures.id), ["task.failed"]);
    assert.equal(rows.length, 6);
    assert.equal(rows.find((row) => row["type"] === "task.failed")?.["length"], 2000);
  }));

test("a message is written with its change or not at all", () =>
  withDatabase(async ({ sql, session }) => {
    const user = await createUser(sql);
    await createWebhook(sql, user);
    const writer = await session();
    await writer.query("begin");
    await queueTask(writer, user);
    assert.deepEqual(await claimed(sql), [], "before the commit nothing is to be sent");
    await writer.query("rollback");
    assert.deepEqual(await outbox(sql), []);
    await writer.query("begin");
    await queueTask(writer, user);
    await writer.query("commit");
    assert.equal((await claimed(sql)).length, 1);
  }));

test("an endpoint that is deleted at the same time never makes a task's change fail", () =>
  withDatabase(async ({ sql, session }) => {
    const user = await createUser(sql);
    const [first, second] = [await session(), await session()];
    const deleted = await createWebhook(sql, user);
    await first.query("begin");
    await first.query("select delete_webhook(null, $1)", [deleted.id]);
    const queueing = queueTask(second, user);
    await someoneWaits(sql);
    await first.query("commit");
    assert.ok(await queueing);
    assert.deepEqual(await outbox(sql), []);
    // The other way round, the deletion waits for the task.
    const { id } = await createWebhook(sql, user);
    await first.query("begin");
    await queueTask(first, user);
    const deleting = second.query("select delete_webhook(null, $1)", [id]);
    await someoneWaits(sql);
    await first.query("commit");
    await deleting;
    assert.deepEqual(await outbox(sql), []);
  }));

test("what is written for an endpoint while it is disabled is dead-lettered, not sent", () =>
  withDatabase(async ({ sql, session }) => {
    const user = await createUser(sql);
    const webhook = await createWebhook(sql, user);
    const [first, second] = [await session(), await session()];
    await first.query("begin");
    await first.query(`select update_webhook(null, $1, '{"enabled": false}')`, [webhook.id]);
    await queueTask(second, user);
    await first.query("commit");
    assert.deepEqual(await claimed(sql), []);
    const rows = await sql`select state from webhook_deliveries`;
    assert.deepEqual([...rows], [{ state: "failed" }]);
  }));

test("whatever a task holds, its change is written, and the message stays small", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await createWebhook(sql, user, { events: ["task.cancelled"] });
    // Each of these characters becomes six in JSON.
    for (const [length, left] of [
      [4000, 4000],
      [60_000, undefined],
    ] as const) {
      const taskId = await queueTask(sql, user);
      await sql`
        update tasks set status = 'Cancelled', output_location = repeat(E'\\x01', ${length}),
               thumbnail_url = repeat(E'\\x01', ${length}), error_message = repeat(E'\\x01', 60000)
         where id = ${taskId}`;
      const message = (await outbox(sql)).at(-1);
      assert.ok(message);
      const { data } = message;
      assert.equal(data["task_id"], taskId);
      assert.equal((data["output_location"] as string | null)?.length, left);
      assert.equal((data["error_message"] as string).length, 2000);
    }
  }));

test("a project with webhooks and open tasks can be deleted", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    await createWebhook(sql, user);
    const first = await queueTask(sql, user);
    await queueTask(sql, user, { dependantOn: [first] });
    await claim(sql, "worker-1");
    await sql`delete from projects where id = ${user.projectId}`;
    const { count } = await one<{ count: number }>(
      sql,
      "select count(*)::int as count from webhook_deliveries",
    );
    assert.equal(count, 0);
  }));

test("claim_webhook_deliveries() gives a delivery to one sender when two claim at once", () =>
  withDatabase(async ({ sql, session }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const ids = await sendTests(sql, webhook, 6);
    const [first, second] = [await session(), await session()];

    await first.query("begin");
    const mine = await claimed(first);
    assert.deepEqual(await claimed(second), [], "the endpoint is the other's at this moment, nobody waits");
    await first.query("commit");
    assert.deepEqual(
      mine.map(({ delivery_id }) => delivery_id),
      ids.slice(0, 4),
    );
    assert.deepEqual(await claimed(second), [], "four are on their way");

    await record(sql, mine[0] as ClaimedDelivery, { status: 200 });
    const [next, ...others] = await claimed(second);
    assert.equal(next?.delivery_id, ids[4]);
    assert.deepEqual(others, []);
  }));

test("what a lock was waited for does not hide what its holder claimed", () =>
  withDatabase(async ({ sql, session }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    await sendTests(sql, webhook, 12);
    const sessions = await Promise.all(Array.from({ length: 6 }, () => session()));
    const all = (await Promise.all(sessions.map((sender) => claimed(sender)))).flat();
    assert.equal(new Set(all.map(({ delivery_id }) => delivery_id)).size, all.length);
    assert.equal(all.length, 4);
  }));

test("a slow endpoint with a long queue holds up no other, and one that fails is tried one at a time", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const [slow, quick] = [await createWebhook(sql, user), await createWebhook(sql, user)];
    await sendTests(sql, slow, 30);
    const [late] = await sendTests(sql, quick);
    const first = await claimed(sql, 5);
    assert.deepEqual(
      [slow.id, quick.id].map((id) => first.filter(({ endpoint_id }) => endpoint_id === id).length),
      [4, 1],
    );
    assert.equal(first.at(-1)?.delivery_id, late);
    for (const delivery of first.filter(({ endpoint_id }) => endpoint_id === slow.id)) {
      await record(sql, delivery, { error: "timeout" });
    }
    assert.equal((await claimed(sql)).length, 1);
  }));

test("what is not due yet waits beside what is", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const [later, now] = await sendTests(sql, webhook, 2);
    await sql`update webhook_deliveries set next_attempt_at = now() + interval '1 hour' where id = ${later as string}`;
    assert.deepEqual(
      (await claimed(sql)).map(({ delivery_id }) => delivery_id),
      [now],
    );
  }));

test("a dead sender's delivery is given to another after its minute, and its late word changes nothing", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const [id] = await sendTests(sql, webhook);
    const [dead] = await claimed(sql);
    assert.ok(dead);
    assert.deepEqual(await claimed(sql), []);
    const { seconds } = await one<{ seconds: number }>(
      sql,
      "select extract(epoch from next_attempt_at - now())::float8 as seconds from webhook_deliveries",
    );
    assert.ok(seconds > 55 && seconds <= 60, String(seconds));

    await sql`update webhook_deliveries set next_attempt_at = now() - interval '1 second'`;
    const [alive] = await claimed(sql);
    assert.equal(alive?.delivery_id, id);
    assert.notEqual(alive?.claim_id, dead.claim_id);
    assert.equal(await record(sql, dead, { status: 500 }), null);
    assert.equal(await record(sql, alive as ClaimedDelivery, { status: 204 }), "delivered");
    assert.equal(await record(sql, alive as ClaimedDelivery, { status: 500 }), null, "once only");
    assert.deepEqual(
      [...(await sql`select attempt, status_code from webhook_attempts`)],
      [{ attempt: 1, status_code: 204 }],
    );
  }));

test("eight attempts over a day, then dead-lettered; redelivered under the same id on a schedule of its own", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const [id] = await sendTests(sql, webhook);
    const delays = [5, 300, 1800, 7200, 18_000, 28_800, 28_800];
    for (let attempt = 1; attempt <= 8; attempt++) {
      const [delivery, ...others] = await claimed(sql);
      assert.deepEqual([delivery?.delivery_id, delivery?.attempt, others.length], [id, attempt, 0]);
      const state = await record(
        sql,
        delivery as ClaimedDelivery,
        attempt % 2 ? { status: 503 } : { error: "timeout" },
      );
      const delay = delays[attempt - 1];
      assert.equal(state, delay === undefined ? "failed" : "pending");
      assert.deepEqual(await claimed(sql), [], "not before its time");
      if (delay === undefined) break;
      const { seconds } = await one<{ seconds: number }>(
        sql,
        "select extract(epoch from next_attempt_at - now())::float8 as seconds from webhook_deliveries",
      );
      assert.ok(seconds > delay - 5 && seconds <= delay * 1.1, `attempt ${attempt}: ${seconds}`);
      await sql`update webhook_deliveries set next_attempt_at = now()`;
    }
    const attempts = await sql`select attempt, status_code, error from webhook_attempts order by attempt`;
    assert.equal(attempts.length, 8);
    assert.deepEqual({ ...attempts[1] }, { attempt: 2, status_code: null, error: "timeout" });

    const replay = await one<{ answer: unknown }>(sql, "select redeliver_webhook(null, $1, $2) as answer", [
      webhook.id,
      id ?? "",
    ]);
    assert.deepEqual(replay.answer, { success: true, redelivered: 1 });
    const [again] = await claimed(sql);
    assert.deepEqual([again?.delivery_id, again?.attempt], [id, 9]);
    assert.equal(
      await record(sql, again as ClaimedDelivery, { status: 500 }),
      "pending",
      "a schedule of its own",
    );
  }));

test("a receiver may ask for more time, but not for ever", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    await sendTests(sql, webhook);
    for (const [retryAfter, seconds] of [
      [600, 600],
      [1, 300],
      [900_000_000, 28_800],
    ] as const) {
      const [delivery] = await claimed(sql);
      await record(sql, delivery as ClaimedDelivery, { status: 429, retryAfter });
      const row = await one<{ seconds: number }>(
        sql,
        "select extract(epoch from next_attempt_at - now())::float8 as seconds from webhook_deliveries",
      );
      assert.ok(row.seconds > seconds - 5 && row.seconds <= seconds * 1.1, `${retryAfter}: ${row.seconds}`);
      await sql`update webhook_deliveries set next_attempt_at = now()`;
    }
  }));

test("410 disables an endpoint, and what waits for it is dead-lettered; enabled again, it can be had", () =>
  withDatabase(async ({ sql }) => {
    const user = await createUser(sql);
    const webhook = await createWebhook(sql, user);
    const ids = await sendTests(sql, webhook, 3);
    const [gone, underWay] = await claimed(sql);
    assert.equal(await record(sql, gone as ClaimedDelivery, { status: 410 }), "failed");
    const endpoint = () =>
      one<{ enabled: boolean; disabled_reason: string | null; failing_since: Date | null }>(
        sql,
        "select enabled, disabled_reason, failing_since from webhook_endpoints",
      );
    assert.deepEqual([(await endpoint()).enabled, (await endpoint()).disabled_reason], [false, "gone"]);
    assert.equal(
      await record(sql, underWay as ClaimedDelivery, { status: 200 }),
      "delivered",
      "what arrived, arrived",
    );
    assert.deepEqual(await claimed(sql), []);
    assert.equal(await refusedWith(sql`select test_webhook(null, ${webhook.id})`), "webhook_disabled");
    assert.equal(
      await refusedWith(sql`select redeliver_webhook(null, ${webhook.id}, ${ids[2] as string})`),
      "webhook_disabled",
    );

    await sql`select update_webhook(null, ${webhook.id}, '{"enabled": true}')`;
    assert.deepEqual(
      { ...(await endpoint()) },
      { enabled: true, disabled_reason: null, failing_since: null },
    );
    const since = (hours: number) =>
      one<{ answer: { redelivered: number } }>(
        sql,
        `select redeliver_webhook(null, '${webhook.id}', failed_since => now() - interval '${hours} hours') as answer`,
      );
    await sql`update webhook_deliveries set created_at = now() - interval '2 hours' where id = ${ids[0] as string}`;
    assert.equal((await since(1)).answer.redelivered, 1);
    assert.equal((await since(3)).answer.redelivered, 1);
    assert.equal((await since(3)).answer.redelivered, 0);
  }));

test("an endpoint that has failed for five days is disabled; a success in between begins anew", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    await sendTests(sql, webhook, 4);
    const failNext = async (status: number) => {
      const [delivery] = await claimed(sql, 1);
      await record(sql, delivery as ClaimedDelivery, { status });
      return await one<{ enabled: boolean; disabled_reason: string | null; failing: boolean }>(
        sql,
        "select enabled, disabled_reason, failing_since is not null as failing from webhook_endpoints",
      );
    };
    assert.deepEqual({ ...(await failNext(500)) }, { enabled: true, disabled_reason: null, failing: true });
    await sql`update webhook_endpoints set failing_since = failing_since - interval '4 days 23 hours'`;
    assert.equal((await failNext(500)).enabled, true);
    await sql`update webhook_endpoints set failing_since = failing_since - interval '2 hours'`;
    assert.deepEqual({ ...(await failNext(200)) }, { enabled: true, disabled_reason: null, failing: false });
    await failNext(302);
    await sql`update webhook_endpoints set failing_since = failing_since - interval '5 days 1 minute'`;
    await sendTests(sql, webhook, 2);
    assert.deepEqual(
      { ...(await failNext(500)) },
      { enabled: false, disabled_reason: "failing", failing: true },
    );
    const states = await sql`select distinct state from webhook_deliveries order by state`;
    assert.deepEqual(
      states.map((row) => row["state"] as string),
      ["delivered", "failed"],
    );
  }));

test("during an overlap both secrets sign, afterwards the new one alone; none when the old has leaked", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const signing = async () => {
      await sendTests(sql, webhook);
      const [delivery] = await claimed(sql);
      await record(sql, delivery as ClaimedDelivery, { status: 200 });
      return delivery?.secrets;
    };
    const rotate = async (seconds: number) => {
      const secret = webhookSecret();
      await sql`select rotate_webhook_secret(null, ${webhook.id}, ${secret}, ${seconds})`;
      return secret;
    };
    assert.deepEqual(await signing(), [webhook.secret]);
    const second = await rotate(86_400);
    assert.deepEqual(await signing(), [second, webhook.secret]);
    await sql`update webhook_secrets set expires_at = now() where expires_at is not null`;
    assert.deepEqual(await signing(), [second]);
    const [third, fourth] = [await rotate(3600), await rotate(3600)];
    assert.deepEqual(await signing(), [fourth, third, second]);
    const fifth = await rotate(3600);
    assert.deepEqual(await signing(), [fifth, fourth, third], "at most two earlier ones");
    const last = await rotate(0);
    assert.deepEqual(await signing(), [last]);
  }));

test("the tenth webhook of a project is the last, also for two who register at once", () =>
  withDatabase(async ({ sql, session }) => {
    const { projectId } = await createUser(sql);
    const make = (connection: Session) =>
      refusedWith(
        connection.query(
          "select create_webhook(null, $1, 'https://hooks.example.com', '{task.complete}', $2)",
          [projectId, webhookSecret()],
        ),
      );
    const [first, second] = [await session(), await session()];
    for (let made = 0; made < 9; made++) assert.equal(await make(first), "none");
    await first.query("begin");
    assert.equal(await make(first), "none");
    const waiting = make(second);
    await first.query("commit");
    assert.equal(await waiting, "webhook_limit_reached");
  }));

test("somebody else's webhook is not found, whatever is asked of it", () =>
  withDatabase(async ({ sql }) => {
    const [owner, stranger] = [await createUser(sql), await createUser(sql)];
    const webhook = await createWebhook(sql, owner);
    const [delivery = ""] = await sendTests(sql, webhook);
    for (const id of [webhook.id, randomUUID()]) {
      for (const call of [
        "update_webhook($1, $2, '{\"enabled\": false}')",
        "delete_webhook($1, $2)",
        `rotate_webhook_secret($1, $2, '${webhookSecret()}')`,
        "list_webhook_deliveries($1, $2)",
        `redeliver_webhook($1, $2, '${delivery}')`,
        "test_webhook($1, $2)",
      ]) {
        assert.equal(
          await refusedWith(sql.query(`select ${call}`, [stranger.userId, id])),
          "webhook_not_found",
          call,
        );
      }
    }
    const other = await createWebhook(sql, stranger);
    assert.equal(
      await refusedWith(sql`select redeliver_webhook(${stranger.userId}, ${other.id}, ${delivery})`),
      "delivery_not_found",
    );
    for (const project of [owner.projectId, randomUUID()]) {
      assert.equal(
        await refusedWith(sql`select list_webhooks(${stranger.userId}, ${project})`),
        "project_not_found",
      );
    }
    const { enabled } = await one<{ enabled: boolean }>(
      sql,
      "select enabled from webhook_endpoints where id = $1",
      [webhook.id],
    );
    assert.equal(enabled, true);
  }));

test("what was delivered is forgotten after a week, what failed after 30 days, what waits never", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const ids = await sendTests(sql, webhook, 5);
    await sql`
      update webhook_deliveries as delivery
         set state = aged.state, created_at = now() - aged.age, delivered_at = case aged.state when 'delivered' then now() - aged.age end,
             next_attempt_at = case aged.state when 'pending' then now() end
        from (values (${ids[0] as string}::uuid, 'delivered', interval '8 days'),
                     (${ids[1] as string}::uuid, 'delivered', interval '6 days'),
                     (${ids[2] as string}::uuid, 'failed', interval '8 days'),
                     (${ids[3] as string}::uuid, 'failed', interval '31 days'),
                     (${ids[4] as string}::uuid, 'pending', interval '31 days')) as aged (id, state, age)
       where delivery.id = aged.id`;
    await sql`select rotate_webhook_secret(null, ${webhook.id}, ${webhookSecret()}, 60)`;
    await sql`update webhook_secrets set expires_at = now() - interval '1 second' where expires_at is not null`;
    await sql`select forget_old_webhooks()`;
    const left = await sql`select id from webhook_deliveries order by seq`;
    assert.deepEqual(
      left.map((row) => row["id"] as string),
      [ids[1], ids[2], ids[4]],
    );
    assert.equal((await sql`select from webhook_secrets`).length, 1);
  }));

test("on Supabase the timer has the function called, with the vault's key, only when something is due", () =>
  withDatabase(async ({ sql }) => {
    const webhook = await createWebhook(sql, await createUser(sql));
    const tick = () => sql`select request_webhook_delivery()`;
    await sendTests(sql, webhook);
    await tick();
    // Stand-ins for Supabase's extensions, which PostgreSQL alone does not have.
    await sql.query(`
      create schema vault; create schema net;
      create table vault.decrypted_secrets (name text, decrypted_secret text);
      create table net.requests (url text, headers jsonb, body jsonb);
      create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}',
        timeout_milliseconds integer default 5000) returns bigint language sql as $$
        insert into net.requests values (url, headers, body); select 1::bigint $$;`);
    const requests = () => sql`select url, headers ->> 'apikey' as key from net.requests`;
    await tick();
    assert.deepEqual([...(await requests())], []);
    await sql`insert into vault.decrypted_secrets values
      ('darkroom_functions_url', 'https://ref.supabase.co/functions/v1/'), ('darkroom_service_key', 'sb_secret_x')`;
    await tick();
    assert.deepEqual(
      [...(await requests())],
      [{ url: "https://ref.supabase.co/functions/v1/deliver-webhooks", key: "sb_secret_x" }],
    );
    await claimed(sql);
    await tick();
    assert.equal((await requests()).length, 1);
  }));
