import assert from "node:assert/strict";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import { complete, setStatus } from "../../../test/support/factories.ts";
import { png } from "../../../test/support/png.ts";
import { running } from "../../../test/support/runs.ts";
import { storageThatFails } from "../../../test/support/storage-that-fails.ts";
import { prepareOutput } from "../_shared/media/prepare-output.ts";
import { deleteAbandonedFilesEndpoint } from "./endpoint.ts";

/** A file that a run has stored, and that nobody has looked at since. */
async function storedFile(under: EndpointUnderTest): Promise<{ taskId: string; path: string }> {
  const { task_id: taskId, attempt } = await running(under);
  const { database, storage } = under.environment;
  const run = { taskId, attempt, workerId: undefined };
  const prepared = await prepareOutput(database, { kind: "service" }, run, { fileNames: ["output.png"] });
  const [path] = "paths" in prepared ? prepared.paths : [];
  assert.ok(path);
  await storage.upload(path, png(), "image/png");
  await isDue(under, path);
  return { taskId, path };
}

async function isDue({ sql }: EndpointUnderTest, path: string): Promise<void> {
  await sql`update output_files set check_at = now() where path = ${path} and check_at is not null`;
}

async function isStored({ sql }: EndpointUnderTest, path: string): Promise<boolean> {
  return (await sql`select from storage.objects where name = ${path}`).length === 1;
}

describeEndpoint(deleteAbandonedFilesEndpoint, {
  accepted: ({ service }) => Promise.resolve({ body: {}, credentials: service }),
  cases: {
    "200: files of ended runs go, those of runs under way and of complete ones stay": async (under) => {
      const [running, ended, done] = [
        await storedFile(under),
        await storedFile(under),
        await storedFile(under),
      ];
      await setStatus(under.sql, ended.taskId, "Failed");
      await complete(under.sql, done.taskId);
      await under.sql`
        update output_files set delivered_at = now(), check_at = null where path = ${done.path}`;
      const { body } = await under.call({}, under.service);
      assert.deepEqual(body, { deleted: 1, more: false });
      assert.deepEqual(await Promise.all([running, ended, done].map(({ path }) => isStored(under, path))), [
        true,
        false,
        true,
      ]);
      await isDue(under, running.path);
      assert.equal((await under.call({}, under.service)).body["deleted"], 0);
    },
    "200: more than a batch of files, by several callers at once, each once": async (under) => {
      const { taskId, path } = await storedFile(under);
      await setStatus(under.sql, taskId, "Cancelled");
      await under.sql`
        insert into output_files (path, task_id, attempt, check_at)
        select ${path} || number, ${taskId}, 1, now() from generate_series(1, 1200) as number`;
      const answers = await Promise.all([1, 2, 3, 4].map(() => under.call({}, under.service)));
      const deleted = answers.reduce((sum, { body }) => sum + Number(body["deleted"]), 0);
      assert.equal(deleted, 1201);
      assert.equal(await isStored(under, path), false);
      const left = await under.sql`select from output_files where task_id = ${taskId}`;
      assert.equal(left.length, 0, "without an upload URL, no row stays");
    },
    "503 storage_unavailable: the files are marked, and tried again": async (under) => {
      for (const storage of storageThatFails()) {
        const { taskId, path } = await storedFile(under);
        await setStatus(under.sql, taskId, "Failed");
        await under.refused("storage_unavailable", {}, under.service, { environment: { storage } });
        assert.equal(await isStored(under, path), true);
        assert.equal((await under.call({}, under.service)).body["deleted"], 0, "not before ten minutes");
        await isDue(under, path);
        assert.equal((await under.call({}, under.service)).body["deleted"], 1);
        assert.equal(await isStored(under, path), false);
      }
    },
  },
});
