import type { Database } from "../database/database.ts";
import type { StoredEvent } from "./event-envelope.ts";
import { type EventDesk, type HandledEvent, handleStoredEvent } from "./stripe-events.ts";

/** Alerts of a state, the oldest first. */
export async function listBillingAlerts(
  database: Pick<Database, "call">,
  state: string,
  atMost: number,
): Promise<Record<string, unknown>> {
  return await database.call("list_billing_alerts", { of_state: state, at_most: atMost });
}

export interface Resolution {
  alertId: string;
  /** `retry` handles its events again; `dismiss` leaves them be. */
  resolution: "retry" | "dismiss";
  note: string;
}

export interface ResolvedAlert {
  alert: Record<string, unknown>;
  events: { id: string; state: HandledEvent["state"]; reason: string | null }[];
}

export async function resolveBillingAlert(
  desk: EventDesk,
  { alertId, resolution, note }: Resolution,
): Promise<ResolvedAlert> {
  const { alert, events } = await desk.database.call<{
    alert: Record<string, unknown>;
    events: StoredEvent[];
  }>("resolve_billing_alert", { for_alert: alertId, resolution, note });
  const handled: ResolvedAlert["events"] = [];
  for (const event of events) {
    const { state, reason } = await handleStoredEvent(desk, event);
    handled.push({ id: event.id, state, reason: reason ?? null });
  }
  return { alert, events: handled };
}
