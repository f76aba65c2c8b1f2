import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { createWebhook, sendTests, startReceiver } from "../../../test/support/webhooks.ts";
import { deliverWebhooksEndpoint } from "./endpoint.ts";

describeEndpoint(deliverWebhooksEndpoint, {
  async accepted(under) {
    await under.sql`delete from webhook_deliveries`;
    return { body: { at_most: 10 }, credentials: under.service };
  },
  cases: {
    "200: sends what is due, and no more than asked for": async (under) => {
      const receiver = await startReceiver((response, _request, count) =>
        response.writeHead(count === 1 ? 500 : 204).end(),
      );
      try {
        const webhook = await createWebhook(under.sql, await under.person(), { url: receiver.url });
        const ids = await sendTests(under.sql, webhook, 12);
        const first = await under.call({ at_most: 3 }, under.service);
        assert.deepEqual(first.body, { attempted: 3, delivered: 2 });
        const second = await under.call(undefined, under.service);
        assert.deepEqual(second.body, { attempted: 9, delivered: 9 });
        assert.deepEqual((await under.call({}, under.service)).body, { attempted: 0, delivered: 0 });
        assert.deepEqual(
          receiver.received.map(({ headers }) => headers["webhook-id"]).toSorted(),
          ids.toSorted(),
        );
      } finally {
        await receiver.close();
      }
    },
  },
});
