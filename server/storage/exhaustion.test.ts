import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { createStorage } from "../../supabase/functions/_shared/media/storage.ts";
import { withDatabase } from "../../test/support/database.ts";
import { png } from "../../test/support/png.ts";
import { smallDiskIsImpossible, withSmallDisk } from "../../test/support/small-disk.ts";
import { projectPath } from "../migrate.ts";
import { exhaustionOf } from "./errors.ts";
import { withStorage } from "./storage-under-test.ts";

const kilobyte = 1024;
const run = promisify(execFile);

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
    .sort();
}

test(
  "a full disk refuses uploads with 503 and Retry-After, leaves no part of a file, and serves on",
  { skip: smallDiskIsImpossible() },
  () =>
    withSmallDisk(1024 * kilobyte, (folder) =>
      withStorage(
        async ({ url, service, serviceHeaders, context }) => {
          const bucket = service.storage.from("image_uploads");
          const large = Buffer.concat([png(), Buffer.alloc(2048 * kilobyte)]);
          const half = Buffer.concat([png(), Buffer.alloc(600 * kilobyte)]);
          assert.equal((await bucket.upload("task_outputs/half.png", half)).error, null);
          const before = await filesBelow(folder);

          const signed = await bucket.createSignedUploadUrl("task_outputs/signed.png");
          assert.ok(signed.data);
          const form = new FormData();
          form.append("", new Blob([large], { type: "image/png" }));
          const json = { ...serviceHeaders, "content-type": "application/json" };
          const copy = {
            bucketId: "image_uploads",
            sourceKey: "task_outputs/half.png",
            destinationKey: "task_outputs/copy.png",
          };
          const image = { ...serviceHeaders, "content-type": "image/png" };
          const ways: Record<string, [string, RequestInit]> = {
            post: [`${url}/object/image_uploads/task_outputs/a.png`, { headers: image, body: large }],
            form: [`${url}/object/image_uploads/task_outputs/b.png`, { headers: serviceHeaders, body: form }],
            signed: [signed.data.signedUrl, { method: "PUT", headers: image, body: large }],
            copy: [`${url}/object/copy`, { headers: json, body: JSON.stringify(copy) }],
          };
          for (const [way, [address, init]] of Object.entries(ways)) {
            const response = await fetch(address, { method: "POST", ...init });
            const body = (await response.json()) as { error: string };
            assert.deepEqual(
              { status: response.status, error: body.error },
              { status: 503, error: "storage_full" },
              way,
            );
            assert.equal(response.headers.get("retry-after"), "30", way);
          }
          // What complete_task stores a file with.
          const { keys, apiUrl } = context;
          const functions = createStorage({ publicUrl: apiUrl, serviceKey: keys.serviceRoleKey });
          await assert.rejects(functions.upload("task_outputs/c.png", large, "image/png"), {
            code: "storage_unavailable",
            status: 503,
          });

          assert.deepEqual(await filesBelow(folder), before);
          assert.equal((await bucket.upload("task_outputs/small.png", png())).error, null);
          assert.equal((await bucket.download("task_outputs/half.png")).error, null);
        },
        undefined,
        folder,
      ),
    ),
);

test("a process without file descriptors answers 503 with Retry-After, and serves when it has some again", () =>
  withDatabase(async ({ url }) => {
    const folder = await mkdtemp(path.join(tmpdir(), "darkroom-descriptors-"));
    try {
      const script = projectPath("test/support/storage-without-descriptors.ts");
      const limited = 'ulimit -n 128 && exec "$0" --import tsx "$@"';
      const { stdout } = await run("sh", ["-c", limited, process.execPath, script, url, folder], {
        cwd: projectPath(""),
      });
      const { outcomes, incoming } = JSON.parse(stdout) as {
        outcomes: Record<string, { status: number; error?: string; retryAfter: string | null }>;
        incoming: string[];
      };
      const exhausted = { status: 503, error: "too_many_open_files", retryAfter: "2" };
      assert.equal(outcomes["before"]?.status, 200);
      assert.deepEqual(outcomes["upload"], exhausted);
      assert.deepEqual(outcomes["download"], exhausted);
      assert.equal(outcomes["after"]?.status, 200);
      assert.equal(outcomes["downloadAfter"]?.status, 200);
      assert.deepEqual(incoming, []);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }));

test("quota and the system's own limit on files mean the same, however deep they lie", () => {
  const failure = (code: string) =>
    new Error("write failed", { cause: Object.assign(new Error(code), { code }) });
  const codes = ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EACCES"].map(
    (code) => exhaustionOf(failure(code))?.code,
  );
  assert.deepEqual(codes, ["StorageFull", "StorageFull", "TooManyOpenFiles", "TooManyOpenFiles", undefined]);
});
