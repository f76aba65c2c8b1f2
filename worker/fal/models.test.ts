import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import { falRequest, mappings } from "./models.ts";
import { BadParams, type Params } from "./params.ts";

const image = "https://media.example/lighthouse.png";
const mask = "https://media.example/mask.png";

function fixture(name: string): { taskType: string; params: Params } {
  const text = readFileSync(projectPath(`test/fixtures/${name}.json`), "utf8");
  const { task_type: taskType, params } = JSON.parse(text) as { task_type: string; params: Params };
  return { taskType, params };
}

/** Requests of every task type, and of every model that it may lead to. */
const requests: [string, Params, { model: string; input: Params }][] = [
  [
    "qwen_image",
    fixture("qwen_image").params,
    {
      model: "fal-ai/qwen-image",
      input: {
        prompt: "a red fox asleep in fresh snow, soft morning light",
        negative_prompt: "text, watermark",
        image_size: { width: 902, height: 508 },
        num_inference_steps: 12,
        seed: 1_234_567,
        loras: [{ path: "https://media.example/loras/soft-light.safetensors", scale: 0.8 }],
      },
    },
  ],
  [
    "qwen_image_2512",
    {
      prompt: "a fox",
      resolution: "1024*768",
      seed: -1,
      steps: 500,
      guidance_scale: 4,
      output_format: "webp",
    },
    {
      model: "fal-ai/qwen-image-2512",
      input: {
        prompt: "a fox",
        image_size: { width: 1024, height: 768 },
        num_inference_steps: 50,
        guidance_scale: 4,
        output_format: "webp",
      },
    },
  ],
  [
    "qwen_image_2512",
    { prompt: "a fox", loras: [{ url: "https://a.example/l", strength: "0.5" }], num_images: 4 },
    {
      model: "fal-ai/qwen-image-2512/lora",
      input: { prompt: "a fox", num_images: 4, loras: [{ path: "https://a.example/l", scale: 0.5 }] },
    },
  ],
  [
    "qwen_image_style",
    {
      prompt: "a harbour",
      style_reference_image: image,
      subject_reference_image: mask,
      subject_description: "a cat",
      in_this_scene: true,
    },
    {
      model: "fal-ai/qwen-image-edit-2509",
      input: {
        prompt:
          "Use the visual style of image 1, not what it shows. Show the subject of image 2 (a cat), in the scene of image 2. a harbour",
        image_urls: [image, mask],
      },
    },
  ],
  [
    "qwen_image_style",
    {
      prompt: "a harbour",
      style_reference_image: image,
      style_reference_strength: 0,
      subject_reference_image: mask,
      additional_loras: { "https://a.example/l": 1 },
    },
    {
      model: "fal-ai/qwen-image-edit-2509-lora",
      input: {
        prompt: "Show the subject of image 1. a harbour",
        image_urls: [mask],
        loras: [{ path: "https://a.example/l", scale: 1 }],
      },
    },
  ],
  [
    "qwen_image_style",
    { prompt: "a harbour" },
    { model: "fal-ai/qwen-image", input: { prompt: "a harbour" } },
  ],
  [
    "z_image_turbo",
    fixture("z_image_turbo").params,
    {
      model: "fal-ai/z-image/turbo",
      input: {
        prompt: "a lighthouse at dusk, film grain",
        image_size: { width: 670, height: 670 },
        num_inference_steps: 8,
        seed: 42,
      },
    },
  ],
  [
    "z_image_turbo",
    {
      prompt: "x",
      loras: [{ path: "https://a.example/l", scale: 0.7 }],
      image_size: "square_hd",
      acceleration: "high",
    },
    {
      model: "fal-ai/z-image/turbo/lora",
      input: {
        prompt: "x",
        image_size: "square_hd",
        acceleration: "high",
        loras: [{ path: "https://a.example/l", scale: 0.7 }],
      },
    },
  ],
  [
    "z_image_turbo_i2i",
    fixture("z_image_turbo_i2i").params,
    {
      model: "fal-ai/z-image/turbo/image-to-image/lora",
      input: {
        prompt: "the same lighthouse in a storm",
        num_inference_steps: 8,
        output_format: "png",
        enable_prompt_expansion: false,
        seed: 7,
        num_images: 1,
        enable_safety_checker: true,
        acceleration: "none",
        image_url: image,
        strength: 0.6,
        loras: [{ path: "https://media.example/loras/storm.safetensors", scale: 0.7 }],
      },
    },
  ],
  [
    "z_image_turbo_i2i",
    { image, denoising_strength: 0.3 },
    {
      model: "fal-ai/z-image/turbo/image-to-image",
      input: { prompt: " ", image_url: image, strength: 0.3 },
    },
  ],
  [
    "image_inpaint",
    fixture("image_inpaint").params,
    {
      model: "fal-ai/qwen-image-edit/inpaint",
      input: { prompt: "a small boat on the water", num_images: 1, image_url: image, mask_url: mask },
    },
  ],
  [
    "annotated_image_edit",
    { image_url: image, mask_url: mask, prompt: "as drawn" },
    { model: "fal-ai/qwen-image-edit-2509", input: { prompt: "as drawn", image_urls: [image, mask] } },
  ],
  [
    "annotated_image_edit",
    {
      image_url: image,
      mask_url: mask,
      qwen_edit_model: "qwen-edit-2511",
      loras: [{ url: "https://a.example/l", strength: 2 }],
    },
    {
      model: "fal-ai/qwen-image-edit-2511/lora",
      input: { prompt: " ", image_urls: [image, mask], loras: [{ path: "https://a.example/l", scale: 2 }] },
    },
  ],
  [
    "image_upscale",
    { image, scale_factor: 4, output_format: "jpeg" },
    { model: "fal-ai/esrgan", input: { image_url: image, scale: 4, output_format: "jpeg" } },
  ],
  [
    "animate_character",
    {
      character_image_url: image,
      motion_video_url: "https://media.example/dance.mp4",
      prompt: "dance",
      mode: "animate",
      resolution: "720p",
      seed: 3,
    },
    {
      model: "fal-ai/wan/v2.2-14b/animate/move",
      input: { image_url: image, video_url: "https://media.example/dance.mp4", resolution: "720p", seed: 3 },
    },
  ],
  [
    "animate_character",
    { character_image_url: image, motion_video_url: "https://media.example/dance.mp4", mode: "replace" },
    {
      model: "fal-ai/wan/v2.2-14b/animate/replace",
      input: { image_url: image, video_url: "https://media.example/dance.mp4" },
    },
  ],
];

test("each task type becomes a model's input", () => {
  for (const [taskType, params, { model, input }] of requests) {
    const request = falRequest(taskType, params);
    assert.deepEqual([request.model, request.input], [model, input], taskType);
  }
  assert.deepEqual(new Set(requests.map(([taskType]) => taskType)), new Set(Object.keys(mappings)));
});

test("what is sent is what the official client knows of the models, and nothing that they need is left out", () => {
  for (const [taskType, params] of requests) {
    const { model, input } = falRequest(taskType, params);
    const { known, required } = inputFieldsOf(model);
    assert.ok(known.length > 2, `${model} is not in the client's types`);
    assert.deepEqual(
      Object.keys(input).filter((name) => !known.includes(name)),
      [],
      `${model} does not take these`,
    );
    assert.deepEqual(
      required.filter((name) => !(name in input)),
      [],
      `${model} needs these`,
    );
  }
});

test("an address that FAL gets instead stands where the first one stood", () => {
  for (const [taskType, params] of requests) {
    const { input, files } = falRequest(taskType, params);
    const before = JSON.stringify(input);
    const urls = files.map(({ url }) => url);
    for (const [index, file] of files.entries()) file.place(`https://placed.example/${index}`);
    let expected = before;
    for (const [index, url] of urls.entries())
      expected = expected.replace(url, `https://placed.example/${index}`);
    assert.equal(JSON.stringify(input), expected, taskType);
  }
});

test("a size of auto is left to the model, however it is spelled: the price takes it for nothing said", () => {
  for (const size of ["auto", "AUTO", " Auto "]) {
    const { input } = falRequest("qwen_image", { prompt: "a fox", image_size: size });
    assert.equal(input["image_size"], undefined, size);
  }
});

test("params that do not fit are refused by name, all of them at once", () => {
  const cases: [string, Params, RegExp[]][] = [
    ["qwen_image", {}, [/prompt is missing/]],
    ["qwen_image", { prompt: ["a"] }, [/prompt is no text/]],
    ["qwen_image", { prompt: "a".repeat(20_001) }, [/prompt is longer/]],
    ["qwen_image", { prompt: "a", resolution: "3000x100" }, [/resolution has a side/]],
    ["qwen_image", { prompt: "a", resolution: "wide" }, [/resolution is no size/]],
    ["qwen_image", { prompt: "a", num_images: 5 }, [/num_images is not from 1 to 4/]],
    ["qwen_image", { prompt: "a", num_images: 1.5 }, [/num_images is no whole number/]],
    [
      "qwen_image",
      { prompt: "a", seed: "x", guidance_scale: {} },
      [/seed is no number/, /guidance_scale is no number/],
    ],
    ["qwen_image", { prompt: "a", loras: [{ scale: 1 }] }, [/loras is no address/]],
    ["qwen_image", { prompt: "a", additional_loras: { a: 9 } }, [/additional_loras is not from 0 to 4/]],
    [
      "z_image_turbo",
      { prompt: "a", loras: [1, 2, 3, 4].map((scale) => ({ path: "https://a.example/l", scale })) },
      [/loras are more than 3/],
    ],
    ["z_image_turbo_i2i", { prompt: "a" }, [/image_url is missing/]],
    ["image_inpaint", { image_url: image }, [/mask_url is missing/]],
    ["animate_character", {}, [/character_image_url is missing/, /motion_video_url is missing/]],
    ["lora_training", {}, [/task_type is not run at FAL/]],
  ];
  for (const [taskType, params, patterns] of cases) {
    assert.throws(
      () => falRequest(taskType, params),
      (error) => error instanceof BadParams && patterns.every((pattern) => pattern.test(error.message)),
      `${taskType} ${JSON.stringify(params).slice(0, 100)}`,
    );
  }
});

/** Fields of a model's input, as the official client declares them. */
function inputFieldsOf(model: string): { known: string[]; required: string[] } {
  const client = createRequire(import.meta.url).resolve("@fal-ai/client");
  declarations ??= readFileSync(path.join(path.dirname(client), "types/endpoints.d.ts"), "utf8");
  const at = declarations.indexOf(`    "${model}": {\n`);
  let type = at === -1 ? undefined : /input: (\w+)/.exec(declarations.slice(at, at + 500))?.[1];
  for (let alias = type; alias;) {
    type = alias;
    alias = new RegExp(`^export type ${type} = (\\w+);$`, "m").exec(declarations)?.[1];
  }
  const begin = declarations.indexOf(`export type ${type} = {\n`);
  const end = declarations.indexOf("\n};", begin);
  if (type === undefined || begin === -1) return { known: [], required: [] };
  const fields = [...declarations.slice(begin, end).matchAll(/^ {4}(\w+)(\?)?:/gm)];
  return {
    known: fields.map(([, name = ""]) => name),
    required: fields.filter(([, , optional]) => optional === undefined).map(([, name = ""]) => name),
  };
}
let declarations: string | undefined;
