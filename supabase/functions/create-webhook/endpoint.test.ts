import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createWebhook } from "../../../test/support/webhooks.ts";
import { createWebhookSender } from "../_shared/webhooks/sender.ts";
import { webhookEvents } from "../_shared/webhooks/webhook-shapes.ts";
import { createWebhookEndpoint } from "./endpoint.ts";

const url = "http://127.0.0.1:9/hook";

describeEndpoint(createWebhookEndpoint, {
  async accepted(under) {
    const { session, projectId } = await under.person();
    return {
      body: { project_id: projectId, url, events: ["task.complete"], description: "a shop" },
      credentials: session,
    };
  },
  cases: {
    "200: with its secret, for every event unless said": async (under) => {
      const { session, projectId } = await under.person();
      for (const credentials of [session, under.service]) {
        const { body } = await under.call({ project_id: projectId, url }, credentials);
        assert.match(String(body["secret"]), /^whsec_[A-Za-z0-9+/]{43}=$/);
        assert.deepEqual(body["events"], webhookEvents.toSorted());
        assert.deepEqual([body["project_id"], body["url"], body["enabled"]], [projectId, url, true]);
      }
      const { body } = await under.call(
        { project_id: projectId, url, events: ["task.failed", "task.failed"] },
        session,
      );
      assert.deepEqual(body["events"], ["task.failed"]);
    },
    "400 invalid_request: events that there are none of, no event, an address too long": async (under) => {
      const { session, projectId } = await under.person();
      for (const wrong of [
        { events: ["task.exploded"] },
        { events: [] },
        { url: `https://a.example/${"x".repeat(2000)}` },
      ]) {
        await under.refused("invalid_request", { project_id: projectId, url, ...wrong }, session);
      }
    },
    "404 project_not_found: unknown and foreign alike": async (under) => {
      const [{ session }, other] = [await under.person(), await under.person()];
      for (const project_id of [other.projectId, randomUUID()]) {
        await under.refused("project_not_found", { project_id, url }, session);
      }
    },
    "422 webhook_url_refused: what is not a public HTTPS address, unless the deployment allows it": async (
      under,
    ) => {
      const { session, projectId } = await under.person();
      const webhooks = createWebhookSender({
        allowPrivate: false,
        resolve: (name) => Promise.resolve([name === "inside.example.com" ? "10.0.0.1" : "93.184.215.14"]),
      });
      for (const refused of [
        url,
        "https://inside.example.com/",
        "https://[::1]/",
        "file:///etc/passwd",
        "nothing",
      ]) {
        const answer = await under.refused(
          "webhook_url_refused",
          { project_id: projectId, url: refused },
          session,
          {
            environment: { webhooks },
          },
        );
        assert.equal(answer.status, 422);
        assert.equal(typeof answer.body["reason"], "string");
      }
      const taken = await under.call({ project_id: projectId, url: "https://hooks.example.com/" }, session, {
        environment: { webhooks },
      });
      assert.equal(taken.status, 200);
    },
    "422 webhook_limit_reached: the eleventh of a project": async (under) => {
      const person = await under.person();
      for (let made = 0; made < 10; made++) await createWebhook(under.sql, person);
      const answer = await under.refused(
        "webhook_limit_reached",
        { project_id: person.projectId, url },
        person.session,
      );
      assert.equal(answer.body["limit"], 10);
    },
  },
});
