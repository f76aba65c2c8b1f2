import { z } from "zod";
import { billingAlert } from "../_shared/billing/alert-shapes.ts";
import { resolveBillingAlert } from "../_shared/billing/billing-alerts.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { text, uuid } from "../_shared/http/fields.ts";

/** 200 what became of it · 404 unknown or closed alert · 502, 503, 504 Stripe, where an event needs more of it */
export const resolveBillingAlertEndpoint = endpoint({
  name: "resolve-billing-alert",
  summary: "Closes an alert: its events are handled again, or left be.",
  callers: ["service"],
  body: z.object({
    alert_id: uuid,
    resolution: z.enum(["retry", "dismiss"]).describe("retry: after what was wrong has been set right"),
    note: text(500).trim().min(1).describe("why"),
  }),
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The alert, and what its events came to.",
      schema: z.object({
        alert: billingAlert,
        events: z.array(
          z.object({
            id: z.string(),
            state: z.enum(["handled", "ignored", "quarantined", "received"]),
            reason: z.string().nullable(),
          }),
        ),
      }),
    },
  },
  errors: ["alert_not_found"],
  async run({ body, database, stripe, log }) {
    const desk = { database, stripe, log };
    const { alert_id: alertId, resolution, note } = body;
    return json(200, await resolveBillingAlert(desk, { alertId, resolution, note }));
  },
});
