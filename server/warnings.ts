import type { Pool } from "../supabase/functions/_shared/database/pool.ts";
import type { DeadModel } from "../supabase/functions/_shared/prompts/model-health.ts";

/** What an operator should look at although requests are served; for `/ready`. */
export async function warningsOf(sql: Pool, deadModels: readonly DeadModel[]): Promise<string[]> {
  return [...deadModels.map(warningOfModel), ...(await billingWarnings(sql))];
}

function warningOfModel({ model, reason, since }: DeadModel): string {
  return `the model ${model} is not served by its provider since ${since} (${reason})`;
}

async function billingWarnings(sql: Pool): Promise<string[]> {
  try {
    const [row] = await sql<{ alerts: Record<string, number> }[]>`
      select public.count_billing_alerts() as alerts`;
    const alerts = Object.entries(row?.alerts ?? {}).sort(([one], [other]) => one.localeCompare(other));
    if (alerts.length === 0) return [];
    const total = alerts.reduce((sum, [, count]) => sum + count, 0);
    const reasons = alerts.map(([reason, count]) => `${reason} ${count}`).join(", ");
    return [`${total} billing ${total === 1 ? "alert is" : "alerts are"} open: ${reasons}`];
  } catch {
    // Whether the database answers is what readiness itself says.
    return [];
  }
}
