import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
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
    "200: with wait_seconds, another status as soon as there is one; else the same, at the end": async (
      under,
    ) => {
      const { person, task_id } = await running(under);
      const begun = performance.now();
      const same = await under.call({ task_id, wait_seconds: 0.2 }, person.session);
      assert.deepEqual([same.status, same.body["status"]], [200, "In Progress"]);
      assert.ok(performance.now() - begun >= 199);
      const { credentials } = await person.token(["tasks:read"]);
      const waiting = under.call({ task_id, wait_seconds: 30, while_status: "In Progress" }, credentials);
      while (under.environment.waitingRoom.size === 0) await pause(5);
      await setStatus(under.sql, task_id, "Cancelled");
      assert.equal((await waiting).body["status"], "Cancelled");
      for (const while_status of ["Queued", ["Queued", "In Progress"], undefined]) {
        const answer = await under.call({ task_id, wait_seconds: 30, while_status }, person.session);
        assert.equal(answer.body["status"], "Cancelled");
      }
    },
    "400 invalid_request: a wait beyond 50 seconds, a status that there is none of": async (under) => {
      const { person, task_id } = await running(under);
      await under.refused("invalid_request", { task_id, wait_seconds: 51 }, person.session);
      for (const while_status of ["Paused", [], ["Queued", "Paused"]]) {
        await under.refused("invalid_request", { task_id, while_status }, person.session);
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
