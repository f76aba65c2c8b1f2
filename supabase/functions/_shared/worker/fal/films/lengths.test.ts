import assert from "node:assert/strict";
import { test } from "node:test";
import { RenderError } from "../../provider.ts";
import { makeableLength, passageLengths, rateToMake, requirePaidFrames } from "./lengths.ts";
import { falSize, readFilmSize } from "./sizes.ts";

test("a film has the frames that were asked for, at most three more, from 17 to 801 frames", () => {
  const table: [asked: number, generated: number, interpolated: number, total: number][] = [
    [17, 17, 0, 17],
    [18, 21, 0, 21],
    [61, 61, 0, 61],
    [63, 65, 0, 65],
    [81, 81, 0, 81],
    [161, 161, 0, 161],
    [162, 85, 1, 169],
    [321, 161, 1, 321],
    [801, 161, 4, 801],
  ];
  for (const [asked, generated, interpolated, total] of table) {
    assert.deepEqual(makeableLength(asked), { generated, interpolated, total }, `${asked} frames`);
  }
  for (let asked = 17; asked <= 801; asked += 1) {
    const { generated, interpolated, total } = makeableLength(asked);
    assert.ok(generated >= 17 && generated <= 161 && generated % 4 === 1, `${asked}: ${generated} generated`);
    assert.ok(interpolated <= 4 && total >= asked, `${asked}: ${total} in all`);
    assert.ok(total - asked < 4 * (interpolated + 1), `${asked}: ${total} in all`);
  }
  assert.equal(makeableLength(1).total, 17);
  assert.equal(makeableLength(1000).total, 801);
});

test("the passages of a film are together as long as the film, at most three frames more", () => {
  for (const passages of [1, 2, 3, 4]) {
    for (let frames = 17 * passages + 8; frames <= 161; frames += 1) {
      const sum = passageLengths(frames, Array(passages).fill(undefined)).reduce(
        (all, { total }) => all + total,
        0,
      );
      assert.ok(sum >= frames && sum - frames <= 3, `${frames} frames in ${passages} passages: ${sum}`);
    }
  }
  assert.deepEqual(
    passageLengths(161, [81, 81]).map(({ total }) => total),
    [81, 81],
  );
  assert.deepEqual(
    passageLengths(161, [41, 121]).map(({ total }) => total),
    [41, 121],
  );
  assert.deepEqual(
    passageLengths(81, [61, 61, 61, 61, 61, 61]).map(({ total }) => total),
    [17, 17, 17, 17, 17, 17],
  );
});

test("a film shorter than the model's shortest runs faster, so that it lasts as long", () => {
  const table: [asked: number, rate: number, made: number][] = [
    [81, 16, 16],
    [63, 16, 16],
    [17, 16, 16],
    [10, 16, 27],
    [5, 16, 54],
    [2, 16, 60],
    [81, 2, 4],
    [81, 29.97, 30],
  ];
  for (const [asked, rate, made] of table) {
    assert.equal(rateToMake(asked, rate, makeableLength(asked)), made, `${asked} frames at ${rate}`);
  }
});

test("FAL never bills more frames than the task is paid for, but for rounding and the shortest film", () => {
  const table: [
    frames: number,
    billed: { seconds?: number; frames?: number } | undefined,
    isPaid: boolean,
  ][] = [
    [81, { seconds: 5 }, true],
    [84, { seconds: 5 }, true],
    [85, { seconds: 5 }, false],
    [17, { seconds: 1 }, true],
    [161, { seconds: 10 }, true],
    [161, { seconds: 9 }, false],
    [65, { frames: 63 }, true],
    [69, { frames: 63 }, false],
    [801, {}, true],
    [801, undefined, true],
  ];
  for (const [frames, billed, isPaid] of table) {
    const ask = (): void => requirePaidFrames([{ total: frames, interpolated: 0 }], billed);
    const label = `${frames} frames for ${JSON.stringify(billed)}`;
    if (isPaid) assert.doesNotThrow(ask, label);
    else assert.throws(ask, (error) => error instanceof RenderError && !error.isRetryable, label);
  }
});

test("the price of a film's frames pays for every length that the model makes of them", () => {
  for (let frames = 1; frames <= 801; frames += 1) {
    // As prices count seconds.
    const seconds = Math.max(1, Math.ceil((frames - 1) / 16));
    assert.doesNotThrow(() => requirePaidFrames([makeableLength(frames)], { seconds }), `${frames} frames`);
  }
});

test("a size becomes the nearest of FAL's names by pixels, and its shape where FAL has it", () => {
  const table: [size: unknown, resolution: string, aspectRatio: string][] = [
    ["902x508", "480p", "16:9"],
    ["508x902", "480p", "9:16"],
    ["670x670", "480p", "1:1"],
    ["768x576", "480p", "auto"],
    ["1024x438", "480p", "auto"],
    [[1008, 576], "580p", "16:9"],
    [{ width: 1280, height: 720 }, "720p", "16:9"],
    ["1920*1080", "720p", "16:9"],
  ];
  for (const [size, resolution, aspectRatio] of table) {
    assert.deepEqual(falSize(readFilmSize(size)), { resolution, aspectRatio }, JSON.stringify(size));
  }
  assert.deepEqual(readFilmSize("901x507"), { width: 902, height: 508 });
  for (const wrong of ["wide", "1x1", "99999x10", [640], null, 5]) {
    assert.equal(readFilmSize(wrong), undefined, JSON.stringify(wrong));
  }
});
