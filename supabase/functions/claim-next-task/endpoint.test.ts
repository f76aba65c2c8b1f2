import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
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
      wait_seconds: 0,
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
      assert.deepEqual((body["debug"] as Record<string, number>)["other_run_type"], 2);
    },
    "204 without a body: nothing to do, whatever the body says": async ({ call, person }) => {
      const { token } = await person();
      const { credentials } = await token();
      for (const body of [{ worker_id: "nobody-knows-it" }, {}, undefined, "{"]) {
        const answer = await call(body, credentials);
        assert.deepEqual([answer.status, answer.text], [204, ""]);
      }
    },
    "200: with wait_seconds, a task that is created meanwhile": async ({
      sql,
      call,
      environment,
      person,
    }) => {
      const owner = await person();
      const { credentials } = await owner.token(["tasks:run"]);
      const waiting = call({ worker_id: "w", same_model_only: true, wait_seconds: 30 }, credentials);
      while (environment.waitingRoom.size === 0) await pause(5);
      const task_id = await queueTask(sql, owner);
      const { body, headers } = await waiting;
      assert.equal(body["task_id"], task_id);
      assert.equal(headers.get("x-ratelimit-remaining"), "1199");
    },
    "204 and 200: with wait_seconds, nothing came up, and with debug why": async ({ call, person }) => {
      const { credentials } = await (await person()).token(["tasks:run"]);
      const begun = performance.now();
      const { status } = await call({ wait_seconds: 0.2 }, credentials);
      assert.equal(status, 204);
      assert.ok(performance.now() - begun >= 199);
      const explained = await call({ wait_seconds: 0.2, debug: true }, credentials);
      assert.equal(explained.status, 200);
      assert.equal(typeof explained.body["debug"], "object");
    },
    "401 at the end of a wait, for a token that was revoked meanwhile": async (under) => {
      const { id, credentials } = await (await under.person()).token(["tasks:run"]);
      const waiting = under.call({ wait_seconds: 0.3, debug: true }, credentials);
      while (under.environment.waitingRoom.size === 0) await pause(5);
      await under.sql`update personal_access_tokens set revoked_at = now() where id = ${id}`;
      assert.equal((await waiting).body["error"], "unauthenticated");
    },
    "400 invalid_request: a wait beyond 50 seconds, or none that is a time": async ({ refused, service }) => {
      for (const wait_seconds of [50.1, -1, "5", true]) {
        await refused("invalid_request", { wait_seconds }, service);
      }
    },
    "400 invalid_request: a run type that there is none of, an empty list": async ({ refused, service }) => {
      for (const body of [{ run_type: "cpu" }, { task_types: [] }, { models: [] }, { worker_id: " " }]) {
        await refused("invalid_request", body, service);
      }
    },
  },
});
