import type { Mutant } from "./mutant.ts";

/** Payments: what Stripe says comes to the ledger once. */
export const mutants: Mutant[] = [
  {
    check: 22,
    breaks: "a completed checkout counts as paid",
    file: "supabase/functions/_shared/billing/payment-facts.ts",
    line: `      state: failed ?? (session.payment_status === "paid" ? "paid" : "pending"),`,
    broken: `      state: failed ?? "paid",`,
    tests: "money/stripe-events",
    named: "check 22",
  },
];
