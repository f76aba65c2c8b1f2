import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  type Answer,
  base64,
  booksOf,
  claimTask,
  type Completion,
  type Person,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  stateOf,
  succeed,
} from "../support/calls.ts";
import { film } from "../support/film.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { endlessFilms, pngOf, withContents } from "../support/hollow-media.ts";
import { mediaSamples } from "../support/media-samples.ts";
import { png } from "../support/png.ts";

const samples = await mediaSamples();
const imagePrice = 6_500;
// Made here: it takes seconds, in which no connection that has ended is noticed.
const manyTracks = endlessFilms()["20,000 tracks"] ?? new Uint8Array();

/** What is not a complete image, and the words that say so. */
const badFiles: Record<string, { bytes: Uint8Array; problem: RegExp }> = {
  "an empty file": { bytes: new Uint8Array(0), problem: /is empty \(0 bytes\)/ },
  "a page": { bytes: Buffer.from("<!doctype html><p>502</p>"), problem: /not a known image or video format/ },
  "half a PNG": { bytes: png().subarray(0, 50), problem: /does not end with an IEND chunk/ },
  "a PNG without its image": { bytes: pngOf(), problem: /the PNG has no image data/ },
  "a PNG with a page behind it": {
    bytes: Buffer.concat([png(), Buffer.from("<html>")]),
    problem: /something follows its IEND chunk/,
  },
  "half a JPEG": { bytes: cut("jpeg"), problem: /does not end with an EOI marker/ },
  "half a WebP": { bytes: cut("webp"), problem: /says that it has 44 bytes, and has 42/ },
  "half a GIF": { bytes: cut("gif"), problem: /does not end with its trailer/ },
  "half an AVIF": { bytes: cut("avif"), problem: /ends 2 bytes before the end of its last box/ },
  "a film": { bytes: film(), problem: /is a video; a z_image_turbo task makes an image/ },
};

function cut(name: string): Uint8Array {
  return (samples[name]?.bytes ?? new Uint8Array()).subarray(0, -2);
}

for (const { name, start } of hosts) {
  describe(`output files on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("a bad file completes nothing by any way, costs nothing, and the run goes on", async () => {
      const { run, person, books } = await running("z_image_turbo", 2);
      const good = await uploaded(run, "good.png", png());
      for (const [what, { bytes, problem }] of Object.entries(badFiles)) {
        const stored = await uploaded(run, `${what.replaceAll(" ", "-")}.png`, bytes);
        const own = await ownUpload(person, bytes);
        const locationOf = (path: string) => `${host.apiUrl}/storage/v1/object/public/image_uploads/${path}`;
        const ways: Record<string, () => Promise<Answer>> = {
          "an upload": () => complete({ ...run, storage_path: stored }),
          "the owner's upload": () => complete({ ...run, storage_path: own }),
          "a URL of this storage": () => complete({ ...run, output_location: locationOf(stored) }),
          "a further output": () =>
            complete({ ...run, storage_path: good, more_outputs: [{ storage_path: stored }] }),
          "a status": () =>
            post(
              host,
              "update-task-status",
              { ...run, status: "Complete", output_location: locationOf(stored) },
              service(host),
            ),
        };
        if (bytes.length > 0) {
          ways["the body"] = () => complete({ ...run, filename: "output.png", file_data: base64(bytes) });
        }
        for (const [way, send] of Object.entries(ways)) {
          const { body } = await refused(send(), 422, "invalid_output");
          const message = String(body["message"]);
          assert.match(message, problem, `${what} by ${way}`);
          assert.ok(message.includes(`"${String(body["path"])}"`), `${what} by ${way}: ${message}`);
          assert.match(message, /complete the task again\.$/);
        }
      }
      assert.deepEqual(await booksOf(host, person.userId), books);
      const { status, attempt } = await stateOf(host, run.task_id);
      assert.deepEqual({ status, attempt }, { status: "In Progress", attempt: run.attempt });

      const done = await succeed(complete({ ...run, storage_path: good }));
      assert.deepEqual(await succeed(complete({ ...run, storage_path: good })), done);
      const { held, ledger } = await booksOf(host, person.userId);
      assert.equal(held, 0);
      const charges = ledger.filter(({ task_id }) => task_id === run.task_id);
      assert.deepEqual(
        charges.map(({ amount }) => amount),
        [-imagePrice],
      );
    });

    test("an image beyond all bounds in the body is refused from its header", async () => {
      const { run } = await running("z_image_turbo");
      const bomb = Buffer.from(png());
      bomb.writeUInt32BE(14_000, 16);
      bomb.writeUInt32BE(14_000, 20);
      const body = { ...run, filename: "bomb.png", file_data: base64(bomb) };
      const answer = await refused(complete(body), 422, "invalid_output");
      assert.match(answer.text, /14000 × 14000 pixels; at most 16384 a side and 100 megapixels/);
    });

    for (const [format, { bytes, medium, contentType }] of Object.entries(samples)) {
      test(`a complete ${format} completes a task that makes ${medium}s, in the body and by upload`, async () => {
        const type = medium === "image" ? "z_image_turbo" : "wan_2_2_i2v";
        const filename = `output.${format.split(" ")[0]}`;
        const inBody = await running(type);
        const first = await succeed(complete({ ...inBody.run, filename, file_data: base64(bytes) }));
        assert.ok(first.generation_id);
        const { run } = await running(type);
        const stored = await uploaded(run, filename, bytes, contentType);
        const second = await succeed(complete({ ...run, storage_path: stored }));
        assert.equal(second.cost_microusd, first.cost_microusd);
        const sent = new Uint8Array(await (await fetch(second.public_url)).arrayBuffer());
        assert.deepEqual(sent, new Uint8Array(bytes));
      });
    }

    test("a long film completes, and one byte less does not", async () => {
      const { run } = await running("wan_2_2_i2v");
      const long = film({ bytes: 24 * 1024 * 1024 });
      const short = await uploaded(run, "short.mp4", long.subarray(0, -1), "video/mp4");
      const answer = await refused(complete({ ...run, storage_path: short }), 422, "invalid_output");
      assert.match(answer.text, /ends 1 bytes before the end of its last box/);
      const whole = await uploaded(run, "whole.mp4", long, "video/mp4");
      assert.equal((await complete({ ...run, storage_path: whole })).status, 200);
    });

    test("a film of 20,000 tracks or without frames completes nothing, and holds nobody up", async () => {
      const { run, person, books } = await running("wan_2_2_i2v");
      for (const [bytes, problem] of [
        [manyTracks, /has too many parts/],
        [withContents(), /no width and height/],
      ] as const) {
        const start = performance.now();
        const stored = await uploaded(run, "output.mp4", bytes, "video/mp4");
        const answer = await refused(complete({ ...run, storage_path: stored }), 422, "invalid_output");
        assert.match(answer.text, problem);
        assert.ok(performance.now() - start < 10_000);
      }
      assert.deepEqual(await booksOf(host, person.userId), books);
    });

    test("a raw generation may be an image or a film; weights may be any file that is not empty", async () => {
      for (const [type, accepted, denied] of [
        ["wgp", [png(), film()], Buffer.from("<html>")],
        ["lora_training", [Buffer.from("any weights")], new Uint8Array(0)],
      ] as const) {
        for (const bytes of accepted) {
          const { run } = await running(type);
          const bad = await uploaded(run, "bad.bin", denied, "application/octet-stream");
          await refused(complete({ ...run, storage_path: bad }), 422, "invalid_output");
          const good = await uploaded(run, "good.bin", bytes, "application/octet-stream");
          assert.equal((await complete({ ...run, storage_path: good })).status, 200, type);
        }
      }
    });

    test("a thumbnail that is not a complete image is left out with a warning; the work is delivered", async () => {
      for (const bad of [new Uint8Array(0), png().subarray(0, -2), film()]) {
        const { run } = await running("z_image_turbo");
        const stored = await uploaded(run, "good.png", png());
        const thumbnail = await uploaded(run, "thumb.png", bad);
        const body = { ...run, storage_path: stored, thumbnail_storage_path: thumbnail };
        const done = await succeed(complete(body));
        assert.equal(done.thumbnail_url, null);
        assert.match(JSON.stringify(done.warnings), /the task has no thumbnail/);
        assert.equal(done.cost_microusd, imagePrice);
      }
    });

    /** A task in progress with the cloud's worker, and its owner's books. */
    async function running(taskType: string, images = 1) {
      const person = await personWithProject(host);
      const params = { prompt: "a fox", num_images: images };
      const { task_id } = await queueTask(host, person, { taskType, params });
      const { attempt } = await claimTask(host, service(host), task_id);
      const run = { task_id, attempt, worker_id: "worker-1" };
      return { person, run, books: await booksOf(host, person.userId) };
    }

    function complete(body: Record<string, unknown>): Promise<Answer<Completion & Record<string, unknown>>> {
      return post(host, "complete_task", body, service(host));
    }

    async function uploaded(
      run: { task_id: string },
      filename: string,
      bytes: Uint8Array,
      contentType = "image/png",
    ): Promise<string> {
      const target = await succeed(
        post<{ upload_url: string; storage_path: string }>(
          host,
          "generate-upload-url",
          { ...run, filename, content_type: contentType },
          service(host),
        ),
      );
      const headers = { "content-type": contentType };
      const put = await fetch(target.upload_url, { method: "PUT", headers, body: bytes as BodyInit });
      assert.equal(put.status, 200, await put.text());
      return target.storage_path;
    }

    async function ownUpload({ client, userId }: Person, bytes: Uint8Array): Promise<string> {
      const path = `${userId}/uploads/${crypto.randomUUID()}.png`;
      const file = new Blob([bytes as BlobPart], { type: "image/png" });
      const { error } = await client.storage.from("image_uploads").upload(path, file);
      assert.equal(error, null);
      return path;
    }
  });
}
