import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { complete, queueTask, setStatus } from "../../../test/support/factories.ts";
import { requeued, running } from "../../../test/support/runs.ts";
import { storageThatFails } from "../../../test/support/storage-that-fails.ts";
import { generateUploadUrlEndpoint } from "./endpoint.ts";

const file = { filename: "output.png", content_type: "image/png" };

describeEndpoint(generateUploadUrlEndpoint, {
  async accepted(under) {
    const { person, task_id, worker } = await running(under, { byOwner: true });
    const { credentials } = await person.token(["tasks:run"]);
    return { body: { task_id, worker_id: worker, attempt: 1, ...file }, credentials };
  },
  cases: {
    "200: absolute URLs into the task's own folder, with a thumbnail when asked for": async (under) => {
      const { person, task_id } = await running(under);
      const body = { task_id, ...file, filename: "../../étranger/out put.png", generate_thumbnail_url: true };
      const { body: answer } = await under.call(body, under.service);
      const folder = `${person.userId}/tasks/${task_id}/`;
      const [path, thumbnail] = [answer["storage_path"], answer["thumbnail_storage_path"]].map(String);
      assert.match(path?.slice(folder.length) ?? "", /^1-[0-9a-f]{32}-out_put\.png$/);
      assert.match(
        thumbnail?.slice(folder.length) ?? "",
        /^thumbnails\/1-[0-9a-f]{32}-thumb_\d+_[0-9a-f]{6}\.jpg$/,
      );
      assert.ok(path?.startsWith(folder) && thumbnail?.startsWith(folder));
      for (const name of ["upload_url", "thumbnail_upload_url"]) {
        assert.match(
          String(answer[name]),
          /^http:\/\/darkroom\.test\/storage\/v1\/object\/upload\/sign\/.*\?token=/,
        );
      }
      const without = await under.call({ task_id, ...file }, under.service);
      assert.equal(without.body["thumbnail_upload_url"], undefined);
      assert.notEqual(without.body["storage_path"], path, "each file has a secret of its own");
    },
    "404 task_not_found: unknown and foreign alike": async (under) => {
      const { task_id } = await running(under);
      const { credentials } = await (await under.person()).token();
      for (const id of [randomUUID(), task_id]) {
        await under.refused("task_not_found", { task_id: id, ...file }, credentials);
      }
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
      const { body } = await under.refused("task_cancelled", { task_id, ...file }, under.service);
      assert.deepEqual([body["current_status"], body["allowed_transitions"]], ["Cancelled", []]);
    },
    "409 task_not_running: queued, requeued or complete": async (under) => {
      const done = await running(under);
      await complete(under.sql, done.task_id);
      const again = await requeued(under);
      const queued = await queueTask(under.sql, await under.person());
      for (const task_id of [queued, again.task_id, done.task_id]) {
        await under.refused("task_not_running", { task_id, ...file }, under.service);
      }
    },
    "503 storage_unavailable": async (under) => {
      const { task_id } = await running(under);
      for (const storage of storageThatFails()) {
        const options = { environment: { storage } };
        const answer = await under.refused(
          "storage_unavailable",
          { task_id, ...file },
          under.service,
          options,
        );
        assert.doesNotMatch(answer.text, /refused by the test/);
      }
    },
  },
});
