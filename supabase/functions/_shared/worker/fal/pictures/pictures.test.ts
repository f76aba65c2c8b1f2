import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { projectPath } from "../../../../../../server/migrate.ts";
import { pictureEndpoints, type PictureEndpointId } from "../../../pictures/endpoints.ts";
import { pictureModels } from "../../../pictures/models.ts";
import { inputFieldsOf } from "../../../../../../test/support/fal-types.ts";
import { png } from "../../../../../../test/support/png.ts";
import { BadParams, type Params } from "../params.ts";
import type { FalRequest } from "../recipe.ts";
import { pictureRequests } from "./picture.ts";
import { pictures } from "./recipes.ts";
import { trainingRequest } from "./training.ts";
import { upscaleRequest } from "./upscales.ts";

const image = "https://media.example/lighthouse.png";
const mask = "https://media.example/mask.png";
const lora = "https://media.example/loras/soft-light.safetensors";

function fixture(name: string): Params {
  const text = readFileSync(projectPath(`test/fixtures/${name}.json`), "utf8");
  return (JSON.parse(text) as { params: Params }).params;
}

interface Asked {
  requests: FalRequest[];
  warnings: string[];
}

function ask(taskType: string, params: Params, billed: Params = { images: 1, megapixels: 1 }): Asked {
  if (taskType === "image_upscale") {
    const { request, warnings } = upscaleRequest(params);
    return { requests: [request], warnings: warnings.map(({ field }) => field) };
  }
  if (taskType === "lora_training") {
    const { request, warnings } = trainingRequest(params);
    return { requests: [request], warnings };
  }
  const picture = pictures[taskType];
  assert.ok(picture, taskType);
  const { requests, warnings } = pictureRequests(picture, params, billed);
  return { requests, warnings: warnings.map(({ field }) => field) };
}

/** What FAL is asked for: the endpoint, its input, and the fields that are warned of. */
type Expected = [model: string, input: Params, warned?: string[]];

const cases: [taskType: string, params: Params, expected: Expected][] = [
  [
    "qwen_image",
    fixture("qwen_image"),
    [
      "fal-ai/qwen-image",
      {
        prompt: "a red fox asleep in fresh snow, soft morning light",
        negative_prompt: "text, watermark",
        image_size: { width: 902, height: 508 },
        num_inference_steps: 12,
        seed: 1_234_567,
        loras: [{ path: lora, scale: 0.8 }],
      },
      [
        "style_reference_image",
        "hires_scale",
        "hires_steps",
        "hires_denoise",
        "lightning_lora_strength_phase_1",
        "lightning_lora_strength_phase_2",
      ],
    ],
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
    [
      "fal-ai/qwen-image-2512",
      {
        prompt: "a fox",
        image_size: { width: 1024, height: 768 },
        num_inference_steps: 50,
        guidance_scale: 4,
        output_format: "webp",
      },
      ["steps"],
    ],
  ],
  [
    "qwen_image_2512",
    { prompt: "a fox", loras: [{ url: "https://a.example/l", strength: "0.5" }], num_images: 4 },
    [
      "fal-ai/qwen-image-2512/lora",
      { prompt: "a fox", num_images: 4, loras: [{ path: "https://a.example/l", scale: 0.5 }] },
    ],
  ],
  [
    "qwen_image_style",
    {
      prompt: "a harbour",
      style_reference_image: image,
      subject_reference_image: mask,
      subject_description: "a cat",
      subject_strength: 0.5,
      in_this_scene: true,
    },
    [
      "fal-ai/qwen-image-edit-2509",
      {
        prompt:
          "Use the visual style of image 1, not what it shows. Show the subject of image 2 (a cat), in the scene of image 2. a harbour",
        image_urls: [image, mask],
      },
      ["subject_strength"],
    ],
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
    [
      "fal-ai/qwen-image-edit-2509-lora",
      {
        prompt: "Show the subject of image 1. a harbour",
        image_urls: [mask],
        loras: [{ path: "https://a.example/l", scale: 1 }],
      },
    ],
  ],
  ["qwen_image_style", { prompt: "a harbour" }, ["fal-ai/qwen-image", { prompt: "a harbour" }]],
  [
    "z_image_turbo",
    fixture("z_image_turbo"),
    [
      "fal-ai/z-image/turbo",
      {
        prompt: "a lighthouse at dusk, film grain",
        image_size: { width: 670, height: 670 },
        num_inference_steps: 8,
        seed: 42,
      },
    ],
  ],
  [
    "z_image_turbo",
    {
      prompt: "x",
      loras: [{ path: "https://a.example/l", scale: 0.7 }],
      image_size: "square_hd",
      acceleration: "high",
    },
    [
      "fal-ai/z-image/turbo/lora",
      {
        prompt: "x",
        image_size: "square_hd",
        acceleration: "high",
        loras: [{ path: "https://a.example/l", scale: 0.7 }],
      },
    ],
  ],
  [
    "z_image_turbo",
    { prompt: "x", style_reference_image: image, steps: 12 },
    ["fal-ai/z-image/turbo", { prompt: "x", num_inference_steps: 8 }, ["steps", "style_reference_image"]],
  ],
  [
    "wan_2_2_t2i",
    {
      prompt: "a fox",
      negative_prompt: "blurred",
      model: "optimised-t2i",
      resolution: "902x508",
      seed: 5,
      steps: 12,
      enable_safety_checker: false,
      phase_config: { num_phases: 2 },
    },
    [
      "fal-ai/wan/v2.2-a14b/text-to-image",
      {
        prompt: "a fox",
        negative_prompt: "blurred",
        image_size: { width: 902, height: 508 },
        seed: 5,
        num_inference_steps: 12,
        enable_safety_checker: false,
        enable_output_safety_checker: false,
      },
      ["phase_config"],
    ],
  ],
  [
    "wan_2_2_t2i",
    {
      prompt: "a fox",
      model: "flux-dev",
      output_format: "jpg",
      additional_loras: {
        "https://a.example/fox_high_noise.safetensors": 1,
        "https://a.example/fox_low_noise.safetensors?v=2": 0.5,
        "https://a.example/slower.safetensors": "0.25",
      },
    },
    [
      "fal-ai/wan/v2.2-a14b/text-to-image/lora",
      {
        prompt: "a fox",
        image_format: "jpeg",
        loras: [
          { path: "https://a.example/fox_high_noise.safetensors", scale: 1, transformer: "high" },
          { path: "https://a.example/fox_low_noise.safetensors?v=2", scale: 0.5, transformer: "low" },
          { path: "https://a.example/slower.safetensors", scale: 0.25, transformer: "both" },
        ],
      },
      ["model"],
    ],
  ],
  [
    "qwen_image_edit",
    {
      image,
      prompt: "make it night",
      seed: 9,
      output_format: "jpeg",
      qwen_edit_model: "qwen-edit",
      resolution: "902x508",
      in_scene: true,
      enable_sync_mode: false,
    },
    [
      "fal-ai/qwen-image-edit",
      {
        prompt: "Keep the scene of the picture. make it night",
        image_url: image,
        image_size: { width: 902, height: 508 },
        seed: 9,
        output_format: "jpeg",
      },
      ["in_scene"],
    ],
  ],
  [
    "qwen_image_edit",
    { image_url: image, qwen_edit_model: "qwen-edit-2511", loras: [{ url: lora, strength: 0.4 }] },
    [
      "fal-ai/qwen-image-edit-2511/lora",
      { prompt: " ", image_urls: [image], loras: [{ path: lora, scale: 0.4 }] },
    ],
  ],
  [
    "qwen_image_edit",
    { image, prompt: "night", loras: [{ url: lora }], output_format: "webp" },
    [
      "fal-ai/qwen-image-edit-lora",
      { prompt: "night", image_url: image, loras: [{ path: lora, scale: 1 }] },
      ["output_format"],
    ],
  ],
  [
    "image_edit",
    { image, prompt: "night", qwen_edit_model: "qwen-edit-3000", loras: [{ path: lora }] },
    [
      "fal-ai/qwen-image-edit-2509-lora",
      { prompt: "night", image_urls: [image], loras: [{ path: lora, scale: 1 }] },
      ["qwen_edit_model"],
    ],
  ],
  [
    "magic_edit",
    { orchestrator_details: { image_url: image, prompt: "night", seed: 3 } },
    ["fal-ai/qwen-image-edit-2509", { prompt: "night", image_urls: [image], seed: 3 }],
  ],
  [
    "magic_edit",
    { image_url: image, prompt: "night", qwen_edit_model: "qwen-edit-2511" },
    ["fal-ai/qwen-image-edit-2511", { prompt: "night", image_urls: [image] }],
  ],
  [
    "image_inpaint",
    fixture("image_inpaint"),
    [
      "fal-ai/qwen-image-edit/inpaint",
      { prompt: "a small boat on the water", num_images: 1, image_url: image, mask_url: mask },
      ["loras", "qwen_edit_model"],
    ],
  ],
  [
    "annotated_image_edit",
    { image_url: image, mask_url: mask, prompt: "as drawn" },
    ["fal-ai/qwen-image-edit-2509", { prompt: "as drawn", image_urls: [image, mask] }],
  ],
  [
    "z_image_turbo_i2i",
    fixture("z_image_turbo_i2i"),
    [
      "fal-ai/z-image/turbo/image-to-image/lora",
      {
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
    ],
  ],
  [
    "z_image_turbo_i2i",
    { image, denoising_strength: 0.3 },
    ["fal-ai/z-image/turbo/image-to-image", { prompt: " ", image_url: image, strength: 0.3 }],
  ],
  [
    "edit_travel_kontext",
    { image, prompt: "at night", resolution: "508x902", loras: [{ path: lora }], strength: 0.4, seed: 1 },
    [
      "fal-ai/flux-pro/kontext",
      { prompt: "at night", image_url: image, aspect_ratio: "9:16", seed: 1 },
      ["loras", "strength", "resolution"],
    ],
  ],
  [
    "edit_travel_flux",
    { image, prompt: "at night", strength: 0.4, negative_prompt: "fog" },
    [
      "fal-ai/flux-lora/image-to-image",
      { prompt: "at night", image_url: image, strength: 0.4 },
      ["negative_prompt"],
    ],
  ],
  [
    "image_upscale",
    { image, scale_factor: 4, output_format: "jpeg" },
    ["fal-ai/esrgan", { image_url: image, scale: 4, output_format: "jpeg" }],
  ],
  [
    "image_upscale",
    { image_url: image, upscale_model: "topaz", output_format: "webp" },
    ["fal-ai/esrgan", { image_url: image, scale: 2 }, ["output_format", "upscale_model"]],
  ],
  [
    "lora_training",
    { images_data_url: "https://media.example/foxes.zip", trigger_word: "fx", steps: 500, is_style: true },
    [
      "fal-ai/flux-lora-fast-training",
      { images_data_url: "https://media.example/foxes.zip", trigger_word: "fx", steps: 500, is_style: true },
    ],
  ],
];

/** `single_image` by its model's name and what else is asked; the endpoint, the input without the prompt, and the warnings. */
const singleImages: [string | undefined, Params, ...Expected][] = [
  [
    undefined,
    { orchestrator_details: { seed: 4, negative_prompt: "blurred" } },
    "fal-ai/wan/v2.2-a14b/text-to-image",
    { seed: 4, negative_prompt: "blurred" },
  ],
  [
    "wan 2.2",
    { additional_loras: { [lora]: 0.5 }, output_format: "png" },
    "fal-ai/wan/v2.2-a14b/text-to-image/lora",
    { image_format: "png", loras: [{ path: lora, scale: 0.5, transformer: "both" }] },
  ],
  [
    "optimised-t2i",
    { image_url: image, strength: 0.5, loras: [{ path: lora }] },
    "fal-ai/wan/v2.2-a14b/image-to-image",
    { image_url: image, strength: 0.5 },
    ["loras"],
  ],
  [
    "FLUX.1 [dev]",
    {
      negative_prompt: "fog",
      steps: 80,
      guidance_scale: 0.5,
      enable_safety_checker: false,
      output_format: "webp",
    },
    "fal-ai/flux/dev",
    { num_inference_steps: 50, guidance_scale: 1, enable_safety_checker: false },
    ["negative_prompt", "steps", "guidance_scale", "output_format"],
  ],
  [
    "flux_dev",
    { loras: [{ path: lora, scale: 2 }], acceleration: "high" },
    "fal-ai/flux-lora",
    { loras: [{ path: lora, scale: 2 }] },
    ["acceleration"],
  ],
  ["flux", { image_url: image }, "fal-ai/flux-lora/image-to-image", { image_url: image }],
  [
    "flux-schnell",
    { negative_prompt: "fog", loras: [{ path: lora }], image_url: image, steps: 4 },
    "fal-ai/flux/schnell",
    { num_inference_steps: 4 },
    ["negative_prompt", "loras", "image_url"],
  ],
  [
    "flux-pro",
    {
      steps: 20,
      guidance_scale: 3,
      enable_safety_checker: false,
      loras: [{ path: lora }],
      resolution: "902x508",
    },
    "fal-ai/flux-pro/v1.1",
    { safety_tolerance: "6", image_size: { width: 902, height: 508 } },
    ["steps", "guidance_scale", "enable_safety_checker", "loras"],
  ],
  [
    "kontext",
    { image_url: image, resolution: "902x508", guidance_scale: 3 },
    "fal-ai/flux-pro/kontext",
    { image_url: image, aspect_ratio: "16:9", guidance_scale: 3 },
    ["resolution"],
  ],
  [
    "kontext",
    { image_url: image, resolution: "1024x1024", match_image_size: true },
    "fal-ai/flux-pro/kontext",
    { image_url: image },
  ],
  [
    "Flux Kontext",
    { resolution: "1024x1024" },
    "fal-ai/flux-pro/kontext/text-to-image",
    { aspect_ratio: "1:1" },
  ],
  [
    "kontext-dev",
    { image_url: image, resolution: "512x768" },
    "fal-ai/flux-kontext/dev",
    { image_url: image, resolution_mode: "2:3" },
    ["resolution"],
  ],
  [
    "kontext-dev",
    { image_url: image, loras: [{ path: lora }] },
    "fal-ai/flux-kontext-lora",
    { image_url: image, loras: [{ path: lora, scale: 1 }] },
  ],
  ["kontext-dev", {}, "fal-ai/flux-kontext-lora/text-to-image", {}],
  ["Qwen Image", { steps: 20 }, "fal-ai/qwen-image", { num_inference_steps: 20 }],
  [
    "qwen-image",
    { image_url: image, strength: 0.7, loras: [{ path: lora }] },
    "fal-ai/qwen-image/image-to-image",
    { image_url: image, strength: 0.7, loras: [{ path: lora, scale: 1 }] },
  ],
  ["qwen_image_2512", { output_format: "webp" }, "fal-ai/qwen-image-2512", { output_format: "webp" }],
  [
    "z-image",
    { guidance_scale: 3, model_type: "flux-pro" },
    "fal-ai/z-image/turbo",
    {},
    ["guidance_scale", "model_type"],
  ],
];

const allCases: typeof cases = [
  ...cases,
  ...singleImages.map(([model, params, endpoint, input, warned = []]): (typeof cases)[number] => [
    "single_image",
    { prompt: "a fox", ...(model && { model }), ...params },
    [endpoint, { prompt: "a fox", ...input }, warned],
  ]),
];

test("each task type of pictures becomes an endpoint's input, and what is not done is warned of", () => {
  for (const [taskType, params, [model, input, warned = []]] of allCases) {
    const { requests, warnings } = ask(taskType, params);
    const told = `${taskType} ${JSON.stringify(params)}`;
    assert.deepEqual([requests.length, requests[0]?.model, requests[0]?.input], [1, model, input], told);
    assert.deepEqual(warnings, warned, told);
  }
  assert.deepEqual(
    new Set(cases.map(([taskType]) => taskType)),
    new Set(
      [...Object.keys(pictures), "image_upscale", "lora_training"].filter((type) => type !== "single_image"),
    ),
  );
});

test("what is sent is what the official client knows of the endpoints, and nothing that they need is left out", () => {
  for (const [taskType, params] of allCases) {
    for (const { model, input } of ask(taskType, params).requests) {
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
  }
});

test("every setting of an endpoint's row is a field of the official client's type", () => {
  /** Everything that can be asked for at once. */
  const all: Params = {
    prompt: "a fox",
    negative_prompt: "fog",
    resolution: "512x512",
    seed: 1,
    num_images: 1,
    steps: 8,
    guidance_scale: 2,
    enable_safety_checker: false,
    enable_prompt_expansion: true,
    output_format: "png",
    acceleration: "regular",
    image_url: image,
    mask_url: mask,
    strength: 0.5,
    loras: [{ path: lora }],
  };
  for (const id of Object.keys(pictureEndpoints) as PictureEndpointId[]) {
    const picture = {
      endpoint: () => id,
      name: () => id,
      sources: () => ({ images: [["image_url"]], mask: ["mask_url"] }),
    };
    const [request] = pictureRequests(picture, all, { megapixels: 1 }).requests;
    const { known } = inputFieldsOf(id);
    assert.deepEqual(
      Object.keys(request?.input ?? {}).filter((name) => !known.includes(name)),
      [],
      `${id} does not take these`,
    );
  }
});

test("the price list names the models of the table, each by all of its names at one price", () => {
  const seed = readFileSync(projectPath("supabase/seed.sql"), "utf8");
  const [, text = "{}"] = /\('single_image', 1, 'per_unit', \d+, '(\{[^']+\})'\)/.exec(seed) ?? [];
  const { model: factors } = JSON.parse(text) as { model: Record<string, number> };
  assert.deepEqual(new Set(Object.keys(factors)), new Set(pictureModels.flatMap(({ names }) => names)));
  for (const { names } of pictureModels) {
    assert.equal(new Set(names.map((name) => factors[name])).size, 1, names[0]);
  }
});

test("an address that FAL gets instead stands where the first one stood", () => {
  for (const [taskType, params] of allCases) {
    for (const { input, files } of ask(taskType, params).requests) {
      const before = JSON.stringify(input);
      const urls = files.map(({ url }) => url);
      for (const [index, file] of files.entries()) file.place(`https://placed.example/${index}`);
      let expected = before;
      for (const [index, url] of urls.entries())
        expected = expected.replace(url, `https://placed.example/${index}`);
      assert.equal(JSON.stringify(input), expected, taskType);
    }
  }
});

test("a size of auto is left to the model, however it is spelled: the price takes it for nothing said", () => {
  for (const size of ["auto", "AUTO", " Auto "]) {
    const { requests, warnings } = ask("qwen_image", { prompt: "a fox", image_size: size });
    assert.deepEqual([requests[0]?.input["image_size"], warnings], [undefined, []], size);
  }
});

test("params that do not fit are refused by name, all of them at once", () => {
  const refused: [string, Params, RegExp[]][] = [
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
      [/seed is no number/, /guidance_scale is no/],
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
    [
      "edit_travel_kontext",
      { image, prompt: "a", resolution: "2048x1024" },
      [/resolution must be at most one meg/],
    ],
    ["single_image", { prompt: "a", model: "dall-e" }, [/model dall-e is not run at FAL/]],
    ["lora_training", {}, [/images must be a list of 1 to 100/]],
    ["lora_training", { images: [image], base_model: "qwen-image" }, [/base_model must be flux-dev/]],
    ["lora_training", { images: [{ caption: "a" }] }, [/images must have an address/]],
  ];
  for (const [taskType, params, patterns] of refused) {
    assert.throws(
      () => ask(taskType, params),
      (error) => error instanceof BadParams && patterns.every((pattern) => pattern.test(error.message)),
      `${taskType} ${JSON.stringify(params).slice(0, 100)}`,
    );
  }
});

test("units are what FAL bills at most, and a picture of an edit is never larger than what is paid", async () => {
  const large = png({ width: 2048, height: 1024 });
  const edits: [string, Params][] = [
    ["z_image_turbo_i2i", { image_url: image }],
    ["image_inpaint", { image_url: image, mask_url: mask }],
    ["annotated_image_edit", { image_url: image, mask_url: mask }],
    ["qwen_image_style", { prompt: "a", style_reference_image: image }],
    [
      "single_image",
      { prompt: "a", model: "flux-dev", image_url: image, match_image_size: true, resolution: "1024x1024" },
    ],
  ];
  for (const [taskType, params] of edits) {
    const [request] = ask(taskType, params).requests;
    assert.ok(request);
    assert.deepEqual(request.units, { images: 1, megapixels: 2 }, `${taskType}: before it is measured`);
    for (const file of request.files) await file.inspect?.(large);
    assert.deepEqual(request.input["image_size"], { width: 1440, height: 720 }, taskType);
    assert.deepEqual(request.units, { images: 1, megapixels: 2 }, taskType);
    const [small] = ask(taskType, params).requests;
    for (const file of small?.files ?? []) await file.inspect?.(png({ width: 512, height: 256 }));
    assert.deepEqual(
      [small?.input["image_size"], small?.units],
      [
        { width: 512, height: 256 },
        { images: 1, megapixels: 1 },
      ],
    );
  }
  const sized = ask(
    "qwen_image",
    { prompt: "a", resolution: "1024x1024", num_images: 3 },
    { images: 3, megapixels: 1 },
  );
  assert.deepEqual(sized.requests[0]?.units, { images: 3, megapixels: 6 });
  const ratio = ask("edit_travel_kontext", { prompt: "a", image }, { images: 1 });
  assert.deepEqual(ratio.requests[0]?.units, { images: 1, megapixels: 2 });
});

test("where the price does not count megapixels, one of FAL's is made, and a larger size is warned of", async () => {
  const params = { image, prompt: "a", resolution: "2048x1024" };
  const asked = ask("qwen_image_edit", params, { images: 1 });
  assert.deepEqual(asked.requests[0]?.input["image_size"], { width: 1408, height: 704 });
  assert.deepEqual(
    [asked.requests[0]?.units, asked.warnings],
    [{ images: 1, megapixels: 1 }, ["resolution"]],
  );
  const unsized = ask("magic_edit", { image, prompt: "a" }, { images: 1 }).requests[0];
  for (const file of unsized?.files ?? []) await file.inspect?.(png({ width: 4096, height: 4096 }));
  assert.deepEqual(unsized?.input["image_size"], { width: 992, height: 992 });
  const fromText = ask("wan_2_2_t2i", { prompt: "a" }, { images: 1 }).requests[0];
  assert.deepEqual(
    [fromText?.input["image_size"], fromText?.units.megapixels],
    [{ width: 992, height: 992 }, 1],
  );
});

test("an endpoint of one picture runs a job for each that is paid, with a seed of its own", () => {
  const { requests } = ask(
    "wan_2_2_t2i",
    { prompt: "a", seed: 7, num_images: 3 },
    { images: 3, megapixels: 1 },
  );
  assert.deepEqual(
    requests.map(({ input, units }) => [input["seed"], units.images]),
    [
      [7, 1],
      [8, 1],
      [9, 1],
    ],
  );
});

test("an upscale whose result cannot be stored fails the task, and its size is what FAL bills", async () => {
  const picture = png({ width: 1024, height: 1024 });
  const outcome = async (more: object, bytes = picture) => {
    const { request } = upscaleRequest({ image, ...more });
    try {
      for (const file of request.files) await file.inspect?.(bytes);
      return request.units.megapixels;
    } catch (error) {
      return (error as Error).message;
    }
  };
  assert.equal(await outcome({ scale_factor: 2 }), 5);
  assert.equal(await outcome({ scale_factor: 4 }), 17);
  assert.match(
    String(await outcome({ scale_factor: 4.1 })),
    /^image: 4\.1 times 1024 × 1024 are 4199 × 4199 pixels, and at most 16 million pixels of png/,
  );
  assert.equal(await outcome({ scale_factor: 5.6, output_format: "jpeg" }), 33);
  assert.match(
    String(await outcome({ scale_factor: 8, output_format: "jpeg" })),
    /at most 33 million pixels of jpeg/,
  );
  assert.match(
    String(await outcome({ scale_factor: 8 }, png({ width: 4096, height: 2 }))),
    /32768 × 16 pixels/,
  );
});
