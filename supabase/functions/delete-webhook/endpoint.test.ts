import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { personWithWebhook, refusesStrangers, sendTests } from "../../../test/support/webhooks.ts";
import { deleteWebhookEndpoint } from "./endpoint.ts";

describeEndpoint(deleteWebhookEndpoint, {
  async accepted(under) {
    const { person, body } = await personWithWebhook(under);
    return { body, credentials: person.session };
  },
  cases: {
    "200: with its secrets and deliveries; afterwards it is not found": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      await sendTests(under.sql, webhook);
      assert.equal((await under.call(body, person.session)).body["success"], true);
      const left = await under.sql`
        select from webhook_secrets where endpoint_id = ${webhook.id}
        union all select from webhook_deliveries where endpoint_id = ${webhook.id}`;
      assert.equal(left.length, 0);
      await under.refused("webhook_not_found", body, person.session);
    },
    "404 webhook_not_found: unknown and foreign alike": (under) =>
      refusesStrangers(under, "webhook_not_found", (webhook_id) => ({ webhook_id })),
  },
});
