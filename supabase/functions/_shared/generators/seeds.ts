import { greatestSeed } from "./fields.ts";

/** Drawn here, not by the worker, so that a task says what it was made with. */
export function randomSeed(below: number = greatestSeed + 1): number {
  const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1));
  return drawn % below;
}

/** Of several images: counted on from the one that was sent, else a random one each. */
export function seedOfImage(sent: number | null | undefined, index: number): number {
  return sent === null || sent === undefined ? randomSeed() : (sent + index) % (greatestSeed + 1);
}

/** Of a travel: random (below a million) when that is asked for, else the one that was sent, else 789. */
export function seedOfTravel(input: {
  seed?: number | null | undefined;
  random_seed?: boolean | null | undefined;
}): number {
  return input.random_seed ? randomSeed(1_000_000) : (input.seed ?? 789);
}
