import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { Webhook } from "standardwebhooks";
import { createWebhookSender } from "../../supabase/functions/_shared/webhooks/sender.ts";
import { withDatabase } from "../../test/support/database.ts";
import { claim, complete, createUser, queueTask } from "../../test/support/factories.ts";
import { createWebhook, sendTests, startReceiver } from "../../test/support/webhooks.ts";
import { projectPath } from "../migrate.ts";
import { startDispatcher } from "./dispatcher.ts";

const log = pino({ level: "silent" });

function dispatcher(databaseUrl: string, pollMilliseconds = 60_000, timeoutMilliseconds = 15_000) {
  const sender = createWebhookSender({ allowPrivate: true, timeoutMilliseconds });
  return startDispatcher({ databaseUrl, sender, log, pollMilliseconds });
}

/** Waits for rows to be as they shall; the runner's own limit ends a wait in vain. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(10);
}

async function countOf(sql: Sql, state: string): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from webhook_deliveries where state = ${state}`;
  return row?.count ?? 0;
}

test("a task's messages arrive, signed, and say what became of it", () =>
  withDatabase(async ({ sql, url }) => {
    const [receiver, user] = [await startReceiver(), await createUser(sql)];
    const webhook = await createWebhook(sql, user, { url: receiver.url });
    const sending = dispatcher(url);
    try {
      const taskId = await queueTask(sql, user);
      sending.wake();
      await receiver.reached(1);
      await claim(sql, "worker-1");
      sending.wake();
      await receiver.reached(2);
      await complete(sql, taskId, { worker: "worker-1" });
      sending.wake();
      const received = await receiver.reached(3);
      const messages = received.map(
        ({ body, headers }) =>
          new Webhook(webhook.secret).verify(body, headers as Record<string, string>) as {
            type: string;
            data: { task_id: string };
          },
      );
      assert.deepEqual(
        messages.map(({ type, data }) => [type, data.task_id]),
        ["task.queued", "task.in_progress", "task.complete"].map((type) => [type, taskId]),
      );
      await until(async () => (await countOf(sql, "delivered")) === 3);
    } finally {
      await sending.stop();
      await receiver.close();
    }
  }));

test("two hosts at once send each message once", () =>
  withDatabase(async ({ sql, url }) => {
    const user = await createUser(sql);
    const receivers = await Promise.all(Array.from({ length: 5 }, () => startReceiver()));
    const ids: string[] = [];
    for (const receiver of receivers) {
      ids.push(...(await sendTests(sql, await createWebhook(sql, user, { url: receiver.url }), 40)));
    }
    const dispatchers = [dispatcher(url), dispatcher(url)];
    try {
      await until(async () => (await countOf(sql, "delivered")) === 200);
      const seen = receivers.flatMap(({ received }) => received.map(({ headers }) => headers["webhook-id"]));
      assert.deepEqual(seen.toSorted(), ids.toSorted());
      const [attempts] = await sql`select count(*)::int as count, max(attempt) as last from webhook_attempts`;
      assert.deepEqual({ ...attempts }, { count: 200, last: 1 });
    } finally {
      await Promise.all(dispatchers.map((one) => one.stop()));
      await Promise.all(receivers.map((receiver) => receiver.close()));
    }
  }));

test("what a killed host was sending is sent again by another, under the same id", () =>
  withDatabase(async ({ sql, url }) => {
    const receiver = await startReceiver((response, _request, count) => {
      // The first is left without an answer.
      if (count > 1) response.writeHead(200).end();
    });
    const webhook = await createWebhook(sql, await createUser(sql), { url: receiver.url });
    const [id] = await sendTests(sql, webhook);
    const script = projectPath("test/support/dispatch-webhooks.ts");
    const child = spawn(process.execPath, ["--import", "tsx", script], {
      cwd: projectPath(""),
      env: { ...process.env, DATABASE_URL: url },
      stdio: ["pipe", "ignore", "inherit"],
    });
    const exited = once(child, "exit");
    try {
      await receiver.reached(1);
      child.kill("SIGKILL");
      await exited;
      await sql`update webhook_deliveries set next_attempt_at = now() where next_attempt_at > now()`;
      const other = dispatcher(url);
      await receiver.reached(2);
      await until(async () => (await countOf(sql, "delivered")) === 1);
      await other.stop();
      assert.deepEqual(
        receiver.received.map(({ headers }) => headers["webhook-id"]),
        [id, id],
      );
    } finally {
      child.kill("SIGKILL");
      await receiver.close();
    }
  }));

test("a failure is tried again, signed anew under the same id; eight are the end, and a replay arrives", () =>
  withDatabase(async ({ sql, url }) => {
    const receiver = await startReceiver((response, _request, count) =>
      response.writeHead(count <= 8 ? 500 : 200).end(),
    );
    const webhook = await createWebhook(sql, await createUser(sql), { url: receiver.url });
    const [id = ""] = await sendTests(sql, webhook);
    const sending = dispatcher(url);
    try {
      for (let attempt = 1; attempt <= 8; attempt++) {
        await until(async () => (await sql`select from webhook_attempts`).length === attempt);
        assert.equal(await countOf(sql, attempt < 8 ? "pending" : "failed"), 1);
        await sql`update webhook_deliveries set next_attempt_at = now() where state = 'pending'`;
        sending.wake();
      }
      await sql`select redeliver_webhook(null, ${webhook.id}, ${id})`;
      sending.wake();
      await until(async () => (await countOf(sql, "delivered")) === 1);
      assert.equal(receiver.received.length, 9);
      for (const { headers, body } of receiver.received) {
        assert.equal(headers["webhook-id"], id);
        new Webhook(webhook.secret).verify(body, headers as Record<string, string>);
      }
    } finally {
      await sending.stop();
      await receiver.close();
    }
  }));

test("a receiver that hangs holds up no other", () =>
  withDatabase(async ({ sql, url }) => {
    const user = await createUser(sql);
    const hanging = await startReceiver(() => undefined);
    const quick = await startReceiver();
    await sendTests(sql, await createWebhook(sql, user, { url: hanging.url }), 20);
    const other = await createWebhook(sql, user, { url: quick.url });
    const sending = dispatcher(url, 60_000, 3_000);
    try {
      await hanging.reached(4);
      await sendTests(sql, other, 20);
      sending.wake();
      await quick.reached(20);
      assert.equal(hanging.received.length, 4, "and it has no more than four open at a time");
    } finally {
      await hanging.close();
      await sending.stop();
      await quick.close();
    }
  }));

test("it looks by itself now and then, survives a database that fails, and waits for what is under way", () =>
  withDatabase(async ({ sql, url }) => {
    let answer: (() => void) | undefined;
    const receiver = await startReceiver((response) => (answer = () => response.writeHead(200).end()));
    const webhook = await createWebhook(sql, await createUser(sql), { url: receiver.url });
    const lines: string[] = [];
    const sender = createWebhookSender({ allowPrivate: true });
    const sending = startDispatcher({
      databaseUrl: url,
      sender,
      log: pino({ level: "warn" }, { write: (line: string) => void lines.push(line) }),
      pollMilliseconds: 20,
    });
    try {
      await sql`alter function claim_webhook_deliveries rename to hidden`;
      await until(() => Promise.resolve(lines.some((line) => line.includes("cannot be read"))));
      await sql`alter function hidden rename to claim_webhook_deliveries`;
      await sendTests(sql, webhook);
      await receiver.reached(1);
      const stopped = sending.stop();
      answer?.();
      await stopped;
      assert.equal(await countOf(sql, "delivered"), 1);
    } finally {
      await receiver.close();
    }
  }));
