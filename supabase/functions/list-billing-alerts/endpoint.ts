import { z } from "zod";
import { billingAlert } from "../_shared/billing/alert-shapes.ts";
import { listBillingAlerts } from "../_shared/billing/billing-alerts.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";

/** 200 the alerts, oldest first */
export const listBillingAlertsEndpoint = endpoint({
  name: "list-billing-alerts",
  summary: "Lists payments that do not fit what was asked for, and credited nothing.",
  callers: ["service"],
  body: z.object({
    state: z.enum(["open", "released", "dismissed"]).nullish().describe("open unless said"),
    limit: z.int().min(1).max(1000).nullish().describe("100 unless said"),
  }),
  bodyOptional: true,
  requestsPerMinute: 60,
  answers: { 200: { description: "The alerts.", schema: z.object({ alerts: z.array(billingAlert) }) } },
  errors: [],
  async run({ body, database }) {
    return json(200, await listBillingAlerts(database, body.state ?? "open", body.limit ?? 100));
  },
});
