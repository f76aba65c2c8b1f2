import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { complete, queueTask, setStatus } from "../../../test/support/factories.ts";
import { running } from "../../../test/support/runs.ts";
import { getPredecessorOutputEndpoint } from "./endpoint.ts";

describeEndpoint(getPredecessorOutputEndpoint, {
  async accepted(under) {
    const person = await under.person();
    return { body: { task_id: await queueTask(under.sql, person) }, credentials: person.session };
  },
  cases: {
    "200: nothing for a task that depends on nothing": async ({ sql, call, person }) => {
      const { session, ...user } = await person();
      const { body } = await call({ task_id: await queueTask(sql, user) }, session);
      assert.deepEqual(body, {
        predecessor_id: null,
        output_location: null,
        status: null,
        all_complete: true,
        predecessors: [],
      });
    },
    "200: the predecessors in the client's order; the first one's output once all are complete": async (
      under,
    ) => {
      const { person, task_id: first, worker } = await running(under);
      const { public_url } = await complete(under.sql, first, { worker });
      const others = [await queueTask(under.sql, person), await queueTask(under.sql, person)];
      // Whichever way their ids sort, one of these two is not in that order.
      for (const named of [
        [first, ...others],
        [others[1] ?? "", first, others[0] ?? ""],
      ]) {
        const task_id = await queueTask(under.sql, person, { dependantOn: [...named, named[0] ?? ""] });
        const { credentials } = await person.token(["tasks:read"]);
        const { body } = await under.call({ task_id }, credentials);
        assert.deepEqual(body, {
          predecessor_id: named[0],
          output_location: null,
          status: "Queued",
          all_complete: false,
          predecessors: named.map((predecessor_id) => ({
            predecessor_id,
            status: predecessor_id === first ? "Complete" : "Queued",
            output_location: predecessor_id === first ? public_url : null,
          })),
        });
      }
      const task_id = await queueTask(under.sql, person, { dependantOn: [first] });
      const { body } = await under.call({ task_id }, under.service);
      assert.deepEqual(
        [body["predecessor_id"], body["output_location"], body["status"], body["all_complete"]],
        [first, public_url, "Complete", true],
      );
    },
    "200: a failed one is shown as such, a deleted one as not_found": async ({
      sql,
      call,
      person,
      service,
    }) => {
      const user = await person();
      const [failed, deleted] = [await queueTask(sql, user), await queueTask(sql, user)];
      const task_id = await queueTask(sql, user, { dependantOn: [failed, deleted] });
      await setStatus(sql, failed, "Failed", { changes: { output_location: "an error's text" } });
      await sql`delete from tasks where id = ${deleted}`;
      const { body } = await call({ task_id }, service);
      assert.deepEqual(body["predecessors"], [
        { predecessor_id: failed, status: "Failed", output_location: null },
        { predecessor_id: deleted, status: "not_found", output_location: null },
      ]);
      assert.deepEqual([body["status"], body["all_complete"]], ["Failed", false]);
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
