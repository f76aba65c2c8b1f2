import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ChildTask,
  type ClaimedTask,
  DarkroomApiError,
  DarkroomClient,
  type NewTask,
} from "../client.ts";
import { RenderError } from "../provider.ts";
import { orchestrate } from "./orchestrate.ts";

const orchestrator: ClaimedTask = {
  task_id: "11111111-2222-4333-8444-555555555555",
  task_type: "travel_orchestrator",
  project_id: "99999999-2222-4333-8444-555555555555",
  params: {},
  attempt: 1,
  attempts: 0,
  lease_expires_at: new Date().toISOString(),
};

/** A server that has these children. It notes the tasks that are created. */
class FakeClient extends DarkroomClient {
  readonly created: NewTask[] = [];
  readonly #children: ChildTask[];
  readonly #refusal: Error | undefined;

  constructor(children: ChildTask[] = [], refusal?: Error) {
    super({ url: "http://127.0.0.1:1", token: "none", workerId: "w" });
    this.#children = children;
    this.#refusal = refusal;
  }

  override orchestratorChildren(): Promise<ChildTask[]> {
    return Promise.resolve(this.#children);
  }

  override createTasks(_projectId: string, tasks: readonly NewTask[]): Promise<void> {
    if (this.#refusal) return Promise.reject(this.#refusal);
    this.created.push(...tasks);
    return Promise.resolve();
  }
}

async function run(client: FakeClient, details: object, taskType = "travel_orchestrator"): Promise<string> {
  const task = { ...orchestrator, task_type: taskType, params: { orchestrator_details: details } };
  const cut = (_source: string, _frames: number | undefined, pieces: readonly unknown[]) =>
    Promise.resolve(pieces.map((_, index) => `https://host.example/part-${index}.mp4`));
  const { delegated } = await orchestrate({
    task,
    client,
    signal: new AbortController().signal,
    cutter: { cut },
  });
  return delegated;
}

function childOf({ task_id, task_type, params }: NewTask): ChildTask {
  return { id: task_id, task_type, params, status: "Queued", output_location: null };
}

const travel = {
  run_id: "run",
  num_new_segments_to_generate: 3,
  base_prompts_expanded: ["a", "b", "c"],
  segment_frames_expanded: [61, 41, 21],
  frame_overlap_expanded: [10, 5],
  parsed_resolution_wh: "902x508",
  seed_base: 7,
};

test("a chained travel creates segments that wait for each other, and a stitch that waits for the last", async () => {
  const client = new FakeClient();
  assert.equal(await run(client, travel), "Created 3 segments, chained, and their stitch");
  const [first, second, third, stitch] = client.created;
  assert.deepEqual(
    client.created.map(({ task_type }) => task_type),
    ["travel_segment", "travel_segment", "travel_segment", "travel_stitch"],
  );
  assert.deepEqual(
    client.created.map(({ dependant_on }) => dependant_on),
    [undefined, [first?.task_id], [second?.task_id], [third?.task_id]],
  );
  const { orchestrator_details, ...params } = second?.params ?? {};
  assert.deepEqual(params, {
    orchestrator_task_id_ref: orchestrator.task_id,
    orchestrator_run_id: "run",
    project_id: orchestrator.project_id,
    parent_generation_id: null,
    segment_index: 1,
    child_order: 1,
    is_first_segment: false,
    is_last_segment: false,
    is_single_item: false,
    base_prompt: "b",
    negative_prompt: "",
    segment_frames_target: 41,
    frame_overlap_from_previous: 10,
    frame_overlap_with_next: 5,
    parsed_resolution_wh: "902x508",
    model_name: null,
    seed_to_use: 8,
    fps_helpers: 16,
    use_svi: false,
    structure_guidance: null,
  });
  assert.deepEqual(orchestrator_details, { ...travel, orchestrator_task_id: orchestrator.task_id });
  assert.deepEqual(stitch?.params["frame_overlap_settings_expanded"], [10, 5]);
  assert.equal(stitch?.params["num_total_segments_generated"], 3);
});

test("a travel of independent segments creates no dependencies and no stitch", async () => {
  for (const more of [{ model_type: "i2v" }, { chain_segments: false }, { independent_segments: true }]) {
    const client = new FakeClient();
    await run(client, { ...travel, ...more });
    assert.equal(client.created.length, 3);
    assert.ok(client.created.every(({ dependant_on }) => dependant_on === undefined));
  }
});

test("a second run creates only the missing children, also beside children of another worker", async () => {
  const whole = new FakeClient();
  await run(whole, travel);
  const again = new FakeClient();
  await run(again, travel);
  assert.deepEqual(again.created, whole.created);

  const complete = new FakeClient(whole.created.map(childOf));
  assert.equal(await run(complete, travel), "Created 3 segments, chained, and their stitch");
  assert.deepEqual(complete.created, []);

  // Another worker created the second segment, under an id of its own.
  const children = whole.created.slice(0, 2).map(childOf);
  const foreign = "77777777-2222-4333-8444-555555555555";
  const rest = new FakeClient(
    children.map((child, index) => (index === 1 ? { ...child, id: foreign } : child)),
  );
  await run(rest, travel);
  assert.deepEqual(
    rest.created.map(({ task_id }) => task_id),
    whole.created.slice(2).map(({ task_id }) => task_id),
  );
  assert.deepEqual(rest.created[0]?.dependant_on, [foreign]);
});

test("an edit joins the pieces around the portions, and each join has its portion's frames and prompt", async () => {
  const client = new FakeClient();
  const details = {
    run_id: "run",
    source_video_url: "https://host.example/river.mp4",
    prompt: "a river",
    portions_to_regenerate: [
      { start_frame: 20, end_frame: 30, prompt: "a bridge" },
      { start_frame: 5, end_frame: 10, gap_frame_count: 7 },
    ],
  };
  await run(client, details, "edit_video_orchestrator");
  const [first, second, stitch] = client.created;
  const facts = [first, second].map((task) => {
    const { prompt, gap_frame_count, replace_mode, starting_video_path, is_first_join, is_last_join } =
      task?.params ?? {};
    return { prompt, gap_frame_count, replace_mode, starting_video_path, is_first_join, is_last_join };
  });
  assert.deepEqual(facts, [
    {
      prompt: "a river",
      gap_frame_count: 7,
      replace_mode: false,
      starting_video_path: "https://host.example/part-0.mp4",
      is_first_join: true,
      is_last_join: false,
    },
    {
      prompt: "a bridge",
      gap_frame_count: 10,
      replace_mode: false,
      starting_video_path: null,
      is_first_join: false,
      is_last_join: true,
    },
  ]);
  assert.deepEqual(second?.dependant_on, [first?.task_id]);
  assert.deepEqual(
    [stitch?.params["chain_mode"], stitch?.params["transition_task_ids"]],
    [true, [second?.task_id]],
  );
});

test("an edit whose portions overlap is refused", async () => {
  const details = {
    source_video_url: "https://host.example/river.mp4",
    portions_to_regenerate: [
      { start_frame: 5, end_frame: 20 },
      { start_frame: 19, end_frame: 30 },
    ],
  };
  await assert.rejects(run(new FakeClient(), details, "edit_video_orchestrator"), /must not overlap/);
});

test("a final refusal of the children fails the orchestrator, and another refusal is retried", async () => {
  for (const [status, isFinal] of [
    [402, true],
    [422, true],
    [409, false],
    [503, false],
  ] as const) {
    const refusal = new DarkroomApiError(status, "code", "why", undefined);
    await assert.rejects(run(new FakeClient([], refusal), travel), (error) => {
      assert.equal(error instanceof RenderError && !error.isRetryable, isFinal, String(status));
      return true;
    });
  }
});

test("a travel of no segments, or of more than 200, is refused", async () => {
  for (const count of [0, -1, 1.5, 201, "many", null]) {
    const client = new FakeClient();
    await assert.rejects(run(client, { ...travel, num_new_segments_to_generate: count }), RenderError);
    assert.deepEqual(client.created, []);
  }
});
