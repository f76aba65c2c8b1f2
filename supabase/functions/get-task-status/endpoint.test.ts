import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask } from "../../../test/support/factories.ts";
import { running } from "../../../test/support/runs.ts";
import { getTaskStatusEndpoint } from "./endpoint.ts";

describeEndpoint(getTaskStatusEndpoint, {
  async accepted(under) {
    const person = await under.person();
    return { body: { task_id: await queueTask(under.sql, person) }, credentials: person.session };
  },
  cases: {
    "200: to its user, their token and the service": async (under) => {
      const { person, task_id, worker } = await running(under);
      const { credentials } = await person.token(["tasks:read"]);
      for (const caller of [person.session, credentials, under.service]) {
        const { body } = await under.call({ task_id }, caller);
        assert.deepEqual([body["status"], body["worker_id"], body["attempt"]], ["In Progress", worker, 1]);
      }
    },
    "404 task_not_found: unknown and foreign alike": async ({ sql, refused, person, service }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const task_id of [randomUUID(), await queueTask(sql, other)]) {
        await refused("task_not_found", { task_id }, session);
      }
      await refused("task_not_found", { task_id: randomUUID() }, service);
    },
  },
});
