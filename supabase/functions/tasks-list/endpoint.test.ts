import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { tasksListEndpoint } from "./endpoint.ts";

interface Row {
  id: string;
  status: string;
  params: Record<string, unknown>;
}

describeEndpoint(tasksListEndpoint, {
  async accepted({ sql, person }) {
    const { session, ...user } = await person();
    await queueTask(sql, user);
    return {
      body: {
        project_id: user.projectId,
        status: ["Queued"],
        task_types: ["z_image_turbo"],
        orchestrator_task_id: null,
        limit: 10,
        cursor: null,
      },
      credentials: session,
    };
  },
  cases: {
    "200: whole rows, newest first, as a bare list under either name of the project": async (under) => {
      const { session, token, ...user } = await under.person();
      const tasks = [await queueTask(under.sql, user), await queueTask(under.sql, user)];
      await queueTask(under.sql, await under.person());
      for (const caller of [session, (await token(["tasks:read"])).credentials, under.service]) {
        for (const body of [{ projectId: user.projectId }, { project_id: user.projectId, status: [] }]) {
          const answer = await under.call(body, caller);
          const rows = answer.body as unknown as Row[];
          assert.deepEqual(
            rows.map(({ id }) => id),
            tasks.toReversed(),
          );
          assert.deepEqual(rows[0]?.params, { prompt: "a fox" });
          for (const hidden of ["lane_id", "slot", "request_hash"]) assert.ok(!(hidden in (rows[0] ?? {})));
          assert.equal(answer.headers.get("x-next-cursor"), null);
        }
      }
    },
    "200: filtered by status, type and orchestrator, also together": async ({ sql, call, person }) => {
      const { session, projectId, ...user } = await person();
      const owner = { projectId, userId: user.userId };
      const orchestrator = await queueTask(sql, owner, { taskType: "travel_orchestrator", params: {} });
      const params = { orchestrator_task_id_ref: orchestrator };
      const child = await queueTask(sql, owner, { taskType: "travel_segment", params });
      const [cancelled, failed] = [await queueTask(sql, owner), await queueTask(sql, owner)];
      await setStatus(sql, cancelled, "Cancelled");
      await setStatus(sql, failed, "Failed");
      for (const [filter, expected] of [
        [{ status: "Failed" }, [failed]],
        [{ status: ["Failed", "Cancelled", "Failed"] }, [failed, cancelled]],
        [{ status: ["In Progress"] }, []],
        [{ task_types: ["travel_segment", "travel_orchestrator"] }, [child, orchestrator]],
        [{ task_types: ["z_image_turbo"], status: ["Queued", "Cancelled"] }, [cancelled]],
        [{ orchestrator_task_id: orchestrator }, [child]],
        [{ orchestrator_task_id: orchestrator, status: ["Complete"] }, []],
        [{ orchestrator_task_id: orchestrator, task_types: ["travel_stitch"] }, []],
        [{ orchestrator_task_id: randomUUID() }, []],
      ] as const) {
        const { body } = await call({ project_id: projectId, ...filter }, session);
        assert.deepEqual(
          (body as unknown as Row[]).map(({ id }) => id),
          expected,
          JSON.stringify(filter),
        );
      }
    },
    "200: pages, stable while tasks come; an old client is told by a header that there is more": async (
      under,
    ) => {
      const { session, ...user } = await under.person();
      const tasks: string[] = [];
      for (let count = 0; count < 5; count++) tasks.push(await queueTask(under.sql, user));
      // Two of one moment: only their ids tell them apart.
      await under.sql`update tasks set created_at = (select created_at from tasks where id = ${tasks[2] ?? ""})
                       where id = ${tasks[1] ?? ""}`;
      for (const filter of [{}, { status: ["Queued"] }]) {
        const seen: string[] = [];
        let cursor: unknown = null;
        do {
          const { body } = await under.call(
            { project_id: user.projectId, limit: 2, cursor, ...filter },
            session,
          );
          assert.equal(body["limit"], 2);
          seen.push(...(body["tasks"] as Row[]).map(({ id }) => id));
          cursor = body["next_cursor"];
          await queueTask(under.sql, user);
        } while (cursor !== null);
        assert.equal(seen.length, new Set(seen).size);
        assert.deepEqual(
          tasks.filter((task) => !seen.includes(task)),
          [],
        );
      }

      await under.sql`update tasks set params = jsonb_build_object('text', repeat('x', 6000000))
                       where project_id = ${user.projectId}`;
      const answer = await under.call({ project_id: user.projectId }, session);
      assert.equal((answer.body as unknown as Row[]).length, 2, "16 MB of params are enough for a page");
      const cursor = answer.headers.get("x-next-cursor");
      const next = await under.call({ project_id: user.projectId, limit: 1, cursor }, session);
      assert.equal((next.body["tasks"] as Row[]).length, 1);
    },
    "400 invalid_request: no project, a broken cursor": async ({ refused, person }) => {
      const { session, projectId } = await person();
      await refused("invalid_request", {}, session);
      for (const cursor of ["1", "1.x", `1.${randomUUID()}.`, `-1.${randomUUID()}`]) {
        await refused("invalid_request", { project_id: projectId, cursor }, session);
      }
    },
    "404 project_not_found: unknown and foreign alike": async ({ refused, person, service }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const project_id of [randomUUID(), other.projectId]) {
        await refused("project_not_found", { project_id }, session);
      }
      await refused("project_not_found", { project_id: randomUUID() }, service);
    },
  },
});
