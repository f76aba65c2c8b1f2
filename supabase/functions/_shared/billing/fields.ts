import { z } from "zod";
import { AppError } from "../errors/app-error.ts";
import { centsOf } from "./dollars.ts";

/** Clients send flags as they come out of their forms. */
const flag = z.union([z.boolean(), z.enum(["true", "false"]), z.literal(0), z.literal(1)]);

/** A payment: from $5 to $100, any whole cent. */
export function paymentAmount(name: string) {
  const message = `${name} must be a number between $5 and $100, in whole cents`;
  return z
    .number(message)
    .min(5, message)
    .max(100, message)
    .refine((dollars) => centsOf(dollars) !== undefined, message);
}

/** Fields of automatic top-ups, in dollars; what they need of each other is seen to by `autoTopupOf`. */
export const autoTopupFields = {
  autoTopupEnabled: flag.nullish().describe("whether to save the card and buy again when the balance is low"),
  autoTopupAmount: z.number().nullish().describe("dollars, $5 to $100; required when enabled"),
  autoTopupThreshold: z
    .number()
    .nullish()
    .describe("dollars, from $1, below the amount; required when enabled"),
  autoTopupMonthlyCap: z
    .number()
    .nullish()
    .describe("dollars that a calendar month may cost at most, up to $10,000; ten payments unless said"),
};

interface AutoTopupBody {
  autoTopupEnabled?: z.output<typeof flag> | null | undefined;
  autoTopupAmount?: number | null | undefined;
  autoTopupThreshold?: number | null | undefined;
  autoTopupMonthlyCap?: number | null | undefined;
}

/** In whole cents. */
export interface AutoTopup {
  amountCents: number;
  thresholdCents: number;
  monthlyCapCents: number | undefined;
}

/** What is asked for; undefined when it is off. 400 for amounts that do not go together. */
export function autoTopupOf(body: AutoTopupBody): AutoTopup | undefined {
  const enabled = body.autoTopupEnabled;
  if (!enabled || enabled === "false") return undefined;
  const amountCents = centsWithin(body.autoTopupAmount, 500, 10_000);
  const thresholdCents = centsWithin(body.autoTopupThreshold, 100, 10_000);
  const monthlyCapCents = centsWithin(body.autoTopupMonthlyCap, amountCents ?? 500, 1_000_000);
  const issues = [];
  if (amountCents === undefined) {
    issues.push({ path: "autoTopupAmount", message: "autoTopupAmount must be a number between $5 and $100" });
  }
  if (thresholdCents === undefined) {
    const message = "autoTopupThreshold must be a positive number, at least $1, in whole cents";
    issues.push({ path: "autoTopupThreshold", message });
  } else if (amountCents !== undefined && thresholdCents >= amountCents) {
    const message = "autoTopupThreshold must be less than autoTopupAmount";
    issues.push({ path: "autoTopupThreshold", message });
  }
  if (typeof body.autoTopupMonthlyCap === "number" && monthlyCapCents === undefined) {
    const message = "autoTopupMonthlyCap must be between autoTopupAmount and $10,000, in whole cents";
    issues.push({ path: "autoTopupMonthlyCap", message });
  }
  if (amountCents === undefined || thresholdCents === undefined || issues.length > 0) {
    throw new AppError("invalid_request", { issues });
  }
  return { amountCents, thresholdCents, monthlyCapCents };
}

function centsWithin(dollars: number | null | undefined, least: number, most: number): number | undefined {
  const cents = typeof dollars === "number" ? centsOf(dollars) : undefined;
  return cents !== undefined && cents >= least && cents <= most ? cents : undefined;
}
