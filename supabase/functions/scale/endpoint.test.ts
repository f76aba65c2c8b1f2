import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { claim, complete, emptyQueue, queueTask } from "../../../test/support/factories.ts";
import { scaleEndpoint } from "./endpoint.ts";

describeEndpoint(scaleEndpoint, {
  accepted: (under) =>
    Promise.resolve({ body: { run_type: "gpu", target_wait_seconds: 30 }, credentials: under.service }),
  cases: {
    "200: nothing wanted but the minimum where there is nothing to do": async ({ sql, call, service }) => {
      await emptyQueue(sql);
      const idle = await call(undefined, service);
      assert.deepEqual([idle.body["value"], idle.body["reason"], idle.body["by_run_type"]], [0, "work", []]);
      const warm = await call({ min_workers: 2 }, service);
      assert.deepEqual([warm.body["value"], warm.body["reason"]], [2, "min_workers"]);
    },
    "200: a worker a task while no run has been seen, no more than slots; by GET as KEDA asks": async ({
      sql,
      call,
      person,
      service,
    }) => {
      await emptyQueue(sql);
      const owner = await person();
      for (let task = 0; task < 12; task++) await queueTask(sql, owner, { params: { model: "flux" } });
      await queueTask(sql, await person());
      const { body } = await call({ run_type: "api" }, service);
      assert.equal(body["value"], 6);
      const [part] = body["by_run_type"] as { models: Record<string, unknown>[]; ready: number }[];
      assert.equal(part?.ready, 13);
      assert.deepEqual(
        part?.models.map(({ model, wanted, claimable, ready }) => [model, wanted, claimable, ready]),
        [
          ["flux", 5, 5, 12],
          ["", 1, 1, 1],
        ],
      );
      const query = "?run_type=api&max_workers=4";
      const asked = await call(undefined, service, { method: "GET", query });
      assert.deepEqual(
        [asked.body["value"], asked.body["unbounded"], asked.body["reason"]],
        [4, 6, "max_workers"],
      );
      const refused = await call(undefined, service, { method: "GET", query: "?max_workers=many" });
      assert.equal(refused.status, 400);
    },
    "200: with run times seen, enough to finish within the target; what runs keeps its worker": async ({
      sql,
      call,
      person,
      service,
    }) => {
      await emptyQueue(sql);
      const people = [];
      for (let user = 0; user < 4; user++) people.push(await person());
      for (const owner of people) {
        const task_id = await queueTask(sql, owner);
        await claim(sql, "w");
        await sql`update tasks set generation_started_at = now() - interval '6 seconds' where id = ${task_id}`;
        await complete(sql, task_id);
      }
      const [first] = people;
      assert.ok(first);
      for (const owner of people) for (let task = 0; task < 5; task++) await queueTask(sql, owner);
      const value = async (target_wait_seconds: number) =>
        Number((await call({ target_wait_seconds }, service)).body["value"]);
      // 20 tasks of about 6 seconds: two minutes of work.
      const [minute, tenSeconds, second] = [await value(60), await value(10), await value(1)];
      assert.ok(minute >= 2 && minute <= 3, `${minute}`);
      assert.ok(tenSeconds >= 10 && tenSeconds <= 14, `${tenSeconds}`);
      assert.equal(second, 20);
      let before = minute;
      for (let task = 0; task < 3; task++) {
        await claim(sql, "w");
        const now = await value(60);
        assert.ok(now >= before, "a claim does not lower what is wanted");
        before = now;
      }
    },
  },
});
