import { callingUser, type Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Caller } from "../http/endpoint.ts";
import { serviceActor } from "./actor.ts";

export interface Grant {
  userId: string;
  amountCents: number;
  reason: string;
  /** Who decided it; the service key's role unless said. */
  actor: string | undefined;
  idempotencyKey: string;
  /** ISO 8601; never unless said. */
  expiresAt: string | undefined;
}

/** An operator's grant; the key makes a repeat harmless. */
export async function grantCredits(
  database: Pick<Database, "call">,
  { userId, amountCents, reason, actor, idempotencyKey, expiresAt }: Grant,
): Promise<Record<string, unknown>> {
  return await database.call("grant_credits", {
    for_user: userId,
    amount_cents: amountCents,
    reason,
    actor: actor ?? serviceActor,
    idempotency_key: idempotencyKey,
    expires_at: expiresAt,
  });
}

/** The welcome bonus, once a user: people ask for their own, the service for anybody's. */
export async function grantWelcomeBonus(
  database: Pick<Database, "call">,
  caller: Caller,
  userId: string | undefined,
): Promise<Record<string, unknown>> {
  if (caller.kind === "user") {
    if (userId !== undefined && userId.toLowerCase() !== caller.userId) throw new AppError("forbidden");
    return await database.call("grant_welcome_bonus", { for_user: callingUser });
  }
  if (userId === undefined) {
    throw new AppError("invalid_request", { issues: [{ path: "userId", message: "is required" }] });
  }
  return await database.call("grant_welcome_bonus", { for_user: userId });
}
