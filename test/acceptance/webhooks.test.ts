import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import {
  claimTask,
  complete,
  invoke,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  succeed,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { type Received, type Receiver, startReceiver } from "../support/webhooks.ts";

interface Registered {
  webhook_id: string;
  secret: string;
}

interface Message {
  type: string;
  data: Record<string, unknown>;
}

interface Deliveries {
  deliveries: { delivery_id: string; state: string; attempts: number; type: string }[];
}

for (const { name, start } of hosts) {
  describe(`webhooks on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    /** On Node the dispatcher sends by itself; on Deno the timer of Supabase has the function called. */
    async function arrived(receiver: Receiver, count: number): Promise<Received[]> {
      while (receiver.received.length < count) {
        if (name === "Deno") await succeed(post(host, "deliver-webhooks", {}, service(host)));
        else await receiver.reached(count);
      }
      return receiver.received;
    }

    async function settled(
      webhook_id: string,
      state: string,
      count: number,
    ): Promise<Deliveries["deliveries"]> {
      for (;;) {
        const body = { webhook_id, state };
        const { deliveries } = await succeed(
          post<Deliveries>(host, "list-webhook-deliveries", body, service(host)),
        );
        if (deliveries.length >= count) return deliveries;
        await pause(20);
      }
    }

    test("a task from queued to complete is told to its project's webhook, signed", async () => {
      const [person, receiver] = [await personWithProject(host), await startReceiver()];
      try {
        const body = { project_id: person.projectId, url: receiver.url };
        const webhook = await succeed(invoke<Registered>(person, "create-webhook", body));
        const { task_id } = await queueTask(host, person);
        await arrived(receiver, 1);
        const { attempt } = await claimTask(host, service(host), task_id);
        await arrived(receiver, 2);
        const done = await complete(host, service(host), task_id, { worker_id: "worker-1", attempt });
        const received = await arrived(receiver, 3);

        const messages = received.map(({ body: text, headers }) => {
          const verified = new Webhook(webhook.secret).verify(
            text,
            headers as Record<string, string>,
          ) as Message;
          assert.deepEqual(Object.keys(verified), ["type", "timestamp", "data"]);
          return verified;
        });
        assert.deepEqual(
          messages.map(({ type, data }) => [type, data["task_id"], data["previous_status"], data["status"]]),
          [
            ["task.queued", task_id, null, "Queued"],
            ["task.in_progress", task_id, "Queued", "In Progress"],
            ["task.complete", task_id, "In Progress", "Complete"],
          ],
        );
        const last = messages.at(-1)?.data;
        assert.deepEqual(
          [last?.["generation_id"], last?.["variant_id"], last?.["output_location"], last?.["project_id"]],
          [done.generation_id, done.variant_id, done.public_url, person.projectId],
        );
        assert.equal(new Set(received.map(({ headers }) => headers["webhook-id"])).size, 3);
        await settled(webhook.webhook_id, "delivered", 3);
        assert.ok(!host.logged().includes(webhook.secret));
      } finally {
        await receiver.close();
      }
    });

    test("during a rotation receivers with the new secret and with the old one verify", async () => {
      const [person, receiver] = [await personWithProject(host), await startReceiver()];
      try {
        const body = { project_id: person.projectId, url: receiver.url, events: ["task.failed"] };
        const { webhook_id, secret } = await succeed(invoke<Registered>(person, "create-webhook", body));
        const rotated = await succeed(invoke<Registered>(person, "rotate-webhook-secret", { webhook_id }));
        await succeed(invoke(person, "test-webhook", { webhook_id }));
        const [first] = await arrived(receiver, 1);
        assert.ok(first);
        for (const one of [secret, rotated.secret]) {
          new Webhook(one).verify(first.body, first.headers as Record<string, string>);
        }
        await succeed(invoke(person, "rotate-webhook-secret", { webhook_id, overlap_seconds: 0 }));
        await succeed(invoke(person, "test-webhook", { webhook_id }));
        const [, second] = await arrived(receiver, 2);
        assert.ok(second);
        for (const one of [secret, rotated.secret]) {
          assert.throws(() => new Webhook(one).verify(second.body, second.headers as Record<string, string>));
        }
      } finally {
        await receiver.close();
      }
    });

    test("what failed for a day is dead-lettered, and a replay delivers it under its id", async () => {
      let isDown = true;
      const receiver = await startReceiver((response) => response.writeHead(isDown ? 503 : 204).end());
      try {
        const person = await personWithProject(host);
        const body = { project_id: person.projectId, url: receiver.url };
        const { webhook_id } = await succeed(invoke<Registered>(person, "create-webhook", body));
        const { delivery_id } = await succeed(
          invoke<{ delivery_id: string }>(person, "test-webhook", { webhook_id }),
        );
        for (let attempt = 1; attempt <= 8; attempt++) {
          await arrived(receiver, attempt);
          for (let noted = 0; noted < attempt; await pause(5)) {
            const [row] = await host.sql`select attempts from webhook_deliveries where id = ${delivery_id}`;
            noted = row?.["attempts"] as number;
          }
          await host.sql`update webhook_deliveries set next_attempt_at = now() where id = ${delivery_id} and state = 'pending'`;
        }
        const [dead] = await settled(webhook_id, "failed", 1);
        assert.deepEqual([dead?.delivery_id, dead?.attempts], [delivery_id, 8]);
        isDown = false;
        const failed_since = "2020-01-01T00:00:00Z";
        const replay = await succeed(invoke(person, "redeliver-webhook", { webhook_id, failed_since }));
        assert.equal(replay["redelivered"], 1);
        const received = await arrived(receiver, 9);
        assert.deepEqual([...new Set(received.map(({ headers }) => headers["webhook-id"]))], [delivery_id]);
        await settled(webhook_id, "delivered", 1);
      } finally {
        await receiver.close();
      }
    });

    test("410 ends it, and another person finds none of it", async () => {
      const receiver = await startReceiver((response) => response.writeHead(410).end());
      try {
        const [person, other] = [await personWithProject(host), await personWithProject(host)];
        const body = { project_id: person.projectId, url: receiver.url };
        const { webhook_id } = await succeed(invoke<Registered>(person, "create-webhook", body));
        await succeed(invoke(person, "test-webhook", { webhook_id }));
        await arrived(receiver, 1);
        await settled(webhook_id, "failed", 1);
        await refused(invoke(person, "test-webhook", { webhook_id }), 409, "webhook_disabled");
        await refused(invoke(other, "test-webhook", { webhook_id }), 404, "webhook_not_found");
        const { data } = await other.client.from("webhook_endpoints").select();
        assert.deepEqual(data, []);
        const own = await person.client.from("webhook_endpoints").select("id, enabled, disabled_reason");
        assert.deepEqual(own.data, [{ id: webhook_id, enabled: false, disabled_reason: "gone" }]);
        for (const table of ["webhook_secrets", "webhook_deliveries", "webhook_attempts"]) {
          assert.ok((await person.client.from(table).select()).error, table);
        }
      } finally {
        await receiver.close();
      }
    });

    test("addresses that are none are refused", async () => {
      const person = await personWithProject(host);
      for (const url of [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user:pass@127.0.0.1/",
        "nothing.invalid",
        "http://nothing.invalid/",
      ]) {
        const body = { project_id: person.projectId, url };
        await refused(invoke(person, "create-webhook", body), 422, "webhook_url_refused");
      }
    });
  });
}
