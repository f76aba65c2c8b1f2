import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  claimTask,
  type Credentials,
  personWithProject,
  queueTask,
  service,
  stateOf,
  tokenOf,
} from "../support/calls.ts";
import { type HostUnderTest, startNodeHost } from "../support/hosts.ts";

interface RestAnswer {
  status: number;
  // What PostgREST answers depends on what was asked.
  body: unknown;
}

/** Python's `fromisoformat` before 3.11, by which autoscalers read times: 0, 3 or 6 digits of a fraction. */
const pythonTimestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?\+\d\d:\d\d$/;

describe("what shipped workers and autoscalers say over REST", () => {
  let host: HostUnderTest;
  before(async () => void (host = await startNodeHost()));
  after(() => host?.stop());

  async function rest(
    method: string,
    path: string,
    body: unknown,
    headers: Credentials,
  ): Promise<RestAnswer> {
    const response = await fetch(`${host.apiUrl}/rest/v1/${path}`, {
      method,
      headers: { "content-type": "application/json", prefer: "return=representation", ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
  }

  async function rpc(name: string, body: unknown, headers: Credentials = serviceKey()): Promise<RestAnswer> {
    return await rest("POST", `rpc/${name}`, body, headers);
  }

  /** The client key in `apikey` and nothing else, as the shipped worker's heartbeat is sent. */
  function serviceKey(): Credentials {
    return { apikey: host.keys.serviceRoleKey };
  }

  /** A heartbeat as the shipped worker's guard process writes it. */
  function heartbeat(worker: string, status = "active", logs: unknown = []): Record<string, unknown> {
    return {
      worker_id_param: worker,
      vram_total_mb_param: 24_564,
      vram_used_mb_param: 812.5,
      logs_param: logs,
      status_param: status,
    };
  }

  async function workerRow(worker: string): Promise<Record<string, unknown>> {
    const { body } = await rest("GET", `workers?select=*&id=eq.${worker}`, undefined, serviceKey());
    const [row] = body as Record<string, unknown>[];
    assert.ok(row, `${worker} is registered`);
    return row;
  }

  test("a heartbeat with `apikey` alone, of either service key, registers the worker", async () => {
    for (const apikey of [host.keys.serviceRoleKey, host.keys.secretKey]) {
      const worker = `gpu-${randomUUID()}`;
      const answer = await rpc("func_worker_heartbeat_with_logs", heartbeat(worker), { apikey });
      assert.equal(answer.status, 200);
      assert.equal((answer.body as Record<string, unknown>)["success"], true);
      const row = await workerRow(worker);
      assert.deepEqual(
        [row["instance_type"], row["status"], row["metadata"]],
        ["external", "active", { vram_total_mb: 24_564, vram_used_mb: 813 }],
      );
      for (const field of ["created_at", "last_heartbeat"]) {
        assert.match(String(row[field]), pythonTimestamp, field);
      }
    }
  });

  test("browsers' keys, sessions and access tokens are refused, and leave nothing behind", async () => {
    const person = await personWithProject(host);
    const token = await tokenOf(person);
    const { anonKey, publishableKey, serviceRoleKey } = host.keys;
    for (const [credentials, status] of [
      [{ apikey: anonKey }, 401],
      [{ apikey: publishableKey }, 401],
      [{ apikey: publishableKey, ...person.credentials }, 403],
      [{ apikey: publishableKey, ...token.credentials }, 401],
      [{ apikey: `${serviceRoleKey}x` }, 401],
      [{}, 401],
    ] as [Credentials, number][]) {
      for (const [name, body] of [
        ["func_worker_heartbeat_with_logs", heartbeat("intruder")],
        ["func_update_worker_heartbeat", { worker_id_param: "intruder" }],
        ["func_insert_logs_batch", { logs: [{ message: "intruder" }] }],
      ] as const) {
        assert.equal((await rpc(name, body, credentials)).status, status, name);
      }
    }
    const [{ rows } = { rows: -1 }] = await host.sql<{ rows: number }[]>`
      select (select count(*) from workers where id like '%intruder')::int
             + (select count(*) from system_logs where message = 'intruder')::int as rows`;
    assert.equal(rows, 0);
  });

  test("nothing that a log line or a figure holds makes a heartbeat fail", async () => {
    const worker = `gpu-${randomUUID()}`;
    const stamp = "2026-01-01T00:00:00.123456+00:00";
    const counts = async (logs: unknown, more: Record<string, unknown> = {}) => {
      const { status, body } = await rpc("func_worker_heartbeat_with_logs", {
        ...heartbeat(worker, "active", logs),
        ...more,
      });
      assert.equal(status, 200, JSON.stringify(body));
      const { success, logs_inserted, logs_dropped } = body as Record<string, unknown>;
      assert.equal(success, true);
      return [logs_inserted, logs_dropped];
    };
    const line = { timestamp: stamp, level: "INFO", message: "step 1", task_id: null, metadata: {} };
    assert.deepEqual(await counts([line, line]), [2, 0]);
    assert.deepEqual(await counts([null, 5, "x", [], {}, { message: null }, { message: "" }]), [0, 7]);
    assert.deepEqual(
      await counts([
        { ...line, timestamp: "2026-02-30T00:00:00Z" },
        { ...line, timestamp: 17 },
        { ...line, level: null, task_id: "not-a-uuid" },
        { ...line, message: "x".repeat(50_000) },
        { ...line, metadata: { deep: "y".repeat(50_000) } },
        { ...line, metadata: { huge: 1e300 }, cycle_number: 1e300 },
      ]),
      [6, 0],
    );
    assert.deepEqual(await counts(Array.from({ length: 250 }, () => line)), [100, 150]);
    for (const none of [null, "text", {}, 7]) assert.equal((await counts(none))[0], 0);
    await counts([], { vram_total_mb_param: null, vram_used_mb_param: -5, status_param: "sleepy" });
    const { status, body } = await rpc("func_worker_heartbeat_with_logs", { worker_id_param: worker });
    assert.deepEqual([status, (body as Record<string, unknown>)["status"]], [200, "active"]);
    assert.equal((await rpc("func_worker_heartbeat_with_logs", heartbeat(" "))).status, 400);

    // What an autoscaler asks to find out whether a worker has come up.
    const seen = await rest(
      "GET",
      `system_logs?select=id&source_type=eq.worker&worker_id=eq.${worker}&limit=1`,
      undefined,
      serviceKey(),
    );
    assert.equal((seen.body as unknown[]).length, 1);
  });

  test("a batch of an autoscaler's lines, with its cycle; `errors` counts what was dropped", async () => {
    const line = {
      timestamp: new Date().toISOString(),
      source_type: "orchestrator_gpu",
      source_id: "orchestrator-1",
      log_level: "WARNING",
      message: "scaling down",
      metadata: { idle: 2 },
      cycle_number: 17,
      worker_id: "gpu-20260101_000000-abcdef01",
    };
    const { status, body } = await rpc("func_insert_logs_batch", { logs: [line, {}, line] });
    assert.deepEqual({ status, body }, { status: 200, body: { success: true, inserted: 2, errors: 1 } });
    const { body: rows } = await rest(
      "GET",
      "system_logs?select=source_type,source_id,log_level,message,metadata,cycle_number,worker_id&cycle_number=eq.17&limit=1",
      undefined,
      serviceKey(),
    );
    const { timestamp: _, ...expected } = line;
    assert.deepEqual(rows, [expected]);
  });

  test("crashed: the task of the worker that is gone is queued at once", async () => {
    const person = await personWithProject(host);
    const { task_id } = await queueTask(host, person);
    const worker = `gpu-${randomUUID()}`;
    await rpc("func_worker_heartbeat_with_logs", heartbeat(worker));
    await claimTask(host, service(host), task_id, { worker_id: worker });
    const { body } = await rpc("func_worker_heartbeat_with_logs", heartbeat(worker, "crashed"));
    assert.equal((body as Record<string, unknown>)["status"], "crashed");
    const { status, attempts, error_message } = await stateOf(host, task_id);
    assert.deepEqual([status, attempts, error_message], ["Queued", 1, "worker_crashed"]);
    // Started again under its name, it is as good as new.
    await rpc("func_worker_heartbeat_with_logs", heartbeat(worker));
    assert.equal((await workerRow(worker))["status"], "active");
  });

  test("an autoscaler makes a worker, follows its states, and ends it: its tasks go back, late beats do not revive", async () => {
    const person = await personWithProject(host);
    const { task_id } = await queueTask(host, person);
    const worker = `gpu-${randomUUID()}`;
    const both = { apikey: host.keys.serviceRoleKey, ...service(host) };
    const inserted = await rest(
      "POST",
      "workers",
      {
        id: worker,
        instance_type: "runpod_gpu",
        status: "inactive",
        metadata: { orchestrator_status: "spawning", runpod_id: "p" },
        created_at: "2026-01-01T00:00:00.120000+00:00",
      },
      both,
    );
    assert.equal(inserted.status, 201);
    const patch = (change: Record<string, unknown>) => rest("PATCH", `workers?id=eq.${worker}`, change, both);
    await rpc("func_worker_heartbeat_with_logs", heartbeat(worker, "active", [{ message: "up" }]));
    assert.equal((await patch({ status: "active", metadata: { runpod_id: "p" } })).status, 200);
    await claimTask(host, service(host), task_id, { worker_id: worker });

    const listed = await rest(
      "GET",
      "workers?select=*&status=in.(active,spawning)&order=created_at.desc",
      undefined,
      both,
    );
    const row = (listed.body as Record<string, unknown>[]).find(({ id }) => id === worker);
    assert.deepEqual(
      [row?.["instance_type"], row?.["metadata"]],
      ["runpod_gpu", { runpod_id: "p" }],
      "heartbeats merge into metadata, the autoscaler writes it whole",
    );
    assert.match(String(row?.["created_at"]), pythonTimestamp);

    assert.equal((await patch({ status: "error", metadata: { error_reason: "stuck" } })).status, 200);
    const rescued = await stateOf(host, task_id);
    assert.deepEqual(
      [rescued.status, rescued.attempts, rescued.error_message],
      ["Queued", 1, "worker_error"],
    );
    await rpc("func_worker_heartbeat_with_logs", heartbeat(worker));
    assert.equal((await workerRow(worker))["status"], "error");
    await patch({ status: "terminated" });
    await rpc("func_update_worker_heartbeat", { worker_id_param: worker, vram_total_mb_param: 24_564 });
    const ended = await workerRow(worker);
    assert.deepEqual(
      [ended["status"], ended["metadata"]],
      ["terminated", { error_reason: "stuck", vram_total_mb: 24_564, vram_used_mb: 813 }],
    );
  });

  test("an autoscaler and a dying worker put tasks back over REST; a duplicate is deleted", async () => {
    const person = await personWithProject(host);
    const worker = `gpu-${randomUUID()}`;
    const both = { apikey: host.keys.serviceRoleKey, ...service(host) };
    await rpc("func_worker_heartbeat_with_logs", heartbeat(worker));
    const { task_id } = await queueTask(host, person);
    await claimTask(host, service(host), task_id, { worker_id: worker });

    const running = await rest(
      "GET",
      `tasks?select=id,params,task_type,project_id&worker_id=eq.${worker}&status=eq.In%20Progress&limit=1`,
      undefined,
      both,
    );
    assert.deepEqual(
      (running.body as Record<string, unknown>[]).map(({ id }) => id),
      [task_id],
    );
    const stuck = await rest(
      "GET",
      `tasks?select=*&status=eq.In%20Progress&worker_id=not.is.null&worker_id=like.gpu-*&updated_at=lt.2100-01-01T00:00:00&generation_started_at=not.is.null&attempts=lt.3`,
      undefined,
      both,
    );
    assert.ok((stuck.body as Record<string, unknown>[]).some(({ id }) => id === task_id));
    for (const field of ["created_at", "updated_at", "generation_started_at"]) {
      const [row] = (stuck.body as Record<string, unknown>[]).filter(({ id }) => id === task_id);
      assert.match(String(row?.[field]), /^\d{4}-\d\d-\d\dT/, field);
    }

    const reset = await rest(
      "PATCH",
      `tasks?id=eq.${task_id}`,
      {
        status: "Queued",
        worker_id: null,
        generation_started_at: null,
        generation_processed_at: null,
        error_message: "Reset by orchestrator: worker died",
        updated_at: new Date().toISOString(),
      },
      both,
    );
    assert.equal(reset.status, 200);
    const [row] = reset.body as Record<string, unknown>[];
    assert.deepEqual(
      [row?.["status"], row?.["worker_id"], row?.["attempts"], row?.["error_message"]],
      ["Queued", null, 1, "Reset by orchestrator: worker died"],
    );

    await claimTask(host, service(host), task_id, { worker_id: worker });
    const dying = await rest(
      "PATCH",
      `tasks?id=eq.${task_id}&worker_id=eq.${worker}&status=eq.In%20Progress`,
      { status: "Queued", worker_id: null, generation_started_at: null, error_details: "CUDA error" },
      both,
    );
    assert.deepEqual([dying.status, (dying.body as unknown[]).length], [200, 1]);
    const { status, attempts, error_message } = await stateOf(host, task_id);
    assert.deepEqual([status, attempts, error_message], ["Queued", 2, "CUDA error"]);

    const deleted = await rest("DELETE", `tasks?id=eq.${task_id}`, undefined, both);
    assert.deepEqual([deleted.status, (deleted.body as unknown[]).length], [200, 1]);
    const [books] =
      await host.sql`select held_microusd::int as held from credit_accounts where user_id = ${person.userId}`;
    assert.equal(books?.["held"], 0);
  });
});
