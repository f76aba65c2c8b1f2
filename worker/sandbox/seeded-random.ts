import { createHash } from "node:crypto";

export interface SeededRandom {
  /** From `from` up to, not including, `to`. */
  between(from: number, to: number): number;
  pick<T>(choices: readonly [T, ...T[]]): T;
  chance(probability: number): boolean;
}

/** The same numbers for the same text, on every machine. */
export function seededRandom(text: string): SeededRandom {
  let state = createHash("sha256").update(text).digest().readUInt32LE(0);
  // Mulberry32: small, fast and even enough for pictures.
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  return {
    between: (from, to) => from + next() * (to - from),
    pick: (choices) => choices[Math.floor(next() * choices.length)] ?? choices[0],
    chance: (probability) => next() < probability,
  };
}
