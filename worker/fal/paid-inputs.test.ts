import assert from "node:assert/strict";
import { test } from "node:test";
import { film } from "../../test/support/film.ts";
import { png } from "../../test/support/png.ts";
import { RenderError } from "../provider.ts";
import { readFilm, writeMp4 } from "../sandbox/mp4.ts";
import { falRequest, mappings } from "./models.ts";
import { boundPictures, secondsOfFilm, sizeWithin } from "./paid-inputs.ts";

const address = "https://media.example/a.png";

/** A film of so many frames; its frames are of the smallest one. */
async function filmOf(frames: number, framesPerSecond: number): Promise<Uint8Array> {
  const stored = await readFilm(film(), 1);
  const [packet] = stored?.packets ?? [];
  assert.ok(stored && packet);
  return await writeMp4(
    {
      ...stored,
      framesPerSecond,
      packets: Array.from({ length: frames }, () => ({ ...packet, isKey: true })),
    },
    { title: "", artist: "", comment: "" },
  );
}

/** The same film with other lengths in its headers: `mvhd` and `mdhd` say how long it is, and players believe them. */
function withHeaderSeconds(bytes: Uint8Array, seconds: number): Uint8Array {
  const changed = Buffer.from(bytes);
  for (const box of ["mvhd", "mdhd"]) {
    const at = changed.indexOf(box, 0, "latin1");
    assert.ok(at > 0 && changed[at + 4] === 0, `${box} of version 0`);
    changed.writeUInt32BE(Math.round(changed.readUInt32BE(at + 16) * seconds), at + 20);
  }
  return new Uint8Array(changed);
}

/** What became of the inputs: nothing, or the reason why the task fails; and the input afterwards. */
async function bounded(
  taskType: string,
  params: Record<string, unknown>,
  billed: object,
  bytes: Uint8Array,
): Promise<{ reason: string | undefined; input: Record<string, unknown>; inspected: number }> {
  const request = falRequest(taskType, params);
  (mappings[taskType]?.bound ?? boundPictures)(request, billed);
  const inspected = request.files.filter(({ inspect }) => inspect);
  try {
    for (const file of inspected) await file.inspect?.(bytes);
    return { reason: undefined, input: request.input, inspected: inspected.length };
  } catch (error) {
    assert.ok(error instanceof RenderError && !error.isRetryable && !error.endsJob, String(error));
    return { reason: error.message, input: request.input, inspected: inspected.length };
  }
}

test("the length of a film is that of its frames, whatever its header says; many frames a second are more seconds", async () => {
  const usual = await filmOf(80, 16);
  assert.equal(await secondsOfFilm(usual, 5), 5);
  assert.equal(await secondsOfFilm(withHeaderSeconds(usual, 1), 5), 5);
  // 300 frames in a second and a half are ten seconds of 30 frames.
  assert.equal(await secondsOfFilm(await filmOf(300, 200), 60), 10);
  assert.ok(((await secondsOfFilm(await filmOf(3_000, 1_000), 5)) ?? 0) > 5);
  assert.equal(await secondsOfFilm(png(), 5), undefined);
});

test("a motion video that is longer than what is paid fails the task, and says how many seconds to send", async () => {
  const params = { character_image_url: address, motion_video_url: "https://media.example/a.mp4" };
  const long = await filmOf(120, 16);
  const { reason, inspected } = await bounded("animate_character", params, { seconds: 5 }, long);
  assert.equal(inspected, 1);
  assert.match(
    reason ?? "",
    /^motion_video_url: the video is 7\.5 seconds long, and 5 are paid.+`seconds`: 8/,
  );
  assert.equal((await bounded("animate_character", params, { seconds: 8 }, long)).reason, undefined);
  // A price without the factor is for any length.
  assert.equal((await bounded("animate_character", params, {}, long)).inspected, 0);
  const broken = await bounded("animate_character", params, { seconds: 5 }, png());
  assert.equal(broken.reason, "motion_video_url: the length of the video cannot be read");
});

test("an upscale whose result cannot be stored fails the task", async () => {
  const picture = png({ width: 1024, height: 1024 });
  const outcome = async (more: object) =>
    (await bounded("image_upscale", { image: address, ...more }, {}, picture)).reason;
  assert.equal(await outcome({ scale_factor: 4 }), undefined);
  assert.match(
    (await outcome({ scale_factor: 4.1 })) ?? "",
    /^image: 4\.1 times 1024 × 1024 are 4199 × 4199 pixels, and at most 16 million pixels of png/,
  );
  assert.equal(await outcome({ scale_factor: 5.6, output_format: "jpeg" }), undefined);
  assert.match(
    (await outcome({ scale_factor: 8, output_format: "jpeg" })) ?? "",
    /at most 33 million pixels of jpeg/,
  );
  const long = png({ width: 4096, height: 2 });
  const { reason } = await bounded("image_upscale", { image: address, scale_factor: 8 }, {}, long);
  assert.match(reason ?? "", /32768 × 16 pixels/);
});

test("the result of an edit is not larger than what is paid, and keeps its picture's shape", async () => {
  const edits: [string, Record<string, unknown>][] = [
    ["z_image_turbo_i2i", { image_url: address }],
    ["image_inpaint", { image_url: address, mask_url: address }],
    ["annotated_image_edit", { image_url: address, mask_url: address }],
    ["qwen_image_style", { prompt: "a", style_reference_image: address }],
  ];
  const large = png({ width: 2048, height: 1024 });
  for (const [taskType, params] of edits) {
    const { input } = await bounded(taskType, params, { megapixels: 1 }, large);
    assert.deepEqual(input["image_size"], { width: 1448, height: 724 }, taskType);
    const small = await bounded(taskType, params, { megapixels: 1 }, png());
    assert.equal(small.input["image_size"], undefined, taskType);
    // Who names a size has paid for it.
    const named = await bounded(taskType, { ...params, resolution: "2048x1024" }, { megapixels: 2 }, large);
    assert.deepEqual(
      [named.inspected, named.input["image_size"]],
      [0, { width: 2048, height: 1024 }],
      taskType,
    );
  }
});

test("a size within some pixels is the same, or smaller and of the same shape", () => {
  assert.deepEqual(sizeWithin({ width: 1024, height: 1024 }, 1_048_576), { width: 1024, height: 1024 });
  assert.deepEqual(sizeWithin({ width: 1025, height: 1024 }, 1_048_576), { width: 1024, height: 1023 });
  assert.deepEqual(sizeWithin({ width: 16_000, height: 100 }, 4_194_304), { width: 2048, height: 64 });
});
