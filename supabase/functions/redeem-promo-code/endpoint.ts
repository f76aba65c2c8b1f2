import { z } from "zod";
import { ledgerEntry } from "../_shared/credits/ledger-shapes.ts";
import { redeemPromoCode } from "../_shared/credits/promo-codes.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, timestamp } from "../_shared/http/fields.ts";

const body = z.object({ code: text(100).trim().min(1).describe("in capitals or not") });

/** 200 redeemed, now or before · 403 no confirmed address · 404 no such code · 409 used up, over, or redeemed by another account of this address */
export const redeemPromoCodeEndpoint = endpoint({
  name: "redeem-promo-code",
  summary: "Gives the signed-in user what a promo code is worth, once.",
  callers: ["user"],
  body,
  unknownFields: "refused",
  // Codes must not be found by trying.
  requestsPerMinute: 10,
  countsFirst: true,
  answers: {
    200: {
      description: "The ledger entry.",
      schema: z.object({
        success: z.literal(true),
        code: z.string(),
        transaction: ledgerEntry,
        expires_at: timestamp.nullable().describe("when what is left of it expires"),
        deduplicated: z.boolean(),
      }),
    },
  },
  errors: ["address_not_confirmed", "promo_code_not_found", "promo_code_ended"],
  async run({ body, database }) {
    return json(200, await redeemPromoCode(database, body.code));
  },
});
