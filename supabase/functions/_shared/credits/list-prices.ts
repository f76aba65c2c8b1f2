import type { Database } from "../database/database.ts";

/** What every task type costs now, and what is announced. */
export async function listPrices(database: Pick<Database, "call">): Promise<Record<string, unknown>> {
  return await database.call("list_prices", {});
}
