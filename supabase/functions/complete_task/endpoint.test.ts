import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint, type EndpointUnderTest } from "../../../test/support/endpoint-suite.ts";
import type { PersonUnderTest } from "../../../test/support/environment.ts";
import { queueTask, setStatus } from "../../../test/support/factories.ts";
import { film } from "../../../test/support/film.ts";
import { png } from "../../../test/support/png.ts";
import { requeued, running } from "../../../test/support/runs.ts";
import { createStorage } from "../_shared/media/storage.ts";
import { storageThatFails } from "../../../test/support/storage-that-fails.ts";
import { completeTaskEndpoint } from "./endpoint.ts";

const clip = { filename: "output.mp4", file_data: Buffer.from(film()).toString("base64") };
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
      const [output, thumbnail] = [first.body["public_url"], first.body["thumbnail_url"]].map(String);
      assert.match(output ?? "", new RegExp(`${folder}/1-[0-9a-f]{32}-output\\.png$`));
      assert.match(thumbnail ?? "", new RegExp(`${folder}/thumbnails/1-[0-9a-f]{32}-thumb\\.jpg$`));
      assert.equal(first.body["cost_microusd"], 6_500);
      assert.deepEqual((await under.call(body, under.service)).body, first.body);
    },
    "200: further files become variants, with what is known of each; unknown facts are not kept": async (
      under,
    ) => {
      const { person, task_id, attempt } = await running(under, { params: { prompt: "a", num_images: 2 } });
      const folder = `${person.userId}/tasks/${task_id}`;
      await under.environment.storage.upload(`${folder}/1-second.png`, png({ colour: 7 }), "image/png");
      const body = {
        task_id,
        attempt,
        ...file,
        output_facts: { seed: 5, has_nsfw_concepts: false, shot_id: "not a fact" },
        more_outputs: [{ storage_path: `${folder}/1-second.png`, output_facts: { has_nsfw_concepts: true } }],
      };
      const { body: answer } = await under.call(body, under.service);
      const [more] = answer["more_outputs"] as { output_location: string; variant_id: string }[];
      assert.ok(more?.output_location.endsWith("/1-second.png"));
      const rows = await under.sql`
        select params -> 'seed' as seed, params -> 'has_nsfw_concepts' as flag, params ? 'shot_id' as more
          from generation_variants where source_task_id = ${task_id} order by output_index`;
      assert.deepEqual(
        rows.map((row) => Object.values(row)),
        [
          [5, false, false],
          [5, true, false],
        ],
      );
    },
    "200: warnings are stored on one line each, 20 of 500 characters; a text that cannot be stored costs no output":
      async (under) => {
        const { task_id, attempt } = await running(under);
        const sent = ["  a\n\tlong\0one  ", "b\ud83d", "b\ud83d", " \0 ", "x".repeat(600)];
        const more = Array.from({ length: 20 }, (_, index) => `warning ${index}`);
        const body = { task_id, attempt, ...file, output_warnings: [...sent, ...more] };
        assert.equal((await under.call(body, under.service)).status, 200);
        const [task] = await under.sql<{ warnings: string[]; said: string[] }[]>`
          select task.warnings, variant.params -> 'warnings' as said
            from tasks as task join generation_variants as variant on variant.source_task_id = task.id
           where task.id = ${task_id}`;
        const stored = ["a long one", "b\ufffd", "x".repeat(500), ...more.slice(0, 17)];
        assert.deepEqual([task?.warnings, task?.said], [stored, stored]);
      },
    "422 too_many_outputs: more than the task pays for; its run goes on": async (under) => {
      const { person, task_id, attempt } = await running(under);
      const path = `${person.userId}/tasks/${task_id}/1-second.png`;
      await under.environment.storage.upload(path, png({ colour: 7 }), "image/png");
      const body = { task_id, attempt, ...file };
      const more = { ...body, more_outputs: [{ storage_path: path }] };
      const answer = await under.refused("too_many_outputs", more, under.service);
      assert.deepEqual([answer.body["paid"], answer.body["sent"]], [1, 2]);
      assert.equal((await under.call(body, under.service)).body["cost_microusd"], 6_500);
    },
    "200: the same call twice at once; the later upload finds the task complete, and is not kept": async (
      under,
    ) => {
      const { person, task_id } = await running(under);
      let first: unknown;
      const { storage } = under.environment;
      const slow = {
        ...storage,
        async upload(...upload: Parameters<typeof storage.upload>) {
          first = (await under.call({ task_id, ...file }, under.service)).body;
          return await storage.upload(...upload);
        },
      };
      const options = { environment: { storage: slow } };
      const other = Buffer.from(png({ colour: 0xff_00_00 })).toString("base64");
      const second = await under.call({ task_id, ...file, file_data: other }, under.service, options);
      assert.equal(second.status, 200, second.text);
      assert.deepEqual(second.body, first);
      const [object] = await under.sql`
        select count(*)::int as files, min((metadata ->> 'size')::int) as size from storage.objects
         where starts_with(name, ${`${person.userId}/tasks/${task_id}/`})`;
      assert.deepEqual({ ...object }, { files: 1, size: png().length });
    },
    "200: hostile names stay in the task's folder; what is not a known format is bytes": async (under) => {
      const names = [
        "../../../etc/passwd",
        "..\\..\\boot.ini",
        "%2e%2e%2f%2e%2e%2fa.png",
        "a\u0000b.png",
        "\u202Egnp.exe",
        "．．／a.png",
        `${"x".repeat(300)}.png`,
        "....",
        "🦊.png",
      ];
      for (const filename of names) {
        // The one type whose output may be anything.
        const { person, task_id } = await running(under, { taskType: "lora_training" });
        const html = Buffer.from("<script>alert(1)</script>").toString("base64");
        const { body, text } = await under.call({ task_id, filename, file_data: html }, under.service);
        const start = `http://darkroom.test/storage/v1/object/public/image_uploads/${person.userId}/tasks/${task_id}/1-`;
        assert.ok(String(body["public_url"]).startsWith(start), text);
        assert.match(
          String(body["public_url"]).slice(start.length),
          /^[0-9a-f]{32}-[A-Za-z0-9_.-]{1,100}$/,
          filename,
        );
        assert.doesNotMatch(String(body["public_url"]).slice(start.length), /\.\./);
        const [object] = await under.sql`
          select metadata ->> 'mimetype' as type from storage.objects
           where starts_with(name, ${`${person.userId}/tasks/${task_id}/`})`;
        assert.equal(object?.["type"], "application/octet-stream");
      }
    },
    "400 invalid_request: no file, half a thumbnail, no base64": async (under) => {
      const { task_id } = await running(under);
      for (const body of [
        { task_id },
        { task_id, filename: "output.png" },
        { task_id, output_location: "" },
        { task_id, output_location: "text", first_frame_data: file.file_data, first_frame_filename: "a.jpg" },
        { task_id, file_data: file.file_data, output_location: "text" },
        { task_id, ...file, first_frame_data: file.file_data },
        { task_id, ...file, first_frame_filename: "thumb.jpg" },
        { task_id, ...file, file_data: "data:image/png;base64,AAAA" },
        { task_id, ...file, file_data: "AAA" },
        { task_id: "1", ...file },
      ]) {
        await under.refused("invalid_request", body, under.service);
      }
    },
    "422 invalid_output: a bad file in the body is not stored, and its run goes on": async (under) => {
      const { person, task_id } = await running(under);
      // From its header alone: a picture of 40,000 by 40,000.
      const bomb = Buffer.from(png());
      bomb.writeUInt32BE(40_000, 16);
      bomb.writeUInt32BE(40_000, 20);
      for (const [bytes, reason, problem] of [
        [bomb, "too_large", /-output\.png" is 40000 × 40000 pixels; at most 16384 a side/],
        [
          png().subarray(0, -1),
          "incomplete",
          /-output\.png" is not complete: the PNG does not end with an IEND/,
        ],
        [
          Buffer.from("<html>"),
          "wrong_kind",
          /is not a known image or video format; a z_image_turbo task makes an image/,
        ],
        [film(), "wrong_kind", /is a video; a z_image_turbo task makes an image/],
      ] as const) {
        const body = { task_id, filename: "output.png", file_data: Buffer.from(bytes).toString("base64") };
        const refused = await under.refused("invalid_output", body, under.service);
        assert.equal(refused.body["reason"], reason);
        const start = `${person.userId}/tasks/${task_id}/1-`;
        assert.ok(String(refused.body["path"]).startsWith(start));
        assert.match(String(refused.body["message"]), problem);
        assert.match(String(refused.body["message"]), /complete the task again\.$/);
      }
      const stored = await under.sql`
        select name from storage.objects where starts_with(name, ${`${person.userId}/tasks/${task_id}/`})`;
      assert.deepEqual([...stored], []);
      const { body } = await under.call({ task_id, ...file }, under.service);
      assert.equal(body["cost_microusd"], 6_500);
    },
    "422 invalid_output: a file that storage does not take": async (under) => {
      const { task_id } = await running(under);
      const storage = createStorage({
        publicUrl: "http://darkroom.test",
        serviceKey: "sb_secret_test",
        fetch: () => Promise.resolve(new Response("too large", { status: 413 })),
      });
      const options = { environment: { storage } };
      await under.refused("invalid_output", { task_id, ...file }, under.service, options);
    },
    "200: a bad thumbnail is left out, and said": async (under) => {
      const { task_id } = await running(under);
      const frame = {
        first_frame_data: Buffer.from("<html>").toString("base64"),
        first_frame_filename: "a.jpg",
      };
      const { body } = await under.call({ task_id, ...file, ...frame }, under.service);
      assert.equal(body["thumbnail_url"], null);
      assert.match(
        JSON.stringify(body["warnings"]),
        /is not a known image or video format.*has no thumbnail/,
      );
      assert.equal(body["cost_microusd"], 6_500);
    },
    "409 output_replaced: another file took its place after the check": async (under) => {
      const { person, task_id } = await running(under);
      const storage_path = `${person.userId}/tasks/${task_id}/1-output.png`;
      const { storage } = under.environment;
      // As long as the first, so that only its tag tells them apart.
      const other = Buffer.from(png());
      other[45] = 0;
      await storage.upload(storage_path, png(), "image/png");
      const swapping = {
        ...storage,
        async readPart(...part: Parameters<typeof storage.readPart>) {
          const read = await storage.readPart(...part);
          await storage.upload(storage_path, other, "image/png");
          return read;
        },
      };
      const options = { environment: { storage: swapping } };
      await under.refused("output_replaced", { task_id, storage_path }, under.service, options);
      // The same from the other side: what is stored is not what was in the body.
      const slow = {
        ...storage,
        async upload(...[path, ...sent]: Parameters<typeof storage.upload>) {
          const tag = await storage.upload(path, ...sent);
          await storage.upload(path, other, "image/png");
          return tag;
        },
      };
      const inBody = { environment: { storage: slow } };
      await under.refused("output_replaced", { task_id, ...file }, under.service, inBody);
      const { body } = await under.call({ task_id, storage_path }, under.service);
      assert.equal(body["cost_microusd"], 6_500);
    },
    "no path leads a read of storage elsewhere": async (under) => {
      const { person, task_id } = await running(under);
      const asked: string[] = [];
      const storage = createStorage({
        publicUrl: "http://darkroom.test",
        serviceKey: "sb_secret_test",
        fetch: (input) => {
          asked.push(new URL(String(input)).pathname);
          return Promise.resolve(new Response(null, { status: 404 }));
        },
      });
      const folder = `${person.userId}/tasks/${task_id}`;
      for (const storage_path of [
        `${folder}/../../../../../../../rest/v1/users`,
        `${folder}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/auth/v1/admin/users`,
        `${folder}//a.png`,
        "https://169.254.169.254/latest/meta-data",
        "//169.254.169.254/a/b",
        `${folder}/..\\..\\a.png`,
      ]) {
        const { status } = await under.call({ task_id, storage_path }, under.service, {
          environment: { storage },
        });
        assert.ok(status === 403 || status === 404, storage_path);
      }
      const prefix = "/storage/v1/object/authenticated/image_uploads/";
      assert.ok(
        asked.every((path) => path.startsWith(prefix)),
        asked.join("\n"),
      );
    },
    "200: a file that was uploaded, named as its URL has it, and a thumbnail if it is there": async (
      under,
    ) => {
      const { person, task_id } = await running(under);
      const folder = `${person.userId}/tasks/${task_id}`;
      await under.environment.storage.upload(`${folder}/1-a (b).png`, png(), "image/png");
      const storage_path = `${folder}/1-a%20(b).png?download=`;
      const body = { task_id, storage_path, thumbnail_storage_path: `${folder}/thumbnails/lost.jpg` };
      const first = await under.call(body, under.service);
      assert.equal(first.status, 200, first.text);
      assert.ok(String(first.body["public_url"]).endsWith(`${folder}/1-a%20(b).png`), first.text);
      assert.equal(first.body["output_location"], first.body["public_url"]);
      assert.equal(first.body["thumbnail_url"], null);
      assert.match(JSON.stringify(first.body["warnings"]), /thumbnail_storage_path/);
      assert.deepEqual((await under.call(body, under.service)).body, first.body);
    },
    "200: an orchestrator passes on what its child made": async (under) => {
      const { person, orchestrator, child } = await orchestration(under);
      const made = await under.call({ task_id: child, ...clip }, under.service);
      const marker = "/storage/v1/object/public/image_uploads/";
      const [, storage_path] = String(made.body["public_url"]).split(marker);
      assert.ok(storage_path?.startsWith(`${person.userId}/tasks/${child}/`));
      const passed = await under.call({ task_id: orchestrator, storage_path }, under.service);
      assert.equal(passed.body["public_url"], made.body["public_url"], passed.text);
      const again = await under.call({ task_id: orchestrator, storage_path }, under.service);
      assert.deepEqual(again.body, passed.body);
      // One medium, one output record: the child's.
      const records = await under.sql`
        select from generation_variants where location = ${String(made.body["public_url"])}`;
      assert.ok(records.length <= 1);
    },
    "200: the owner's own upload is an output, and the URL of a file names the file": async (under) => {
      const { person, task_id } = await running(under);
      const upload = `${person.userId}/uploads/clip.png`;
      await under.environment.storage.upload(upload, png(), "image/png");
      const output_location = under.environment.storage.publicUrl(upload);
      const { body } = await under.call({ task_id, output_location }, under.service);
      assert.equal(body["public_url"], output_location);
      assert.ok(body["generation_id"]);
      const theirs = await running(under);
      await under.refused("forbidden", { task_id: theirs.task_id, output_location }, under.service);
    },
    "200: text or a foreign URL, which is never fetched; a medium's URL becomes an output record": async (
      under,
    ) => {
      const outputs = {
        "Completed via idempotency": { url: false, record: false },
        "https://vendor.invalid/predictions/5": { url: true, record: false },
        "https://vendor.invalid/page.html?x=a.png": { url: true, record: false },
        "https://vendor.invalid/out/film.MP4?signature=a%2Fb": { url: true, record: true },
        "see https://vendor.invalid/a.png": { url: false, record: false },
        "file:///etc/passwd.png": { url: false, record: false },
        "javascript:alert(1)//https://a/b.png": { url: false, record: false },
        '{"transition_url": "https://vendor.invalid/a.png"}': { url: false, record: false },
      };
      for (const [output_location, { url, record }] of Object.entries(outputs)) {
        const { task_id } = await running(under);
        const first = await under.call({ task_id, output_location }, under.service);
        assert.equal(first.status, 200, first.text);
        assert.equal(first.body["output_location"], output_location);
        assert.equal(first.body["public_url"], url ? output_location : null, output_location);
        assert.equal(first.body["generation_id"] !== null, record, output_location);
        assert.equal(first.body["cost_microusd"], 6_500);
        const again = await under.call({ task_id, output_location }, under.service);
        assert.deepEqual(again.body, first.body);
      }
    },
    "200: a text in the place of the file's URL; the file is still what is shown": async (under) => {
      const { task_id } = await running(under);
      const output_location = JSON.stringify({ transition_url: "…", frames: 12 });
      const first = await under.call({ task_id, ...file, output_location }, under.service);
      assert.equal(first.body["output_location"], output_location);
      assert.match(String(first.body["public_url"]), /\/1-[0-9a-f]{32}-output\.png$/);
      assert.deepEqual(
        (await under.call({ task_id, ...file, output_location }, under.service)).body,
        first.body,
      );
      const [row] = await under.sql`
        select task.output_location, variant.location from tasks as task
          join generation_variants as variant on variant.source_task_id = task.id where task.id = ${task_id}`;
      assert.deepEqual({ ...row }, { output_location, location: first.body["public_url"] });
    },
    "200: a repeat still names the file after update-task-status replaced the text": async (under) => {
      const { task_id } = await running(under);
      const first = await under.call({ task_id, ...file }, under.service);
      const changes = { output_location: '{"frames": 3}' };
      await under.sql`
        select update_task_status(null, 'service', ${task_id}, 'Complete', changes => ${under.sql.json(changes)})`;
      const again = await under.call({ task_id, ...file }, under.service);
      assert.deepEqual(again.body, { ...first.body, ...changes });
    },
    "200: skip_generation makes no output record": async (under) => {
      const { task_id } = await running(under);
      const { body } = await under.call({ task_id, ...file, skip_generation: true }, under.service);
      assert.deepEqual([body["generation_id"], body["variant_id"]], [null, null]);
      assert.match(String(body["public_url"]), /\/1-[0-9a-f]{32}-output\.png$/);
      assert.equal((await under.sql`select from generations where source_task_id = ${task_id}`).length, 0);
    },
    "403 forbidden: a file of another person, of another project, of no task, of nobody": async (under) => {
      const [mine, other] = [await running(under), await running(under)];
      const made = await under.call({ task_id: other.task_id, ...file }, under.service);
      assert.equal(made.status, 200);
      const elsewhere = await inAnotherProject(under, mine.person);
      for (const path of [
        `${other.person.userId}/tasks/${other.task_id}/1-output.png`,
        `${other.person.userId}/tasks/${mine.task_id}/1-output.png`,
        `${other.person.userId}/uploads/a.png`,
        `${mine.person.userId}/tasks/${elsewhere}/1-output.png`,
        `${mine.person.userId}/tasks/${randomUUID()}/1-output.png`,
        `${mine.person.userId}/tasks/none/1-output.png`,
        `${mine.person.userId}/a.png`,
        `task_outputs/a.png`,
        `a.png`,
      ]) {
        await under.refused("forbidden", { task_id: mine.task_id, storage_path: path }, under.service);
        const asThumbnail = { task_id: mine.task_id, output_location: "text", thumbnail_storage_path: path };
        await under.refused("forbidden", asThumbnail, under.service);
      }
    },
    "409 output_not_final: a file of a task that may still replace it": async (under) => {
      const { person, orchestrator, child } = await orchestration(under);
      const path = `${person.userId}/tasks/${child}/1-output.png`;
      await under.environment.storage.upload(path, png(), "image/png");
      const body = { task_id: orchestrator, storage_path: path };
      await under.refused("output_not_final", body, under.service);
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
      const { person, task_id } = await running(under);
      for (const storage of storageThatFails()) {
        const options = { environment: { storage } };
        await under.refused("storage_unavailable", { task_id, ...file }, under.service, options);
      }
      const stored = `${person.userId}/tasks/${task_id}/1-output.png`;
      await under.environment.storage.upload(stored, png(), "image/png");
      for (const storage of storageThatFails()) {
        const options = { environment: { storage } };
        const byPath = { task_id, storage_path: stored };
        const { headers } = await under.refused("storage_unavailable", byPath, under.service, options);
        assert.ok(headers.get("retry-after"));
      }
      const { body } = await under.call({ task_id, storage_path: stored }, under.service);
      assert.equal(body["cost_microusd"], 6_500);
      // A repeat needs no storage: it is answered by the task.
      for (const storage of storageThatFails()) {
        const again = await under.call({ task_id, storage_path: stored }, under.service, {
          environment: { storage },
        });
        assert.deepEqual(again.body, body);
      }
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

/** An orchestrator and a child of it, both running. */
async function orchestration(under: EndpointUnderTest) {
  const details = { num_new_segments_to_generate: 2, run_id: "1" };
  const { person, task_id: orchestrator } = await running(under, {
    taskType: "travel_orchestrator",
    params: { orchestrator_details: details },
  });
  const { task_id: child } = await running(under, {
    of: person,
    taskType: "travel_segment",
    params: { orchestrator_task_id_ref: orchestrator, segment_index: 0, orchestrator_details: details },
  });
  return { person, orchestrator, child };
}

/** A complete task of the same person, with a file, in another of their projects. */
async function inAnotherProject(under: EndpointUnderTest, person: PersonUnderTest): Promise<string> {
  const [project] = await under.sql<{ id: string }[]>`
    insert into projects (user_id, name) values (${person.userId}, 'another') returning id`;
  assert.ok(project);
  const { task_id } = await running(under, { of: { ...person, projectId: project.id } });
  const { status } = await under.call({ task_id, ...file }, under.service);
  assert.equal(status, 200);
  return task_id;
}
