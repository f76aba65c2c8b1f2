import type { ClaimedTask } from "../client.ts";
import { RenderError } from "../provider.ts";
import { type ChildPlan, inheritedParams } from "./child-plan.ts";
import { childCount, counted, type OrchestratorRun } from "./orchestration.ts";
import { detailsOf, number, type Params, records, text, texts } from "./task-params.ts";
import { outputOf } from "./task-output.ts";

const blendFrames = 15;

/** A transition between each two clips and the final stitch; without `use_parallel_joins` a chain of joins. */
export async function planJoin({ task, client }: OrchestratorRun, plan: ChildPlan): Promise<string> {
  const details = detailsOf(task.params);
  const clips = records(details["clip_list"]).flatMap(({ url }) => text(url) ?? []);
  if (clips.length === 0) {
    for (const id of texts(details["segment_task_ids"])) clips.push(await outputOf(client, task, id));
  }
  const [first] = clips;
  if (details["loop_first_clip"] === true && first) clips.push(first);
  if (clips.length < 2)
    throw new RenderError("there are fewer than two clips to join", { isRetryable: false });
  childCount(clips.length - 1, "clip_list");
  const isParallel = details["use_parallel_joins"] !== false;
  const settings = records(details["per_join_settings"]);
  planJoins(plan, task, clips, { isParallel, settingsOf: (index) => settings[index] ?? {} });
  return `Created ${counted(clips.length - 1, isParallel ? "transition" : "join")} and the final stitch`;
}

export interface JoinOptions {
  /** Whether all joins run at once. Otherwise each join goes on from the film of the one before. */
  isParallel: boolean;
  settingsOf(index: number): Params;
}

/** Plans a join between each two clips, and the final stitch. */
export function planJoins(
  plan: ChildPlan,
  task: ClaimedTask,
  clips: readonly string[],
  { isParallel, settingsOf }: JoinOptions,
): void {
  const details = detailsOf(task.params);
  const inherited = { ...inheritedParams(task), skip_generation: true };
  const rate = number(details["fps"]) ?? number(details["source_video_fps"]);
  const seed = number(details["seed"]) ?? -1;
  const joins: string[] = [];
  for (let index = 0; index < clips.length - 1; index += 1) {
    const params = {
      context_frame_count: number(details["context_frame_count"]) ?? 8,
      gap_frame_count: number(details["gap_frame_count"]) ?? 53,
      replace_mode: details["replace_mode"] === true,
      prompt: text(details["prompt"]) ?? "smooth transition",
      negative_prompt: text(details["negative_prompt"]) ?? "",
      model: text(details["model"]) ?? "wan_2_2_vace_lightning_baseline_2_2_2",
      seed: seed < 0 ? seed : seed + index,
      ...settingsOf(index),
      ...inherited,
      join_index: index,
      child_order: index,
      is_first_join: !isParallel && index === 0,
      is_last_join: !isParallel && index === clips.length - 2,
      starting_video_path: isParallel || index === 0 ? clips[index] : null,
      ending_video_path: clips[index + 1],
      ...(rate !== undefined && { fps: rate }),
      ...(isParallel && { transition_only: true, transition_index: index, blend_frames: blendFrames }),
    };
    const after = isParallel ? [] : joins.slice(-1);
    joins.push(plan.add("join_clips_segment", params, { after, position: ["join_index", index] }));
  }
  const ends = isParallel ? joins : joins.slice(-1);
  const stitchParams = {
    ...inherited,
    clip_list: clips.map((url) => ({ url })),
    transition_task_ids: ends,
    chain_mode: !isParallel,
    blend_frames: blendFrames,
    ...(rate !== undefined && { fps: rate }),
    audio_url: text(details["audio_url"]) ?? null,
  };
  plan.add("join_final_stitch", stitchParams, { after: ends });
}
