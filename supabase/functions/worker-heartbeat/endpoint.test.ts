import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { claim, queueTask, setStatus } from "../../../test/support/factories.ts";
import { requeued, running } from "../../../test/support/runs.ts";
import { workerHeartbeatEndpoint } from "./endpoint.ts";

interface RunState {
  task_id: string;
  state: string;
  attempt: number | null;
  lease_expires_at: string | null;
}

describeEndpoint(workerHeartbeatEndpoint, {
  async accepted(under) {
    const { task_id, worker, person } = await running(under, { byOwner: true });
    const { credentials } = await person.token(["tasks:run"]);
    return {
      body: {
        worker_id: worker,
        status: "active",
        current_model: "qwen",
        vram_total_mb: 24_000,
        vram_used_mb: 11.5,
        tasks: [{ task_id, attempt: 1 }],
        logs: [{ timestamp: new Date().toISOString(), level: "INFO", message: "loaded" }],
        metadata: { driver: "580" },
      },
      credentials,
    };
  },
  cases: {
    "200: what became of each run that is named, in their order": async (under) => {
      const { call, service, sql } = under;
      const run = await running(under);
      const [cancelled, failed, ofAnother] = [
        await running(under),
        await running(under),
        await running(under),
      ];
      await setStatus(sql, cancelled.task_id, "Cancelled");
      await setStatus(sql, failed.task_id, "Failed");
      const lost = await requeued(under);
      const missing = randomUUID();
      const tasks = [run, lost, cancelled, failed, ofAnother, { task_id: missing, attempt: 1 }];
      const { body } = await call(
        { worker_id: run.worker, tasks: tasks.map(({ task_id, attempt }) => ({ task_id, attempt })) },
        service,
      );
      const states = body["tasks"] as RunState[];
      assert.deepEqual(
        states.map(({ task_id, state }) => [task_id, state]),
        [
          [run.task_id, "running"],
          [lost.task_id, "stale"],
          [cancelled.task_id, "cancelled"],
          [failed.task_id, "ended"],
          [ofAnother.task_id, "stale"],
          [missing, "unknown"],
        ],
      );
      assert.ok(states[0]?.lease_expires_at);
      assert.ok(states.slice(1).every(({ lease_expires_at }) => lease_expires_at === null));
    },
    "200: to a token, another user's task is as unknown as none": async (under) => {
      const own = await running(under, { byOwner: true });
      const foreign = await running(under);
      const { credentials } = await own.person.token(["tasks:run"]);
      const ask = async (task_id: string) => {
        const { body } = await under.call({ worker_id: own.worker, tasks: [{ task_id }] }, credentials);
        return { ...(body["tasks"] as RunState[])[0], task_id: "the same" };
      };
      assert.deepEqual(await ask(foreign.task_id), await ask(randomUUID()));
      assert.equal((await ask(own.task_id)).state, "running");
    },
    "200: an owner's worker keeps the model it reports, and claims for it": async ({ call, person, sql }) => {
      const owner = await person();
      await queueTask(sql, owner, { params: { prompt: "a", model: "flux" } });
      const wanted = await queueTask(sql, owner, { params: { prompt: "b", model: "z_image" } });
      const { credentials } = await owner.token(["tasks:run"]);
      const { body } = await call({ worker_id: "home", current_model: " z_image " }, credentials);
      assert.deepEqual([body["worker_id"], body["current_model"]], ["home", "z_image"]);
      assert.equal((await claim(sql, "home", owner.userId))?.task_id, wanted);
      const kept = await call({ worker_id: "home" }, credentials);
      assert.equal(kept.body["current_model"], "z_image");
      const forgotten = await call({ worker_id: "home", current_model: null }, credentials);
      assert.equal(forgotten.body["current_model"], null);
    },
    "200: log lines of any kind; those that are none are dropped": async ({ call, service, sql }) => {
      const worker_id = `worker-${randomUUID()}`;
      const logs = [
        { message: "NUL \0 in it", level: "shouting", timestamp: "yesterday" },
        null,
        "text",
        { level: "INFO" },
        { message: { an: "object" }, level: "warn", task_id: "none", metadata: [] },
      ];
      const { body } = await call({ worker_id, logs }, service);
      assert.deepEqual([body["logs_inserted"], body["logs_dropped"]], [2, 3]);
      const half = [{ message: "half a character \ud800" }, { message: "whole" }];
      const { body: second } = await call({ worker_id, logs: half }, service);
      assert.deepEqual([second["logs_inserted"], second["logs_dropped"]], [1, 1]);
      const written = await sql`
        select log_level, message, task_id from system_logs where worker_id = ${worker_id} order by id`;
      assert.deepEqual(
        written.map((line) => ({ ...line })),
        [
          { log_level: "INFO", message: "NUL  in it", task_id: null },
          { log_level: "WARNING", message: '{"an": "object"}', task_id: null },
          { log_level: "INFO", message: "whole", task_id: null },
        ],
      );
    },
    "200: crashed gives the task back at once, and the run is told so": async (under) => {
      const run = await running(under);
      const { body } = await under.call(
        { worker_id: run.worker, status: "crashed", tasks: [{ task_id: run.task_id, attempt: run.attempt }] },
        under.service,
      );
      assert.equal(body["status"], "crashed");
      assert.deepEqual(
        (body["tasks"] as RunState[]).map(({ state }) => state),
        ["stale"],
      );
      const [task] =
        await under.sql`select status, attempts, error_message from tasks where id = ${run.task_id}`;
      assert.deepEqual({ ...task }, { status: "Queued", attempts: 1, error_message: "worker_crashed" });
    },
    "400 invalid_request: no worker, a status that there is none of, too much": async ({
      refused,
      service,
    }) => {
      const many = (count: number) => Array.from({ length: count }, () => ({ task_id: randomUUID() }));
      for (const body of [
        {},
        { worker_id: " " },
        { worker_id: "w", status: "asleep" },
        { worker_id: "w", tasks: many(51) },
        { worker_id: "w", tasks: [{ task_id: "none" }] },
        { worker_id: "w", logs: many(101) },
        { worker_id: "w", metadata: { long: "x".repeat(9000) } },
        { worker_id: "w", vram_used_mb: -1 },
      ]) {
        await refused("invalid_request", body, service);
      }
    },
  },
});
