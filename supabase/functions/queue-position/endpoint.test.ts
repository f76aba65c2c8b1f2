import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { claim, complete, emptyQueue, queueTask, setStatus } from "../../../test/support/factories.ts";
import { queuePositionEndpoint } from "./endpoint.ts";

describeEndpoint(queuePositionEndpoint, {
  async accepted(under) {
    const person = await under.person();
    return { body: { task_id: await queueTask(under.sql, person) }, credentials: person.session };
  },
  cases: {
    "200: places by priority, then age; no estimate without workers or run times": async ({
      sql,
      call,
      person,
    }) => {
      await emptyQueue(sql);
      const owner = await person();
      const old = await queueTask(sql, owner);
      const young = await queueTask(sql, owner);
      const urgent = await queueTask(sql, owner, { priority: 1 });
      const places = [];
      for (const task_id of [urgent, old, young]) {
        const { body } = await call({ task_id }, owner.session);
        places.push([body["position"], body["tasks_ahead"]]);
        assert.deepEqual([body["estimated_start_seconds"], body["reason"]], [null, "no_workers"]);
      }
      assert.deepEqual(places, [
        [1, 0],
        [2, 1],
        [3, 2],
      ]);
    },
    "200: an estimate from workers and run times, later for who stands behind, never before other users' turns":
      async ({ sql, call, person }) => {
        await emptyQueue(sql);
        const [owner, other] = [await person(), await person()];
        for (const [index, seconds] of [10, 12, 14, 60].entries()) {
          const task_id = await queueTask(sql, other);
          await claim(sql, `w${index}`);
          await sql`update tasks set generation_started_at = now() - make_interval(secs => ${seconds}) where id = ${task_id}`;
          await complete(sql, task_id);
        }
        await sql`update workers set last_heartbeat = now(), status = 'active'`;
        await sql`delete from workers where id not in ('w0', 'w1')`;
        for (let task = 0; task < 5; task++) await queueTask(sql, other);
        const mine = [];
        for (let task = 0; task < 5; task++) mine.push(await queueTask(sql, owner));
        const answers = [];
        for (const task_id of mine) answers.push((await call({ task_id }, owner.session)).body);
        assert.deepEqual(
          answers.map((answer) => answer["tasks_ahead"]),
          [1, 3, 5, 7, 9],
        );
        const estimates = answers.map(
          (answer) => answer["estimated_start_seconds"] as { p50: number; p90: number },
        );
        for (const [index, { p50, p90 }] of estimates.entries()) {
          assert.ok(p90 >= p50, "p90 is not before p50");
          if (index > 0) assert.ok(p50 > (estimates[index - 1]?.p50 ?? 0), "whoever is behind starts later");
        }
        // One ahead for two idle workers: at once. Nine ahead of it, 24 s each on average, for two workers.
        assert.ok((estimates[0]?.p50 ?? 99) < 30);
        const last = estimates[4]?.p50 ?? 0;
        assert.ok(last > 60 && last < 200, `${last}`);
        assert.equal((answers[0]?.["based_on"] as Record<string, number>)["run_time_samples"], 4);
      },
    "200: says why a task cannot start, and what has started or ended": async ({ sql, call, person }) => {
      await emptyQueue(sql);
      const owner = await person();
      const position = async (task_id: string) => (await call({ task_id }, owner.session)).body;
      const first = await queueTask(sql, owner);
      const dependant = await queueTask(sql, owner, { dependantOn: [first] });
      const later = await queueTask(sql, owner, { runAfter: new Date(Date.now() + 60_000) });
      assert.equal((await position(dependant))["reason"], "blocked_by_dependency");
      assert.equal((await position(later))["reason"], "scheduled");
      assert.ok((await position(later))["run_after"]);
      await sql`update users set settings = '{"ui":{"generationMethods":{"inCloud":false,"onComputer":false}}}'
                 where id = ${owner.userId}`;
      assert.equal((await position(first))["reason"], "generation_is_off");
      await sql`update users set settings = '{}' where id = ${owner.userId}`;
      await claim(sql, "w");
      const running = await position(first);
      assert.deepEqual(
        [running["status"], running["reason"], running["position"]],
        ["In Progress", "running", null],
      );
      await setStatus(sql, first, "Failed", { worker: "w" });
      assert.deepEqual(
        [(await position(first))["reason"], (await position(first))["status"]],
        ["ended", "Failed"],
      );
    },
    "404 task_not_found: another's task is like none": async ({ sql, call, person }) => {
      const task_id = await queueTask(sql, await person());
      const stranger = await person();
      const [foreign, none] = [
        await call({ task_id }, stranger.session),
        await call({ task_id: randomUUID() }, stranger.session),
      ];
      assert.equal(foreign.status, 404);
      const withoutId = ({ request_id: _id, ...body }: Record<string, unknown>) => body;
      assert.deepEqual(withoutId(foreign.body), withoutId(none.body));
    },
  },
});
