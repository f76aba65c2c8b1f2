import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { personWithWebhook, refusesStrangers } from "../../../test/support/webhooks.ts";
import { testWebhookEndpoint } from "./endpoint.ts";

describeEndpoint(testWebhookEndpoint, {
  async accepted(under) {
    const { person, body } = await personWithWebhook(under);
    return { body, credentials: person.session };
  },
  cases: {
    "200: a message that says whose test it is": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      const { body: answer } = await under.call(body, person.session);
      const [row] = await under.sql<{ id: string; payload: string }[]>`
        select id, payload from webhook_deliveries where endpoint_id = ${webhook.id}`;
      assert.equal(answer["delivery_id"], row?.id);
      const message = JSON.parse(row?.payload ?? "") as { type: string; data: Record<string, unknown> };
      assert.equal(message.type, "webhook.test");
      assert.deepEqual(
        [message.data["webhook_id"], message.data["project_id"]],
        [webhook.id, person.projectId],
      );
    },
    "404 webhook_not_found: unknown and foreign alike": (under) =>
      refusesStrangers(under, "webhook_not_found", (webhook_id) => ({ webhook_id })),
    "409 webhook_disabled: enable it first": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      await under.sql`select update_webhook(null, ${webhook.id}, '{"enabled": false}')`;
      await under.refused("webhook_disabled", body, person.session);
    },
  },
});
