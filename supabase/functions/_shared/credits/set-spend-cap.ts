import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** What a cap is of. */
export type Spender = { projectId: string } | { tokenId: string };

/** Limits what a project or a token may spend in a calendar month; null lifts the limit. */
export async function setSpendCap(
  database: Pick<Database, "call">,
  caller: Caller,
  of: Spender,
  capMicrousd: number | null,
): Promise<Record<string, unknown>> {
  return await database.call("set_spend_cap", {
    for_user: forUser(caller),
    for_project: "projectId" in of ? of.projectId : null,
    for_token: "tokenId" in of ? of.tokenId : null,
    new_cap_microusd: capMicrousd,
  });
}
