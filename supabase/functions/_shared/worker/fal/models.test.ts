import assert from "node:assert/strict";
import { test } from "node:test";
import { inputFieldsOf } from "../../../../../test/support/fal-types.ts";
import { falRequest, mappings } from "./models.ts";
import { BadParams, type Params } from "./params.ts";

const image = "https://media.example/lighthouse.png";

/** Requests of every task type, and of every model that it may lead to. */
const requests: [string, Params, { model: string; input: Params }][] = [
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

test("params that do not fit are refused by name, all of them at once", () => {
  const cases: [string, Params, RegExp[]][] = [
    ["animate_character", {}, [/character_image_url is missing/, /motion_video_url is missing/]],
    ["qwen_image", {}, [/task_type is not run at FAL/]],
  ];
  for (const [taskType, params, patterns] of cases) {
    assert.throws(
      () => falRequest(taskType, params),
      (error) => error instanceof BadParams && patterns.every((pattern) => pattern.test(error.message)),
      `${taskType} ${JSON.stringify(params).slice(0, 100)}`,
    );
  }
});
