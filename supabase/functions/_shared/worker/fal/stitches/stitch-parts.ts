import { type FrameSlice, sliceOf } from "../../orchestration/frame-slice.ts";
import type { StitchClip } from "../../orchestration/stitch.ts";

/** A clip of a stitch, and how many frames it has. */
export type CountedClip = Pick<StitchClip, "from" | "to" | "overlap" | "repeats"> & { frames: number };

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
 * Divides a stitch into parts that FAL's tools can make. Where an overlap does not repeat frames, it becomes at most `fadeSteps` parts, in
 * each of which the next clip has another opacity. Otherwise the next clip begins where the overlap does.
 */
export function partsOf(clips: readonly CountedClip[], fadeSteps: number): StitchParts {
  const parts: FilmPart[] = [];
  let missingOverlap = 0;
  for (const [clip, { frames, from, to, overlap: asked, repeats }] of clips.entries()) {
    const slice = { clip, ...sliceOf(frames, from, to) };
    const steps = repeats ? 0 : fadeSteps;
    const last = parts.at(-1);
    const free = steps > 0 && last ? framesOf(last) : countFrames(parts);
    const overlap = Math.min(asked, free, slice.to - slice.from);
    missingOverlap += asked - overlap;
    const before = steps > 0 && last?.kind === "frames" ? last.frames : undefined;
    dropLast(parts, overlap);
    const fades = before ? fadesOf({ before, slice, overlap, steps: Math.min(steps, overlap) }) : [];
    parts.push(...fades);
    const start = slice.from + (fades.length > 0 ? overlap : 0);
    if (start < slice.to) parts.push({ kind: "frames", frames: { ...slice, from: start } });
  }
  return { parts, frames: countFrames(parts), missingOverlap };
}

/** Takes frames from the end, which may reach over a part that is shorter. */
function dropLast(parts: FilmPart[], frames: number): void {
  for (let left = frames; left > 0;) {
    const last = parts.pop();
    if (!last) return;
    const kept = framesOf(last) - left;
    if (kept > 0) parts.push(shortened(last, kept));
    left = Math.max(0, -kept);
  }
}

function shortened(part: FilmPart, frames: number): FilmPart {
  const first = (slice: ClipFrames): ClipFrames => ({ ...slice, to: slice.from + frames });
  if (part.kind === "frames") return { ...part, frames: first(part.frames) };
  return { ...part, before: first(part.before), after: first(part.after) };
}

function countFrames(parts: readonly FilmPart[]): number {
  return parts.reduce((sum, part) => sum + framesOf(part), 0);
}

/** The overlap of a clip with the end of the one before, in steps. */
function fadesOf({
  before,
  slice,
  overlap,
  steps,
}: {
  before: ClipFrames;
  slice: ClipFrames;
  overlap: number;
  steps: number;
}): FilmPart[] {
  const edge = (step: number): number => Math.floor((overlap * step) / steps);
  const start = before.to - overlap;
  return Array.from({ length: steps }, (_, step): FilmPart => {
    const [from, to] = [edge(step), edge(step + 1)];
    return {
      kind: "fade",
      before: { ...before, from: start + from, to: start + to },
      after: { ...slice, from: slice.from + from, to: slice.from + to },
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
