import type { Database } from "../database/database.ts";
import type { Caller } from "../http/endpoint.ts";
import { accountOf, assertAsked } from "./account-of.ts";

export interface Balance extends Record<string, unknown> {
  user_id: string;
}

/** What an account has, holds, owes, and will lose when. */
export async function creditBalance(
  database: Pick<Database, "call">,
  caller: Caller,
  userId: string | undefined,
): Promise<Balance> {
  const balance = await database.call<Balance>("credit_balance", { for_user: accountOf(caller, userId) });
  assertAsked(userId, balance.user_id);
  return balance;
}
