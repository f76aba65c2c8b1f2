import type { BilledValues } from "../../client.ts";
import { RenderError } from "../../provider.ts";

/** How FAL makes a film of a length. */
export interface MakeableLength {
  /** Frames that the model makes. */
  generated: number;
  /** Frames that are interpolated between each two of them. */
  interpolated: number;
  /** Frames of the film that comes out. */
  total: number;
}

/** FAL counts the seconds of its films at this rate, whatever the film's own rate is. */
export const billedFramesPerSecond = 16;
/** The length of each film of the turbo endpoint. */
export const turboFrames = 81;
const fewestFrames = 17;
const mostFrames = 161;
const mostInterpolated = 4;
const slowestRate = 4;
const fastestRate = 60;

/**
 * The shortest film that FAL makes of at least so many frames. The model makes 17 to 161, in steps of four; for longer films one
 * to four frames are interpolated between each two.
 */
export function makeableLength(frames: number): MakeableLength {
  for (let interpolated = 0; interpolated <= mostInterpolated; interpolated += 1) {
    const spans = Math.ceil((frames - 1) / (interpolated + 1));
    const generated = Math.max(fewestFrames, 4 * Math.ceil(spans / 4) + 1);
    if (generated <= mostFrames) return lengthOf(generated, interpolated);
  }
  return lengthOf(mostFrames, mostInterpolated);
}

/**
 * How a film of so many frames is divided into passages, each of a length that the model makes: in proportion to what was planned for
 * each, or evenly. The sum is the film's length, at most three frames more; longer where passages are shorter than the model's
 * shortest film.
 */
export function passageLengths(frames: number, planned: readonly (number | undefined)[]): MakeableLength[] {
  const isPlanned = planned.every((wish) => wish !== undefined && wish > 0);
  const shares = planned.map((wish) => (isPlanned ? (wish ?? 1) : 1));
  const lengths: MakeableLength[] = [];
  let made = 0;
  for (const [index, share] of shares.entries()) {
    const isLast = index === shares.length - 1;
    const rest = Math.max(1, frames - made);
    const left = shares.slice(index).reduce((sum, other) => sum + other, 0);
    // A passage in the middle may be up to two frames longer or shorter; the last one makes up for it.
    const length = makeableLength(isLast ? rest : Math.max(1, Math.round((rest * share) / left) - 2));
    lengths.push(length);
    made += length.total;
  }
  return lengths;
}

/**
 * The rate at which a film is made. A film that has far more frames than were asked for, because the model makes at least 17, runs
 * faster: so it lasts as long, and reaches its last image.
 */
export function rateToMake(frames: number, rate: number, { total }: Pick<MakeableLength, "total">): number {
  const stretched = total - frames > 3 ? (rate * total) / frames : rate;
  return Math.min(fastestRate, Math.max(slowestRate, Math.round(stretched)));
}

/** Seconds as FAL bills them at most. Whether interpolated frames count is not published, so they do. */
export function billedSeconds(frames: number): number {
  return frames / billedFramesPerSecond;
}

/**
 * Refuses a film of which FAL would bill more than the task is paid for. The shortest film, and the rounding up to a length that
 * the model makes, are within any price. @throws RenderError
 */
export function requirePaidFrames(
  lengths: readonly Pick<MakeableLength, "interpolated" | "total">[],
  billed: BilledValues = {},
): void {
  const { seconds, frames: paidFrames } = billed;
  const frames = lengths.reduce((sum, { total }) => sum + total, 0);
  const rounding = lengths.reduce((sum, { interpolated }) => sum + 4 * (interpolated + 1), 0);
  if (seconds !== undefined && frames > Math.max(fewestFrames, seconds * billedFramesPerSecond + rounding)) {
    const needed = Math.ceil((frames - rounding) / billedFramesPerSecond);
    throw new RenderError(
      `The film has ${frames} frames, which are ${billedSeconds(frames).toFixed(1)} seconds at FAL; ${seconds} are paid. ` +
        `Create the task with \`seconds\`: ${needed}, or ask for a shorter film`,
      { isRetryable: false },
    );
  }
  if (paidFrames !== undefined && frames > Math.max(fewestFrames, paidFrames) + rounding) {
    throw new RenderError(`The film has ${frames} frames, and ${paidFrames} are paid.`, {
      isRetryable: false,
    });
  }
}

function lengthOf(generated: number, interpolated: number): MakeableLength {
  return { generated, interpolated, total: (generated - 1) * (interpolated + 1) + 1 };
}
