import { type FrameSlice, sliceOf } from "../../orchestration/frame-slice.ts";
import type { StitchClip } from "../../orchestration/stitch.ts";

/** A clip of a stitch, and how many frames it has. */
export type CountedClip = Pick<StitchClip, "from" | "to" | "overlap"> & { frames: number };

/** Frames of one of the clips. */
export interface ClipFrames extends FrameSlice {
  clip: number;
}

/** A part of the film: frames of a clip, or frames of a clip that fade in over those of the clip before. */
export type FilmPart =
  | { kind: "frames"; frames: ClipFrames }
  | { kind: "fade"; before: ClipFrames; after: ClipFrames; opacity: number };

export interface StitchParts {
  parts: FilmPart[];
  /** Frames of the film: those of the clips, without those that overlap. */
  frames: number;
  /** Frames of overlaps for which a clip is too short. */
  missingOverlap: number;
}

/**
 * Divides a stitch into parts that FAL's tools can make. An overlap becomes at most `fadeSteps` parts, in each of which the next clip
 * has another opacity; without steps the next clip begins where the overlap does.
 */
export function partsOf(clips: readonly CountedClip[], fadeSteps: number): StitchParts {
  const slices = clips.map(({ frames, from, to }) => sliceOf(frames, from, to));
  const overlaps: number[] = [];
  let missingOverlap = 0;
  for (const [index, slice] of slices.entries()) {
    const asked = index === 0 ? 0 : (clips[index]?.overlap ?? 0);
    const before = slices[index - 1];
    const free = before ? before.to - before.from - (overlaps[index - 1] ?? 0) : 0;
    const overlap = Math.min(asked, free, slice.to - slice.from);
    missingOverlap += asked - overlap;
    overlaps.push(overlap);
  }
  const parts: FilmPart[] = [];
  for (const [clip, slice] of slices.entries()) {
    const [overlap, next] = [overlaps[clip] ?? 0, overlaps[clip + 1] ?? 0];
    const before = slices[clip - 1];
    const fades = before
      ? fadesOf({ clip, slice, before, overlap, steps: Math.min(fadeSteps, overlap) })
      : [];
    parts.push(...fades);
    const from = slice.from + (fades.length > 0 ? overlap : 0);
    const to = slice.to - next;
    if (from < to) parts.push({ kind: "frames", frames: { clip, from, to, of: slice.of } });
  }
  const frames = parts.reduce((sum, part) => sum + framesOf(part), 0);
  return { parts, frames, missingOverlap };
}

/** The overlap of a clip with the one before, in steps. */
function fadesOf({
  clip,
  slice,
  before,
  overlap,
  steps,
}: {
  clip: number;
  slice: FrameSlice;
  before: FrameSlice;
  overlap: number;
  steps: number;
}): FilmPart[] {
  const edge = (step: number): number => Math.floor((overlap * step) / steps);
  const start = before.to - overlap;
  return Array.from({ length: steps }, (_, step): FilmPart => {
    const [from, to] = [edge(step), edge(step + 1)];
    return {
      kind: "fade",
      before: { clip: clip - 1, from: start + from, to: start + to, of: before.of },
      after: { clip, from: slice.from + from, to: slice.from + to, of: slice.of },
      opacity: (step + 1) / (steps + 1),
    };
  });
}

export function framesOf(part: FilmPart): number {
  const { from, to } = part.kind === "frames" ? part.frames : part.before;
  return to - from;
}

/** How many jobs make a part, before all parts are laid one after the other. */
export function jobsOf(part: FilmPart): number {
  if (part.kind === "frames") return needsTrim(part.frames) ? 1 : 0;
  return 2 + (needsTrim(part.after) ? 1 : 0);
}

/** Frames from the start of a clip need no job: what follows them is cut off where they are used. */
export function needsTrim({ from }: FrameSlice): boolean {
  return from > 0;
}
