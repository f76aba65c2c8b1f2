import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus, type TestUser } from "../../../test/support/factories.ts";
import type { EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { getOrchestratorChildrenEndpoint } from "./endpoint.ts";

describeEndpoint(getOrchestratorChildrenEndpoint, {
  async accepted({ sql, person }) {
    const { session, ...user } = await person();
    return {
      body: { orchestrator_task_id: await orchestration(sql, user), limit: 10, cursor: null },
      credentials: session,
    };
  },
  cases: {
    "200: oldest first, also those that name it inside orchestrator_details": async (under) => {
      const { session, token, ...user } = await under.person();
      const orchestrator_task_id = await orchestration(under.sql, user);
      const places = [
        { orchestrator_task_id_ref: orchestrator_task_id },
        { orchestrator_details: { orchestrator_task_id_ref: orchestrator_task_id } },
        { orchestrator_details: { orchestrator_task_id } },
      ];
      const children: string[] = [];
      for (const params of places) {
        children.push(await queueTask(under.sql, user, { taskType: "travel_segment", params }));
      }
      await queueTask(under.sql, user);
      for (const caller of [session, (await token(["tasks:read"])).credentials, under.service]) {
        const { body } = await under.call({ orchestrator_task_id }, caller);
        const tasks = body["tasks"] as Record<string, unknown>[];
        assert.deepEqual(
          tasks.map(({ id }) => id),
          children,
        );
        assert.deepEqual(
          tasks.map(({ params }) => params),
          places,
        );
        for (const { task_type, status, output_location } of tasks) {
          assert.deepEqual([task_type, status, output_location], ["travel_segment", "Queued", null]);
        }
        assert.deepEqual([body["limit"], body["next_cursor"]], [1000, null]);
      }

      await setStatus(under.sql, orchestrator_task_id, "Cancelled");
      const { body } = await under.call({ orchestrator_task_id, limit: 1 }, under.service);
      assert.equal((body["tasks"] as { status: string }[])[0]?.status, "Cancelled");
    },
    "200: pages; a child that comes in between is on a later one": async ({ sql, call, person }) => {
      const { session, ...user } = await person();
      const orchestrator_task_id = await orchestration(sql, user);
      const params = { orchestrator_task_id_ref: orchestrator_task_id };
      const child = () => queueTask(sql, user, { taskType: "travel_segment", params });
      const children = [await child(), await child(), await child()];
      const seen: unknown[] = [];
      let cursor: unknown = null;
      for (let page = 0; page < 2; page++) {
        const { body } = await call({ orchestrator_task_id, limit: 2, cursor }, session);
        seen.push(...(body["tasks"] as { id: string }[]).map(({ id }) => id));
        cursor = body["next_cursor"];
        if (page === 0) children.push(await child());
      }
      assert.deepEqual(seen, children);
      assert.equal(cursor, null);
    },
    "200: none of a task that has none": async ({ sql, call, person, service }) => {
      const orchestrator_task_id = await queueTask(sql, await person());
      const { body } = await call({ orchestrator_task_id }, service);
      assert.deepEqual(body["tasks"], []);
    },
    "404 task_not_found: unknown and foreign alike": async ({ sql, refused, person, service }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const orchestrator_task_id of [randomUUID(), await orchestration(sql, other)]) {
        await refused("task_not_found", { orchestrator_task_id }, session);
      }
      await refused("task_not_found", { orchestrator_task_id: randomUUID() }, service);
    },
  },
});

async function orchestration(sql: EndpointUnderTest["sql"], user: TestUser): Promise<string> {
  return await queueTask(sql, user, { taskType: "travel_orchestrator", params: {} });
}
