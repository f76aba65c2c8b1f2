import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { personWithWebhook, refusesStrangers } from "../../../test/support/webhooks.ts";
import { createWebhookSender } from "../_shared/webhooks/sender.ts";
import { updateWebhookEndpoint } from "./endpoint.ts";

describeEndpoint(updateWebhookEndpoint, {
  async accepted(under) {
    const { person, body } = await personWithWebhook(under);
    return {
      body: {
        ...body,
        url: "http://127.0.0.1:9/",
        events: ["task.failed"],
        description: "moved",
        enabled: true,
      },
      credentials: person.session,
    };
  },
  cases: {
    "200: what is named changes, and nothing else": async (under) => {
      const { person, body } = await personWithWebhook(under);
      const update = async (changes: object) =>
        (await under.call({ ...body, ...changes }, person.session)).body;
      const before = await update({});
      const after = await update({ events: ["task.failed", "task.complete"], description: "a shop" });
      const { updated_at: _, ...expected } = before;
      const { updated_at: __, ...found } = after;
      assert.deepEqual(found, {
        ...expected,
        events: ["task.complete", "task.failed"],
        description: "a shop",
      });
      assert.equal((await update({ description: null }))["description"], null);
      assert.equal((await update({ url: "http://127.0.0.1:10/" }))["url"], "http://127.0.0.1:10/");
      const disabled = await update({ enabled: false });
      assert.deepEqual([disabled["enabled"], disabled["disabled_reason"]], [false, "owner"]);
      assert.equal((await update({ enabled: false }))["disabled_at"], disabled["disabled_at"]);
      const enabled = await update({ enabled: true });
      assert.deepEqual([enabled["enabled"], enabled["disabled_at"]], [true, null]);
    },
    "404 webhook_not_found: unknown and foreign alike": (under) =>
      refusesStrangers(under, "webhook_not_found", (webhook_id) => ({ webhook_id, enabled: false })),
    "422 webhook_url_refused: an address that nothing is sent to": async (under) => {
      const { person, body } = await personWithWebhook(under);
      const environment = { webhooks: createWebhookSender({ allowPrivate: false }) };
      await under.refused("webhook_url_refused", { ...body, url: "https://127.0.0.1/" }, person.session, {
        environment,
      });
    },
  },
});
