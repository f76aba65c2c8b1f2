import { z } from "zod";
import { actor } from "../_shared/credits/actor.ts";
import { createPromoCode } from "../_shared/credits/promo-codes.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, timestamp } from "../_shared/http/fields.ts";

const time = z.iso.datetime({ offset: true }).nullish();

const body = z.object({
  code: text(40)
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{2,39}$/, "must be 3 to 40 letters, digits, - and _")
    .describe("kept in capitals; what is short or a word can be guessed"),
  credits: z.int().min(1).max(100_000).describe("US cents for each person"),
  max_uses: z.int().min(1).max(1_000_000).describe("people"),
  valid_from: time.describe("now unless said"),
  valid_until: time.describe("for ever unless said"),
  credit_days: z
    .int()
    .min(1)
    .max(3650)
    .nullish()
    .describe("the credit expires so long after it was taken; never unless said"),
  description: text(500).trim().min(1).describe("what for; people see it in their statement"),
  actor: actor.nullish(),
});

/** 200 the code, made now or before · 409 such a code with other content exists */
export const createPromoCodeEndpoint = endpoint({
  name: "create-promo-code",
  summary: "Makes a code that gives credit: so much, to so many people, once each.",
  callers: ["service"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The code.",
      schema: z.object({
        code: z.string(),
        amount: z.number().describe("credits (US cents)"),
        amount_microusd: z.int(),
        max_uses: z.int(),
        uses: z.int(),
        valid_from: timestamp,
        valid_until: timestamp.nullable(),
        credit_days: z.int().nullable(),
        description: z.string(),
        deduplicated: z.boolean(),
      }),
    },
  },
  errors: ["promo_code_taken"],
  async run({ body, database }) {
    const promo = await createPromoCode(database, {
      code: body.code,
      credits: body.credits,
      maxUses: body.max_uses,
      validFrom: body.valid_from ?? undefined,
      validUntil: body.valid_until ?? undefined,
      creditDays: body.credit_days ?? undefined,
      description: body.description,
      actor: body.actor ?? undefined,
    });
    return json(200, promo);
  },
});
