import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { startHost } from "../../server/host.ts";
import {
  bearer,
  claim,
  type Credentials,
  invoke,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  type TaskState,
  tokenOf,
} from "../support/calls.ts";
import { withDatabase } from "../support/database.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";

for (const { name, start } of hosts) {
  describe(`long polls on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    /** Resolves when this worker's claim has found nothing: its first look makes the worker known. */
    async function hasLooked(worker: string): Promise<void> {
      for (;;) {
        const rows = await host.sql`select from workers where id = ${worker}`;
        if (rows.length > 0) return;
        await pause(10);
      }
    }

    function longClaim(worker: string, credentials: Credentials, seconds: number, signal?: AbortSignal) {
      return fetch(`${host.apiUrl}/functions/v1/claim-next-task`, {
        method: "POST",
        headers: { "content-type": "application/json", ...credentials },
        body: JSON.stringify({ worker_id: worker, wait_seconds: seconds }),
        ...(signal && { signal }),
      });
    }

    test("204 when the time is over, not before", async () => {
      const begun = performance.now();
      const answer = await longClaim("patient", service(host), 1);
      assert.equal(answer.status, 204);
      const seconds = (performance.now() - begun) / 1000;
      assert.ok(seconds >= 1 && seconds < 3, `${seconds} s`);
      await refused(
        post(host, "claim-next-task", { wait_seconds: 51 }, service(host)),
        400,
        "invalid_request",
      );
    });

    test("a task that is created while a worker waits goes to it: to the cloud's, and to its owner's", async () => {
      const person = await personWithProject(host);
      const token = await tokenOf(person);
      for (const [worker, row, credentials] of [
        ["cloud", "cloud", service(host)],
        ["own", `${person.userId}:own`, token.credentials],
      ] as const) {
        const waiting = longClaim(worker, credentials, 20);
        await hasLooked(row);
        const begun = performance.now();
        const { task_id } = await queueTask(host, person);
        const answer = await waiting;
        assert.equal(answer.status, 200);
        assert.equal(((await answer.json()) as { task_id: string }).task_id, task_id);
        assert.ok(performance.now() - begun < 5_000);
        await post(host, "update-task-status", { task_id, status: "Cancelled" }, person.credentials);
      }
    });

    test("a worker that hung up while it waited takes no task from the next", async () => {
      const person = await personWithProject(host);
      const client = new AbortController();
      const gone = longClaim("gone", service(host), 40, client.signal);
      await hasLooked("gone");
      client.abort();
      await assert.rejects(gone, { name: "AbortError" });
      const { task_id } = await queueTask(host, person);
      // Longer than a request that is still held takes to look.
      await pause(host.name === "Node" ? 500 : 2_600);
      const [task] = await host.sql`select status, attempt from tasks where id = ${task_id}`;
      assert.deepEqual({ ...task }, { status: "Queued", attempt: 0 });
      assert.equal((await claim(host, service(host)))?.task_id, task_id);
    });

    test("a token that is revoked while its worker waits gets 401 and no task", async () => {
      const person = await personWithProject(host);
      const token = await tokenOf(person);
      const waiting = longClaim("w", bearer(token.token), 40);
      await hasLooked(`${person.userId}:w`);
      const { status } = await invoke(person, "revoke-pat", { token_id: token.id });
      assert.equal(status, 200);
      const { task_id } = await queueTask(host, person);
      assert.equal((await waiting).status, 401);
      assert.equal((await claim(host, service(host)))?.task_id, task_id);
    });

    test("a worker learns of a cancel, and an app of it too, by waiting for another status", async () => {
      const person = await personWithProject(host);
      const { task_id } = await queueTask(host, person);
      assert.equal((await claim(host, service(host)))?.task_id, task_id);
      const ask = (credentials: Credentials) =>
        post<TaskState>(
          host,
          "get-task-status",
          { task_id, wait_seconds: 40, while_status: "In Progress" },
          credentials,
        );
      const asking = [ask(service(host)), ask(person.credentials)];
      await pause(300);
      const begun = performance.now();
      await post(host, "update-task-status", { task_id, status: "Cancelled" }, person.credentials);
      for (const { status, body } of await Promise.all(asking)) {
        assert.deepEqual([status, body.status], [200, "Cancelled"]);
      }
      assert.ok(performance.now() - begun < 5_000);
      const stranger = await personWithProject(host);
      assert.equal((await ask(stranger.credentials)).status, 404);
    });
  });
}

test("a host that stops answers those who wait at once, with 204", () =>
  withDatabase(async (database) => {
    const folder = await mkdtemp(path.join(tmpdir(), "darkroom-drain-"));
    const host = await startHost({ port: 0, databaseUrl: database.url, dataDirectory: folder });
    try {
      const waits = Array.from({ length: 20 }, (_, number) =>
        fetch(`${host.apiUrl}/functions/v1/claim-next-task`, {
          method: "POST",
          headers: { authorization: `Bearer ${host.keys.serviceRoleKey}` },
          body: JSON.stringify({ worker_id: `w${number}`, wait_seconds: 50 }),
        }),
      );
      for (let known = 0; known < 20; known = (await database.sql`select from workers`).length)
        await pause(10);
      const begun = performance.now();
      await host.stop();
      const seconds = (performance.now() - begun) / 1000;
      for (const wait of waits) assert.equal((await wait).status, 204);
      assert.ok(seconds < 3, `stopped in ${seconds} s`);
    } finally {
      await host.stop();
      await rm(folder, { recursive: true, force: true });
    }
  }));
