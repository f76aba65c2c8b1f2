import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask } from "../../../test/support/factories.ts";
import { claimNextTaskEndpoint } from "./endpoint.ts";

describeEndpoint(claimNextTaskEndpoint, {
  async accepted(under) {
    const person = await under.person();
    await queueTask(under.sql, person);
    const { credentials } = await person.token(["tasks:run"]);
    const body = {
      worker_id: "worker-1",
      run_type: "api",
      task_types: ["z_image_turbo"],
      same_model_only: false,
    };
    return { body, credentials };
  },
  cases: {
    "200: the task, to the service by either of its keys": async ({ sql, keys, call, person, service }) => {
      const owner = await person();
      for (const credentials of [service, { apikey: keys.secretKey }]) {
        const task_id = await queueTask(sql, owner, { params: { prompt: "a hare" } });
        const { body } = await call(
          { worker_id: "worker-1", run_type: "api", include_active: true },
          credentials,
        );
        assert.equal(body["task_id"], task_id);
        assert.deepEqual([body["params"], body["attempt"], body["attempts"]], [{ prompt: "a hare" }, 1, 0]);
      }
    },
    "200: with debug, why there is nothing, in numbers": async ({ sql, call, person }) => {
      const owner = await person();
      await queueTask(sql, owner, { dependantOn: [await queueTask(sql, owner)] });
      const { credentials } = await owner.token();
      const { body } = await call({ debug: true, run_type: "gpu" }, credentials);
      assert.deepEqual((body["debug"] as Record<string, number>)["other_task_type"], 2);
    },
    "204 without a body: nothing to do, whatever the body says": async ({ call, person }) => {
      const { token } = await person();
      const { credentials } = await token();
      for (const body of [{ worker_id: "nobody-knows-it" }, {}, undefined, "{"]) {
        const answer = await call(body, credentials);
        assert.deepEqual([answer.status, answer.text], [204, ""]);
      }
    },
    "400 invalid_request: a run type that there is none of, an empty list": async ({ refused, service }) => {
      for (const body of [{ run_type: "cpu" }, { task_types: [] }, { models: [] }, { worker_id: " " }]) {
        await refused("invalid_request", body, service);
      }
    },
  },
});
