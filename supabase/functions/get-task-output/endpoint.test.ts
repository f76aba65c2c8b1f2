import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { complete, queueTask } from "../../../test/support/factories.ts";
import { running } from "../../../test/support/runs.ts";
import { getTaskOutputEndpoint } from "./endpoint.ts";

describeEndpoint(getTaskOutputEndpoint, {
  async accepted(under) {
    const person = await under.person();
    return { body: { task_id: await queueTask(under.sql, person) }, credentials: person.session };
  },
  cases: {
    "200: to its user, their token and the service, before and after it is complete": async (under) => {
      const { person, task_id, worker } = await running(under, { params: { prompt: "a heron" } });
      const { credentials } = await person.token(["tasks:read"]);
      const dependant = await queueTask(under.sql, person, { dependantOn: [task_id] });
      for (const caller of [person.session, credentials, under.service]) {
        const { body } = await under.call({ task_id }, caller);
        assert.deepEqual(body, {
          task_id,
          project_id: person.projectId,
          status: "In Progress",
          output_location: null,
          warnings: [],
          params: { prompt: "a heron" },
          dependant_on: null,
        });
      }
      const { public_url } = await complete(under.sql, task_id, { worker });
      const { body } = await under.call({ task_id }, under.service);
      assert.deepEqual([body["status"], body["output_location"]], ["Complete", public_url]);
      const waiting = await under.call({ task_id: dependant }, under.service);
      assert.deepEqual(waiting.body["dependant_on"], [task_id]);
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
