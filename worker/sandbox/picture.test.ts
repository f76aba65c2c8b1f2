import assert from "node:assert/strict";
import { test } from "node:test";
import { imageSize } from "image-size";
import { describePicture } from "./description.ts";
import { pictureSvg } from "./picture.ts";
import { renderPicture } from "./render.ts";
import { typeset } from "./typesetting.ts";

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
    assert.ok(!/\p{Cc}/u.test(svg(prompt)));
    assert.equal(
      imageSize(renderPicture(describePicture("image_inpaint", { ...params, prompt })).png).width,
      320,
    );
  }
});

test("a picture that edits another says so", () => {
  const svg = (taskType: string) =>
    pictureSvg(
      describePicture(taskType, { ...params, image_url: "https://media.example/a/lamp.png?token=x" }),
    );
  assert.ok(svg("image_inpaint").includes(">Inpainting of lamp.png</text>"));
  assert.ok(svg("qwen_image_edit").includes(">Edit of lamp.png</text>"));
  assert.ok(!svg("z_image_turbo").includes("lamp.png"));
});

test("a picture names the sandbox, in its footer at every size and in its PNG text", () => {
  for (const resolution of ["64x64", "320x200", "200x1400", "1024x438"]) {
    const description = describePicture("z_image_turbo", { ...params, resolution });
    assert.ok(pictureSvg(description).includes(">Darkroom sandbox</text>"), resolution);
  }
  const png = Buffer.from(renderPicture(describePicture("z_image_turbo", params)).png);
  assert.ok(png.includes("iTXtSoftware\0\0\0\0\0Darkroom sandbox"));
  assert.ok(png.includes("iTXtDescription\0\0\0\0\0a fox in the snow"));
});

test("a prompt is set in lines that stay within the picture and end with an ellipsis when cut", () => {
  const frame = { width: 880, height: 440, largest: 84, smallest: 26 };
  const prompts = ["a fox", "WWW ".repeat(200), "x".repeat(900), "illicit ".repeat(100)];
  for (const prompt of prompts) {
    const block = typeset(prompt.trim(), frame);
    assert.ok(block.lines.length * block.lineHeight <= frame.height);
    for (const line of block.lines) assert.ok(block.font.width(line) * block.size <= frame.width, line);
  }
  assert.ok(typeset("WWW ".repeat(400).trim(), frame).lines.at(-1)?.endsWith("…"));
  assert.deepEqual(typeset("a fox", frame).lines, ["a fox"]);
});

test("a prompt in Hebrew is set from the right, in a face that has its letters", () => {
  const block = typeset("שלום עולם!", { width: 880, height: 440, largest: 84, smallest: 26 });
  assert.equal(block.rightToLeft, true);
  assert.equal(block.font.family, "DejaVu Sans");
});
