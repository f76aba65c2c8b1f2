import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { complete, queueTask, type TestUser } from "../../../test/support/factories.ts";
import type { EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { running } from "../../../test/support/runs.ts";
import { getCompletedSegmentsEndpoint } from "./endpoint.ts";

describeEndpoint(getCompletedSegmentsEndpoint, {
  async accepted({ person }) {
    const { session, projectId } = await person();
    return { body: { run_id: "a run", project_id: projectId }, credentials: session };
  },
  cases: {
    "200: a bare list of those that are complete, by index": async (under) => {
      const run_id = randomUUID();
      const { person } = await segment(under, { orchestrator_run_id: "another run", segment_index: 0 });
      const made: [number, string][] = [];
      for (const index of [10, 2, 1]) {
        const url = await finishedSegment(under, person, {
          orchestrator_run_id: run_id,
          segment_index: index,
        });
        made.unshift([index, url]);
      }
      await finishedSegment(under, person, { orchestrator_run_id: run_id, segment_index: "none" });
      await finishedSegment(under, person, { orchestrator_run_id: run_id });
      await queueTask(under.sql, person, {
        taskType: "travel_segment",
        params: { orchestrator_run_id: run_id, segment_index: 3 },
      });
      const { credentials } = await person.token(["tasks:read"]);
      for (const [caller, project_id] of [
        [person.session, undefined],
        [credentials, person.projectId],
        [under.service, person.projectId],
        [under.service, "default_project_id"],
      ] as const) {
        const { body } = await under.call({ run_id, project_id }, caller);
        assert.deepEqual(
          body,
          made.map(([segment_index, output_location]) => ({ segment_index, output_location })),
        );
      }
    },
    "200: two projects' runs of one id are told apart, and nobody sees another's": async (under) => {
      const run_id = randomUUID();
      const params = { orchestrator_run_id: run_id, segment_index: 0 };
      const [mine, theirs] = [await under.person(), await under.person()];
      const [myUrl] = [
        await finishedSegment(under, mine, params),
        await finishedSegment(under, theirs, params),
      ];
      const expected = [{ segment_index: 0, output_location: myUrl }];
      assert.deepEqual((await under.call({ run_id }, mine.session)).body, expected);
      const asService = await under.call({ run_id, project_id: mine.projectId }, under.service);
      assert.deepEqual(asService.body, expected);
      const stranger = await under.person();
      assert.deepEqual((await under.call({ run_id }, stranger.session)).body, []);
    },
    "404 project_not_found: unknown and foreign alike": async ({ refused, person, service }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const project_id of [randomUUID(), other.projectId]) {
        await refused("project_not_found", { run_id: "a run", project_id }, session);
      }
      await refused("project_not_found", { run_id: "a run", project_id: randomUUID() }, service);
    },
  },
});

function segment(under: EndpointUnderTest, params: Record<string, unknown>) {
  return running(under, { taskType: "travel_segment", params });
}

/** @returns its output's URL */
async function finishedSegment(
  { sql }: EndpointUnderTest,
  user: TestUser,
  params: Record<string, unknown>,
): Promise<string> {
  const taskId = await queueTask(sql, user, { taskType: "travel_segment", params });
  await sql`select claim_next_task(for_user => ${user.userId}, for_worker => ${taskId})`;
  const [row] = await sql`select status from tasks where id = ${taskId}`;
  assert.equal(row?.["status"], "In Progress");
  const { public_url } = await complete(sql, taskId, { worker: taskId, forUser: user.userId });
  return String(public_url);
}
