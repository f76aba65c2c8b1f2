import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { calculateTaskCostEndpoint } from "./endpoint.ts";

describeEndpoint(calculateTaskCostEndpoint, {
  async accepted(under) {
    const { session } = await under.person();
    return { body: { task_type: "z_image_turbo", params: { prompt: "a fox" } }, credentials: session };
  },
  cases: {
    "200: an exact quote, under either name of the type": async ({ call, person }) => {
      const { session } = await person();
      for (const name of ["task_type", "tool_id"]) {
        const { body } = await call({ [name]: "qwen_image", params: {} }, session);
        assert.deepEqual([body["cost"], body["cost_microusd"], body["exact"]], [3.9, 39_000, true]);
      }
    },
    "200: an estimate with its upper bound": async ({ call, service }) => {
      const { body } = await call({ task_type: "travel_segment" }, service);
      assert.deepEqual([body["exact"], body["upper_bound_microusd"]], [false, 278 * 1200]);
    },
    "200: a task's cost, while it waits and when it is over": async ({ sql, call, person, service }) => {
      const owner = await person();
      const task_id = await queueTask(sql, owner);
      const { credentials } = await owner.token(["tasks:read"]);
      const waiting = await call({ task_id }, credentials);
      assert.deepEqual([waiting.body["final"], waiting.body["cost_microusd"]], [false, 6_500]);
      await setStatus(sql, task_id, "Cancelled");
      const over = await call({ task_id }, service);
      assert.deepEqual([over.body["final"], over.body["cost_microusd"]], [true, 0]);
    },
    "200: a quote is kept for ten minutes, for a user and for a token's owner; the service has none": async ({
      sql,
      call,
      person,
      service,
    }) => {
      const { userId, session, token } = await person();
      const body = { task_type: "qwen_image", params: { prompt: "a fox" } };
      for (const credentials of [session, (await token(["tasks:read"])).credentials]) {
        const { body: quote } = await call(body, credentials);
        const [kept] = await sql<{ user_id: string; expected: number; seconds: number }[]>`
          select user_id, expected_microusd::int as expected, extract(epoch from expires_at - now())::int as seconds
            from task_quotes where id = ${String(quote["quote_id"])}`;
        assert.deepEqual([kept?.user_id, kept?.expected], [userId, 39_000]);
        assert.ok(kept && kept.seconds > 590 && kept.seconds <= 600);
      }
      const { body: quote } = await call(body, service);
      assert.deepEqual([quote["quote_id"], quote["quote_expires_at"]], [null, null]);
    },
    "200: the price that is in force, and its lines, which add up": async ({ sql, call, person }) => {
      const { session } = await person();
      const ask = async () => {
        const { body } = await call({ task_type: "image_inpaint", params: {} }, session);
        const lines = body["breakdown"] as { total_microusd: number }[];
        assert.equal(
          lines.reduce((sum, line) => sum + line.total_microusd, 0),
          body["cost_microusd"],
        );
        return [body["cost_microusd"], body["price_version"]];
      };
      const [before, version] = await ask();
      const dearer = Number(before) + 1;
      await sql`select publish_price('image_inpaint', 'per_unit', ${dearer}, '{}', null, 'test', 'dearer', ${randomUUID()})`;
      assert.deepEqual(await ask(), [dearer, Number(version) + 1]);
    },
    "400 invalid_request: neither a type nor a task": async ({ refused, service }) => {
      await refused("invalid_request", { params: {} }, service);
    },
    "404 task_not_found: unknown and foreign alike": async ({ sql, refused, person }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const task_id of [randomUUID(), await queueTask(sql, other)]) {
        await refused("task_not_found", { task_id }, session);
      }
    },
    "422 unknown_task_type": async ({ refused, service }) => {
      await refused("unknown_task_type", { task_type: "no_such_type" }, service);
    },
  },
});
