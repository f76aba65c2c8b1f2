import { callingUser, type Database } from "../database/database.ts";
import { serviceActor } from "./actor.ts";

export interface NewPromoCode {
  code: string;
  credits: number;
  maxUses: number;
  /** ISO 8601; now unless said. */
  validFrom: string | undefined;
  /** ISO 8601; for ever unless said. */
  validUntil: string | undefined;
  /** How long the credit lasts once it was taken; for ever unless said. */
  creditDays: number | undefined;
  description: string;
  /** Who decided it; the service key's role unless said. */
  actor: string | undefined;
}

/** A code that gives credit; made again with the same content, it is the same code. */
export async function createPromoCode(
  database: Pick<Database, "call">,
  promo: NewPromoCode,
): Promise<Record<string, unknown>> {
  return await database.call("create_promo_code", {
    new_code: promo.code,
    amount_cents: promo.credits,
    max_uses: promo.maxUses,
    valid_from: promo.validFrom ?? null,
    valid_until: promo.validUntil ?? null,
    credit_days: promo.creditDays ?? null,
    description: promo.description,
    actor: promo.actor ?? serviceActor,
  });
}

/** Gives the calling user what a code is worth, once. */
export async function redeemPromoCode(
  database: Pick<Database, "call">,
  code: string,
): Promise<Record<string, unknown>> {
  return await database.call("redeem_promo_code", { for_user: callingUser, given_code: code });
}
