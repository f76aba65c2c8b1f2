import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { z } from "zod";
import { projectPath } from "../../../../server/migrate.ts";
import {
  assertPayload,
  familyCases,
  rowNames,
  type RowIds,
  withRows,
} from "../../../../test/support/family-fixtures.ts";
import { families, familyOf } from "./families.ts";
import type { Payloads } from "./family.ts";

const cases = await familyCases();
const ids = Object.fromEntries(
  rowNames.map((name, index) => [name, `00000000-0000-4000-8000-00000000000${index}`]),
) as RowIds;

function build(family: string, input: unknown, aspectRatio: string | null = null): Payloads {
  const read = familyOf(family)?.family.read(input);
  assert.ok(read?.success, JSON.stringify(read?.error?.issues));
  return read.data.build({ project_id: ids.shot, aspect_ratio: aspectRatio });
}

function issuesOf(family: string, input: unknown): string[] {
  const read = familyOf(family)?.family.read(input);
  assert.equal(read?.success, false, `${family} takes ${JSON.stringify(input).slice(0, 200)}`);
  return read?.error?.issues.map(({ path }) => path.join(".")) ?? [];
}

/** The first case's input, which is the least that a family takes. */
function leastOf(family: string): Record<string, unknown> {
  const [first] = cases.filter((one) => one.family === family);
  assert.ok(first);
  return withRows(first.input, ids);
}

for (const { family, title, aspect_ratio, input, tasks, meta } of cases) {
  test(`${family}: ${title}`, () => {
    const built = build(family, withRows(input, ids), aspect_ratio);
    assert.equal(built.tasks.length, tasks.length);
    for (const [index, task] of tasks.entries()) assertPayload(built.tasks[index], withRows(task, ids));
    assertPayload(built.meta, withRows(meta, ids));
  });
}

describe("fixtures", () => {
  test("each family has its own, with the least input, and every field in one of them", () => {
    const files = readdirSync(projectPath("test/fixtures/families"));
    assert.deepEqual(
      files.sort(),
      Object.keys(families)
        .map((name) => `${name}.json`)
        .sort(),
    );
    for (const [name, { input }] of Object.entries(families)) {
      const own = cases.filter(({ family }) => family === name);
      const { properties = {}, required = [] } = z.toJSONSchema(input, { io: "input" });
      assert.deepEqual(
        required.filter((field) => !(field in leastOf(name))),
        [],
      );
      const used = new Set(own.flatMap((one) => Object.keys(one.input)));
      assert.deepEqual(
        Object.keys(properties).filter((field) => !used.has(field)),
        [],
        name,
      );
    }
  });

  test("a difference of one key, one value or one mark is seen", () => {
    const expected = { a: "<run id>", b: { c: "<run id>" }, d: 1 };
    const run = "20260101000000000";
    assertPayload({ a: run, b: { c: run }, d: 1 }, expected);
    for (const wrong of [
      { a: run, b: { c: run }, d: 2 },
      { a: run, b: { c: run } },
      { a: run, b: { c: run }, d: 1, e: 1 },
      { a: run, b: { c: "20260101000000001" }, d: 1 },
      { a: "another", b: { c: run }, d: 1 },
    ]) {
      assert.throws(() => assertPayload(wrong, expected), { code: "ERR_ASSERTION" });
    }
  });
});

test("null is the same as not sent", () => {
  for (const [name, { input }] of Object.entries(families)) {
    const { properties = {}, required = [] } = z.toJSONSchema(input, { io: "input" });
    const nothing = Object.fromEntries(
      Object.keys(properties)
        .filter((field) => !required.includes(field))
        .map((field) => [field, null]),
    );
    const [first] = cases.filter(({ family }) => family === name);
    const { tasks } = build(name, { ...nothing, ...leastOf(name) }, first?.aspect_ratio);
    assertPayload(tasks[0], withRows(first?.tasks[0], ids));
  }
});

test("what is no field is left behind, at every depth: no secret reaches a worker", () => {
  const canary = "sk-canary";
  const spoiled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(spoiled);
    if (typeof value !== "object" || value === null) return value;
    const inner = Object.entries(value).map(([key, item]) => [key, spoiled(item)]);
    return { ...Object.fromEntries(inner), openai_api_key: canary, api_keys: { openai: canary } };
  };
  for (const { family, input, tasks, aspect_ratio } of cases) {
    const built = build(family, spoiled(withRows(input, ids)), aspect_ratio);
    assert.ok(!JSON.stringify(built).includes(canary), family);
    assertPayload(built.tasks[0], withRows(tasks[0], ids));
  }
});

test("only web addresses are passed on", () => {
  const web = /^https:\/\/(media|models)\.example\//;
  let replaced = 0;
  for (const { family, input } of cases) {
    const addresses = [
      ...new Set([...JSON.stringify(input).matchAll(/"(https:[^"]+)"/g)].map(([, url]) => url ?? "")),
    ];
    for (const address of addresses.filter((url) => web.test(url))) {
      for (const other of ["file:///etc/passwd", "gopher://a", "javascript:0", "nothing", ""]) {
        const text = JSON.stringify(withRows(input, ids)).replaceAll(`"${address}"`, JSON.stringify(other));
        assert.ok(issuesOf(family, JSON.parse(text)).length > 0);
        replaced++;
      }
    }
  }
  assert.ok(replaced > 200, `${replaced} addresses`);
});

test("every text, list and number has its limits", () => {
  const unlimited: string[] = [];
  const visit = (schema: z.core.JSONSchema.BaseSchema, path: string): void => {
    const isOpen =
      (schema.type === "string" && !schema.enum && !schema.const && !schema.maxLength && !schema.pattern) ||
      (schema.type === "array" && !schema.maxItems && !schema.prefixItems) ||
      ((schema.type === "number" || schema.type === "integer") && schema.maximum === undefined);
    if (isOpen) unlimited.push(path);
    for (const inner of [...(schema.anyOf ?? []), ...(schema.allOf ?? [])])
      visit(inner as typeof schema, path);
    for (const [name, inner] of Object.entries(schema.properties ?? {}))
      visit(inner as typeof schema, `${path}.${name}`);
    if (schema.items) visit(schema.items as typeof schema, `${path}[]`);
  };
  for (const [name, { input }] of Object.entries(families)) {
    visit(z.toJSONSchema(input, { io: "input", unrepresentable: "any" }), name);
  }
  // Strengths of LoRAs are from 0 to 2 whatever their spelling, which no JSON Schema says.
  assert.deepEqual(
    unlimited.filter((path) => !/oras(\[\])*\.(strength|scale)$/.test(path)),
    [],
  );
});

test("fields that are wrong are named", () => {
  const wrong: [string, Record<string, unknown>, string][] = [
    ["image_generation", { prompts: [] }, "prompts"],
    ["image_generation", { prompts: [{ fullPrompt: " " }] }, "prompts.0"],
    ["image_generation", { imagesPerPrompt: 17 }, "imagesPerPrompt"],
    ["image_generation", { prompts: Array(26).fill("a"), images_per_prompt: 4 }, "images_per_prompt"],
    ["image_generation", { resolution_mode: "custom" }, "custom_aspect_ratio"],
    ["image_generation", { custom_aspect_ratio: "5:7" }, "custom_aspect_ratio"],
    ["image_generation", { subject_reference_image: "https://a.example/b" }, "style_reference_image"],
    ["image_generation", { loras: [{ path: "https://a.example/b", strength: 2.1 }] }, "loras.0"],
    ["image_generation", { seed: 2 ** 31 }, "seed"],
    ["image_generation", { seed: -1 }, "seed"],
    ["z_image_turbo_i2i", { num_images: 5 }, "num_images"],
    ["z_image_turbo_i2i", { strength: 1.1 }, "strength"],
    ["magic_edit", { prompt: " " }, "prompt"],
    ["magic_edit", { qwen_edit_model: "qwen" }, "qwen_edit_model"],
    ["magic_edit", { numImages: 0 }, "numImages"],
    ["magic_edit", { loras: [{ strength: 1 }] }, "loras.0"],
    ["magic_edit", { loras: [{ url: "https://a.example/b", strength: 3 }] }, "loras.0"],
    ["masked_edit", { task_type: "qwen_image" }, "task_type"],
    ["masked_edit", { mask_url: undefined }, "mask_url"],
    ["image_upscale", { scale_factor: 9 }, "scale_factor"],
    ["video_enhance", { enable_upscale: false }, "enable_upscale"],
    ["video_enhance", { upscale: { upscale_factor: 5 } }, "upscale.upscale_factor"],
    ["video_enhance", { interpolation: { num_frames: 5 } }, "interpolation.num_frames"],
    ["video_enhance", { seconds: 0 }, "seconds"],
    ["travel_between_images", { base_prompts: undefined }, "base_prompts"],
    ["travel_between_images", { segment_frames: [] }, "segment_frames"],
    ["travel_between_images", { base_prompts: ["a", "b"] }, "base_prompts"],
    ["travel_between_images", { frame_overlap: [1, 2] }, "frame_overlap"],
    ["travel_between_images", { image_generation_ids: Array(3).fill(ids.image) }, "image_generation_ids"],
    ["travel_between_images", { amount_of_motion: 1.1 }, "amount_of_motion"],
    ["travel_between_images", { stitch_config: "smooth" }, "stitch_config"],
    [
      "travel_between_images",
      {
        phase_config: {
          num_phases: 3,
          steps_per_phase: [2, 2],
          flow_shift: 5,
          sample_solver: "euler",
          model_switch_phase: 2,
          phases: [1, 2, 3].map((phase) => ({ phase, guidance_scale: 1, loras: [] })),
        },
      },
      "phase_config.steps_per_phase",
    ],
    ["individual_travel_segment", { parent_generation_id: undefined }, "parent_generation_id"],
    ["individual_travel_segment", { num_frames: 82 }, "num_frames"],
    ["individual_travel_segment", { segment_index: -1 }, "segment_index"],
    ["join_clips", { clips: undefined }, "clips"],
    ["join_clips", { clips: [{ url: "https://a.example/b" }] }, "clips"],
    ["join_clips", { per_join_settings: [{}, {}] }, "per_join_settings"],
    ["crossfade_join", { frame_overlap_settings_expanded: [1, 2, 3] }, "frame_overlap_settings_expanded"],
    ["crossfade_join", { frame_overlap_settings_expanded: [0] }, "frame_overlap_settings_expanded.0"],
    [
      "edit_video_orchestrator",
      { portions_to_regenerate: [{ start_frame: 5, end_frame: 5 }] },
      "portions_to_regenerate.0.end_frame",
    ],
    [
      "edit_video_orchestrator",
      {
        portions_to_regenerate: [
          { start_frame: 5, end_frame: 9 },
          { start_frame: 8, end_frame: 12 },
        ],
      },
      "portions_to_regenerate.1.start_frame",
    ],
    ["edit_video_orchestrator", { source_video_total_frames: 9 }, "portions_to_regenerate.0.end_frame"],
    ["character_animate", { mode: "dance" }, "mode"],
    ["character_animate", { resolution: "1080p" }, "resolution"],
  ];
  for (const [family, change, path] of wrong) {
    assert.deepEqual(issuesOf(family, { ...leastOf(family), ...change }), [path], `${family} ${path}`);
  }
  for (const name of Object.keys(families)) {
    const least = leastOf(name);
    for (const field of Object.keys(least)) {
      const paths = issuesOf(name, { ...least, [field]: { wrong: [[]] } });
      assert.ok(
        paths.some((path) => path.split(".")[0] === field),
        `${name}.${field}: ${paths.join(", ")}`,
      );
    }
  }
});

test("random seeds differ from image to image and from call to call", () => {
  const seeds = [1, 2].flatMap(() =>
    build("image_generation", { prompts: ["a"], images_per_prompt: 16 }).tasks.map(
      ({ params }) => params["seed"],
    ),
  );
  assert.equal(new Set(seeds).size, 32);
});
