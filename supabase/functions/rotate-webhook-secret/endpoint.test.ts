import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { personWithWebhook, refusesStrangers } from "../../../test/support/webhooks.ts";
import { rotateWebhookSecretEndpoint } from "./endpoint.ts";

describeEndpoint(rotateWebhookSecretEndpoint, {
  async accepted(under) {
    const { person, body } = await personWithWebhook(under);
    return { body: { ...body, overlap_seconds: 60 }, credentials: person.session };
  },
  cases: {
    "200: another secret; the one before for a day, or as long as said": async (under) => {
      const { person, body, webhook } = await personWithWebhook(under);
      const first = (await under.call(body, person.session)).body;
      assert.match(String(first["secret"]), /^whsec_/);
      assert.notEqual(first["secret"], webhook.secret);
      const overlap = Date.parse(String(first["earlier_secret_until"])) - Date.now();
      assert.ok(Math.abs(overlap - 86_400_000) < 60_000, String(overlap));
      const leaked = (await under.call({ ...body, overlap_seconds: 0 }, under.service)).body;
      const secrets = await under.sql`select secret from webhook_secrets where endpoint_id = ${webhook.id}`;
      assert.deepEqual([...secrets], [{ secret: leaked["secret"] }]);
    },
    "400 invalid_request: an overlap of more than a week": async (under) => {
      const { person, body } = await personWithWebhook(under);
      await under.refused("invalid_request", { ...body, overlap_seconds: 604_801 }, person.session);
    },
    "404 webhook_not_found: unknown and foreign alike": (under) =>
      refusesStrangers(under, "webhook_not_found", (webhook_id) => ({ webhook_id })),
  },
});
