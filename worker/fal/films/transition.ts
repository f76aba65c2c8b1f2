import { record, text } from "./film-params.ts";

/** What a transition says of itself beside where it is: the final stitch cuts as much from the clips. */
export interface TransitionFacts {
  frames: number;
  gap_frames: number;
  /** Frames of the clips that the transition replaces. */
  gap_from_clip1: number;
  gap_from_clip2: number;
  /** Frames of the clips that the transition shows again. */
  context_from_clip1: number;
  context_from_clip2: number;
  blend_frames: number;
}

/** The text that stands for a transition's output. */
export function transitionText(url: string, facts: TransitionFacts): string {
  return JSON.stringify({ transition_url: url, ...facts });
}

/** Where the film is of which a task's output tells: the text itself, or the address in a transition's text. */
export function transitionUrl(output: string): string {
  if (!output.trimStart().startsWith("{")) return output;
  try {
    const said = record(JSON.parse(output));
    const names = ["transition_url", "url", "output_url", "video_url"];
    return names.map((name) => text(said[name])).find((url) => url !== undefined) ?? output;
  } catch (error) {
    if (error instanceof SyntaxError) return output;
    throw error;
  }
}
