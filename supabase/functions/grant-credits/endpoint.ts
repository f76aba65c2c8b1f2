import { z } from "zod";
import { actor } from "../_shared/credits/actor.ts";
import { grantCredits, grantWelcomeBonus } from "../_shared/credits/grant-credits.ts";
import { ledgerEntry } from "../_shared/credits/ledger-shapes.ts";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, timestamp, uuid } from "../_shared/http/fields.ts";

const body = z.object({
  userId: uuid.nullish(),
  user_id: uuid.nullish(),
  amount: z.number().positive().max(10_000).nullish().describe("dollars, at most 10,000, whole cents"),
  description: text(500).trim().min(1).nullish().describe("the reason; required for a grant"),
  reason: text(500).trim().min(1).nullish().describe("another name of description"),
  actor: actor.nullish(),
  idempotency_key: text(200).min(1).nullish().describe("or the header Idempotency-Key; required for a grant"),
  expires_at: z.iso
    .datetime({ offset: true })
    .nullish()
    .describe("when what is left of a grant expires; never unless said"),
  isWelcomeBonus: z.boolean().nullish().describe("the fixed welcome bonus; amount is ignored"),
});

/** 200 granted, now or before · 403 users may ask for their welcome bonus only · 404 unknown user · 409 no welcome bonus for this account · 422 key of another grant, expiry in the past */
export const grantCreditsEndpoint = endpoint({
  name: "grant-credits",
  summary: "Grants credits to an account: any amount by the service, the welcome bonus by its user.",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The ledger entry.",
      schema: z.object({
        success: z.literal(true),
        transaction: ledgerEntry,
        expires_at: timestamp.nullish(),
        message: z.string(),
        isWelcomeBonus: z.boolean().optional(),
        deduplicated: z.boolean(),
      }),
    },
  },
  errors: ["user_not_found", "welcome_bonus_refused", "expiry_in_the_past", "idempotency_key_reused"],
  async run({ body, caller, database, headers }) {
    const userId = body.userId ?? body.user_id ?? undefined;
    if (body.isWelcomeBonus) return json(200, await grantWelcomeBonus(database, caller, userId));
    if (caller.kind !== "service") throw new AppError("forbidden");

    const reason = body.description ?? body.reason;
    const idempotencyKey = body.idempotency_key ?? headers.get("idempotency-key");
    const { amount } = body;
    const amountCents = Math.round((amount ?? 0) * 100);
    const issues = [
      !userId && { path: "userId", message: "is required" },
      !amount && { path: "amount", message: "is required" },
      amount && Math.abs(amountCents / 100 - amount) > 1e-9 && { path: "amount", message: "is not in cents" },
      !reason && { path: "description", message: "is required" },
      (!idempotencyKey || idempotencyKey.length > 200) && {
        path: "idempotency_key",
        message: "is required, with at most 200 characters",
      },
    ].filter(Boolean);
    if (!userId || !reason || !idempotencyKey || issues.length > 0) {
      throw new AppError("invalid_request", { issues });
    }
    return json(
      200,
      await grantCredits(database, {
        userId,
        amountCents,
        reason,
        actor: body.actor ?? undefined,
        idempotencyKey,
        expiresAt: body.expires_at ?? undefined,
      }),
    );
  },
});
