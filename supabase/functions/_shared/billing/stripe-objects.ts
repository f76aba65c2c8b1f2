import { z } from "zod";

/**
 * What is read of Stripe's objects. Events carry the API version that their endpoint is set to, which is older or newer
 * than the SDK's, so nothing is taken from its types: every field that is used is checked. Fields that are not used may be
 * anything.
 */
const id = z.string().regex(/^[A-Za-z0-9_-]{1,255}$/);
const reference = z.union([id, z.object({ id })]).transform((named) => idOf(named));
/** As the tables hold it. A payment may be any amount: what does not fit is quarantined under its own reason. */
const cents = z.int().min(0).max(2_147_483_647);
const anyAmount = z.int().min(0);
const currency = z
  .string()
  .regex(/^[A-Za-z]{3}$/)
  .transform((code) => code.toLowerCase());
const status = z.string().regex(/^[a-z_]{1,50}$/);
const metadata = z.record(z.string(), z.string());

export const sessionObject = z.object({
  id,
  mode: status,
  status: status.nullish(),
  payment_status: status,
  payment_intent: reference.nullable(),
  amount_total: anyAmount.nullable(),
  currency: currency.nullable(),
  // Of sessions before 2025-03-31 that a customer paid in a currency of their own: then `currency` is theirs.
  currency_conversion: z.object({ amount_total: anyAmount, source_currency: currency }).nullish(),
  metadata: metadata.nullish(),
});

export const intentObject = z.object({
  id,
  status,
  amount: anyAmount,
  amount_received: anyAmount.nullish(),
  currency,
  metadata: metadata.nullish(),
});

export const refundObject = z.object({
  id,
  payment_intent: reference.nullable(),
  amount: cents,
  currency,
  status: status.nullable(),
});

export const chargeObject = z.object({
  payment_intent: reference.nullable(),
  // Newer versions of the API leave it out.
  refunds: z.object({ data: z.array(refundObject), has_more: z.boolean() }).nullish(),
});

export const disputeObject = z.object({
  id,
  payment_intent: reference.nullable(),
  amount: cents,
  currency,
  status,
  // Older versions have another field; only a dispute that was prevented needs it.
  balance_transactions: z.array(z.object({ amount: z.int() })).nullish(),
});

/** Of which only the name matters. */
export const namedObject = z.object({ id });

export type SessionObject = z.output<typeof sessionObject>;
export type IntentObject = z.output<typeof intentObject>;
export type RefundObject = z.output<typeof refundObject>;
export type DisputeObject = z.output<typeof disputeObject>;

/** The places of an object that cannot be read, for logs and alerts: no values. */
export function issuesOf(error: z.ZodError): string[] {
  return error.issues.slice(0, 10).map(({ path, code }) => {
    const place = path.map((part) => String(part).replace(/\W/g, "?").slice(0, 40)).join(".");
    return `${place || "object"}: ${code}`;
  });
}

export function idOf(reference: string | { id: string } | null | undefined): string | undefined {
  return typeof reference === "string" ? reference : reference?.id;
}
