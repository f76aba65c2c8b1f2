import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { png } from "../../../test/support/png.ts";
import { requeued, running } from "../../../test/support/runs.ts";
import { storageThatFails } from "../../../test/support/storage-that-fails.ts";
import { completeTaskEndpoint } from "./endpoint.ts";

const file = { filename: "output.png", file_data: Buffer.from(png()).toString("base64") };

describeEndpoint(completeTaskEndpoint, {
  async accepted(under) {
    const { person, task_id, worker } = await running(under, { byOwner: true });
    const { credentials } = await person.token(["tasks:run"]);
    return { body: { task_id, worker_id: worker, attempt: 1, ...file }, credentials };
  },
  cases: {
    "200: stored, and the same answer for a repeat": async (under) => {
      const { person, task_id, worker, attempt } = await running(under);
      const frame = { first_frame_data: file.file_data, first_frame_filename: "thumb.jpg" };
      const body = { task_id, worker_id: worker, attempt, ...file, ...frame };
      const first = await under.call(body, under.service);
      const folder = `/storage/v1/object/public/image_uploads/${person.userId}/tasks/${task_id}`;
      assert.ok(String(first.body["public_url"]).endsWith(`${folder}/1-output.png`), first.text);
      assert.ok(String(first.body["thumbnail_url"]).endsWith(`${folder}/thumbnails/1-thumb.jpg`), first.text);
      assert.equal(first.body["cost_microusd"], 6_500);
      assert.deepEqual((await under.call(body, under.service)).body, first.body);
    },
    "400 invalid_request: no file, half a thumbnail, no base64": async (under) => {
      const { task_id } = await running(under);
      for (const body of [
        { task_id },
        { task_id, filename: "output.png" },
        { task_id, ...file, first_frame_data: file.file_data },
        { task_id, ...file, first_frame_filename: "thumb.jpg" },
        { task_id, ...file, file_data: "data:image/png;base64,AAAA" },
        { task_id, ...file, file_data: "AAA" },
        { task_id: "1", ...file },
      ]) {
        await under.refused("invalid_request", body, under.service);
      }
    },
    "400 invalid_output: a file that storage does not take": async (under) => {
      const { task_id } = await running(under);
      // From its header alone: a picture of 40,000 by 40,000.
      const bomb = Buffer.from(png());
      bomb.writeUInt32BE(40_000, 16);
      bomb.writeUInt32BE(40_000, 20);
      const body = { task_id, filename: "bomb.png", file_data: bomb.toString("base64") };
      await under.refused("invalid_output", body, under.service);
    },
    "403 forbidden: a file in another task's folder": async (under) => {
      const [mine, other] = [await running(under), await running(under)];
      const storage_path = `${other.person.userId}/tasks/${other.task_id}/1-output.png`;
      await under.refused("forbidden", { task_id: mine.task_id, storage_path }, under.service);
    },
    "404 task_not_found: unknown and foreign alike": async (under) => {
      const { task_id } = await running(under);
      const { credentials } = await (await under.person()).token();
      for (const id of [randomUUID(), task_id]) {
        await under.refused("task_not_found", { task_id: id, ...file }, credentials);
      }
    },
    "404 output_not_found: a file that was not uploaded": async (under) => {
      const { person, task_id } = await running(under);
      const storage_path = `${person.userId}/tasks/${task_id}/1-output.png`;
      const { body } = await under.refused("output_not_found", { task_id, storage_path }, under.service);
      assert.equal(body["path"], storage_path);
    },
    "409 stale_attempt: another attempt, another worker, another kind of caller": async (under) => {
      const { person, task_id } = await running(under);
      const { credentials } = await person.token();
      await under.refused("stale_attempt", { task_id, ...file, attempt: 2 }, under.service);
      await under.refused("stale_attempt", { task_id, ...file, worker_id: "other" }, under.service);
      await under.refused("stale_attempt", { task_id, ...file }, credentials);
    },
    "409 task_cancelled": async (under) => {
      const { task_id } = await running(under);
      await setStatus(under.sql, task_id, "Cancelled");
      await under.refused("task_cancelled", { task_id, ...file }, under.service);
    },
    "409 task_not_running: queued, requeued or failed": async (under) => {
      const failed = await running(under);
      await setStatus(under.sql, failed.task_id, "Failed");
      const again = await requeued(under);
      const queued = await queueTask(under.sql, await under.person());
      for (const task_id of [queued, again.task_id, failed.task_id]) {
        const { body } = await under.refused("task_not_running", { task_id, ...file }, under.service);
        assert.ok(body["current_status"]);
      }
    },
    "503 storage_unavailable: the task stays with its worker": async (under) => {
      const { task_id } = await running(under);
      for (const storage of storageThatFails()) {
        const options = { environment: { storage } };
        await under.refused("storage_unavailable", { task_id, ...file }, under.service, options);
      }
      assert.equal((await under.call({ task_id, ...file }, under.service)).status, 200);
    },
    "a worker that holds the lease is not told to wait": async (under) => {
      const { person, task_id } = await running(under, { byOwner: true });
      const { credentials } = await person.token();
      const options = { contract: { requestsPerMinute: 1 } };
      await under.refused("invalid_request", { task_id: 5 }, credentials, options);
      await under.refused("rate_limited", { task_id: 5 }, credentials, options);
      assert.equal((await under.call({ task_id, ...file }, credentials, options)).status, 200);
    },
  },
});
