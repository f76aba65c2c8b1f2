import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { createTaskEndpoint } from "./endpoint.ts";

const order = (project_id: string) => ({
  task_type: "z_image_turbo",
  params: { prompt: "a fox" },
  project_id,
});

describeEndpoint(createTaskEndpoint, {
  async accepted(under) {
    const person = await under.person();
    const body = { ...order(person.projectId), task_id: randomUUID(), priority: 1, max_attempts: 2 };
    return { body, credentials: person.session };
  },
  cases: {
    "200: one task, or several, for a user, a token and the service": async ({ call, person, service }) => {
      const { projectId, session, token } = await person();
      for (const credentials of [session, (await token(["tasks:write"])).credentials, service]) {
        const one = await call(order(projectId), credentials);
        assert.equal(one.body["status"], "Task queued", one.text);
        assert.equal(one.body["held_microusd"], one.body["upper_bound_microusd"]);
      }
      const batch = await call({ tasks: [order(projectId), order(projectId)] }, session);
      assert.equal((batch.body["task_ids"] as string[]).length, 2);
    },
    "200: the first answer again for the same idempotency key": async ({ call, person }) => {
      const { projectId, session } = await person();
      const headers = { "idempotency-key": randomUUID() };
      const first = await call(order(projectId), session, { headers });
      const second = await call(order(projectId), session, { headers });
      assert.deepEqual(second.body, { ...first.body, deduplicated: true });
    },
    "400 invalid_request: neither or both forms, wrong fields, a key that is too long": async ({
      refused,
      person,
    }) => {
      const { projectId, session } = await person();
      const task = order(projectId);
      for (const body of [
        {},
        { tasks: [] },
        { tasks: Array.from({ length: 101 }, () => task) },
        { ...task, params: undefined },
        { ...task, task_type: "" },
        { ...task, project_id: "mine" },
        { ...task, dependant_on: ["first"] },
        { ...task, priority: 101 },
        { ...task, max_attempts: 0 },
      ]) {
        await refused("invalid_request", body, session);
      }
      const headers = { "idempotency-key": "k".repeat(201) };
      await refused("invalid_request", task, session, { headers });
    },
    "402 insufficient_credits: no cover": async ({ refused, person }) => {
      const { projectId, session } = await person({ balanceMicrousd: 6_499 });
      const { body } = await refused("insufficient_credits", order(projectId), session);
      assert.deepEqual([body["required_microusd"], body["available_microusd"]], [6_500, 6_499]);
      assert.deepEqual([body["required_credits"], body["available_credits"]], [0.65, 0.6499]);
    },
    "404 project_not_found: unknown and foreign alike": async ({ refused, person, service }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const project of [randomUUID(), other.projectId]) {
        await refused("project_not_found", order(project), session);
      }
      await refused("project_not_found", order(randomUUID()), service);
      await refused("project_not_found", order("default_project_id"), session);
    },
    "409 task_id_conflict: the id of another task": async ({ call, refused, person }) => {
      const { projectId, session } = await person();
      const task_id = randomUUID();
      await call({ ...order(projectId), task_id }, session);
      await refused("task_id_conflict", { ...order(projectId), task_id, params: {} }, session);
    },
    "409 orchestrator_finished: no child of what is over": async ({ sql, refused, person, service }) => {
      const owner = await person();
      const orchestrator = await queueTask(sql, owner, { taskType: "travel_orchestrator", params: {} });
      await setStatus(sql, orchestrator, "Cancelled");
      const child = { task_type: "travel_segment", params: { orchestrator_task_id_ref: orchestrator } };
      const { body } = await refused("orchestrator_finished", child, service);
      assert.equal(body["orchestrator_status"], "Cancelled");
    },
    "422 unknown_task_type": async ({ refused, person }) => {
      const { projectId, session } = await person();
      const body = { ...order(projectId), task_type: "no_such_type" };
      const answer = await refused("unknown_task_type", body, session);
      assert.equal(answer.body["task_type"], "no_such_type");
    },
    "422 invalid_dependency: missing, foreign, failed": async ({ sql, refused, person }) => {
      const [owner, other] = [await person(), await person()];
      const failed = await queueTask(sql, owner);
      await setStatus(sql, failed, "Failed");
      for (const dependant_on of [randomUUID(), [await queueTask(sql, other)], failed]) {
        await refused("invalid_dependency", { ...order(owner.projectId), dependant_on }, owner.session);
      }
    },
    "422 idempotency_key_reused: another body": async ({ call, refused, person }) => {
      const { projectId, session } = await person();
      const idempotency_key = randomUUID();
      await call({ ...order(projectId), idempotency_key }, session);
      const other = { ...order(projectId), idempotency_key, params: { prompt: "a hare" } };
      await refused("idempotency_key_reused", other, session);
    },
  },
});
