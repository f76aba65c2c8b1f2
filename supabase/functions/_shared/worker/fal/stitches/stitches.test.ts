import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { FalFilmTools } from "../../../../../../test/support/fal-film-tools.ts";
import { factsOfFilm } from "../../../../../../test/support/films.ts";
import {
  type ChildTask,
  type ClaimedTask,
  DarkroomClient,
  type NewTask,
  type OutputFile,
} from "../../client.ts";
import { type Delegation, type RenderedOutput, RenderError, type RunContext } from "../../provider.ts";
import { falRecipes } from "../recipes.ts";
import type { FalRequest } from "../recipe.ts";

const project = "99999999-2222-4333-8444-555555555555";

/** A server with outputs of tasks, whose storage holds no films: all are at public addresses. */
class FakeClient extends DarkroomClient {
  readonly created: NewTask[] = [];
  readonly stored: OutputFile[] = [];
  segments: string[] = [];
  outputs: Record<string, string> = {};

  constructor() {
    super({ url: "http://127.0.0.1:1", token: "none", workerId: "worker" });
  }

  override completedSegments(): Promise<{ segment_index: number; output_location: string }[]> {
    return Promise.resolve(
      this.segments.map((url, index) => ({ segment_index: index, output_location: url })),
    );
  }

  override taskOutput(
    taskId: string,
  ): Promise<{ status: string; output_location: string | null } | undefined> {
    const output = this.outputs[taskId];
    return Promise.resolve(
      output === undefined ? undefined : { status: "Complete", output_location: output },
    );
  }

  override readMedia(): Promise<Uint8Array | undefined> {
    return Promise.resolve(undefined);
  }

  override orchestratorChildren(): Promise<ChildTask[]> {
    return Promise.resolve([]);
  }

  override createTasks(_projectId: string, tasks: readonly NewTask[]): Promise<void> {
    this.created.push(...tasks);
    return Promise.resolve();
  }

  override storeFile(_run: unknown, file: OutputFile): Promise<string> {
    this.stored.push(file);
    return Promise.resolve(`https://host.example/${file.filename}`);
  }
}

interface Scene {
  tools: FalFilmTools;
  client: FakeClient;
  run(taskType: string, params: object, more?: Partial<ClaimedTask>): Promise<RenderedOutput | Delegation>;
  film(taskType: string, params: object, more?: Partial<ClaimedTask>): Promise<RenderedOutput>;
}

function scene(): Scene {
  const tools = new FalFilmTools();
  const client = new FakeClient();
  const run: Scene["run"] = async (taskType, params, more) => {
    const task: ClaimedTask = {
      task_id: "11111111-2222-4333-8444-555555555555",
      task_type: taskType,
      project_id: project,
      params: params as Record<string, unknown>,
      attempt: 1,
      attempts: 0,
      lease_expires_at: new Date().toISOString(),
      ...more,
    };
    const context: RunContext = {
      signal: new AbortController().signal,
      progress: () => undefined,
      client,
      log: { warn: () => undefined },
      noteJob: () => Promise.resolve(),
    };
    const recipe = falRecipes[taskType];
    assert.ok(recipe, taskType);
    const output = await recipe(task, tools, context);
    for (const request of tools.requests) assertKnown(request);
    assert.deepEqual(
      [...tools.steps].sort((a, b) => a - b),
      [...tools.steps.keys()],
    );
    return output;
  };
  return {
    tools,
    client,
    run,
    async film(...sent) {
      const output = await run(...sent);
      assert.ok("file" in output);
      return output;
    },
  };
}

const travel = { orchestrator_run_id: "run", num_total_segments_generated: 3, fps_final_video: 16 };

test("a travel's segments become one film without the frames that the next segment repeats", async () => {
  const { tools, client, film } = scene();
  client.segments = [tools.add("a", 9), tools.add("b", 9), tools.add("c", 9)];
  const output = await film("travel_stitch", { ...travel, frame_overlap_settings_expanded: [2, 3] });
  assert.equal(
    tools.framesOf(output.file).join(" "),
    "a0 a1 a2 a3 a4 a5 a6 b0 b1 b2 b3 b4 b5 c0 c1 c2 c3 c4 c5 c6 c7 c8",
  );
  const { frames, seconds } = await factsOfFilm(output.file.bytes);
  assert.deepEqual([frames, seconds], [9 + 9 + 9 - 2 - 3, 22 / 16]);
  assert.deepEqual(
    tools.requests.map(({ model, units }) => [model, units]),
    [["fal-ai/ffmpeg-api/compose", { seconds: 22 / 16 }]],
  );
  assert.equal(output.thumbnail?.contentType, "image/png");
  assert.deepEqual(tools.warnings, []);
});

test("clips that a client names fade into each other in steps of opacity", async () => {
  const { tools, film } = scene();
  const clip_urls = [tools.add("a", 8), tools.add("b", 9)];
  const output = await film("travel_stitch", { clip_urls, frame_overlap_settings_expanded: [5] });
  assert.equal(
    tools.framesOf(output.file).join(" "),
    "a0 a1 a2 a3+b0@0.25 a4+b1@0.50 a5+b2@0.50 a6+b3@0.75 a7+b4@0.75 b5 b6 b7 b8",
  );
  assert.deepEqual(tools.warnings, []);
  assert.equal(tools.requests.length, tools.expected);
});

test("more clips than crossfades are paid for have fewer steps, and at last cuts with a warning", async () => {
  for (const [count, blends, warnings] of [
    [4, 9, 0],
    [5, 8, 0],
    [10, 9, 0],
    [12, 0, 1],
  ] as const) {
    const { tools, film } = scene();
    const clip_urls = Array.from({ length: count }, (_, index) => tools.add(`clip${index}-`, 8));
    const overlaps = clip_urls.slice(1).map(() => 3);
    const output = await film("travel_stitch", { clip_urls, frame_overlap_settings_expanded: overlaps });
    assert.equal(tools.framesOf(output.file).length, 8 * count - 3 * (count - 1));
    assert.equal(
      tools.requests.filter(({ model }) => model.endsWith("blend-video")).length,
      blends,
      `${count}`,
    );
    assert.equal(tools.warnings.length, warnings, tools.warnings.join());
    assert.ok(tools.requests.length <= 30);
  }
});

test("transitions stand between their clips in place of the frames that they repeat and replace", async () => {
  const { tools, client, film } = scene();
  const clips = [tools.add("a", 6), tools.add("b", 7), tools.add("c", 8)];
  const facts = { frames: 8, gap_frames: 4, gap_from_clip1: 2, gap_from_clip2: 2, context_from_clip1: 2 };
  const more = { context_from_clip2: 2, blend_frames: 2 };
  client.outputs = {
    one: JSON.stringify({ transition_url: tools.add("x", 8), ...facts, ...more }),
    two: JSON.stringify({ transition_url: tools.add("y", 8), ...facts, ...more }),
  };
  const output = await film("join_final_stitch", {
    clip_list: clips.map((url) => ({ url })),
    transition_task_ids: ["one", "two"],
    blend_frames: 15,
    fps: 16,
  });
  // The transitions leave one frame of the second clip, and the blend of two frames reaches over it.
  assert.equal(
    tools.framesOf(output.file).join(" "),
    "a0 a1 x0 x1 x2 x3 x4 x5 x6 y0 y1 y2 y3 y4 y5 y6 y7 c4 c5 c6 c7",
  );
  assert.deepEqual(tools.warnings, []);
});

test("a chain's last join is delivered as it is, and with a sound track by one job", async () => {
  const { tools, client, film } = scene();
  client.outputs = { last: tools.add("a", 5) };
  const params = { clip_list: [], transition_task_ids: ["last"], chain_mode: true, fps: 16 };
  const whole = await film("join_final_stitch", params);
  assert.deepEqual([tools.framesOf(whole.file).length, tools.requests.length], [5, 0]);
  const audio = "https://media.example/sound.mp3";
  const output = await film("join_final_stitch", { ...params, audio_url: audio });
  assert.equal(tools.framesOf(output.file).length, 5);
  const [request] = tools.requests;
  assert.ok(request);
  assert.deepEqual((request.input["tracks"] as unknown[])[1], {
    id: "sound",
    type: "audio",
    keyframes: [{ url: audio, timestamp: 0, duration: 313 }],
  });
  assert.deepEqual(
    request.files.map(({ medium }) => medium),
    ["audio"],
  );
  request.files[0]?.place("https://v3.fal.media/files/sound.mp3");
  assert.match(JSON.stringify(request.input), /v3\.fal\.media\/files\/sound\.mp3/);
});

test("clips of another size are resized to the first one's or to the size that is asked for", async () => {
  const { tools, client, film } = scene();
  client.segments = [tools.add("a", 4), tools.add("b", 4, { width: 128, height: 64 })];
  const output = await film("travel_stitch", {
    ...travel,
    num_total_segments_generated: 2,
    upscale_factor: 2,
  });
  const { width, height, frames } = await factsOfFilm(output.file.bytes);
  assert.deepEqual([width, height, frames], [192, 128, 8]);
  assert.deepEqual(
    tools.requests.map(({ model, input }) => [model.split("/").at(-1), input["width"], input["mode"]]),
    [
      ["scale-video", 96, "crop"],
      ["compose", undefined, undefined],
      ["scale-video", 192, "stretch"],
    ],
  );
  assert.match(tools.warnings.join(), /resized to 192 × 128/);

  const join = scene();
  join.client.outputs = { last: join.tools.add("a", 5) };
  const params = { transition_task_ids: ["last"], chain_mode: true };
  const joined = await join.film("join_final_stitch", {
    ...params,
    orchestrator_details: { resolution: [64, 48] },
  });
  assert.equal((await factsOfFilm(joined.file.bytes)).width, 64);
  assert.equal(join.tools.requests.length, 1);
});

test("a film of another length, rate or size than was asked for is delivered with warnings", async () => {
  const { tools, client, film } = scene();
  client.segments = [tools.add("a", 8), tools.add("b", 8)];
  tools.composes = ({ frames, ...others }) => ({
    ...others,
    frames: frames.slice(2),
    framesPerSecond: 30,
    width: 64,
  });
  await film("travel_stitch", { ...travel, num_total_segments_generated: 2, fps_final_video: 24 });
  assert.equal(tools.warnings.length, 5);
  const text = tools.warnings.join("\n");
  assert.match(text, /takes 0\.47 seconds: 0\.20 shorter/);
  assert.match(text, /clip 1 has 16\.0 frames a second, not 24/);
  assert.match(text, /clip 2 has 16\.0/);
  assert.match(text, /the film has 30\.0 frames a second, not 24/);
  assert.match(text, /is 64 × 64, not 96 × 64/);
});

test("a stitch that lacks a segment, or asks for too large a film, submits nothing", async () => {
  const { tools, client, film } = scene();
  client.segments = [tools.add("a", 80), tools.add("b", 80)];
  const two = { ...travel, num_total_segments_generated: 2 };
  await assert.rejects(film("travel_stitch", travel), (error) => {
    assert.ok(error instanceof RenderError && error.isRetryable);
    return /2 of 3 segments are complete/.test(error.message);
  });
  await assert.rejects(film("travel_stitch", { ...two, upscale_factor: 9 }), /upscale_factor is more than 4/);
  assert.deepEqual(tools.requests, []);
});

test("a frame of another task's film is the first, the last, or one at which the film is cut", async () => {
  for (const [index, models, cut] of [
    [0, ["extract-frame"], undefined],
    [-1, ["extract-frame"], undefined],
    [99, ["extract-frame"], undefined],
    [5, ["trim-video", "extract-frame"], 4.5 / 16],
    [-3, ["trim-video", "extract-frame"], 16.5 / 16],
  ] as const) {
    const { tools, client, film } = scene();
    client.outputs = { film: tools.add("a", 20) };
    const output = await film("extract_frame", { input_video_task_id: "film", frame_index: index });
    assert.deepEqual(
      tools.requests.map(({ model }) => model.split("/").at(-1)),
      models,
    );
    assert.equal(tools.requests[0]?.input["start_time"], cut);
    assert.equal(tools.requests.at(-1)?.input["frame_type"], index === -1 || index === 99 ? "last" : "first");
    assert.match(output.file.filename, /\.png$/);
  }
});

test("an edit's film is cut at FAL, and the pieces are stored before the children that name them", async () => {
  const { tools, client, run } = scene();
  const output = await run("edit_video_orchestrator", {
    orchestrator_details: {
      run_id: "run",
      source_video_url: tools.add("river", 40),
      portions_to_regenerate: [
        { start_frame: 20, end_frame: 30 },
        { start_frame: 5, end_frame: 10 },
      ],
    },
  });
  assert.ok("delegated" in output);
  assert.deepEqual(
    client.stored.map((file) => [tools.framesOf(file)[0], tools.framesOf(file).at(-1)]),
    [
      ["river0", "river4"],
      ["river10", "river19"],
      ["river30", "river39"],
    ],
  );
  assert.deepEqual(
    tools.requests.map(({ units }) => units),
    [{ seconds: 5 / 16 }, { seconds: 10 / 16 }, { seconds: 10 / 16 }],
  );
  assert.deepEqual(
    client.created.map(({ task_type, params }) => [task_type, params["ending_video_path"]]),
    [
      ["join_clips_segment", "https://host.example/11111111-2222-4333-8444-555555555555_part_1.mp4"],
      ["join_clips_segment", "https://host.example/11111111-2222-4333-8444-555555555555_part_2.mp4"],
      ["join_final_stitch", undefined],
    ],
  );
});

test("a travel and a join are planned at FAL without a job", async () => {
  const { tools, client, run } = scene();
  await run("travel_orchestrator", { orchestrator_details: { num_new_segments_to_generate: 2 } });
  await run("join_clips_orchestrator", {
    orchestrator_details: {
      clip_list: [{ url: "https://a.example/1.mp4" }, { url: "https://a.example/2.mp4" }],
    },
  });
  assert.equal(client.created.length, 3 + 2);
  assert.deepEqual(tools.requests, []);
});

/** The official client declares the model, each field that is sent, and no other field that the model needs. */
function assertKnown({ model, input }: FalRequest): void {
  const client = createRequire(import.meta.url).resolve("@fal-ai/client");
  declarations ??= readFileSync(path.join(path.dirname(client), "types/endpoints.d.ts"), "utf8");
  const at = declarations.indexOf(`    "${model}": {\n`);
  assert.notEqual(at, -1, `${model} is in the client's types`);
  let type = /input: (\w+)/.exec(declarations.slice(at, at + 500))?.[1];
  for (let alias = type; alias;) {
    type = alias;
    alias = new RegExp(`^export type ${type} = (\\w+);$`, "m").exec(declarations)?.[1];
  }
  const begin = declarations.indexOf(`export type ${type} = {\n`);
  const fields = [
    ...declarations.slice(begin, declarations.indexOf("\n};", begin)).matchAll(/^ {4}(\w+)(\?)?:/gm),
  ];
  const known = fields.map(([, name]) => name);
  const required = fields.filter(([, , optional]) => !optional).map(([, name = ""]) => name);
  assert.deepEqual(
    Object.keys(input).filter((name) => !known.includes(name)),
    [],
    `${model} takes them`,
  );
  assert.deepEqual(
    required.filter((name) => !(name in input)),
    [],
    `${model} needs them`,
  );
}
let declarations: string | undefined;
