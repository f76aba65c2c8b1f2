import assert from "node:assert/strict";
import { test } from "node:test";
import { film } from "../../../../test/support/film.ts";
import { png } from "../../../../test/support/png.ts";
import { checkStored } from "./check-outputs.ts";
import { createStorage } from "./storage.ts";

const path = "user/tasks/task/1-output";
const megabyte = 1024 * 1024;

/** Storage that holds one file and counts what is asked of it; `answer` may change what it answers. */
function storageWith(
  file: Uint8Array,
  answer: (response: Response, asked: number) => Response = (response) => response,
) {
  const ranges: [number, number][] = [];
  const storage = createStorage({
    publicUrl: "http://darkroom.test",
    serviceKey: "sb_secret_test",
    fetch: (_input, init) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get("range") ?? "") ?? [];
      const [start, end] = [Number(first), Math.min(Number(last) + 1, file.length)];
      ranges.push([start, end]);
      if (start >= file.length) return Promise.resolve(new Response(null, { status: 416 }));
      const headers = { "content-range": `bytes ${start}-${end - 1}/${file.length}`, etag: '"one"' };
      const part = new Response(file.slice(start, end), { status: 206, headers });
      return Promise.resolve(answer(part, ranges.length));
    },
  });
  const bytesRead = () => ranges.reduce((sum, [start, end]) => sum + end - start, 0);
  return { storage, ranges, bytesRead };
}

/** The same film with its filling in the middle, as cameras write it: the table of contents comes last. */
function contentsLast(bytes: number): Uint8Array<ArrayBuffer> {
  const boxes = film();
  const contents = Buffer.from(boxes).indexOf("moov") - 4;
  const filling = Buffer.alloc(bytes - boxes.length);
  filling.writeUInt32BE(filling.length, 0);
  filling.write("free", 4, "latin1");
  return new Uint8Array(Buffer.concat([boxes.subarray(0, contents), filling, boxes.subarray(contents)]));
}

test("a small image is one read, a long film of any order a few short ones", async () => {
  const small = storageWith(png());
  const { files } = await checkStored(small.storage, [path]);
  assert.deepEqual(files[path], {
    state: "sound",
    size: png().length,
    etag: "one",
    medium: "image",
    contentType: "image/png",
    width: 8,
    height: 8,
  });
  assert.equal(small.ranges.length, 1);

  const long = film({ bytes: 100 * megabyte });
  for (const bytes of [long, contentsLast(100 * megabyte)]) {
    const { storage, ranges, bytesRead } = storageWith(bytes);
    const checked = await checkStored(storage, [path]);
    assert.equal(checked.files[path]?.state, "sound");
    assert.ok(ranges.length <= 3 && bytesRead() <= 200_000, `${ranges.length} reads, ${bytesRead()} bytes`);
  }
});

test("a film that sends the check to and fro is refused after 64 reads", async () => {
  const box = Buffer.alloc(300_000);
  box.writeUInt32BE(box.length, 0);
  box.write("free", 4, "latin1");
  const { storage, ranges } = storageWith(
    new Uint8Array(Buffer.concat([film(), ...Array.from({ length: 100 }, () => box)])),
  );
  const { files } = await checkStored(storage, [path]);
  const found = files[path];
  assert.ok(found?.state === "unsound" && found.reason === "too_many_parts", JSON.stringify(found));
  assert.ok(ranges.length <= 64, `${ranges.length} reads`);
});

test("a file that changes between two reads was replaced; one that ends there is absent", async () => {
  const long = contentsLast(megabyte);
  const retagged = storageWith(long, (response, asked) => {
    const headers = new Headers(response.headers);
    if (asked > 1) headers.set("etag", '"two"');
    return new Response(response.body, { status: 206, headers });
  });
  assert.deepEqual((await checkStored(retagged.storage, [path])).files[path], { state: "replaced" });
  assert.deepEqual((await checkStored(storageWith(new Uint8Array(0)).storage, [path])).files[path], {
    state: "absent",
  });
});

test("storage that fails, breaks off or knows no ranges is a reason to try again, not a fault of the file", async () => {
  const long = contentsLast(megabyte);
  const faults: ((response: Response, asked: number) => Response)[] = [
    () => new Response("down", { status: 502 }),
    () => new Response("slow down", { status: 429 }),
    (response, asked) => (asked === 1 ? response : new Response("down", { status: 500 })),
    (response) => new Response(new Uint8Array(3), { status: 206, headers: response.headers }),
    (response, asked) =>
      asked === 1 ? response : new Response(long, { headers: { "content-length": String(long.length) } }),
  ];
  for (const fault of faults) {
    const { files, failure } = await checkStored(storageWith(long, fault).storage, [path]);
    assert.deepEqual(files[path], { state: "unreadable" });
    assert.equal(failure?.code, "storage_unavailable");
  }
});

test("storage that answers a range with the whole file is read no further than asked", async () => {
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        sent += 65_536;
        controller.enqueue(
          sent === 65_536 ? png({ width: 100, height: 300 }).slice(0, 65_536) : new Uint8Array(65_536),
        );
      },
    },
    { highWaterMark: 0 },
  );
  const storage = createStorage({
    publicUrl: "http://darkroom.test",
    serviceKey: "sb_secret_test",
    fetch: () =>
      Promise.resolve(new Response(endless, { headers: { "content-length": String(200 * megabyte) } })),
  });
  await checkStored(storage, [path]);
  assert.ok(sent <= 3 * 65_536, `${sent} bytes`);
});
