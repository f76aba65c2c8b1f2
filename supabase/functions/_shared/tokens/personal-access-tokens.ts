import { callingUser, type Database } from "../database/database.ts";
import type { Scope } from "../http/endpoint.ts";
import { hashToken, newToken } from "./token-format.ts";

export interface TokenOptions {
  label: string;
  scopes: readonly Scope[];
  lifetimeDays: number | undefined;
}

/** Makes a token for the calling user. Its text is in this answer and nowhere else. */
export async function generateToken(
  database: Pick<Database, "call">,
  { label, scopes, lifetimeDays }: TokenOptions,
): Promise<Record<string, unknown>> {
  const token = newToken();
  const stored = await database.call<Record<string, unknown>>("generate_pat", {
    for_user: callingUser,
    token_hash: await hashToken(token),
    last_four: token.slice(-4),
    label,
    scopes,
    lifetime_days: lifetimeDays,
  });
  return { token, ...stored };
}

/** Ends one of the calling user's tokens at once. @throws AppError `token_not_found` */
export async function revokeToken(
  database: Pick<Database, "call">,
  tokenId: string,
): Promise<Record<string, unknown>> {
  return await database.call("revoke_pat", { for_user: callingUser, token_id: tokenId });
}

/** The calling user's tokens, newest first, without their texts. */
export async function listTokens(database: Pick<Database, "call">): Promise<Record<string, unknown>> {
  return await database.call("list_pats", { for_user: callingUser });
}
