import type { Database } from "../database/database.ts";

/** Whether books, tasks and queue are right, from the tables alone, and what is wrong. */
export async function runDoctor(
  database: Pick<Database, "call">,
  limit: number,
): Promise<Record<string, unknown>> {
  return await database.call("doctor", { at_most: limit });
}
