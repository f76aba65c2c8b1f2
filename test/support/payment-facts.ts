import assert from "node:assert/strict";
import type Stripe from "stripe";
import { type PaymentFacts, readIntent } from "../../supabase/functions/_shared/billing/payment-facts.ts";

/** What an intent of ours tells, as its event would. */
export function factsOfIntent(intent: Stripe.PaymentIntent): PaymentFacts {
  const reading = readIntent(intent);
  assert.ok(reading.kind === "facts", JSON.stringify(reading));
  return reading.facts;
}
