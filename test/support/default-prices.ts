import { readFile } from "node:fs/promises";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { projectPath } from "../../server/migrate.ts";

/** Puts the default prices, and what providers bill by default, in place of the price book of tests (price-book.sql). */
export async function useDefaultPrices(sql: Pool): Promise<void> {
  const seed = await readFile(projectPath("supabase/seed.sql"), "utf8");
  await sql.transaction(async (transaction) => {
    // Prices are append-only.
    await transaction`set local session_replication_role = 'replica'`;
    await transaction`delete from task_type_prices`;
    await transaction`delete from provider_prices`;
    await transaction.query(seed);
  });
}
