import assert from "node:assert/strict";
import { test } from "node:test";
import { imageSize } from "image-size";
import { describePicture, pictureSvg } from "./picture.ts";
import { renderPicture } from "./render.ts";

const params = { prompt: "a fox in the snow", seed: 7, model: "z_image", resolution: "320x200" };

test("the same params give the same bytes; another prompt, seed or model another picture", () => {
  const bytes = (more: object) =>
    Buffer.from(renderPicture(describePicture("z_image_turbo", { ...params, ...more })).png).toString(
      "base64",
    );
  const first = bytes({});
  assert.equal(bytes({}), first);
  for (const more of [{ prompt: "a cat" }, { seed: 8 }, { model: "qwen" }])
    assert.notEqual(bytes(more), first);
});

test("a picture is a PNG of exactly its resolution, the thumbnail one of at most 400 pixels", () => {
  for (const [resolution, width, height] of [
    ["902x508", 902, 508],
    ["64x64", 64, 64],
    ["508×902", 508, 902],
  ] as const) {
    const { png, thumbnail } = renderPicture(describePicture("qwen_image", { ...params, resolution }));
    const { width: w, height: h, type } = imageSize(png);
    assert.deepEqual({ w, h, type }, { w: width, h: height, type: "png" });
    const small = imageSize(thumbnail);
    assert.ok(Math.max(small.width, small.height) <= 400);
  }
});

test("sizes that are missing, wrong or huge are brought into bounds", () => {
  const size = (resolution: unknown) => {
    const { width, height } = describePicture("qwen_image", { resolution });
    return [width, height];
  };
  for (const resolution of [undefined, "auto", "", "x", "-5x7", 12, null, "NaNxNaN"]) {
    assert.deepEqual(size(resolution), [1024, 1024], String(resolution));
  }
  assert.deepEqual(size("1x99999"), [64, 4096]);
  const [width = 0, height = 0] = size("99999x99999");
  assert.ok(width * height <= 16_000_000);
});

test("the prompt is in the picture, and is only text whatever it holds", () => {
  const svg = (prompt: unknown) => pictureSvg(describePicture("z_image_turbo", { ...params, prompt }));
  assert.ok(svg("a fox").includes(">a fox</text>"));
  assert.notEqual(
    Buffer.compare(
      Buffer.from(renderPicture(describePicture("qwen_image", { ...params, prompt: "" })).png),
      Buffer.from(renderPicture(describePicture("qwen_image", params)).png),
    ),
    0,
  );
  const hostile = [
    '</text><image href="file:///etc/passwd"/><text>',
    "<!DOCTYPE x [<!ENTITY a 'b'>]>&a;",
    "\u0000\u0001\ud800 lone",
    "\u202etxet desrever",
    "word ".repeat(20_000),
    "x".repeat(100_000),
    "汉字 עברית العربية 😀",
    { an: "object" },
    null,
  ];
  for (const prompt of hostile) {
    assert.ok(!svg(prompt).includes("<image"));
    assert.equal(
      imageSize(renderPicture(describePicture("image_inpaint", { ...params, prompt })).png).width,
      320,
    );
  }
});

test("a picture that edits another says so", () => {
  const badge = (taskType: string) => pictureSvg(describePicture(taskType, params)).includes(">EDIT</text>");
  assert.deepEqual([badge("image_inpaint"), badge("z_image_turbo")], [true, false]);
});
