import assert from "node:assert/strict";
import { test } from "node:test";
import { film } from "../../../../../test/support/film.ts";
import { png } from "../../../../../test/support/png.ts";
import { RenderError } from "../provider.ts";
import { readFilm, writeMp4 } from "../../../../../worker/sandbox/mp4.ts";
import { falRequest, mappings } from "./models.ts";
import { secondsOfFilm, sizeWithin } from "./paid-inputs.ts";

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
  mappings[taskType]?.bound(request, billed);
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

test("a size within some pixels is the same, or smaller and of the same shape", () => {
  assert.deepEqual(sizeWithin({ width: 1024, height: 1024 }, 1_048_576), { width: 1024, height: 1024 });
  assert.deepEqual(sizeWithin({ width: 1025, height: 1024 }, 1_048_576), { width: 1024, height: 1023 });
  assert.deepEqual(sizeWithin({ width: 16_000, height: 100 }, 4_194_304), { width: 2048, height: 64 });
});
