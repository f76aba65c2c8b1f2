import { z } from "zod";

/** Micro-dollars in a credit, which is a US cent. */
const microusdPerCredit = 10_000;

/** An amount in credits, of whole micro-dollars: at most four decimals. */
export function credits(most: number): z.ZodNumber {
  return z
    .number()
    .min(0)
    .max(most)
    .refine((amount) => microusdOf(amount) / microusdPerCredit === amount, "has more than four decimals");
}

/** The same in micro-dollars. A decimal of four places is the nearest double of this very quotient, so it is exact. */
export function microusdOf(amount: number): number {
  return Math.round(amount * microusdPerCredit);
}
