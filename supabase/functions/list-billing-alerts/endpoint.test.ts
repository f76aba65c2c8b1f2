import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { listBillingAlertsEndpoint } from "./endpoint.ts";

describeEndpoint(listBillingAlertsEndpoint, {
  accepted: ({ service }) => Promise.resolve({ body: { state: "open", limit: 10 }, credentials: service }),
  cases: {
    "200: those of a state, the oldest first, so many at most": async ({ call, service, sql }) => {
      const subjects = [`pi_${randomUUID()}`, `pi_${randomUUID()}`, `pi_${randomUUID()}`];
      for (const [age, subject] of subjects.entries()) {
        await sql`
          insert into billing_alerts (reason, subject, created_at, state, closed_at)
          values ('wrong_amount', ${subject}, now() - ${3 - age} * interval '1 hour', ${age === 2 ? "dismissed" : "open"},
                  ${age === 2 ? new Date() : null})`;
      }
      const of = async (body: object) =>
        ((await call(body, service)).body["alerts"] as { subject: string }[]).map(({ subject }) => subject);
      assert.deepEqual(await of({}), subjects.slice(0, 2));
      assert.deepEqual(await of({ limit: 1 }), subjects.slice(0, 1));
      assert.deepEqual(await of({ state: "dismissed" }), subjects.slice(2));
    },
  },
});
