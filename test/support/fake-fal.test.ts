import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { Resvg } from "@resvg/resvg-js";
import { falShapesText, readFalShapes } from "../../scripts/fal-shapes.ts";
import { projectPath } from "../../server/migrate.ts";
import { bytesInMemory } from "../../supabase/functions/_shared/media/file-parts.ts";
import { inspectMedia } from "../../supabase/functions/_shared/media/media-file.ts";
import {
  createFalQueue,
  FalCallError,
  type FalQueue,
} from "../../supabase/functions/_shared/providers/fal-queue.ts";
import { decode, isDecodable } from "../../worker/sandbox/h264.ts";
import { readFilm } from "../../worker/sandbox/mp4.ts";
import { type FakeFal, startFakeFal } from "./fake-fal.ts";
import { issuesOf } from "./fake-fal/check-input.ts";
import { flatFilm } from "./fake-fal/films.ts";
import { runModel } from "./fake-fal/models.ts";
import { falColour, flatPicture, type PictureFormat } from "./fake-fal/pictures.ts";
import {
  falShapes,
  inputShape,
  objectShape,
  type ObjectShape,
  outputShape,
  shapesFile,
  type TypeShape,
} from "./fake-fal/shapes.ts";
import { factsOfFilm } from "./films.ts";
import { png } from "./png.ts";

type Fields = Record<string, unknown>;

let fal: FakeFal;
let queue: FalQueue;
before(async () => {
  fal = await startFakeFal();
  queue = createFalQueue(fal.key, { queueUrl: fal.url, restUrl: fal.url });
  fal.plan = (job) => (job.steps = ["ended"]);
});
after(() => fal.close());

/** What a job answers, and the file at an address of it. */
async function result(endpoint: string, input: Fields): Promise<Fields> {
  return (await queue.result(endpoint, await queue.submit(endpoint, input))) as Fields;
}

async function fileOf(output: unknown): Promise<Uint8Array> {
  const { url, file_size: size } = output as { url: string; file_size?: number };
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  if (size !== undefined) assert.equal(bytes.length, size);
  return bytes;
}

const film = (frames: number, framesPerSecond = 16) =>
  flatFilm({ width: 96, height: 64, frames, framesPerSecond }, `${frames}`);

test("the shapes of the fake FAL are those of the official client's types", () => {
  assert.equal(
    readFileSync(projectPath(shapesFile), "utf8"),
    falShapesText(readFalShapes()),
    "run npm run generate fal-shapes",
  );
});

test("every endpoint takes its required fields alone and answers every field of its output, with real files", async () => {
  for (const endpoint of Object.keys(falShapes().endpoints)) {
    const kept: { bytes: Uint8Array; contentType: string }[] = [];
    const answer = await runModel(endpoint, requiredOf(inputShape(endpoint) ?? {}), {
      requestId: "a-job",
      fetch: async (_url, medium) => (medium === "film" ? await film(8) : png({ width: 96, height: 64 })),
      keep: (bytes, contentType, extension) =>
        `https://files.example/${kept.push({ bytes, contentType })}.${extension}`,
    });
    assert.equal(answer.status, 200, `${endpoint}: ${JSON.stringify(answer.body)}`);
    const shape = outputShape(endpoint) ?? {};
    const body = answer.body as Fields;
    assert.deepEqual(Object.keys(body).sort(), Object.keys(shape).sort(), endpoint);
    for (const [name, { required }] of Object.entries(shape)) {
      if (required) assert.notEqual(body[name], null, `${endpoint}: ${name}`);
    }
    assert.ok(kept.length > 0, endpoint);
    for (const { bytes, contentType } of kept) {
      const media = await inspectMedia(bytesInMemory(bytes));
      const isMedia = /^(image|video)\//.test(contentType);
      assert.equal(media.contentType, isMedia ? contentType : "application/octet-stream", endpoint);
    }
  }
});

test("an input with an unknown field, a missing one, another type, an unlisted value or a number out of range is refused as FAL does", () => {
  const model = "fal-ai/wan/v2.2-a14b/image-to-video/lora";
  const valid = { prompt: "a fox", image_url: "https://a.example/1.png" };
  const cases: [Fields, string, string][] = [
    [{ ...valid, frames: 81 }, "extra_forbidden", "frames"],
    [{ prompt: "a fox" }, "missing", "image_url"],
    [{ ...valid, prompt: 5 }, "string_type", "prompt"],
    [{ ...valid, image_url: "" }, "url_type", "image_url"],
    [{ ...valid, seed: "5" }, "float_type", "seed"],
    [{ ...valid, seed: 1.5 }, "int_from_float", "seed"],
    [{ ...valid, reverse_video: "yes" }, "bool_type", "reverse_video"],
    [{ ...valid, resolution: "1080p" }, "literal_error", "resolution"],
    [{ ...valid, num_frames: 16 }, "greater_than_equal", "num_frames"],
    [{ ...valid, num_frames: 162 }, "less_than_equal", "num_frames"],
    [{ ...valid, loras: {} }, "list_type", "loras"],
    [{ ...valid, loras: [{ scale: 1 }] }, "missing", "loras.0.path"],
    [{ ...valid, loras: [{ path: "a", strength: 1 }] }, "extra_forbidden", "loras.0.strength"],
  ];
  assert.deepEqual(issuesOf(model, valid), []);
  assert.deepEqual(issuesOf(model, { ...valid, seed: null, num_frames: 161 }), []);
  for (const [input, type, at] of cases) {
    const found = issuesOf(model, input).map((issue) => [issue.type, issue.loc.join(".")]);
    assert.deepEqual(found, [[type, `body.${at}`]]);
  }
  const sides = issuesOf("fal-ai/ffmpeg-api/merge-videos", {
    video_urls: [],
    resolution: { width: 96, height: 512 },
  });
  assert.deepEqual(
    sides.map(({ type, loc }) => [type, loc.join(".")]),
    [["greater_than_equal", "body.resolution.width"]],
  );
  assert.deepEqual(issuesOf("fal-ai/flux/dev", { prompt: "a", image_size: { width: 64, height: 64 } }), []);
  assert.deepEqual(issuesOf("fal-ai/flux/dev", { prompt: "a", image_size: "square_hd" }), []);
  assert.equal(issuesOf("fal-ai/flux/dev", { prompt: "a", num_images: 5 })[0]?.type, "less_than_equal");
  assert.equal(issuesOf("fal-ai/flux/dev", { prompt: "a", image_size: "big" })[0]?.type, "literal_error");
});

test("a refused job ends with FAL's 422, and is noted", async () => {
  fal.refusals = [];
  await assert.rejects(result("fal-ai/flux/dev", { prompt: "a", steps: 4 }), (error) => {
    assert.ok(error instanceof FalCallError);
    assert.match(
      error.message,
      /FAL refuses what was asked for \(422\): steps: Extra inputs are not permitted/,
    );
    return true;
  });
  assert.deepEqual(
    fal.refusals.map(({ model, issues }) => [model, issues[0]?.type]),
    [["fal-ai/flux/dev", "extra_forbidden"]],
  );
  await assert.rejects(queue.submit("fal-ai/flux/fastest", { prompt: "a" }), FalCallError);
});

test("a file that FAL cannot reach, or that is not what the field takes, is refused", async () => {
  const cases: [string, string, string][] = [
    ["http://127.0.0.1:9/1.png", "image_url", "file_download_error"],
    ["http://a.example/1.png", "image_url", "file_download_error"],
    ["https://media.invalid/1.png", "image_url", "file_download_error"],
    ["not an address", "image_url", "file_download_error"],
    [await queue.upload(Buffer.from("text"), "image/png"), "image_url", "image_load_error"],
    ["https://a.example/1.png", "video_url", "video_load_error"],
  ];
  fal.web.set("https://a.example/1.png", png());
  for (const [url, field, type] of cases) {
    fal.refusals = [];
    const input = {
      image_url: "https://b.example/1.png",
      video_url: "https://b.example/1.mp4",
      [field]: url,
    };
    await assert.rejects(result("fal-ai/wan/v2.2-14b/animate/move", input), FalCallError);
    assert.deepEqual(
      fal.refusals.flatMap(({ issues }) => issues.map((issue) => [issue.type, issue.loc[1]])),
      [[type, field]],
      url,
    );
  }
});

test("pictures have the size, number and format that is asked for, and each is another file of the same job", async () => {
  const input = { prompt: "a", num_images: 2, image_size: { width: 640, height: 360 }, seed: 7 };
  for (const format of ["jpeg", "png", "webp"]) {
    const answer = await result("fal-ai/z-image/turbo", { ...input, output_format: format });
    const {
      images,
      seed,
      has_nsfw_concepts: flags,
    } = answer as { images: Fields[]; seed: number; has_nsfw_concepts: boolean[] };
    assert.deepEqual([seed, flags], [7, [false, false]]);
    const files = await Promise.all(images.map(fileOf));
    assert.notDeepEqual(files[0], files[1]);
    for (const [index, bytes] of files.entries()) {
      const { width, height, contentType } = await inspectMedia(bytesInMemory(bytes));
      assert.deepEqual({ width, height }, { width: 640, height: 360 });
      assert.equal(contentType, images[index]?.["content_type"]);
      assert.equal(fal.maker(bytes), fal.jobs.at(-1));
    }
  }
  assert.equal(fal.maker(png()), undefined);
});

// The renderer here does not decode WebP.
test("pictures of PNG and JPEG can be decoded, and show FAL's colour", () => {
  for (const format of ["png", "jpeg"] satisfies PictureFormat[]) {
    const bytes = flatPicture({ width: 40, height: 24 }, format, "a label");
    const href = `data:image/${format};base64,${Buffer.from(bytes).toString("base64")}`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="24"><image width="40" height="24" href="${href}"/></svg>`;
    const { pixels } = new Resvg(svg).render();
    for (const at of [0, pixels.length - 4]) {
      const shown = [...pixels.subarray(at, at + 3)];
      const expected = [falColour >> 16, (falColour >> 8) & 0xff, falColour & 0xff];
      for (const [channel, value] of expected.entries())
        assert.ok(Math.abs((shown[channel] ?? -9) - value) <= 2, `${format}: ${shown.join()}`);
    }
  }
});

test("films have the frames, rate and size that is asked for, and can be decoded to their end", async () => {
  const input = {
    prompt: "a",
    start_image_url: "https://a.example/1.png",
    end_image_url: "https://a.example/2.png",
  };
  fal.web.set(input.start_image_url, png({ width: 96, height: 64 }));
  const { video } = await result("fal-ai/wan-flf2v", {
    ...input,
    num_frames: 90,
    frames_per_second: 24,
    resolution: "480p",
  });
  const bytes = await fileOf(video);
  const facts = await factsOfFilm(bytes);
  assert.deepEqual([facts.frames, facts.seconds, facts.title], [90, 90 / 24, "FAL"]);
  assert.deepEqual([facts.width, facts.height], [768, 512]);
  assert.equal(fal.maker(bytes)?.model, "fal-ai/wan-flf2v");
  const small = await readFilm(await film(9), 100);
  assert.ok(small && isDecodable(small));
  const frames = [...decode(small, 0)];
  assert.equal(frames.length, 9);
  assert.deepEqual(frames[8]?.planes, frames[0]?.planes);
});

test("a film that is interpolated has the frames between, and plays as long", async () => {
  const input = { prompt: "a", image_url: "https://a.example/1.png", num_frames: 17, resolution: "480p" };
  for (const [more, frames, rate] of [
    [{ interpolator_model: "none" }, 17, 16],
    [{ num_interpolated_frames: 0 }, 17, 16],
    [{}, 33, 32],
    [{ num_interpolated_frames: 3, adjust_fps_for_interpolation: false }, 65, 16],
  ] as const) {
    const { video } = await result("fal-ai/wan/v2.2-a14b/image-to-video/lora", { ...input, ...more });
    const facts = await factsOfFilm(await fileOf(video));
    assert.deepEqual([facts.frames, facts.seconds], [frames, frames / rate], JSON.stringify(more));
  }
});

test("tools for films merge, compose, trim, scale and blend films, and take pictures from them", async () => {
  const [one, two] = [
    await queue.upload(await film(16), "video/mp4"),
    await queue.upload(await film(24), "video/mp4"),
  ];
  const filmOf = async (output: unknown) => await factsOfFilm(await fileOf(output));
  const merged = await result("fal-ai/ffmpeg-api/merge-videos", { video_urls: [one, two, one] });
  assert.equal((await filmOf(merged["video"])).frames, 56);
  const large = { resolution: { width: 512, height: 768 }, target_fps: 24 };
  const resized = await filmOf(
    (await result("fal-ai/ffmpeg-api/merge-videos", { video_urls: [one, two], ...large }))["video"],
  );
  assert.deepEqual([resized.width, resized.height, resized.frames], [512, 768, 60]);
  const keyframes = [
    { url: one, timestamp: 0, duration: 1000 },
    { url: two, timestamp: 1000, duration: 1500 },
  ];
  const composed = await result("fal-ai/ffmpeg-api/compose", {
    tracks: [{ id: "1", type: "video", keyframes }],
  });
  assert.equal((await filmOf({ url: composed["video_url"] })).seconds, 2.5);
  const trimmed = await result("fal-ai/workflow-utilities/trim-video", {
    video_url: two,
    start_time: 0.5,
    end_time: 1,
  });
  assert.deepEqual([trimmed["original_duration"], (await filmOf(trimmed["video"])).frames], [1.5, 8]);
  const scaled = await result("fal-ai/workflow-utilities/scale-video", {
    video_url: one,
    width: 48,
    height: 80,
  });
  assert.deepEqual([(await filmOf(scaled["video"])).width, scaled["scaled_height"]], [48, 80]);
  const blended = await result("fal-ai/workflow-utilities/blend-video", {
    top_video_url: one,
    bottom_video_url: two,
  });
  assert.equal((await filmOf(blended["video"])).frames, 16);
  const taken = await result("fal-ai/ffmpeg-api/extract-frame", { video_url: one, frame_type: "last" });
  const [picture] = taken["images"] as Fields[];
  assert.deepEqual([picture?.["width"], picture?.["height"]], [96, 64]);
});

/** The least that an endpoint takes. */
function requiredOf(shape: ObjectShape): Fields {
  const required = Object.entries(shape).filter(([, field]) => field.required);
  return Object.fromEntries(required.map(([name, { type, min }]) => [name, valueOf(name, type, min)]));
}

function valueOf(name: string, type: TypeShape, least = 1): unknown {
  switch (type) {
    case "string":
    case "file":
      return /urls?$|^path$/.test(name) ? "https://a.example/file" : "words";
    case "number":
      return least;
    case "boolean":
      return true;
    case "unknown":
      return {};
  }
  if ("enum" in type) return type.enum[0];
  if ("list" in type) return [valueOf(name, type.list)];
  if ("object" in type) return requiredOf(objectShape(type.object));
  return "anyOf" in type && type.anyOf[0] ? valueOf(name, type.anyOf[0]) : {};
}
