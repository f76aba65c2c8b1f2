import assert from "node:assert/strict";
import { test } from "node:test";
import { film } from "../../../../test/support/film.ts";
import { mediaSamples } from "../../../../test/support/media-samples.ts";
import { png } from "../../../../test/support/png.ts";
import { bytesInMemory, type FileBytes, inspectMedia, UnusableFile } from "./media-file.ts";

const samples = await mediaSamples();

test("a complete file of each format is what it is, with its size", async () => {
  for (const [name, { bytes, contentType, medium }] of Object.entries(samples)) {
    const found = await inspectMedia(bytesInMemory(bytes));
    assert.equal(found.contentType, contentType, name);
    assert.equal(found.medium, medium, name);
    assert.ok(found.width && found.height && found.width <= 16 && found.height <= 16, name);
  }
});

test("a file that ends too early is never complete, wherever it ends after its signature", async () => {
  for (const [name, { bytes }] of Object.entries(samples)) {
    // The length of what was streamed is not known, nor are the fragments that were to come.
    const isOpen = name.includes("streamed") || name.includes("fragments");
    for (let length = 1; length < bytes.length; length++) {
      const cut = inspectMedia(bytesInMemory(bytes.subarray(0, length)));
      const outcome = await cut.then(
        ({ medium }) => medium,
        (error: unknown) => {
          assert.ok(error instanceof UnusableFile, `${name}, ${length} bytes: ${String(error)}`);
          return error.reason;
        },
      );
      if (isOpen) continue;
      assert.ok(
        outcome === null || outcome === "incomplete" || outcome === "damaged",
        `${name}, ${length} bytes`,
      );
    }
  }
});

test("bytes after the end of an image are accepted, as cameras and editors write them", async () => {
  for (const name of ["png", "jpeg", "webp", "gif"]) {
    const sample = samples[name];
    assert.ok(sample);
    const filler = Buffer.alloc(2_000, name === "gif" ? 0 : 0x20);
    const { medium } = await inspectMedia(bytesInMemory(Buffer.concat([sample.bytes, filler])));
    assert.equal(medium, "image", name);
  }
});

test("a JPEG whose preview is complete and whose image is not is not complete", async () => {
  const jpeg = samples["jpeg"]?.bytes;
  assert.ok(jpeg);
  const length = jpeg.length + 2;
  const notes = Buffer.concat([Buffer.from([0xff, 0xe1, length >> 8, length & 0xff]), jpeg]);
  const whole = Buffer.concat([jpeg.subarray(0, 2), notes, jpeg.subarray(2)]);
  assert.equal((await inspectMedia(bytesInMemory(whole))).medium, "image");
  await assert.rejects(inspectMedia(bytesInMemory(whole.subarray(0, -2))), { reason: "incomplete" });
});

test("empty files, and frames that a decoder would suffer from, are refused by their header", async () => {
  const sized = (width: number, height: number) => {
    const file = Buffer.from(png());
    file.writeUInt32BE(width, 16);
    file.writeUInt32BE(height, 20);
    return file;
  };
  const outcomes: [Uint8Array, string][] = [
    [new Uint8Array(0), "empty"],
    [sized(16_385, 1), "too_large"],
    [sized(14_000, 14_000), "too_large"],
    [sized(0, 8), "damaged"],
  ];
  for (const [bytes, reason] of outcomes) {
    await assert.rejects(inspectMedia(bytesInMemory(bytes)), { reason }, reason);
  }
  assert.equal((await inspectMedia(bytesInMemory(sized(16_384, 6_000)))).medium, "image");
});

test("other files have no medium: pages, texts, weights", async () => {
  for (const text of ["<!doctype html><html>", "{}", "GIF", "RIFF\0\0\0\0WAVEfmt ", "\0\0\0\x18ftypM4A "]) {
    assert.equal((await inspectMedia(bytesInMemory(Buffer.from(text, "latin1")))).medium, null, text);
  }
});

test("a film of 200 MiB is read in a few short parts", async () => {
  const large = 200 * 1024 * 1024;
  const head = film();
  const box = Buffer.alloc(8);
  box.writeUInt32BE(large - head.length, 0);
  box.write("free", 4, "latin1");
  const start = Buffer.concat([head, box]);
  let read = 0;
  const file: FileBytes = {
    size: large,
    read(from, to) {
      read += Math.max(0, Math.min(to, large) - from);
      const bytes = Buffer.alloc(Math.max(0, Math.min(to, large) - from));
      if (from < start.length) start.copy(bytes, 0, from);
      return Promise.resolve(bytes);
    },
  };
  assert.equal((await inspectMedia(file)).medium, "video");
  assert.ok(read < 64 * 1024, `${read} bytes`);
});

test("a film of endless small boxes is refused, and not followed to its end", async () => {
  const box = Buffer.from("\0\0\0\x08free", "latin1");
  const bytes = Buffer.concat([film(), ...Array.from({ length: 2_000 }, () => box)]);
  await assert.rejects(inspectMedia(bytesInMemory(bytes)), { reason: "too_many_parts" });
});
