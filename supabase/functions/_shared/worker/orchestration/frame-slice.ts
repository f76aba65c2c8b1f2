/** Frames of a clip that has `of` frames: from one number up to, not including, another. */
export interface FrameSlice {
  from: number;
  to: number;
  of: number;
}

/**
 * Finds the frames of a slice. Negative numbers count from the clip's end. A slice is never empty: one that would be is the frame
 * at the cut.
 */
export function sliceOf(of: number, from: number, to: number | undefined): FrameSlice {
  const position = (index: number): number => Math.min(of, Math.max(0, index < 0 ? of + index : index));
  const [start, end] = [position(from), to === undefined ? of : position(to)];
  if (start < end) return { from: start, to: end, of };
  const only = Math.min(of - 1, Math.max(0, from === 0 ? end : start));
  return { from: only, to: only + 1, of };
}
