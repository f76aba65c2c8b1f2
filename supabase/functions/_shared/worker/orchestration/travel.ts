import type { ClaimedTask } from "../client.ts";
import { type ChildPlan, inheritedParams } from "./child-plan.ts";
import { childCount, counted, type OrchestratorRun } from "./orchestration.ts";
import { detailsOf, nth, number, type Params, record, text } from "./task-params.ts";

const defaultRate = 16;
const defaultSeed = 12_345;

/** A segment between each two pictures; of a chained travel their stitch; with `stitch_config` a join of the segments. */
export async function planTravel({ task }: OrchestratorRun, plan: ChildPlan): Promise<string> {
  const details = detailsOf(task.params);
  const count = childCount(
    number(details["num_new_segments_to_generate"]) ?? number(task.params["num_new_segments_to_generate"]),
    "num_new_segments_to_generate",
  );
  const isChained = isChainedTravel(details);
  const segments = planSegments(plan, task, count, isChained);
  if (isChained) planStitch(plan, task, segments);
  const stitchConfig = details["stitch_config"];
  const isJoined = typeof stitchConfig === "object" && stitchConfig !== null;
  if (isJoined) planSegmentJoin(plan, task, segments, record(stitchConfig));
  return `Created ${counted(count, "segment")}${isChained ? ", chained, and their stitch" : ""}${isJoined ? ", to be joined" : ""}`;
}

/** Whether each segment goes on from the one before it. */
function isChainedTravel(details: Params): boolean {
  if (details["use_svi"] === true) return true;
  return (
    (text(details["model_type"]) ?? "vace") === "vace" &&
    details["chain_segments"] !== false &&
    details["independent_segments"] !== true
  );
}

/** Frames of a segment that the next one repeats. */
function overlapAfter(details: Params, index: number): number {
  return Math.max(0, number(nth(details["frame_overlap_expanded"], index)) ?? 0);
}

function planSegments(plan: ChildPlan, task: ClaimedTask, count: number, isChained: boolean): string[] {
  const details = detailsOf(task.params);
  const of = (name: string, index: number): unknown => nth(details[name], index);
  const inherited = inheritedParams(task);
  const seed = number(details["seed_base"]) ?? defaultSeed;
  const segments: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const params = {
      ...inherited,
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
      frame_overlap_from_previous: isChained && index > 0 ? overlapAfter(details, index - 1) : 0,
      frame_overlap_with_next: isChained && index < count - 1 ? overlapAfter(details, index) : 0,
      parsed_resolution_wh: details["parsed_resolution_wh"] ?? null,
      model_name: text(details["model_name"]) ?? null,
      seed_to_use: seed + index,
      fps_helpers: number(details["fps_helpers"]) ?? defaultRate,
      use_svi: details["use_svi"] === true,
      structure_guidance: details["structure_guidance"] ?? null,
    };
    const after = isChained ? segments.slice(-1) : [];
    segments.push(plan.add("travel_segment", params, { after, position: ["segment_index", index] }));
  }
  return segments;
}

function planStitch(plan: ChildPlan, task: ClaimedTask, segments: readonly string[]): void {
  const details = detailsOf(task.params);
  const params = {
    ...inheritedParams(task),
    num_total_segments_generated: segments.length,
    frame_overlap_settings_expanded: segments.slice(1).map((_, index) => overlapAfter(details, index)),
    crossfade_sharp_amt: number(details["crossfade_sharp_amt"]) ?? 0.3,
    parsed_resolution_wh: details["parsed_resolution_wh"] ?? null,
    fps_final_video: number(details["fps_helpers"]) ?? defaultRate,
    upscale_factor: number(details["upscale_factor"]) ?? 0,
    seed_for_upscale: number(details["seed_base"]) ?? defaultSeed,
  };
  plan.add("travel_stitch", params, { after: segments.slice(-1) });
}

/** An orchestrator of its own, which joins the segments. */
function planSegmentJoin(
  plan: ChildPlan,
  task: ClaimedTask,
  segments: readonly string[],
  stitchConfig: Params,
): void {
  const details = detailsOf(task.params);
  const runId = inheritedParams(task)["orchestrator_run_id"] as string;
  const params = {
    // The server looks for the parent of an inner orchestrator in its details.
    orchestrator_details: {
      context_frame_count: 12,
      gap_frame_count: 19,
      replace_mode: true,
      use_parallel_joins: true,
      ...stitchConfig,
      orchestrator_task_id_ref: task.task_id,
      orchestrator_run_id: runId,
      run_id: `${runId}_join`,
      project_id: task.project_id,
      segment_task_ids: segments,
      parsed_resolution_wh: details["parsed_resolution_wh"] ?? null,
    },
  };
  plan.add("join_clips_orchestrator", params, { after: segments });
}
