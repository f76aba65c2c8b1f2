import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createWebhook } from "../../../test/support/webhooks.ts";
import { listWebhooksEndpoint } from "./endpoint.ts";

describeEndpoint(listWebhooksEndpoint, {
  async accepted(under) {
    const { session, projectId } = await under.person();
    return { body: { project_id: projectId }, credentials: session };
  },
  cases: {
    "200: the project's own, oldest first, without their secrets": async (under) => {
      const [person, other] = [await under.person(), await under.person()];
      const made = [await createWebhook(under.sql, person), await createWebhook(under.sql, person)];
      await createWebhook(under.sql, other);
      const { body, text } = await under.call({ project_id: person.projectId }, person.session);
      const webhooks = body["webhooks"] as { webhook_id: string }[];
      assert.deepEqual(
        webhooks.map(({ webhook_id }) => webhook_id),
        made.map(({ id }) => id),
      );
      assert.doesNotMatch(text, /whsec_|secret/);
    },
    "404 project_not_found: unknown and foreign alike": async (under) => {
      const [{ session }, other] = [await under.person(), await under.person()];
      for (const project_id of [other.projectId, randomUUID()]) {
        await under.refused("project_not_found", { project_id }, session);
      }
    },
  },
});
