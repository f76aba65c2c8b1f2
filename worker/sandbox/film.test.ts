import assert from "node:assert/strict";
import { test } from "node:test";
import { factsOfFilm } from "../../test/support/films.ts";
import {
  type Clip,
  type FilmDescription,
  frameOfClip,
  RenderCancelled,
  renderFilm,
  type Shot,
  type Still,
} from "./film.ts";
import type { Frame } from "./frame.ts";
import { seededRandom } from "./seeded-random.ts";

const never = { isCancelled: () => false, progress: () => undefined };
const caption = { title: "a fox", details: "segment 1 of 1", part: 0, parts: 1 };

function artwork(fingerprint: string): Still {
  return { kind: "artwork", fingerprint };
}

function passage(frames: number, overlap = 0): Shot {
  return { kind: "passage", from: artwork("from"), to: artwork("to"), frames, caption, overlap };
}

function filmOf(shots: Shot[], more: Partial<FilmDescription> = {}): FilmDescription {
  const size = { width: 96, height: 64 };
  return { taskType: "wgp", title: "a fox", seed: "7", size, framesPerSecond: 16, shots, ...more };
}

async function clipOf(frames: number, fingerprint = "clip"): Promise<Clip> {
  const shot = { ...passage(frames), from: artwork(fingerprint), to: artwork(`${fingerprint} end`) } as Shot;
  return { name: fingerprint, bytes: (await renderFilm(filmOf([shot]), never)).mp4, frames: 1 };
}

/** How far two frames are apart, on average, of 255. */
function distance(one: Frame, other: Frame): number {
  assert.equal(one.planes.length, other.planes.length);
  let sum = 0;
  for (const [index, value] of one.planes.entries()) sum += Math.abs(value - (other.planes[index] ?? 0));
  return sum / one.planes.length;
}

test("a film is an MP4 of H.264 with as many frames as described; the same description gives the same bytes", async () => {
  const first = await renderFilm(filmOf([passage(9)]), never);
  const { title, codec, ...facts } = await factsOfFilm(first.mp4);
  assert.deepEqual(facts, { width: 96, height: 64, frames: 9, seconds: 9 / 16 });
  assert.match(codec ?? "", /^avc1\.42/);
  assert.equal(title, "a fox");
  const text = Buffer.from(first.mp4).toString("latin1");
  assert.ok(text.indexOf("moov") < text.indexOf("mdat"), "it plays while it loads");
  assert.deepEqual((await renderFilm(filmOf([passage(9)]), never)).mp4, first.mp4);
  assert.notDeepEqual((await renderFilm(filmOf([passage(9)], { seed: "8" }), never)).mp4, first.mp4);
});

test("sizes are even and within bounds, whatever is asked for", async () => {
  for (const [asked, expected] of [
    [{ width: 902, height: 508 }, [480, 270]],
    [{ width: 508, height: 902 }, [270, 480]],
    [{ width: 4096, height: 4096 }, [360, 360]],
    [{ width: 101, height: 67 }, [102, 68]],
    [{ width: 1, height: 99_999 }, [64, 480]],
  ] as const) {
    const { mp4 } = await renderFilm(filmOf([passage(1)], { size: asked }), never);
    const { width, height } = await factsOfFilm(mp4);
    assert.deepEqual([width, height], expected);
  }
});

test("a film moves from one picture to the other, under a caption that stays", async () => {
  const { mp4 } = await renderFilm(filmOf([passage(12)]), never);
  const clip = { name: "clip", bytes: mp4, frames: 1 };
  const [first, middle, last] = [
    await frameOfClip(clip, 0),
    await frameOfClip(clip, 6),
    await frameOfClip(clip, -1),
  ];
  assert.ok(distance(first, last) > 10);
  assert.ok(distance(first, middle) > 3 && distance(middle, last) > 3);
});

test("a stitch holds the frames of its parts, in their order", async () => {
  const clips = [await clipOf(5, "one"), await clipOf(7, "two")];
  const shots = clips.map((clip): Shot => ({ kind: "clip", clip, from: 0, to: undefined, overlap: 0 }));
  const { mp4, taken } = await renderFilm(filmOf(shots), never);
  assert.deepEqual(taken, [
    { from: 0, to: 5, of: 5 },
    { from: 0, to: 7, of: 7 },
  ]);
  const stitch = { name: "stitch", bytes: mp4, frames: 1 };
  for (const [number, clip, of] of [
    [0, 0, 0],
    [4, 0, 4],
    [5, 1, 0],
    [11, 1, 6],
  ] as const) {
    const part = clips[clip];
    assert.ok(part);
    const apart = distance(await frameOfClip(stitch, number), await frameOfClip(part, of));
    assert.ok(apart < 3, `frame ${number}: ${apart}`);
  }
  assert.ok(distance(await frameOfClip(stitch, 4), await frameOfClip(stitch, 5)) > 10);
});

test("an overlap fades, and reaches over a shot that is shorter than it", async () => {
  for (const [shots, frames] of [
    [[passage(9), passage(9, 4)], 14],
    [[passage(9), passage(1), passage(9, 3)], 16],
    [[passage(2), passage(9, 5)], 9],
    [[passage(9), passage(2, 5)], 9],
  ] as const) {
    const { mp4 } = await renderFilm(filmOf([...shots]), never);
    assert.equal((await factsOfFilm(mp4)).frames, frames);
  }
});

test("slices count from both ends and are never empty", async () => {
  const clip = await clipOf(6);
  for (const [from, to, expected] of [
    [0, undefined, [0, 6]],
    [-2, undefined, [4, 6]],
    [0, -2, [0, 4]],
    [2, 4, [2, 4]],
    [0, -9, [0, 1]],
    [9, undefined, [5, 6]],
    [3, 3, [3, 4]],
    [-99, 99, [0, 6]],
  ] as const) {
    const { taken, frames } = await renderFilm(filmOf([{ kind: "clip", clip, from, to, overlap: 0 }]), never);
    assert.deepEqual([taken[0]?.from, taken[0]?.to], expected, `${from} to ${to}`);
    assert.equal(frames, expected[1] - expected[0]);
  }
});

test("a film stops between two frames when nobody wants it any more", async () => {
  let drawn = 0;
  const control = { isCancelled: () => drawn === 3, progress: () => void (drawn += 1) };
  await assert.rejects(renderFilm(filmOf([passage(40)]), control), RenderCancelled);
  assert.equal(drawn, 3);
  assert.equal((await renderFilm(filmOf([passage(2)]), never)).frames, 2, "the next one is not disturbed");
});

test("more frames than a film may have are thinned, not cut", async () => {
  const clip = { name: "long.mp4", bytes: undefined, frames: 900 };
  const shot: Shot = { kind: "clip", clip, from: 0, to: undefined, overlap: 0 };
  const size = { width: 64, height: 64 };
  const { frames, framesPerSecond } = await renderFilm(filmOf([shot, shot], { size }), never);
  assert.deepEqual([frames, framesPerSecond], [900, 8]);
});

test("what is no film that can be seen is drawn, as long as it is said to be, whatever its bytes are", async () => {
  const { bytes: good } = await clipOf(6);
  assert.ok(good);
  const random = seededRandom("damage");
  const damaged = Array.from({ length: 12 }, () => {
    const bytes = Uint8Array.from(good);
    for (let hit = 0; hit < 20; hit += 1) {
      bytes[Math.floor(random.between(0, bytes.length))] = Math.floor(random.between(0, 256));
    }
    return bytes;
  });
  const hostile = [
    undefined,
    new Uint8Array(),
    Buffer.from("<svg/>"),
    good.subarray(0, 300),
    good.subarray(0, -200),
    ...damaged,
  ];
  for (const bytes of hostile) {
    const clip = { name: "holiday.mp4", bytes, frames: 5 };
    const shot: Shot = { kind: "clip", clip, from: 0, to: 4, overlap: 0 };
    const { frames } = await renderFilm(filmOf([shot, passage(2)]), never);
    assert.ok(frames >= 3 && frames <= 6, String(frames));
  }
});
