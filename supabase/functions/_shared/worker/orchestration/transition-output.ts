import { count, type Params, record, text } from "./task-params.ts";

/** How a transition stands between two clips, in frames. Shipped workers write and read these names. */
export interface TransitionFacts {
  /** Of the whole transition. */
  frames: number;
  /** New frames between the clips. */
  gap_frames: number;
  /** Frames of each clip that the new frames replace. */
  gap_from_clip1: number;
  gap_from_clip2: number;
  /** Frames of each clip that the transition repeats. */
  context_from_clip1: number;
  context_from_clip2: number;
  /** Frames over which the first clip fades into the transition. */
  blend_frames: number;
}

/** A transition as the final stitch needs it. */
export interface Transition {
  url: string;
  /** Frames at the end of the first clip, and at the start of the second, that the transition stands for. */
  before: number;
  after: number;
  /** Frames over which the first clip fades into the transition. */
  blend: number;
}

/** The output text of a transition: its address, and what the final stitch must know. */
export function transitionOutput(url: string, facts: TransitionFacts): string {
  return JSON.stringify({ transition_url: url, ...facts });
}

/** Reads the output text of a transition. A text that is not such JSON is the address alone. */
export function readTransition(output: string): Transition {
  const fields = parsed(output);
  const url = ["transition_url", "url", "output_url", "video_url"]
    .map((name) => text(fields[name]))
    .find(Boolean);
  const frames = (name: string): number => count(fields[name]) ?? 0;
  return {
    url: url ?? output,
    before: frames("gap_from_clip1") + frames("context_from_clip1"),
    after: frames("gap_from_clip2") + frames("context_from_clip2"),
    blend: Math.min(frames("blend_frames"), frames("context_from_clip1")),
  };
}

function parsed(json: string): Params {
  try {
    return record(JSON.parse(json));
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
