/** A quote by tool is what creating with the same parameters holds: for each tool, generator, family and task type. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { bind } from "../../supabase/functions/_shared/http/bind.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";
import { families } from "../../supabase/functions/_shared/generators/families.ts";
import { calculateTaskCostEndpoint } from "../../supabase/functions/calculate-task-cost/endpoint.ts";
import { createTaskEndpoint } from "../../supabase/functions/create-task/endpoint.ts";
import { singleImageGenerateEndpoint } from "../../supabase/functions/single-image-generate/endpoint.ts";
import { steerableMotionEndpoint } from "../../supabase/functions/steerable-motion/endpoint.ts";
import { type EnvironmentUnderTest, type PersonUnderTest, startEnvironment } from "../support/environment.ts";
import { familyCases, makeRows, type RowIds, withRows } from "../support/family-fixtures.ts";

type Row = Record<string, unknown>;

const cases = await familyCases();
const url = "https://media.example/1.png";
const film = "https://media.example/1.mp4";
const travel = {
  image_urls: [url, url, url],
  base_prompts: ["a walk"],
  segment_frames: [61],
  frame_overlap: [10],
};

interface ToolCase {
  tool: string;
  params: Row;
  /** What the answer names as that which creates the same. */
  family?: string;
  generator?: string;
  taskType?: string;
}

const toolCases: ToolCase[] = [
  {
    tool: "image-generation",
    params: { prompts: ["a fox", "an owl"], model_name: "z-image" },
    family: "image_generation",
  },
  {
    tool: "image_generation",
    params: { prompts: ["a fox"], imagesPerPrompt: 3, model_name: "qwen-image" },
    family: "image_generation",
  },
  {
    tool: "image-generation",
    params: { prompt: "a fox", images_per_prompt: 2 },
    generator: "single-image-generate",
  },
  { tool: "image-generation", params: { task_type: "qwen_image", prompt: "a fox" }, taskType: "qwen_image" },
  {
    tool: "single-image-generate",
    params: { prompts: ["a fox", "an owl"] },
    generator: "single-image-generate",
  },
  {
    tool: "single_image_generate",
    params: { prompt: "a fox", resolution: "512x512" },
    generator: "single-image-generate",
  },
  { tool: "travel-between-images", params: travel, family: "travel_between_images" },
  { tool: "travel-between-images", params: { ...travel, turbo_mode: true }, family: "travel_between_images" },
  {
    tool: "travel-between-images",
    params: { ...travel, params_json_str: "{}", use_styleboost_loras: true },
    generator: "steerable-motion",
  },
  { tool: "steerable-motion", params: travel, generator: "steerable-motion" },
  { tool: "steerable_motion", params: { ...travel, resolution: "640x480" }, generator: "steerable-motion" },
  { tool: "join-clips", params: { clips: [{ url: film }, { url: film }] }, family: "join_clips" },
  {
    tool: "join-clips",
    params: { clip_urls: [film, film], frame_overlap_settings_expanded: [10] },
    family: "crossfade_join",
  },
  {
    tool: "edit-video",
    params: { source_video_url: film, portions_to_regenerate: [{ start_frame: 0, end_frame: 20 }] },
    family: "edit_video_orchestrator",
  },
  {
    tool: "character-animate",
    params: { character_image_url: url, motion_video_url: film, seconds: 9, resolution: "720p" },
    family: "character_animate",
  },
  { tool: "magic-edit", params: { prompt: "at night", image_url: url, num_images: 2 }, family: "magic_edit" },
  {
    tool: "edit-images",
    params: { image_url: url, prompt: "at night", strength: 0.4, num_images: 3 },
    family: "z_image_turbo_i2i",
  },
  { tool: "edit-images", params: { image_url: url, mask_url: url, prompt: "a hat" }, family: "masked_edit" },
  { tool: "edit-images", params: { image_url: url, scale_factor: 4 }, family: "image_upscale" },
  {
    tool: "video-enhance",
    params: { video_url: film, enable_upscale: true, upscale: { upscale_factor: 2 } },
    family: "video_enhance",
  },
  {
    tool: "processing",
    params: { image_url: url, mask_url: url, prompt: "a hat", task_type: "annotated_image_edit" },
    family: "masked_edit",
  },
  { tool: "processing", params: { image_url: url, scale_factor: 4 }, family: "image_upscale" },
  { tool: "processing", params: { input_video_task_id: "x", frame_index: 3 }, taskType: "extract_frame" },
  { tool: "processing", params: { task_type: "generate_openpose" }, taskType: "generate_openpose" },
  { tool: "edit-travel", params: { prompt: "at night", model: "flux-dev" }, taskType: "edit_travel_flux" },
  { tool: "edit-travel-flux", params: { prompt: "at night" }, taskType: "edit_travel_flux" },
  { tool: "extract-frame", params: { video_url: film, frame_index: 3 }, taskType: "extract_frame" },
  { tool: "edit-travel", params: { prompt: "at night" }, taskType: "edit_travel_kontext" },
  { tool: "training", params: { name: "fox" }, taskType: "lora_training" },
  { tool: "image-upscale", params: { image: url, scale_factor: 4 }, taskType: "image_upscale" },
];

describe("quotes by tool", () => {
  let under: EnvironmentUnderTest;
  let person: PersonUnderTest;
  let rows: RowIds;
  before(async () => {
    under = await startEnvironment();
    person = await under.person({ balanceMicrousd: 1_000_000_000 });
    await under.sql`update projects set aspect_ratio = '16:9' where id = ${person.projectId}`;
    rows = await makeRows(under.sql, person.projectId);
  });
  after(() => under?.close());

  async function call(endpoint: Endpoint, body: Row): Promise<Row> {
    const contract = { ...endpoint.contract, requestsPerMinute: 100_000 };
    const response = await bind(
      { ...endpoint, contract },
      under.environment,
    )(
      new Request(`${under.apiUrl}/functions/v1/${contract.name}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...person.session },
        body: JSON.stringify(body),
      }),
    );
    const text = await response.text();
    assert.ok(response.ok, `${contract.name} ${JSON.stringify(body)}: ${text}`);
    return JSON.parse(text) as Row;
  }

  const quote = (tool: string, params: Row, more: Row = { project_id: person.projectId }) =>
    call(calculateTaskCostEndpoint, { tool_id: tool, params, ...more });

  /** By the endpoint that the quote names. */
  async function create({ family, generator, taskType }: ToolCase, params: Row): Promise<Row> {
    const project_id = person.projectId;
    if (family) return await call(createTaskEndpoint, { family, project_id, input: params });
    if (generator) {
      const endpoint =
        generator === "steerable-motion" ? steerableMotionEndpoint : singleImageGenerateEndpoint;
      return await call(endpoint, { ...params, project_id });
    }
    return await call(createTaskEndpoint, { task_type: taskType, project_id, params });
  }

  /** The amounts of all tasks, how many they are, and what each is billed by. */
  async function assertHolds(quoted: Row, created: Row, title: string): Promise<void> {
    for (const amount of ["cost_microusd", "hold_microusd", "upper_bound_microusd"]) {
      assert.equal(quoted[amount], created[amount], `${title}: ${amount}`);
    }
    const ids = (created["task_ids"] as string[] | undefined) ?? [String(created["task_id"])];
    assert.equal(quoted["task_count"] ?? 1, ids.length, title);
    const tasks = await under.sql<{ task_type: string; billed: Row; parts: Row | null; held: number }[]>`
      select task_type, billed, part_prices as parts,
             (select held_microusd from credit_holds where task_id = tasks.id)::int as held
        from tasks where id = any (${ids}::uuid[])`;
    const held = tasks.reduce((sum, task) => sum + task.held, 0);
    assert.equal(held, quoted["hold_microusd"], `${title}: holds`);
    for (const { task_type, billed, parts } of tasks) {
      assert.equal(task_type, quoted["task_type"], title);
      // An orchestrator keeps the prices of its parts; what they are billed by is read when they are created.
      if (parts)
        assert.deepEqual(Object.keys(parts).sort(), Object.keys(quoted["billed"] as Row).sort(), title);
      else assert.deepEqual(billed, quoted["billed"], title);
    }
  }

  for (const one of toolCases) {
    const { tool, params, family, generator, taskType } = one;
    test(`${tool} with ${Object.keys(params).join(", ")} quotes what ${family ?? generator ?? taskType} holds`, async () => {
      const quoted = await quote(tool, params);
      assert.deepEqual(
        [quoted["tool_id"], quoted["family"], quoted["generator"]],
        [tool, family, generator],
        JSON.stringify(quoted),
      );
      if (taskType) assert.equal(quoted["task_type"], taskType);
      await assertHolds(quoted, await create(one, params), tool);
    });
  }

  for (const name of Object.keys(families)) {
    test(`${name} in both spellings quotes what creating it holds, for each fixture`, async () => {
      for (const { family, title, input } of cases.filter((each) => each.family === name)) {
        const params = withRows(input, rows);
        const created = await call(createTaskEndpoint, {
          family,
          project_id: person.projectId,
          input: params,
        });
        for (const spelling of [family, family.replaceAll("_", "-")]) {
          const quoted = await quote(spelling, params);
          assert.equal(quoted["family"], family, `${spelling}: ${title}`);
          await assertHolds(quoted, created, `${spelling}: ${title}`);
        }
        const hyphened = { family: family.replaceAll("_", "-"), project_id: person.projectId, input: params };
        const again = await call(createTaskEndpoint, hyphened);
        assert.equal(again["family"], family);
      }
    });
  }

  test("every tool of task_types.tool_type has a quote", async () => {
    const tools = await under.sql<{ tool_type: string }[]>`
      select distinct tool_type from task_types where tool_type is not null and category <> 'call'`;
    const tried = new Set(toolCases.map(({ tool }) => tool));
    assert.deepEqual(
      tools.map(({ tool_type }) => tool_type).filter((tool) => !tried.has(tool)),
      [],
    );
  });

  test("without a project the quote is that of a project without an aspect ratio, and says so unless a resolution is sent", async () => {
    await under.sql`update projects set aspect_ratio = null where id = ${person.projectId}`;
    for (const { tool, params } of toolCases) {
      const [there, nowhere] = [await quote(tool, params), await quote(tool, params, {})];
      assert.equal(nowhere["hold_microusd"], there["hold_microusd"], tool);
    }
    const warned = await quote("single-image-generate", { prompt: "a fox" }, {});
    assert.deepEqual(
      (warned["warnings"] as Row[]).map(({ code, field }) => [code, field]),
      [["size_assumed", "project_id"]],
    );
    const exact = await quote("single-image-generate", { prompt: "a fox", resolution: "512x512" }, {});
    assert.equal(exact["warnings"], undefined);
    const family = { family: "image_generation", input: { prompts: ["a fox"], model_name: "z-image" } };
    assert.ok(Number((await call(calculateTaskCostEndpoint, family))["hold_microusd"]) > 0);
  });
});
