import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { claim, emptyQueue, queueTask } from "../../../test/support/factories.ts";
import { taskCountsEndpoint } from "./endpoint.ts";

type Totals = Record<string, number>;

describeEndpoint(taskCountsEndpoint, {
  async accepted(under) {
    const person = await under.person();
    await queueTask(under.sql, person);
    const { credentials } = await person.token(["tasks:run"]);
    return { body: { run_type: "gpu", include_active: true }, credentials };
  },
  cases: {
    "200: everybody's numbers to the service; users at their cap stay in them": async ({
      sql,
      call,
      person,
      service,
    }) => {
      await emptyQueue(sql);
      const [busy, other, off] = [await person(), await person(), await person()];
      for (let task = 0; task < 8; task++) await queueTask(sql, busy);
      for (let task = 0; task < 5; task++) assert.ok(await claim(sql, "worker-1"));
      const first = await queueTask(sql, other);
      await queueTask(sql, other, { dependantOn: [first] });
      await queueTask(sql, other, { runAfter: new Date(Date.now() + 60_000) });
      await queueTask(sql, off);
      await sql`update users set settings = '{"ui":{"generationMethods":{"inCloud":false}}}' where id = ${off.userId}`;

      const { body } = await call({ run_type: "api", include_active: false }, service);
      assert.deepEqual(body["totals"], {
        queued_only: 1,
        active_only: 5,
        queued_plus_active: 6,
        eligible_queued: 4,
        blocked_by_capacity: 3,
        blocked_by_deps: 1,
        blocked_by_schedule: 1,
        blocked_by_settings: 1,
        potentially_claimable: 4,
        left_to_fal: 0,
      } satisfies Totals);
      assert.deepEqual([body["queued_plus_active"], body["available_tasks"]], [6, 1]);
      assert.deepEqual(
        (body["queued_tasks"] as { task_id: string }[]).map(({ task_id }) => task_id),
        [first],
      );
      // What the autoscaler slices and pads as text must be there and be text.
      const active = body["active_tasks"] as Record<string, unknown>[];
      assert.equal(active.length, 5);
      for (const task of active) {
        for (const field of ["task_id", "task_type", "worker_id", "user_id", "started_at"]) {
          assert.equal(typeof task[field], "string", field);
        }
      }
      const users = body["users"] as { user_id: string; [field: string]: unknown }[];
      assert.deepEqual(
        users.find(({ user_id }) => user_id === busy.userId),
        {
          user_id: busy.userId,
          credits: users.find(({ user_id }) => user_id === busy.userId)?.["credits"],
          queued_tasks: 3,
          in_progress_tasks: 5,
          allows_cloud: true,
          at_limit: true,
        },
      );
      assert.equal(users.length, 3);
      const { body: none } = await call({ run_type: "gpu" }, service);
      assert.ok(Object.values(none["totals"] as Totals).every((count) => count === 0));
    },
    "200: a lone queued orchestrator is counted, for the service and for its owner": async ({
      sql,
      call,
      person,
      service,
    }) => {
      await emptyQueue(sql);
      const owner = await person();
      await queueTask(sql, owner, {
        taskType: "travel_orchestrator",
        params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
      });
      const { credentials } = await owner.token(["tasks:run"]);
      for (const caller of [service, credentials]) {
        const { body } = await call({ run_type: "gpu", include_active: true }, caller);
        const totals = body["totals"] as Totals;
        assert.deepEqual([totals["queued_only"], totals["eligible_queued"]], [1, 1]);
      }
    },
    "200: a token sees its owner's alone, whoever pays, and whether it may claim": async ({
      sql,
      call,
      person,
    }) => {
      await emptyQueue(sql);
      const [owner, other] = [await person(), await person()];
      await queueTask(sql, other);
      await sql`update users set settings = '{"ui":{"generationMethods":{"inCloud":false}}}' where id = ${owner.userId}`;
      const task_id = await queueTask(sql, owner);
      const { credentials } = await owner.token(["tasks:run"]);
      const { body } = await call(undefined, credentials);
      const totals = body["totals"] as Totals;
      assert.deepEqual([totals["queued_only"], totals["active_only"]], [1, 0]);
      assert.deepEqual(body["debug_summary"], {
        at_capacity: false,
        capacity_used_pct: 0,
        can_claim_more: true,
      });
      assert.deepEqual((body["user_info"] as Record<string, unknown>)["settings"], {
        ui: { generationMethods: { inCloud: false } },
      });
      assert.deepEqual(
        (body["queued_tasks"] as { task_id: string }[]).map((task) => task.task_id),
        [task_id],
      );
      assert.equal(body["users"], undefined);
      await sql`update users set settings = '{"ui":{"generationMethods":{"onComputer":false}}}' where id = ${owner.userId}`;
      const { body: turnedOff } = await call({}, credentials);
      assert.deepEqual(
        [
          (turnedOff["totals"] as Totals)["queued_only"],
          (turnedOff["totals"] as Totals)["blocked_by_settings"],
        ],
        [0, 1],
      );
    },
  },
});
