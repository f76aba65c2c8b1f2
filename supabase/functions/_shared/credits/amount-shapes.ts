import { z } from "zod";

/** What work is expected to cost, what is held for it first, and the most that it costs: in credits and micro-dollars. */
export const amountsOfWork = {
  estimated_cost: z
    .number()
    .describe("credits (US cents): the exact price, or what such work is expected to cost"),
  estimated_cost_microusd: z.int(),
  hold: z
    .number()
    .describe(
      "credits that are held first; of work that is paid by the second, the hold grows while it runs",
    ),
  hold_microusd: z.int(),
  upper_bound: z.number().describe("credits: the most that is charged"),
  upper_bound_microusd: z.int(),
};

/** The same under the names that clients know: `cost` is what is expected, or what it did cost. */
export const quotedAmounts = {
  cost: z
    .number()
    .describe("credits (US cents): the same as `estimated_cost`; of work that has ended, its cost"),
  cost_microusd: z.int(),
  ...amountsOfWork,
};

type Amounts = Record<keyof typeof quotedAmounts, number>;

/** The amounts of several tasks together. */
export function totalAmounts(tasks: readonly Record<string, unknown>[]): Amounts {
  const total = (field: string) => tasks.reduce((sum, task) => sum + Number(task[field]), 0);
  const [expected, hold, upperBound] = [
    "estimated_cost_microusd",
    "hold_microusd",
    "upper_bound_microusd",
  ].map(total);
  const credits = (microusd = 0) => microusd / 10_000;
  return {
    cost: credits(expected),
    cost_microusd: expected ?? 0,
    estimated_cost: credits(expected),
    estimated_cost_microusd: expected ?? 0,
    hold: credits(hold),
    hold_microusd: hold ?? 0,
    upper_bound: credits(upperBound),
    upper_bound_microusd: upperBound ?? 0,
  };
}
