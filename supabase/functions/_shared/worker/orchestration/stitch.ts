import type { ClaimedTask, DarkroomClient } from "../client.ts";
import { RenderError } from "../provider.ts";
import { count, detailsOf, frameRate, nth, records, text, texts } from "./task-params.ts";
import { outputOf } from "./task-output.ts";
import { readTransition, type Transition } from "./transition-output.ts";

/** A clip of a stitched film. */
export interface StitchClip {
  url: string;
  /** Frames from this number up to, not including, `to`. Negative numbers count from the clip's end. */
  from: number;
  to: number | undefined;
  /** How many of its first frames fade out of the last frames of the clip before. */
  overlap: number;
  /** Whether those frames repeat the last frames of the clip before, so that a cut shows the same as a fade. */
  repeats: boolean;
}

/** A film made of clips. */
export interface Stitch {
  clips: StitchClip[];
  /** Undefined: the rate of the first clip. */
  framesPerSecond: number | undefined;
  audioUrl: string | undefined;
}

const defaultBlend = 15;

/** The segments of a travel, or the clips that the task names. @throws RenderError while segments are missing */
export async function travelStitch(task: ClaimedTask, client: DarkroomClient): Promise<Stitch> {
  const { params } = task;
  const details = detailsOf(params);
  const named = texts(params["clip_urls"] ?? details["clip_urls"]).filter(Boolean);
  const urls = named.length > 0 ? named : await segmentsOf(task, client);
  const overlaps = params["frame_overlap_settings_expanded"];
  return {
    clips: urls.map((url, index) => ({
      url,
      from: 0,
      to: undefined,
      overlap: index === 0 ? 0 : (count(nth(overlaps, index - 1)) ?? 0),
      // A segment begins with the last frames of the one before. Clips that a client names may show anything.
      repeats: named.length === 0,
    })),
    framesPerSecond: frameRate(params["fps_final_video"]),
    audioUrl: text(params["audio_url"]) ?? text(details["audio_url"]),
  };
}

/** The segments of the stitch's run, in order. @throws RenderError while some are not complete */
async function segmentsOf({ params, project_id }: ClaimedTask, client: DarkroomClient): Promise<string[]> {
  const runId = text(params["orchestrator_run_id"]);
  if (!runId) throw new RenderError("orchestrator_run_id or clip_urls is missing", { isRetryable: false });
  const segments = await client.completedSegments(runId, project_id);
  const total = count(params["num_total_segments_generated"]) ?? segments.length;
  if (segments.length < Math.max(1, total)) {
    // The stitch depends on the last segment only.
    throw new RenderError(`${segments.length} of ${total} segments are complete`, { isRetryable: true });
  }
  return segments.map(({ output_location }) => output_location);
}

/** Clips with a transition between each two; in chain mode the last join alone, which holds all clips. @throws RenderError */
export async function finalStitch(task: ClaimedTask, client: DarkroomClient): Promise<Stitch> {
  const { params } = task;
  const details = detailsOf(params);
  const transitions: Transition[] = [];
  for (const id of texts(params["transition_task_ids"]))
    transitions.push(readTransition(await outputOf(client, task, id)));
  return {
    clips: params["chain_mode"] === true ? lastJoin(transitions) : withTransitions(task, transitions),
    framesPerSecond: details["use_input_video_fps"] === true ? undefined : frameRate(params["fps"]),
    audioUrl: text(params["audio_url"]) ?? text(details["audio_url"]),
  };
}

function lastJoin(transitions: readonly Transition[]): StitchClip[] {
  const last = transitions.at(-1);
  if (!last) throw new RenderError("transition_task_ids is missing", { isRetryable: false });
  return [{ url: last.url, from: 0, to: undefined, overlap: 0, repeats: false }];
}

function withTransitions({ params }: ClaimedTask, transitions: readonly Transition[]): StitchClip[] {
  const urls = records(params["clip_list"]).flatMap(({ url }) => text(url) ?? []);
  if (urls.length !== transitions.length + 1) {
    throw new RenderError(`${transitions.length} transitions do not join ${urls.length} clips`, {
      isRetryable: false,
    });
  }
  const mostBlend = count(params["blend_frames"]) ?? defaultBlend;
  return urls.flatMap((url, index): StitchClip[] => {
    const [into, outOf] = [transitions[index - 1], transitions[index]];
    const blend = Math.min(outOf?.blend ?? 0, mostBlend);
    // The frames of the blend are in both: at the clip's end, and at the start of the transition.
    const end = outOf && -(outOf.before - blend);
    const clip = { url, from: into?.after ?? 0, to: end === 0 ? undefined : end, overlap: 0, repeats: false };
    if (!outOf) return [clip];
    return [clip, { url: outOf.url, from: 0, to: undefined, overlap: blend, repeats: true }];
  });
}
