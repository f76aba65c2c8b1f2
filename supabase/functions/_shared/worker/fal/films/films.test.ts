import assert from "node:assert/strict";
import { test } from "node:test";
import { faultsOfInput, fieldsOfEndpoint } from "../../../../../../test/support/fal-types.ts";
import { claimed, FilmJobs, type PlainFilm } from "../../../../../../test/support/film-jobs.ts";
import type { ClaimedTask } from "../../client.ts";
import { type RenderedOutput, RenderError } from "../../provider.ts";
import { measureFilm } from "../stitches/measure-film.ts";
import { mergeRequest } from "./clips.ts";
import { endpoints } from "./endpoints.ts";
import { filmRecipes } from "./recipes.ts";

type Params = Record<string, unknown>;
type Submitted = [step: number, model: string, input: Params];

const image = (name: string): string => `https://media.example/${name}.png`;
const clipUrl = (name: string): string => `https://media.example/${name}.mp4`;
const clip: PlainFilm = { frames: 48, framesPerSecond: 16, width: 320, height: 180 };

interface Scene {
  taskType: string;
  params: Params;
  billed?: ClaimedTask["billed"];
  /** Films in storage by address, in the order in which they are read. */
  sources?: Record<string, PlainFilm>;
  /** What the task that this one depends on made. */
  predecessor?: string;
}

async function run(scene: Scene, jobs = new FilmJobs()): Promise<{ jobs: FilmJobs; output: RenderedOutput }> {
  for (const [url, source] of Object.entries(scene.sources ?? {})) jobs.sources.set(url, source);
  const recipe = filmRecipes[scene.taskType];
  assert.ok(recipe, scene.taskType);
  const task = claimed(scene.taskType, scene.params, scene.billed);
  const output = await recipe(task, jobs, jobs.context(scene.predecessor ?? null));
  assert.ok("file" in output, "the recipe makes a film");
  return { jobs, output };
}

const passage = {
  aspect_ratio: "16:9",
  resolution: "480p",
  frames_per_second: 16,
  num_interpolated_frames: 0,
  interpolator_model: "none",
  adjust_fps_for_interpolation: false,
};
const scaled = { width: 902, height: 508, mode: "crop" };
const travel = {
  run_id: "20260101",
  input_image_paths_resolved: [image("a"), image("b"), image("c")],
  base_prompts_expanded: ["from a to b", "from b to c"],
  negative_prompts_expanded: ["blur", "noise"],
  segment_frames_expanded: [61, 63],
  parsed_resolution_wh: "902x508",
  seed_base: 789,
  amount_of_motion: 0.5,
};

/** Of every task type: a scene, the jobs that FAL gets for it, and the length and size of the film that comes out. */
const scenes: [
  name: string,
  scene: Scene,
  submitted: Submitted[],
  made: Partial<PlainFilm>,
  warnings: RegExp[],
][] = [
  [
    "a segment of a travel",
    {
      taskType: "travel_segment",
      params: { segment_index: 0, seed_to_use: 790, orchestrator_details: travel },
    },
    [
      [
        0,
        endpoints.imageToVideo,
        {
          ...passage,
          prompt: "from a to b",
          negative_prompt: "blur",
          image_url: image("a"),
          end_image_url: image("b"),
          num_frames: 61,
          seed: 790,
        },
      ],
      [3, endpoints.scaleFilm, { video_url: "https://fal.example/0", ...scaled }],
    ],
    { frames: 61, width: 902, height: 508 },
    [],
  ],
  [
    "a segment of a length that the model does not make",
    {
      taskType: "travel_segment",
      params: {
        segment_index: 1,
        base_prompt: "own",
        enhanced_prompt: "enhanced",
        orchestrator_details: {
          ...travel,
          enhance_prompt: true,
          text_before_prompts: "before",
          text_after_prompts: "after",
          structure_guidance: { target: "uni3c", videos: [] },
          after_first_post_generation_saturation: 1,
          loras_per_segment_expanded: [null, [{ path: "https://l.example/own", strength: 0.5 }]],
          additional_loras: { "https://l.example/all": 1 },
        },
      },
    },
    [
      [
        0,
        endpoints.imageToVideo,
        {
          ...passage,
          prompt: "before enhanced after",
          negative_prompt: "noise",
          image_url: image("b"),
          end_image_url: image("c"),
          num_frames: 65,
          seed: 789,
          loras: [{ path: "https://l.example/own", scale: 0.5, transformer: "both" }],
        },
      ],
      [2, endpoints.trimFilm, { video_url: "https://fal.example/0", start_time: 0, end_time: 3.921875 }],
      [3, endpoints.scaleFilm, { video_url: "https://fal.example/2", ...scaled }],
    ],
    { frames: 63, width: 902 },
    [/structure_guidance/],
  ],
  [
    "a segment by itself, with phases",
    {
      taskType: "individual_travel_segment",
      params: {
        segment_index: 4,
        num_frames: 49,
        individual_segment_params: {
          start_image_url: image("own-start"),
          end_image_url: image("own-end"),
          num_frames: 81,
          base_prompt: "base",
          seed_to_use: -1,
          phase_config: {
            num_phases: 3,
            steps_per_phase: [2, 2, 2],
            flow_shift: 5,
            sample_solver: "euler",
            model_switch_phase: 2,
            phases: [
              {
                phase: 1,
                guidance_scale: 3,
                loras: [
                  { url: "https://l.example/light", multiplier: "1.0" },
                  { url: "https://l.example/high", multiplier: "0.6" },
                ],
              },
              {
                phase: 2,
                guidance_scale: 1,
                loras: [{ url: "https://l.example/high", multiplier: "0.2,0.4" }],
              },
              { phase: 3, guidance_scale: 1, loras: [{ url: "https://l.example/light", multiplier: "1" }] },
            ],
          },
        },
        orchestrator_details: { parsed_resolution_wh: "670x670", use_svi: false },
      },
    },
    [
      [
        0,
        endpoints.imageToVideo,
        {
          ...passage,
          aspect_ratio: "1:1",
          prompt: "base",
          image_url: image("own-start"),
          end_image_url: image("own-end"),
          num_frames: 81,
          num_inference_steps: 6,
          guidance_scale: 3,
          guidance_scale_2: 1,
          shift: 5,
          loras: [
            { path: "https://l.example/light", scale: 1, transformer: "both" },
            { path: "https://l.example/high", scale: 0.45, transformer: "high" },
          ],
        },
      ],
      [3, endpoints.scaleFilm, { video_url: "https://fal.example/0", width: 670, height: 670, mode: "crop" }],
    ],
    { frames: 81, width: 670, height: 670 },
    [/phase_config/],
  ],
  [
    "a segment that follows another",
    {
      taskType: "travel_segment",
      params: {
        segment_index: 1,
        frame_overlap_from_previous: 10,
        segment_frames_target: 71,
        use_svi: true,
        orchestrator_details: travel,
      },
      sources: { [clipUrl("previous")]: { ...clip, frames: 61, width: 902, height: 508 } },
      predecessor: clipUrl("previous"),
    },
    [
      [
        0,
        endpoints.imageToVideo,
        {
          ...passage,
          prompt: "from b to c",
          negative_prompt: "noise",
          image_url: "https://fal.example/1",
          end_image_url: image("c"),
          num_frames: 61,
          seed: 789,
        },
      ],
      [1, endpoints.extractFrame, { video_url: "https://fal.example/upload-1", frame_type: "last" }],
      [3, endpoints.scaleFilm, { video_url: "https://fal.example/0", ...scaled }],
      [
        4,
        endpoints.trimFilm,
        { video_url: "https://fal.example/upload-1", start_time: 3.15625, end_time: 3.796875 },
      ],
      [
        5,
        endpoints.mergeFilms,
        { video_urls: ["https://fal.example/4", "https://fal.example/3"], target_fps: 16 },
      ],
    ],
    { frames: 71, width: 902, height: 508 },
    [/use_svi/],
  ],
  [
    "a turbo travel between two images",
    {
      taskType: "wan_2_2_i2v",
      params: {
        prompt: "not this one",
        duration: 5,
        orchestrator_details: {
          ...travel,
          input_image_paths_resolved: [image("a"), image("b")],
          enhanced_prompts_expanded: ["enhanced"],
        },
      },
      billed: { images: 1, seconds: 5 },
    },
    [
      [
        0,
        endpoints.turbo,
        {
          prompt: "enhanced",
          resolution: "480p",
          aspect_ratio: "16:9",
          seed: 789,
          image_url: image("a"),
          end_image_url: image("b"),
        },
      ],
      [3, endpoints.scaleFilm, { video_url: "https://fal.example/0", ...scaled }],
    ],
    { frames: 81, width: 902, height: 508 },
    [/negative_prompt/],
  ],
  [
    "a turbo travel from one image, shorter than the turbo endpoint's films",
    {
      taskType: "wan_2_2_i2v",
      params: { input_image_paths_resolved: [image("a")], base_prompt: "x", duration: 3 },
    },
    [
      [0, endpoints.turbo, { prompt: "x", resolution: "480p", aspect_ratio: "auto", image_url: image("a") }],
      [2, endpoints.trimFilm, { video_url: "https://fal.example/0", start_time: 0, end_time: 3.046875 }],
    ],
    { frames: 49 },
    [],
  ],
  [
    "a turbo travel through three images with a LoRA",
    {
      taskType: "wan_2_2_i2v",
      params: {
        duration: 5,
        orchestrator_details: {
          ...travel,
          parsed_resolution_wh: undefined,
          negative_prompts_expanded: [],
          additional_loras: { "https://l.example/a": 0.8 },
        },
      },
      billed: { images: 1, seconds: 5 },
    },
    [
      ...([0, 1] as const).map((index): Submitted => [
        index,
        endpoints.imageToVideo,
        {
          ...passage,
          aspect_ratio: "auto",
          prompt: travel.base_prompts_expanded[index],
          image_url: travel.input_image_paths_resolved[index],
          end_image_url: travel.input_image_paths_resolved[index + 1],
          num_frames: 41,
          seed: 789 + index,
          loras: [{ path: "https://l.example/a", scale: 0.8, transformer: "both" }],
        },
      ]),
      [
        2,
        endpoints.mergeFilms,
        { video_urls: ["https://fal.example/0", "https://fal.example/1"], target_fps: 16 },
      ],
    ],
    { frames: 82 },
    [],
  ],
  [
    "a turbo travel whose seconds are those that its segments are paid by",
    {
      taskType: "wan_2_2_i2v",
      params: {
        // Not sent: a claim has what is paid under both names.
        duration: 4,
        seconds: 4,
        orchestrator_details: {
          ...travel,
          parsed_resolution_wh: "33x1000",
          negative_prompts_expanded: [],
          segment_frames_expanded: [20, 20],
        },
      },
      billed: { images: 1, seconds: 4 },
    },
    [
      ...([0, 1] as const).map((index): Submitted => [
        index,
        endpoints.imageToVideo,
        {
          ...passage,
          aspect_ratio: "auto",
          prompt: travel.base_prompts_expanded[index],
          image_url: travel.input_image_paths_resolved[index],
          end_image_url: travel.input_image_paths_resolved[index + 1],
          num_frames: 21,
          seed: 789 + index,
        },
      ]),
      [
        2,
        endpoints.mergeFilms,
        { video_urls: ["https://fal.example/0", "https://fal.example/1"], target_fps: 16 },
      ],
      [3, endpoints.trimFilm, { video_url: "https://fal.example/2", start_time: 0, end_time: 2.484375 }],
    ],
    { frames: 40 },
    [/33 × 1000 pixels/],
  ],
  [
    "a transition between two clips",
    {
      taskType: "join_clips_segment",
      params: {
        starting_video_path: clipUrl("one"),
        ending_video_path: clipUrl("two"),
        transition_only: true,
        replace_mode: true,
        gap_frame_count: 21,
        context_frame_count: 8,
        prompt: "smooth",
        seed: -1,
        orchestrator_details: { negative_prompt: "blur" },
      },
      sources: { [clipUrl("one")]: clip, [clipUrl("two")]: { ...clip, width: 640, height: 360 } },
    },
    [
      [
        0,
        endpoints.imageToVideo,
        {
          ...passage,
          prompt: "smooth",
          negative_prompt: "blur",
          image_url: "https://fal.example/3",
          end_image_url: "https://fal.example/4",
          num_frames: 21,
        },
      ],
      [
        1,
        endpoints.trimFilm,
        { video_url: "https://fal.example/upload-1", start_time: 0, end_time: 2.359375 },
      ],
      [
        2,
        endpoints.trimFilm,
        { video_url: "https://fal.example/upload-2", start_time: 0.65625, end_time: 2.984375 },
      ],
      [3, endpoints.extractFrame, { video_url: "https://fal.example/1", frame_type: "last" }],
      [4, endpoints.extractFrame, { video_url: "https://fal.example/2", frame_type: "first" }],
      [6, endpoints.scaleFilm, { video_url: "https://fal.example/0", width: 320, height: 180, mode: "crop" }],
    ],
    { frames: 21, width: 320, height: 180 },
    [/not 8 frames/],
  ],
  [
    "two clips with a new portion between them",
    {
      taskType: "edit_video_segment",
      params: {
        ending_video_path: clipUrl("two"),
        starting_video_path: null,
        gap_frame_count: 10,
        context_frame_count: 1,
        orchestrator_details: { prompt: "smooth", enhance_prompt: true },
      },
      sources: { [clipUrl("one")]: clip, [clipUrl("two")]: { ...clip, width: 640, height: 360 } },
      predecessor: JSON.stringify({ transition_url: clipUrl("one"), frames: 48 }),
    },
    [
      [
        0,
        endpoints.imageToVideo,
        {
          ...passage,
          prompt: "smooth",
          image_url: "https://fal.example/3",
          end_image_url: "https://fal.example/4",
          num_frames: 17,
          frames_per_second: 27,
          enable_prompt_expansion: true,
        },
      ],
      [3, endpoints.extractFrame, { video_url: "https://fal.example/upload-1", frame_type: "last" }],
      [4, endpoints.extractFrame, { video_url: "https://fal.example/upload-2", frame_type: "first" }],
      [6, endpoints.scaleFilm, { video_url: "https://fal.example/0", width: 320, height: 180, mode: "crop" }],
      [
        8,
        endpoints.scaleFilm,
        { video_url: "https://fal.example/upload-2", width: 320, height: 180, mode: "crop" },
      ],
      [
        9,
        endpoints.mergeFilms,
        {
          video_urls: ["https://fal.example/upload-1", "https://fal.example/6", "https://fal.example/8"],
          target_fps: 16,
        },
      ],
    ],
    { frames: 48 + 10 + 48, width: 320, height: 180 },
    [],
  ],
  [
    "an enhanced film",
    {
      taskType: "video_enhance",
      params: {
        video_url: clipUrl("one"),
        enable_upscale: true,
        enable_interpolation: true,
        upscale: { upscale_factor: 2, color_fix: true, output_quality: "high" },
        interpolation: { num_frames: 1, use_calculated_fps: true, video_quality: "high" },
        based_on: "33333333-3333-4333-8333-333333333333",
      },
      billed: { images: 1, seconds: 5, megapixels: 2 },
      sources: { [clipUrl("one")]: clip },
    },
    [
      [
        0,
        endpoints.upscaleFilm,
        {
          video_url: "https://fal.example/upload-1",
          upscale_factor: 2,
          color_fix: true,
          output_format: "X264 (.mp4)",
          output_quality: "high",
        },
      ],
      [
        1,
        endpoints.interpolateFilm,
        {
          video_url: "https://fal.example/0",
          num_frames: 1,
          use_calculated_fps: true,
          video_quality: "high",
        },
      ],
    ],
    { frames: 95, framesPerSecond: 32, width: 640, height: 360 },
    [],
  ],
  [
    "a pose",
    { taskType: "generate_openpose", params: { image_url: image("a"), draw_mode: "full-pose" } },
    [[0, endpoints.pose, { image_url: image("a"), draw_mode: "full-pose" }]],
    {},
    [],
  ],
  [
    "a film between two images",
    {
      taskType: "rife_interpolate_images",
      params: {
        input_image_path1: image("a"),
        input_image_path2: image("b"),
        frames: 81,
        resolution: "640x360",
      },
    },
    [
      [
        0,
        endpoints.interpolateImages,
        {
          start_image_url: image("a"),
          end_image_url: image("b"),
          num_frames: 64,
          include_start: true,
          include_end: true,
          output_type: "video",
          fps: 13,
        },
      ],
      [2, endpoints.scaleFilm, { video_url: "https://fal.example/0", width: 640, height: 360, mode: "crop" }],
    ],
    { frames: 66, framesPerSecond: 13, width: 640, height: 360 },
    [/13 frames a second instead of 16/],
  ],
];

for (const [name, scene, submitted, made, warnings] of scenes) {
  test(`FAL gets these jobs for ${name}, and the film has the length and the size that were asked for`, async () => {
    const { jobs, output } = await run(scene);
    assert.deepEqual(jobs.submitted(), submitted);
    for (const [, model, input] of jobs.submitted()) assert.deepEqual(faultsOfInput(model, input), []);
    const facts = await measureFilm(output.file.bytes);
    for (const [fact, expected] of Object.entries(made)) {
      const found = facts?.[fact as keyof PlainFilm] ?? NaN;
      assert.ok(Math.abs(found - expected) < 0.01, `${fact} is ${found}, not ${expected}`);
    }
    assert.equal(jobs.warnings.length, warnings.length, jobs.warnings.join("\n"));
    for (const warning of warnings) assert.match(jobs.warnings.join("\n"), warning);
    for (const { model, units } of jobs.requests.values()) {
      const counts = Object.values(units).filter((value) => typeof value === "number");
      assert.ok(counts.length > 0 && counts.every((value) => value > 0), `${model} has units`);
    }
  });
}

test("every task type that FAL makes a film for has a scene, and every endpoint is in the client's types", () => {
  assert.deepEqual(new Set(scenes.map(([, { taskType }]) => taskType)), new Set(Object.keys(filmRecipes)));
  const used = new Set(scenes.flatMap(([, , submitted]) => submitted.map(([, model]) => model)));
  assert.deepEqual(used, new Set<string>(Object.values(endpoints)));
  for (const model of Object.values(endpoints)) assert.ok(fieldsOfEndpoint(model), model);
});

test("a transition says how much of the clips it stands for", async () => {
  const [, scene] = scenes.find(([name]) => name === "a transition between two clips") ?? [];
  assert.ok(scene);
  const { output } = await run(scene);
  assert.deepEqual(JSON.parse(output.textOf?.("https://own.example/t.mp4") ?? ""), {
    transition_url: "https://own.example/t.mp4",
    frames: 21,
    gap_frames: 21,
    gap_from_clip1: 10,
    gap_from_clip2: 11,
    context_from_clip1: 0,
    context_from_clip2: 0,
    blend_frames: 0,
  });
});

test("a film longer than the model makes is interpolated, and says so", async () => {
  const params = { start_image_url: image("a"), segment_frames_target: 300, fps_helpers: 16 };
  const { jobs, output } = await run({
    taskType: "individual_travel_segment",
    params: { ...params, individual_segment_params: { start_image_url: image("a") } },
  });
  const [[, , input] = []] = jobs.submitted();
  assert.deepEqual([input?.["num_frames"], input?.["num_interpolated_frames"]], [153, 1]);
  assert.equal((await measureFilm(output.file.bytes))?.frames, 300);
  assert.match(jobs.warnings.join(), /161 frames at most: 153 are made, and 1 interpolated/);
});

test("a film that has another length, rate or size than was asked for is delivered with a warning", async () => {
  const jobs = new FilmJobs();
  jobs.change = (model, made) =>
    model === endpoints.scaleFilm ? { ...made, frames: 75, framesPerSecond: 24, width: 900 } : made;
  const [, scene] = scenes[0] ?? [];
  assert.ok(scene);
  await run(scene, jobs);
  assert.deepEqual(jobs.warnings, [
    "The film has 75 frames (3.13 seconds); 61 frames (3.81 seconds) were asked for.",
    "The film runs at 24 frames a second instead of 16.",
    "The film has 900 × 508 pixels instead of 902 × 508.",
  ]);
});

test("a turbo travel through many images makes each passage as short as the model can, and lasts as long as is paid", async () => {
  const images = Array.from({ length: 6 }, (_, index) => image(String(index)));
  const { jobs, output } = await run({
    taskType: "wan_2_2_i2v",
    params: { input_image_paths_resolved: images, duration: 5 },
    billed: { images: 1, seconds: 5 },
  });
  const films = jobs.submitted().filter(([, model]) => model === endpoints.imageToVideo);
  assert.deepEqual(
    films.map(([step, , input]) => [step, input["num_frames"], input["frames_per_second"]]),
    [0, 1, 2, 3, 4].map((step) => [step, 17, 17]),
  );
  assert.ok(Math.abs(((await measureFilm(output.file.bytes))?.frames ?? 0) - 81) <= 1, "81 frames");
  assert.deepEqual(jobs.warnings, []);
});

test("a segment that waits for a picture begins with its own image", async () => {
  const { jobs } = await run({
    taskType: "travel_segment",
    params: { segment_index: 0, orchestrator_details: travel },
    predecessor: image("made-before"),
  });
  const [[, , input] = []] = jobs.submitted();
  assert.equal(input?.["image_url"], image("a"));
});

test("a size that no film can have is a warning, not dropped in silence", async () => {
  for (const resolution of ["33x1000", [5000, 400], { width: 20, height: 20 }]) {
    const segment = {
      segment_index: 0,
      orchestrator_details: { ...travel, parsed_resolution_wh: resolution },
    };
    const interpolated = { input_image_path1: image("a"), input_image_path2: image("b"), resolution };
    for (const scene of [
      { taskType: "travel_segment", params: segment },
      { taskType: "rife_interpolate_images", params: interpolated },
    ]) {
      const { jobs } = await run(scene);
      assert.match(jobs.warnings.join("\n"), /No film of \d+ × \d+ pixels can be made/, scene.taskType);
    }
  }
});

test("a file that a param names is placed where it is named", async () => {
  const { jobs } = await run(scenes[1]?.[1] as Scene);
  const request = jobs.requests.get(0);
  assert.ok(request);
  assert.deepEqual(
    request.files.map(({ field, medium }) => [field, medium]),
    [
      ["segment_loras", "weights"],
      ["input_image_paths_resolved", "image"],
      ["input_image_paths_resolved", "image"],
    ],
  );
  for (const [index, file] of request.files.entries()) file.place(`https://placed.example/${index}`);
  const { loras, image_url: start, end_image_url: end } = request.input;
  assert.deepEqual(
    [(loras as { path: string }[])[0]?.path, start, end],
    [0, 1, 2].map((index) => `https://placed.example/${index}`),
  );
});

const paidShort = { seconds: 2, images: 1 };
const twoClips = { [clipUrl("one")]: clip, [clipUrl("two")]: clip };
const refusals: [name: string, scene: Scene, reason: RegExp][] = [
  [
    "a segment longer than is paid",
    {
      taskType: "travel_segment",
      params: { segment_frames_target: 81, orchestrator_details: travel },
      billed: paidShort,
    },
    /81 frames.*2 are paid.*`seconds`: 5/,
  ],
  [
    "a chained segment longer than is paid",
    {
      taskType: "travel_segment",
      params: { segment_frames_target: 81, orchestrator_details: travel },
      billed: paidShort,
      sources: { [clipUrl("one")]: clip },
      predecessor: clipUrl("one"),
    },
    /2 are paid/,
  ],
  ["a segment without an image", { taskType: "travel_segment", params: { segment_index: 9 } }, /is missing/],
  [
    "a turbo travel through more images than its seconds pay for",
    {
      taskType: "wan_2_2_i2v",
      params: { input_image_paths_resolved: Array.from({ length: 11 }, (_, index) => image(String(index))) },
      billed: { images: 1, seconds: 5 },
    },
    /170 frames.*5 are paid/,
  ],
  ["a turbo travel without an image", { taskType: "wan_2_2_i2v", params: {} }, /is missing/],
  [
    "a transition longer than is paid",
    {
      taskType: "join_clips_segment",
      params: {
        starting_video_path: clipUrl("one"),
        ending_video_path: clipUrl("two"),
        gap_frame_count: 81,
      },
      sources: twoClips,
      billed: paidShort,
    },
    /2 are paid/,
  ],
  [
    "a join without a second clip",
    {
      taskType: "join_clips_segment",
      params: { starting_video_path: clipUrl("one") },
      sources: twoClips,
    },
    /ending_video_path is missing/,
  ],
  [
    "a film to enhance that is longer than is paid",
    {
      taskType: "video_enhance",
      params: { video_url: clipUrl("one"), enable_upscale: true },
      sources: twoClips,
      billed: { seconds: 2, megapixels: 2 },
    },
    /3\.0 seconds long, and 2 are paid.*`seconds`: 3/,
  ],
  [
    "a result larger than is paid",
    {
      taskType: "video_enhance",
      params: { video_url: clipUrl("one"), enable_upscale: true, upscale: { upscale_factor: 4 } },
      sources: { [clipUrl("one")]: { ...clip, width: 902, height: 508 } },
      billed: { seconds: 5, megapixels: 2 },
    },
    /3608 × 2032 pixels.*2 are paid.*"3608x2032"/,
  ],
  [
    "an enhancement that changes nothing",
    { taskType: "video_enhance", params: { video_url: clipUrl("one") }, sources: twoClips },
    /must be true/,
  ],
  [
    "too many LoRAs",
    {
      taskType: "travel_segment",
      params: {
        orchestrator_details: travel,
        loras: Array.from({ length: 11 }, (_, index) => ({ path: `https://l.example/${index}`, scale: 1 })),
      },
    },
    /11 are given, and at most 10/,
  ],
  [
    "a join of a clip longer than is worked on",
    {
      taskType: "join_clips_segment",
      params: { starting_video_path: clipUrl("one"), ending_video_path: clipUrl("two") },
      sources: { [clipUrl("one")]: { ...clip, frames: 301, framesPerSecond: 1 }, [clipUrl("two")]: clip },
    },
    /301 seconds long, and at most 300/,
  ],
  ["a pose without a picture", { taskType: "generate_openpose", params: {} }, /image_url is missing/],
  [
    "an interpolation without its second image",
    { taskType: "rife_interpolate_images", params: { input_image_path1: image("a") } },
    /input_image_path2 is missing/,
  ],
];

for (const [name, scene, reason] of refusals) {
  test(`${name} fails before a job is submitted, and the reason says what to do`, async () => {
    const jobs = new FilmJobs();
    await assert.rejects(run(scene, jobs), (error) => {
      assert.ok(error instanceof RenderError && !error.isRetryable, String(error));
      assert.match(error.message, reason);
      return true;
    });
    assert.equal(jobs.requests.size, 0);
  });
}

test("films that are joined are at FAL already: no name is looked up for them", () => {
  const films = [1, 2].map((part) => ({ url: `https://fal.example/${part}.mp4`, field: "film" }));
  const { input, files } = mergeRequest(films, { frames: 32, framesPerSecond: 16, width: 64, height: 64 });
  assert.deepEqual(input["video_urls"], ["https://fal.example/1.mp4", "https://fal.example/2.mp4"]);
  assert.deepEqual(files, []);
});
