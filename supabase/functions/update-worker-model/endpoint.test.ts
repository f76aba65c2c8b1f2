import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { updateWorkerModelEndpoint } from "./endpoint.ts";

describeEndpoint(updateWorkerModelEndpoint, {
  accepted: ({ service }) =>
    Promise.resolve({
      body: { worker_id: `worker-${randomUUID()}`, current_model: "qwen", instance_type: "runpod" },
      credentials: service,
    }),
  cases: {
    "200: under either name; null and nothing forget": async ({ call, service }) => {
      const worker_id = `worker-${randomUUID()}`;
      const first = await call({ worker_id, model: " qwen " }, service);
      assert.deepEqual([first.body["action"], first.body["current_model"]], ["inserted", "qwen"]);
      for (const forgotten of [{ current_model: null }, { current_model: "" }, { model: null }]) {
        const { body } = await call({ worker_id, ...forgotten }, service);
        assert.deepEqual([body["action"], body["current_model"]], ["updated", null]);
      }
    },
    "400 invalid_request: no model named, no worker": async ({ refused, service }) => {
      for (const body of [{ worker_id: "worker-1" }, { worker_id: " ", model: "qwen" }, { model: "qwen" }]) {
        await refused("invalid_request", body, service);
      }
    },
  },
});
