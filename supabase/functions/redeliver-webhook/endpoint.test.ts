import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { personWithWebhook, refusesStrangers, sendTests } from "../../../test/support/webhooks.ts";
import { redeliverWebhookEndpoint } from "./endpoint.ts";

const longAgo = "2020-01-01T00:00:00Z";

describeEndpoint(redeliverWebhookEndpoint, {
  async accepted(under) {
    const { person, body, webhook } = await personWithWebhook(under);
    const [delivery_id] = await sendTests(under.sql, webhook);
    return { body: { ...body, delivery_id }, credentials: person.session };
  },
  cases: {
    "200: one, or all that failed": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      const [first, ...others] = await sendTests(under.sql, webhook, 3);
      await under.sql`update webhook_deliveries set state = 'failed', next_attempt_at = null where endpoint_id = ${webhook.id}`;
      const one = await under.call({ ...body, delivery_id: first }, person.session);
      assert.equal(one.body["redelivered"], 1);
      const rest = await under.call({ ...body, failed_since: longAgo }, under.service);
      assert.equal(rest.body["redelivered"], others.length);
      const later = await under.call({ ...body, failed_since: new Date().toISOString() }, person.session);
      assert.equal(later.body["redelivered"], 0);
    },
    "400 invalid_request: neither or both, or no time": async (under) => {
      const { person, body } = await personWithWebhook(under);
      for (const wrong of [
        {},
        { delivery_id: randomUUID(), failed_since: longAgo },
        { failed_since: "yesterday" },
      ]) {
        await under.refused("invalid_request", { ...body, ...wrong }, person.session);
      }
    },
    "404 webhook_not_found: unknown and foreign alike": (under) =>
      refusesStrangers(under, "webhook_not_found", (webhook_id) => ({ webhook_id, failed_since: longAgo })),
    "404 delivery_not_found: unknown, and of another webhook": async (under) => {
      const [mine, other] = [await personWithWebhook(under), await personWithWebhook(under)];
      const [foreign] = await sendTests(under.sql, other.webhook);
      for (const delivery_id of [foreign, randomUUID()]) {
        await under.refused("delivery_not_found", { ...mine.body, delivery_id }, mine.person.session);
      }
    },
    "409 webhook_disabled: enable it first": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      await under.sql`select update_webhook(null, ${webhook.id}, '{"enabled": false}')`;
      await under.refused("webhook_disabled", { ...body, failed_since: longAgo }, person.session);
    },
  },
});
