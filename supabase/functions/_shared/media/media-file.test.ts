import assert from "node:assert/strict";
import { test } from "node:test";
import { film } from "../../../../test/support/film.ts";
import {
  box,
  copies,
  emptyTrack,
  endlessFilms,
  gifImage,
  gifOf,
  hollowFiles,
  pngChunk,
  pngOf,
  videoTrack,
  withContents,
} from "../../../../test/support/hollow-media.ts";
import { mediaSamples } from "../../../../test/support/media-samples.ts";
import { png } from "../../../../test/support/png.ts";
import { bytesInMemory, type FileBytes, UnusableFile } from "./file-parts.ts";
import { inspectMedia } from "./media-file.ts";

const samples = await mediaSamples();

function sample(name: string) {
  const found = samples[name];
  assert.ok(found, name);
  return found;
}

/** A file that counts what is read of it. */
function counted(bytes: Uint8Array) {
  let [reads, read] = [0, 0];
  const file: FileBytes = {
    size: bytes.length,
    read(start, end) {
      reads += 1;
      const part = bytes.subarray(start, end);
      read += part.length;
      return Promise.resolve(part);
    },
  };
  return { file, reads: () => reads, bytes: () => read };
}

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

test("padding after the end of an image is accepted, anything else is not", async () => {
  for (const name of ["png", "jpeg", "gif"]) {
    const { bytes } = sample(name);
    for (const padding of ["\0", " ", "\r\n"]) {
      const padded = Buffer.concat([bytes, Buffer.from(padding.repeat(1_000))]);
      assert.equal((await inspectMedia(bytesInMemory(padded))).medium, "image", name);
    }
    for (const junk of ["<!doctype html>", " ".repeat(5_000), "\0".repeat(2_000) + "x"]) {
      const appended = Buffer.concat([bytes, Buffer.from(junk)]);
      await assert.rejects(inspectMedia(bytesInMemory(appended)), UnusableFile, `${name} ${junk.length}`);
    }
  }
  const webp = Buffer.concat([sample("webp").bytes, Buffer.from("\0")]);
  assert.equal((await inspectMedia(bytesInMemory(webp))).medium, "image");
  const longer = Buffer.concat([webp, Buffer.from("\0")]);
  await assert.rejects(inspectMedia(bytesInMemory(longer)), { reason: "incomplete" });
});

for (const [name, bytes] of Object.entries(hollowFiles(samples))) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(inspectMedia(bytesInMemory(bytes)), (error: unknown) => {
      assert.ok(error instanceof UnusableFile, String(error));
      assert.match(error.reason, /^(incomplete|damaged)$/);
      return true;
    });
  });
}

test("images of many parts are accepted: PNGs of any chunks, long GIFs", async () => {
  const data = Buffer.alloc(300_000, 0x55);
  data.set([0x78, 0x9c]);
  const cuts = (length: (index: number) => number) => {
    const chunks: Buffer[] = [];
    for (let at = 0; at < data.length; at += length(chunks.length)) {
      chunks.push(pngChunk("IDAT", data.subarray(at, at + length(chunks.length))));
    }
    return chunks;
  };
  for (const chunks of [cuts(() => 4096), cuts((index) => 100 + (index % 7)), cuts(() => 300_000)]) {
    const whole = pngOf(...chunks);
    assert.equal((await inspectMedia(bytesInMemory(whole))).medium, "image");
    const half = Buffer.concat([whole.subarray(0, 150_000), pngChunk("IEND")]);
    await assert.rejects(inspectMedia(bytesInMemory(half)), { reason: "incomplete" });
  }
  const uniform = counted(pngOf(...cuts(() => 16)));
  await inspectMedia(uniform.file);
  assert.ok(uniform.reads() < 100, `${uniform.reads()} reads`);

  const frames = gifOf(...Array.from({ length: 1_000 }, () => gifImage(1_000)));
  const gif = counted(frames);
  assert.equal((await inspectMedia(gif.file)).medium, "image");
  assert.ok(gif.reads() < 20, `${gif.reads()} reads`);
  const long = counted(gifOf(...Array.from({ length: 20_000 }, () => gifImage(1_000))));
  assert.equal((await inspectMedia(long.file)).medium, "image");
  assert.ok(long.bytes() < 4_000_000, `${long.bytes()} bytes`);
});

test("no film of 10 MB, whatever it repeats, takes more than a few reads and a moment", async () => {
  for (const [name, bytes] of Object.entries(endlessFilms())) {
    const film = counted(bytes);
    const start = performance.now();
    await assert.rejects(inspectMedia(film.file), UnusableFile, name);
    assert.ok(film.reads() <= 1_200, `${name}: ${film.reads()} reads`);
    assert.ok(film.bytes() <= 12 * 1024 * 1024, `${name}: ${film.bytes()} bytes`);
    assert.ok(performance.now() - start < 2_000, name);
  }
});

test("the tracks, boxes and length of a table of contents are bounded, to the number", async () => {
  const outcome = (bytes: Uint8Array) =>
    inspectMedia(bytesInMemory(bytes)).then(
      ({ medium }) => medium,
      (error: unknown) => (error instanceof UnusableFile ? error.reason : error),
    );
  assert.equal(await outcome(withContents(copies(64, emptyTrack()), videoTrack())), "too_many_parts");
  assert.equal(await outcome(withContents(copies(63, emptyTrack()), videoTrack())), "video");
  assert.equal(await outcome(withContents(videoTrack(), copies(4_200, box("free")))), "too_many_parts");
  assert.equal(await outcome(withContents(videoTrack(), copies(4_000, box("free")))), "video");
  assert.equal(
    await outcome(withContents(videoTrack(), box("free", Buffer.alloc(8 << 20)))),
    "too_many_parts",
  );
  assert.equal(await outcome(withContents(videoTrack(), box("free", Buffer.alloc(7 << 20)))), "video");
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
