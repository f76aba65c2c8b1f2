import type { Logger } from "pino";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";

/**
 * Writes down whether tasks may run at a provider that bills more for them than they are sold for. Where the operator says nothing,
 * the setting in the database stays as it is.
 */
export async function setLossAllowance(
  sql: Pool,
  isAllowed: boolean | undefined,
  log: Logger,
): Promise<void> {
  if (isAllowed === undefined) return;
  const changed = await sql`
    update public.queue_settings set allows_provider_loss = ${isAllowed}
     where allows_provider_loss is distinct from ${isAllowed} returning 1`;
  if (changed.length > 0)
    log.warn({ allows_provider_loss: isAllowed }, "DARKROOM_FAL_ALLOW_LOSS changed the database's setting");
}
