import { createHash } from "node:crypto";
import type { ChildTask, ClaimedTask, DarkroomClient, NewTask } from "../client.ts";
import { DarkroomApiError } from "../client.ts";
import { type Delegation, RenderError } from "../provider.ts";
import { number, text } from "./description.ts";
import { outputOf } from "./inputs.ts";
import { detailsOf, nth, type Params, record, records, texts } from "./params.ts";

/** What an orchestrator's run needs. */
export interface Conducting {
  task: ClaimedTask;
  client: DarkroomClient;
  signal: AbortSignal;
  /** Cuts a film into pieces, from one frame up to, not including, another, and stores them. @returns where they are */
  cut(source: string, frames: number | undefined, pieces: readonly Piece[]): Promise<string[]>;
}

export interface Piece {
  from: number;
  to: number | undefined;
}

type Conduct = (conducting: Conducting, plan: Plan) => Promise<string>;

const conductors: Record<string, Conduct> = {
  travel_orchestrator: conductTravel,
  join_clips_orchestrator: conductJoin,
  edit_video_orchestrator: conductEdit,
};

export const orchestratorTaskTypes: readonly string[] = Object.keys(conductors);

const mostParts = 200;
const stitchRate = 16;
const blendFrames = 15;

/**
 * Creates the parts of an orchestration that are not there yet, and lets go. Run again, after a worker was lost in the
 * middle, it creates nothing twice. @throws RenderError when there is nothing to be made of the params
 */
export async function conduct(conducting: Conducting): Promise<Delegation> {
  const { task, client, signal } = conducting;
  const conductor = conductors[task.task_type];
  if (!conductor) throw new Error(`${task.task_type} is no orchestrator`);
  const plan = new Plan(task, await client.orchestratorChildren(task.task_id));
  const delegated = await conductor(conducting, plan);
  signal.throwIfAborted();
  try {
    await client.createTasks(task.project_id, plan.missing);
  } catch (error) {
    throw isRefusal(error) ? new RenderError(error.message, { isRetryable: false }) : error;
  }
  return { delegated };
}

/** What a repeat would be answered too, such as parts that the account does not cover; the end of the run is not one. */
function isRefusal(error: unknown): error is DarkroomApiError {
  return error instanceof DarkroomApiError && [400, 402, 403, 413, 422].includes(error.status);
}

/** The parts of an orchestration: those that are there, and those to be created. */
class Plan {
  readonly missing: NewTask[] = [];
  readonly #orchestrator: ClaimedTask;
  readonly #children: readonly ChildTask[];

  constructor(orchestrator: ClaimedTask, children: readonly ChildTask[]) {
    this.#orchestrator = orchestrator;
    this.#children = children;
  }

  /** One that somebody created, by whatever id. */
  find(taskType: string, place?: readonly [field: string, index: number]): ChildTask | undefined {
    return this.#children.find(
      ({ task_type, params }) => task_type === taskType && (!place || params[place[0]] === place[1]),
    );
  }

  /** Plans a part unless it is there. @returns its id, which is the same whoever plans it */
  part(
    taskType: string,
    params: Params,
    { after, place }: { after: readonly string[]; place?: readonly [field: string, index: number] },
  ): string {
    const known = this.find(taskType, place);
    if (known) return known.id;
    const id = uuidOf(`${this.#orchestrator.task_id} ${taskType} ${place?.[1] ?? ""}`);
    this.missing.push({
      task_id: id,
      task_type: taskType,
      params,
      ...(after.length > 0 && { dependant_on: after }),
    });
    return id;
  }
}

/** The same uuid for the same text. */
function uuidOf(name: string): string {
  const bytes = createHash("sha256").update(name).digest().subarray(0, 16);
  // Version 8: made as its maker likes.
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** What every part carries of its orchestrator. */
function shared({ task_id, project_id, params }: ClaimedTask): Params {
  const details = detailsOf(params);
  return {
    orchestrator_task_id_ref: task_id,
    orchestrator_run_id: text(details["run_id"]) ?? task_id,
    project_id,
    parent_generation_id:
      text(params["parent_generation_id"]) ?? text(details["parent_generation_id"]) ?? null,
    // The name that its creator gave it is for people; here it is the row.
    orchestrator_details: { ...details, orchestrator_task_id: task_id },
  };
}

async function conductTravel({ task }: Conducting, plan: Plan): Promise<string> {
  const details = detailsOf(task.params);
  const count = partCount(
    number(details["num_new_segments_to_generate"]) ?? number(task.params["num_new_segments_to_generate"]),
    "num_new_segments_to_generate",
  );
  const of = (name: string, index: number): unknown => nth(details[name], index);
  const overlap = (index: number): number => Math.max(0, number(of("frame_overlap_expanded", index)) ?? 0);
  const usesSvi = details["use_svi"] === true;
  const isChained =
    usesSvi ||
    ((text(details["model_type"]) ?? "vace") === "vace" &&
      details["chain_segments"] !== false &&
      details["independent_segments"] !== true);
  const common = shared(task);
  const runId = common["orchestrator_run_id"] as string;
  const resolution = details["parsed_resolution_wh"];
  const seed = number(details["seed_base"]) ?? 12_345;
  const segments: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const params = {
      ...common,
      segment_index: index,
      child_order: index,
      is_first_segment: index === 0,
      is_last_segment: index === count - 1,
      is_single_item: count === 1,
      base_prompt: text(of("base_prompts_expanded", index)) ?? text(details["base_prompt"]) ?? "",
      negative_prompt: text(of("negative_prompts_expanded", index)) ?? text(details["negative_prompt"]) ?? "",
      ...(text(of("enhanced_prompts_expanded", index)) && {
        enhanced_prompt: of("enhanced_prompts_expanded", index),
      }),
      segment_frames_target: number(of("segment_frames_expanded", index)) ?? null,
      frame_overlap_from_previous: isChained && index > 0 ? overlap(index - 1) : 0,
      frame_overlap_with_next: isChained && index < count - 1 ? overlap(index) : 0,
      parsed_resolution_wh: resolution ?? null,
      model_name: text(details["model_name"]) ?? null,
      seed_to_use: seed + index,
      fps_helpers: number(details["fps_helpers"]) ?? stitchRate,
      use_svi: usesSvi,
      structure_guidance: details["structure_guidance"] ?? null,
    };
    const previous = segments.at(-1);
    const after = isChained && previous ? [previous] : [];
    segments.push(plan.part("travel_segment", params, { after, place: ["segment_index", index] }));
  }
  if (isChained) {
    const params = {
      ...common,
      num_total_segments_generated: count,
      frame_overlap_settings_expanded: segments.slice(1).map((_, index) => overlap(index)),
      crossfade_sharp_amt: number(details["crossfade_sharp_amt"]) ?? 0.3,
      parsed_resolution_wh: resolution ?? null,
      fps_final_video: number(details["fps_helpers"]) ?? stitchRate,
      upscale_factor: number(details["upscale_factor"]) ?? 0,
      seed_for_upscale: seed,
    };
    plan.part("travel_stitch", params, { after: segments.slice(-1) });
  }
  const stitch = details["stitch_config"];
  if (typeof stitch === "object" && stitch !== null) {
    const params = {
      // All of it lies in here, where the server finds an orchestrator within another.
      orchestrator_details: {
        context_frame_count: 12,
        gap_frame_count: 19,
        replace_mode: true,
        use_parallel_joins: true,
        ...record(stitch),
        orchestrator_task_id_ref: task.task_id,
        orchestrator_run_id: runId,
        run_id: `${runId}_join`,
        project_id: task.project_id,
        segment_task_ids: segments,
        parsed_resolution_wh: resolution ?? null,
      },
    };
    plan.part("join_clips_orchestrator", params, { after: segments });
  }
  return `Created ${counted(count, "segment")}${isChained ? ", chained, and their stitch" : ""}${stitch ? ", to be joined" : ""}`;
}

async function conductJoin({ task, client }: Conducting, plan: Plan): Promise<string> {
  const details = detailsOf(task.params);
  const clips = records(details["clip_list"]).flatMap(({ url }) => text(url) ?? []);
  if (clips.length === 0) {
    for (const id of texts(details["segment_task_ids"])) clips.push(await outputOf(client, task, id));
  }
  const [first] = clips;
  if (details["loop_first_clip"] === true && first) clips.push(first);
  if (clips.length < 2)
    throw new RenderError("there are fewer than two clips to join", { isRetryable: false });
  partCount(clips.length - 1, "clip_list");
  const isParallel = details["use_parallel_joins"] !== false;
  const settings = records(details["per_join_settings"]);
  planJoins(plan, task, clips, { isParallel, settingsOf: (index) => settings[index] ?? {} });
  return `Created ${counted(clips.length - 1, isParallel ? "transition" : "join")} and the final stitch`;
}

async function conductEdit({ task, cut }: Conducting, plan: Plan): Promise<string> {
  const details = detailsOf(task.params);
  const source = text(details["source_video_url"]);
  if (!source) throw new RenderError("source_video_url is missing", { isRetryable: false });
  const portions = records(details["portions_to_regenerate"]).map((portion) => {
    const [start, end] = [number(portion["start_frame"]) ?? -1, number(portion["end_frame"]) ?? -1];
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start) {
      throw new RenderError("portions_to_regenerate needs a start_frame before its end_frame", {
        isRetryable: false,
      });
    }
    return { ...portion, start, end };
  });
  portions.sort((one, other) => one.start - other.start);
  partCount(portions.length, "portions_to_regenerate");
  const isPlanned = portions.every((_, index) => plan.find("join_clips_segment", ["join_index", index]));
  if (!isPlanned || !plan.find("join_final_stitch")) {
    // What stays of the film, as clips with a portion between each two.
    const pieces = [...portions, undefined].map((portion, index): Piece => {
      return { from: portions[index - 1]?.end ?? 0, to: portion?.start };
    });
    const clips = await cut(source, number(details["source_video_total_frames"]), pieces);
    planJoins(plan, task, clips, {
      isParallel: false,
      settingsOf(index) {
        const { start, end, ...portion } = portions[index] ?? { start: 0, end: 1 };
        const own = portion as Params;
        const gap = number(own["gap_frame_count"]) ?? number(own["frame_count"]) ?? end - start;
        // The portion is cut out already: nothing else makes room.
        return { ...own, gap_frame_count: gap, replace_mode: false };
      },
    });
  }
  return `Created ${counted(portions.length, "new portion")} and the final stitch`;
}

/** A join between each two clips, and the stitch: all at once, or each going on from the one before. */
function planJoins(
  plan: Plan,
  task: ClaimedTask,
  clips: readonly string[],
  { isParallel, settingsOf }: { isParallel: boolean; settingsOf: (index: number) => Params },
): void {
  const details = detailsOf(task.params);
  const common = { ...shared(task), skip_generation: true };
  const rate = number(details["fps"]) ?? number(details["source_video_fps"]);
  const joins: string[] = [];
  for (let index = 0; index < clips.length - 1; index += 1) {
    const seed = number(details["seed"]) ?? -1;
    const params = {
      context_frame_count: number(details["context_frame_count"]) ?? 8,
      gap_frame_count: number(details["gap_frame_count"]) ?? 53,
      replace_mode: details["replace_mode"] === true,
      prompt: text(details["prompt"]) ?? "smooth transition",
      negative_prompt: text(details["negative_prompt"]) ?? "",
      model: text(details["model"]) ?? "wan_2_2_vace_lightning_baseline_2_2_2",
      seed: seed < 0 ? seed : seed + index,
      ...settingsOf(index),
      ...common,
      join_index: index,
      child_order: index,
      is_first_join: !isParallel && index === 0,
      is_last_join: !isParallel && index === clips.length - 2,
      starting_video_path: isParallel || index === 0 ? clips[index] : null,
      ending_video_path: clips[index + 1],
      ...(rate !== undefined && { fps: rate }),
      ...(isParallel && { transition_only: true, transition_index: index, blend_frames: blendFrames }),
    };
    const previous = joins.at(-1);
    const after = !isParallel && previous ? [previous] : [];
    joins.push(plan.part("join_clips_segment", params, { after, place: ["join_index", index] }));
  }
  const ends = isParallel ? joins : joins.slice(-1);
  const params = {
    ...common,
    clip_list: clips.map((url) => ({ url })),
    transition_task_ids: ends,
    chain_mode: !isParallel,
    blend_frames: blendFrames,
    ...(rate !== undefined && { fps: rate }),
    audio_url: text(details["audio_url"]) ?? null,
  };
  plan.part("join_final_stitch", params, { after: ends });
}

function partCount(count: number | undefined, field: string): number {
  if (count !== undefined && Number.isInteger(count) && count >= 1 && count <= mostParts) return count;
  throw new RenderError(`${field} asks for no number of parts from 1 to ${mostParts}`, {
    isRetryable: false,
  });
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
