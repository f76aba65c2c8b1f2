import { RenderError } from "../provider.ts";
import type { ChildPlan } from "./child-plan.ts";
import { planJoins } from "./join-clips.ts";
import { childCount, counted, type FrameRange, type OrchestratorRun } from "./orchestration.ts";
import { detailsOf, number, type Params, records, text } from "./task-params.ts";

interface Portion {
  start: number;
  end: number;
  settings: Params;
}

/** Cuts the portions out of the film, and joins what is left by new frames: a chain of joins and the final stitch. */
export async function planEdit({ task, cutter }: OrchestratorRun, plan: ChildPlan): Promise<string> {
  const details = detailsOf(task.params);
  const source = text(details["source_video_url"]);
  if (!source) throw new RenderError("source_video_url is missing", { isRetryable: false });
  const portions = readPortions(details["portions_to_regenerate"]);
  const isPlanned = portions.every((_, index) => plan.find("join_clips_segment", ["join_index", index]));
  if (!isPlanned || !plan.find("join_final_stitch")) {
    const clips = await cutter.cut(source, number(details["source_video_total_frames"]), around(portions));
    planJoins(plan, task, clips, {
      isParallel: false,
      settingsOf(index) {
        const { start, end, settings } = portions[index] ?? { start: 0, end: 1, settings: {} };
        const gap = number(settings["gap_frame_count"]) ?? number(settings["frame_count"]) ?? end - start;
        // The portion is cut out already, so that the join must not replace further frames.
        return { ...settings, gap_frame_count: gap, replace_mode: false };
      },
    });
  }
  return `Created ${counted(portions.length, "new portion")} and the final stitch`;
}

/** The portions in the film's order. @throws RenderError */
function readPortions(value: unknown): Portion[] {
  const portions = records(value).map((settings): Portion => {
    const [start, end] = [number(settings["start_frame"]) ?? -1, number(settings["end_frame"]) ?? -1];
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start) {
      throw new RenderError("portions_to_regenerate needs a start_frame before its end_frame", {
        isRetryable: false,
      });
    }
    return { start, end, settings };
  });
  portions.sort((one, other) => one.start - other.start);
  childCount(portions.length, "portions_to_regenerate");
  if (portions.some(({ start }, index) => start < (portions[index - 1]?.end ?? 0))) {
    throw new RenderError("portions_to_regenerate must not overlap", { isRetryable: false });
  }
  return portions;
}

/** What is left of the film: a piece before each portion, and one after the last. */
function around(portions: readonly Portion[]): FrameRange[] {
  return [...portions, undefined].map((portion, index) => ({
    from: portions[index - 1]?.end ?? 0,
    to: portion?.start,
  }));
}
