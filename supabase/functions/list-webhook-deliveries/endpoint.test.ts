import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { personWithWebhook, refusesStrangers, sendTests } from "../../../test/support/webhooks.ts";
import { deliverDue } from "../_shared/webhooks/deliver-webhooks.ts";
import { listWebhookDeliveriesEndpoint } from "./endpoint.ts";

interface Delivery {
  delivery_id: string;
  state: string;
  attempts: number;
  payload: { type: string };
  history: { attempt: number; error: string | null }[];
}

describeEndpoint(listWebhookDeliveriesEndpoint, {
  async accepted(under) {
    const { person, body, webhook } = await personWithWebhook(under);
    await sendTests(under.sql, webhook);
    return {
      body: { ...body, state: "pending", before_seq: 1_000_000, limit: 10 },
      credentials: person.session,
    };
  },
  cases: {
    "200: newest first, a page at a time": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      const ids = await sendTests(under.sql, webhook, 5);
      const seen: string[] = [];
      let before: unknown;
      do {
        const page = await under.call(
          { ...body, limit: 2, ...(before !== undefined && { before_seq: before }) },
          person.session,
        );
        seen.push(...(page.body["deliveries"] as Delivery[]).map(({ delivery_id }) => delivery_id));
        before = page.body["next_before_seq"];
      } while (before !== null);
      assert.deepEqual(seen, ids.toReversed());
    },
    "200: with what came of each attempt, by state": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      await under.sql`update webhook_endpoints set url = 'http://127.0.0.1:1/' where id = ${webhook.id}`;
      const [id] = await sendTests(under.sql, webhook);
      await deliverDue(under.environment.database, under.environment.webhooks, {
        atMost: 100,
        forMilliseconds: 10_000,
      });
      const list = async (state: string) =>
        (await under.call({ ...body, state }, person.session)).body["deliveries"] as Delivery[];
      const [pending, ...others] = await list("pending");
      assert.deepEqual(
        [pending?.delivery_id, pending?.attempts, pending?.payload.type, others.length],
        [id, 1, "webhook.test", 0],
      );
      assert.deepEqual(
        pending?.history.map(({ attempt, error }) => [attempt, error]),
        [[1, "connection_failed"]],
      );
      assert.deepEqual(await list("delivered"), []);
    },
    "404 webhook_not_found: unknown and foreign alike": (under) =>
      refusesStrangers(under, "webhook_not_found", (webhook_id) => ({ webhook_id })),
  },
});
