import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { isSupabase, pendingMigrations, unknownMigrations } from "../migrate.ts";
import { type Ask, readCatalog } from "./catalog.ts";
import { fault, missing, type SchemaFault } from "./faults.ts";
import { readManifest } from "./manifest.ts";
import { findRoleFaults } from "./roles.ts";

/**
 * What a database lacks of roles, and of what the platform's SQL and the migrations make. Roles and platform are
 * Supabase's own affair where that runs the database.
 */
export async function findSchemaFaults(sql: Pool): Promise<SchemaFault[]> {
  const supabase = await isSupabase(sql);
  const pending = await pendingMigrations(sql);
  const faults = pending.map((file) => fault("migration_missing", file, {}));
  // A newer release has migrated this database: what it must contain is that release's knowledge.
  const isComparable = pending.length === 0 && (await unknownMigrations(sql)).length === 0;
  const manifest = await readManifest();
  const expected = supabase ? manifest.migrations : { ...manifest.platform, ...manifest.migrations };
  return (await sql.transaction(async (transaction) => {
    const ask: Ask = async <Row extends object>(text: string) =>
      [...(await transaction.query<Row[]>(text))] as Row[];
    if (!supabase) {
      const roles = await findRoleFaults(ask);
      faults.push(...roles.map(({ rule, row_id, statement }) => fault(rule, row_id, { statement })));
    }
    if (isComparable) faults.push(...missing(expected, await readCatalog(ask)));
    return faults;
  })) as SchemaFault[];
}
